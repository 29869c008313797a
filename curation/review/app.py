"""Open the App: push, rank the queue, start the server with our plugin, wait for the person, pull."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import threading
import time
import urllib.request
import uuid
import webbrowser
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from curation.base import interrupts
from curation.base.issues import read_issues
from curation.base.progress import Display
from curation.base.settings import Settings
from curation.base.workspace import Workspace
from curation.decisions import manifest
from curation.pipeline import label_queue
from curation.review import blind, brain, journal, push, queues, views
from curation.review.environment import ADDRESS, PATIENCE_S, SESSION_VARIABLE, database_errors, fiftyone, prepare
from curation.review.journal import ReviewError
from curation.review.pull import conflicts
from curation.review.read_model import classes_of, sample_id, shown, state_of
from curation.review.review_session import PAGE, ReviewSession, Session

_IDLE_S = 3.0
"""Seconds without any open window after which the App counts as closed: a reload of the page takes less."""

_CLOSE_S = 6.0
"""Seconds that the server and the database have to stop: one on a quiet machine."""

_OF_PEOPLE = {"unsure": "images that people are unsure of", "disagreements": "images that people disagree on"}
"""Queues that come from people's answers, not from checks, and their titles."""


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
    server: tuple[int, Future[Any]] | None = None
    later: Callable[[], None] | None = None
    """Work that can wait until the App is running."""


def open_review(
    workspace: Workspace, request: Request, settings: Settings, display: Display, *, serve: bool = True
) -> Opened:
    """Push what is requested and write the session; with ``serve`` the App's server starts meanwhile.

    Raises:
        ReviewError: the reviewer's name is not allowed, there is nothing to review, or the database does not answer.

    """
    journal.checked_name(request.reviewer)
    prepare(workspace)
    with database_errors():
        return _opened(workspace, request, settings, display, serve=serve)


def _opened(workspace: Workspace, request: Request, settings: Settings, display: Display, *, serve: bool) -> Opened:
    file = _session_file(workspace)
    if request.blind:
        return _open_blind(workspace, request, display, file, serve=serve)
    version = manifest.find(workspace, request.version)
    rows = manifest.rows(workspace, version)
    queue, title, learns = _queue(workspace, request, rows)
    with display.step("Starting the database"):
        fo = fiftyone(workspace)
    server = _serve(request, file) if serve else None
    dataset, pushed, later = _pushed(fo, workspace, version, settings, display)
    items = tuple(queue[["path", "group"]].itertuples(index=False, name=None))
    session = Session(
        str(workspace.root.resolve()),
        request.reviewer,
        dataset.name,
        title,
        tuple(classes_of(rows)),
        items,
        people="subject_leak" in read_issues(workspace).scored,
        learns=learns,
    )
    ids = [sample_id(path) for path, _ in items]
    view = views.queue_view(dataset, ids)
    dataset.save_view(f"Queue of {request.reviewer}", view, description=title, overwrite=True)
    page = [name for unit in ReviewSession(session).upcoming(PAGE) for name in unit][:PAGE]
    opening = views.queue_view(dataset, [sample_id(name) for name in page]) if page else view
    session.save(file)
    return Opened(dataset, session, file, pushed, opening, server, later)


def _pushed(
    fo: Any, workspace: Workspace, version: manifest.Version, settings: Settings, display: Display
) -> tuple[Any, push.Pushed, Callable[[], None] | None]:
    """Return the version's dataset, pushed again only if something that it shows has changed."""
    state = state_of(workspace, version)
    current = push.current(fo, workspace, version, state)
    if current is not None:
        return *current, None
    with display.step("Reading"):
        found = shown(workspace, version.name, settings)
    with display.step("Pushing") as report:
        dataset, pushed = push.push(fo, workspace, found, report)
        views.arrange(fo, dataset, found)
    with display.step("Drawing the map"):
        later = brain.embed(workspace, dataset, found.records, settings)
    push.note(dataset, state)
    return dataset, pushed, later


def _queue(workspace: Workspace, request: Request, records: pd.DataFrame) -> tuple[pd.DataFrame, str, bool]:
    """Return the queue, its title, and whether answers change its order."""
    if request.order in _OF_PEOPLE:
        return _queue_of_people(workspace, request.order), _OF_PEOPLE[request.order], False
    issues = read_issues(workspace)
    found = None
    if request.order == "gain" and request.check in ("", *queues.LABEL_CHECKS):
        found = queues.by_gain(label_queue.queue_ranker(workspace), issues, records, request.check)
    learns = found is not None
    if found is not None:
        title = f"{request.check.replace('_', ' ') or 'labels'}, most useful answers first"
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


