"""Verbs for review: the App, the answers given there, and people's votes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from curation.base.progress import Display
from curation.base.workspace import Workspace, locked, open_workspace
from curation.cli import completion, console, examples
from curation.cli import options as opt

app = typer.Typer()

review_app = typer.Typer(
    invoke_without_command=True,
    help="Review images in the FiftyOne App, and bring the decisions back.",
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
    by: opt.By = "",
    reviewers: Annotated[
        str, typer.Option("--reviewers", help="Divide the queue among these people (names with commas).")
    ] = "",
    overlap: Annotated[
        float, typer.Option("--overlap", min=0, max=1, help="Share of the queue that every reviewer sees.")
    ] = 0.1,
    seed: opt.Seed = 0,
    on: opt.On = "cleaned",
    port: Annotated[int, typer.Option("--port", min=1024, max=65485, help="Port of the App, on this machine.")] = 5151,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open a browser here.")] = True,
    pull: Annotated[bool, typer.Option("--pull/--no-pull", help="Import the decisions when the App closes.")] = True,
    push_only: Annotated[
        bool, typer.Option("--push-only", help="Only load the data set into the App's database.")
    ] = False,
    folder: opt.Folder = opt.DEFAULT_WORKSPACE,
) -> None:
    """Open the FiftyOne App on a ranked queue, one key per decision. Then: curate review pull (or close the App)."""
    if context.invoked_subcommand is not None:
        return
    from curation.base import reading
    from curation.review import app as apps

    workspace = open_workspace(folder)
    display = Display()
    asked = reading.whole_number(queue)
    request = apps.Request(
        reviewer=by or opt.user_name(),
        version=on,
        check=check_name,
        order=queue if asked is None else "gain",
        images=number if asked is None else asked,
        blind=blind,
        reviewers=tuple(filter(None, reviewers.split(","))),
        overlap=overlap,
        seed=seed,
        port=port,
        browser=browser,
    )
    opened = apps.open_review(workspace, request, opt.load_settings(workspace), display, serve=not push_only)
    if push_only:
        if opened.later is not None:
            opened.later()
        console.print_lines(apps.push_words(opened))
        return
    with display.step("Starting the App"):
        session, url = apps.start(workspace, opened, request)
    console.print_lines(apps.words(opened, url, request))
    apps.wait(session, url, request)
    if pull:
        _pull(workspace, as_json=False)


@review_app.command("pull")
def review_pull(
    new_class: opt.NewClass = False, folder: opt.Folder = opt.DEFAULT_WORKSPACE, as_json: opt.AsJson = False
) -> None:
    """Import people's answers into the log, and commit the resulting version; can be repeated."""
    _pull(open_workspace(folder), new_class=new_class, as_json=as_json)


def _pull(workspace: Workspace, *, new_class: bool = False, as_json: bool) -> None:
    from curation.pipeline import queries
    from curation.review.pull import pull

    with locked(workspace):
        before = queries.newest(workspace)
        pulled = pull(workspace, opt.load_settings(workspace), Display(quiet=True), new_class=new_class)
    if as_json:
        console.print_json(pulled)
        return
    changed = queries.what_changed(workspace, before, pulled.version) if pulled.version else []
    console.print_lines([*pulled.lines(), *changed])


@review_app.command("conflicts")
def review_conflicts(folder: opt.Folder = opt.DEFAULT_WORKSPACE, as_json: opt.AsJson = False) -> None:
    """Print the images on which people disagree, as of the last pull, one row per answer."""
    from curation.review.pull import conflicts

    console.print_frame(conflicts(open_workspace(folder)), "json" if as_json else "table")


votes_app = typer.Typer(
    invoke_without_command=True,
    help="People's votes: how accurate they are, how far they agree.",
    epilog=examples.epilog("votes"),
)
app.add_typer(votes_app, name="votes")


@votes_app.callback()
def votes(context: typer.Context, folder: opt.Folder = opt.DEFAULT_WORKSPACE, as_json: opt.AsJson = False) -> None:
    """Print accuracy against the given labels and agreement between people, with 95 % intervals; write the page."""
    if context.invoked_subcommand is not None:
        return
    from curation.labels import people

    found = people.report(open_workspace(folder), opt.load_settings(open_workspace(folder)).seed)
    console.print_frame(found.table, "json" if as_json else "table", limit=0)
    if not as_json:
        console.print_lines([f"Page: {found.page}"])


@votes_app.command("import")
def votes_import(
    file: Annotated[Path, typer.Argument(help="CSV or Parquet: path and a count per class, or path and label.")],
    name: Annotated[str, typer.Option("--name", help="Name of the votes; default: the file's name.")] = "",
    teach: Annotated[
        bool, typer.Option("--teach/--measure", help="Whether they teach the judge, or measure it.")
    ] = False,
    force: opt.Force = False,
    folder: opt.Folder = opt.DEFAULT_WORKSPACE,
) -> None:
    """Import a table of votes: to measure (reported like blind labels), or to teach the judge as well."""
    from curation.labels import people
    from curation.pipeline import answers, decisions, label_store

    workspace = open_workspace(folder)
    with locked(workspace):
        kept, lines = people.import_votes(workspace, file, name, force=force)
        if answers.let_teach(workspace, kept, teach=teach):
            lines += decisions.record(workspace, {}, opt.load_settings(workspace), Display()).notes
            lines += label_store.remarks_of(workspace)
        console.print_lines(lines)


@app.command("plan-review")
def plan_review(
    following: Annotated[int, typer.Option("--next", min=0, help="Print the next N images to ask about.")] = 0,
    seed: opt.Seed = 0,
    folder: opt.Folder = opt.DEFAULT_WORKSPACE,
    as_json: opt.AsJson = False,
) -> None:
    """Estimate what 100, 300 and 1,000 answers would achieve, in this queue and others, and what past ones achieved."""
    from curation.pipeline import label_queue

    workspace = open_workspace(folder)
    found = label_queue.plan_review(workspace, seed)
    queue = label_queue.next_images(workspace, following)
    if as_json:
        tables = {"expected": found.table, "reached": found.reached, "next": queue}
        console.print_json({name: table.to_dict("records") for name, table in tables.items()})
        return
    console.print_lines(found.lines)
    console.print_frame(queue if following else found.table, "table")
