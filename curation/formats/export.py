"""Export a version in one of the registered formats."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from curation.formats.registry import find

if TYPE_CHECKING:
    from curation.base.progress import Display
    from curation.base.workspace import Workspace
    from curation.formats.export_data import Placement


def export_version(
    workspace: Workspace,
    version: str,
    format_name: str,
    destination: Path,
    *,
    since: str = "",
    place: Placement = "copy",
    force: bool = False,
    display: Display | None = None,
) -> int:
    """Write a version to ``destination`` and return the number of rows or images written.

    Args:
        workspace: a curated workspace
        version: raw, cleaned, vN, a tag or the beginning of a hash
        format_name: a name among ``names()``
        destination: the file or new folder to write
        since: only what changed since this version
        place: whether image files are copied or linked
        force: whether a file that something else wrote may be replaced; a folder with contents never is
        display: where progress is shown

    Raises:
        CurationError: the version or format is unknown, the destination is not empty, an image is not what was
            curated, or the format's library is not installed.

    """
    from curation.base import files
    from curation.base.destinations import Destinations
    from curation.base.progress import Display
    from curation.formats.export_data import load_export_data

    chosen = find(format_name)
    gate = Destinations(workspace, force)
    gate.allow(destination) if chosen.unit == "rows" else gate.allow_place(destination)
    files.remove_abandoned(destination)
    with (display or Display(quiet=True)).step(f"Exporting {version} as {format_name}") as report:
        export_data = load_export_data(workspace, version, since, place, report)
        if chosen.unit != "rows":
            return chosen.write(export_data, destination)
        with files.unfinished_folder(destination) as building:
            written = chosen.write(export_data, building / destination.name)
            gate.put(building / destination.name, destination)
    return written
