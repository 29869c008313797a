"""SIGKILL at any moment of any command that writes, and what must hold after it.

Two kinds of kills: from outside at random moments of an undisturbed run's length, and by the process itself just before
its n-th write (a file opened for writing, renamed, linked, removed), which meets every gap between two writes.
After each kill: ``curate verify`` finds nothing wrong; every decision and version that was there is there, unchanged;
no reader sees anything half written. At the end the same command gives the result of an undisturbed run.
"""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import signal
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from curation.base.workspace import Workspace, open_workspace
from curation.decisions import log, manifest
from curation.review.journal import Journal
from tests.faults import forked
from tests.faults.forked import Ended

SEED = 5

ATTEMPTS = 4
"""How often a kill that came too late is tried again, each time at half its moment."""

FIRST = {"time": 0.05, "write": 1.0}
"""The earliest moment, in seconds, and the first write."""

Arguments = list[str]


@dataclass(frozen=True)
class Act:
    """A command that is killed.

    arguments -- of the command in a scratch folder that holds ``sample`` and, unless it starts with none, ``workspace``
    starts    -- "nothing", or "curated": with the sample's workspace
    result    -- a fingerprint of what the command is for
    first     -- what leads up to it, once
    """

    name: str
    arguments: Callable[[Path], Arguments]
    result: Callable[[Path], str]
    starts: str = "curated"
    first: Callable[[Path], object] = lambda folder: None


def cleaned_hash(folder: Path) -> str:
    """Return the hash of the newest cleaned version."""
    return manifest.find(Workspace(folder / "space"), "cleaned").hash


def tree_hash(top: Path) -> str:
    """Return a fingerprint of a file, or of all files below a folder, wherever its scratch folder lies."""
    digest = hashlib.sha256()
    scratch = os.fsencode(top.parent)
    for path in sorted(top.rglob("*")) if top.is_dir() else [top]:
        if path.is_file():
            digest.update(str(path.relative_to(top)).encode() + b"\0" + path.read_bytes().replace(scratch, b""))
    return digest.hexdigest()


def _image(folder: Path, number: int) -> str:
    rows = manifest.rows(Workspace(folder / "space"), manifest.find(Workspace(folder / "space"), "raw"))
    return str(rows["path"][number])


def _answer(folder: Path) -> None:
    """Answer on some images as a person does in the App."""
    journal = Journal(Workspace(folder / "space").review / "journal", "tester")
    for number, action in enumerate(("exclude", "keep", "exclude")):
        journal.write(action, [_image(folder, number)])


def _weights_hash(folder: Path) -> str:
    return tree_hash(next((folder / "space" / "models").glob("*/model.safetensors")))


def _out_of_fold_hash(folder: Path) -> str:
    return tree_hash(next((folder / "space" / "predictions").glob("oof_*.parquet")))


def _in_space(*words: str) -> Callable[[Path], Arguments]:
    return lambda folder: [*words, "-w", str(folder / "space")]


_FIT = ("scratch", "--epochs", "2", "--threads", "1", "--images", "60")


def _export(form: str) -> Act:
    name = "out" if form == "folder" else f"out.{form}"
    return Act(
        f"export {form}",
        lambda f: _in_space("export", "cleaned", "--format", form, "-o", str(f / name))(f),
        lambda f: tree_hash(f / name),
    )


EXPORTS = ("folder", "csv", "parquet", "coco", "webdataset", "croissant", "huggingface", "labelstudio", "dvc")
"""Every format but FiftyOne's, which is written by a process and a database of its own."""

ACTS: tuple[Act, ...] = (
    Act("run", lambda f: ["run", str(f / "sample"), "-w", str(f / "space")], cleaned_hash, starts="nothing"),
    Act("apply", _in_space("apply", "--policy", "deck"), cleaned_hash),
    Act("decide", lambda f: _in_space("decide", _image(f, 3), "--exclude")(f), cleaned_hash),
    Act("undo", _in_space("undo", "v2"), cleaned_hash),
    *(_export(name) for name in EXPORTS),
    Act("review pull", _in_space("review", "pull"), cleaned_hash, first=_answer),
    Act("train", _in_space("train", *_FIT), _weights_hash),
    Act("crossval", _in_space("crossval", *_FIT, "--folds", "2"), _out_of_fold_hash),
)
"""One row a command."""


def act(name: str) -> Act:
    """Return the row of a command."""
    return next(row for row in ACTS if row.name == name)


@dataclass
class Kept:
    """What was committed when last looked at: decisions and the bytes of every version."""

    entries: list[log.Entry] = field(default_factory=list)
    versions: Mapping[str, bytes] = field(default_factory=dict)

    def losses(self, workspace: Workspace) -> list[str]:
        """Return what is wrong in ``workspace`` or gone since the last look; look again."""
        if not workspace.marker.exists():
            return ["the workspace is gone"] if self.versions else []
        try:
            open_workspace(workspace.root)
            entries = log.entries_of(log.Log(workspace.decisions).table)
            found = manifest.verify(workspace)
        except Exception as error:
            return [f"{type(error).__name__}: {error}"]
        names = {version.name for version in manifest.versions(workspace)}
        versions = {
            path.name: path.read_bytes()
            for path in workspace.manifests.glob("v*.*")
            if path.name.split(".")[0] in names
        }
        if entries[: len(self.entries)] != self.entries:
            found.append("a decision is gone or changed")
        found += [f"{name} is gone or changed" for name, data in self.versions.items() if versions.get(name) != data]
        self.entries, self.versions = entries, versions
        return found


