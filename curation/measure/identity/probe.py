"""Embedding every face once: what is not in the cache goes to a pool of processes, here or on Ray, shard by shard.

An image is known by its content, so copies are embedded once and a killed run goes on where it stopped. Faces are where
the detector found them.
"""

from __future__ import annotations

import shutil
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curation.base.arrays import Floats32
from curation.base.frames import records
from curation.base.pools import TaskPool, usable_cores
from curation.base.pools.local import Pool, Work
from curation.measure import store as cache
from curation.measure.batch import ChangedError, measured_bytes, measured_pixels
from curation.measure.decode import DecodeError
from curation.measure.faces.choice import detector_fingerprint
from curation.measure.load import load_faces
from curation.measure.tables import IDENTITY_SCHEMA

if TYPE_CHECKING:
    import pandas as pd

    from curation.base.settings import EngineSettings, IdentitySettings, MeasureSettings
    from curation.measure.identity.networks import IdentityNetwork

Progress = Callable[[int, int], None]
"""Called with (images done, images to do)."""

_SECOND_FACE_SCORE = 0.7
"""A second face in a picture is embedded from this score on: it is known to be another person."""

_SHARD = 256
"""Images a checkpoint: about two seconds of work."""

_WORTH_A_PROCESS = 100

_TRIAL_FACES = 8
"""Faces by which the time of all is estimated."""


@dataclass(frozen=True)
class Embeddings:
    """Embeddings of contents, in the order in which they were asked for.

    first  -- (N, numbers) float32: of the best face; NaN where there is none, or it is too small
    others -- (M, numbers) float32: of the second faces
    beside -- (M,) places in ``first`` of the pictures that they are in
    """

    first: Floats32
    others: Floats32
    beside: npt.NDArray[np.int64]

    @property
    def known(self) -> npt.NDArray[np.bool_]:
        """(N,) which contents have an embedding."""
        return ~np.isnan(self.first[:, 0]) if self.first.shape[1] else np.zeros(len(self.first), dtype=np.bool_)


@dataclass(frozen=True)
class _Picture:
    """One content: its hash, where its bytes are, and its faces as (rank, landmarks, box)."""

    sha256: str
    url: str
    faces: tuple[tuple[int, tuple[float, ...] | None, tuple[float, ...]], ...]


