"""FiftyOne as the review needs it: on this machine only, quiet, with a database of the workspace's own.

Everything is set before FiftyOne is imported for the first time, because that is when it reads its environment.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from curation.base.errors import installing
from curation.base.workspace import Workspace
from curation.review.journal import ReviewError

SESSION_VARIABLE = "CURATE_REVIEW_SESSION"
"""Environment variable by which the App's server finds the session file of the command that started it."""

ADDRESS = "127.0.0.1"

PATIENCE_S = 180
"""Seconds that mongod, and the App's server, may take to start: 5 on a quiet machine, more than 60 on a busy one."""

_OWN_SERVER = (
    "name a MongoDB that runs with FIFTYONE_DATABASE_URI=mongodb://127.0.0.1:27017, or install FiftyOne's own (Linux "
    f"on x86-64) with {installing('review')}"
)


def prepare(workspace: Workspace) -> None:
    """Set the environment variables that FiftyOne reads; those that the user has set are kept.

    Analytics are always off. The database is in the workspace, unless the user names a server or a folder, so that
    FiftyOne's upgrades never touch another project's data.
    """
    os.environ.update(FIFTYONE_DO_NOT_TRACK="true", FIFTYONE_PLUGINS_DIR=str(plugins_folder()))
    own = {
        "FIFTYONE_DATABASE_VALIDATION": "false",  # only prints a notice that mongod 6 is older than advised
        "FIFTYONE_DATABASE_DIR": str((workspace.review / "mongo").resolve()),
        "FIFTYONE_DEFAULT_APP_ADDRESS": ADDRESS,
        "FIFTYONE_SHOW_PROGRESS_BARS": "false",
        "FIFTYONE_LOGGING_LEVEL": "ERROR",
    }
    for name, value in own.items():
        os.environ.setdefault(name, value)
    uri = os.environ.get("FIFTYONE_DATABASE_URI", "")
    if uri and "serverSelectionTimeoutMS" not in uri:
        # a server that does not answer should be reported within seconds, not after the driver's half minute
        has_query = "?" in uri
        path = "" if has_query or uri.count("/") > 2 else "/"
        os.environ["FIFTYONE_DATABASE_URI"] = f"{uri}{path}{'&' if has_query else '?'}serverSelectionTimeoutMS=5000"


@cache
def plugins_folder() -> Path:
    """Return a new folder of plug-ins for this process's App, which holds only ours.

    It is never in the workspace: a plug-in is code, and files there may have come with a received workspace.

    Raises:
        ReviewError: there is no room for temporary files.

    """
    try:
        folder = Path(tempfile.mkdtemp(prefix="curate-plugins-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        with resources.as_file(resources.files("curation.review") / "plugin") as source:
            shutil.copytree(source, folder / "face-curation", ignore=shutil.ignore_patterns("__pycache__"))
    except OSError as error:
        raise ReviewError(
            f"the App's plug-in cannot be unpacked ({error.strerror or error}); free space for temporary files, or "
            "name another folder for them with TMPDIR"
        ) from error
    return folder


def fiftyone(workspace: Workspace) -> Any:
    """Return the module ``fiftyone``, connected to its database.

    Raises:
        ReviewError: it is not installed, or its database does not start or answer; what to do.

    """
    prepare(workspace)
    # the driver warns of every server but its own; what fails is reported below, once
    logging.getLogger("pymongo").setLevel(logging.CRITICAL)
    try:
        module = importlib.import_module("fiftyone")
    except ImportError as error:
        raise ReviewError(f"the App is not installed ({error}); run: {installing('review')}") from error
    except Exception as error:
        raise _unreachable(error) from error
    try:
        _be_patient()
        _keep_to_own_folder()
    except (AttributeError, ImportError) as error:
        raise ReviewError(
            f"FiftyOne {module.__version__} starts its database in a way that is not known here ({error}), and might "
            "share another workspace's; install one that is: pip install 'fiftyone>=1.22.1,<1.23'"
        ) from error
    try:
        module.list_datasets()
    except Exception as error:
        raise _unreachable(error) from error
    return module


@contextlib.contextmanager
def database_errors() -> Iterator[None]:
    """Turn the driver's errors, as when the database has died, into one sentence.

    Raises:
        ReviewError: the database does not answer any more.

    """
    try:
        yield
    except Exception as error:
        if type(error).__module__.partition(".")[0] in ("pymongo", "mongoengine"):
            raise _unreachable(error) from error
        raise


def _be_patient() -> None:
    """Let FiftyOne wait longer than its fixed minute for what it starts."""
    from fiftyone.core.service import Service

    Service._wait_for_child_port.__defaults__ = (None, PATIENCE_S)


def _keep_to_own_folder() -> None:
    """Share a running mongod only if it serves this very folder.

    FiftyOne takes the first mongod that it started for this user: that of another workspace, whose data would be mixed
    with ours and which ends with the other's App. It searches for a part of the command line, so that part is made to
    include the folder; the command line itself is unchanged.
    """
    from fiftyone.core.service import DatabaseService, MultiClientService

    common, command = MultiClientService._service_args.fget, DatabaseService.command.fget
    if command.__qualname__ == "DatabaseService.command":
        DatabaseService._service_args = property(lambda service: [*common(service), *command(service)])
        DatabaseService.command = property(lambda service: [])


def _unreachable(error: Exception) -> ReviewError:
    """Return one sentence for the many ways in which FiftyOne reports that it has no database."""
    uri = os.environ.get("FIFTYONE_DATABASE_URI", "")
    first = (str(error).splitlines() or [type(error).__name__])[0][:200].rstrip(". ")
    if uri:
        server = uri.split("@")[-1].split("?")[0]
        return ReviewError(
            f"the MongoDB at {server} does not answer ({first}); start it, or unset FIFTYONE_DATABASE_URI to use "
            "FiftyOne's own"
        )
    folder = os.environ.get("FIFTYONE_DATABASE_DIR", "")
    return ReviewError(f"FiftyOne's database (mongod) does not start in {folder} ({first}); {_OWN_SERVER}")
