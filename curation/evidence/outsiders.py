"""How do other expression models compare? Theirs and ours on the same held-out images, with paired intervals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import pandas as pd

from curation.base.progress import Display
from curation.evidence.elsewhere import read_other
from curation.evidence.store import Tables
from curation.evidence.subject import Subject, places
from curation.labels.votes import match_classes
from curation.models.runs import ModelError

T = TypeVar("T")


def outside_models(subject: Subject, sources: Sequence[str], other: str, display: Display) -> Tables:
    """Return each outside model's metrics beside ours, on the held-out images and on other data where that is given.

    Args:
        subject: our model.
        sources: of outside models, see ``training.outside.open_model``.
        other: labelled data of another source, or "".
        display: progress.

    """
    from training.evaluate import compare_pairs, metrics
    from training.outside import open_model, our_probabilities

    scenes = [("held out", subject.images, subject.labels, subject.probabilities)]
    if other:
        theirs = read_other(subject, other, display)
        labels = places(theirs.frame["label"], subject.classes)
        scenes.append((theirs.name, theirs.faces.images, labels, subject.model.probabilities(theirs.faces.images)))
    scored, compared, facts = [], [], []
    for data, _, labels, ours in scenes:
        scored.append(metrics(labels, ours, subject.classes).assign(model=subject.run_dir.name, data=data))
    for source in sources:
        model = told(lambda source=source: open_model(source))  # type: ignore[misc]
        column_of = match_classes(model.classes, subject.classes)
        facts.append((model.name, ", ".join(model.classes), model.licence, model.seen or "not known"))
        for data, images, labels, ours in scenes:
            with display.step(f"Asking {model.name} about {data}"):
                scores = told(
                    lambda m=model, i=images, c=column_of: our_probabilities(m, i, c, subject.classes)  # type: ignore[misc]
                )
            scored.append(metrics(labels, scores, subject.classes).assign(model=model.name, data=data))
            pairs = compare_pairs(labels, scores, ours, subject.classes, seed=subject.seed)
            compared.append(pairs.assign(model=model.name, data=data, images=len(labels)))
    return {
        "metrics": pd.concat(scored, ignore_index=True),
        "pairs": pd.concat(compared, ignore_index=True),
        "facts": pd.DataFrame(facts, columns=["model", "classes", "licence", "seen"]),
    }


def told(call: Callable[[], T]) -> T:
    """Run a call about an outside model, whose errors are sentences for the user."""
    from training.outside import OutsideError

    try:
        return call()
    except OutsideError as error:
        raise ModelError(str(error)) from error
