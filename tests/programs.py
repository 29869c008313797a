"""What tests do in an interpreter of its own: ``run(NAME, *arguments)`` runs the function NAME of this file there.

Such as what is read from the environment once, what a module's import loads, and memory that is given back. The
functions print their answer; arguments and answers are text.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any


def command(name: str, *arguments: object) -> list[str]:
    """Return the command that runs a function of this file; the folder of this file is not searched for modules."""
    return [sys.executable, "-P", __file__, name, *map(str, arguments)]


def run(name: str, *arguments: object, environment: dict[str, str] | None = None) -> str:
    """Return what a function of this file prints in an interpreter of its own; it must succeed."""
    paths = os.pathsep.join(path for path in sys.path if path)
    env = {**os.environ, "PYTHONPATH": paths, **(environment or {})}
    done = subprocess.run(command(name, *arguments), capture_output=True, text=True, env=env, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.strip()


def loads(module: str, *heavy: str) -> None:
    """Which of the heavy modules importing a module loads."""
    importlib.import_module(module)
    print(*(name for name in heavy if name in sys.modules))


def telemetry() -> None:
    """What libraries know of the wish not to report, after ``import curation``."""
    from importlib.util import find_spec

    import curation  # noqa: F401 -- sets it

    known: dict[str, Any] = {"environment": dict(os.environ)}
    if find_spec("huggingface_hub"):
        from huggingface_hub import constants

        known["hugging face"] = constants.HF_HUB_DISABLE_TELEMETRY
    if find_spec("ray"):
        from ray._common.usage import usage_lib

        known["ray"] = not usage_lib.usage_stats_enabled()
    print(json.dumps(known))


def plugins(workspace: str) -> None:
    """Where FiftyOne looks for plug-ins once a workspace is opened for review, who may write there, what lies there."""
    from curation.base.workspace import open_workspace
    from curation.review.environment import prepare

    prepare(open_workspace(Path(workspace)))
    folder = Path(os.environ["FIFTYONE_PLUGINS_DIR"])
    print(folder, folder.stat().st_mode & 0o77, sorted(path.name for path in folder.iterdir()))


def arrow_pool() -> None:
    """The allocator of Arrow."""
    import pyarrow

    import curation  # noqa: F401 -- chooses it

    print(pyarrow.default_memory_pool().backend_name)


def detector_threads() -> None:
    """What the face detector takes in a plain program: threads, time, processor time by time."""
    import threading

    import cv2
    import numpy as np

    import curation  # noqa: F401 -- chooses threads
    from curation.base.settings import MeasureSettings
    from curation.measure.faces.choice import choose_detector

    def threads() -> int:
        return len(os.listdir("/proc/self/task"))  # noqa: PTH208 -- quicker

    detector = choose_detector(MeasureSettings()).make(0.3)
    picture = np.random.default_rng(1).integers(0, 256, (96, 96), dtype=np.uint8)
    detector.detect(picture)
    before, most, done = threads(), [0], threading.Event()

    def watch() -> None:
        while not done.wait(0.001):
            most[0] = max(most[0], threads() - 1)

    watcher = threading.Thread(target=watch)
    watcher.start()
    busy, times = time.process_time(), []
    for _ in range(60):
        started = time.perf_counter()
        detector.detect(picture)
        times.append(time.perf_counter() - started)
    busy = time.process_time() - busy
    done.set()
    watcher.join()
    seen = {"more": most[0] - before, "opencv": cv2.getNumThreads(), "waiting": os.environ["OMP_WAIT_POLICY"]}
    print(json.dumps(seen | {"median": sorted(times)[30], "busy": busy / sum(times)}))


def multiply_with_torch() -> None:
    """A product, torch loaded after the package."""
    import torch

    import curation  # noqa: F401 -- chooses threads

    torch.rand(8, 8) @ torch.rand(8, 8)


def freed_memory() -> None:
    """MiB that go back where every second block of 2 MiB is freed, and of half a MiB when it is asked for."""
    import numpy as np
    import psutil

    from curation.base import memory

    def resident() -> int:
        return int(psutil.Process().memory_info().rss // memory.MIB)

    memory.require(memory.Needed.curating)
    for size, asks in ((2**21, False), (2**19, True)):
        blocks = [np.ones(size, np.uint8) for _ in range(2**28 // size)]
        full = resident()
        del blocks[::2]
        if asks:
            memory.give_back()
        print(full - resident())
        del blocks


class _Absent:
    """Finds none of some modules, as where they are not installed."""

    def __init__(self, names: set[str]) -> None:
        self.names = names

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name.partition(".")[0] in self.names:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def curate_without_torch(*arguments: str) -> None:
    """The command where the extra for training is not installed."""
    sys.meta_path.insert(0, _Absent({"torch", "torchvision", "lightning", "lightning_fabric", "timm"}))  # type: ignore[arg-type]
    from curation.cli import commands

    sys.argv = ["curate", *arguments]
    commands.main()


def hold(folder: str) -> None:
    """Begin to write a folder, print where, and take a minute."""
    from curation.base import files

    with files.unfinished_folder(Path(folder)) as building:
        (building / "half").touch()
        print(building, flush=True)
        time.sleep(60)


def press_while_loading(moment: str, module: str, function: str, *arguments: str) -> None:
    """The installed script, with a Ctrl-C when a module begins to be loaded."""
    import signal

    def press(event: str, given: tuple[Any, ...]) -> None:
        if event == "import" and given[0] == moment:
            os.kill(os.getpid(), signal.SIGINT)

    sys.addaudithook(press)
    sys.argv = ["curate", *arguments]
    getattr(importlib.import_module(module), function)()


def read_with_fiftyone(folder: str, rows_file: str) -> None:
    """Read an export as FiftyOne reads it; its rows are written as JSON."""
    import fiftyone as fo

    read = fo.Dataset.from_dir(folder, fo.types.FiftyOneDataset, rel_dir=folder)
    rows = []
    for sample in read:
        row = sample.to_dict()
        row |= {"path": row["source_path"], "label": sample.ground_truth.label, "file": sample.filepath}
        rows.append({k: v for k, v in row.items() if not k.startswith("_") and k != "ground_truth"})
    Path(rows_file).write_text(json.dumps(rows, default=str))


def make_fiftyone(name: str, given: str) -> None:
    """Make a persistent dataset of FiftyOne of (path, split, label)."""
    import fiftyone as fo

    made = fo.Dataset(name, persistent=True)
    made.add_samples(
        [fo.Sample(filepath=p, tags=[s], emotion=fo.Classification(label=label)) for p, s, label in json.loads(given)]
    )


def _pushed(root: str) -> tuple[Any, Any, Any, Any]:
    from curation.base import settings
    from curation.base.workspace import open_workspace
    from curation.review import push, read_model
    from curation.review.environment import fiftyone

    workspace = open_workspace(Path(root))
    fo = fiftyone(workspace)
    shown = read_model.shown(workspace, "cleaned", settings.load())
    dataset, done = push.push(fo, workspace, shown, lambda *_: None)
    return fo, shown, dataset, done


def push(root: str) -> None:
    """Push a workspace to the App: how many were added, changed, removed and left as they were."""
    *_, done = _pushed(root)
    print(json.dumps([done.added, done.changed, done.removed, done.unchanged]))


def answer_after_wiping(root: str, path: str) -> None:
    """Which answer an image shows after the database was emptied and the workspace pushed again."""
    from curation.base.workspace import open_workspace
    from curation.review.environment import fiftyone

    fo = fiftyone(open_workspace(Path(root)))
    for name in fo.list_datasets():
        fo.delete_dataset(name)
    _, _, dataset, _ = _pushed(root)
    print(dataset.match({"path": path}).first().decided.label)


def _shape(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _shape(inner) for key, inner in value.items() if key != "metadata" and inner is not None}
    return [_shape(inner) for inner in value] if isinstance(value, list) else type(value).__name__


def compare_documents(root: str) -> None:
    """A pushed sample is stored as FiftyOne stores one of the same fields; views and workspaces are there."""
    from curation.review import views

    fo, shown, dataset, _ = _pushed(root)
    views.arrange(fo, dataset, shown)
    ours = dataset.match(fo.ViewField("faces") != None).first()  # noqa: E711 -- an expression of FiftyOne
    before = dataset._sample_collection.find_one({"_id": ours._id})
    other = fo.Dataset()
    own = {"id", "created_at", "last_modified_at"}
    other.add_sample(fo.Sample(**{name: value for name, value in ours.iter_fields() if name not in own}))
    theirs, mine = _shape(other._sample_collection.find_one()), _shape(before)
    assert theirs == mine, (theirs, mine)
    assert dataset.has_saved_view("Label conflicts") and dataset.has_workspace("Review")
    grouped = dataset.load_saved_view("Copies, group by group")
    assert 0 < len(grouped) < dataset.match(fo.ViewField("copies") > 1).count()
    print("same")


def saved_views(root: str, titles: str) -> None:
    """The paths that saved views show, in their order; titles: check -> title, as JSON."""
    from curation.review import views

    fo, shown, dataset, _ = _pushed(root)
    views.arrange(fo, dataset, shown)
    seen = {check: dataset.load_saved_view(title).values("path") for check, title in json.loads(titles).items()}
    print(json.dumps(seen))


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
