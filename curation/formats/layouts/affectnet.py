"""AffectNet: annotations as .npy files beside the images, or official lists.

Source: Mollahosseini, Hasani and Mahoor, "AffectNet" (2017), and the data set's own README: images/N.jpg with
annotations/N_exp.npy, N_val.npy, N_aro.npy, N_lnd.npy below train_set and val_set; the older lists training.csv,
validation.csv and automatically_annotated.csv with the columns subDirectory_filePath and expression. Expressions are
numbered as below. The sets on Kaggle with a labels.csv (pth, label) are read as any list beside images.
"""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np

from curation.formats.columns import plain_name
from curation.formats.layouts.by_name import class_of
from curation.formats.listing import SourceContents
from curation.formats.tree import Tree

_CLASSES = (
    *("neutral", "happiness", "sadness", "surprise", "fear", "disgust", "anger", "contempt"),
    *("none", "uncertain", "no-face"),
)

CLASSES = dict(enumerate(_CLASSES))

_MOST_BYTES = 4096


def recognise(tree: Tree) -> SourceContents | None:
    """Return the images of a tree that has an annotation file for most of them."""
    if not any(path.endswith("_exp.npy") for path in tree.others):
        return None
    beside = {path: _annotation_of(path) for path in tree.images.paths()}
    if 2 * sum(path in tree.others for path in beside.values()) <= len(beside):
        return None
    tree.used.update(path for path in tree.others if path.endswith(("_val.npy", "_aro.npy", "_lnd.npy")))
    contents = SourceContents()
    for image in tree.images:
        path = beside[image.path]
        split = f"/{image.path}".rpartition("/images/")[0].rpartition("/")[2]
        label = _label(tree, path) if path in tree.others else ""
        contents.files.append(image._replace(split=split, label=label))
    return contents


def _annotation_of(path: str) -> str:
    folder, _, name = f"/{path}".rpartition("/images/")
    return f"{folder}/annotations/{name.rpartition('.')[0]}_exp.npy".lstrip("/")


def _label(tree: Tree, path: str) -> str:
    """Return the class in an annotation file: a number, or a number as text."""
    try:
        with tree.open(path) as file:
            value = np.load(io.BytesIO(file.read(_MOST_BYTES)), allow_pickle=False).reshape(-1)[0].item()
        text = value.decode("ascii", "replace") if isinstance(value, bytes) else str(value)
        return class_of(text.strip(), CLASSES)
    except Exception:  # on damaged bytes numpy's reader raises almost anything
        return ""


def is_official(header: Sequence[str]) -> bool:
    """Return whether a list has the columns of AffectNet's official lists."""
    return {"sub_directory_file_path", "expression"} <= set(map(plain_name, header))