def measure_identity(
    listing: pd.DataFrame,
    measurements: pd.DataFrame,
    store: Path,
    settings: tuple[MeasureSettings, IdentitySettings, EngineSettings],
    network: IdentityNetwork,
    say: Callable[[str], None],
    progress: Progress | None = None,
) -> int:
    """Embed the faces of every content of ``listing`` that the cache does not hold yet; return of how many contents.

    The caller holds the workspace's lock. A content that cannot be embedded gets a row without numbers.

    Args:
        listing: path, url, and what ``load_faces`` needs
        measurements: of the same images, in the same order
        store: folder of the cache
        settings: how images are decoded, which faces are embedded, where the work runs
        network: the network
        say: told once, before work begins, how much there is and about how long it takes
        progress: told how far the run is

    Raises:
        IdentityError: the network gives no vector for a face.
        PoolError, EngineError: processes cannot start.
        ChangedError: an image is gone, or is another than was measured; the others are embedded.

    """
    measuring, identity, engine = settings
    folder = cache.identity_folder(store, measuring, detector_fingerprint(measuring), network.fingerprint)
    for stale in folder.glob(".*.tmp"):
        stale.unlink(missing_ok=True)
    known = set(cache.read_parts(folder, IDENTITY_SCHEMA, ["sha256"], writing=True)["sha256"].to_pylist())
    pending = [
        picture
        for picture in _pictures(listing, measurements, store, measuring, identity)
        if picture.sha256 not in known
    ]
    if not pending:
        return 0
    workers = max(1, min(engine.workers or usable_cores(), len(pending) // _WORTH_A_PROCESS))
    seconds = _seconds_a_face(network) * sum(len(picture.faces) for picture in pending)
    where = "on Ray" if engine.kind == "ray" else f"with {workers} process{'es' if workers > 1 else ''}"
    say(f"Recognising {len(pending):,} faces with {network.name}: about {_duration(seconds / workers)} {where}.")
    queue = deque(tuple(pending[start : start + _SHARD]) for start in range(0, len(pending), _SHARD))
    arguments = (make_work, network, measuring)
    if engine.kind == "ray":
        from curation.base.pools.ray_pool import RayPool

        _commit_all(RayPool(engine, *arguments), queue, folder, len(pending), progress)
    else:
        with Pool[tuple[_Picture, ...], Any](workers, *arguments) as near:
            _commit_all(near, queue, folder, len(pending), progress)
    known = set(cache.read_parts(folder, IDENTITY_SCHEMA, ["sha256"])["sha256"].to_pylist())
    for picture in pending:
        if picture.sha256 not in known:
            measured_bytes(picture.url, picture.sha256, measuring.max_bytes)
    return len(pending)


def _pictures(
    listing: pd.DataFrame,
    measurements: pd.DataFrame,
    store: Path,
    measuring: MeasureSettings,
    identity: IdentitySettings,
) -> list[_Picture]:
    """Return the contents with a face to embed, each once."""
    one = measurements.assign(url=listing["url"].to_numpy()).drop_duplicates("sha256")
    facts = one[one["error"] == ""].set_index("sha256")[["url", "width", "height"]].add_suffix("_image")
    faces = load_faces(listing, store, measuring)
    wanted = (faces["rank"] == 0) | ((faces["rank"] == 1) & (faces["score"] >= _SECOND_FACE_SCORE))
    faces = faces[wanted & faces["sha256"].isin(facts.index)].join(facts, on="sha256")
    side = np.minimum(faces["width"] * faces["width_image"], faces["height"] * faces["height_image"])
    faces = faces[side >= identity.smallest_face]
    found: dict[str, _Picture] = {}
    for row in records(faces):
        points = None if row["landmarks"] is None else tuple(row["landmarks"])
        face = (row["rank"], points, (row["x"], row["y"], row["width"], row["height"]))
        before = found.get(row["sha256"])
        found[row["sha256"]] = _Picture(row["sha256"], row["url_image"], (*(before.faces if before else ()), face))
    return list(found.values())


def _seconds_a_face(network: IdentityNetwork) -> float:
    """Return how long this machine takes for one face, measured."""
    embedder = network.make()
    blank = np.zeros((64, 64), dtype=np.uint8)
    started = time.monotonic()
    for _ in range(_TRIAL_FACES):
        embedder.embed(blank, None, (0.0, 0.0, 1.0, 1.0))
    return (time.monotonic() - started) / _TRIAL_FACES


def _duration(seconds: float) -> str:
    return f"{max(seconds, 1):.0f} s" if seconds < 120 else f"{seconds / 60:.0f} minutes"


def make_work(network: IdentityNetwork, measuring: MeasureSettings) -> Work:
    """Return what a process does with a shard; called once in each.

    Raises:
        IdentityError: the network cannot be loaded.

    """
    embedder = network.make()

    def work(shard: Sequence[_Picture]) -> list[dict[str, Any]]:
        return [row for picture in shard for row in _embedded(picture, embedder, measuring)]

    return work


def _embedded(picture: _Picture, embedder: Any, measuring: MeasureSettings) -> list[dict[str, Any]]:
    try:
        pixels = measured_pixels(picture.url, picture.sha256, measuring)
    except DecodeError:
        return _nothing(picture)
    except ChangedError:
        return []  # nothing is known of it; measure_identity says so
    return [
        {"sha256": picture.sha256, "rank": rank, "embedding": embedder.embed(pixels, landmarks, box).tobytes()}
        for rank, landmarks, box in picture.faces
    ]


def _nothing(picture: _Picture) -> list[dict[str, Any]]:
    return [{"sha256": picture.sha256, "rank": 0, "embedding": b""}]


def _commit_all(
    pool: TaskPool[tuple[_Picture, ...], Any],
    queue: deque[tuple[_Picture, ...]],
    folder: Path,
    total: int,
    progress: Progress | None,
) -> None:
    """Have every shard embedded; one on which a process dies is halved until the culprit is alone."""
    done = 0
    for shard, rows in pool.results(queue):
        if rows is None and len(shard) > 1:
            queue.extendleft((shard[len(shard) // 2 :], shard[: len(shard) // 2]))
            continue
        cache.write_part(folder, pa.Table.from_pylist(_nothing(shard[0]) if rows is None else rows, IDENTITY_SCHEMA))
        done += len(shard)
        if progress is not None:
            progress(done, total)


def load_embeddings(
    contents: Sequence[str], store: Path, measuring: MeasureSettings, network: IdentityNetwork
) -> Embeddings:
    """Return the embeddings of contents, named by their SHA-256, each at most once."""
    folder = cache.identity_folder(store, measuring, detector_fingerprint(measuring), network.fingerprint)
    rows = cache.read_parts(folder, IDENTITY_SCHEMA)
    place = {name: number for number, name in enumerate(contents)}
    where = np.array([place.get(name, -1) for name in rows["sha256"].to_pylist()], dtype=np.int64)
    rank, blobs = rows["rank"].to_numpy(), rows["embedding"].to_pylist()
    usable = (where >= 0) & np.array([len(blob) > 0 for blob in blobs], dtype=np.bool_)
    numbers = len(next((blob for blob, use in zip(blobs, usable, strict=True) if use), b"")) // 4
    first = np.full((len(contents), numbers), np.nan, dtype=np.float32)
    found = np.flatnonzero(usable)
    values = np.frombuffer(b"".join(blobs[row] for row in found), dtype=np.float32).reshape(len(found), numbers)
    best = rank[found] == 0
    first[where[found[best]]] = values[best]
    return Embeddings(first, values[~best], where[found[~best]])


def forget(store: Path) -> int:
    """Delete all embeddings of all networks; return how many bytes they took."""
    total = 0
    for folder in store.glob(f"{cache.IDENTITY_FOLDERS}*"):
        total += sum(path.stat().st_size for path in folder.glob("*"))
        shutil.rmtree(folder)
    return total
