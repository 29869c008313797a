"""Gender and age as estimated by insightface's genderage network, for data without such attributes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from curation.base.errors import installing
from curation.base.progress import Display
from curation.decisions import manifest
from curation.evidence.evaluated_model import EvaluatedModel
from curation.models.runs import ModelError, training_frame

if TYPE_CHECKING:
    from curation.measure.decode import Pixels

PREFIX = "insightface:"
"""Prefix of a source whose attributes are estimated: insightface:PACK_OR_FOLDER."""

NETWORK = "genderage.onnx"
"""Its file in insightface's packs (buffalo_l, buffalo_m, buffalo_s, antelopev2), for non-commercial research only."""

PACKS = Path("~/.insightface/models")
"""Where insightface keeps its packs."""

SAMPLE = 2_000
"""Images of the whole data set that are estimated as well, to see whom the cleaning removes."""


class EstimatesError(ModelError):
    """The network that estimates attributes is not available here."""


def network_file(source: str) -> Path:
    """Return the network's file in the pack or folder that a source names.

    Raises:
        EstimatesError: there is none, or insightface is not installed.

    """
    import importlib.util

    name = source.removeprefix(PREFIX)
    files = [folder.expanduser() / NETWORK for folder in (Path(name), PACKS / name)]
    found = next((file for file in files if file.is_file()), None)
    if found is None:
        raise EstimatesError(
            f"neither {files[0].parent} nor {files[1].parent} holds {NETWORK}, which insightface's packs contain "
            "(non-commercial research only); name the folder of one, or give a table: --attributes TABLE"
        )
    if importlib.util.find_spec("insightface") is None:
        raise EstimatesError(f"estimating attributes needs insightface; run: {installing('faces')}")
    return found


def open_network(file: Path) -> Any:
    """Return insightface's own reader of the network, on one thread.

    Raises:
        EstimatesError: the file is not that network.

    """
    from insightface.model_zoo.attribute import Attribute

    from curation.measure.onnx_graph import session

    try:
        network = Attribute(model_file=str(file), session=session(str(file)))
    except Exception as error:  # the runtime and the reader have their own kinds
        raise EstimatesError(f"{file} is no network that insightface can read ({type(error).__name__})") from error
    if network.taskname != "genderage":
        raise EstimatesError(f"{file} does not answer gender and age; name the folder of insightface's {NETWORK}")
    return network


def estimate(network: Any, pixels: Pixels, box: npt.NDArray[np.float64]) -> tuple[str, int]:
    """Return the gender (male, female) and age (years) that the network sees in one face.

    Args:
        network: see ``open_network``.
        pixels: (h, w) grey or (h, w, 3) RGB.
        box: x, y, width, height of the face in shares of the image's sides.

    """
    from curation.measure.faces.base import as_bgr

    height, width = pixels.shape[:2]
    x, y, wide, high = box * (width, height, width, height)
    face = _Face(bbox=np.array([x, y, x + wide, y + high]))
    sex, age = network.get(as_bgr(pixels), face)
    return ("male" if int(sex) == 1 else "female"), max(0, int(age))


class _Face(dict[str, Any]):
    """The face type of insightface's networks: a dict whose entries are attributes too."""

    @property
    def bbox(self) -> npt.NDArray[np.float64]:
        """x1, y1, x2, y2 in pixels."""
        found: npt.NDArray[np.float64] = self["bbox"]
        return found


def estimated_attributes(evaluated: EvaluatedModel, source: str, display: Display) -> pd.DataFrame:
    """Return gender and age (years) of the judged images and of a sample of the whole data set.

    Args:
        evaluated: the model and its images.
        source: insightface:PACK_OR_FOLDER.
        display: progress.

    Returns:
        Columns path, gender, age; "" where an image shows no face.

    """
    from curation.measure.batch import measured_pixels

    network = open_network(network_file(source))
    everything = training_frame(evaluated.workspace, manifest.find(evaluated.workspace, "raw"))
    sample = everything.sample(min(SAMPLE, len(everything)), random_state=evaluated.seed)
    chosen = (
        pd.concat([evaluated.frame, sample])[["key", "path", "sha256"]].drop_duplicates("key").reset_index(drop=True)
    )
    boxes = evaluated.faces.reindex(chosen["key"])[["x", "y", "width", "height"]].to_numpy(np.float64)
    rows = []
    with display.step("Estimating gender and age") as report:
        for place, (key, file, sha256) in enumerate(chosen.itertuples(index=False, name=None)):
            said: tuple[str, int | str] = ("", "")
            if np.isfinite(boxes[place]).all():
                pixels = measured_pixels(file, sha256, evaluated.settings.measure)
                said = estimate(network, pixels, boxes[place])
            rows.append((key, said[0], str(said[1])))
            report(place + 1, len(chosen))
    return pd.DataFrame(rows, columns=["path", "gender", "age"])
