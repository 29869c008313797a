"""Open the App: push, rank the queue, start the server with our plugin, wait for the person, pull."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import sys
import time
import uuid
import webbrowser
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import pandas as pd

from curation.base.progress import Display
from curation.base.settings import Settings
from curation.base.workspace import Workspace, read_issues
from curation.decisions import manifest
from curation.pipeline import label_queue
from curation.review import blind, brain, journal, push, queues, views
from curation.review.environment import ADDRESS, SESSION_VARIABLE, fiftyone, plugins_folder, prepare
from curation.review.journal import ReviewError
from curation.review.pull import conflicts
from curation.review.read_model import classes_of, sample_id, shown, state_of
from curation.review.review_session import PAGE, ReviewSession, Session

_PLUGIN_FOLDER = "face-curation"

_IDLE_S = 3.0
"""Seconds without any open window after which the App counts as closed: a reload of the page takes less."""

PEOPLE_QUEUES = ("unsure", "disagreements")
"""Queues that are made of what people said, not of what checks found."""


@dataclass(frozen=True)
class Request:
    """What a person asks to review."""

    reviewer: str
    version: str = "cleaned"
    check: str = ""
    order: str = "gain"
    images: int = 0
    blind: bool = False
    reviewers: tuple[str, ...] = ()
    overlap: float = 0.1
    seed: int = 0
    port: int = 5151
    browser: bool = True


@dataclass(frozen=True)
class Opened:
    """A prepared review: its dataset, its session file, its queue, and what the push did."""

    dataset: Any
    session: Session
    file: Path
    pushed: push.Pushed
    view: Any


def open_review(workspace: Workspace, request: Request, settings: Settings, display: Display) -> Opened:
    """Push what is asked for and write the session; starts the database, not the App."""
    journal.checked_name(request.reviewer)
    prepare(workspace)
    _install_plugin(workspace)
    if request.blind:
        return _open_blind(workspace, request, display)
    version = manifest.find(workspace, request.version)
    rows = manifest.rows(workspace, version)
    queue, title, learns = _queue(workspace, request, rows)
    with display.step("Starting the database"):
        fo = fiftyone(workspace)
    dataset, pushed = _pushed(fo, workspace, version, settings, display)
    items = tuple(queue[["path", "group"]].itertuples(index=False, name=None))
    session = Session(
        str(workspace.root.resolve()),
        request.reviewer,
        dataset.name,
        title,
        tuple(classes_of(rows)),
        items,
        learns=learns,
    )
    ids = [sample_id(path) for path, _ in items]
    view = views.queue_view(dataset, ids)
    dataset.save_view(f"Queue of {request.reviewer}", view, description=title, overwrite=True)
    page, _ = ReviewSession(session).upcoming(PAGE)
    opening = views.queue_view(dataset, [sample_id(path) for path in page]) if page else view
    return Opened(dataset, session, _saved(workspace, session), pushed, opening)


def _pushed(
    fo: Any, workspace: Workspace, version: manifest.Version, settings: Settings, display: Display
) -> tuple[Any, push.Pushed]:
    """Return the version's dataset, as it is where nothing that it shows has changed since it was pushed."""
    state = state_of(workspace, version)
    current = push.current(fo, workspace, version, state)
    if current is not None:
        return current
    with display.step("Reading"):
        found = shown(workspace, version.name, settings)
    with display.step("Pushing") as report:
        dataset, pushed = push.push(fo, workspace, found, report)
        views.arrange(fo, dataset, found)
    with display.step("Drawing the map"):
        brain.embed(workspace, dataset, found.records, settings)
    push.note(dataset, state)
    return dataset, pushed


def _queue(workspace: Workspace, request: Request, records: pd.DataFrame) -> tuple[pd.DataFrame, str, bool]:
    """Return the queue, its title, and whether answers change its order."""
    if request.order in PEOPLE_QUEUES:
        return _queue_of_people(workspace, request.order), f"what people find {request.order}", False
    issues = read_issues(workspace)
    found = None
    if request.order == "gain" and request.check in ("", *queues.LABEL_CHECKS):
        found = queues.by_gain(label_queue.asking(workspace), issues, records, request.check)
    learns = found is not None
    if found is not None:
        title = f"{request.check.replace('_', ' ') or 'labels'}, what answers change most first"
    elif request.order == "random" and not request.check:
        whole = records.assign(group="", score=1.0, gain=0.0)
        found = queues.ranked(whole[["path", "group", "score", "label", "gain"]], "random", request.seed)
        title = "a random sample of all images"
    else:
        candidates = queues.candidates(issues, records, request.check)
        found = queues.ranked(candidates, request.order, request.seed)
        title = f"{request.check.replace('_', ' ') or 'everything flagged'}, by {request.order}"
    found = queues.share(found, request.reviewer, request.reviewers, request.overlap)
    return queues.cut(found, request.images), title, learns


def _queue_of_people(workspace: Workspace, order: str) -> pd.DataFrame:
    if order == "disagreements":
        paths = sorted(set(conflicts(workspace)["path"]))
    else:
        answers = journal.latest_answers(journal.read(workspace.review / "journal")).values()
        paths = sorted({answer.path for answer in answers if answer.action == "unsure"})
    if not paths:
        raise ReviewError(f"nothing is in the queue {order}")
    return pd.DataFrame({"path": paths, "group": ""})


