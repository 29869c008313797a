"""Nothing waits without end: a pipe or a device in the place of any file that is read."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from tests.faults.trust.base import Home

STRANGE: dict[str, Callable[[Path], Path]] = {
    "a pipe": lambda place: (os.mkfifo(place), place)[1],
    "a device": lambda place: Path("/dev/zero"),
    "a terminal": lambda place: Path("/dev/tty"),
    "a folder": lambda place: (place.mkdir(), place)[1],
    "a link to a device": lambda place: (place.symlink_to("/dev/zero"), place)[1],
    "a link to itself": lambda place: (place.symlink_to(place), place)[1],
    "standard input": lambda place: Path("/dev/stdin"),
}

READERS: dict[str, Callable[[Home, Path], tuple[object, ...]]] = {
    "data": lambda home, file: ("run", file),
    "data of another workspace": lambda home, file: ("scan", file, "-w", home.top / "new"),
    "a policy": lambda home, file: ("apply", "--policy", file),
    "a policy of a run": lambda home, file: ("run", home.data, "--policy", file),
    "two policies": lambda home, file: ("apply", "--policy", f"balanced+{file}"),
    "votes": lambda home, file: ("votes", "import", file),
    "votes to judge by": lambda home, file: ("evaluate-labels", file),
    "answers": lambda home, file: ("audit", "--answers", file),
    "annotations": lambda home, file: ("annotations", file),
    "limits": lambda home, file: ("gate", "cleaned", "--limits", file),
    "another data set": lambda home, file: ("overlap", file),
    "another workspace": lambda home, file: ("merge", file),
    "who is who": lambda home, file: ("coverage", "--attributes", file),
    "weights of the detector": lambda home, file: (
        "run", home.data, "--detector", "yunet", "--detector-weights", file),
    "a workspace": lambda home, file: ("show", "-w", file),
    "a workspace to make": lambda home, file: ("run", home.data, "-w", file),
}  # fmt: skip

ENDINGS = ("", ".csv", ".parquet", ".json", ".jpg", ".zip", ".tar", ".toml")


def run(home: Home, *, every: int = 1) -> None:
    """Give every reader every strange thing."""
    number = 0
    for what, arguments in READERS.items():
        for kind, make in STRANGE.items():
            number += 1
            if number % every:
                continue
            home.begin(f"{kind} for {what}")
            file = make(home.top / "in.csv")
            unhurt = home.keep(home.data, home.other)
            ended = home.run(*arguments(home, file))
            home.expect(not ended.went_well or (kind, what) == ("a folder", "a workspace to make"), "it is taken")
            unhurt()
    for ending in ENDINGS:
        home.begin(f"a pipe called in{ending} as data")
        os.mkfifo(home.top / f"in{ending}")
        home.run("run", home.top / f"in{ending}", space=home.top / "new")
    _among_images(home)
    _networks(home)
    _settings(home)
    _now_a_pipe(home)


def _among_images(home: Home) -> None:
    for kind, make in STRANGE.items():
        home.begin(f"{kind} among the images")
        place = home.images()[0].parent / "strange.jpg"
        if kind in ("a device", "a terminal", "standard input"):
            place.symlink_to(make(place))
        else:
            make(place)
        ended = home.done("run", home.data, "--json")
        home.expect('"images": 120' in ended.output, "it counts as an image")
    home.begin("a list that names a pipe")
    os.mkfifo(home.top / "pipe.jpg")
    (home.top / "list.csv").write_text("path,label\npipe.jpg,happy\n")
    home.run("run", home.top / "list.csv", space=home.top / "new")


def _networks(home: Home) -> None:
    place = home.top / "in.onnx"
    asked = {
        "a network that tells people apart": ("check", "subject_leak", "--identity", place),
        "a pack that tells people apart": ("check", "subject_leak", "--identity", f"insightface:{place}"),
        "a pack that finds faces": ("run", home.data, "--detector", f"insightface:{place}"),
    }
    for what, words in asked.items():
        for kind in ("a pipe", "a folder", "a link to a device"):
            home.begin(f"{kind} for {what}")
            STRANGE[kind](place)
            home.refused(*words)


def _settings(home: Home) -> None:
    for kind in ("a pipe", "a folder"):
        home.begin(f"{kind} for curate.toml")
        STRANGE[kind](home.space / "curate.toml")
        home.run("check")
    home.begin("settings before there is a workspace, a pipe")
    (home.top / "new").mkdir()
    os.mkfifo(home.top / "new" / "curate.toml")
    home.run("run", home.data, space=home.top / "new")
    home.begin("a log of a new workspace, a link")
    (home.top / "new").mkdir()
    (home.top / "new" / "curate.log").symlink_to(home.other / "thesis.csv")
    unhurt = home.keep(home.other)
    home.run("run", home.data, space=home.top / "new")
    unhurt()


def _now_a_pipe(home: Home) -> None:
    """An image became something else after it was curated."""
    for form in ("folder", "coco", "webdataset", "huggingface"):
        for kind in ("a pipe", "a folder", "a link to a device"):
            home.begin(f"an image is {kind} by the time of an export as {form}")
            from tests.faults.trust.stale import _kept

            place = home.data / _kept(home)[0]
            place.unlink()
            STRANGE[kind](place)
            home.refused("export", "cleaned", "--format", form, "-o", home.out / form)
            home.done("run", home.data)
    for kind in ("a pipe", "a folder"):
        home.begin(f"an image is {kind} by the time of a check with other settings")
        from tests.faults.trust.stale import _kept

        place = home.data / _kept(home)[0]
        place.unlink()
        STRANGE[kind](place)
        (home.space / "curate.toml").write_text("[measure]\nmin_face_score = 0.25\n")
        home.run("check")
        home.run("report")
        home.run("audit", "--images", "100", "--per-kind", "5")
