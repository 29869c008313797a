"""Hand a version on: one file a format, one registry."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from curation.formats.registry import find

if TYPE_CHECKING:
    from curation.base.progress import Display
    from curation.base.workspace import Workspace
    from curation.formats.export_data import Placement


def export_version(
    space: Workspace,
    version: str,
    form: str,
    destination: Path,
    *,
    since: str = "",
    place: Placement = "copy",
    display: Display | None = None,
) -> int:
    """Write a version to ``destination`` and return the number of rows or images written.

    Args:
        space: a curated workspace
        version: raw, cleaned, vN, a tag or the beginning of a hash
        form: a name among ``names()``
        destination: the file or new folder to write
        since: only what changed since this version
        place: whether image files are copied or linked
        display: where progress is shown

    Raises:
        CurationError: the version or format is unknown, the destination holds something, an image is not what was
            curated, or the format's library is not installed.

    """
    from curation.base import files
    from curation.base.progress import Display
    from curation.formats.export_data import gather

    chosen = find(form)
    files.remove_abandoned(destination)
    with (display or Display(quiet=True)).step(f"Exporting {version} as {form}") as report:
        return chosen.write(gather(space, version, since, place, report), destination)
