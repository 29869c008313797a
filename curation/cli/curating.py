"""Verbs that curate: list and measure, check, apply a policy, and all of it in one run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from curation.base.destinations import Destinations
from curation.base.progress import Display
from curation.base.workspace import (
    Workspace,
    create_workspace,
    is_workspace,
    locked,
    open_workspace,
)
from curation.cli import completion, console
from curation.cli import options as opt

app = typer.Typer()


@app.command()
@opt.grouped
def run(
    *,
    data: opt.Data,
    folder: opt.Folder = opt.DEFAULT_WORKSPACE,
    policy: opt.PolicyName = "",
    judging: opt.Judging,
    limit: opt.Limit = 0,
    reading: opt.Reading,
    accept_loss: opt.AcceptLoss = False,
    processing: opt.Processing,
    as_json: opt.AsJson = False,
) -> None:
    """Curate DATA up to a cleaned version and its report; a second run does only what is new."""
    from curation.pipeline import curating

    workspace = create_workspace(folder)
    settings = opt.load_settings(
        workspace, policy=policy, **reading.sections(), **processing.sections(), **judging.sections()
    )
    with locked(workspace):
        outcome = curating.run(workspace, data, settings, Display(quiet=as_json), limit, accept_loss=accept_loss)
    console.print_json(outcome.record) if as_json else console.print_lines(outcome.lines)


@app.command()
@opt.grouped
def scan(
    *,
    data: opt.Data,
    folder: opt.Folder = opt.DEFAULT_WORKSPACE,
    limit: opt.Limit = 0,
    reading: opt.Reading,
    processing: opt.Processing,
    as_json: opt.AsJson = False,
) -> None:
    """List the images of DATA and measure what is new."""
    from curation.pipeline import steps

    workspace = create_workspace(folder)
    settings = opt.load_settings(workspace, **reading.sections(), **processing.sections())
    with locked(workspace):
        scanned = steps.scan(workspace, data, settings, Display(quiet=as_json), limit)
    record = {"images": len(scanned.images), "measured_now": scanned.measured_now, "notes": list(scanned.notes)}
    line = f"{record['images']:,} images, {record['measured_now']:,} of them measured now."
    console.print_json(record) if as_json else console.print_lines(
        [*steps.note_lines(scanned), line, "Next: curate check"]
    )


@app.command()
@opt.grouped
def check(
    *,
    names: Annotated[
        list[str] | None, typer.Argument(help="Print only these checks.", autocompletion=completion.checks)
    ] = None,
    folder: opt.Folder = opt.DEFAULT_WORKSPACE,
    judging: opt.Judging,
    processing: opt.Processing,
    also: Annotated[
        list[str] | None,
        typer.Option("--also", help="Also ask fastdup, brain, cleanvision, cleanlab; repeatable."),
    ] = None,
    peer_python: Annotated[
        str,
        typer.Option(
            "--peer-python", envvar="CURATE_PEER_PYTHON", help="Python interpreter in which they are installed."
        ),
    ] = "",
    as_json: opt.AsJson = False,
) -> None:
    """Run the checks on what was scanned, write the issues table, and print how many images each flags."""
    from curation.checks import registry
    from curation.pipeline import curating, queries, steps, summary

    chosen = [check.name for check in registry.select(names or [])]
    workspace = open_workspace(folder)
    settings = opt.load_settings(workspace, **processing.sections(), **judging.sections())
    display = Display(quiet=as_json)
    opinions = None
    with locked(workspace):
        scanned = steps.scanned_before(workspace, settings, display)
        issues = curating.judge_labels(workspace, scanned, settings, display)
        if also:
            from curation.audit.peers import interpreter, second_opinions

            pairs = steps.find_pairs(workspace, scanned, settings, display)
            opinions = second_opinions(
                workspace, scanned.measurements, pairs, settings, display, peers=also, python=interpreter(peer_python)
            )
    found = summary.check_summary(issues)
    found = found[found["check"].isin(chosen)]
    absent = queries.not_run(found, chosen)
    if as_json:
        side = None if opinions is None else summary.side_by_side(issues.rows, opinions.findings).to_dict("records")
        asked = None if opinions is None else opinions.record()
        console.print_json(
            {"checks": console.records(found), "not_run": absent, "opinions": asked, "side_by_side": side}
        )
        return
    if len(found):
        console.print_frame(found, "table")
    console.print_lines(queries.not_run_words(absent))
    if opinions is not None:
        if len(opinions.pairs):
            console.print_frame(opinions.counts, "table")
            console.print_lines([f"Pairs of contents, each with our verdict: {workspace.root / 'opinions.parquet'}"])
        console.print_frame(summary.side_by_side(issues.rows, opinions.findings).drop(columns="check"), "table")
        console.print_lines(["Next: curate report | curate issues --peer NAME"])


@app.command()
def apply(
    folder: opt.Folder = opt.DEFAULT_WORKSPACE,
    policy: opt.PolicyName = "",
    accept_loss: opt.AcceptLoss = False,
    as_json: opt.AsJson = False,
) -> None:
    """Apply a policy to the issues and commit the cleaned version."""
    from curation.base.issues import read_issues
    from curation.pipeline import curating, decisions, label_judgement, queries

    workspace = open_workspace(folder)
    settings = opt.load_settings(workspace, policy=policy)
    with locked(workspace):
        before = queries.newest(workspace)
        recorded = decisions.apply(workspace, settings, Display(quiet=as_json), accept_loss=accept_loss)
    version = recorded.version
    if as_json:
        console.print_json(version)
        return
    said, _ = curating.summarise(workspace, read_issues(workspace), version, settings)
    judged = label_judgement.outcome_lines(workspace, version)
    console.print_lines([*said, *recorded.notes, *judged, *queries.what_changed(workspace, before, version)])


@app.command()
def overlap(
    other: Annotated[str, typer.Argument(help="Another data set, as curate run takes it, or a workspace.")],
    theirs: Annotated[
        bool, typer.Option("--theirs", help="Print the other data set's images instead of yours.")
    ] = False,
    folder: opt.Folder = opt.DEFAULT_WORKSPACE,
    format_name: opt.HowToPrint = opt.TableFormat.table,
    as_json: opt.AsJson = False,
) -> None:
    """List what this data shares with OTHER: exact and near copies, by split and class, with pictures on a page."""
    from curation.pipeline.overlap import overlap as find_overlap

    workspace = open_workspace(folder)
    with locked(workspace):
        found = find_overlap(workspace, other, opt.load_settings(workspace), Display(quiet=as_json))
    shown = (found.theirs if theirs else found.mine).drop(columns=["sha256", "other_sha256"])
    if as_json:
        console.print_json(found.record())
    elif format_name is opt.TableFormat.table:
        if len(shown):
            console.print_frame(found.counts, "table")
            console.print_frame(shown, "table", hint="; see all with --format csv")
        console.print_lines(found.lines)
    else:
        console.print_frame(shown, format_name.value)


@app.command()
def sample(
    destination: Annotated[Path, typer.Argument(help="A new folder.")],
    images: Annotated[int, typer.Option("--images", min=40, help="Approximate number of images.")] = 400,
    seed: Annotated[int, typer.Option("--seed", min=0, max=2**32 - 1, help="Another seed draws other faces.")] = 0,
) -> None:
    """Draw a small data set of four expressions with planted defects and their truth."""
    from curation.audit.synthetic import make_sample

    known = Workspace(opt.DEFAULT_WORKSPACE) if is_workspace(opt.DEFAULT_WORKSPACE) else None
    Destinations(known).allow_place(destination)
    truth = make_sample(destination, images=images, seed=seed)
    where = destination / "truth.csv"
    console.print_lines(
        [f"{len(truth):,} images in {destination}, with and without planted defects; the list of defects: {where}"]
    )


@app.command()
def doctor(folder: opt.Folder = opt.DEFAULT_WORKSPACE, as_json: opt.AsJson = False) -> None:
    """Report packages, weights, database, processor and disk, and what to do about what is missing."""
    from curation.cli import doctor as doctors

    found = doctors.examine(folder)
    if as_json:
        console.print_json(found)
    else:
        console.print_findings(found)
    if any(finding.state == "wrong" for finding in found):
        raise typer.Exit(1)
