"""Contents are what counts: what was measured, judged or unpacked of other bytes is never taken for these."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from tests.faults.trust.base import Home


def _replace_in_place(path: Path, data: bytes) -> None:
    path.write_bytes(data)


def _replace_by_rename(path: Path, data: bytes) -> None:
    other = path.with_name("other.tmp")
    other.write_bytes(data)
    other.replace(path)


def _replace_by_link(path: Path, data: bytes) -> None:
    other = path.with_name(".other")
    other.write_bytes(data)
    path.unlink()
    os.link(other, path)


def _same_time(path: Path, change: Callable[[Path], None]) -> None:
    """Change a file and give it the times that it had."""
    status = path.stat()
    change(path)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


REPLACING = {"in place": _replace_in_place, "by a rename": _replace_by_rename, "by a link": _replace_by_link}


def _hash_of(home: Home, space: Path, data: Path | None = None) -> str:
    ended = home.run("run", data or home.data, "--json", space=space)
    text = ended.output[ended.output.find("{") :]
    try:
        return str(json.loads(text)["manifest_hash"])
    except (ValueError, KeyError):
        return f"none: {ended.output[-200:]}"


def _as_if_new(home: Home) -> None:
    """Run again, and in a new workspace: both must come to the same."""
    home.expect(_hash_of(home, home.space) == _hash_of(home, home.top / "new"), "not as of the data as they are")


def _pair(home: Home) -> tuple[Path, Path]:
    """Return two plain images of different classes, made equal in size and time."""
    images = [path for path in home.images() if "train" in path.parts]
    one = images[5]
    other = next(path for path in images if path.parent.name != one.parent.name)
    size = max(one.stat().st_size, other.stat().st_size) + 8
    for path in (one, other):
        path.write_bytes(path.read_bytes().ljust(size, b"\0"))  # bytes behind a JPEG's end are nobody's
        os.utime(path, (1_600_000_000, 1_600_000_000))
    return one, other


def run(home: Home, *, every: int = 1) -> None:
    """Change bytes behind the back of the workspace and run again."""
    for name, replace in REPLACING.items():
        for kind, use in (("another image", _another), ("one byte", _one_byte), ("no image", _no_image)):
            home.begin(f"{kind} of the same size and time, {name}")
            path = _pair(home)[0]
            home.done("run", home.data)
            data = use(home, path)
            _same_time(path, lambda place, r=replace, d=data: r(place, d))  # type: ignore[misc]
            _as_if_new(home)
    _swaps(home)
    _refusals(home)
    _unpacked(home)


def _another(home: Home, path: Path) -> bytes:
    one, other = [place for place in home.images() if place.stat().st_mtime == 1_600_000_000][:2]
    return (other if path == one else one).read_bytes()


def _one_byte(home: Home, path: Path) -> bytes:
    return path.read_bytes()[:-1] + b"\1"


def _no_image(home: Home, path: Path) -> bytes:
    return b"x" * path.stat().st_size


def _swap(one: Path, other: Path) -> None:
    apart = one.with_name("apart")
    one.rename(apart)
    other.rename(one)
    apart.rename(other)


def _swaps(home: Home) -> None:
    home.begin("two files swapped between classes")
    one, other = _pair(home)
    home.done("run", home.data)
    _swap(one, other)
    _as_if_new(home)
    home.begin("swapped and back")
    one, other = _pair(home)
    first = _hash_of(home, home.space)
    _swap(one, other)
    second = _hash_of(home, home.space)
    _swap(one, other)
    third = _hash_of(home, home.space)
    home.expect(first == third != second, f"{first[:8]}, {second[:8]}, {third[:8]}")
    home.begin("swapped, and the rows of the log with them")
    one, other = _pair(home)
    home.done("run", home.data)
    home.done("issues", "--json")
    _swap(one, other)
    home.done("run", home.data)
    ended = home.done("explain", one.relative_to(home.data).as_posix(), "--json")
    import hashlib

    home.expect(hashlib.sha256(one.read_bytes()).hexdigest() in ended.output, "the measurements are the other file's")
    home.begin("a medium that is not mounted loses nothing")
    shutil.move(home.data, home.top / "away")
    for verb in (("show",), ("report",), ("check",), ("issues",), ("explain", one.relative_to(home.data).as_posix())):
        home.done(*verb)
    ended = home.done("show", "--json")
    shutil.move(home.top / "away", home.data)
    home.expect('"kept"' in ended.output, "images are gone from the version")


FORMATS = ("folder", "coco", "webdataset", "labelstudio")
"""Exports that hand images on, or hashes of them (the last)."""


def _refusals(home: Home) -> None:
    for form in FORMATS[:3]:
        for name, replace in REPLACING.items():
            home.begin(f"export {form} of an image replaced {name}")
            path = next(place for place in home.images() if place.parent.name == "happy")
            kept = _kept(home)
            path = home.data / kept[0]
            _same_time(path, lambda place, r=replace: r(place, place.read_bytes()[:-1] + b"\1"))  # type: ignore[misc]
            home.refused("export", "cleaned", "--format", form, "-o", home.out / form, saying="is not the file")
            home.done("run", home.data)
            home.done("export", "cleaned", "--format", form, "-o", home.out / form)

    home.begin("the log of another copy of the workspace")
    copy, paths = home.top / "copy", _kept(home)
    shutil.copytree(home.space, copy)
    home.done("decide", paths[0], "--exclude")
    home.done("decide", paths[1], "--exclude", "-w", copy)
    shutil.copy(copy / "decisions.jsonl", home.space / "decisions.jsonl")
    for words in (("apply",), ("decide", paths[2], "--exclude"), ("undo", "1"), ("run", home.data)):
        home.refused(*words, saying="is not the log that")


def _kept(home: Home) -> list[str]:
    import pandas as pd

    rows = pd.read_parquet(home.space / "manifests" / "v2.parquet")
    return list(rows.loc[rows["status"] == "kept", "path"])


def _unpacked(home: Home) -> None:
    import pandas as pd

    for name in ("one byte", "another image", "a deep index"):
        home.begin(f"what an archive was unpacked to, {name}")
        space, archive = home.top / "of-zip", Path(shutil.make_archive(str(home.top / "faces"), "zip", home.data))
        first = _hash_of(home, space, archive)
        files = sorted(path for path in (space / "sources").glob("*/00000/*"))
        data = files[0].read_bytes()[:-1] + b"\1" if name == "one byte" else files[1].read_bytes()
        if name == "a deep index":
            files, data = [next((space / "sources").glob("*/contents.json"))], b"[" * 100_000 + b"]" * 100_000
        _same_time(files[0], lambda place, d=data: place.write_bytes(d))  # type: ignore[misc]
        home.expect(_hash_of(home, space, archive) == first, "it is believed")

    for name in ("emptied", "another image", "one byte"):
        home.begin(f"an unpacked image, {name}")
        space, source = home.top / "of-parquet", home.top / "webdataset"
        home.done("export", "cleaned", "--format", "webdataset", "-o", source)
        first = _hash_of(home, space, source)
        files = sorted((space / "sources" / "contents").glob("*/*"))
        data = {"emptied": b"", "another image": files[1].read_bytes(), "one byte": files[0].read_bytes() + b"\1"}[name]
        _same_time(files[0], lambda place, d=data: place.write_bytes(d))  # type: ignore[misc]
        ended = home.run("export", "raw", "--format", "folder", "-o", home.out / "x", space=space)
        home.expect(not ended.went_well, "a damaged copy is handed on")
        home.expect(_hash_of(home, space, source) == first, "a damaged copy is believed")
        home.run("export", "raw", "--format", "folder", "-o", home.out / "x", space=space)
        home.expect((home.out / "x").is_dir(), "it is not mended by a run")
        table = pd.read_parquet(space / "images.parquet")
        home.expect(files[0].name in set(table["sha256"]), "the image was lost")
