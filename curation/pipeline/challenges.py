"""Embed a data set and learn its challenges, once; stored embeddings are read without loading the network."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd

from curation.base import files
from curation.base.arrays import Floats, Pixels
from curation.base.progress import Display
from curation.base.reading import UNREADABLE, contents
from curation.base.settings import MeasureSettings, Settings
from curation.base.workspace import Workspace, read_listing
from curation.checks.challenges import model as models
from curation.checks.challenges.found import Challenges
from curation.checks.challenges.model import ChallengeModel
from curation.checks.challenges.overlays import PairMark
from curation.models.runs import translate_errors

if TYPE_CHECKING:
    from curation.measure.embedding import Embedded

_LOG = logging.getLogger(__name__)

_SURE_FACE = 0.6
"""Least detector score of faces that are learned from."""

_MOST_FACES = 6000
_NATURAL = 3000
"""Most faces, and most images of any kind, that are learned from."""

_LARGEST_SIDE = 160
"""Marks are drawn on faces of their own size, at most this side in pixels, so that both are equally sharp."""

Marks = list[tuple[str, str, PairMark]]


def wanted(settings: Settings) -> bool:
    """Return whether images are to be embedded: on request, or where labels are judged."""
    return settings.embed.when == "on" or (settings.embed.when == "auto" and settings.labels.recipe != "off")


def stored_model(workspace: Workspace) -> ChallengeModel | None:
    """Return the workspace's model, None where there is none of this revision; a damaged one is logged."""
    if not workspace.challenges.exists():
        return None
    try:
        model = ChallengeModel.from_bytes(contents(workspace.challenges))
    except UNREADABLE:
        _LOG.warning("%s is damaged and is dropped; it is learned again with --embed", workspace.challenges)
        return None
    whole = set(model.curves) == set(models.HEADS) and {"weights", "faces", "spread", "usual"} <= set(model.human)
    return model if whole and model.record.get("revision") == models.REVISION else None


class Prepared:
    """A workspace's stored challenges, loaded on demand.

    Attributes:
        identity: changes whenever the result of ``load`` may change.

    """

    def __init__(
        self, workspace: Workspace, measurements: pd.DataFrame, pairs: pd.DataFrame, settings: Settings
    ) -> None:
        """Keep references only; nothing is read yet."""
        self._workspace, self._measurements, self._settings = workspace, measurements, settings
        self._pairs = pairs
        self._model = stored_model(workspace)

    @property
    def identity(self) -> tuple[str, ...]:
        """The model's digest and the names of the cached parts, which identify their contents; () if none are used."""
        if self._settings.embed.when == "off":
            return ()
        folders = sorted(self._workspace.measurements.glob("embeddings-*"))
        parts = [f"{folder.name}/{part.name}" for folder in folders for part in sorted(folder.glob("part-*"))]
        return (_digest_of(self._workspace), *parts) if parts else ()

    @property
    def _digest(self) -> str:
        return self._model.digest if self._model else ""

    @cached_property
    def _shown(self) -> _Shown:
        readable = self._measurements[self._measurements["error"] == ""]
        return _Shown(self._workspace, self._settings.measure, readable)

    @cached_property
    def _marks(self) -> Marks:
        from curation.checks.challenges.pairs import marks_of_pairs

        minimum = self._settings.duplicates.min_probability
        return marks_of_pairs(self._pairs, minimum, lambda names: self._shown.by_pixels(list(names)))

    def make(self, display: Display) -> None:
        """Learn the model unless there is one, and embed the contents that have no embedding yet."""
        from curation.measure.embedding import embed

        if self._model is None:
            marks = [mark for _, _, mark in self._marks]
            self._model = _learned(self._workspace, self._shown, marks, self._settings, display)
        heads = self._model.heads if self._model else {}
        store = self._workspace.measurements
        embed(self._shown.contents(), store, self._settings.measure, heads, self._digest, display)

    def load(self) -> Challenges | None:
        """Return the challenges, None where no image is embedded."""
        from curation.measure.embedding import load_embedding

        names = self._measurements["sha256"].tolist()
        found = load_embedding(names, self._workspace.measurements, self._settings.measure, self._digest)
        if not found.known.any():
            return None
        shown, clean = self._shown, _clean_copies(self._marks, self._measurements)
        return Challenges(
            found.known,
            found.embedding,
            found.logits,
            self._model,
            shown.landmarks(self._measurements),
            shown.all(self._measurements),
            clean,
        )


