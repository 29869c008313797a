"""Small sources for tests: trees of files, and what a listing says of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from curation.base.settings import SourceSettings
from curation.formats.listing import Listing
from curation.formats.source import read_source

JPEG = b"\xff\xd8\xff\xe0" + bytes(12)


def lay(root: Path, tree: Mapping[str, bytes | str] | Iterable[str]) -> Path:
    """Write files below ``root``: their contents, or the same image for each of a list of paths."""
    contents = tree if isinstance(tree, Mapping) else dict.fromkeys(tree, JPEG)
    for name, data in contents.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data.encode() if isinstance(data, str) else data)
    return root


def listed(source: Path | str, **settings: object) -> Listing:
    """Read a source; its cache lies beside its folder."""
    place = Path(str(source).rpartition(":")[2])
    folder = place if place.is_dir() else place.parent
    return read_source(str(source), folder.parent / "cache", SourceSettings.model_validate(settings))


def told(listing: Listing) -> dict[str, tuple[str, str]]:
    """Path -> split and label."""
    frame = listing.frame
    return dict(zip(frame["path"], zip(frame["split"], frame["label"], strict=True), strict=True))


def column(listing: Listing, name: str) -> dict[str, str]:
    """Path -> what one column says."""
    return dict(zip(listing.frame["path"], listing.frame[name], strict=True))


def reasons(listing: Listing) -> dict[str, str]:
    """Path -> why it was left out."""
    return dict(zip(listing.problems["path"], listing.problems["reason"], strict=True))


def said(listing: Listing) -> str:
    """Everything that is said about the source, in one text."""
    return "\n".join(listing.warnings)