def _open_blind(workspace: Workspace, request: Request, display: Display) -> Opened:
    """Prepare a dataset of pictures alone; the names of files, labels and what models say stay outside."""
    sample = blind.draw(workspace, request.images or 200, request.seed)
    files = blind.neutral_files(workspace, sample)
    names = dict(zip(sample["name"], sample["path"], strict=True))
    said = journal.blind_labels(journal.read(workspace.review / "journal"))
    mine = {
        name: said[path, request.reviewer].value for name, path in names.items() if (path, request.reviewer) in said
    }
    with display.step("Starting the database"):
        fo = fiftyone(workspace)
    name = push.dataset_name(workspace, f"blind {request.reviewer}")
    dataset = _blind_dataset(fo, name, blind.documents(files, mine))
    raw = manifest.rows(workspace, manifest.find(workspace, "raw"))
    session = Session(
        workspace=str(workspace.root.resolve()),
        reviewer=request.reviewer,
        dataset=name,
        queue=f"blind labels, seed {request.seed}",
        classes=tuple(classes_of(raw)),
        items=tuple((path, "") for path in sample["path"]),
        blind=True,
        names=names,
    )
    pushed = push.Pushed(name, len(files), 0, 0, 0)
    return Opened(dataset, session, _saved(workspace, session), pushed, dataset.view())


def _blind_dataset(fo: Any, name: str, documents: Sequence[dict[str, Any]]) -> Any:
    if fo.dataset_exists(name):
        fo.delete_dataset(name)
    dataset = fo.Dataset(name, persistent=True)
    dataset.add_sample_field("path", fo.StringField)
    dataset.add_sample_field("decided", fo.EmbeddedDocumentField, embedded_doc_type=fo.Classification)
    dataset.add_sample_field("reviewers", fo.ListField, subfield=fo.StringField)
    dataset.add_sample_field("disagree", fo.BooleanField)
    for field in ("copy_group", "digest"):
        dataset.add_sample_field(field, fo.StringField)
    dataset.media_type = "image"
    now = pd.Timestamp.now("UTC").to_pydatetime()
    owner = {"_dataset_id": dataset._doc.id, "created_at": now, "last_modified_at": now}
    dataset._sample_collection.insert_many([{**document, **owner} for document in documents])
    dataset.app_config.active_fields = fo.ActiveFields(paths=["decided"], exclude=False)
    dataset.save()
    dataset.reload()
    return dataset


def _saved(workspace: Workspace, session: Session) -> Path:
    """Write the session for the server, and forget sessions of a month ago."""
    folder = workspace.review / "sessions"
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.json"):
        if time.time() - old.stat().st_mtime > 30 * 24 * 3600:
            old.unlink(missing_ok=True)
    file = folder / f"{uuid.uuid4().hex}.json"
    session.save(file)
    return file


def _install_plugin(workspace: Workspace) -> None:
    """Lay the plugin into a folder that only this workspace's App reads; nothing of the user's own is touched."""
    target = plugins_folder(workspace) / _PLUGIN_FOLDER
    with resources.as_file(resources.files("curation.review") / "plugin") as source:
        shutil.copytree(source, target, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))


def free_port(wanted: int) -> int:
    """Return the port, or the next one that nobody listens on."""
    for port in range(wanted, wanted + 50):
        with socket.socket() as probe:
            if probe.connect_ex((ADDRESS, port)) != 0:
                return port
    raise ReviewError(f"ports {wanted} to {wanted + 49} are all taken; name another with --port")


def start(workspace: Workspace, opened: Opened, request: Request) -> tuple[Any, str]:
    """Start the App's server on this machine only; return FiftyOne's session and the address to open."""
    os.environ[SESSION_VARIABLE] = str(opened.file)
    fo = fiftyone(workspace)
    port = free_port(request.port)
    layout = views.layout(fo, blind=opened.session.blind)
    options = {"view": opened.view, "spaces": layout, "remote": True, "address": ADDRESS, "port": port, "auto": False}
    try:
        return fo.launch_app(opened.dataset, **options), f"http://localhost:{port}/"
    except Exception as error:
        raise ReviewError(f"the App does not start on {ADDRESS}:{port} ({error}); try again, or --port") from error


def wait(session: Any, url: str, request: Request) -> None:
    """Wait until the last window was closed, the person presses Ctrl-C, or the process is asked to end; then stop."""

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    # the command's own answer to Ctrl-C would end it before the answers are brought in
    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        _show_in_browser(url, request)
        session.wait(_IDLE_S)
    except KeyboardInterrupt:
        print(file=sys.stderr)
    finally:
        for number, answer in before.items():
            signal.signal(number, answer)
        session.close()


def push_words(opened: Opened) -> list[str]:
    """Return what the push did."""
    done = opened.pushed
    return [
        f"{done.added:,} images pushed, {done.changed:,} changed, {done.removed:,} removed, "
        f"{done.unchanged:,} as they were: dataset {done.name!r}."
    ]


def words(opened: Opened, url: str, request: Request) -> list[str]:
    """Return what to tell the person when the App is up."""
    port = url.rstrip("/").rpartition(":")[2]
    items = len(opened.session.items)
    return [
        *push_words(opened),
        f"{request.reviewer} reviews {items:,} images: {opened.session.queue}.",
        f"Open {url} (from another machine: ssh -L {port}:localhost:{port} THIS-MACHINE, then the same address there).",
        "Press n for the first. Close the window, or press Ctrl-C here, to bring the decisions into a new version.",
    ]


def _show_in_browser(url: str, request: Request) -> None:
    """Open the person's browser where there is one."""
    has_screen = bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")) or sys.platform != "linux"
    if request.browser and has_screen:
        webbrowser.open(url)
