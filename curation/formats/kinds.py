"""Kinds of files, by extension and by their first bytes."""

from __future__ import annotations

HEAD_BYTES = 16
"""First bytes of a file that tell whether it is an image."""

IMAGE_EXTENSIONS = frozenset(
    (
        *("jpg", "jpeg", "jpe", "jfif", "mpo", "jp2", "j2k", "j2c", "jpx", "jxl", "png", "apng", "gif", "webp"),
        *("avif", "heic", "heif", "heics", "heifs", "hif", "bmp", "dib", "tif", "tiff", "ppm", "pgm", "pbm", "pnm"),
        *("tga", "ico", "cur", "icns", "pcx", "dds", "psd", "exr", "hdr", "jxr", "wdp", "bpg", "flif"),
        *("dng", "cr2", "cr3", "nef", "arw", "orf", "rw2", "raf"),
    )
)
"""Extensions, in lower case and without the dot, that are taken for images without a look inside; one that cannot be
decoded becomes an unreadable image whose format is named."""

ARCHIVE_EXTENSIONS = ("zip", "tar", "tgz", "tbz2", "txz", "tar.gz", "tar.bz2", "tar.xz", "7z", "rar")
"""Extensions of archives, in lower case and without the dot; the last two are recognised, but cannot be unpacked."""

_IMAGE_STARTS = (
    b"\xff\xd8\xff",  # JPEG
    b"\x89PNG\r\n\x1a\n",
    b"GIF87a",
    b"GIF89a",
    b"II*\0",  # TIFF, little and big endian, and BigTIFF
    b"MM\0*",
    b"II+\0",
    b"MM\0+",
    b"\0\0\0\x0cJXL ",
    b"\0\0\0\x0cjP  ",  # JPEG 2000 file and codestream
    b"\xff\x4f\xff\x51",
)
_HEIF_BRANDS = frozenset({b"avif", b"avis", b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1"})
"""Major brands of the ISO base media file format (ISO/IEC 23008-12) that hold still images."""


def has_image_extension(name: str) -> bool:
    """Return whether ``name`` has the extension of an image."""
    return name.rpartition(".")[2].lower() in IMAGE_EXTENSIONS and "." in name


def has_archive_extension(name: str) -> bool:
    """Return whether ``name`` has the extension of an archive."""
    return name.lower().endswith(tuple(f".{ending}" for ending in ARCHIVE_EXTENSIONS))


def without_archive_extension(path: str) -> str:
    """Return ``path`` without the extension of an archive."""
    known = [ending for ending in ARCHIVE_EXTENSIONS if path.lower().endswith(f".{ending}")]
    return path[: -1 - len(max(known, key=len))] if known else path


def looks_like_image(head: bytes) -> bool:
    """Return whether a file that begins with ``head`` (``HEAD_BYTES`` bytes or fewer) is an image."""
    return (
        head.startswith(_IMAGE_STARTS)
        or (head[:4] == b"RIFF" and head[8:12] == b"WEBP")
        or (head[4:8] == b"ftyp" and head[8:12] in _HEIF_BRANDS)
        or (head[:2] == b"BM" and head[6:10] == b"\0\0\0\0")
        or (head[:1] == b"P" and head[1:2] in b"123456" and head[2:3] in (b"\n", b"\r", b" ", b"\t"))
    )


_EXTENSION_OF = {b"\xff\xd8\xff": "jpg", b"\x89PNG": "png", b"GIF8": "gif", b"BM": "bmp", b"II": "tif", b"MM": "tif"}


def extension_of(head: bytes, name: str) -> str:
    """Return the extension for an image's first bytes, else that of its name where it is an image's, else ``img``."""
    ending = name.rpartition(".")[2].lower()
    by_content = next((known for start, known in _EXTENSION_OF.items() if head.startswith(start)), "")
    if by_content in ("jpg", "tif", "") and ending in IMAGE_EXTENSIONS:
        return ending  # jpeg, jfif, tiff, dng and those without a clear signature keep their own
    return by_content or "img"


def source_kind(head: bytes, name: str) -> str:
    """Return what a single file is as a source: image, zip, tar, parquet, list, json, workbook, or "" for none of them.

    Args:
        head: its first 512 bytes (the signature of tar is at byte 257, POSIX.1-1988).
        name: its name, for lists, which have no signature.

    """
    ending = name.rpartition(".")[2].lower()
    if head[:4] == b"PAR1":
        return "parquet"
    if ending in {"json", "jsonl", "ndjson"}:
        return "json"
    if ending in {"xlsx", "xlsm", "xls", "ods"}:
        return "workbook"
    if ending in {"csv", "tsv"} or (ending in {"txt", "lst"} and not looks_like_image(head[:HEAD_BYTES])):
        return "list"
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return "zip"
    if head.startswith((b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0")) or head[257:262] == b"ustar" or ending == "tar":
        return "tar"
    if looks_like_image(head[:HEAD_BYTES]) or ending in IMAGE_EXTENSIONS:
        return "image"
    return ""
