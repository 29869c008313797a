"""Measuring a listing: what is not in the cache goes to a pool of processes, shard by shard, each committed when done.

The processes are this machine's or Ray's. A shard's probe results are committed before its files rows, so a run that is
killed between the two only hashes those files again. Nothing depends on where processes run, on their number or on the
size of shards.
"""

from __future__ import annotations

import functools
import os
import warnings
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curation.base.pools import EngineError, TaskPool, usable_cores
from curation.base.pools.local import Pool, Work
from curation.measure import store as cache
from curation.measure.batch import crashed_batch, mark_of, measure_batch, read_bytes
from curation.measure.faces.choice import DetectorChoice, choose_detector
from curation.measure.gather import Contents, Files, keys_of
from curation.measure.tables import FACES_SCHEMA, PIXELS_SCHEMA, Batch, Known

if TYPE_CHECKING:
    import pandas as pd

    from curation.base.settings import EngineSettings, MeasureSettings

Progress = Callable[[int, int], None]
"""Called with (images done, images to do)."""

_WORTH_A_PROCESS = 400
"""Images that take about as long to measure as one more process takes to start and to load its libraries."""

_SHARDS_A_WORKER = 4
"""At least so many, where there is enough work, so that all end at about the same time."""

_REMEMBERED = 200_000
"""Contents that a process knows that it has measured: a copy of an older one is measured again, to the same result."""

_TRIES = 2
"""A file is the culprit when its process dies on it alone so many times; one death may be anybody's."""


@dataclass(frozen=True)
class MeasureCounts:
    """What one run did.

    images   -- rows of the listing
    read     -- files that were read and hashed
    measured -- contents that were decoded and probed
    crashed  -- files on which a process died
    """

    images: int
    read: int
    measured: int
    crashed: int


@dataclass(frozen=True)
class _Shard:
    """Files that are measured and committed together; ``start`` is their place among the pending rows.

    Their names are a view of the pending rows until the shard is sent to a process.
    """

    start: int
    paths: Sequence[str] | pa.ChunkedArray
    urls: Sequence[str] | pa.ChunkedArray
    crashes: int = 0

    def names(self) -> tuple[list[str], list[str]]:
        """Return paths and URLs."""
        return list(map(str, self.paths)), list(map(str, self.urls))

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), **dict(zip(("paths", "urls"), self.names(), strict=True))}

    def after_crash(self) -> list[_Shard]:
        """Return what to try next: the halves, or the same single file again."""
        half = len(self.paths) // 2
        if half == 0:
            return [_Shard(self.start, self.paths, self.urls, self.crashes + 1)]
        return [
            _Shard(self.start, self.paths[:half], self.urls[:half]),
            _Shard(self.start + half, self.paths[half:], self.urls[half:]),
        ]

    @property
    def is_culprit(self) -> bool:
        """Whether one more death settles it."""
        return len(self.paths) == 1 and self.crashes + 1 >= _TRIES


