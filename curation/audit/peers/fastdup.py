"""fastdup's similar images as a second opinion, from the image files themselves, numbered."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from curation.audit.peers.peer import Peer
from curation.checks.duplicates.candidates import Features
from curation.measure.batch import measured_bytes

QUIET = {"SENTRY_OPT_OUT": "1", "FASTDUP_PRODUCTION": "1"}
"""Environment in which its error reports and its counting of uses stay off."""

_MOST_BYTES = 512 * 2**20
"""As ``measure.max_bytes``: larger files have no row among the features."""


def fastdup(urls: Sequence[str], digests: Sequence[str], python: str) -> Peer:
    """Return fastdup as a peer that finds pairs among images.

    urls are local paths or fsspec URLs, one per row of the features, and digests their SHA-256.
    """

    def prepare(_features: Features, folder: Path) -> None:
        lay_images(urls, digests, folder / "images")

    program = Path(__file__).with_name("program_fastdup.py")
    return Peer("fastdup", "fastdup", program, prepare, python, QUIET)


def lay_images(urls: Sequence[str], digests: Sequence[str], folder: Path) -> None:
    """Write images to a new folder under their row numbers: local ones as links, others as copies.

    Raises:
        ChangedError: one is missing, or is not the one that was measured.

    """
    folder.mkdir()
    for row, (url, sha256) in enumerate(zip(urls, digests, strict=True)):
        # fastdup recognises images by the endings of their names
        ending = Path(url.split("::")[0]).suffix.lower() or ".jpg"
        data, place = measured_bytes(url, sha256, _MOST_BYTES), folder / f"{row:09d}{ending}"
        if "://" in url:
            place.write_bytes(data)
        else:
            place.symlink_to(Path(url).resolve())
