"""What a workspace keeps of the judgement of its labels: table, record and the judge's memory, checked when read."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from curation.base.arrays import Floats, Ints
from curation.base.errors import CurationError
from curation.base.files import read_json, read_table, write_bytes
from curation.base.reading import arrays, contents, json_object, refusing, require_shape
from curation.base.workspace import Workspace, option_of
from curation.labels import jury
from curation.labels.jury import Consensus
from curation.labels.teach import JudgeInputs

REVISION = 5
"""Increased whenever the judgement may differ for the same data, recipe and settings."""

DOUBT = "doubt: "
"""Prefix of the columns that say how far one opinion doubts each label."""

SCORES: dict[str, str] = {
    "wrong": "P(wrong), all opinions and answers together",
    "wrong_untaught": "P(wrong), all opinions together, before any answer",
    "self_confidence": "self-confidence of the out-of-fold models (cleanlab)",
    "margin": "normalised margin of the out-of-fold models (cleanlab)",
    "neighbours": "neighbours in embedding space",
    "disagreement": "disagreement of the opinions",
    "negated_aum": "area under the margin while training, negated (AUM)",
    "forgetting": "times forgotten while training",
}
"""Columns of the labels table that rank suspects, the highest first; each opinion's doubt is another."""


class LabellingError(CurationError):
    """Labels cannot be judged, or have not been."""


@dataclass(frozen=True)
class Memory:
    """The state of the judge: labels table, classes, inputs of its features, and the posterior's sharpness."""

    table: pd.DataFrame
    classes: list[str]
    known: JudgeInputs
    sharpness: float


def data_digest(images: pd.DataFrame) -> str:
    """Return a fingerprint of paths, contents and labels."""
    digest = hashlib.sha256()
    for column in ("path", "sha256", "label"):
        digest.update(pd.util.hash_pandas_object(images[column], index=False).to_numpy().tobytes())
    return digest.hexdigest()


def stored(workspace: Workspace, images: pd.DataFrame) -> pd.DataFrame | None:
    """Return the stored judgement if it is of exactly these images and labels, else None."""
    if not is_judged(workspace) or record_of(workspace)["data"] != data_digest(images):
        return None
    return read_labels(workspace)


def is_judged(workspace: Workspace) -> bool:
    """Return whether the workspace holds a judgement of this revision."""
    return workspace.labels.exists() and record_of(workspace).get("revision") == REVISION


def read_labels(workspace: Workspace) -> pd.DataFrame:
    """Return the labels table, ``posterior`` as class -> probability."""
    table = _stored_table(workspace)
    with refusing(workspace.labels, _to_do(workspace)):
        posterior = [json_object(text) for text in table["posterior"]]
        for shares in posterior:
            require_shape(shares, {str: float}, "a posterior")
    return table.assign(posterior=pd.Series(posterior, table.index, dtype=object))


def _stored_table(workspace: Workspace) -> pd.DataFrame:
    texts = ("path", "label", "group", "suggestion", "posterior", "says")
    numbers = ("wrong", "ambiguous", "suggestion_right", "self_confidence")
    table = read_table(workspace.labels, _to_do(workspace), texts=texts, numbers=numbers)
    with refusing(workspace.labels, _to_do(workspace)):
        if table["path"].duplicated().any():
            raise ValueError("an image twice")
    return table


def record_of(workspace: Workspace) -> dict[str, Any]:
    """Return how the labels were judged: recipe, jury, rates, calibration, answers, time; {} if they were not."""
    record = dict(read_json(record_file(workspace), _to_do(workspace), _RECORD) or {})
    if record.get("revision") == REVISION:
        with refusing(record_file(workspace), _to_do(workspace)):
            require_shape(record, _OF_JUDGED)
            if {len(draw) for draw in record["rate_draws"]} != {len(record["rates"])}:
                raise ValueError("its 'rate_draws' are not of its classes")
    return record


