"""A workspace or a data set of somebody else is data: it names nothing outside, and nothing in it runs."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from tests import programs
from tests.faults.trust.base import Home

WRITERS: tuple[tuple[str, ...], ...] = (
    ("run", "{data}"),
    ("decide", "{image}", "--exclude"),
    ("report",),
    ("votes", "import", "{votes}"),
    ("review", "pull"),
    ("tag", "cleaned", "name"),
    ("export", "cleaned", "-o", "{out}/x.csv"),
    ("check",),
)

LINKED = (
    *(".lock", ".lock-owner", "curate.log", "curate.log.1", "state.json", "ingest.json", "decisions.jsonl"),
    *(
        "listing.parquet",
        "images.parquet",
        "issues.parquet",
        "pairs.parquet",
        "workspace.json",
        "curate.toml",
    ),
    *(
        "manifests/v1.json",
        "manifests/v3.json",
        "manifests/v3.parquet",
        "manifests/tags.jsonl",
        "reports/cleaning.html",
    ),
    *("votes/crowd.parquet", "written/x.json", "review/conflicts.parquet", "calibration.json", "labels.parquet"),
    *("sources/contents/ab", "predictions/fer_model.parquet", "models/fast/config.json", "review/journal/x.jsonl"),
)
"""Files of a workspace that somebody laid down as links to a file outside."""

LINKED_FOLDERS = (
    *("reports", "manifests", "measurements", "review", "review/journal", "votes", "sources", "sources/contents"),
    *("predictions", "predictions/folds", "models", "findings", "written", "reports/peers", "review/mongo"),
)


def _link(home: Home, name: str, target: Path) -> None:
    place = home.space / name
    place.parent.mkdir(parents=True, exist_ok=True)
    if place.is_dir() and not place.is_symlink():
        shutil.rmtree(place)
    place.unlink(missing_ok=True)
    place.symlink_to(target)


def _give(home: Home, commands: tuple[tuple[str, ...], ...] = WRITERS) -> None:
    image = home.images()[2].relative_to(home.data).as_posix()
    votes = home.top / "crowd.csv"
    votes.write_text(f"path,happy,sad\n{image},3,1\n")
    for words in commands:
        home.run(*(word.format(data=home.data, image=image, out=home.out, votes=votes) for word in words))


def run(home: Home, *, every: int = 1) -> None:
    """Give commands to workspaces with links, edited listings and code in them."""
    cases = [(name, home.other / "thesis.csv") for name in LINKED]
    cases += [(name, home.other) for name in LINKED_FOLDERS]
    cases += [(name, home.other / "not-yet") for name in (*LINKED[:4], *LINKED_FOLDERS[:6])]
    for number, (name, target) in enumerate(cases):
        if number % every:
            continue
        home.begin(f"{name} is a link to {target.name}")
        _link(home, name, target)
        unhurt = home.keep(home.data, home.other)
        _give(home)
        unhurt()
        ended = home.run("verify", "--foreign")
        if name != "workspace.json":
            home.expect(name.split("/")[0] in ended.output, f"verify --foreign does not tell: {ended.output[-200:]}")
    for check in (_listings, _plugins, _pickles, _settings, _received, _links_of_ours, _twins):
        check(home)


SECRETS: dict[str, Callable[[Home], str]] = {
    "an absolute path": lambda home: str(home.other / "secret.txt"),
    "dots": lambda home: f"{home.data}/../other/secret.txt",
    "dots of the workspace": lambda home: f"{home.space}/sources/../../other/secret.txt",
    "a URL of a file": lambda home: f"file://{home.other}/secret.txt",
    "a local URL": lambda home: f"local://{home.other}/secret.txt",
    "a chain of URLs": lambda home: f"simplecache::file://{home.other}/secret.txt",
    "a link of the workspace": lambda home: _false_link(home),
    "the user's own": lambda home: str(Path.home() / ".bashrc"),
    "a neighbour with the same beginning": lambda home: _neighbour(home),
    "a device": lambda home: "/dev/zero",
    "a relative path": lambda home: "../other/secret.txt",
}


def _false_link(home: Home) -> str:
    place = home.space / "sources" / "links" / ("0" * 64)
    place.parent.mkdir(parents=True)
    place.symlink_to(home.other / "secret.txt")
    return str(place)


def _neighbour(home: Home) -> str:
    folder = home.data.with_name(home.data.name + "-private")
    folder.mkdir()
    (folder / "secret.txt").write_text("hunter2")
    return str(folder / "secret.txt")


def _listings(home: Home) -> None:
    """Name a secret in the listing and make every table fit to it, as only an attacker would."""
    for how, url_of in SECRETS.items():
        home.begin(f"the listing names a secret by {how}")
        url = url_of(home)
        listing = pd.read_parquet(home.space / "listing.parquet")
        path = listing["path"][3]
        listing.loc[3, "url"] = url
        listing.to_parquet(home.space / "listing.parquet")
        digest = hashlib.sha256(b"hunter2").hexdigest()
        for name in ("images", "manifests/v1", "manifests/v2"):
            table = pd.read_parquet(home.space / f"{name}.parquet")
            table.loc[table["path"] == path, "sha256"] = digest
            if "status" in table:
                table.loc[table["path"] == path, "status"] = "kept"
            table.to_parquet(home.space / f"{name}.parquet")
        for form in ("folder", "coco", "webdataset", "huggingface"):
            home.run("export", "cleaned", "--format", form, "-o", home.out / form)
        for words in (("check",), ("apply",), ("export", "raw", "--format", "folder", "-o", str(home.out / "raw"))):
            home.run(*words)
        told = [place for place in [*home.out.rglob("*"), *home.space.rglob("*")] if _holds_secret(place)]
        for place in told:
            home.tally.note("let_in", f"{home.case}: {place} holds it")


def _holds_secret(place: Path) -> bool:
    return place.is_file() and not place.is_symlink() and b"hunter2" in place.read_bytes()


def _plugins(home: Home) -> None:
    """A plug-in that came with the workspace is not where the App looks."""
    for name in ("review/plugins/evil", "review/plugins/face-curation"):
        home.begin(f"a plug-in at {name}")
        folder = home.space / name
        folder.mkdir(parents=True)
        (folder / "fiftyone.yml").write_text("name: evil\noperators: []\n")
        (folder / "__init__.py").write_text(f"open({str(home.other / 'touched')!r}, 'w')\n")
        told = programs.run("plugins", home.space)
        home.expect(told.endswith("0 ['face-curation']"), told)
        home.expect(str(home.space) not in told, "the App looks for plug-ins in the workspace")
        ended = home.done("verify", "--foreign")
        home.expect("review/plugins" in ended.output, "verify --foreign does not tell")
        home.expect(not (home.other / "touched").exists(), "its code was run")


class _Evil:
    def __init__(self, touched: Path) -> None:
        self.touched = touched

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, (f"touch '{self.touched}'",)


def _pickles(home: Home) -> None:
    import pickle

    for name in ("models/fast/checkpoint.pt", "models/fast/model.safetensors", "predictions/folds/x/fold-0.npy"):
        home.begin(f"a pickle at {name}")
        place = home.space / name
        place.parent.mkdir(parents=True)
        place.write_bytes(pickle.dumps(_Evil(home.other / "touched")))
        (home.space / "models" / "fast").mkdir(parents=True, exist_ok=True)
        (home.space / "models" / "fast" / "config.json").write_text("{}")
        for words in (("show",), ("verify", "--foreign"), ("card", "-o", home.out / "cards"), ("report",)):
            home.run(*words)
        home.expect(not (home.other / "touched").exists(), "its code was run")


def _settings(home: Home) -> None:
    for name, text in (
        ("an engine elsewhere", '[engine]\nkind = "ray"\naddress = "127.0.0.1:9"\n'),
        ("only an address", '[engine]\naddress = "ray://127.0.0.1:9"\n'),
    ):
        home.begin(f"settings that name {name}")
        (home.space / "curate.toml").write_text(text)
        home.refused("check", saying="engine.address")
        home.refused("run", home.data, saying="engine.address")
        home.expect("address" in home.done("verify", "--foreign").output, "verify --foreign does not tell")
    home.begin("a calibration that names an engine")
    settings = {"settings": {"engine": {"kind": "ray", "address": "127.0.0.1:9"}}}
    (home.space / "calibration.json").write_text(json.dumps(settings))
    home.refused("check", saying="calibration.json")


def _received(home: Home) -> None:
    home.begin("verify --foreign of a workspace of one's own")
    ended = home.done("verify", "--foreign")
    home.expect(str(home.data) in ended.output, "it does not say where images are read")
    home.begin("verify --foreign opens and changes nothing")
    os.mkfifo(home.space / "pipe")
    unhurt = home.keep(home.space)
    ended = home.done("verify", "--foreign", "--json")
    home.expect("pipe" in ended.output, "a pipe is not told")
    unhurt()
    home.begin("verify --foreign of no workspace")
    home.run("verify", "--foreign", "-w", home.other)


def _links_of_ours(home: Home) -> None:
    """Images whose names are not UTF-8 are reached by links of our own, which must go on working."""
    home.begin("images whose names are not UTF-8")
    name = os.fsencode(home.images()[0].parent) + b"/caf\xe9.jpg"
    Path(os.fsdecode(name)).write_bytes(home.images()[5].read_bytes() + b"\0")
    home.done("run", home.data)
    home.done("export", "raw", "--format", "folder", "-o", home.out / "x")
    moved = home.top / "moved"
    home.space.rename(moved)
    home.space.symlink_to(moved)
    home.done("export", "raw", "--format", "folder", "-o", home.out / "y")


def _twins(home: Home) -> None:
    home.begin("a workspace reached by a linked folder")
    (home.top / "alias").symlink_to(home.top)
    for words in (("show",), ("report",), ("export", "cleaned", "--format", "folder", "-o", str(home.out / "x"))):
        home.done(*words, "-w", home.top / "alias" / "space")
    home.done("run", home.top / "alias" / "data", "-w", home.top / "alias" / "space")
    home.refused("export", "cleaned", "-o", home.top / "alias" / "data" / "x.csv", saying="is inside the data set")