def prepare(
    workspace: Workspace, measurements: pd.DataFrame, pairs: pd.DataFrame, settings: Settings, display: Display
) -> Prepared:
    """Embed the images if settings ask for it, and return what is stored.

    A learned model is kept when images are added, so that embeddings stay comparable; delete ``challenges.npz`` to
    learn a new one.
    """
    from training.head_shapes import PACKAGE, available

    prepared = Prepared(workspace, measurements, pairs, settings)
    if wanted(settings) and available():
        translate_errors(lambda: prepared.make(display))
    elif wanted(settings):
        display.note(f"Nothing is embedded: the package {PACKAGE.replace('_', '-')} is not installed (extra models).")
    return prepared


def _digest_of(workspace: Workspace) -> str:
    path = workspace.challenges
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else ""


class _Shown:
    """The images of a workspace: their URLs, thumbnails and landmarks."""

    def __init__(self, workspace: Workspace, settings: MeasureSettings, readable: pd.DataFrame) -> None:
        self._workspace, self._settings, self._readable = workspace, settings, readable
        self._listing = read_listing(workspace)

    def contents(self) -> pd.DataFrame:
        """Return measurements and URL of every readable content, one row each, sorted by SHA-256."""
        url = self._listing.set_index("path")["url"]
        distinct = self._readable.drop_duplicates("sha256").sort_values("sha256", ignore_index=True)
        return distinct.assign(url=distinct["path"].map(url))

    def by_pixels(self, names: list[str]) -> Pixels:
        """Return thumbnails (n, 48, 48) by the SHA-256 of the pixels."""
        sha256 = self._readable.drop_duplicates("pixel_sha256").set_index("pixel_sha256")["sha256"]
        return self._load(sha256[names].tolist())

    def all(self, measurements: pd.DataFrame) -> Pixels:
        """Return thumbnails (n, 48, 48) of all images, zeros for those that cannot be read."""
        pictures = np.zeros((len(measurements), 48, 48), np.uint8)
        usable = (measurements["error"] == "").to_numpy()
        pictures[usable] = self._load(measurements.loc[usable, "sha256"].tolist())
        return pictures

    def _load(self, names: list[str]) -> Pixels:
        from curation.measure import load_thumbnails

        return load_thumbnails(names, self._workspace.measurements, self._settings)

    def landmarks(self, measurements: pd.DataFrame) -> Floats:
        """Return landmarks (n, 5, 2) of the best face, estimated from its box if not detected; NaN without a face."""
        from curation.measure import load_faces

        faces = load_faces(self._listing, self._workspace.measurements, self._settings)
        best = faces[faces["rank"] == 0].set_index("sha256")
        rows = best.index.get_indexer(pd.Index(measurements["sha256"]))
        boxes = best[["x", "y", "width", "height"]].to_numpy(np.float64)
        points = models.standard_landmarks(boxes)
        for place, given in enumerate(best["landmarks"].tolist()):
            if given is not None and len(given) == 10 and np.isfinite(given).all():
                points[place] = np.asarray(given, np.float64).reshape(5, 2)
        result = np.full((len(measurements), 5, 2), np.nan)
        result[rows >= 0] = points[rows[rows >= 0]]
        return result


