"""The single gate for output paths that a person gives: never over data, a workspace, or a person's work."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curation.base import files, reading, trust
from curation.base.errors import CurationError
from curation.base.text import is_text
from curation.base.workspace import Workspace, is_workspace


class DestinationError(CurationError):
    """A path may not be written to."""


@dataclass(frozen=True)
class Destinations:
    """Where the results of a workspace may be written.

    workspace is None for results without one; force overwrites a file that somebody else made.
    """

    workspace: Workspace | None
    force: bool = False

    def allow(self, path: Path) -> None:
        """Return if ``path`` is free, or holds what this tool wrote there last and nobody changed since.

        Raises:
            DestinationError: it is inside the data or a workspace, not a file, or somebody else's.

        """
        self.allow_place(path)
        self.allow_over(path)

    def allow_over(self, path: Path, origin: str = "") -> None:
        """Return if there is no file ``path``, or one that this tool wrote last from the same ``origin``.

        Raises:
            DestinationError: it is not a file, or is somebody else's.

        """
        if not os.path.lexists(path):
            return
        if path.is_dir() and not path.is_symlink():
            raise DestinationError(f"{path} is a folder; name a file")
        if path.exists() and not path.is_file():
            raise DestinationError(f"{path} is a pipe or a device; name a file")
        if not self.force and not self._is_ours(path, origin):
            raise DestinationError(
                f"{path} exists, and this workspace did not write it or somebody changed it since; give another name, "
                "or add --force to overwrite it"
            )

    def allow_place(self, path: Path) -> None:
        """Return if ``path``, a file or folder to be made, is outside the data and every workspace.

        Raises:
            DestinationError: it is inside the data set or a workspace, or its name is not UTF-8.

        """
        if not is_text(str(path)):
            raise DestinationError(f"{str(path)!r} is a name that is not UTF-8; name another")
        real = Path(os.path.realpath(path.parent)) / path.name
        around = [real, *real.parents]
        holding = next((folder for folder in around if is_workspace(folder)), None)
        if holding is not None:
            raise DestinationError(f"{path} is inside the workspace {holding}; name a place outside it")
        for data in self._data():
            if any(_same(folder, data) for folder in (*around, Path(os.path.realpath(path)), *path.resolve().parents)):
                raise DestinationError(f"{path} is inside the data set {data}, which is only read; name another place")

    def write(self, made: Mapping[Path, bytes]) -> None:
        """Write files, each atomically, and record that this tool wrote them.

        Raises:
            DestinationError: one is not allowed (see ``allow``); nothing is written then.

        """
        for path, data in made.items():
            self.allow_place(path)
            if not files.holds(path, data):
                self.allow_over(path)
        for path, data in made.items():
            self.intend(path, hashlib.sha256(data).hexdigest())
            files.write_bytes(path, data)
            self.note(path)

    def replace(self, made: Path, path: Path) -> None:
        """Move a finished file to ``path``, of which only the place was allowed, and record that this tool wrote it.

        Raises:
            DestinationError: somebody else's file is there, with other bytes; see ``allow_over``.

        """
        if path.is_symlink() or not path.is_file() or reading.sha256(path) != reading.sha256(made):
            self.allow_over(path)
        self.put(made, path)

    def put(self, made: Path, path: Path) -> None:
        """Move a finished file to ``path``, which ``allow`` has allowed, and record that this tool wrote it."""
        self.intend(path, reading.sha256(made))
        made.replace(path)
        files.sync_folder(path.parent)
        self.note(path)

    def intend(self, path: Path, digest: str, origin: str = "") -> None:
        """Record what will be written to ``path``, to recognise the file if the command is killed in between."""
        before = "" if self.workspace is None else (files.read_json(self._record(path)) or {}).get("sha256", "")
        self._remember(path, {"sha256": before, "next": digest, "from": origin})

    def note(self, path: Path, origin: str = "") -> None:
        """Record a file that was just written, if the workspace can be written."""
        if path.is_file():
            self._remember(path, {"sha256": reading.sha256(path), "from": origin})

    def _remember(self, path: Path, facts: Mapping[str, Any]) -> None:
        if self.workspace is None:
            return
        # a read-only workspace can be exported as well; the file then needs --force the next time
        with contextlib.suppress(OSError):
            files.write_json(self._record(path), {"path": str(path.absolute()), **facts})

    def _is_ours(self, path: Path, origin: str) -> bool:
        if self.workspace is None or path.is_symlink():
            return False
        record: dict[str, Any] = files.read_json(self._record(path)) or {}
        same_origin = not origin or record.get("from") == origin
        return same_origin and reading.sha256(path) in (record.get("sha256"), record.get("next"))

    def _record(self, path: Path) -> Path:
        assert self.workspace is not None  # noqa: S101 -- callers have one
        name = hashlib.sha256(os.fsencode(os.path.realpath(path.parent) + "/" + path.name)).hexdigest()[:32]
        return self.workspace.written / f"{name}.json"

    def _data(self) -> list[Path]:
        """Return the local folders and files of the data set."""
        if self.workspace is None:
            return []
        marker = files.read_json(self.workspace.marker) or {}
        places = {str(marker.get("source", "")), *(trust.allowed_folders(marker) if "folders" in marker else ())}
        return [Path(place) for place in sorted(places) if place.startswith("/") and Path(place).exists()]


def _same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return False
