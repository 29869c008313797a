"""Every hostile input ends as a row that says what is wrong, or as one sentence; never as a traceback, a hang or a
write outside the workspace."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import time
from collections import Counter
from pathlib import Path
from typing import Any

from curation.base import files
from curation.base.errors import CurationError
from curation.base.workspace import Workspace
from tests.faults import corpus, forked

LIMIT_S = 60.0
"""For one input; each takes well under a second on an idle machine."""

FUZZ_S = {True: 60.0, False: 5.0}


def _snapshot(top: Path, *, without: Path) -> dict[str, str]:
    """Return a fingerprint of every file below ``top`` but those in ``without``."""
    found = {}
    for folder, _, names in os.walk(top):
        if Path(folder).is_relative_to(without):
            continue
        for name in names:
            path = Path(folder) / name
            plain = path.is_file() and not path.is_symlink()
            found[os.fsdecode(os.fsencode(path))] = hashlib.sha256(path.read_bytes()).hexdigest() if plain else ""
    return found


def images(scratch: Path) -> dict[str, Any]:
    """Curate one folder of all hostile image files and names; every file must be a row or on the list of left out."""
    top, workspace = scratch / "images", Workspace(scratch / "images-space")
    (top / "train" / "happy").mkdir(parents=True)
    pictures = dict(corpus.image_files())
    for name, data in pictures.items():
        (top / "train" / "happy" / name).write_bytes(data)
    named = corpus.odd_names(top)
    before = _snapshot(scratch, without=workspace.root)
    ended = forked.curate(["run", str(top), "-w", str(workspace.root)], limit_s=600)
    faults = [] if ended.went_well else [f"run: {ended.status} {ended.output[-500:]}"]
    if _snapshot(scratch, without=workspace.root) != before:
        faults.append("something was written outside the workspace")
    if Path("pwned").exists() or (top / "pwned").exists():
        faults.append("a file was executed")
    if faults:
        return {"inputs": len(pictures) + named, "faults": faults}
    issues = files.read_table(workspace.issues)
    unreadable = set(issues.loc[(issues["check"] == "unreadable") & issues["is_issue"], "path"])
    rows = set(files.read_table(workspace.images)["path"])
    left_out = [entry["path"] for entry in files.read_json(workspace.ingest)["left_out"]]
    known = Counter(rows) + Counter(left_out)
    faults += [f"{name} is lost" for name in pictures if f"train/happy/{name}" not in known]
    if sum(known.values()) != len(pictures) + named:
        faults.append(f"{sum(known.values())} of {len(pictures) + named} files are accounted for")
    must_fail = [name for name in pictures if name.startswith(("empty", "zeros", "noise", "bomb-announced", "text"))]
    faults += [f"{name} passes for an image" for name in must_fail if f"train/happy/{name}" in rows - unreadable]
    return {
        "inputs": len(pictures) + named,
        "readable": len(rows) - len(unreadable),
        "unreadable_issues": len(unreadable),
        "left_out": len(left_out),
        "seconds": round(ended.seconds, 1),
        "faults": faults,
    }


def sources(scratch: Path) -> dict[str, Any]:
    """Give each hostile source to ``curate run``: one sentence, in time, nothing outside."""
    faults = []
    slowest = 0.0
    makers = corpus.sources()
    for number, (name, make) in enumerate(makers.items()):
        folder = scratch / f"source-{number}"
        (folder / "in").mkdir(parents=True)
        source = make(folder / "in")
        before = _snapshot(folder / "in", without=folder / "space")
        given = "nosuch://user:pass@host/x" if name == "url unknown" else str(source)
        ended = forked.curate(["run", given, "-w", str(folder / "space")], limit_s=LIMIT_S)
        slowest = max(slowest, ended.seconds)
        if not (ended.said_one_sentence or ended.went_well):
            faults.append(f"{name}: {ended.status} {ended.output.strip()[-300:]}")
        if _snapshot(folder / "in", without=folder / "space") != before or {path.name for path in folder.iterdir()} - {
            "in",
            "space",
        }:
            faults.append(f"{name}: something was written outside the workspace")
        shutil.rmtree(folder)
    if Path("/tmp/out.jpg").exists() or Path("/out.jpg").exists():
        faults.append("an archive wrote outside")
    return {"inputs": len(makers), "slowest_s": round(slowest, 2), "faults": faults}


COMMANDS = (
    ["show"],
    ["verify"],
    ["log"],
    ["issues"],
    ["apply"],
    ["show", "paper"],
    ["export", "cleaned", "-o", "{out}"],
)
"""Given to every damaged workspace."""


def workspaces(curated: Path, scratch: Path) -> dict[str, Any]:
    """Give commands to each damaged workspace: they work, or say in one sentence what is damaged.

    How many of the damages each command gets over, and how many it refuses, is a figure of its own: ``show paper`` asks
    for a version that is in none of them.
    """
    faults = []
    outcomes = {" ".join(words[:2]): Counter(worked=0, refused=0, failed=0) for words in COMMANDS}
    found = corpus.damages()
    for number, (name, damage) in enumerate(found.items()):
        workspace = scratch / f"damaged-{number}" / "space"
        shutil.copytree(curated, workspace)
        damage(workspace)
        for words in COMMANDS:
            given = [word.format(out=workspace.parent / "out.csv") for word in words]
            ended = forked.curate([*given, "-w", str(workspace)], limit_s=LIMIT_S)
            outcome = "worked" if ended.went_well else "refused" if ended.said_one_sentence else "failed"
            outcomes[" ".join(words[:2])][outcome] += 1
            if outcome == "failed":
                faults.append(f"{name}, {words[0]}: {ended.status} {ended.output.strip()[-300:]}")
        shutil.rmtree(workspace.parent)
    return {"inputs": len(found), "commands": outcomes, "faults": faults}


def fuzz(scratch: Path, seconds: float) -> dict[str, Any]:
    """Read mutated images, lists and archives for so many seconds: nothing but the readers' own errors."""
    from curation.base.settings import MeasureSettings
    from curation.formats.source import read_source
    from curation.measure.decode import DecodeError, decode

    rng = random.Random(corpus.SEED)
    folder = scratch / "fuzz"
    folder.mkdir()
    seeds = {f"x.{kind.lower()}": corpus.encoded(corpus.picture(side=24), kind) for kind in corpus.FORMATS}
    for name in ("zip ../out.jpg", "tar ../out.jpg", "csv formula", "parquet numbers"):
        made = corpus.sources()[name](folder)
        seeds[f"s{made.suffix}"] = made.read_bytes()
    deadline = time.monotonic() + seconds
    faults: list[str] = []
    tried = 0
    while time.monotonic() < deadline and len(faults) < 10:
        name, data = rng.choice(list(seeds.items()))
        data = _mutated(data, rng)
        tried += 1
        started = time.monotonic()
        try:
            if name.startswith("x"):
                decode(data, MeasureSettings(max_pixels=10**6))
            else:
                (folder / name).write_bytes(data)
                read_source(str(folder / name), folder / "cache")
        except (DecodeError, CurationError) as error:
            if "\n" in str(error):
                faults.append(f"{name}: more than one line: {error!r}")
        except Exception as error:
            faults.append(f"{name}: {error!r}")
        if time.monotonic() - started > LIMIT_S:
            faults.append(f"{name}: too slow")
    return {"tried": tried, "seconds": seconds, "faults": faults}


def _mutated(data: bytes, rng: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.randint(1, 6)):
        place = rng.randrange(len(changed)) if changed else 0
        match rng.randrange(4):
            case 0:
                changed[place : place + 1] = bytes([rng.randrange(256)])
            case 1:
                del changed[place : place + rng.randint(1, 40)]
            case 2:
                changed[place:place] = rng.randbytes(rng.randint(1, 20))
            case _:
                changed[place : place + 4] = rng.choice([b"\xff" * 4, bytes(4), b"\x7f\xff\xff\xff"])
    return bytes(changed)


def figures(curated: Path, scratch: Path, *, long: bool) -> dict[str, Any]:
    """Return the figures of this part."""
    found: dict[str, Any] = {
        "images": images(scratch),
        "sources": sources(scratch),
        "workspaces": workspaces(curated, scratch),
        "fuzzing": fuzz(scratch, FUZZ_S[long]),
    }
    total = sum(found[name]["inputs"] for name in ("images", "sources", "workspaces"))
    faulty = sum(len(found[name]["faults"]) for name in ("images", "sources", "workspaces"))
    return {"inputs": total, "ended_well": total - min(faulty, total), **found}
