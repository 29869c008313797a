"""Kinds of files, by ending and by the first bytes."""

from __future__ import annotations

HEAD_BYTES = 16
"""So many first bytes tell whether a file is an image."""

IMAGE_ENDINGS = frozenset(
    (
        *("jpg", "jpeg", "jpe", "jfif", "jp2", "j2k", "png", "gif", "webp", "avif", "heic", "heif"),
        *("bmp", "dib", "tif", "tiff", "ppm", "pgm", "pbm", "pnm"),
    )
)
"""Endings, in lower case and without the dot, that are taken for an image without a look inside."""

_IMAGE_STARTS = (
    b"\xff\xd8\xff",  # JPEG
    b"\x89PNG\r\n\x1a\n",
    b"GIF87a",
    b"GIF89a",
    b"II*\0",  # TIFF, little and big endian, and BigTIFF
    b"MM\0*",
    b"II+\0",
    b"MM\0+",
    b"\0\0\0\x0cjP  ",  # JPEG 2000 file and codestream
    b"\xff\x4f\xff\x51",
)
_HEIF_BRANDS = frozenset({b"avif", b"avis", b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1"})
"""Major brands of the ISO base media file format (ISO/IEC 23008-12) that hold still images."""


def has_image_ending(name: str) -> bool:
    """Return whether the ending of ``name`` is that of an image."""
    return name.rpartition(".")[2].lower() in IMAGE_ENDINGS and "." in name


def looks_like_image(head: bytes) -> bool:
    """Return whether a file that begins with ``head`` (``HEAD_BYTES`` bytes or fewer) is an image."""
    return (
        head.startswith(_IMAGE_STARTS)
        or (head[:4] == b"RIFF" and head[8:12] == b"WEBP")
        or (head[4:8] == b"ftyp" and head[8:12] in _HEIF_BRANDS)
        or (head[:2] == b"BM" and head[6:10] == b"\0\0\0\0")
        or (head[:1] == b"P" and head[1:2] in b"123456" and head[2:3] in (b"\n", b"\r", b" ", b"\t"))
    )


def source_kind(head: bytes, name: str) -> str:
    """Return what a single file is as a source: image, zip, tar, parquet, list, json, or "" for none of them.

    Args:
        head: its first 512 bytes (the tar mark is at byte 257, POSIX.1-1988).
        name: its name, for lists, which have no mark.

    """
    ending = name.rpartition(".")[2].lower()
    if head[:4] == b"PAR1":
        return "parquet"
    if ending in {"csv", "tsv"}:
        return "list"
    if ending == "json":
        return "json"
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return "zip"
    if head.startswith((b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0")) or head[257:262] == b"ustar" or ending == "tar":
        return "tar"
    if looks_like_image(head[:HEAD_BYTES]) or ending in IMAGE_ENDINGS:
        return "image"
    return ""
