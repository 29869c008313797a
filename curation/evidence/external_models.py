"""How do other expression models compare? Theirs and ours on the same held-out images, with paired intervals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

import pandas as pd

from curation.base.progress import Display
from curation.evidence.evaluated_model import EvaluatedModel, places
from curation.evidence.external_data import read_other
from curation.evidence.store import Tables
from curation.labels.opinions import added_model
from curation.labels.votes import match_classes
from curation.models.runs import ModelError

if TYPE_CHECKING:
    from training.outside import OutsideModel

T = TypeVar("T")


def outside_models(evaluated: EvaluatedModel, sources: Sequence[str], other: str, display: Display) -> Tables:
    """Return each outside model's metrics beside ours, on the held-out images and on other data where that is given.

    Args:
        evaluated: our model.
        sources: of outside models: names that other packages add (entry points of the group
            ``face_curation.models``), or see ``training.outside.open_model``.
        other: labelled data of another source, or "".
        display: progress.

    """
    from training.evaluate import compare_pairs, metrics
    from training.outside import our_probabilities

    scenes = [("held out", evaluated.images, evaluated.labels, evaluated.probabilities)]
    if other:
        theirs = read_other(evaluated, other, display)
        labels = places(theirs.frame["label"], evaluated.classes)
        scenes.append((theirs.name, theirs.faces.images, labels, evaluated.model.probabilities(theirs.faces.images)))
    scored, compared, facts = [], [], []
    for data, _, labels, ours in scenes:
        scored.append(metrics(labels, ours, evaluated.classes).assign(model=evaluated.run_dir.name, data=data))
    for source in sources:
        model = open_external(source)
        column_of = match_classes(model.classes, evaluated.classes)
        facts.append((model.name, ", ".join(model.classes), model.licence, model.seen or "not known"))
        for data, images, labels, ours in scenes:
            with display.step(f"Running {model.name} on {data}"):
                scores = translate_errors(
                    lambda m=model, i=images, c=column_of: our_probabilities(m, i, c, evaluated.classes)  # type: ignore[misc]
                )
            scored.append(metrics(labels, scores, evaluated.classes).assign(model=model.name, data=data))
            pairs = compare_pairs(labels, scores, ours, evaluated.classes, seed=evaluated.seed)
            compared.append(pairs.assign(model=model.name, data=data, images=len(labels)))
    return {
        "metrics": pd.concat(scored, ignore_index=True),
        "pairs": pd.concat(compared, ignore_index=True),
        "facts": pd.DataFrame(facts, columns=["model", "classes", "licence", "seen"]),
    }


def open_external(source: str) -> OutsideModel:
    """Return the outside model that a source names.

    Raises:
        ModelError: there is none, or its package or weights are missing.
        PluginError: another package's model cannot be loaded, or is not a model.

    """
    from training.outside import open_model

    return added_model(source) or translate_errors(lambda: open_model(source))


def translate_errors(call: Callable[[], T]) -> T:
    """Run a call about an outside model, whose errors are sentences for the user."""
    from training.outside import OutsideError

    try:
        return call()
    except OutsideError as error:
        raise ModelError(str(error)) from error
