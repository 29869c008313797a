"""Walk a local folder once, through the gate: links and special files cannot lead out of it or block the walk."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from curation.base import reading
from curation.base.workspace import is_workspace
from curation.formats import kinds, names
from curation.formats.gate import LINKED_FOLDER, NOT_AN_IMAGE, SYSTEM_FILE, Gate, is_within
from curation.formats.listing import IngestError
from curation.formats.tree import Tree


def scan(gate: Gate) -> Tree:
    """Return what is below the gate's root.

    Links to files are followed if the gate allows. Links to folders are not followed, so that every image has one path,
    unless the gate is open and they lead outside. Names that are not UTF-8 are escaped. What this tool itself wrote
    below the root, a workspace or an export, is left out.

    Raises:
        IngestError: the root itself cannot be listed, or is a workspace.

    """
    if is_workspace(Path(gate.root)):
        raise IngestError(
            f"{gate.root} is a workspace, not a data set; give the data, or an export of one of its versions"
        )
    tree = Tree(gate.cache)
    empty: list[str] = []
    pending = [""]
    visited: set[str] = set()
    while pending:
        folder = pending.pop()
        try:
            with os.scandir(f"{gate.root}/{folder}") as entries:
                if own := _own_output(f"{gate.root}/{folder}") if folder else "":
                    path = names.escaped(folder.rstrip("/"))
                    tree.contents.leave_out(path, own)
                    tree.contents.warnings.append(f"{path} was left out: it is {own}")
                    continue
                is_empty = bool(folder)
                for entry in entries:
                    _take(entry, folder + entry.name, gate, tree, pending, visited)
                    is_empty = is_empty and names.is_system(entry.name)
            if is_empty:
                empty.append(names.escaped(folder.rstrip("/")))
        except OSError as error:
            if not folder:
                raise IngestError(f"{gate.root} cannot be listed: {error.strerror}; check its permissions") from error
            path = names.escaped(folder.rstrip("/"))
            tree.contents.leave_out(path, f"folder cannot be listed: {error.strerror}")
            tree.contents.warnings.append(
                f"the folder {path!r} cannot be listed ({error.strerror}): its images are missing here; check its "
                "permissions"
            )
    if empty and tree.images:
        tree.contents.warnings.append(f"empty folders: {', '.join(map(repr, sorted(empty)[:5]))}")
    return tree


def _own_output(full: str) -> str:
    """Return what the folder ``full`` is, if this tool wrote it, else ""."""
    if is_workspace(Path(full)):
        return "a workspace of this tool"
    with contextlib.suppress(OSError, ValueError):
        record = reading.json_object(reading.contents(f"{full}/{names.PROVENANCE}"))
        if {"format", "version", "manifest_hash"} <= record.keys():
            return f"an export of this tool ({record['format']})"
    return ""


def _take(entry: os.DirEntry[str], path: str, gate: Gate, tree: Tree, pending: list[str], visited: set[str]) -> None:
    if names.is_system(entry.name):
        tree.contents.leave_out(names.escaped(path), SYSTEM_FILE)
    elif entry.is_dir(follow_symlinks=False):
        pending.append(path + "/")
    else:
        fault = gate.fault_of_link(entry.path) if entry.is_symlink() else ""
        if entry.is_symlink() and not fault:
            target = os.path.realpath(entry.path)
            if is_within(target, gate.root):
                tree.links[names.escaped(path)] = names.escaped(os.path.relpath(target, gate.root))
        if fault == LINKED_FOLDER and gate.outside and _leads_on(entry.path, gate, visited):
            pending.append(path + "/")
        else:
            _take_file(entry, path, fault, gate, tree)


def _leads_on(full: str, gate: Gate, visited: set[str]) -> bool:
    """Return whether a link leads to a folder outside that was not walked yet: links may form circles."""
    target = os.path.realpath(full)
    if f"{target}/".startswith(gate.root + "/") or f"{gate.root}/".startswith(target + "/") or target in visited:
        return False
    visited.add(target)
    return True


def _take_file(entry: os.DirEntry[str], path: str, fault: str, gate: Gate, tree: Tree) -> None:
    full = f"{gate.root}/{path}"
    try:
        status = entry.stat(follow_symlinks=not fault)
        found = fault or gate.taken(path, full, status)
    except OSError as error:
        found = f"cannot be read: {error.strerror}"
    if not isinstance(found, str):
        tree.contents.files.append(found)
    elif found == NOT_AN_IMAGE and stat.S_ISREG(status.st_mode):
        tree.add(names.escaped(path), full)
    else:
        tree.contents.leave_out(names.escaped(path), found)


def image_names(root: str) -> Iterator[str]:
    """Yield the paths, relative to ``root``, of all files below it that are named like images; none is opened."""
    for folder, below, here in os.walk(root):
        below[:] = [name for name in below if not names.is_system(name)]
        inside = folder[len(root.rstrip("/")) + 1 :]
        for name in here:
            if kinds.has_image_extension(name) and not names.is_system(name):
                yield f"{inside}/{name}" if inside else name
