"""Measuring: decode each image once, run every probe on it, cache by content."""

from curation.measure.batch import read_pixels
from curation.measure.engine import MeasureCounts, measure
from curation.measure.faces.choice import detector_fingerprint
from curation.measure.load import (
    load_faces,
    load_landmarks,
    load_measurements,
    load_parts,
    load_thumbnails,
    thumbnail_bytes,
)
from curation.measure.tables import ERROR_KINDS, THUMBNAIL_SIDE

__all__ = [
    "ERROR_KINDS",
    "THUMBNAIL_SIDE",
    "MeasureCounts",
    "detector_fingerprint",
    "load_faces",
    "load_landmarks",
    "load_measurements",
    "load_parts",
    "load_thumbnails",
    "measure",
    "read_pixels",
    "thumbnail_bytes",
]
