"""Verbs for models: train, cross-validate, evaluate, compare, export."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from curation.base.progress import Display
from curation.base.workspace import Workspace, open_workspace
from curation.cli import console
from curation.cli import options as opt

if TYPE_CHECKING:
    from curation.models.runs import FitOptions

app = typer.Typer()


@app.command()
@opt.grouped
def train(
    *,
    recipe: Annotated[
        str, typer.Argument(help="A built-in recipe, BACKBONE/MODEL as in vgg16/7, timm:NAME or FILE.toml.")
    ] = "",
    on: opt.On = "cleaned",
    fit: opt.BudgetedFit,
    show_augmentation: Annotated[
        bool, typer.Option("--show-augmentation", help="Train nothing; draw every level of augmentation.")
    ] = False,
    folder: opt.Folder = opt.DEFAULT_WORKSPACE,
    as_json: opt.AsJson = False,
) -> None:
    """Train a recipe on a version; the same command resumes an interrupted run."""
    from curation.models import runs

    workspace = open_workspace(folder)
    if show_augmentation:
        console.print_lines([str(runs.augmentation_sheet(workspace, on, fit.seed))])
        return
    if not recipe:
        raise typer.BadParameter("name a recipe; curate ladder --list prints all of them")
    is_speaker = os.environ.get("RANK", "0") == "0"  # under torchrun one of the processes speaks for all
    run_dir = runs.train(workspace, recipe, on, fit.options(), Display(quiet=as_json or not is_speaker))
    if not is_speaker:
        return
    from training.model import start_of

    lines = [f"Trained: {run_dir}", start_of(run_dir), f"Next: curate evaluate {run_dir.name}"]
    console.print_json({"run": str(run_dir), "name": run_dir.name}) if as_json else console.print_lines(lines)


@app.command()
@opt.grouped
def crossval(
    *,
    recipe: Annotated[str, typer.Argument(help="fast, thorough, or any other: curate ladder --list.")] = "fast",
    on: opt.On = "raw",
    folds: Annotated[int, typer.Option("--folds", min=0, help="Models to train; 0 = 3.")] = 0,
    workers: Annotated[
        int, typer.Option("--workers", min=1, help="Folds trained at the same time, one process each.")
    ] = 1,
    by: Annotated[
        opt.Apart, typer.Option("--by", help="What stays in one fold: copies, or all of a person.")
    ] = opt.Apart.copy,
    fit: opt.BudgetedFit,
    folder: opt.Folder = opt.DEFAULT_WORKSPACE,
    as_json: opt.AsJson = False,
) -> None:
    """Predict each image by a model that has seen no copy of it; the same command resumes an interrupted run."""
    from curation.models import runs

    workspace = open_workspace(folder)
    found = runs.out_of_fold(
        workspace,
        recipe,
        on,
        fit.options(),
        Display(quiet=as_json),
        folds=folds or None,
        workers=workers,
        by_subject=by is opt.Apart.subject,
    )
    figures = found.metrics()
    if as_json:
        console.print_json({"predictions": str(found.path), "metrics": console.records(figures)})
        return
    console.print_frame(figures[figures["metric"] != "confusion"], "table")
    console.print_lines([f"Out-of-fold probabilities of {len(found.table):,} images: {found.path}"])


@app.command()
def evaluate(
    model: opt.ModelName,
    on: opt.On = "cleaned",
    against: Annotated[str, typer.Option("--against", help="Another model, compared on the same images.")] = "",
    data: Annotated[str, typer.Option("--data", help="Instead: any labelled folder, archive or list.")] = "",
    folder: opt.Folder = opt.DEFAULT_WORKSPACE,
    as_json: opt.AsJson = False,
) -> None:
    """Evaluate a model on validation and test: as given, without copies of train images, and on a cleaned version.

    With --data on pictures of another source, each face cropped and aligned as in the training data.
    """
    from curation.models import evaluation

    if data:
        from curation.evidence import evaluate_external

        workspace = open_workspace(folder)
        table, path = evaluate_external(workspace, opt.load_settings(workspace), model, data, Display(quiet=as_json))
        console.print_frame(table, "json" if as_json else "table")
        if not as_json:
            console.print_lines([f"Predictions: {path}"])
        return
    found = evaluation.evaluate(open_workspace(folder), model, on, Display(quiet=as_json), against)
    if as_json:
        record = {
            "verdict": found.verdict,
            "metrics": console.records(found.table),
            "pairs": console.records(found.pairs),
        }
        console.print_json({**record, "predictions": str(found.predictions), "page": str(found.page)})
        return
    console.print_lines(found.verdict)
    console.print_frame(evaluation.headline(found.table), "table")
    if against:
        console.print_frame(evaluation.differences(found.pairs), "table")
    console.print_lines([f"Predictions: {found.predictions}", f"Page with the confused images: {found.page}"])


@app.command()
@opt.grouped
def compare(
    *,
    first: Annotated[str, typer.Argument(help="The version to compare with, such as raw.")],
    second: Annotated[str, typer.Argument(help="The version that should be better, such as cleaned.")] = "",
    recipe: Annotated[str, typer.Option("--recipe", help="Recipe that every arm trains.")] = "fast",
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="Training runs per arm.")] = 3,
    votes: Annotated[str, typer.Option("--votes", help="People's votes; half of the voted images are judged.")] = "",
    subsets: Annotated[
        str,
        typer.Option("--subsets", help="Instead: selected, random and hardest shares of one version, 0.1,0.25,0.5."),
    ] = "",
    fit: opt.Fit,
    folder: opt.Folder = opt.DEFAULT_WORKSPACE,
    as_json: opt.AsJson = False,
) -> None:
    """Test whether cleaning helped: train on A, on B and on a random-removal control, evaluate on the same images."""
    from curation.models import comparison

    workspace = open_workspace(folder)
    file = Path(votes) if votes else None
    options, display = fit.options(), Display(quiet=as_json)
    if bool(second) == bool(subsets):
        raise typer.BadParameter("name two versions, or one version and --subsets")
    if subsets:
        _compare_subsets(workspace, first, subsets, recipe, options, seeds, as_json)
        return
    found = comparison.compare(workspace, first, second, recipe, options, display, seeds=seeds, votes_file=file)
    if as_json:
        console.print_json({"verdict": found.verdict, "differences": found.differences.to_dict("records")})
        return
    console.print_frame(found.differences, "table")
    console.print_lines([*found.verdict, f"Page: {found.page}"])


def _compare_subsets(
    workspace: Workspace, version: str, subsets: str, recipe: str, options: FitOptions, seeds: int, as_json: bool
) -> None:
    from curation.pipeline.subsets import compare_subsets

    try:
        shares = [float(part) for part in subsets.split(",")]
    except ValueError as error:
        raise typer.BadParameter("--subsets takes shares with commas between, as in 0.1,0.25,0.5") from error
    settings, display = opt.load_settings(workspace), Display(quiet=as_json)
    found = compare_subsets(workspace, version, shares, recipe, options, settings, display, seeds=seeds)
    if as_json:
        tables = {"points": console.records(found.points), "differences": console.records(found.differences)}
        console.print_json({"sentences": found.sentences, **tables, "page": str(found.page)})
        return
    console.print_frame(found.points, "table", limit=0)
    console.print_lines([*found.sentences, f"Page: {found.page}"])


@app.command("learning-curve")
@opt.grouped
def learning_curve(
    *,
    recipe: Annotated[str, typer.Argument(help="Recipe, trained on growing parts of the data.")] = "fast",
    first: Annotated[str, typer.Option("--from", help="The version to take parts of.")] = "raw",
    on: opt.On = "cleaned",
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="Curves that are averaged.")] = 1,
    fit: opt.Fit,
    folder: opt.Folder = opt.DEFAULT_WORKSPACE,
    as_json: opt.AsJson = False,
) -> None:
    """Estimate the gain from twice the data, by class, and from cleaning: five training runs per seed."""
    from curation.models import learning

    options, display = fit.options(), Display(quiet=as_json)
    found = learning.learning_curve(open_workspace(folder), recipe, first, on, options, display, seeds=seeds)
    if as_json:
        tables = {"points": console.records(found.points), "gains": console.records(found.gains)}
        console.print_json({"sentences": found.sentences, **tables, "file": str(found.path)})
        return
    console.print_lines(found.sentences)
    console.print_frame(found.points, "table", limit=0)
    console.print_frame(found.gains, "table", limit=0)
    console.print_lines([f"Numbers: {found.path}"])


@app.command("evaluate-labels")
def evaluate_labels(
    file: Annotated[Path, typer.Argument(help="People's votes: path and one count per class, or path and label.")],
    folder: opt.Folder = opt.DEFAULT_WORKSPACE,
    as_json: opt.AsJson = False,
) -> None:
    """Measure the judgement of the labels, and the labels of every version, against people's votes."""
    from curation.pipeline import label_evaluation

    found = label_evaluation.evaluate(open_workspace(folder), file)
    if as_json:
        console.print_json({name: table.to_dict("records") for name, table in found.items()})
        return
    for name, table in found.items():
        console.print_lines([name.capitalize()])
        console.print_frame(table, "table")


