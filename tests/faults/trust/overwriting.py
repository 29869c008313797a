"""Nothing of the data, of a workspace, or of a person's work is ever written over."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.faults.trust.base import Home

Place = Callable[[Home], Path]

FILE_VERBS: dict[str, tuple[str, ...]] = {
    "export csv": ("export", "cleaned", "--format", "csv", "-o"),
    "export spreadsheet": ("export", "raw", "--format", "spreadsheet", "-o"),
    "export parquet": ("export", "cleaned", "--format", "parquet", "-o"),
    "issues csv": ("issues", "--format", "csv", "-o"),
    "issues json": ("issues", "--json", "-o"),
    "audit sample": ("audit", "--sample", "5", "--check", "dark", "-o"),
}

JUDGING_VERBS: dict[str, tuple[str, ...]] = {"gate": ("gate", "cleaned", "--junit")}
"""Those that write a file and may fail all the same, as a limit does not hold."""

FOLDER_VERBS: dict[str, tuple[str, ...]] = {
    "export folder": ("export", "cleaned", "--format", "folder", "-o"),
    "export coco": ("export", "cleaned", "--format", "coco", "-o"),
    "export webdataset": ("export", "cleaned", "--format", "webdataset", "-o"),
    "export labelstudio": ("export", "cleaned", "--format", "labelstudio", "-o"),
    "card": ("card", "-o"),
}

IN_DATA: dict[str, Place] = {
    "an image": lambda home: home.images()[0],
    "a new name in a class": lambda home: home.images()[0].with_name("new.jpg"),
    "a new name at the top": lambda home: home.data / "out.csv",
    "a new folder": lambda home: home.data / "train" / "new" / "out.csv",
    "the data itself": lambda home: home.data,
    "an image, by dots": lambda home: home.other / ".." / "data" / home.images()[0].relative_to(home.data),
    "a class, by a linked folder": lambda home: linked(home, home.images()[0].parent) / "new.csv",
    "an image, by a link": lambda home: link(home.other / "link.csv", home.images()[0]),
    "the data, by a link": lambda home: link(home.other / "link", home.data),
}

IN_SPACE: dict[str, Place] = {
    name: (lambda home, name=name: home.space / name)  # type: ignore[misc]
    for name in (
        *("decisions.jsonl", "workspace.json", "curate.toml", "images.parquet", "manifests/v2.json"),
        *("manifests/v2.parquet", "manifests/v9.json", "manifests/tags.jsonl", "reports/cleaning.html", ".lock"),
        *("votes/blind.parquet", "review/journal/eve.jsonl", "models/fast/config.json", "new.csv", "sources/x"),
    )
}

OF_OTHERS: dict[str, Place] = {
    "a file of somebody's": lambda home: home.other / "thesis.csv",
    "a link to such a file": lambda home: link(home.other / "link.csv", home.other / "thesis.csv"),
    "a link to nothing": lambda home: link(home.other / "link.csv", home.other / "nothing"),
    "a folder with files": lambda home: home.other,
    "another workspace's log": lambda home: other_space(home) / "decisions.jsonl",
    "a pipe": lambda home: pipe(home.other / "pipe"),
    "a hard link of an image": lambda home: hard_link(home),
    "a name that is not UTF-8": lambda home: home.other / os.fsdecode(b"\xff.csv"),
    "below a file": lambda home: home.other / "thesis.csv" / "x.csv",
    "a name too long": lambda home: home.other / ("x" * 300),
}


def link(place: Path, target: Path) -> Path:
    """Make a symbolic link."""
    place.symlink_to(target)
    return place


def linked(home: Home, folder: Path) -> Path:
    """Return a link to a folder."""
    return link(home.other / "linked", folder)


def pipe(place: Path) -> Path:
    """Make a pipe."""
    os.mkfifo(place)
    return place


def hard_link(home: Home) -> Path:
    """Return a second name of an image."""
    place = home.other / "hard.csv"
    os.link(home.images()[0], place)
    return place


def other_space(home: Home) -> Path:
    """Return another workspace."""
    folder = home.top / "another"
    folder.mkdir()
    (folder / "workspace.json").write_text('{"format": 1}')
    (folder / "decisions.jsonl").write_text("")
    return folder


def _cases() -> Iterator[tuple[str, tuple[str, ...], str, Place, bool]]:
    for name, words in {**FILE_VERBS, **JUDGING_VERBS, **FOLDER_VERBS}.items():
        for where, place in {**IN_DATA, **IN_SPACE}.items():
            yield f"{name} to {where}", words, "is inside", place, True
        for where, place in OF_OTHERS.items():
            if where == "a folder with files" and name == "card":
                continue  # cards go into any folder; what they would replace there is a case of its own
            yield f"{name} to {where}", words, "", place, False


def run(home: Home, *, every: int = 1) -> None:
    """Give every verb that writes every place where it must not, and with --force those where it must not either."""
    for number, (case, words, saying, place, always) in enumerate(_cases()):
        if number % every:
            continue
        home.begin(case)
        destination = place(home)
        unhurt = home.keep(home.data, home.other, home.space / "manifests", home.space / "decisions.jsonl")
        home.refused(*words, destination, saying=saying)
        can_force = words[0] != "export" or words[3] in ("csv", "spreadsheet", "parquet")
        if always and can_force:
            home.refused(*words, destination, "--force", saying=saying)
        unhurt()
    for check in (_own_work, _filled_in, _cards, _votes, _force, _again, _workspace_inside):
        check(home)


def _own_work(home: Home) -> None:
    for name, words in FILE_VERBS.items():
        home.begin(f"{name} over what a person changed since")
        place = home.out / "mine.csv"
        home.done(*words, place)
        place.write_bytes(place.read_bytes() + b"mine\n")
        unhurt = home.keep(home.out)
        home.refused(*words, place, saying="--force")
        unhurt()


def _filled_in(home: Home) -> None:
    home.begin("a filled-in sample")
    place, words = home.out / "review.csv", FILE_VERBS["audit sample"]
    home.done(*words, place)
    place.write_text(place.read_text().replace(",\n", ",n\n"))
    unhurt = home.keep(home.out)
    home.refused(*words, place, saying="--force")
    unhurt()
    home.done("audit", "--answers", place)


def _cards(home: Home) -> None:
    for name in ("dataset-card.md", "croissant.json"):
        home.begin(f"a {name} that was filled in")
        home.done("card", "-o", home.out)
        (home.out / name).write_text("filled in\n")
        unhurt = home.keep(home.out)
        home.refused("card", "-o", home.out, saying="--force")
        unhurt()
    home.begin("cards beside somebody's own")
    (home.out / "croissant.json").write_text("{}")
    unhurt = home.keep(home.out)
    home.refused("card", "-o", home.out, saying="--force")
    unhurt()


def _votes(home: Home) -> None:
    home.begin("votes of another file with the same name")
    image = home.images()[0].relative_to(home.data).as_posix()
    for folder, count in (("a", 3), ("b", 5)):
        (home.out / folder).mkdir()
        (home.out / folder / "crowd.csv").write_text(f"path,happy\n{image},{count}\n")
    home.done("votes", "import", home.out / "a" / "crowd.csv")
    unhurt = home.keep(home.space / "votes")
    home.refused("votes", "import", home.out / "b" / "crowd.csv", saying="--force")
    unhurt()
    home.done("votes", "import", home.out / "b" / "crowd.csv", "--name", "other")
    home.done("votes", "import", home.out / "b" / "crowd.csv", "--force")
    (home.out / "b" / "crowd.csv").write_text(f"path,happy\n{image},6\n")
    home.done("votes", "import", home.out / "b" / "crowd.csv")


def _force(home: Home) -> None:
    for name, words in FILE_VERBS.items():
        home.begin(f"{name} with --force over a file of somebody's")
        place = home.out / "theirs.csv"
        place.write_text("theirs\n")
        home.done(*words, place, "--force")
        home.expect(place.read_bytes() != b"theirs\n", "nothing was written")
        home.begin(f"{name} with --force over a link")
        place.symlink_to(home.other / "thesis.csv")
        unhurt = home.keep(home.other)
        home.done(*words, place, "--force")
        home.expect(not place.is_symlink(), "the link is still there")
        unhurt()


def _again(home: Home) -> None:
    for name, words in FILE_VERBS.items():
        home.begin(f"{name} over its own file")
        home.done(*words, home.out / "x")
        home.done(*words, home.out / "x")
        image = home.images()[3].relative_to(home.data).as_posix()
        home.done("decide", image, "--exclude")
        home.done(*words, home.out / "x")
    home.begin("cards over their own")
    home.done("card", "-o", home.out)
    home.done("decide", home.images()[3].relative_to(home.data).as_posix(), "--exclude")
    home.done("card", "-o", home.out)


def _workspace_inside(home: Home) -> None:
    for inside in ("workspace", "train/workspace"):
        home.begin(f"a workspace in the data, at {inside}")
        space = home.data / inside
        first = home.run("run", home.data, "--json", space=space)
        again = home.run("run", home.data, "--json", space=space)
        for ended in (first, again):
            home.expect('"images": 120' in ended.output, f"other images than its own: {ended.output[-200:]}")
    home.begin("exports laid into the data by hand")
    for form in ("folder", "coco", "webdataset"):
        home.done("export", "cleaned", "--format", form, "-o", home.out / form)
        (home.out / form).rename(home.data / form)
    ended = home.done("run", home.data, "--json")
    home.expect('"images": 120' in ended.output, "an export was read as images")
    home.begin("a folder whose name and files only look like ours")
    (home.data / "train" / "happy").mkdir(exist_ok=True)
    (home.images()[0].parent / "export.json").write_text('{"name": "a scan"}')
    (home.images()[0].parent / "workspace.json").write_text("[]")
    ended = home.done("run", home.data, "--json")
    home.expect('"images": 120' in ended.output, "images beside a foreign export.json were left out")
