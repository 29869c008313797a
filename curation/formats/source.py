"""Recognise the kind of a source, and choose its reader."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from curation.base import mapped
from curation.base.classes import is_expression
from curation.base.reading import open_regular
from curation.base.settings import SourceSettings
from curation.formats import archives, folders, kinds, layouts, lists, names, remote, table
from curation.formats.gate import Gate
from curation.formats.layouts import fer2013, listed, parquet
from curation.formats.listing import Files, FoundFile, IngestError, Listing, SourceContents, by_folders, finished
from curation.formats.tree import Tree

if TYPE_CHECKING:
    from curation.base.pools.threads import Workers

_DEFAULTS = SourceSettings()

_HEAD_BYTES = 512
"""Enough to recognise an archive, a Parquet file or an image (the signature of tar is at byte 257)."""

_WHAT_TO_GIVE = "give a folder, a zip or tar archive, a CSV or Parquet list, an image or an fsspec URL"

_TABLES = ("parquet", "list", "json", "workbook")
"""Kinds of files that name images by their paths, or hold them."""

_DEEPEST = 3
"""Levels of archives inside archives that are unpacked."""

NAMED = ("hf", "fiftyone", "torchvision", "kaggle")
"""What may precede a colon in a source that is not a path: the library that reads it."""

Read = tuple[str, SourceContents]
"""Root, and what is there."""


def read_source(
    source: str, cache: Path, settings: SourceSettings = _DEFAULTS, workers: Workers | None = None
) -> Listing:
    """Return which images ``source`` holds; only as much of them is read as tells their kind.

    Args:
        source: a folder of class folders (with or without split folders, in any order) or in a known layout
            (``curation.formats.layouts``), a zip or tar of such a folder, a list (CSV, TSV, JSON, Parquet; paths
            relative to its folder), a single image, or an fsspec URL of any of these; a folder that Hugging Face's
            datasets or FiftyOne saved, that holds WebDataset shards, or images with COCO annotations; or hf:NAME,
            fiftyone:NAME, torchvision:CLASS:ROOT, kaggle:OWNER/NAME.
        cache: folder for unpacked archives and for images that come inside other files, each stored once, by content.
        settings: how names are understood, and whether paths may lead outside the source.
        workers: who lists the folders of a local folder; None: this process.

    Raises:
        EngineError: a worker does not see the source.
        IngestError: there is no such source, or all of it is unreadable.

    """
    with mapped.lying_in(cache.parent):  # of a workspace
        root, contents = _read(source, cache, settings, workers)
        return finished(root, contents, settings)


def _read(source: str, cache: Path, settings: SourceSettings, workers: Workers | None) -> Read:
    library, _, name = source.partition(":")
    if library in NAMED and name and not remote.is_url(source):
        return _read_named(library, name, cache, settings)
    url = urlsplit(source) if remote.is_url(source) and source.split("://")[0] in {"file", "local"} else None
    if url is None and remote.is_url(source):
        return _read_remote(remote.connect(source), cache)
    return _read_local(unquote(url.netloc + url.path) if url else source, cache, settings, workers)


def _read_named(library: str, name: str, cache: Path, settings: SourceSettings) -> Read:
    """Return the images that one of the libraries in ``NAMED`` has under ``name``; it is loaded on demand."""
    if library == "kaggle":
        from curation.formats import kaggle

        return _read_local(kaggle.fetch(name), cache, settings)
    if library == "fiftyone":
        from curation.formats import fiftyone

        return fiftyone.read_named(name, cache)
    if library == "torchvision":
        from curation.formats import torchvision

        return torchvision.read(name, cache, outside=settings.outside)
    from curation.formats import huggingface

    return huggingface.read(name, cache, outside=settings.outside)


def _read_folder(full: str, cache: Path, settings: SourceSettings, workers: Workers | None) -> Read:
    """Return the images of a local folder: one that another library wrote, one in a known layout, or class folders."""
    from curation.formats import coco, fiftyone, huggingface, webdataset

    root, folder = names.escaped(full), Path(full)
    gate = Gate(full, cache, settings.outside)
    if huggingface.is_saved(folder):
        return huggingface.read(full, cache, outside=settings.outside)
    if fiftyone.is_dataset(folder):
        return root, fiftyone.read_folder(folder, gate)
    if shards := webdataset.shards_in(folder, gate):
        return root, webdataset.read(shards, cache)
    if annotations := coco.annotations_in(gate):
        return root, coco.read(annotations, gate)
    return root, _read_tree(folders.scan(gate, workers), root)


def _read_tree(tree: Tree, shown: str) -> SourceContents:
    """Return the images of a tree by the first layout that recognises it, else by its folders.

    Archives inside are unpacked if there is nothing else to read.
    """
    found = layouts.recognised(tree)
    for _ in range(_DEEPEST):
        if found or tree.images or not tree.archives:
            break
        budget = archives.Budget(shown, sum(Path(place).stat().st_size for place in tree.archives.values()))
        archives.expand(tree, tree.cache, budget)
        found = layouts.recognised(tree)
    contents = found[1] if found else by_folders(SourceContents(tree.images))
    if found:
        taken = {file.url for file in contents.files} | {path for path, _ in contents.problems}
        others = [image.path for image in tree.images if image.url not in taken and image.path not in taken]
        for path in others:
            contents.leave_out(path, f"not part of the layout {found[0]}")
        if others:
            contents.warnings.append(f"{len(others):,} images are not part of the layout {found[0]} and are left out")
    _list_once(contents, tree.links)
    unread = tree.unread()
    contents.problems += tree.contents.problems
    contents.warnings += [*tree.contents.warnings, *unread]
    return contents


def _list_once(contents: SourceContents, links: Mapping[str, str]) -> None:
    """List an image that links also lead to once: in a class folder, else where the file itself is."""
    if not links:
        return
    labels = {image.path: image.label for image in contents.files}
    twice = {link: target for link, target in links.items() if link in labels and target in labels}
    gone: dict[str, str] = {}
    for link, target in twice.items():
        by_link = is_expression(labels[link]) and not is_expression(labels[target])
        gone[target if by_link else link] = link if by_link else target
    contents.files = Files(image for image in contents.files if image.path not in gone)
    contents.problems += [(path, f"the same file as {other!r}, by a link") for path, other in gone.items()]


def _read_local(source: str, cache: Path, settings: SourceSettings, workers: Workers | None = None) -> Read:
    shown = names.escaped(source)
    try:
        full = os.path.realpath(source, strict=True)
        mode = Path(full).stat().st_mode
        head = b""
        if stat.S_ISREG(mode):
            with open_regular(full) as file:
                head = file.read(_HEAD_BYTES)
    except FileNotFoundError as error:
        raise IngestError(f"there is nothing at {shown}; {_WHAT_TO_GIVE}") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise IngestError(f"{shown} cannot be read ({reason}); {_WHAT_TO_GIVE}") from error
    if stat.S_ISDIR(mode):
        return _read_folder(full, cache, settings, workers)
    if not stat.S_ISREG(mode):
        raise IngestError(f"{shown} is neither a folder nor a regular file; {_WHAT_TO_GIVE}")
    return names.escaped(full), _read_file(full, kinds.source_kind(head, full), shown, cache, settings)


def _read_file(full: str, kind: str, shown: str, cache: Path, settings: SourceSettings) -> SourceContents:
    from curation.formats import coco, webdataset

    folder, _, name = full.rpartition("/")
    gate = Gate(folder or "/", cache, settings.outside)
    if kind == "tar" and webdataset.is_shard(Path(full)):
        return webdataset.read([Path(full)], cache)
    if kind == "json" and coco.is_coco(name, gate):
        return coco.read([name], gate)
    if kind in ("zip", "tar"):
        return _read_tree(archives.unpack(Path(full), kind, cache, shown), shown)
    if kind == "image":
        found = gate.find(name)
        return SourceContents([found]) if isinstance(found, FoundFile) else SourceContents(problems=[(name, found)])
    if kind not in _TABLES:
        raise IngestError(f"{shown} is not a kind of source that can be read; {_WHAT_TO_GIVE}")
    alone = Tree(cache, others={names.escaped(name): full})
    if contents := _images_inside(alone, kind, full):
        return contents
    given = table.read(alone.data(names.escaped(name)), name, shown)
    contents = listed.read_list(given, lists.local(gate))
    split = listed.split_of_name(name)
    contents.files = Files(image._replace(split=image.split or split) for image in contents.files)
    return contents


def _images_inside(alone: Tree, kind: str, full: str) -> SourceContents | None:
    """Return the images inside a single file, as pixels in a CSV or as bytes in Parquet, or None."""
    with open_regular(full) as file:
        if kind == "list" and fer2013.header(file.read(fer2013.HEADER_BYTES)):
            return fer2013.recognise(alone)
        if kind == "parquet" and parquet.holds_images(file):
            return parquet.recognise(alone)
    return None


def _read_remote(place: remote.Remote, cache: Path) -> Read:
    with remote.refusals(place.shown):
        if remote.is_folder(place):
            remote.require_no_secrets(place)
            return place.shown, _read_tree(remote.scan(place, cache), place.shown)
        kind = kinds.source_kind(remote.head(place, _HEAD_BYTES), place.path)
        if kind in ("zip", "tar"):
            with remote.downloaded(place, cache) as archive:
                return place.shown, _read_tree(archives.unpack(archive, kind, cache, place.shown), place.shown)
        remote.require_no_secrets(place)
        if kind == "image":
            return place.shown, SourceContents([remote.single(place)])
        if kind not in _TABLES:
            raise IngestError(f"{place.shown} is not a kind of source that can be read; {_WHAT_TO_GIVE}")
        given = table.read(remote.data(place), place.path.rpartition("/")[2], place.shown)
        return place.shown, listed.read_list(given, remote.finder(remote.parent_of(place), cache))