def measure(
    listing: pd.DataFrame,
    store: Path,
    settings: MeasureSettings,
    engine: EngineSettings,
    progress: Progress | None = None,
    *,
    look_again: bool = True,
) -> MeasureCounts:
    """Measure every image of ``listing`` that the cache under ``store`` does not hold yet.

    The caller holds the workspace's lock. A file that cannot be measured gets a row that says why.

    Args:
        listing: path, url, bytes, mtime_ns; a file of which all four are known, and that has the inode and ctime of
            then, is not read again (mtime_ns 0 says that the time is unknown: then it is read, and probed if its
            content is new)
        store: folder of the cache
        settings: what is measured
        engine: where, how many processes, and images per checkpoint; without influence on any result
        progress: told how far the run is
        look_again: whether files may have changed since they were listed

    Raises:
        DetectorError, WeightsError: the face detector cannot be used.
        PoolError: a process cannot start.
        EngineError: Ray cannot do the work.

    """
    choice = choose_detector(settings)
    folders = cache.folders(store, settings, choice.fingerprint)
    cache.remove_stale_temporaries(folders)
    columns = cache.listing_table(listing)
    pending, known = _pending(columns, folders, settings, look_again)
    images = pending.num_rows
    if images == 0:
        return MeasureCounts(len(listing), 0, 0, 0)
    run = _Run(pending, folders, settings, progress)
    if engine.kind == "ray":
        _measure_on_ray(run, images, engine, (choice, settings, known))
    else:
        workers = max(1, min(engine.workers or usable_cores(), images // _WORTH_A_PROCESS))
        with Pool[_Shard, _Measured](workers, make_work, choice, settings, known) as pool:
            run.commit_all(pool, deque(run.shards(_shard_size(images, workers, engine))))
    return MeasureCounts(len(listing), run.read, run.measured, run.crashed)


def _measure_on_ray(run: _Run, images: int, engine: EngineSettings, arguments: tuple[Any, ...]) -> None:
    from curation.base.pools import ray_pool

    pool = ray_pool.RayPool[_Shard, _Measured](engine, make_pure_work, *arguments)
    run.commit_all(pool, deque(run.shards(_shard_size(images, pool.workers, engine))), accept=require_same_view)


def _pending(
    columns: pa.Table, folders: cache.Folders, settings: MeasureSettings, look_again: bool
) -> tuple[pa.Table, Known]:
    """Return the listing's rows to read, and the contents that need no probing.

    Columns are added to the rows: what is on record for that very file, ``stored_sha256``, ``stored_inode`` and
    ``stored_ctime_ns``, null where there is nothing.
    """
    known = cache.file_parts(folders, (*_STORED, "error", "error_kind"), writing=True)
    stored = Files(columns, known, folders.files.parent)
    contents = Contents.of(stored.sha256)
    missing = np.zeros(columns.num_rows, dtype=np.bool_)
    for folder, schema in ((folders.pixels, PIXELS_SCHEMA), (folders.faces, FACES_SCHEMA)):
        done = np.zeros(columns.num_rows, dtype=np.bool_)
        for part in cache.each_part(folder, schema, ["sha256"], writing=True):
            done[contents.find(keys_of(part["sha256"]))[0]] = True
        missing |= ~done
    readable = stored.sha256.known
    unknown_time = np.asarray(pc.equal(columns["mtime_ns"], 0))
    pending = ~stored.found | unknown_time | (missing & readable & contents.firsts(columns.num_rows))
    if look_again:
        pending |= _replaced(columns, stored)
    for place in np.flatnonzero(stored.found & ~readable).tolist():
        pending[place] = _worth_another_try(columns, place, stored.words["error_kind"].word(place), settings)
    at = np.flatnonzero(pending)
    to_read = columns.take(pa.array(at)) if len(at) < len(pending) else columns
    for name, values in stored.rows(at).items():
        to_read = to_read.append_column(f"stored_{name}", values)
    return to_read, _known(folders) if to_read.num_rows else Known(set(), set())


_STORED = ("sha256", "inode", "ctime_ns")
"""What is on record of a file beside the columns of a listing."""


def _replaced(columns: pa.Table, stored: Files) -> NDArray[np.bool_]:
    """Return which files on record are another one by now, or were written in place, though of the same size and time.

    One that is not there at the moment is none of them: its medium may not be mounted.
    """
    replaced = np.zeros(columns.num_rows, dtype=np.bool_)
    listed = columns.select(["url", "bytes", "mtime_ns"])
    for start in range(0, len(replaced), _LOOKED_AT):
        some = slice(start, start + _LOOKED_AT)
        marks = (stored.numbers[name].values[some].tolist() for name in ("inode", "ctime_ns"))
        rows = zip(*listed.slice(start, _LOOKED_AT).to_pydict().values(), *marks, strict=True)
        replaced[some] = [_is_another(*row) for row in rows]
    return replaced


_LOOKED_AT = 16_384
"""Files whose status is asked for together."""


def _is_another(url: str, size: int, time: int, inode: int, ctime_ns: int) -> bool:
    if (inode, ctime_ns) == (0, 0) or "://" in url:
        return False
    try:
        status = os.stat(url)  # noqa: PTH116 -- a Path a file costs more than the call
    except OSError:
        return False
    return (*mark_of(status), status.st_size, status.st_mtime_ns) != (inode, ctime_ns, size, time)


def _known(folders: cache.Folders) -> Known:
    def contents(folder: Path, schema: pa.Schema) -> set[bytes]:
        parts = cache.each_part(folder, schema, ["sha256"])
        return {bytes.fromhex(name) for part in parts for name in part["sha256"].to_pylist()}

    return Known(contents(folders.pixels, PIXELS_SCHEMA), contents(folders.faces, FACES_SCHEMA))


def _worth_another_try(columns: pa.Table, place: int, kind: str, settings: MeasureSettings) -> bool:
    """Whether a file that could not be read may be readable now; permissions change without a new time."""
    if kind == "too_large":
        return bool(columns["bytes"][place].as_py() <= settings.max_bytes)
    return _opens(columns["url"][place].as_py())


def _opens(url: str) -> bool:
    try:
        read_bytes(url, 1)
    except Exception:  # every file system that fsspec reaches has errors of its own
        return False
    return True


def _shard_size(images: int, workers: int, engine: EngineSettings) -> int:
    return max(1, min(engine.shard_size, -(-images // (workers * _SHARDS_A_WORKER))))


def make_work(choice: DetectorChoice, settings: MeasureSettings, known: Known) -> Work:
    """Return what a process of the local pool does with a shard; called once in each.

    ``known`` grows by what this process has measured lately: a shard is only given out when the last one is committed.

    Raises:
        DetectorError: the face detector cannot be made.

    """
    measured = _measuring(choice, settings, known)
    before = max(len(known.pixels), len(known.faces))

    def work(shard: _Shard) -> _Measured:
        batch = measured(shard)
        for contents, rows in ((known.pixels, batch.pixels), (known.faces, batch.faces)):
            if len(contents) > before + _REMEMBERED:
                contents.clear()
            contents.update(bytes.fromhex(row["sha256"]) for row in rows)
        return _as_measured(batch)

    return work


def make_pure_work(choice: DetectorChoice, settings: MeasureSettings, known: Known) -> Work:
    """Return what a process of Ray does with a shard: the same, but a shard that is done again has the same result.

    Raises:
        DetectorError: the face detector cannot be made.

    """
    measured = _measuring(choice, settings, known)
    return lambda shard: _as_measured(measured(shard))


def _measuring(choice: DetectorChoice, settings: MeasureSettings, known: Known) -> Callable[[_Shard], Batch]:
    warnings.simplefilter("ignore")  # decoders warn of what becomes a row with an error, or of what does not matter
    detector = choice.make(settings.min_face_score)

    def work(shard: _Shard) -> Batch:
        paths, urls = shard.names()
        return measure_batch(paths, urls, known, settings, detector)

    return work


@dataclass(frozen=True)
class _Measured:
    """What a process returns of a shard: parts of the cache as they are written, but for what the listing adds.

    files         -- see ``FILES_SCHEMA``
    pixels, faces -- see ``store.encoded``
    probed        -- first quarters of the contents' hashes
    """

    files: pa.Table
    pixels: bytes
    faces: bytes
    probed: NDArray[np.uint64]


def _as_measured(batch: Batch) -> _Measured:
    files, pixels, faces = batch.tables()
    probed = {int(row["sha256"][:16], 16) for row in (*batch.pixels, *batch.faces)}
    hashes = np.fromiter(probed, dtype=np.uint64, count=len(probed))
    return _Measured(files, cache.encoded(pixels), cache.encoded(faces), hashes)


def require_same_view(files: pa.Table) -> None:
    """Refuse what a process measured that does not see the files that this one sees.

    Raises:
        EngineError: a file that a process could not open can be opened here.

    """
    for url in files.filter(pc.equal(files["error_kind"], "unreadable"))["url"].to_pylist():
        if _opens(url):
            raise EngineError(
                f"{url} can be read here but not where it is to be measured; put the data where every node of "
                "the cluster finds it under the same path, or name it by a URL"
            )


class _Run:
    """One run over the pending rows: gives out shards, commits what comes back, counts."""

    def __init__(
        self, pending: pa.Table, folders: cache.Folders, settings: MeasureSettings, progress: Progress | None
    ) -> None:
        self._pending = pending
        self._folders = folders
        self._settings = settings
        self._progress = progress
        self._measured: list[NDArray[np.uint64]] = []
        self._writers = [cache.PartWriter(folder) for folder in (folders.pixels, folders.faces, folders.files)]
        self.read = 0
        self.crashed = 0

    @property
    def measured(self) -> int:
        """How many different contents were probed, told apart by the first quarter of their hashes."""
        return len(np.unique(np.concatenate(self._measured))) if self._measured else 0

    def shards(self, size: int) -> list[_Shard]:
        """Return all pending rows as shards of at most ``size``."""
        paths, urls = (self._pending[name] for name in ("path", "url"))
        starts = range(0, self._pending.num_rows, size)
        return [_Shard(start, paths.slice(start, size), urls.slice(start, size)) for start in starts]

    def commit_all(
        self,
        pool: TaskPool[_Shard, _Measured],
        queue: deque[_Shard],
        accept: Callable[[pa.Table], None] = lambda files: None,
    ) -> None:
        """Have every shard measured; one on which a process dies is halved until the culprit is alone.

        ``accept`` raises where what is said of files must not be kept.
        """
        self._tell()
        for shard, result in pool.results(queue):
            measured = result
            if measured is None:
                if not shard.is_culprit:
                    queue.extendleft(reversed(shard.after_crash()))
                    continue
                path, url = (names[0] for names in shard.names())
                measured = _as_measured(crashed_batch(path, url, Known(set(), set()), self._settings))
                self.crashed += 1
            accept(measured.files)
            self._commit(shard, measured)
            self._tell()

    def _commit(self, shard: _Shard, measured: _Measured) -> None:
        files = measured.files
        into_pixels, into_faces, into_files = self._writers
        into_pixels.write(measured.pixels)
        into_faces.write(measured.faces)
        listed = self._pending.slice(shard.start, len(shard.paths))
        differs = [pc.fill_null(pc.not_equal(files[name], listed[f"stored_{name}"]), True) for name in _STORED]
        changed = functools.reduce(pc.or_, differs)
        into_files.write(cache.files_table(files, listed).filter(changed))
        self.read += len(shard.paths)
        self._measured.append(measured.probed)

    def _tell(self) -> None:
        if self._progress is not None:
            self._progress(self.read, self._pending.num_rows)
