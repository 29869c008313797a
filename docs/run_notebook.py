"""Execute the notebook on a data set and keep what it shows, without pictures: python docs/run_notebook.py DATA.

Pictures of a data set belong to others and stay out of the repository; words and tables are kept.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).with_name("notebook.ipynb")
_PICTURE = re.compile(r"<img[^>]*>")
_DATA = re.compile(r"data:image/[\w+.-]+;base64,[A-Za-z0-9+/=]*")
_FILE = re.compile(r"(?:/[\w.-]+)+/(?=workspace\b|data\b)")


def execute(data: str, folder: Path) -> Any:
    """Return the notebook with what its cells give on ``data``, run in ``folder``."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    os.environ["CURATE_NOTEBOOK_DATA"] = data
    client = NotebookClient(notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(folder)}})
    return client.execute()


def without_pictures(notebook: Any) -> Any:
    """Return the notebook with every picture replaced by a word, and without timings and places of this machine."""
    for cell in notebook.cells:
        cell.metadata = {}
        for output in cell.get("outputs", []):
            shown = output.get("data", {})
            for kind in [kind for kind in shown if kind.startswith("image/")]:
                del shown[kind]
            for kind, text in shown.items():
                shown[kind] = _FILE.sub("", _DATA.sub("[picture]", _PICTURE.sub("<em>[picture]</em>", text)))
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if output.output_type != "stream"]
    return notebook


def main() -> None:
    """Execute the notebook and write it back."""
    if len(sys.argv) != 2:
        sys.exit("usage: python docs/run_notebook.py DATA")
    with tempfile.TemporaryDirectory() as scratch:
        notebook = execute(str(Path(sys.argv[1]).resolve()), Path(scratch))
    nbformat.write(without_pictures(notebook), NOTEBOOK)


if __name__ == "__main__":
    main()
