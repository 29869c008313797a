"""Makes the pages about the command and its settings from the code itself, when the site is built."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import typer.cli
import typer.main
from mkdocs.structure.files import File, Files
from pydantic import BaseModel

from curation.cli import app
from curation.settings import ENVIRONMENT_PREFIX, Settings

SETTINGS_HEAD = """# Settings

`curate.toml` in the workspace, then environment variables, then flags: the later wins. Thresholds that `curate audit
--calibrate` found stand between the defaults and the file. A wrong setting is refused by name.

```toml
policy = "deck"

[checks]
face_score = 0.6
```

| in `curate.toml` | default | environment | what |
|---|---|---|---|
"""


def on_files(files: Files, config: Any) -> Files:
    """Add the pages."""
    command = typer.main.get_command(app)
    context = command.make_context("curate", [], resilient_parsing=True)
    text = typer.cli.get_docs_for_click(obj=command, ctx=context, name="curate", title="The command")
    files.append(File.generated(config, "reference/command.md", content=text))
    files.append(File.generated(config, "reference/settings.md", content=SETTINGS_HEAD + "".join(_rows(Settings))))
    return files


def _rows(model: type[BaseModel], section: str = "") -> Iterator[str]:
    """Yield a table row a setting."""
    for name, field in model.model_fields.items():
        if isinstance(field.default, BaseModel):
            yield from _rows(type(field.default), name)
            continue
        place = f"`[{section}]` `{name}`" if section else f"`{name}`"
        variable = ENVIRONMENT_PREFIX + "__".join(part for part in (section, name) if part).upper()
        yield f"| {place} | `{field.default!r}` | `{variable}` | {field.description or ''} |\n"
