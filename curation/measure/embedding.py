"""Embeddings: what a network sees in each content, described once, in batches, and kept by content.

They cost more than all other measurements together, so nothing makes them unless it is asked for.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curation.base.progress import Display
from curation.measure import store as cache
from curation.measure.batch import measured_pixels
from curation.measure.decode import DecodeError
from curation.measure.tables import PIXELS_REVISION, decoders

if TYPE_CHECKING:
    import pandas as pd

    from curation.base.settings import MeasureSettings
    from training.features import Described

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Flags = npt.NDArray[np.bool_]
Heads = Mapping[str, Mapping[str, npt.NDArray[Any]]]
"""Small networks on the features, by name; see ``training.features``."""

_SCHEMA = pa.schema([("sha256", pa.string()), ("embedding", pa.binary()), ("heads", pa.binary())])

_PART = 2048
"""Contents a checkpoint."""

_TIMED = 64
"""Contents on which the cost is measured before it is stated."""


@dataclass(frozen=True)
class Embedded:
    """What is known of n contents, in the order asked for.

    Attributes:
        known: (n,) whether the content is described; the rows of the others are zero.
        embedding: (n, dimensions) float16.
        logits: per head (n, cells, cells) float32; above 0, the head sees there what it looks for.

    """

    known: Flags
    embedding: npt.NDArray[np.float16]
    logits: dict[str, Floats]


def grey_square(url: str, sha256: str, side: int, settings: MeasureSettings) -> Pixels | None:
    """Return a picture that was measured as (side, side) grey levels, None where it has no usable pixels.

    Raises:
        ChangedError: it is gone, or is another one by now.

    """
    try:
        pixels = measured_pixels(url, sha256, settings)
    except DecodeError:
        return None
    grey = pixels if pixels.ndim == 2 else cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    method = cv2.INTER_AREA if min(grey.shape) > side else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(grey, (side, side), interpolation=method), np.uint8)


def embed(
    contents: pd.DataFrame, store: Path, settings: MeasureSettings, heads: Heads, digest: str, display: Display
) -> int:
    """Describe every content that the cache lacks and return how many those were; the cost is stated first.

    Args:
        contents: sha256 and url, one row a content.
        store: folder of the cache.
        settings: limits of decoding.
        heads: that look at the same features.
        digest: of the heads.
        display: where cost and progress are shown.

    Raises:
        WeightsError: the package with the network's weights is not installed.

    """
    folder = _folder(store, settings, digest)
    stored = set(cache.read_parts(folder, _SCHEMA, ["sha256"])["sha256"].to_pylist())
    pending = contents[~contents["sha256"].isin(stored)]
    if pending.empty:
        return 0
    from training.features import FeatureNetwork

    network = FeatureNetwork(heads)
    rows = list(zip(pending["sha256"], pending["url"], strict=True))
    started = time.monotonic()
    first = _described(network, rows[:_TIMED], settings)
    seconds = (time.monotonic() - started) / len(rows[:_TIMED]) * len(rows)
    if len(rows) > _TIMED:
        display.note(
            f"Embedding {len(rows):,} images on the {network.device.type.upper()} takes about {seconds:.0f} s."
        )
    with display.step("Embedding") as report:
        cache.write_part(folder, first)
        for start in range(_TIMED, len(rows), _PART):
            cache.write_part(folder, _described(network, rows[start : start + _PART], settings))
            report(min(start + _PART, len(rows)), len(rows))
    return len(rows)


def load_embedding(contents: Sequence[str], store: Path, settings: MeasureSettings, digest: str) -> Embedded:
    """Return what the cache knows of contents (SHA-256), in their order."""
    import pandas as pd

    from training.head_shapes import CELLS, DIMENSIONS

    table = cache.read_parts(_folder(store, settings, digest), _SCHEMA)
    rows = pd.Index(table["sha256"].to_pandas()).get_indexer(pd.Index(np.asarray(contents, dtype=object)))
    known = rows >= 0
    embedding = np.zeros((len(rows), DIMENSIONS), np.float16)
    seen = np.zeros((len(rows), sum(cells * cells for cells in CELLS.values()) if digest else 0), np.float16)
    taken = table.take(pa.array(rows[known]))
    for array, column in ((embedding, "embedding"), (seen, "heads")):
        joined = b"".join(taken[column].to_pylist())
        array[known] = np.frombuffer(joined, np.float16).reshape(int(known.sum()), array.shape[1])
    logits, start = {}, 0
    for name, cells in CELLS.items() if digest else ():
        part = seen[:, start : start + cells * cells].reshape(-1, cells, cells)
        logits[name], start = part.astype(np.float32), start + cells * cells
    return Embedded(known, embedding, logits)


def _folder(store: Path, settings: MeasureSettings, digest: str) -> Path:
    """Return the folder of the parts, named after all that their numbers depend on."""
    from training.head_shapes import BACKBONE, REVISION

    identity = {
        "network": [BACKBONE, REVISION],
        "heads": digest,
        "decoding": [PIXELS_REVISION, decoders(), settings.max_pixels, settings.analysis_side],
    }
    name = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]
    return store / f"embeddings-{name}"


def _described(network: Any, rows: Sequence[tuple[str, str]], settings: MeasureSettings) -> pa.Table:
    """Return the cache's rows of contents; those without usable pixels have none."""
    from training.head_shapes import SIDE

    names, pictures = [], []
    for sha256, url in rows:
        picture = grey_square(url, sha256, SIDE, settings)
        if picture is not None:
            names.append(sha256)
            pictures.append(picture)
    return _table(names, network.describe(np.stack(pictures) if pictures else np.zeros((0, SIDE, SIDE), np.uint8)))


def keep(names: Sequence[str], found: Described, store: Path, settings: MeasureSettings, digest: str) -> None:
    """Write what was seen in contents (SHA-256) into the cache, so that they are not described again.

    Args:
        names: of n contents.
        found: what the network and its heads saw in their ``grey_square`` of the network's side.
        store: folder of the cache.
        settings: limits of decoding.
        digest: of the heads.

    """
    if names:
        cache.write_part(_folder(store, settings, digest), _table(names, found))


def _table(names: Sequence[str], found: Described) -> pa.Table:
    from training.head_shapes import CELLS

    parts = [found.logits[name].reshape(len(names), -1) for name in CELLS if name in found.logits]
    seen = np.concatenate(parts, axis=1).astype(np.float16) if parts else np.zeros((len(names), 0), np.float16)
    columns = [[row.tobytes() for row in array] for array in (found.embedding, seen)]
    return pa.table([pa.array(names, pa.string()), *(pa.array(column, pa.binary()) for column in columns)], _SCHEMA)
