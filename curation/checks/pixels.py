"""Checks of single images' pixels: readability, exposure, contrast, blur, blankness, size.

Bounds of thresholds are in units of the measure (mostly 0..1 of full scale). They only keep a data set that is bad or
uniform as a whole from setting an absurd threshold; between them the data's own distribution decides.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from curation.base.scored import DIGITS, Column, Kind, Scored, Value, exact_scores, narrow_scores, pieces
from curation.base.settings import Settings
from curation.checks.base import (
    ISSUE_SCORE,
    CheckInputs,
    Floats,
    Found,
    Ints,
    Limits,
    Measured,
    OneNumber,
    as_json,
    high_outliers,
    low_is_bad,
    low_outliers,
    lower_fence,
    typical,
)

_DARK_BOUNDS = (0.10, 0.40)
"""Brightness of the 95th percentile: below 0.10 nothing can be seen, above 0.40 some part is lit."""

_BRIGHT_BOUNDS = (0.45, 0.90)
"""Brightness of the 5th percentile: below 0.45 there are true shadows, above 0.90 the image is washed out."""

_CONTRAST_BOUNDS = (0.07, 0.12)
"""Standard deviation of grey values; a face photograph has about 0.2, of 1000 three have less than 0.08."""

_SHARPNESS_BOUNDS = (-0.62, -0.25)
"""log10 of ``edge_sharpness``: edges of sharp 48x48 faces have 0.3, of 200x200 photographs -0.2; blurred by a Gaussian
of 3 px of 200, or moved by 15, such a photograph has -0.8."""

_TEXTURE_BITS = 5.0
"""Entropy of an image's soft textures from which it shows something, however plain the rest: faces on plain ground have
5.1 and more if they cover 2 %, placards 4.8 and less, noise 3.8."""

_BLANK_CONTRAST = 0.02
"""Standard deviation of grey values below which JPEG noise on a flat field could account for all of it (5 of 255)."""

_BLANK_ENTROPY_BITS = 4.0
"""Entropy of the grey histogram of an image that uses 16 grey values equally: below it are flat tones and "image
removed" placards; a photograph of a face has 6 to 7.5 bits."""

_SIZE_BOUNDS = (0.25, 0.60)
"""Side relative to the data set's median side; a factor of four is odd anywhere, a factor of 1.7 nowhere."""


def _values(inputs: CheckInputs, column: str) -> Floats:
    values = np.array(inputs.measurements[column], dtype=np.float64)
    values[~inputs.readable] = np.nan
    return values


def unreadable(inputs: CheckInputs) -> Found:
    """Files that could not be decoded; the evidence is the decoder's reason."""
    flags = ~inputs.readable
    reasons = inputs.measurements[["error_kind", "error"]]

    def evidence(at: Ints) -> list[str]:
        return [as_json(kind=kind, error=error) for kind, error in reasons.iloc[at].itertuples(index=False, name=None)]

    return Found(Scored(narrow_scores(1.0 - flags.astype(np.float64))), flags, evidence)


def _of_the_face(column: str, limits: Callable[[Floats, Settings], Limits]) -> OneNumber:
    """Return a check on a measure of each image's best face, or of the whole image if no face is certain."""

    def measure(inputs: CheckInputs) -> Measured:
        of_face = _values(inputs, f"face_{column}")
        sure = (_values(inputs, "face_score") >= inputs.settings.checks.face_score) & np.isfinite(of_face)
        values = np.where(sure, of_face, _values(inputs, column))
        return Measured(values, (column, f"face_{column}"), sure.astype(np.uint8))

    return OneNumber(measure, limits, reads=(column, f"face_{column}", "face_score"))


dark = _of_the_face("brightness_p95", low_outliers(_DARK_BOUNDS))
"""Images whose brightest parts are dark; in those with a face, the face alone is judged."""

bright = _of_the_face("brightness_p05", high_outliers(_BRIGHT_BOUNDS))
"""Images whose darkest parts are bright; in those with a face, the face alone is judged."""

low_contrast = OneNumber(
    lambda inputs: Measured(_values(inputs, "contrast"), ("contrast",)),
    low_outliers(_CONTRAST_BOUNDS),
    reads=("contrast",),
)
"""Images with little difference between their grey values."""


def _sharpness(inputs: CheckInputs) -> Measured:
    contrast = _values(inputs, "contrast")
    with np.errstate(divide="ignore", invalid="ignore"):
        values = np.log10(_values(inputs, "edge_sharpness") + 1e-3)
    values[~(contrast >= _BLANK_CONTRAST)] = np.nan
    return Measured(values, ("log10_edge_sharpness",))


def _sharpness_limits(values: Floats, settings: Settings) -> Limits:
    threshold = lower_fence(values, settings.checks.outlier_fence, *_SHARPNESS_BOUNDS)
    return Limits(threshold - 1.0, threshold, typical(values))


blurry = OneNumber(_sharpness, _sharpness_limits, reads=("contrast", "edge_sharpness"))
"""Images whose edges are wide, all of them or in one direction (motion); a flat image is blank, not blurry."""


def blank(inputs: CheckInputs) -> Found:
    """Images that show next to nothing: one flat tone, or a few, and neither a face nor texture on a plain ground."""
    contrast = _values(inputs, "contrast")
    entropy = _values(inputs, "entropy")
    by_contrast = low_is_bad(contrast, _BLANK_CONTRAST, 0.0, typical(contrast))
    by_entropy = low_is_bad(entropy, _BLANK_ENTROPY_BITS, 0.0, typical(entropy))
    by = by_entropy < by_contrast
    face = _values(inputs, "face_score") >= inputs.settings.checks.face_score
    shows = face | (_values(inputs, "texture_entropy") >= _TEXTURE_BITS)
    scores = narrow_scores(np.where(inputs.readable, np.where(shows, 1.0, np.minimum(by_contrast, by_entropy)), np.nan))
    kinds: dict[str, Kind] = {"value": "rounded"}
    said = tuple(
        pieces(kinds, value=Value("value"), threshold=threshold, measure=name)
        for name, threshold in (("contrast", _BLANK_CONTRAST), ("entropy", _BLANK_ENTROPY_BITS))
    )
    values = {"value": Column.narrow("rounded", np.where(by, entropy, contrast).round(DIGITS))}
    return Found(Scored(scores, said, by.astype(np.uint8), values), exact_scores(scores) < ISSUE_SCORE)


def _size(inputs: CheckInputs) -> Measured:
    width, height = _values(inputs, "width"), _values(inputs, "height")
    with np.errstate(invalid="ignore"):
        values = np.minimum(_relative(np.sqrt(width * height)), _relative(width / height))
    return Measured(values, ("size_relative_to_median",))


odd_size = OneNumber(_size, low_outliers(_SIZE_BOUNDS, usual=1.0))
"""Images whose size or shape differs much from the data set's median one."""


def _relative(values: Floats) -> Floats:
    """Return the ratio of value and median, the smaller over the larger: 1 at the median, towards 0 away from it."""
    ratio = values / typical(values) if np.isfinite(values).any() else values
    return np.minimum(ratio, 1.0 / ratio)
