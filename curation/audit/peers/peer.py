"""A peer as a source of candidates, run in a process and by an interpreter of its own.

Peers pin versions that conflict with ours, so they may be installed in another environment than the toolkit.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from curation.base import programs
from curation.base.arrays import Floats, Ints
from curation.base.errors import CurationError, installing
from curation.checks.duplicates.candidates import Candidates, Features, as_candidates, union

INTERPRETER_VARIABLE = "CURATE_PEER_PYTHON"
PEERS_PYTHON = Path(".venv-peers/bin/python")
"""Where ``make peers`` installs."""

_PROBE = "import importlib.util, sys; sys.exit(importlib.util.find_spec(sys.argv[1]) is None)"


class PeerError(CurationError):
    """A peer is not installed, or failed."""


@dataclass(frozen=True)
class Opinion:
    """A peer's answer: (M, 2) row numbers i < j, sorted, each pair once, and (M,) its own similarities, 0..1."""

    version: str
    pairs: Ints
    similarity: Floats

    def candidates(self) -> Candidates:
        """Return every pair twice, plain and mirrored: peers do not say which of them they mean."""
        i, j = self.pairs.T
        sides = [as_candidates(i, j, np.full(len(i), mirrored)) for mirrored in (False, True)]
        return union(sides)


@dataclass(frozen=True)
class Peer:
    """A ``CandidateSource`` that runs another program.

    name        -- as in ``--also``
    module      -- what must be importable for it
    program     -- a script that is given a folder, reads what ``prepare`` wrote there and adds ``found.json``:
                   {"version": text, "pairs": [[i, j, similarity], ...]}, rows numbered as in the features
    prepare     -- writes the input to a folder
    python      -- the interpreter that has ``module``
    environment -- variables that the program gets ({folder} is filled in), "" for those to unset
    """

    name: str
    module: str
    program: Path
    prepare: Callable[[Features, Path], None]
    python: str
    environment: Mapping[str, str] = field(default_factory=dict)

    def pairs(self, features: Features) -> Candidates:
        """Return candidate pairs; rows of ``features`` are numbered from 0.

        Raises:
            PeerError: the peer is not installed, or failed.

        """
        return self.ask(features).candidates()

    def ask(self, features: Features) -> Opinion:
        """Run the peer and return its answer.

        Raises:
            PeerError: the peer is not installed, or failed.

        """
        require(self.name, self.module, self.python)
        with programs.scratch_folder(f"curate-{self.name}-") as scratch:
            folder = Path(scratch)
            self.prepare(features, folder)
            return read_answer(answer_of(self.name, self.program, self.python, folder, self.environment))


def answer_of(name: str, program: Path, python: str, folder: Path, environment: Mapping[str, str]) -> dict[str, Any]:
    """Run a peer's program on a folder and return what it wrote to ``found.json`` there.

    Raises:
        PeerError: it failed.

    """
    said = programs.run(python, program, folder, environment)
    if said or not (folder / "found.json").exists():
        said = said or "it said nothing"
        raise PeerError(f"{name} failed in {python} ({said}); leave out --also {name}")
    answer: dict[str, Any] = json.loads((folder / "found.json").read_text(encoding="utf-8"))
    return answer


def read_answer(answer: Mapping[str, Any]) -> Opinion:
    """Return the answer of a program with its pairs ordered, each once with its highest similarity."""
    rows = np.asarray(answer["pairs"], dtype=np.float64).reshape(-1, 3)
    pairs = np.sort(rows[:, :2].astype(np.int64), axis=1)
    order = np.lexsort((-rows[:, 2], pairs[:, 1], pairs[:, 0]))
    order = order[pairs[order, 0] != pairs[order, 1]]
    unique, first = np.unique(pairs[order], axis=0, return_index=True)
    return Opinion(str(answer["version"]), unique, rows[order[first], 2])


def interpreter(given: str = "") -> str:
    """Return the interpreter that peers run in: the one given, else that of ``make peers``, else this one."""
    return given or (str(PEERS_PYTHON) if PEERS_PYTHON.exists() else sys.executable)


def require(name: str, module: str, python: str) -> None:
    """Make sure that ``python`` has ``module``.

    Raises:
        PeerError: it has not, or there is no such interpreter.

    """
    try:
        found = subprocess.run([python, "-I", "-c", _PROBE, module], capture_output=True, check=False)  # noqa: S603
    except OSError as error:
        raise PeerError(
            f"cannot run {python} ({error.strerror}); name the peers' interpreter with {INTERPRETER_VARIABLE}"
        ) from error
    if found.returncode:
        how = "make fastdup" if name == "fastdup" else installing("review" if name == "brain" else "opinions")
        raise PeerError(
            f"{name} is not installed for {python}; run: {how}, or name an interpreter that has it with "
            f"{INTERPRETER_VARIABLE}"
        )
