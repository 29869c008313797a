"""FiftyOne as the review needs it: on this machine only, silent, with a database of the workspace's own.

Everything is set before FiftyOne is imported for the first time, because it reads its environment then.
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
    """Set what FiftyOne is to read from the environment; what the user has set already stays.

    Analytics are off whatever was set. The database lies in the workspace, unless the user names a server or a folder:
    FiftyOne's upgrades then never touch another project's data.
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
        # a server that does not answer should be said in seconds, not in the driver's half minute
        has_query = "?" in uri
        path = "" if has_query or uri.count("/") > 2 else "/"
        os.environ["FIFTYONE_DATABASE_URI"] = f"{uri}{path}{'&' if has_query else '?'}serverSelectionTimeoutMS=5000"


@cache
def plugins_folder() -> Path:
    """Return the folder of plug-ins that only this process' App reads: a new one, with ours and no other.

    Never one in the workspace: what lies there may have come with it, and a plug-in is code.

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
            f"the App's plug-in cannot be laid down ({error.strerror or error}); make room for temporary files, or "
            "name another folder for them with TMPDIR"
        ) from error
    return folder


def fiftyone(workspace: Workspace) -> Any:
    """Return the module ``fiftyone``, connected to its database.

    Raises:
        ReviewError: it is not installed, or its database does not start or answer; what to do.

    """
    prepare(workspace)
    # the driver warns of every server beside its own; what fails is said below, once
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
    """Turn what the driver raises, as when the database has died, into a sentence.

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
    """Let FiftyOne wait longer for what it starts than its own minute, which is fixed."""
    from fiftyone.core.service import Service

    Service._wait_for_child_port.__defaults__ = (None, PATIENCE_S)


def _keep_to_own_folder() -> None:
    """Share a running mongod only where it serves this very folder.

    FiftyOne looks for any mongod that it started for this user, and takes the first: that of another workspace, whose
    data would be mixed with ours and which ends with that one's App. It looks for a part of the command line, so that
    part is made to hold the folder too; the command line stays the same.
    """
    from fiftyone.core.service import DatabaseService, MultiClientService

    common, command = MultiClientService._service_args.fget, DatabaseService.command.fget
    if command.__qualname__ == "DatabaseService.command":
        DatabaseService._service_args = property(lambda service: [*common(service), *command(service)])
        DatabaseService.command = property(lambda service: [])


def _unreachable(error: Exception) -> ReviewError:
    """Return one sentence for the many ways in which FiftyOne says that it has no database."""
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
