"""Every file of a workspace, damaged in every way: each command works or says in one sentence what is wrong."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd

from tests.faults.trust.base import Home

Damage = Callable[[Path, Home], object]


def _json_of_wrong_types(path: Path, home: Home) -> None:
    """Turn every value of a JSON file, or of each line of it, into one of another type."""

    def other(value: object) -> object:
        return {"x": [1]} if isinstance(value, str) else "7" if isinstance(value, int | float) else 3

    def turned(text: str) -> str:
        return json.dumps({name: other(value) for name, value in json.loads(text).items()})

    lines = path.read_text().splitlines() if path.suffix == ".jsonl" else [path.read_text()]
    path.write_text("\n".join(map(turned, lines)) + "\n")


def _one_of_wrong_type(place: int) -> Damage:
    """Turn one value of a JSON file, or of its last line, into one of another type."""

    def damage(path: Path, home: Home) -> None:
        *lines, last = path.read_text().splitlines() if path.suffix == ".jsonl" else [path.read_text()]
        record = json.loads(last)
        name = sorted(record)[place % len(record)]
        other = json.dumps({**record, name: {"x": [1]} if isinstance(record[name], str) else "text"})
        path.write_text("\n".join([*lines, other]) + "\n")

    return damage


def _with_field(value: object) -> Damage:
    def damage(path: Path, home: Home) -> None:
        lines = path.read_text().splitlines() if path.suffix == ".jsonl" else [path.read_text()]
        added = [json.dumps({**json.loads(line), "quantum": value}) for line in lines]
        path.write_text("\n".join(added) + "\n")

    return damage


def _numbers_of_nan(path: Path, home: Home) -> None:
    def turned(value: object) -> object:
        if isinstance(value, dict):
            return {name: turned(part) for name, part in value.items()}
        if isinstance(value, list):
            return [turned(part) for part in value]
        return float("nan") if isinstance(value, int | float) else value

    lines = path.read_text().splitlines() if path.suffix == ".jsonl" else [path.read_text()]
    path.write_text("\n".join(json.dumps(turned(json.loads(line))) for line in lines) + "\n")


def _table(change: Callable[[pd.DataFrame], pd.DataFrame]) -> Damage:
    return lambda path, home: change(pd.read_parquet(path)).to_parquet(path)


def _other_types(frame: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame({name: [{"a": 1}] * len(frame) for name in frame})


def _in_place(make: Callable[[Path, Home], object]) -> Damage:
    def damage(path: Path, home: Home) -> None:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
        make(path, home)

    return damage


ANY: dict[str, Damage] = {
    "deleted": _in_place(lambda path, home: None),
    "emptied": _in_place(lambda path, home: path.write_bytes(b"")),
    "cut in half": lambda path, home: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "of noise": _in_place(lambda path, home: path.write_bytes(b"\x80noise\xff\0" * 9)),
    "of noise behind": lambda path, home: path.write_bytes(path.read_bytes() + b"\xff\xfe{[\0\n"),
    "a folder": _in_place(lambda path, home: path.mkdir()),
    "a pipe": _in_place(lambda path, home: os.mkfifo(path)),
    "a link out": _in_place(lambda path, home: path.symlink_to(home.other / "thesis.csv")),
    "a link to nothing": _in_place(lambda path, home: path.symlink_to(home.other / "nothing")),
}
"""What may befall any file."""

TEXT: dict[str, Damage] = {
    "nested deeply": lambda path, home: path.write_bytes(b"[" * 50_000 + b"]" * 50_000 + b"\n"),
    "an object nested deeply": lambda path, home: path.write_text('{"a": ' * 900 + "1" + "}" * 900 + "\n"),
    "of wrong types": _json_of_wrong_types,
    **{f"whose field {place} is of another type": _one_of_wrong_type(place) for place in range(5)},
    "of NaN": _numbers_of_nan,
    "of a newer version": _with_field({"new": 1}),
    "with half a character": _with_field("\ud800"),
    "with a huge number": lambda path, home: path.write_text('{"format": 1' + "0" * 5000 + "}\n"),
    "a list": lambda path, home: path.write_text("[1, 2]\n"),
    "in UTF-16": lambda path, home: path.write_text(path.read_text(), "utf-16"),
}
"""What may befall a file of JSON."""

TABLE: dict[str, Damage] = {
    "without rows": _table(lambda frame: frame.head(0)),
    "without its last column": _table(lambda frame: frame.iloc[:, :-1]),
    "without its first column": _table(lambda frame: frame.iloc[:, 1:]),
    "of texts": _table(lambda frame: frame.astype(object).map(lambda _: "x")),
    "of wrong types": _table(_other_types),
    "of missing values": _table(lambda frame: frame.astype(object).where(lambda cells: cells.isna())),
    "with rows twice": _table(lambda frame: pd.concat([frame, frame], ignore_index=True)),
    "of other images": _table(lambda frame: frame.assign(**{frame.columns[0]: "x" + frame.iloc[:, 0].astype(str)})),
}
"""What may befall a table."""

TEXTS = (
    *("workspace.json", "state.json", "ingest.json", "calibration.json", "decisions.jsonl", "manifests/v2.json"),
    *("manifests/tags.jsonl", "review/journal/ann.jsonl", "written/any.json", "labels.json"),
)

TABLES = (
    *(
        "images.parquet",
        "listing.parquet",
        "issues.parquet",
        "scores/*.parquet",
        "pairs.parquet",
        "manifests/v1.parquet",
    ),
    *("manifests/v2.parquet", "votes/crowd.parquet", "review/conflicts.parquet", "labels.parquet"),
)

OTHERS = ("curate.toml", ".lock", ".lock-owner", "curate.log", "reports/cleaning.html")

FOLDERS = ("manifests", "measurements", "reports", "review", "review/journal", "votes", "written")

COMMANDS: tuple[tuple[str, ...], ...] = (
    ("show",),
    ("versions",),
    ("issues",),
    ("log",),
    ("explain", "{image}"),
    ("diff", "raw", "cleaned"),
    ("verify",),
    ("verify", "--foreign"),
    ("review", "conflicts"),
    ("votes",),
    ("doctor",),
    ("audit", "--sample", "3", "--check", "dark"),
    ("export", "cleaned", "-o", "{out}/v.csv"),
    ("export", "cleaned", "--format", "folder", "-o", "{out}/folder"),
    ("card", "-o", "{out}/cards"),
    ("decide", "{image}", "--exclude"),
    ("tag", "cleaned", "name"),
    ("review", "pull"),
    ("check",),
    ("apply",),
    ("undo", "1"),
    ("report",),
    ("run", "{data}"),
)
"""Given one after the other to each damaged workspace."""


SHARE = 3
"""Every so many commands a damage is given: the next one gets the next of them."""


def _cases() -> Iterator[tuple[str, str, Damage]]:
    for name in (*TEXTS, *TABLES, *OTHERS):
        own = {} if name in OTHERS else TEXT if name in TEXTS else TABLE
        for what, damage in {**ANY, **own}.items():
            yield name, what, damage
    for name in FOLDERS:
        for what in ("deleted", "a pipe", "a link out", "of noise"):
            yield name, what, ANY[what]


def lay_down(home: Home) -> None:
    """Add what a workspace has once people worked with it, so that every kind of file is there."""
    image = home.images()[0].relative_to(home.data).as_posix()
    other = home.images()[1].relative_to(home.data).as_posix()
    home.done("tag", "cleaned", "paper")
    home.done("decide", image, "--keep")
    votes = home.top / "crowd.csv"
    votes.write_text(f"path,happy,sad\n{image},3,1\n{other},0,4\n")
    home.done("votes", "import", votes)
    line = {"reviewer": "ann", "queue": "all", "reason": "", "issue": "", "value": ""}
    presses = [
        {**line, "id": "1", "time": "2026-01-01T00:00:00+00:00", "action": "exclude", "paths": [image]},
        {**line, "id": "2", "time": "2026-01-01T00:00:01+00:00", "action": "label", "value": "sad", "paths": [other]},
    ]
    journal = home.space / "review" / "journal" / "ann.jsonl"
    journal.parent.mkdir(parents=True)
    journal.write_text("".join(json.dumps(press) + "\n" for press in presses))
    home.done("review", "pull")
    calibration = {"settings": {"duplicates": {"min_probability": 0.9}}, "evidence": {"images": 1}}
    (home.space / "calibration.json").write_text(json.dumps(calibration))
    home.done("issues", "-o", home.top / "issues.csv")
    (next((home.space / "written").glob("*.json"))).rename(home.space / "written" / "any.json")
    (home.space / "curate.toml").write_text("seed = 1\n")
    _judged(home)


def _judged(home: Home) -> None:
    """Lay a judgement of the labels down as ``curate check --labels`` leaves it, without fitting anything."""
    images = pd.read_parquet(home.space / "images.parquet")
    from curation.pipeline.label_store import REVISION, data_digest

    classes = sorted(set(images["label"]))
    even = dict.fromkeys(classes, 1 / len(classes))
    table = images[["path", "label"]].assign(
        group="", wrong=0.1, ambiguous=0.1, suggestion=classes[0], suggestion_right=0.2, posterior=json.dumps(even),
        wrong_untaught=0.1, answers=0.0, self_confidence=0.5, margin=0.5, neighbours=0.1, disagreement=0.1,
        negated_aum=0.0, forgetting=0.0, says="", **{"doubt: models": 0.1},
    )  # fmt: skip
    table.to_parquet(home.space / "labels.parquet")
    juror = {"name": "models", "weight": 1.0, "seen": 0.0, "skill": 0.5, "slope": 1.0, "sentence": "words"}
    record = {
        "key": "k", "data": data_digest(images), "revision": REVISION, "recipe": "fast", "classes": classes,
        "sharpness": 1.0, "remarks": [], "seconds": 1.0, "accuracy": 0.9, "jury": [juror],
        "rates": dict.fromkeys(classes, 0.1), "rate_draws": [[0.1] * len(classes)] * 3,
        "confident_joint": [[0.0] * len(classes)] * len(classes), "expected_wrong": 3.0, "planted": {},
    }  # fmt: skip
    (home.space / "labels.json").write_text(json.dumps(record))


def run(home: Home, *, every: int = 1) -> None:
    """Damage the workspace in every way (or every n-th) and give it all commands."""
    image = home.images()[2].relative_to(home.data).as_posix()
    for number, (name, what, damage) in enumerate(_cases()):
        if number % every:
            continue
        home.begin(f"{name} {what}")
        damage(next(home.space.glob(name), home.space / name), home)
        unhurt = home.keep(home.data, home.other)
        for words in COMMANDS[number % SHARE :: SHARE]:
            home.run(*(word.format(image=image, out=home.out, data=home.data) for word in words))
        unhurt()
