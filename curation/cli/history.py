"""Verbs for issues, versions, the log, your own decisions, and undoing them."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from curation.base.destinations import Destinations
from curation.base.progress import Display
from curation.base.workspace import Workspace, foreign, locked, open_workspace, option_of
from curation.cli import completion, console
from curation.cli import options as opt

if TYPE_CHECKING:
    from curation.decisions import manifest
    from curation.pipeline.decisions import Recorded

app = typer.Typer()


class Forgettable(StrEnum):
    """What can be deleted from a workspace by name."""

    identity = "identity"


@app.command()
def issues(
    folder: opt.Folder = opt.DEFAULT_WORKSPACE,
    check_name: Annotated[str, typer.Option("--check", help="Only this check.", autocompletion=completion.checks)] = "",
    every: Annotated[bool, typer.Option("--all", help="Every scored image, not only the flagged ones.")] = False,
    peer: Annotated[str, typer.Option("--peer", help="Only what this peer found (curate check --also).")] = "",
    number: opt.Rows = 20,
    format_name: opt.HowToPrint = opt.TableFormat.table,
    output: Annotated[str, typer.Option("-o", "--output", help="Write to this file.")] = "",
    force: opt.Force = False,
    as_json: opt.AsJson = False,
) -> None:
    """Print what the checks found: a summary by check, conflicts and leaks on top, then the worst images."""
    from curation.pipeline import queries

    workspace = open_workspace(folder)
    found = queries.listed(workspace, check_name, flagged_only=not every, peer=peer)
    chosen = "json" if as_json else format_name.value
    if output:
        console.write_blocks(found.blocks(), chosen, output, Destinations(workspace, force))
        return
    if chosen != "table":  # for machines: every row, with the evidence as JSON
        console.print_blocks(found.blocks(), chosen)
        return
    if not check_name and not peer:
        by_check = queries.issue_summary(workspace)
        console.print_frame(by_check, "table", limit=0)
        console.print_lines([*queries.not_run_words(queries.not_run(by_check)), ""])
    hint = "; -n 0 prints all, --format csv the numbers behind the words"
    shown = queries.issue_words(found.head(number))
    console.print_frame(shown, "table", hint=hint, limit=number, total=len(found))
    if len(found):
        look = f" --check {check_name}" if check_name else " --check NAME"
        console.print_lines([f"Decide on them: curate review{look}{option_of(workspace)}"])


@app.command()
def show(
    version: opt.Version = "cleaned",
    folder: opt.Folder = opt.DEFAULT_WORKSPACE,
    as_json: opt.AsJson = False,
) -> None:
    """Print a version: before and after by split and class, and where it comes from."""
    from curation.pipeline import queries

    workspace = open_workspace(folder)
    shown = queries.show(workspace, version)
    if as_json:
        console.print_json(shown.record)
    else:
        console.print_lines(shown.lines)
        console.print_frame(shown.table, "table")


@app.command()
def versions(folder: opt.Folder = opt.DEFAULT_WORKSPACE, as_json: opt.AsJson = False) -> None:
    """List all versions."""
    from curation.pipeline import queries

    console.print_frame(queries.version_list(open_workspace(folder)), "json" if as_json else "table")


@app.command()
def log(
    folder: opt.Folder = opt.DEFAULT_WORKSPACE,
    path: Annotated[str, typer.Option("--path", help="Only decisions on this image.")] = "",
    who: Annotated[str, typer.Option("--by", help="Only what this person or policy decided.")] = "",
    every: Annotated[bool, typer.Option("--all", help="Every line, also each decision of a policy.")] = False,
    number: opt.Rows = 40,
    format_name: opt.HowToPrint = opt.TableFormat.table,
    as_json: opt.AsJson = False,
) -> None:
    """Print people's decisions, and one line for each time that a policy decided, newest first."""
    from curation.pipeline import queries

    found = queries.log_table(open_workspace(folder), path)
    chosen = "json" if as_json else format_name.value
    if chosen == "table":
        found = queries.log_summary(found, who, every=every or bool(path))
    elif who:
        found = found[found["actor"].isin([who, f"person:{who}", f"policy:{who}"])]
    console.print_frame(found, chosen, hint="; -n 0 prints all, --all each line", limit=number)


@app.command()
def explain(
    path: Annotated[str, typer.Argument(help="An image's path, as curate issues prints it.")],
    folder: opt.Folder = opt.DEFAULT_WORKSPACE,
    as_json: opt.AsJson = False,
) -> None:
    """Print all that is known about one image: what was measured, found and decided, and why."""
    from curation.pipeline import queries

    explained = queries.explain(open_workspace(folder), path)
    console.print_json(explained.record) if as_json else console.print_lines(explained.lines)


