"""Makes the page about the command from the command itself, when the site is built."""

from __future__ import annotations

from typing import Any

import typer.cli
import typer.main
from mkdocs.structure.files import File, Files

from curation.cli import app

PAGE = "reference/command.md"


def on_files(files: Files, config: Any) -> Files:
    """Add the page."""
    command = typer.main.get_command(app)
    context = command.make_context("curate", [], resilient_parsing=True)
    text = typer.cli.get_docs_for_click(obj=command, ctx=context, name="curate", title="The command")
    files.append(File.generated(config, PAGE, content=text))
    return files
