"""Makes the pages about the command and its settings from the code itself, when the site is built."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import typer.cli
import typer.main
from mkdocs.structure.files import File, Files
from pydantic import BaseModel

from curation.base.settings import Settings
from curation.cli.commands import app
from curation.cli.examples import EXAMPLES

SETTINGS_HEAD = """# Settings

`curate.toml` in the workspace, then environment variables, then flags: the later wins. Thresholds that `curate audit
--calibrate` found stand between the defaults and the file. A wrong setting is refused by name.

```toml
policy = "deck"

[checks]
face_score = 0.6
```

The same from the environment: `CURATE_POLICY=deck`, `CURATE_CHECKS__FACE_SCORE=0.6` (section and name in capitals, two
underscores between them).
"""


def on_files(files: Files, config: Any) -> Files:
    """Add the pages."""
    files.append(File.generated(config, "reference/command.md", content=_command()))
    files.append(File.generated(config, "reference/settings.md", content=SETTINGS_HEAD + "".join(_settings())))
    return files


def _command() -> str:
    command = typer.main.get_command(app)
    context = command.make_context("curate", [], resilient_parsing=True)
    text = typer.cli.get_docs_for_click(obj=command, ctx=context, name="curate", title="The command")
    for examples in EXAMPLES.values():
        told = "\n\n".join(f"{line}    {what}" for line, what in examples)
        block = "\n".join(f"{line}    # {what}" for line, what in examples)
        text = text.replace(f"Examples:\n\n{told}", f"**Examples**:\n\n```console\n{block}\n```")
    # the list of verbs cuts their sentences short; each verb's own section has them whole
    before, _, after = text.partition("**Commands**:\n\n")
    verbs, _, rest = after.partition("\n## ")
    names = [line.split("`")[1] for line in verbs.splitlines() if line.startswith("* `")]
    links = ", ".join(f"[{name}](#curate-{name})" for name in names)
    return f"{before}**Commands**: {links}\n\n## {rest}"


def _settings(model: type[BaseModel] = Settings, section: str = "") -> Iterator[str]:
    """Yield a heading and a table per section."""
    heading = f"`[{section}]`" if section else "Without a section"
    yield f"\n## {heading}\n\n{model.__doc__}\n\n| name | default | what |\n|---|---|---|\n"
    parts = []
    for name, field in model.model_fields.items():
        if isinstance(field.default, BaseModel):
            parts.append((type(field.default), name))
        else:
            default = f"`{field.default}`" if field.default != "" else "empty"
            yield f"| `{name}` | {default} | {field.description or ''} |\n"
    for part, name in parts:
        yield from _settings(part, name)
