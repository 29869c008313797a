"""What the cases share: a data set and its workspace that are whole again for every case, and what is a fault."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from curation.cli.commands import OWN_FAULT
from tests.faults import forked
from tests.faults.forked import Ended

LIMIT_S = 90.0
"""For one command; each takes well under two seconds on a quiet machine."""

KINDS = ("lost", "let_in", "hung", "tracebacks", "wrong")
"""What a case may show: something overwritten or gone; read or written outside; no end; a traceback or no sentence of
the tool's own; another answer than the right one."""

_KEPT_APART = {"curate.log", "curate.log.1", ".lock", ".lock-owner", "written"}
"""What a command that fails may write all the same."""


@dataclass
class Tally:
    """What the cases of the suite have shown so far."""

    cases: int = 0
    commands: int = 0
    faults: dict[str, list[str]] = field(default_factory=lambda: {kind: [] for kind in KINDS})

    def note(self, kind: str, words: str) -> None:
        """Keep a fault."""
        self.faults[kind].append(words)

    def record(self) -> dict[str, Any]:
        """Return the figures: how many cases and commands, how many faults of each kind, and each in words."""
        found = [f"{kind}: {words}" for kind in KINDS for words in self.faults[kind]]
        counts = {kind: len(words) for kind, words in self.faults.items()}
        return {"cases": self.cases, "commands": self.commands, **counts, "faults": found}


class Home:
    """A data set, a workspace of it, and things beside them that are nobody's business; whole again for every case."""

    def __init__(self, top: Path, tally: Tally, sample: Path) -> None:
        self.top, self.tally, self._pristine = top / "home", tally, top / "pristine"
        self._before: list[Path] = []
        self.case = ""
        shutil.copytree(sample, self.data)
        self.other.mkdir()
        (self.other / "thesis.csv").write_text("years,of,work\n")
        (self.other / "secret.txt").write_text("hunter2")
        self.run("run", str(self.data))
        shutil.copytree(self.top, self._pristine, symlinks=True)

    @property
    def data(self) -> Path:
        """The data set."""
        return self.top / "data"

    @property
    def space(self) -> Path:
        """The workspace."""
        return self.top / "space"

    @property
    def other(self) -> Path:
        """A folder of somebody's own work."""
        return self.top / "other"

    @property
    def out(self) -> Path:
        """Where results may go."""
        return self.top / "out"

    def images(self) -> list[Path]:
        """Return the data's images, sorted."""
        return sorted(self.data.rglob("*.jpg"))

    def begin(self, case: str) -> None:
        """Make everything whole again and name the next case."""
        self.case = case
        self.tally.cases += 1
        self.mend()

    def mend(self) -> None:
        """Make everything whole again."""
        shutil.rmtree(self.top)
        shutil.copytree(self._pristine, self.top, symlinks=True)
        self.out.mkdir(exist_ok=True)

    def remember(self) -> None:
        """Take things as they are now for what every next case begins with."""
        self._before.append(self._pristine)
        self._pristine = self._pristine.with_name(f"pristine-{len(self._before)}")
        shutil.rmtree(self._pristine, ignore_errors=True)
        shutil.copytree(self.top, self._pristine, symlinks=True)

    def forget(self) -> None:
        """Begin the next cases as before ``remember``."""
        self._pristine = self._before.pop()

    def run(
        self,
        *arguments: object,
        space: Path | None = None,
        bare: bool = False,
        inside: Callable[[], object] = lambda: None,
    ) -> Ended:
        """Give a command where results go, which must end in time: well, or with a sentence of its own."""
        self.tally.commands += 1
        given = [*map(str, arguments)]
        if not bare and "-w" not in given:
            given += ["-w", str(space or self.space)]
        self.out.mkdir(exist_ok=True)
        ended = forked.curate(given, inside=lambda: (os.chdir(self.out), inside()), limit_s=LIMIT_S)
        words = f"{self.case}: {' '.join(given)}"
        if ended.hung:
            self.tally.note("hung", words)
        elif OWN_FAULT in ended.output or not (ended.went_well or ended.said_one_sentence):
            self.tally.note("tracebacks", f"{words}: {ended.status} {ended.output.strip()[-400:]}")
        return ended

    def done(self, *arguments: object) -> Ended:
        """Give a command that must go well."""
        ended = self.run(*arguments)
        if not ended.went_well:
            self.wrong(f"{arguments[0]} fails: {ended.output.strip()[-300:]}")
        return ended

    def refused(self, *arguments: object, saying: str = "") -> Ended:
        """Give a command that must be refused, with these words, and leave the workspace as it was."""
        before = snapshot(self.space, _KEPT_APART)
        ended = self.run(*arguments)
        if ended.went_well:
            self.wrong(f"{' '.join(map(str, arguments[:4]))} is done")
        elif saying not in ended.output:
            self.wrong(f"{arguments[0]} does not say {saying!r}: {ended.output.strip()[-300:]}")
        if snapshot(self.space, _KEPT_APART) != before:
            self.tally.note("lost", f"{self.case}: {arguments[0]} was refused and changed the workspace")
        return ended

    def wrong(self, words: str) -> None:
        """Keep that an answer is not the right one."""
        self.tally.note("wrong", f"{self.case}: {words}")

    def expect(self, holds: bool, words: str) -> None:
        """Keep ``words`` where something does not hold."""
        if not holds:
            self.wrong(words)

    def keep(self, *places: Path) -> Callable[[], None]:
        """Return a check that these files and folders are as they are now."""
        before = {place: snapshot(place) for place in places}

        def check() -> None:
            for place, was in before.items():
                now = snapshot(place)
                gone = sorted(name for name in was if now.get(name) != was[name])
                new = sorted(name for name in now if name not in was)
                for name in gone:
                    self.tally.note("lost", f"{self.case}: {place}/{name} is gone or another")
                for name in new:
                    self.tally.note("let_in", f"{self.case}: {place}/{name} was written")

        return check


def snapshot(top: Path, without: set[str] = frozenset()) -> dict[str, str]:  # type: ignore[assignment]
    """Return what every file below ``top`` is: its content's hash, or what a link leads to."""
    found = {}
    for path in _walk(top):
        name = os.fsdecode(os.fsencode(path.relative_to(top)))
        if name.split("/")[0] in without or name.endswith(".tmp"):
            continue
        if path.is_symlink():
            found[name] = f"-> {path.readlink()}"
        elif path.is_file():
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
        elif not path.is_dir():
            found[name] = "special"
    return found


def _walk(top: Path) -> Iterator[Path]:
    if top.is_symlink() or not top.is_dir():
        yield top
        return
    for folder, folders, names in os.walk(top):
        yield from (Path(folder) / name for name in [*names, *folders])
