"""Walk a local folder once, through the gate: links and special files cannot lead out of it or block the walk."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from curation.base import reading
from curation.base.pools import EngineError
from curation.base.pools.threads import blocks
from curation.base.workspace import is_workspace
from curation.formats import kinds, names
from curation.formats.gate import LINKED_FOLDER, NOT_AN_IMAGE, SYSTEM_FILE, Gate, fault_of_file, is_within
from curation.formats.listing import IngestError
from curation.formats.tree import Tree

if TYPE_CHECKING:
    from curation.base.pools.threads import Workers


class _Folder(NamedTuple):
    """What is in one folder; nothing but ``own`` or ``fault`` where there is one.

    own      -- what the folder is, if this tool wrote it
    fault    -- why it cannot be listed
    is_empty -- whether it holds nothing but files of the system
    folders  -- paths of the folders in it, relative to the root, as all others
    linked   -- paths of links to folders
    links    -- path of a link -> path of the file inside the source that it leads to
    images   -- path, bytes and mtime_ns of images
    others   -- paths of other regular files
    left_out -- path of what is left out, and the reason
    """

    own: str = ""
    fault: str = ""
    is_empty: bool = False
    folders: tuple[str, ...] = ()
    linked: tuple[str, ...] = ()
    links: tuple[tuple[str, str], ...] = ()
    images: tuple[tuple[str, int, int], ...] = ()
    others: tuple[str, ...] = ()
    left_out: tuple[tuple[str, str], ...] = ()


def scan(gate: Gate, workers: Workers | None = None) -> Tree:
    """Return what is below the gate's root.

    Links to files are followed if the gate allows. Links to folders are not followed, so that every image has one path,
    unless the gate is open and they lead outside. Names that are not UTF-8 are escaped. What this tool itself wrote
    below the root, a workspace or an export, is left out.

    Args:
        gate: what may be read
        workers: who lists folders, level by level; None: this process

    Raises:
        EngineError: a worker does not see a folder that this process can list.
        IngestError: the root itself cannot be listed, or is a workspace.

    """
    if is_workspace(Path(gate.root)):
        raise IngestError(
            f"{gate.root} is a workspace, not a data set; give the data, or an export of one of its versions"
        )
    tree = Tree(gate.cache)
    empty: list[str] = []
    level = [""]
    visited: set[str] = set()
    while level:
        below: list[str] = []
        for folder, found in zip(level, _each_listed(gate, level, workers), strict=True):
            path = names.escaped(folder.rstrip("/"))
            if found.fault and not folder:
                raise IngestError(f"{gate.root} cannot be listed: {found.fault}; check its permissions")
            if found.fault:
                tree.contents.leave_out(path, f"folder cannot be listed: {found.fault}")
                tree.contents.warnings.append(
                    f"the folder {path!r} cannot be listed ({found.fault}): its images are missing here; check its "
                    "permissions"
                )
            if found.own:
                tree.contents.leave_out(path, found.own)
                tree.contents.warnings.append(f"{path} was left out: it is {found.own}")
            if found.is_empty and folder:
                empty.append(path)
            _add(found, gate, tree)
            below += [*found.folders, *(link for link in found.linked if _leads_on(link, gate, tree, visited))]
        level = below
    if empty and tree.images:
        tree.contents.warnings.append(f"empty folders: {', '.join(map(repr, sorted(empty)[:5]))}")
    return tree


_FOLDERS_A_TASK = 64
"""Folders that a worker lists at a time; so few, or fewer, are listed here, sooner than a cluster is joined."""


def _each_listed(gate: Gate, level: Sequence[str], workers: Workers | None) -> Iterator[_Folder]:
    """Yield what is in each folder."""
    if workers is None or len(level) <= _FOLDERS_A_TASK:
        yield from map(partial(_listed, gate), level)
        return
    tasks = [level[block] for block in blocks(len(level), _FOLDERS_A_TASK)]
    for task, found in zip(tasks, workers.doing(_make_listing, gate)(tasks), strict=True):
        for folder, one in zip(task, found, strict=True):
            if one.fault and not _listed(gate, folder).fault:
                raise EngineError(
                    f"{gate.root}/{names.escaped(folder)} can be listed here but not where it is to be read; put the "
                    "data where every node of the cluster finds it under the same path, or name it by a URL"
                )
            yield one


def _make_listing(gate: Gate) -> Callable[[Sequence[str]], list[_Folder]]:
    return lambda folders: [_listed(gate, folder) for folder in folders]


def _listed(gate: Gate, folder: str) -> _Folder:
    """Return what is in one folder, "" or a path that ends in a slash."""
    found: dict[str, list[Any]] = {name: [] for name in _KINDS}
    is_empty = True
    try:
        with os.scandir(f"{gate.root}/{folder}") as entries:
            if own := _own_output(f"{gate.root}/{folder}") if folder else "":
                return _Folder(own=own)
            for entry in entries:
                kind, said = _kind_of(entry, folder + entry.name, gate, found["links"])
                found[kind].append(said)
                is_empty = is_empty and names.is_system(entry.name)
    except OSError as error:
        return _Folder(fault=error.strerror or str(error))
    told: dict[str, Any] = {name: tuple(rows) for name, rows in found.items()}
    return _Folder(is_empty=is_empty, **told)


_KINDS = ("folders", "linked", "links", "images", "others", "left_out")
"""The fields of ``_Folder`` that hold entries."""


def _add(found: _Folder, gate: Gate, tree: Tree) -> None:
    """Add what is in a folder to a tree."""
    for path, size, mtime_ns in found.images:
        tree.contents.files.append(gate.named(path, f"{gate.root}/{path}", size, mtime_ns))
    for path in found.others:
        tree.add(names.escaped(path), f"{gate.root}/{path}")
    for path, reason in found.left_out:
        tree.contents.leave_out(names.escaped(path), reason)
    tree.links.update({names.escaped(link): names.escaped(target) for link, target in found.links})


def _own_output(full: str) -> str:
    """Return what the folder ``full`` is, if this tool wrote it, else ""."""
    if is_workspace(Path(full)):
        return "a workspace of this tool"
    with contextlib.suppress(OSError, ValueError):
        record = reading.json_object(reading.contents(f"{full}/{names.PROVENANCE}"))
        if {"format", "version", "manifest_hash"} <= record.keys():
            return f"an export of this tool ({record['format']})"
    return ""


def _kind_of(
    entry: os.DirEntry[str], path: str, gate: Gate, links: list[tuple[str, str]]
) -> tuple[str, str | tuple[Any, ...]]:
    """Return the field of ``_Folder`` that an entry belongs to, and what is said of it there; note where it leads."""
    if names.is_system(entry.name):
        return "left_out", (path, SYSTEM_FILE)
    if entry.is_dir(follow_symlinks=False):
        return "folders", f"{path}/"
    fault = gate.fault_of_link(entry.path) if entry.is_symlink() else ""
    if entry.is_symlink() and not fault:
        target = os.path.realpath(entry.path)
        if is_within(target, gate.root):
            links.append((path, os.path.relpath(target, gate.root)))
    if fault == LINKED_FOLDER and gate.outside:
        return "linked", f"{path}/"
    try:
        status = entry.stat(follow_symlinks=not fault)
        fault = fault or fault_of_file(f"{gate.root}/{path}", status)
    except OSError as error:
        return "left_out", (path, f"cannot be read: {error.strerror}")
    if not fault:
        return "images", (path, status.st_size, status.st_mtime_ns)
    if fault == NOT_AN_IMAGE and stat.S_ISREG(status.st_mode):
        return "others", path
    return "left_out", (path, fault)


def _leads_on(link: str, gate: Gate, tree: Tree, visited: set[str]) -> bool:
    """Return whether a link leads to a folder outside that was not walked yet; if not, it is left out.

    Links may form circles.
    """
    target = os.path.realpath(f"{gate.root}/{link}")
    inside = f"{target}/".startswith(gate.root + "/") or f"{gate.root}/".startswith(target + "/")
    if inside or target in visited:
        tree.contents.leave_out(names.escaped(link.rstrip("/")), LINKED_FOLDER)
        return False
    visited.add(target)
    return True


def image_names(root: str) -> Iterator[str]:
    """Yield the paths, relative to ``root``, of all files below it that are named like images; none is opened."""
    for folder, below, here in os.walk(root):
        below[:] = [name for name in below if not names.is_system(name)]
        inside = folder[len(root.rstrip("/")) + 1 :]
        for name in here:
            if kinds.has_image_extension(name) and not names.is_system(name):
                yield f"{inside}/{name}" if inside else name
