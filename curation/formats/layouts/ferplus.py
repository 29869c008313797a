"""FER+ as its script writes it: FER2013Train, FER2013Valid, FER2013Test, each with PNG files and a label.csv.

Source: github.com/microsoft/FERPlus, README and src/generate_training_data.py. A row of label.csv, which has no header,
is the file's name, a box, and ten people's votes for the columns below. The label is the class with most votes, the
soft label their shares; if most vote for unknown or no face (NF), there is no label.
"""

from __future__ import annotations

from curation.formats.columns import judged
from curation.formats.kinds import has_image_extension
from curation.formats.listing import SourceContents
from curation.formats.table import numbers, read
from curation.formats.tree import Tree

COLUMNS = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt", "unknown", "NF")


def recognise(tree: Tree) -> SourceContents | None:
    """Return the images that FER+'s label files name, with votes as soft labels."""
    contents, lists = SourceContents(), tree.named("label.csv")
    known = {image.path: image for image in tree.images} if lists else {}
    for path in lists:
        folder = path.removesuffix("label.csv")
        votes = _votes(tree, path)
        if votes is None:
            continue
        tree.used.add(path)
        for name, shares in votes.items():
            image = known.get(folder + name)
            if image is None:
                contents.leave_out(folder + name, "named in label.csv, but not there")
                continue
            label, soft, _ = judged(shares)
            split = folder.rstrip("/").rpartition("/")[2]
            contents.files.append(image._replace(split=split, label=label, soft_label=soft))
    return contents if contents.files else None


def _votes(tree: Tree, path: str) -> dict[str, dict[str, float]] | None:
    """Return file name -> votes by column, or None if the file is not such a list."""
    if not tree.head(path, 1024).partition(b"\n")[0].count(b",") >= len(COLUMNS):
        return None
    found = {}
    for row in read(tree.data(path), "label.csv", path).rows:
        counts = numbers(row[-len(COLUMNS) :])
        if counts is None or len(row) <= len(COLUMNS) or not has_image_extension(row[0]):
            return None
        found[row[0]] = dict(zip(COLUMNS, counts, strict=True))
    return found
