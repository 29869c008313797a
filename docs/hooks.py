"""Makes the pages about checks, policies, the command and its settings from the code itself, when the site is built."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer.cli
import typer.main
from mkdocs.structure.files import File, Files
from pydantic import BaseModel

from curation.base.settings import Settings
from curation.checks.base import Check
from curation.checks.registry import CHECKS
from curation.cli.commands import app
from curation.cli.examples import EXAMPLES

SETTINGS_HEAD = """# Settings

`curate.toml` in the workspace, then environment variables, then flags: the later takes precedence. Thresholds found by
`curate audit --calibrate` come between the defaults and the file. A wrong setting is refused by name.

```toml
policy = "deck"

[checks]
face_score = 0.6
```

The same from the environment: `CURATE_POLICY=deck`, `CURATE_CHECKS__FACE_SCORE=0.6` (section and name in capitals, two
underscores between them).
"""


DOCS = Path(__file__).parent
POLICIES = DOCS.parent / "curation" / "decisions" / "policies"
MEASURED = json.loads((DOCS / "measured.json").read_text(encoding="utf-8"))
HOW = tomllib.loads((DOCS / "checks.toml").read_text(encoding="utf-8"))


def on_config(config: Any) -> Any:
    """List the generated pages in the navigation."""
    for entry in config["nav"]:
        if "Checks and policies" in entry:
            entry["Checks and policies"] += [
                {"Checks": [{check.title: f"checks/{name}.md"} for name, check in CHECKS.items()]},
                {"Policies": [{file.stem: f"policies/{file.stem}.md"} for file in _policies()]},
            ]
    # a page that another part of the repository may bring
    config["nav"] = [e for e in config["nav"] if "Architecture" not in e or (DOCS / e["Architecture"]).exists()]
    return config


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Fill in what is made from the code: ``<!-- checks -->``, ``<!-- policies -->``, ``<!-- gallery -->``."""
    parts = {"checks": _check_table, "policies": _policy_table, "gallery": _gallery}
    for name, make in parts.items():
        if f"<!-- {name} -->" in markdown:
            markdown = markdown.replace(f"<!-- {name} -->", make())
    return markdown


def _picture(name: str) -> str:
    return f"images/checks/{name}.png" if (DOCS / "images" / "checks" / f"{name}.png").exists() else ""


def _shares(name: str) -> tuple[str, str, str]:
    """Return found of planted, right of flagged, and flagged plain faces, in words."""
    counts = MEASURED["checks"].get(name)
    if counts is None and name in MEASURED["not_run"]:
        return f"{MEASURED['not_run'][name]} planted, not run", "", ""
    if counts is None:
        return "not planted", "", ""
    right = f"{counts['right']} of {counts['flagged']}" if counts["flagged"] else "none flagged"
    return f"{counts['found']} of {counts['planted']}", right, str(counts["plain"])


def _check_table() -> str:
    rows = [
        f"| [`{name}`](checks/{name}.md) | {check.explanation} | {' | '.join(_shares(name))} |"
        for name, check in CHECKS.items()
    ]
    head = "| check | flags | planted, found | flagged, right | plain faces flagged |\n|---|---|---|---|---|\n"
    return head + "\n".join(rows)


def _check_page(name: str, check: Check) -> str:
    how = HOW.get(name) or " ".join((check.run.__doc__ or check.explanation).split())
    shown = _picture(name)
    picture = f"![Drawn faces: {check.title}](../{shown})" if shown else "The drawn sample has no example of this."
    found, right, plain = _shares(name)
    measured = "Not measured on the drawn sample. See [Benchmarks](../benchmarks.md) for what was measured on faces."
    if right:
        measured = (
            f"On the drawn sample of {MEASURED['images']} images ({MEASURED['date']}, `python docs/pictures.py`): "
            f"**{found}** planted defects found; of the flagged images, **{right}** right (at least: another planted "
            f"defect may be of this kind too); plain faces flagged: **{plain}**. Drawn faces are not photographs: "
            "`curate audit` measures the check on your own."
        )
    return (
        f"# {check.title}\n\n`{name}`: {check.explanation}\n\n{picture}\n\n## How it decides\n\n{how}\n\n"
        f"## How good it is\n\n{measured}\n\n## Look\n\n```console\ncurate issues --check {name}\n"
        f"curate review --check {name}\n```\n\nThresholds: [Settings](../reference/settings.md). All checks: "
        "[Checks and policies](../checks.md).\n"
    )


def _policy(file: Path) -> tuple[dict[str, Any], str]:
    text = file.read_text(encoding="utf-8")
    return tomllib.loads(text), text


def _policy_table() -> str:
    rows = (f"| [`{file.stem}`](policies/{file.stem}.md) | {_policy(file)[0]['description']} |" for file in _policies())
    return "| policy | what it does |\n|---|---|\n" + "\n".join(rows)


def _policies() -> list[Path]:
    return sorted(POLICIES.glob("*.toml"))


def _policy_page(file: Path) -> str:
    policy, text = _policy(file)
    # what is about labels or people is joined to a policy that decides about copies
    joined = file.stem if "duplicates" in policy else f"balanced+{file.stem}"
    return (
        f"# The policy {file.stem}\n\n{policy['description']}\n\n```console\ncurate apply --policy {joined}\n```"
        "\n\nA policy is a TOML file. This is the whole file; to change it, edit a copy and name "
        "that with `--policy FILE`:\n\n"
        f"```toml\n{text}```\n\nAll policies: [Checks and policies](../checks.md).\n"
    )


def _gallery() -> str:
    return "\n\n".join(
        f"## {check.title}\n\n{check.explanation}\n\n[![Drawn: {check.title}]({_picture(name)})](checks/{name}.md)"
        for name, check in CHECKS.items()
        if _picture(name)
    )


def on_files(files: Files, config: Any) -> Files:
    """Add the pages."""
    for name, check in CHECKS.items():
        files.append(File.generated(config, f"checks/{name}.md", content=_check_page(name, check)))
    for file in _policies():
        files.append(File.generated(config, f"policies/{file.stem}.md", content=_policy_page(file)))
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