def _learned(
    workspace: Workspace, shown: _Shown, marks: list[PairMark], settings: Settings, display: Display
) -> ChallengeModel | None:
    """Learn and store a model of the data's faces; None where there are too few."""
    from curation.checks.challenges.learn import FEWEST_FACES, Faces, Natural, learn
    from curation.measure.embedding import grey_square, keep
    from curation.measure.faces.choice import choose_detector
    from training.head_shapes import SIDE

    contents = shown.contents()
    sure = contents[contents["face_score"] >= _SURE_FACE]
    if len(sure) < FEWEST_FACES:
        display.note(
            f"{len(sure)} confidently detected faces are too few to learn watermarks, occlusion and non-human faces "
            f"from: those checks need {FEWEST_FACES}; outliers are found without them."
        )
        return None
    chosen = sure.sample(min(_MOST_FACES, len(sure)), random_state=settings.seed)
    points = shown.landmarks(chosen)
    sides = chosen[["width", "height"]].min(axis=1).clip(24, _LARGEST_SIDE)
    pictures, kept = [], []
    for row, (url, sha256, side) in enumerate(zip(chosen["url"], chosen["sha256"], sides.tolist(), strict=True)):
        picture = grey_square(url, sha256, int(side), settings.measure)
        if picture is not None and np.isfinite(points[row]).all():
            pictures.append(picture)
            kept.append(row)
    detector = choose_detector(settings.measure).make(settings.measure.min_face_score)

    def detect(picture: Pixels) -> float:
        return max((face.score for face in detector.detect(picture)), default=0.0)

    drawn = contents.sample(min(_NATURAL, len(contents)), random_state=settings.seed)
    seen = [
        grey_square(url, sha256, SIDE, settings.measure)
        for url, sha256 in zip(drawn["url"], drawn["sha256"], strict=True)
    ]
    drawn = drawn[[picture is not None for picture in seen]]
    natural = Natural([picture for picture in seen if picture is not None], drawn["face_score"].to_numpy(np.float64))
    faces, lessons = Faces(pictures, points[kept]), settings.embed.lessons
    model, described = learn(faces, natural, marks, detect, lessons, settings.seed, display)
    files.write_bytes(workspace.challenges, model.to_bytes())
    keep(drawn["sha256"].tolist(), described, workspace.measurements, settings.measure, model.digest)
    return model


def _clean_copies(marks: Marks, measurements: pd.DataFrame) -> dict[int, tuple[str, list[float]]]:
    """Return row of a marked image -> path of its copy without the mark, and the mark's box."""
    rows_of = {name: np.asarray(rows) for name, rows in measurements.groupby("pixel_sha256").indices.items()}
    paths = measurements["path"].to_numpy()
    found: dict[int, tuple[str, list[float]]] = {}
    for carrier, clean, mark in marks:
        covered = np.abs(mark.opacity) > 0.1
        if not covered.any():
            continue
        rows, columns = np.flatnonzero(covered.any(axis=1)), np.flatnonzero(covered.any(axis=0))
        left, top, side = int(columns[0]), int(rows[0]), len(mark.opacity)
        size = int(columns[-1]) + 1 - left, int(rows[-1]) + 1 - top
        box = [round(value / side, 3) for value in (left, top, *size)]
        for row in rows_of[carrier].tolist():
            found.setdefault(row, (str(paths[rows_of[clean][0]]), box))
    return found


@dataclass(frozen=True)
class StoredEmbeddings:
    """The embeddings stored in a workspace.

    Attributes:
        digest: of the network and its heads.

    """

    digest: str
    store: Path
    settings: MeasureSettings

    def of(self, contents: list[str]) -> npt.NDArray[np.float16] | None:
        """Return embeddings (n, 1280) of contents (SHA-256), None if any is missing."""
        from curation.measure.embedding import load_embedding

        found = load_embedding(contents, self.store, self.settings, self.digest)
        return found.embedding if len(contents) and found.known.all() else None

    def known(self, contents: list[str]) -> Embedded:
        """Return embeddings and logits of contents (SHA-256), in their order."""
        from curation.measure.embedding import load_embedding

        return load_embedding(contents, self.store, self.settings, self.digest)


def embeddings(workspace: Workspace, settings: Settings) -> StoredEmbeddings | None:
    """Return the stored embeddings, None where there are none."""
    if not any(workspace.measurements.glob("embeddings-*")):
        return None
    model = stored_model(workspace)
    return StoredEmbeddings(model.digest if model else "", workspace.measurements, settings.measure)
