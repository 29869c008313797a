"""What a workspace may hold and name: it may come from somebody else, so it is data, never code or a path outside."""

from __future__ import annotations

import functools
import hashlib
import os
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curation.base.errors import WorkspaceError

if TYPE_CHECKING:
    import pandas as pd

_SOURCES = "sources"
"""Folder of unpacked images, of which there may be millions: files in it are checked when they are read."""

_OWN_LINKS = "sources/links"
"""Folder of this tool's links to images whose names are not UTF-8."""

_CODE = re.compile(r"\.(py|pyc|pyd|so|dll|js|sh|exe|pkl|pickle|pth?|ckpt|joblib)$")
"""Extensions of programs, and of weights that may hold one (pickles)."""


def require_plain(root: Path) -> None:
    """Refuse a workspace with a link, pipe or device: writing would reach outside, reading would block.

    Raises:
        WorkspaceError: names the first of them.

    """
    for strange, what in strange_files(root):
        raise WorkspaceError(
            f"{strange} is {what}, and a workspace holds files and folders only; remove it, or use a new folder"
        )


def strange_files(root: Path) -> Iterator[tuple[Path, str]]:
    """Yield everything in a workspace that is neither file nor folder, and what it is.

    Raises:
        WorkspaceError: a folder cannot be listed.

    """
    for entry in _entries(root):
        if entry.is_symlink():
            yield Path(entry.path), "a link"
        elif not (entry.is_file(follow_symlinks=False) or entry.is_dir(follow_symlinks=False)):
            yield Path(entry.path), "a pipe, a device or a socket"


def _entries(root: Path) -> Iterator[os.DirEntry[str]]:
    """Yield the entries of a workspace, folder by folder, except the unpacked images."""
    pending = [""]
    while pending:
        below = pending.pop()
        try:
            entries = sorted(os.scandir(root / below), key=lambda entry: entry.name)
        except FileNotFoundError:  # another process has just deleted it
            continue
        except OSError as error:
            raise WorkspaceError(f"{root / below} cannot be listed ({error.strerror}); mend its permissions") from error
        for entry in entries:
            name = f"{below}/{entry.name}".lstrip("/")
            if name != _OWN_LINKS:
                yield entry
            is_unpacked = name == _OWN_LINKS or (
                name.startswith(f"{_SOURCES}/") and name.count("/") > 1 and ".partial/" not in name
            )
            if not is_unpacked and entry.is_dir(follow_symlinks=False):
                pending.append(name)


def image_folders(source: str, urls: pd.Series, sources: Path) -> list[str]:
    """Return the folders or URLs below which the images of a listing are, except those unpacked in the workspace.

    Args:
        source: of the data set, as the listing states it
        urls: absolute local paths, or URLs
        sources: the workspace's folder of unpacked images

    """
    unpacked = urls.str.startswith(f"{sources.absolute()}/")
    root = source.rstrip("/")
    if (unpacked | urls.str.startswith(f"{root}/")).all():
        return [root]
    outside = urls[~unpacked]
    if "://" in root:
        return [root.rpartition("/")[0]]
    folders = sorted(set(outside.str.rpartition("/")[0]))
    shared = os.path.commonpath(folders)
    return folders if shared == "/" else [shared]


def require_own_images(listing: pd.DataFrame, marker: Mapping[str, Any], sources: Path) -> None:
    """Refuse a listing, which may have been edited, that names files outside its data set.

    Args:
        listing: path, url
        marker: of the workspace: source, folders
        sources: the workspace's folder of unpacked images

    Raises:
        WorkspaceError: names an image that is elsewhere.

    """
    allowed = [str(sources.absolute()), *allowed_folders(marker)]
    known = listing["url"].str.startswith(tuple(f"{folder}/" for folder in allowed))
    odd = listing["url"].str.contains(r"/\.{1,2}(?:/|$)", regex=True)
    is_link = listing["url"].str.contains(f"/{_OWN_LINKS}/", regex=False)
    real = functools.cache(os.path.realpath)
    inside = tuple(f"{real(folder)}/" for folder in allowed if "://" not in folder)
    for path, url in listing.loc[~known | odd | is_link, ["path", "url"]].itertuples(index=False, name=None):
        if not _place(url, real).startswith(inside):
            raise WorkspaceError(
                f"the listing says that {path!r} is at {url!r}, which is outside its data set "
                f"({', '.join(allowed[1:]) or 'none is recorded'}); run curate run DATA to list the images again"
            )


def _place(url: str, real: Callable[[str], str]) -> str:
    """Return a local path with the links of its folder resolved, or the target of one of this tool's links."""
    folder, _, name = url.rpartition("/")
    if "://" in url or name in ("", ".", ".."):
        return ""
    if not real(folder).endswith(f"/{_OWN_LINKS}"):
        return f"{real(folder)}/{name}"
    try:
        target = os.fsencode(os.readlink(url))  # noqa: PTH115 -- as bytes
    except OSError:
        return ""
    is_ours = hashlib.sha256(target).hexdigest() == name
    return os.fsencode(real(os.fsdecode(target))).decode("utf-8", "backslashreplace") if is_ours else ""


def allowed_folders(marker: Mapping[str, Any]) -> list[str]:
    """Return the folders or URLs below which a workspace's images may be, as its marker records them."""
    recorded = marker.get("folders")
    if isinstance(recorded, list):
        return [str(folder).rstrip("/") for folder in recorded if folder]
    source = str(marker.get("source", "")).rstrip("/")  # of an older version: its folder, or that of the list
    beside = source.rpartition("/")[0] if "://" in source or Path(source).is_file() else ""
    return [folder for folder in (source, beside) if folder.startswith("/") or "://" in folder]


def foreign(root: Path, marker: Mapping[str, Any], listing: pd.DataFrame | None) -> list[str]:
    """Return what a workspace from somebody else would touch or asks to be trusted with, a sentence each.

    Only its listing is opened; for what its settings name see ``curation.base.settings.naming``.

    Raises:
        WorkspaceError: a folder cannot be listed.

    """
    found = [f"{place} is {what}: every command refuses the workspace" for place, what in strange_files(root)]
    found += [f"its images are read below {folder}" for folder in allowed_folders(marker)]
    if listing is not None:
        try:
            require_own_images(listing, marker, root / _SOURCES)
        except WorkspaceError as error:
            found.append(str(error))
    names = [Path(entry.path).relative_to(root).as_posix() for entry in _entries(root)]
    found += [f"{name} may hold a program; it is never run" for name in names if _CODE.search(name.lower())]
    if "review/plugins" in names:
        found.append("review/plugins is a folder of App plug-ins; it is never loaded")
    if "review/mongo" in names:
        found.append("review/mongo is a database that curate review would open; delete it, and it is made again")
    return found
