"""fastdup's similar images as a second opinion. It is shown the files themselves, numbered."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from curation.audit.peers.peer import Peer
from curation.checks.duplicates.candidates import Features
from curation.measure.batch import read_bytes

# its error reports and its counting of uses stay off
_ENVIRONMENT = {"SENTRY_OPT_OUT": "1", "FASTDUP_PRODUCTION": "1"}

_MOST_BYTES = 512 * 2**20
"""As ``measure.max_bytes``: larger files have no row among the features."""


def fastdup(urls: Sequence[str], python: str) -> Peer:
    """Return fastdup, asked for pairs among images at ``urls`` (local path or fsspec URL, a row of features each)."""

    def prepare(_features: Features, folder: Path) -> None:
        lay_images(urls, folder / "images")

    program = Path(__file__).with_name("program_fastdup.py")
    return Peer("fastdup", "fastdup", program, prepare, python, _ENVIRONMENT)


def lay_images(urls: Sequence[str], folder: Path) -> None:
    """Lay images down in a new folder under their row numbers: local ones as links, others as copies."""
    folder.mkdir()
    for row, url in enumerate(urls):
        _lay(url, folder / f"{row:09d}{_suffix(url)}")


def _suffix(url: str) -> str:
    # fastdup tells images by their names' endings
    return Path(url.split("::")[0]).suffix.lower() or ".jpg"


def _lay(url: str, place: Path) -> None:
    local = Path(url)
    if local.is_file():
        place.symlink_to(local.resolve())
    else:
        place.write_bytes(read_bytes(url, _MOST_BYTES))
