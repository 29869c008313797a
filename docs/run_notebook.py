"""Execute the notebook on the drawn sample and keep what it shows: python docs/run_notebook.py.

It takes no other data: pictures of a data set belong to others and stay out of the repository.
"""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).with_name("notebook.ipynb")
_FILE = re.compile(r"(?:/[\w.-]+)+/(?=workspace\b|faces\b)")


def execute(data: str, folder: Path) -> Any:
    """Return the notebook with what its cells give on ``data``, run in ``folder``."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    os.environ["CURATE_NOTEBOOK_DATA"] = data
    client = NotebookClient(notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(folder)}})
    return client.execute()


def tidied(notebook: Any) -> Any:
    """Return the notebook without progress, timings and places of this machine."""
    for cell in notebook.cells:
        cell.metadata = {}
        if cell.cell_type != "code":
            continue
        cell.outputs = [output for output in cell.outputs if output.output_type == "execute_result"]
        for output in cell.outputs:
            for kind, text in output.data.items():
                output.data[kind] = _FILE.sub("", text)
    return notebook


def main() -> None:
    """Execute the notebook and write it back."""
    with tempfile.TemporaryDirectory() as scratch:
        notebook = execute(str(Path(scratch) / "faces"), Path(scratch))
    nbformat.write(tidied(notebook), NOTEBOOK)


if __name__ == "__main__":
    main()
