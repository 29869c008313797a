"""Torchvision's datasets as a source: ``torchvision:CLASS:ROOT[:SPLIT]``, as in ``torchvision:FER2013:data:train``."""

from __future__ import annotations

import inspect
import io
import os
from pathlib import Path
from typing import Any

from curation.base.errors import optional
from curation.base.reading import first_line
from curation.formats.gate import Gate
from curation.formats.listing import IngestError, SourceContents
from curation.formats.stored import Contents, class_name


def read(name: str, cache: Path, *, outside: bool = False) -> tuple[str, SourceContents]:
    """Return the images of one of ``torchvision.datasets``; nothing is downloaded.

    Datasets of files are read in place; others are stored as PNG, which is lossless. The library opens files by itself,
    so nothing below ROOT may lead out of it unless ``outside`` is set.

    Raises:
        IngestError: there is no such dataset, it is not at ROOT, or a link there leads outside.
        MissingPackageError: torchvision is absent.

    """
    kind, _, rest = name.partition(":")
    root, _, split = rest.rpartition(":") if ":" in rest else (rest, "", "")
    datasets = optional("torchvision.datasets", "train", f"torchvision:{name}")
    made = getattr(datasets, kind, None)
    if not inspect.isclass(made) or not root:
        raise IngestError(
            f"torchvision:{name} is no dataset; give torchvision:CLASS:ROOT[:SPLIT], CLASS as in torchvision.datasets"
        )
    gate = Gate(os.path.realpath(root), cache, outside)
    gate.require_inside()
    contents = Contents(cache)
    arguments = inspect.signature(made.__init__).parameters
    both = ["train", "test"] if "split" in arguments or "train" in arguments else [""]
    for each in [split] if split else both:
        _take(contents, _opened(made, name, root, each), gate, each)
    return f"torchvision:{name}", contents.contents


def _opened(made: Any, name: str, root: str, split: str) -> Any:
    arguments = inspect.signature(made.__init__).parameters
    chosen: dict[str, Any] = {"root": root}
    if split and "split" in arguments:
        chosen["split"] = split
    elif split and "train" in arguments:
        chosen["train"] = split == "train"
    elif split:
        raise IngestError(f"torchvision:{name}: this dataset has no splits; leave {split} out")
    try:
        return made(**chosen)
    except (RuntimeError, OSError, ValueError, TypeError) as error:
        reason = first_line(error)
        raise IngestError(f"torchvision:{name} cannot be opened ({reason}); put its files below {root}") from error


def _take(contents: Contents, data: Any, gate: Gate, split: str) -> None:
    classes = getattr(data, "classes", None)
    files = getattr(data, "samples", None)
    if files and isinstance(files[0][0], str):
        for path, target in files:
            full = os.path.abspath(path)  # noqa: PTH100 -- without following links, which is up to the gate
            real = Path(path).resolve()
            below = real.relative_to(gate.root).as_posix() if real.is_relative_to(gate.root) else real.name
            contents.add_file(below, full, gate, split, class_name(target, classes))
        return
    for number in range(len(data)):
        picture, target = data[number]
        buffer = io.BytesIO()
        picture.save(buffer, "PNG")
        contents.add(f"{split or 'images'}/{number:08d}.png", buffer.getvalue(), split, class_name(target, classes))
