"""What is said: nothing in a name steers the terminal, and what a sentence advises works."""

from __future__ import annotations

import codecs
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd

from tests.faults.trust.base import Home, snapshot

ODD = "evil\x1b[31m\x9b1m\u202e\u2028name\nsecond line\ttab\x07\x7f"
"""A name of a file, class or person that would colour, turn round, break and ring the terminal."""

_STEERS = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")

SHOWING: tuple[tuple[str, ...], ...] = (
    ("show",),
    ("show", "--json"),
    ("versions",),
    ("issues",),
    ("issues", "--all", "--json"),
    ("log",),
    ("log", "--json"),
    ("log", "--path", "{absent}"),
    ("log", "--path", "{image}"),
    ("gate", "cleaned"),
    ("coverage",),
    ("explain", "{image}"),
    ("explain", "{image}", "--json"),
    ("explain", "{absent}"),
    ("diff", "raw", "cleaned"),
    ("diff", "raw", "cleaned", "--json"),
    ("verify",),
    ("verify", "--foreign"),
    ("votes",),
    ("check",),
    ("review", "conflicts"),
    ("tag", "cleaned", "{absent}"),
    ("undo", "{absent}"),
    ("export", "{absent}", "-o", "x.csv"),
    ("export", "cleaned", "--format", "folder", "-o", "{odd}"),
    ("export", "cleaned", "-o", "{odd}.csv"),
    ("votes", "import", "{odd}"),
    ("apply", "--policy", "{odd}"),
    ("audit", "--answers", "{odd}"),
    ("annotations", "{odd}"),
    ("run", "{odd}"),
    ("doctor",),
)
"""Commands that print names; {image} has such a name, {odd} is one of nothing."""


def run(home: Home, *, every: int = 1) -> None:
    """Print odd names, print on odd terminals, and follow advice."""
    _terminal(home)
    _encodings(home)
    for number, (case, harm, verb) in enumerate(_advised()):
        if number % every == 0:
            _follow(home, case, harm, verb)
    for check in (_permissions, _newer, _readonly, _changed_image):
        check(home)


def _oddly_named(home: Home) -> str:
    """Give an image, its class, a decision and votes such names, and return the image's path."""
    odd = ODD.replace("/", "_")
    folder = home.data / "train" / odd
    folder.mkdir()
    image = folder / f"{odd}.jpg"
    shutil.copy(home.images()[0], image)
    home.done("run", home.data)
    path = image.relative_to(home.data).as_posix()
    home.done("decide", path, "--relabel", odd, "--reason", odd, "--by", odd)
    votes = home.top / "odd.csv"
    pd.DataFrame({"path": [path], odd: [3]}).to_csv(votes, index=False)
    home.done("votes", "import", votes)
    return path


def _terminal(home: Home) -> None:
    home.begin("odd names")
    path = _oddly_named(home)
    home.remember()
    for words in SHOWING:
        home.begin(f"{' '.join(words)} of odd names")
        ended = home.run(*(word.format(image=path, absent="\x1b]0;x\x07", odd=ODD) for word in words))
        told = _STEERS.search(ended.output)
        home.expect(told is None, f"{told and told[0]!r} reaches the terminal")
        if "--json" in words:
            value = json.loads(ended.output)
            home.expect(words[0] != "log" or value[0]["reason"] == ODD, "JSON lost a character")
    home.forget()


def _encodings(home: Home) -> None:
    for encoding in ("latin-1", "ascii", "cp1252", "utf-8"):
        for words in (("show",), ("show", "--json"), ("log",), ("issues", "--format", "csv"), ("explain", "{image}")):
            home.begin(f"{' '.join(words)} on a terminal of {encoding}")
            image = home.images()[2].relative_to(home.data).as_posix()
            home.done("decide", image, "--exclude", "--reason", "\u2192 caf\u00e9 \U0001f642")

            def inside(name: str = encoding) -> None:
                import sys

                for stream in (sys.stdout, sys.stderr):
                    stream.reconfigure(encoding=name, errors="strict")  # type: ignore[union-attr]

            ended = home.run(*(word.format(image=image) for word in words), inside=inside)
            home.expect(ended.went_well, ended.output[-200:])


NOISE = b"\x80noise"


def _noise(name: str) -> Callable[[Home], object]:
    return lambda home: _found(home, name).write_bytes(NOISE)


def _found(home: Home, name: str) -> Path:
    """Return the file of the workspace that a name or pattern stands for."""
    return next(home.space.glob(name), home.space / name)


def _of_one_column(name: str) -> Callable[[Home], object]:
    def harm(home: Home) -> None:
        place = _found(home, f"{name}.parquet")
        pd.read_parquet(place).iloc[:, :1].to_parquet(place)

    return harm


def _leading_outside(home: Home) -> None:
    listing = pd.read_parquet(home.space / "listing.parquet")
    listing.loc[3, "url"] = str(home.other / "secret.txt")
    listing.to_parquet(home.space / "listing.parquet")


