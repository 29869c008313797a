"""A list beside or inside a folder of images: labels.csv, metadata.jsonl, train_labels.csv, ...

Source: the imagefolder of Hugging Face's datasets (metadata.csv, .jsonl or .parquet with a column file_name, one a
split) and the conventions of Kaggle. A list counts if most of its rows name images here and it states labels or splits.
If no column states the split, its name does; if neither, folders do.
"""

from __future__ import annotations

from collections.abc import Mapping

from curation.base.classes import is_expression
from curation.base.splits import standard
from curation.formats import lists, table
from curation.formats.layouts import affectnet
from curation.formats.layouts.by_name import class_of
from curation.formats.listing import Files, FoundFile, IngestError, SourceContents, by_folders
from curation.formats.lists import Finder
from curation.formats.table import Table
from curation.formats.tree import Tree, is_about

_PATTERNS = ("*.csv", "*.tsv", "*.txt", "*.lst", "*.json", "*.jsonl", "*.ndjson", "*.parquet")
_MOST = 0.9
"""Share of the images that lists must name if folders already name their classes."""

_MOST_LISTS = 64
"""A folder with more of one kind holds one file per image, not lists."""


def recognise(tree: Tree) -> SourceContents | None:
    """Return the images with what lists beside them state, if the lists name at least half of the images."""
    by_extension = [tree.named(pattern) for pattern in _PATTERNS]
    lists_here = [path for paths in by_extension if len(paths) <= _MOST_LISTS for path in paths if not is_about(path)]
    if not tree.images or not lists_here:
        return None
    placed = by_folders(SourceContents(tree.images)).files
    in_class_folders = 2 * sum(is_expression(image.label) for image in placed) > len(placed)
    stated: dict[str, FoundFile] = {}
    notes, used = list[str](), list[str]()
    for path in lists_here:
        try:
            found, about = _one(tree, path, strict=in_class_folders)
        except IngestError as error:
            notes += [f"not read as a list: {error}"] if path.lower().endswith(("csv", "tsv")) else []
            continue
        if found:
            used.append(path)
            notes += about
            disagreeing = [image for image in found if stated.setdefault(image.path, image)[4:6] != image[4:6]]
            if disagreeing:
                notes.append(f"{path!r} contradicts an earlier list on {len(disagreeing):,} images: the earlier counts")
    if not used or len(stated) < (_MOST if in_class_folders else 0.5) * len(placed):
        tree.contents.warnings += notes
        return None
    tree.used.update(used)
    contents, differing = _merged(placed, stated)
    contents.warnings += [f"labels are read from {', '.join(map(repr, used[:5]))}", *notes]
    if differing:
        contents.warnings.append(
            f"{differing:,} images are in the folder of another class than the list states: the list counts"
        )
    return contents


def read_list(given: Table, finder: Finder, prefer: str = "", *, strict: bool = False) -> SourceContents:
    """Return the images that a list names; numbered classes of AffectNet and RAF-DB become names.

    Raises:
        IngestError: no column holds paths.

    """
    from curation.formats.layouts import rafdb

    contents = lists.read(given, finder, prefer, strict=strict)
    if affectnet.is_official(given.header):
        contents.files = _with_classes(contents.files, affectnet.CLASSES)
    elif all(rafdb.is_aligned(image) for image in contents.files):
        contents.files = _with_classes(contents.files, rafdb.CLASSES)
    return contents


def _with_classes(files: Files, classes: Mapping[int, str]) -> Files:
    return Files(image._replace(label=class_of(image.label, classes)) for image in files)


def split_of_name(path: str) -> str:
    """Return the split that a list's file name states, as in ``train_labels.csv``, or ""."""
    stem = path.rpartition("/")[2].rpartition(".")[0]
    return stem if standard(stem) else ""


def _one(tree: Tree, path: str, strict: bool) -> tuple[list[FoundFile], list[str]]:
    """Return the images that one file lists, [] if it is not a list of these images, and notes on it."""
    given = table.read(tree.data(path), path, path)
    tree.used.discard(path)
    if not given.rows:
        return [], []
    prefer = "file_name" if path.rpartition("/")[2].lower().startswith("metadata.") else ""
    try:
        contents = read_list(given, lists.among(tree.images, path.rpartition("/")[0]), prefer, strict=strict)
    except IngestError:
        return [], []
    if 2 * len(contents.files) < len(given.rows) or not _states_much(contents.files):
        return [], []
    split = split_of_name(path)
    return [image._replace(split=image.split or split) for image in contents.files], contents.warnings


def _states_much(images: Files) -> bool:
    """Return whether a list states the label, the split or the person of most images that it names."""
    half = len(images) / 2
    stated = ([image.label for image in images], [image.split for image in images], [image.subject for image in images])
    return any(sum(map(bool, cells)) > half for cells in stated)


def _merged(placed: Files, stated: Mapping[str, FoundFile]) -> tuple[SourceContents, int]:
    """Return all images with what lists state, and how many of them are in the folder of another class."""
    contents = SourceContents()
    classes = {image.label for image in stated.values()} - {""}
    differing = 0
    for image in placed:
        mine = stated.get(image.path)
        if mine is None:
            contents.files.append(image._replace(label="") if classes else image)
            continue
        label = mine.label if classes else image.label
        split, subject = mine.split or image.split, mine.subject or image.subject
        contents.files.append(mine._replace(label=label, split=split, subject=subject))
        differing += image.label in classes and image.label != label
    return contents, differing