def _open_blind(workspace: Workspace, request: Request, display: Display, file: Path, *, serve: bool) -> Opened:
    """Prepare a dataset of pictures alone, without file names, labels or predictions."""
    sample = blind.draw(workspace, request.images or 200, request.seed)
    files = blind.neutral_files(workspace, sample)
    names = dict(zip(sample["name"], sample["path"], strict=True))
    said = journal.blind_labels(journal.read(workspace.review / "journal"))
    mine = {
        name: said[path, request.reviewer].value for name, path in names.items() if (path, request.reviewer) in said
    }
    with display.step("Starting the database"):
        fo = fiftyone(workspace)
    server = _serve(request, file) if serve else None
    name = push.dataset_name(workspace, f"blind {request.reviewer}")
    dataset = blind.dataset(fo, name, files, mine)
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
    session.save(file)
    return Opened(dataset, session, file, push.Pushed(name, len(files), 0, 0, 0), dataset.view(), server)


def _session_file(workspace: Workspace) -> Path:
    """Return the absolute path of a new session file; delete sessions older than a month."""
    folder = workspace.review.resolve() / "sessions"
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.json"):
        if time.time() - old.stat().st_mtime > 30 * 24 * 3600:
            old.unlink(missing_ok=True)
    return folder / f"{uuid.uuid4().hex}.json"


def free_port(wanted: int) -> int:
    """Return the port, or the next free one."""
    for port in range(wanted, wanted + 50):
        with socket.socket() as probe:
            if probe.connect_ex((ADDRESS, port)) != 0:
                return port
    raise ReviewError(f"ports {wanted} to {wanted + 49} are all taken; name another with --port")


def _serve(request: Request, file: Path) -> tuple[int, Future[Any]]:
    """Start the App's server in a thread: it takes as long as a push, and FiftyOne joins one that is on its port."""
    from fiftyone.core.service import ServerService

    os.environ[SESSION_VARIABLE] = str(file)
    port = free_port(request.port)
    worker = ThreadPoolExecutor(1)
    try:
        return port, worker.submit(ServerService, port, address=ADDRESS, do_not_track=True)
    finally:
        worker.shutdown(wait=False)


def start(workspace: Workspace, opened: Opened, request: Request) -> tuple[Any, str]:
    """Show the dataset in the App, on this machine only; return FiftyOne's session and the address to open."""
    fo = fiftyone(workspace)
    port, server = opened.server or _serve(request, opened.file)
    layout = views.layout(fo, blind=opened.session.blind)
    options = {"view": opened.view, "spaces": layout, "remote": True, "address": ADDRESS, "port": port, "auto": False}
    try:
        server.result()
        _wait_for_answer(port)
        session = fo.launch_app(opened.dataset, **options)
    except Exception as error:
        raise ReviewError(f"the App does not start on {ADDRESS}:{port} ({error}); try again, or --port") from error
    if opened.later is not None:
        threading.Thread(target=opened.later, daemon=True).start()
    return session, f"http://localhost:{port}/"


def _wait_for_answer(port: int) -> None:
    """Wait until the server answers: FiftyOne tries once, and if it is busy, again after ten seconds."""
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        try:
            with urllib.request.urlopen(f"http://{ADDRESS}:{port}/fiftyone", timeout=PATIENCE_S):
                return
        except OSError:
            time.sleep(0.1)


def wait(session: Any, url: str, request: Request) -> None:
    """Wait until the last window is closed, the person presses Ctrl-C, or the process is told to end; then stop."""

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    # the command's own answer to Ctrl-C would end it before the answers are brought in
    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        has_screen = bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")) or sys.platform != "linux"
        if request.browser and has_screen:
            webbrowser.open(url)
        session.wait(_IDLE_S)
    except KeyboardInterrupt:
        print(file=sys.stderr)
    finally:
        for number, answer in before.items():
            signal.signal(number, answer)
        _close(session)


def _close(session: Any) -> None:
    """Stop the App's server and database, and kill what does not stop, such as a server whose database has died.

    FiftyOne would wait for them forever, here and again when the interpreter ends.
    """
    import psutil

    interrupts.exit_limit_s = _CLOSE_S
    closing = threading.Thread(target=session.close, daemon=True)
    closing.start()
    closing.join(_CLOSE_S)
    if closing.is_alive():
        started = psutil.Process().children(recursive=True)
        for end in (psutil.Process.terminate, psutil.Process.kill):
            for process in started:
                with contextlib.suppress(psutil.NoSuchProcess):
                    end(process)
            _, started = psutil.wait_procs(started, timeout=_CLOSE_S / 2)


def push_words(opened: Opened) -> list[str]:
    """Return a sentence on what the push did."""
    done = opened.pushed
    return [
        f"{done.added:,} images pushed, {done.changed:,} changed, {done.removed:,} removed, "
        f"{done.unchanged:,} as they were: dataset {done.name!r}."
    ]


def words(opened: Opened, url: str, request: Request) -> list[str]:
    """Return what the command prints when the App is running."""
    port = url.rstrip("/").rpartition(":")[2]
    items = len(opened.session.items)
    return [
        *push_words(opened),
        f"{request.reviewer} reviews {items:,} images: {opened.session.queue}.",
        f"Open {url} (from another machine: ssh -L {port}:localhost:{port} THIS-MACHINE, then the same address there).",
        "Press n for the first. Close the window, or press Ctrl-C here, to bring the decisions into a new version.",
    ]