def _advised() -> Iterator[tuple[str, Callable[[Home], object], tuple[str, ...]]]:
    """Yield what befalls a file, and a verb that then gives advice."""
    for name, verb in (
        ("images.parquet", ("explain", "{image}")),
        ("listing.parquet", ("check",)),
        ("issues.parquet", ("issues",)),
        ("scores/*.parquet", ("issues",)),
        ("pairs.parquet", ("check",)),
        ("ingest.json", ("report",)),
        ("state.json", ("run", "{data}")),
        ("calibration.json", ("check",)),
        ("labels.json", ("show",)),
        ("labels.parquet", ("check",)),
        ("votes/crowd.parquet", ("votes",)),
        ("review/conflicts.parquet", ("review", "conflicts")),
        ("review/journal/ann.jsonl", ("review", "pull")),
        ("curate.toml", ("check",)),
        ("written/any.json", ("show",)),
    ):
        yield f"advice on {name} of noise", _noise(name), verb
    one_column = {
        "issues": ("issues",),
        "scores/*": ("issues",),
        "pairs": ("check",),
        "listing": ("check",),
        "images": ("report",),
    }
    for name, verb in one_column.items():
        yield f"advice on {name}.parquet of one column", _of_one_column(name), verb
    yield "advice on a listing that leads outside", _leading_outside, ("check",)
    for name in ("images.parquet", "listing.parquet", "issues.parquet", "scores/*.parquet"):
        yield (
            f"advice where there is no {name}",
            lambda home, name=name: _found(home, name).unlink(),
            (  # type: ignore[misc]
                "issues" if name.startswith(("issues", "scores")) else "export",
                *(() if name.startswith(("issues", "scores")) else ("cleaned", "-o", "{out}/x.csv")),
            ),
        )


def _follow(home: Home, case: str, harm: Callable[[Home], object], verb: tuple[str, ...]) -> None:
    """Do what a sentence says: delete the file that it names, or move it away, give the command, and try again."""
    home.begin(case)
    image = home.images()[2].relative_to(home.data).as_posix()
    words = [word.format(image=image, data=home.data, out=home.out) for word in verb]
    kept = home.keep(home.data, home.space / "manifests", home.space / "decisions.jsonl")
    harm(home)
    said = home.run(*words)
    if said.went_well:
        return
    sentence = said.output.strip().splitlines()[-1]
    named = re.search(re.escape(str(home.space)) + r"/[\w./-]+\.\w+", sentence)
    if "delete it" in sentence or "move it" in sentence:
        home.expect(named is not None, f"which file? {sentence}")
        if named:
            Path(named[0]).unlink()
    if "run: curate run DATA" in sentence or "curate run DATA" in sentence:
        home.done("run", home.data)
    elif sentence.endswith("curate check"):
        home.done("check")
    elif "delete it" not in sentence and "move it" not in sentence:
        home.wrong(f"no advice: {sentence}")
    again = home.run(*words)
    harmless = again.went_well or "has not been" in again.output or "no votes" in again.output
    home.expect(harmless, f"advised {sentence!r}, and then: {again.output.strip()[-300:]}")
    kept()


def _permissions(home: Home) -> None:
    """What may not be read is not called damaged, and nobody is told to delete it (root may read everything)."""
    for name, verb in (
        ("issues.parquet", ("issues",)),
        ("manifests/v2.json", ("show",)),
        ("decisions.jsonl", ("log",)),
    ):
        home.begin(f"{name} may not be read")
        (home.space / name).chmod(0)
        for place in (home.top, home.space, home.space / "manifests"):
            place.chmod(0o755)
        ended = home.run(*verb, inside=_as_nobody)
        if "Permission" in ended.output or not ended.went_well:
            home.expect("delete" not in ended.output and "damaged" not in ended.output, ended.output[-200:])


def _as_nobody() -> None:
    codecs.lookup("utf-8-sig")  # the interpreter's own files may be out of nobody's reach
    codecs.lookup("utf-16")
    if os.geteuid() == 0:
        os.setgid(65534)
        os.setuid(65534)


def _newer(home: Home) -> None:
    for name in ("review/journal/ann.jsonl", "manifests/v2.json", "decisions.jsonl"):
        home.begin(f"{name} of a newer version")
        place = home.space / name
        lines = place.read_text().splitlines() if place.suffix == ".jsonl" else [place.read_text()]
        place.write_text("\n".join(json.dumps({**json.loads(line), "quantum": 1}) for line in lines) + "\n")
        ended = home.run(
            *(("review", "pull") if name.startswith("review") else ("log",) if "log" in name else ("show",))
        )
        if not ended.went_well and name.startswith("review"):
            home.expect("newer" in ended.output and "damaged" not in ended.output, ended.output[-200:])


def _readonly(home: Home) -> None:
    """A workspace that cannot be written takes no decision, though its log could be."""
    for what in ("the workspace", "manifests"):
        home.begin(f"{what} is read-only")
        image = home.images()[2].relative_to(home.data).as_posix()
        for place in home.top.rglob("*"):
            if not place.is_symlink():
                place.chmod(0o777 if place.is_dir() else 0o666)
        home.top.chmod(0o755)
        (home.space if what == "the workspace" else home.space / "manifests").chmod(0o555)
        before = snapshot(home.space, {"curate.log"})
        ended = home.run("decide", image, "--exclude", inside=_as_nobody)
        if os.geteuid() == 0:
            home.expect(not ended.went_well, "the decision is taken")
            home.expect(snapshot(home.space, {"curate.log"}) == before, "it is half taken")


def _changed_image(home: Home) -> None:
    from tests.faults.trust.stale import _kept

    home.begin("advice on an image that is another one by now")
    place = home.data / _kept(home)[0]
    place.write_bytes(place.read_bytes() + b"\1")
    ended = home.run("export", "cleaned", "--format", "folder", "-o", home.out / "x")
    home.expect("curate run" in ended.output, ended.output[-200:])
    home.done("run", home.data)
    home.done("export", "cleaned", "--format", "folder", "-o", home.out / "x")