@app.command()
@opt.grouped
def ladder(
    *,
    recipes: Annotated[
        list[str] | None, typer.Argument(help="Recipes, all recipes of a backbone, or FILE.toml; none = vgg16.")
    ] = None,
    listed: Annotated[bool, typer.Option("--list", help="Print every recipe and train nothing.")] = False,
    on: opt.On = "cleaned",
    fit: opt.BudgetedFit,
    folder: opt.Folder = opt.DEFAULT_WORKSPACE,
    as_json: opt.AsJson = False,
) -> None:
    """Train the deck's versions in turn, under a budget (--images, --epochs, --image-size) if you set one."""
    from curation.models import runs

    if listed:
        console.print_frame(runs.recipe_table(), "json" if as_json else "table", limit=0)
        return
    found = runs.ladder(open_workspace(folder), recipes or ["vgg16"], on, fit.options(), Display(quiet=as_json))
    if as_json:
        console.print_json({"recipes": console.records(found.result), "page": str(found.page)})
        return
    console.print_frame(found.summary(), "table", limit=0)
    console.print_lines(found.lines())


@app.command()
def predict(
    model: opt.ModelName,
    images: Annotated[list[str], typer.Argument(help="Image files, each a face that fills it.")],
    folder: opt.Folder = opt.DEFAULT_WORKSPACE,
    as_json: opt.AsJson = False,
) -> None:
    """Print a model's probabilities for images."""
    from curation.models import runs

    found = runs.predict(open_workspace(folder), model, images)
    console.print_frame(found, "json" if as_json else "table")


@app.command("export-model")
def export_model(
    model: opt.ModelName,
    destination: Annotated[Path, typer.Option("-o", "--output", help="The ONNX file to write.")],
    force: opt.Force = False,
    folder: opt.Folder = opt.DEFAULT_WORKSPACE,
) -> None:
    """Export a model to ONNX, checked against torch, with its card."""
    from curation.models import runs

    console.print_lines(runs.export_model(open_workspace(folder), model, destination, force=force))
