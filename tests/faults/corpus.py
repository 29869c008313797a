"""A corpus of hostile inputs, made anew by each run: image files, sources, and workspaces that somebody damaged."""

from __future__ import annotations

import io
import json
import os
import shutil
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

SEED = 3
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "TGA")
FLIPS = 4
"""Files with flipped bits for each format."""

ODD_NAMES = (
    "new\nline",
    "quo'te\"s",
    "<script>alert(1)<",
    "<img src=x onerror=alert(1)>",
    "=cmd|'calc'!A1",
    "@SUM(1)",
    "-rf",
    " lead and trail ",
    "a\tb",
    "\u202egpj",
    "e\u0301",
    "%2e%2e",
    "\\x41",
    "~",
    "$(id)",
    "`id`",
    ";id;",
    "{{7*7}}",
    "[bold red]x[/]",
    "%s%n",
    "\x1b[31m",
    "C:",
    "CON",
    "x" * 240,
)

Case = tuple[str, bytes]
"""Name and content of an image file."""


def picture(mode: str = "RGB", side: int = 64) -> Image.Image:
    """Draw something smooth."""
    y, x = np.mgrid[0 : 1 : side * 1j, 0 : 1 : side * 1j]
    levels = np.stack([200 * x + 40 * y, 30 + 160 * x * y, 220 - 150 * y], axis=2).astype(np.uint8)
    return Image.fromarray(levels).convert(mode)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    """Return an image as a file of a format."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def image_files() -> Iterator[Case]:
    """Yield image files that are damaged, extreme or only odd."""
    rng = np.random.default_rng(SEED)
    for kind in FORMATS:
        data = encoded(picture(), kind)
        for tenth in range(10):
            yield f"{kind}-cut-{tenth}.{kind.lower()}", data[: len(data) * tenth // 10]
        for number in range(FLIPS):
            changed = bytearray(data)
            for place in rng.integers(0, len(data), 1 + 3 * number):
                changed[place] ^= 1 << int(rng.integers(8))
            yield f"{kind}-flipped-{number}.{kind.lower()}", bytes(changed)
        for ending in ("jpg", "txt", "exe"):
            yield f"{kind}-as.{ending}" if ending != "jpg" else f"{kind}-wrong.jpg", data
    yield from _odd_pixels()
    yield from _bombs()
    yield from _no_images()


def _odd_pixels() -> Iterator[Case]:
    yield "16-bit.png", encoded(Image.fromarray((np.arange(4096).reshape(64, 64) * 16).astype(np.uint16)), "PNG")
    yield "float.tiff", encoded(picture().convert("F"), "TIFF")
    yield "32-bit.tiff", encoded(picture().convert("I"), "TIFF")
    yield "cmyk.jpg", encoded(picture("CMYK"), "JPEG")
    for mode in ("1", "L", "LA", "P", "RGBA"):
        yield f"mode-{mode}.png", encoded(picture(mode), "PNG")
    frames = [picture(side=32).rotate(9 * turn) for turn in range(5)]
    for kind in ("GIF", "PNG", "WEBP", "TIFF"):
        yield f"animated.{kind.lower()}", encoded(frames[0], kind, save_all=True, append_images=frames[1:])
    yield "one-pixel.png", encoded(picture(side=1), "PNG")
    yield "thin.png", encoded(picture().resize((5000, 1)), "PNG")
    yield "huge-exif.jpg", encoded(picture(), "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0" + bytes(65_000))
    yield "bad-exif.jpg", encoded(picture(), "JPEG", exif=b"Exif\0\0" + b"\xff" * 200)
    for number in range(10):
        yield f"orientation-{number}.jpg", encoded(picture(), "JPEG", exif=_exif(0x0112, number))
    yield "huge-comment.jpg", encoded(picture(), "JPEG", comment=b"x" * 60_000)
    yield "tail.jpg", encoded(picture(), "JPEG") + bytes(100_000)
    yield "two-in-one.jpg", encoded(picture(), "JPEG") * 2
    yield "profile.png", encoded(picture(), "PNG", icc_profile=b"\xff" * 5000)


def _exif(tag: int, value: int) -> bytes:
    exif = Image.Exif()
    exif[tag] = value
    return exif.tobytes()


def _png(width: int, height: int, body: bytes) -> bytes:
    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(body)) + chunk(b"IEND", b"")


def _bombs() -> Iterator[Case]:
    yield "bomb-announced.png", _png(100_000, 100_000, bytes(1000))
    yield "bomb-largest.png", _png(2**31 - 1, 2**31 - 1, b"")
    yield "bomb-zero.png", _png(0, 0, b"")
    yield "bomb-pixels.png", _png(9_000, 9_000, bytes(200))
    yield "bomb-text.png", _png(8, 8, bytes(50 * 2**20))
    jpeg = bytearray(encoded(picture("L"), "JPEG"))
    place = jpeg.index(b"\xff\xc0") + 5
    jpeg[place : place + 4] = b"\xff\xff\xff\xff"
    yield "bomb.jpg", bytes(jpeg)
    yield "bomb.gif", b"GIF89a" + struct.pack("<HH", 65535, 65535) + b"\x80\0\0" + bytes(6) + b","
    yield "bomb.bmp", b"BM" + struct.pack("<IHHIIiiHHIIiiII", 54, 0, 0, 54, 40, 2**30, 2**30, 1, 24, 0, 0, 0, 0, 0, 0)
    tiff = bytearray(encoded(picture(), "TIFF"))
    yield "loop.tiff", bytes(tiff[:4]) + struct.pack("<I", 8) + bytes(tiff[8:])


def _no_images() -> Iterator[Case]:
    rng = np.random.default_rng(SEED)
    yield "empty.jpg", b""
    yield "zeros.jpg", bytes(5000)
    yield "zeros-large.png", bytes(2 * 2**20)
    yield "text.jpg", b"no picture\n" * 100
    yield "page.jpg", b"<html><script>alert(1)</script></html>"
    yield "drawing.svg", b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>'
    yield "script.jpg", b"#!/bin/sh\ntouch pwned\n"
    yield "pickle.jpg", b"cos\nsystem\n(S'touch pwned'\ntR."
    yield "zip.jpg", b"PK\x03\x04" + bytes(100)
    yield "postscript.jpg", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(pwned) (w) file\n"
    for number in range(12):
        yield f"noise-{number}.jpg", rng.bytes(1 + 700 * number)
    for kind in FORMATS:
        yield f"head-{kind}.{kind.lower()}", encoded(picture(), kind)[:24] + rng.bytes(2000)


def odd_names(root: Path) -> int:
    """Write a good image under each odd file name and folder (so label) name; return how many there are."""
    data = encoded(picture(), "JPEG")
    made = 0
    for name in ODD_NAMES:
        for place in (root / "train" / "happy" / f"{name}.jpg", root / "train" / name / "1.jpg"):
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(data + made.to_bytes(4, "big"))
            made += 1
    raw = os.fsencode(root) + b"/train/happy/"
    for name in (b"\xff\xfe.jpg", b"caf\xe9.jpg", b"\x80\n.jpg"):
        Path(os.fsdecode(raw + name)).write_bytes(data + made.to_bytes(4, "big"))
        made += 1
    for label in ("Happy", "HAPPY", "happy ", "h\u0430ppy"):
        (root / "train" / label).mkdir()
        (root / "train" / label / "1.jpg").write_bytes(data + made.to_bytes(4, "big"))
        made += 1
    return made


# sources: each writes one and returns its path

Source = Callable[[Path], Path]


def _zip(*members: tuple[str, bytes], attributes: int = 0) -> Source:
    def make(folder: Path) -> Path:
        with zipfile.ZipFile(folder / "in.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in members:
                info = zipfile.ZipInfo(name)
                info.external_attr = attributes
                info.compress_type = zipfile.ZIP_DEFLATED
                archive.writestr(info, data)
        return folder / "in.zip"

    return make


def _tar(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> Source:
    def make(folder: Path) -> Path:
        with tarfile.open(folder / "in.tar", "w") as archive:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, link
            data = encoded(picture(), "JPEG") if kind == tarfile.REGTYPE else b""
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        return folder / "in.tar"

    return make


def _file(name: str, data: bytes) -> Source:
    def make(folder: Path) -> Path:
        (folder / name).write_bytes(data)
        return folder / name

    return make


def _parquet(columns: dict[str, list[object]]) -> Source:
    def make(folder: Path) -> Path:
        pd.DataFrame(columns).to_parquet(folder / "in.parquet")
        return folder / "in.parquet"

    return make


def _links(folder: Path) -> Path:
    top = folder / "links"
    top.mkdir()
    targets = {
        "loop.jpg": "loop.jpg",
        "zero.jpg": "/dev/zero",
        "up": "..",
        "passwd.jpg": "/etc/passwd",
        "gone.jpg": "x",
    }
    for name, target in targets.items():
        (top / name).symlink_to(target)
    os.mkfifo(top / "pipe.jpg")
    (top / "a").mkdir()
    (top / "a" / "b").symlink_to("../a")
    return top


def _deep(folder: Path) -> Path:
    top = folder / "deep"
    top.mkdir()
    handle = os.open(top, os.O_RDONLY)
    for _ in range(20):
        os.mkdir("d" * 200, dir_fd=handle)
        below = os.open("d" * 200, os.O_RDONLY, dir_fd=handle)
        os.close(handle)
        handle = below
    os.close(os.open("deep.jpg", os.O_CREAT | os.O_WRONLY, dir_fd=handle))
    os.close(handle)
    return top


def _empty_folder(folder: Path) -> Path:
    (folder / "nothing").mkdir()
    return folder / "nothing"


def _csv(text: str) -> Source:
    return _file("in.csv", text.encode("utf-8", "surrogateescape"))


def _folder(**files: bytes) -> Source:
    """Return a source: a folder of files;"""

    def make(folder: Path) -> Path:
        for name, data in files.items():
            path = folder / "in" / name.replace("__", "/").replace("_json", ".json").replace("_tar", ".tar")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        return folder / "in"

    return make


def _shard(**members: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for ending, data in members.items():
            info = tarfile.TarInfo(f"sample.{ending}")
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


DEEP_JSON = b"[" * 100_000


def _of_libraries() -> dict[str, Source]:
    """Return what looks like a data set that another library wrote."""

    def coco(**parts: object) -> bytes:
        whole: dict[str, object] = {"images": [], "annotations": [], "categories": []}
        return json.dumps({**whole, **parts}).encode()

    outside = [{"id": 1, "file_name": "../../etc/passwd"}, {"id": 2, "file_name": "/dev/zero"}]
    noise = b"\x80noise\xff" * 9
    bad_class = _shard(jpg=b"no image", cls="\u00b2".encode()), _shard(jpg=b"no image", cls=b"9" * 5000)
    found: dict[str, Source] = {
        "coco outside": _folder(annotations__train_json=coco(images=outside)),
        "coco of strings": _folder(annotations__train_json=coco(images=["x"], annotations=["y"], categories=["z"])),
        "coco without names": _folder(annotations__train_json=coco(images=[{"id": 1}])),
        "coco file outside": _file("in.json", coco(images=outside)),
        "coco file, deep": _file("in.json", DEEP_JSON),
        "coco folder, deep": _folder(annotations__train_json=DEEP_JSON),
        "fiftyone of noise": _folder(metadata_json=noise, samples_json=noise),
        "fiftyone, deep": _folder(metadata_json=b"{}", samples_json=DEEP_JSON),
        "fiftyone of strings": _folder(metadata_json=b"{}", samples_json=b'{"samples": ["x", 1, null]}'),
        "fiftyone outside": _folder(metadata_json=b"{}", samples_json=b'{"samples": [{"filepath": "/etc/passwd"}]}'),
        "saved dataset of noise": _folder(state_json=noise, dataset_info_json=noise),
        "saved dataset outside": _folder(
            state_json=b'{"_data_files": [{"filename": "../../../../etc/passwd"}]}', dataset_info_json=b"{}"
        ),
        "saved datasets of nothing": _folder(dataset_dict_json=b'{"splits": ["../../.."]}'),
        "shard with a superscript for a class": _folder(classes_json=b"[1]", x_tar=bad_class[0]),
        "shard with a huge class": _folder(classes_json=DEEP_JSON, x_tar=bad_class[1]),
        "shard with deep json": _folder(x_tar=_shard(jpg=b"no image", json=DEEP_JSON)),
        "shard cut": _folder(x_tar=_shard(jpg=bytes(4000), cls=b"1")[:900]),
    }
    return found


def sources() -> dict[str, Source]:
    """Return sources by name; none of them holds an image that could be curated."""
    jpeg = encoded(picture(), "JPEG")
    found: dict[str, Source] = {
        "links and pipes": _links,
        "4000-character path": _deep,
        "empty folder": _empty_folder,
        "device": lambda folder: Path("/dev/zero"),
        "absent": lambda folder: folder / "absent",
        "name with nul": lambda folder: folder / "a\tb\n",
        "empty file": _file("in.zip", b""),
        "text file": _file("in.txt", b"hello"),
        "html file": _file("in.html", b"<script>"),
        "tar link": _tar("x.jpg", tarfile.SYMTYPE, "/etc/passwd"),
        "tar hard link": _tar("x.jpg", tarfile.LNKTYPE, "../../x"),
        "tar device": _tar("x.jpg", tarfile.CHRTYPE),
        "tar pipe": _tar("x.jpg", tarfile.FIFOTYPE),
        "zip bomb": _zip(*((f"{n}.bmp", bytes(20 * 2**20)) for n in range(5))),
        "zip link": _zip(("x.jpg", b"/etc/passwd"), attributes=0o120777 << 16),
        "zip of a zip": _zip(("in.zip", b"PK\x03\x04")),
        "csv without path": _csv("label\nhappy\n"),
        "csv of nothing": _csv(""),
        "csv formula": _csv("path,label\n=cmd|'/c calc'!A1,=1+1\n@x,+2\n"),
        "csv nul": _csv("path\0,label\nx\0,y\n"),
        "csv one cell": _csv("path,label\n" + "x" * 200_000 + ",a\n"),
        "csv utf-16": _file("in.csv", b"\xff\xfep\0a"),
        "csv bytes": _file("in.csv", b"path,label\n\xff\xfe\x80,\x81\n"),
        "csv outside": _csv("path,label\n../../etc/passwd,x\n/etc/passwd,x\n"),
        "csv quotes": _csv('path,label\n"x\ny"",z\n"unclosed,1\n'),
        "parquet numbers": _parquet({"path": [1.5, 2.0], "label": [1, 2]}),
        "parquet nested": _parquet({"path": [["a"], ["b"]]}),
        "parquet of objects": _parquet({"path": [{"a": 1}], "label": ["x"]}),
        "parquet bytes": _parquet({"path": [b"\xff", b"\0"]}),
        "parquet without path": _parquet({"x": ["a"]}),
        "url unknown": lambda folder: Path("nosuch:"),
        **_of_libraries(),
    }
    outside = ("../out.jpg", "a/../../out.jpg", "/tmp/out.jpg", "C:/out.jpg", "..\\out.jpg", "\\out.jpg", "//x/out.jpg")
    for name in outside:
        found[f"zip {name}"] = _zip((name, jpeg))
        found[f"tar {name}"] = _tar(name)
    whole = {".zip": _zip(("a/1.txt", b"x" * 400)), ".parquet": _parquet({"path": ["x"] * 3, "label": ["a"] * 3})}
    for ending, maker in whole.items():
        for tenth in range(1, 10):
            found[f"{ending} cut {tenth}"] = _cut(maker, ending, tenth)
    return found


def _cut(maker: Source, ending: str, tenth: int) -> Source:
    def make(folder: Path) -> Path:
        data = maker(folder).read_bytes()
        (folder / f"cut{ending}").write_bytes(data[: len(data) * tenth // 10])
        return folder / f"cut{ending}"

    return make


# workspaces: each damages a good one

Damage = Callable[[Path], object]


def _replace(name: str, data: bytes) -> Damage:
    return lambda workspace: _found(workspace, name).write_bytes(data)


def _found(workspace: Path, name: str) -> Path:
    """Return the file that a name or pattern stands for."""
    return next(workspace.glob(name), workspace / name)


def _torn(name: str) -> Damage:
    def damage(workspace: Path) -> None:
        data = _found(workspace, name).read_bytes()
        _found(workspace, name).write_bytes(data[: len(data) // 2])

    return damage


def _absent(name: str) -> Damage:
    return lambda workspace: _found(workspace, name).unlink()


def _edit_manifest(workspace: Path) -> None:
    rows = pd.read_parquet(workspace / "manifests" / "v2.parquet")
    rows.assign(label="edited").to_parquet(workspace / "manifests" / "v2.parquet")


def _append(name: str, data: bytes) -> Damage:
    def damage(workspace: Path) -> None:
        with (workspace / name).open("ab") as file:
            file.write(data)

    return damage


def _drop_first_line(workspace: Path) -> None:
    lines = (workspace / "decisions.jsonl").read_bytes().splitlines(keepends=True)
    (workspace / "decisions.jsonl").write_bytes(b"".join(lines[1:]))


def _wrong_types(name: str) -> Damage:
    return lambda workspace: pd.DataFrame({"path": [1, 2], "x": [[1], [2]]}).to_parquet(_found(workspace, name))


def damages() -> dict[str, Damage]:
    """Return what may befall a workspace, by name."""
    tables = (
        "images.parquet",
        "listing.parquet",
        "issues.parquet",
        "scores/*.parquet",
        "pairs.parquet",
        "manifests/v2.parquet",
    )
    texts = ("workspace.json", "state.json", "ingest.json", "manifests/v2.json", "decisions.jsonl", "curate.toml")
    found: dict[str, Damage] = {
        "an older workspace": _replace("workspace.json", json.dumps({"format": 0}).encode()),
        "a newer workspace": _replace("workspace.json", json.dumps({"format": 99}).encode()),
        "no format": _replace("workspace.json", b"{}"),
        "a format in words": _replace("workspace.json", b'{"format": "one"}'),
        "a list for a marker": _replace("workspace.json", b"[]"),
        "a manifest edited by hand": _edit_manifest,
        "a log with a torn last line": _append("decisions.jsonl", b'{"seq": 99, "time": "2'),
        "a log with noise behind": _append("decisions.jsonl", b"\xff\xfe\0\n"),
        "a log without its first line": _drop_first_line,
        "a log of another kind": _replace("decisions.jsonl", b"[1]\n{}\n"),
        "no log": lambda workspace: (workspace / "decisions.jsonl").unlink(),
        "no manifests": lambda workspace: shutil.rmtree(workspace / "manifests"),
        "tags of noise": _replace("manifests/tags.jsonl", b"\xff{\n[]\n"),
        "a version of nonsense": _replace("manifests/v3.json", b"{}"),
        "settings unknown": _replace("curate.toml", b"[measure]\nnothing = 1\n"),
        "settings out of range": _replace("curate.toml", b"[checks]\nface_score = 7\n"),
        "calibration of noise": _replace("calibration.json", b"\xff"),
        "calibration of another kind": _replace("calibration.json", b"[1, 2]"),
        "calibrated settings of another kind": _replace("calibration.json", b'{"settings": [1]}'),
        "calibrated settings that there are not": _replace("calibration.json", b'{"settings": {"no": {"x": 1}}}'),
        "a state, deep": _replace("state.json", DEEP_JSON),
        "a marker, deep": _replace("workspace.json", DEEP_JSON),
        "a log, deep": _append("decisions.jsonl", DEEP_JSON + b"\n"),
        "a file for the measurements": lambda workspace: (
            shutil.rmtree(workspace / "measurements"),
            (workspace / "measurements").write_bytes(b"x"),
        ),
        "a folder for a table": lambda workspace: (
            (workspace / "issues.parquet").unlink(),
            (workspace / "issues.parquet").mkdir(),
        ),
        "a lock of root's": _replace(".lock-owner", b"\xff\xfe"),
    }
    found |= {f"{name} torn": _torn(name) for name in (*tables, *texts[:5])}
    found |= {f"{name} of noise": _replace(name, b"\x80noise\xff" * 9) for name in (*tables, *texts)}
    found |= {f"{name} absent": _absent(name) for name in (*tables, "state.json", "ingest.json", "manifests/v2.json")}
    found |= {f"{name} of wrong types": _wrong_types(name) for name in tables}
    return found