_RECORD = {
    **{"key?": str, "data?": str, "answers?": str, "remarks?": [str], "skipped?": bool},
    "taught?": {"sentences": [str]},
}
"""Shape of the record of any judgement, see ``curation.base.reading.require_shape``."""

_JUROR = {"name": str, "weight": float, "seen": float, "skill": float, "slope": float, "sentence": str}

_OF_JUDGED = {
    **{"key": str, "data": str, "classes": [str], "sharpness": float, "rates": {str: float}, "rate_draws": [[float]]},
    "jury": [_JUROR],
}
"""Further fields of the record where labels were judged."""


def state_of(workspace: Workspace) -> str:
    """Return a text that changes with the judgement and with the answers that taught it."""
    record = record_of(workspace)
    return f"{record.get('key')} {record.get('answers', '')}"


def remarks_of(workspace: Workspace) -> list[str]:
    """Return remarks on the judgement: classes left out, opinions that have seen the labels, answers that taught it."""
    record = record_of(workspace)
    lines = list(record.get("remarks", []))
    lines += [one["sentence"] for one in record.get("jury", []) if one["seen"] >= jury.CALLED_OUT]
    return [*lines, *record.get("taught", {}).get("sentences", [])]


def jury_of(workspace: Workspace) -> pd.DataFrame | None:
    """Return the jurors: name, weight, seen, skill, slope, sentence; None if labels were not judged."""
    if not is_judged(workspace):
        return None
    return pd.DataFrame(record_of(workspace)["jury"])[["name", "weight", "seen", "skill", "slope", "sentence"]]


def write_memory(
    workspace: Workspace,
    key: str,
    labels: Ints,
    consensus: Consensus,
    near: Floats,
    dynamics: Floats,
) -> None:
    """Store the inputs of the judge's features, with the rows of the labels table; ``key`` identifies the judgement."""
    stream = io.BytesIO()
    np.savez(
        stream,
        key=np.array(key),
        labels=labels,
        posterior=consensus.posterior,
        calibrated=consensus.calibrated.astype(np.float32),
        neighbours=near,
        dynamics=dynamics,
    )
    write_bytes(_memory_file(workspace), stream.getvalue())


def memory_of(workspace: Workspace) -> Memory | None:
    """Return the judge's state, None if no labels were judged or its file is of another judgement."""
    record, file = record_of(workspace), _memory_file(workspace)
    if not (is_judged(workspace) and file.exists()):
        return None
    with refusing(file, _to_do(workspace), LabellingError):
        kept = arrays(contents(file))
        if str(kept["key"]) != record["key"]:
            return None
        table = _stored_table(workspace)
        named = {field.name: kept[field.name] for field in fields(JudgeInputs) if field.name != "groups"}
        images, classes = len(table), len(record["classes"])
        jurors = len(named["calibrated"]) if named["calibrated"].ndim else 0
        shapes = {"labels": (images,), "posterior": (images, classes + 1), "calibrated": (jurors, images, classes + 1)}
        shapes |= {"neighbours": (images, classes), "dynamics": (images, 2)}
        odd = next((name for name, shape in shapes.items() if named[name].shape != shape), None)
        if odd is not None or any(array.dtype.kind not in "iuf" for array in named.values()):
            raise ValueError(f"its {odd or 'arrays'} are of other images, or no numbers")
        if named["labels"].dtype.kind == "f" or not ((named["labels"] >= 0) & (named["labels"] < classes)).all():
            raise ValueError("its labels are no classes")
    known = JudgeInputs(groups=table["group"].to_numpy(dtype=object), **named)
    return Memory(table, list(record["classes"]), known, float(record["sharpness"]))


def _to_do(workspace: Workspace) -> str:
    return f"delete it and run: curate check --labels fast{option_of(workspace)}"


def record_file(workspace: Workspace) -> Path:
    """Return the path of the record."""
    return workspace.labels.with_suffix(".json")


def _memory_file(workspace: Workspace) -> Path:
    return workspace.labels.with_suffix(".npz")