@app.command()
def diff(
    before: opt.Version,
    after: opt.Version,
    page: Annotated[bool, typer.Option("--page", help="Write a page that shows them in pictures.")] = False,
    folder: opt.Folder = opt.DEFAULT_WORKSPACE,
    number: opt.Rows = 40,
    format_name: opt.HowToPrint = opt.TableFormat.table,
    as_json: opt.AsJson = False,
) -> None:
    """Print the images that two versions judge differently, or show them on a page."""
    from curation.pipeline import queries

    workspace = open_workspace(folder)
    found = queries.diff(workspace, before, after)
    chosen = "json" if as_json else format_name.value
    if page:
        from curation.pipeline.changes import write_changes

        with locked(workspace):
            console.print_lines([str(write_changes(workspace, before, after, opt.load_settings(workspace)))])
    elif chosen != "table":
        console.print_frame(found, chosen)
    elif found.empty:
        console.print_lines([f"No differences: {before} and {after} judge every image alike."])
    else:
        counts = found["change"].value_counts()
        console.print_lines([", ".join(f"{name} {size:,}" for name, size in counts.items()), ""])
        console.print_frame(found, "table", hint="; -n 0 prints all", limit=number)


@app.command()
def decide(
    paths: Annotated[
        list[str],
        typer.Argument(help="Images (with --not-copies, --not-same also groups), as curate issues prints them."),
    ],
    keep: Annotated[bool, typer.Option("--keep", help="Keep the images as they are.")] = False,
    exclude: Annotated[bool, typer.Option("--exclude", help="Exclude the images.")] = False,
    relabel: Annotated[str, typer.Option("--relabel", help="Change the label to this one.")] = "",
    not_copies: Annotated[
        bool, typer.Option("--not-copies", help="Record for good that no two of them are copies.")
    ] = False,
    not_same: Annotated[
        bool, typer.Option("--not-same", help="Record for good that no two of them show one person.")
    ] = False,
    new_class: opt.NewClass = False,
    move: Annotated[str, typer.Option("--move", help="Move the images into this split.")] = "",
    subject: Annotated[
        str, typer.Option("--subject", help="Name of the person in the images; any name, one per person.")
    ] = "",
    new_split: opt.NewSplit = False,
    reason: Annotated[str, typer.Option("--reason", help="Why, for the log.")] = "",
    by: opt.By = "",
    folder: opt.Folder = opt.DEFAULT_WORKSPACE,
    as_json: opt.AsJson = False,
) -> None:
    """Decide on images yourself; a person's decision outranks every policy's, and follows the picture, not its name."""
    from curation.pipeline import decisions, queries

    named = {
        ("keep", ""): keep,
        ("exclude", ""): exclude,
        ("relabel", relabel): relabel,
        ("move", move): move,
        ("subject", subject): subject,
        ("not_copies", ""): not_copies,
        ("not_same", ""): not_same,
    }
    chosen = [act for act, given in named.items() if given]
    if len(chosen) != 1:
        raise typer.BadParameter(
            "give exactly one of --keep, --exclude, --relabel LABEL, --move SPLIT, --subject NAME, --not-copies, "
            "--not-same"
        )
    workspace = open_workspace(folder)
    with locked(workspace):
        settings, who, before = opt.load_settings(workspace), by or opt.user_name(), queries.newest(workspace)
        recorded = decisions.decide(
            workspace, paths, *chosen[0], reason, who, settings, new_class=new_class, new_split=new_split
        )
    _print_recorded(workspace, before, recorded, as_json=as_json)


@app.command()
def split(
    by: Annotated[opt.Apart, typer.Option("--by", help="What is never divided.")] = opt.Apart.subject,
    train: Annotated[float, typer.Option("--train", min=0, max=1, help="Share of the kept images.")] = 0.75,
    validation: Annotated[float, typer.Option("--validation", min=0, max=1, help="Share.")] = 0.2,
    test: Annotated[float, typer.Option("--test", min=0, max=1, help="Share.")] = 0.05,
    folder: opt.Folder = opt.DEFAULT_WORKSPACE,
    as_json: opt.AsJson = False,
) -> None:
    """Split the images again, with no person, copy or session in two splits; curate undo VERSION takes it back."""
    from curation.pipeline import queries, splitting

    workspace = open_workspace(folder)
    shares = {"train": train, "validation": validation, "test": test}
    with locked(workspace):
        version, lines = splitting.split(
            workspace,
            shares,
            opt.user_name(),
            opt.load_settings(workspace),
            Display(quiet=as_json),
            by_subject=by is opt.Apart.subject,
        )
    console.print_json(version) if as_json else console.print_lines([*lines, *queries.version_lines(version)])


