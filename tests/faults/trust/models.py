"""Runs of models: torn files, recipes of other versions, images that are others by now, weights that are none."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from tests.faults import corpus
from tests.faults.trust.base import Home
from tests.faults.trust.damage import ANY, TEXT, Damage
from tests.faults.trust.stale import _kept, _same_time, _swap

FIT = ("--epochs", "1", "--images", "40", "--threads", "1")

FILES = ("config.json", "result.json", "metrics.csv", "evaluation.csv", "model.safetensors")

COMMANDS: tuple[tuple[str, ...], ...] = (
    ("train", "scratch", *FIT),
    ("evaluate", "scratch"),
    ("predict", "scratch", "{image}"),
    ("card", "-o", "{out}/cards"),
    ("export-model", "scratch", "-o", "{out}/m.onnx"),
)


def prepare(home: Home) -> Path:
    """Fit and evaluate one small model; return its folder."""
    home.done("train", "scratch", *FIT)
    home.done("evaluate", "scratch")
    return next((home.space / "models").glob("scratch*"))


def run(home: Home, *, every: int = 1) -> None:
    """Damage the files of a run, the data behind it, and what it is given."""
    home.begin("a model")
    name = prepare(home).name
    home.remember()
    number = 0
    for file in FILES:
        for what, damage in {**ANY, **(TEXT if file.endswith(".json") else {})}.items():
            number += 1
            if number % every == 0:
                _damaged(home, name, file, what, damage)
    for check in (_recipes, _weights, _images, _predictions, _labels, _changed):
        check(home, name)
    home.forget()


def _damaged(home: Home, name: str, file: str, what: str, damage: Damage) -> None:
    home.begin(f"a run's {file} {what}")
    damage(home.space / "models" / name / file, home)
    image = _image(home)
    unhurt = home.keep(home.data, home.other)
    for words in COMMANDS:
        ended = home.run(*(word.format(image=image, out=home.out) for word in words))
        broken = file != "evaluation.csv" and what not in ("of noise behind", "of NaN", "with half a character")
        if broken and words[0] == "train" and ended.went_well and file == "model.safetensors":
            home.wrong("train claims that the fit is finished")
    unhurt()


def _recipes(home: Home, name: str) -> None:
    for what, change in (
        ("of a newer version", {"quantum": 1}),
        ("with another backbone", {"backbone": "vit-1000"}),
        ("with a size of text", {"image_size": "large"}),
        ("with a size of nothing", {"image_size": 0}),
        ("that is a list", None),
    ):
        home.begin(f"a recipe {what}")
        place = home.space / "models" / name / "config.json"
        config = json.loads(place.read_text())
        config["recipe"] = [1] if change is None else {**config["recipe"], **change}
        place.write_text(json.dumps(config))
        for words in (("evaluate", "scratch"), ("predict", "scratch", _image(home)), ("card", "-o", "c")):
            home.refused(*words)
    home.begin("a recipe of an older version, with fewer fields")
    place = home.space / "models" / name / "config.json"
    config = json.loads(place.read_text())
    for field in ("members", "bf16", "mixup"):
        config["recipe"].pop(field)
    place.write_text(json.dumps(config))
    home.done("predict", "scratch", _image(home))


def _weights(home: Home, name: str) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    whole = load_file(home.space / "models" / name / "model.safetensors")
    made: dict[str, Callable[[Path], object]] = {
        "half of the file": lambda place: place.write_bytes(_half(home, name)),
        "half of the tensors": lambda place: save_file(dict(list(whole.items())[: len(whole) // 2]), place),
        "none of the head": lambda place: save_file({k: v for k, v in whole.items() if "head" not in k}, place),
        "NaN": lambda place: save_file({k: v * float("nan") for k, v in whole.items() if v.is_floating_point()}, place),
        "infinite": lambda place: save_file({k: torch.full_like(v, 3).float() / 0 for k, v in whole.items()}, place),
        "nothing": lambda place: place.write_bytes(b""),
        "other names": lambda place: save_file({f"x.{k}": v for k, v in whole.items()}, place),
    }
    for what, make in made.items():
        home.begin(f"weights to start from: {what}")
        place = home.top / "start.safetensors"
        make(place)
        home.refused("train", "scratch", *FIT, "--weights", place)
        home.begin(f"weights of a finished model: {what}")
        make(home.space / "models" / name / "model.safetensors")
        home.refused("predict", "scratch", _image(home))
        home.refused("evaluate", "scratch")
        home.refused("train", "scratch", *FIT)


def _image(home: Home) -> str:
    return str(home.data / _kept(home)[0])


def _half(home: Home, name: str) -> bytes:
    data = (home.space / "models" / name / "model.safetensors").read_bytes()
    return data[: len(data) // 2]


def _images(home: Home, name: str) -> None:
    """Images that are no longer those of the version are neither trained on nor judged."""
    kept = [home.data / path for path in _kept(home)]
    for what in ("other bytes", "swapped", "gone", "a pipe", "another size"):
        home.begin(f"images are {what} by the time of a fit")
        train = [path for path in kept if "train" in path.parts]
        judged = [path for path in kept if "train" not in path.parts]
        for mine in (train, judged):
            for one, other in zip(mine[::2], mine[1::2], strict=False):
                if what == "swapped":
                    _swap(one, other)
                elif what == "other bytes":
                    _same_time(one, lambda place: place.write_bytes(place.read_bytes()[:-1] + b"\1"))
                else:
                    one.unlink()
                    os.mkfifo(one) if what == "a pipe" else shutil.copy(other, one) if what == "another size" else None
        home.refused("train", "scratch", *FIT, "--seed", "7")
        home.refused("crossval", "scratch", *FIT, "--folds", "2")
        home.refused("evaluate", "scratch")
    home.begin("a fit after the data was curated again")
    train = [path for path in kept if "train" in path.parts]
    _swap(train[0], train[-1])
    home.done("run", home.data)
    home.done("train", "scratch", *FIT)


def _predictions(home: Home, name: str) -> None:
    bombs = {
        file: data for file, data in corpus.image_files() if file.startswith(("bomb", "empty", "noise-3", "zeros."))
    }
    for file, data in bombs.items():
        home.begin(f"predict {file}")
        (home.top / file).write_bytes(data)
        home.run("predict", "scratch", str(home.top / file))
    for what, place in (("a pipe", home.top / "p"), ("a device", Path("/dev/zero")), ("a folder", home.data)):
        home.begin(f"predict {what}")
        if what == "a pipe":
            os.mkfifo(place)
        home.refused("predict", "scratch", str(place))
    home.begin("predict a name that is not UTF-8")
    place = Path(os.fsdecode(os.fsencode(home.top) + b"/caf\xe9.jpg"))
    shutil.copy(home.images()[0], place)
    home.run("predict", "scratch", str(place))


def _labels(home: Home, name: str) -> None:
    """Classes with names of columns, of one image, and images without a label."""
    for what in ("path", "fold", "model", "label", "split", "null", "nan", ""):
        home.begin(f"a class called {what!r}")
        folder = home.images()[0].parent
        if what:
            folder.rename(folder.with_name(what))
        else:
            for image in sorted(folder.iterdir()):
                image.rename(home.data / "train" / f"loose-{image.name}")
        home.done("run", home.data)
        for words in (
            ("train", "scratch", *FIT),
            ("crossval", "scratch", *FIT, "--folds", "2"),
            ("evaluate", "scratch"),
            ("report",),
            ("votes",),
            ("card", "-o", str(home.out / "c")),
        ):
            home.run(*words)
    home.begin("a class of one image")
    folder = home.images()[0].parent
    for image in sorted(folder.iterdir())[1:]:
        image.unlink()
    home.done("run", home.data)
    for words in (("train", "scratch", *FIT), ("crossval", "scratch", *FIT, "--folds", "2"), ("evaluate", "scratch")):
        home.run(*words)
    home.begin("no image with a label")
    (home.top / "plain").mkdir()
    for image in home.images()[:20]:
        shutil.copy(image, home.top / "plain" / f"{image.parent.name}-{image.name}")
    space = home.top / "plain-space"
    home.run("run", home.top / "plain", space=space)
    votes = home.top / "crowd.csv"
    first = sorted((home.top / "plain").iterdir())[0].name
    votes.write_text(f"path,happy,sad\n{first},3,1\n")
    for words in (
        ("train", "scratch", *FIT),
        ("crossval", "scratch", *FIT),
        ("votes", "import", votes),
        ("votes",),
        ("report",),
        ("run", home.top / "plain"),
    ):
        home.run(*words, space=space)


def _changed(home: Home, name: str) -> None:
    """A run of somebody's own, outside the workspace: nothing there is written over."""
    home.begin("a model outside the workspace, beside somebody's own evaluation.csv")
    shutil.copytree(home.space / "models" / name, home.other / "theirs")
    (home.other / "theirs" / "evaluation.csv").write_text("mine\n")
    unhurt = home.keep(home.other)
    home.refused("evaluate", str(home.other / "theirs"), saying="evaluation.csv")
    unhurt()
    for target in ("README.onnx", "x.md"):
        home.begin(f"a model handed on as {target} beside a README.md")
        (home.out / "README.md").write_text("mine\n")
        unhurt = home.keep(home.out)
        home.refused("export-model", "scratch", "-o", str(home.out / target))
        unhurt()
    home.begin("a model handed on, twice")
    home.done("export-model", "scratch", "-o", str(home.out / "m.onnx"))
    home.done("export-model", "scratch", "-o", str(home.out / "m.onnx"))
    home.refused("export-model", "scratch", "-o", _image(home), saying="is inside the data set")
