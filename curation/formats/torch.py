"""A version as a PyTorch ``Dataset``: ``from curation.formats.torch import CuratedFaces``."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curation.base.errors import optional
from curation.base.settings import MeasureSettings
from curation.base.workspace import open_workspace
from curation.formats.export_data import ExportError, content, each_row, load_export_data

if TYPE_CHECKING:
    from PIL import Image
    from torch.utils.data import Dataset

    _Base = Dataset[tuple[Any, int]]
else:
    _Base = optional("torch.utils.data", "train", "curation.formats.torch").Dataset

__all__ = ["CuratedFaces"]

_WHOLE = 2**20
"""Larger than the side of any image: pictures are not reduced."""


class CuratedFaces(_Base):
    """The kept images of a version that have a label, read in place.

    Items are (picture, class number); the picture is a PIL image, or what ``transform`` makes of it.

    Attributes:
        classes: names of the classes of the whole version, sorted.
        targets: class number of each image.
        weights: training weight of each image.
        soft_targets: class -> probability of each image, or None if it has no soft label.
        paths: path of each image in the manifest.

    """

    def __init__(
        self,
        folder: Path | str,
        version: str = "cleaned",
        split: str = "",
        *,
        mode: str = "L",
        transform: Callable[[Image.Image], Any] | None = None,
    ) -> None:
        """Open a version of a workspace.

        Args:
            folder: the workspace's folder
            version: raw, cleaned, vN, a tag or the beginning of a hash
            split: only this split; "" takes all
            mode: Pillow's mode of the pictures: L (grey) or RGB
            transform: called on every picture

        Raises:
            CurationError: no such workspace, version or split.

        """
        export_data = load_export_data(open_workspace(Path(folder)), version)
        kept = export_data.kept
        kept = kept[kept["label"] != ""].reset_index(drop=True)
        if split:
            known = sorted(set(kept["split"]))
            kept = kept[kept["split"] == split].reset_index(drop=True)
            if kept.empty:
                raise ExportError(f"version {version} has no split {split!r}; there are: {', '.join(known)}")
        self.classes = export_data.classes
        place = {label: number for number, label in enumerate(self.classes)}
        self.targets = [place[label] for label in kept["label"]]
        self.weights = kept["weight"].tolist()
        self.soft_targets = [json.loads(text) if text else None for text in kept["soft_label"]]
        self.paths = kept["path"].tolist()
        self.mode = mode
        self.transform = transform
        self._settings = MeasureSettings(analysis_side=_WHOLE)
        self._rows = list(each_row(kept[["path", "sha256", "url"]]))

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self._rows)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        """Return a picture and its class number.

        Raises:
            ChangedError: the file is gone or not the one that was curated.
            DecodeError: it is not an image; a raw version has such rows.

        """
        from PIL import Image

        from curation.measure.decode import decode

        picture = Image.fromarray(decode(content(self._rows[index]), self._settings).pixels).convert(self.mode)
        return (self.transform(picture) if self.transform else picture), self.targets[index]