@app.command()
def forget(
    what: Annotated[Forgettable, typer.Argument(help="identity: the embeddings of faces, and who was found by them.")],
    folder: opt.Folder = opt.DEFAULT_WORKSPACE,
    as_json: opt.AsJson = False,
) -> None:
    """Delete what says whose face an image shows; names given by the source, and decisions, stay."""
    from curation.pipeline import steps

    workspace = open_workspace(folder)
    with locked(workspace):
        size = steps.forget_identity(workspace, opt.load_settings(workspace), Display(quiet=as_json))
    line = f"{size / 1e6:.1f} MB of embeddings deleted; nobody who was found by them is known any more."
    console.print_json({"forgotten": what.value, "bytes": size}) if as_json else console.print_lines([line])


@app.command()
def undo(
    target: Annotated[str, typer.Argument(help="A decision's number, or a version to undo as a whole.")],
    by: opt.By = "",
    folder: opt.Folder = opt.DEFAULT_WORKSPACE,
    as_json: opt.AsJson = False,
) -> None:
    """Undo a decision or a version; the log keeps both the decision and its undoing."""
    from curation.pipeline import decisions, queries

    workspace = open_workspace(folder)
    with locked(workspace):
        before = queries.newest(workspace)
        recorded = decisions.undo(workspace, target, by or opt.user_name(), opt.load_settings(workspace))
    _print_recorded(workspace, before, recorded, as_json=as_json)


@app.command()
def merge(
    other: Annotated[Path, typer.Argument(help="Another workspace of the same data; it is only read.")],
    folder: opt.Folder = opt.DEFAULT_WORKSPACE,
    as_json: opt.AsJson = False,
) -> None:
    """Import people's decisions from another workspace of the same data, and report contradictions."""
    from curation.pipeline.merge import merge as merge_workspaces

    workspace = open_workspace(folder)
    with locked(workspace):
        merged = merge_workspaces(workspace, other, opt.load_settings(workspace), Display(quiet=True))
    conflicts = merged.conflicts.to_dict("records")
    if as_json:
        console.print_json({**vars(merged), "version": merged.version.name, "conflicts": conflicts})
        return
    console.print_lines(merged.lines())
    if conflicts:
        console.print_frame(merged.conflicts, "table", limit=0)


def _print_recorded(
    workspace: Workspace, before: manifest.Version | None, recorded: Recorded, *, as_json: bool
) -> None:
    """Print what decisions have changed, and further notes."""
    from curation.pipeline import queries

    if as_json:
        console.print_json(recorded.version)
    else:
        console.print_lines([*recorded.notes, *queries.what_changed(workspace, before, recorded.version)])


@app.command()
def tag(
    version: opt.Version,
    name: Annotated[str, typer.Argument(help="The name to give.")],
    folder: opt.Folder = opt.DEFAULT_WORKSPACE,
) -> None:
    """Give a version a name."""
    from curation.decisions import manifest

    workspace = open_workspace(folder)
    with locked(workspace):
        found = manifest.find(workspace, version)
        manifest.tag(workspace, found, name)
    console.print_lines([f"{found.name} is now also called {name}"])


@app.command()
def verify(
    received: Annotated[
        bool, typer.Option("--foreign", help="Instead: list what a workspace that you received would access.")
    ] = False,
    folder: opt.Folder = opt.DEFAULT_WORKSPACE,
    as_json: opt.AsJson = False,
) -> None:
    """Check that no version, record or line of the log was edited, and that replaying the log gives every version."""
    from curation.base.settings import naming
    from curation.decisions import manifest

    if received:
        sentences = [*foreign(folder), *naming(Workspace(folder))]
        nothing = [f"{folder} names nothing outside itself."]
        console.print_json({"touches": sentences}) if as_json else console.print_lines(sentences or nothing)
        return
    workspace = open_workspace(folder)
    problems = manifest.verify(workspace)
    notes = [] if problems else manifest.not_sealed(workspace)
    number = len(manifest.versions(workspace)) if not problems else 0
    if as_json:
        console.print_json({"ok": not problems, "problems": problems, "notes": notes})
    else:
        console.print_lines(problems or [f"All well: {number} versions, each as its hash and the log state.", *notes])
    if problems:
        raise typer.Exit(1)