def finished(arguments: Arguments) -> Ended:
    """Run ``curate`` to its end.

    Raises:
        AssertionError: it failed.

    """
    ended = forked.curate(arguments)
    assert ended.went_well, f"curate {arguments} ended with {ended.status}: {ended.output[-2000:]}"
    return ended


class Stage:
    """Scratch folders for one command: an undisturbed run of it, and one that is killed."""

    def __init__(self, chosen: Act, sample: Path, curated: Path, scratch: Path) -> None:
        self.act = chosen
        self._sample, self._curated, self._scratch = sample, curated, scratch
        self._made = 0
        folder = self.folder()
        watch = forked.WriteWatch(folder)
        ended = forked.curate(chosen.arguments(folder), inside=watch.start)
        assert ended.went_well, f"{chosen.name} fails undisturbed: {ended.output[-2000:]}"
        self.seconds, self.writes = ended.seconds, watch.count()
        self.result = chosen.result(folder)

    def folder(self) -> Path:
        """Return a fresh scratch folder in which the command can be given."""
        self._made += 1
        folder = self._scratch / f"{self.act.name.replace(' ', '-')}-{self._made}"
        folder.mkdir(parents=True)
        (folder / "sample").symlink_to(self._sample)
        if self.act.starts == "curated":
            shutil.copytree(self._curated, folder / "space")
        self.act.first(folder)
        return folder

    def kill(self, moments: list[float], writes: list[int]) -> dict[str, Any]:
        """Kill the command at shares of its length and at the n-th writes; then let it end.

        Each kill of a command that starts from a curated workspace meets a fresh copy of it every few kills, so that
        kills fall on a first try as well as on what an earlier kill left.
        """
        faults: Counter[str] = Counter()
        hits = missed = 0
        plans = [("time", share * self.seconds) for share in moments] + [("write", float(n)) for n in writes]
        random.Random(SEED).shuffle(plans)
        folder, kept = self.folder(), Kept()
        for number, (kind, value) in enumerate(plans):
            if number and number % 3 == 0:
                faults.update(self.ended(folder, kept))
                folder, kept = self.folder(), Kept()
            for attempt in range(ATTEMPTS):
                kept.losses(Workspace(folder / "space"))
                hit = self._killed(folder, kind, max(value / 2**attempt, FIRST[kind]))
                faults.update(kept.losses(Workspace(folder / "space")))
                if hit:
                    hits += 1
                    break
                missed += 1  # it had ended before: earlier, on a fresh copy
                faults.update(self.ended(folder, kept))
                folder, kept = self.folder(), Kept()
        faults.update(self.ended(folder, kept))
        return {
            "command": self.act.name,
            "kills": hits,
            "ended_before_the_kill": missed,
            "faults": dict(faults),
            "undisturbed_s": round(self.seconds, 2),
            "writes": self.writes,
        }

    def _killed(self, folder: Path, kind: str, value: float) -> bool:
        """Start the command, kill it, and tell whether it was still running."""
        arguments = self.act.arguments(folder)
        if kind == "time":
            ended = forked.curate(arguments, kill_after_s=value)
        else:
            ended = forked.curate(arguments, inside=forked.WriteWatch(folder, int(value)).start)
        return ended.status == -signal.SIGKILL

    def ended(self, folder: Path, kept: Kept) -> list[str]:
        """Let the killed command end and return what is wrong with the result."""
        ended = forked.curate(self.act.arguments(folder))
        faults = kept.losses(Workspace(folder / "space"))
        # the kill may have come after the last write: then there is nothing left to do, which is a sentence
        done_before = "already" in ended.output or "is not empty" in ended.output
        if not ended.went_well and not done_before:
            faults.append(f"the command cannot be finished: {ended.output.strip()[-300:]}")
        elif self.act.result(folder) != self.result:
            faults.append("the finished result is another one")
        # the next command under the lock clears what was left half written
        finished(["apply", "-w", str(folder / "space"), *_policy_of(self.act)])
        left = [str(path.relative_to(folder)) for path in folder.rglob("*.tmp") if "measurements" not in path.parts]
        shutil.rmtree(folder)
        return faults + [f"left half written: {name}" for name in left]


def _policy_of(chosen: Act) -> list[str]:
    return ["--policy", "deck"] if chosen.name == "apply" else []


def campaign(sample: Path, curated: Path, scratch: Path, kills: Mapping[str, int]) -> dict[str, Any]:
    """Kill each named command so many times, half at random moments and half before random writes."""
    rng = random.Random(SEED)
    rows = []
    for name, number in kills.items():
        stage = Stage(act(name), sample, curated, scratch)
        at_writes = number // 2
        moments = [(place + rng.random()) / max(1, number - at_writes) for place in range(number - at_writes)]
        writes = sorted(rng.sample(range(1, stage.writes + 1), min(at_writes, stage.writes)))
        writes += [rng.randint(1, stage.writes) for _ in range(at_writes - len(writes))]
        rows.append(stage.kill(moments, writes))
    total = sum(row["kills"] for row in rows)
    faulty = sum(sum(row["faults"].values()) for row in rows)
    return {"kills": total, "survived": total - min(total, faulty), "faults": faulty, "commands": rows}
