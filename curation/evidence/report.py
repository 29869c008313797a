"""The page on a model and its data: missing results are computed, with progress, and kept; then it is written."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from curation.base import files
from curation.base.progress import Display
from curation.base.workspace import Workspace, source_of
from curation.evidence import words
from curation.evidence.class_overlap import class_overlap
from curation.evidence.estimated import PREFIX, network_file
from curation.evidence.evaluated_model import EvaluatedModel, open_evaluated_model
from curation.evidence.explanations import explanations
from curation.evidence.external_data import external_data, new_people, robustness
from curation.evidence.external_models import outside_models
from curation.evidence.groups import groups
from curation.evidence.people import newest_votes, people
from curation.evidence.store import Tables, file_digest, fingerprint, remembered
from curation.measure.batch import mark_of
from curation.models.verdict import warnings

if TYPE_CHECKING:
    from curation.base.settings import Settings
    from reports.findings import Finding

DEFAULT_IMAGES = 400
"""Held-out images that are judged: an accuracy of 0.75 then has an interval of 4 points either way, and about fifty
passes over them (corruption, occlusion) take minutes, not hours."""

QUESTIONS = {
    "people": ("People", "How accurate are people at labelling these images?"),
    "elsewhere": ("Other pictures", "How much must the model generalise?"),
    "outside": ("Other models", "How do other models for facial expressions compare?"),
    "groups": ("Gender, race, age", "Does the model, or the cleaning, have gender, racial or age biases?"),
    "learned": ("What it learned", "What features has it learned?"),
    "exclusive": ("One class or several", "Must the classes be mutually exclusive?"),
}
"""The questions in the order of the page: short title and full question."""

MISSING = {
    "people": "Not answered: there are no votes. Label a sample blind with curate review --blind, or give a table of "
    "votes (path and a column of counts per class): curate votes import FILE",
    "outside": "Not answered: no other model was named. The network inside the package fer needs no download: "
    "curate report --models --outside fer (also a MODEL.onnx, deepface, hsemotion, package.module:function)",
    "groups": "Not answered: nothing is known about the people in the images. Give a table with the columns path and "
    "gender, race, age, or a folder named as UTKFace's: curate report --models --attributes PATH; or let insightface "
    "estimate gender and age, where you have one of its packs: --attributes insightface:buffalo_l",
}
"""Questions that need an input, and how to provide it."""

NO_OTHER_DATA = (
    "On pictures of another source: not measured, none were given; name a folder with a folder per class: "
    "curate report --models --data DIR"
)


@dataclass(frozen=True)
class Inputs:
    """What the questions are answered from.

    Attributes:
        model: a run, or the beginning of its name; "" for the newest.
        on: the version whose held-out images and labels count.
        votes: a table of people's votes; None for the newest in the workspace, imported or from blind labelling.
        data: labelled pictures of another source, or "".
        attributes: a table or folder with attributes of the people in the images, insightface:PACK_OR_FOLDER, or "".
        outside: sources of other models.
        images: held-out images that are judged; 0 for all.
        seed: of every draw.

    """

    model: str = ""
    on: str = "cleaned"
    votes: Path | None = None
    data: str = ""
    attributes: str = ""
    outside: tuple[str, ...] = ()
    images: int = DEFAULT_IMAGES
    seed: int = 0

    def command(self, workspace: Workspace) -> str:
        """Return the command that makes the page again."""
        parts = ["curate", "report", "--models", self.model, "-w", str(workspace.root)]
        named = {"--votes": self.votes, "--data": self.data, "--attributes": self.attributes}
        for option, value in named.items():
            parts += [option, str(value)] if value else []
        for source in self.outside:
            parts += ["--outside", source]
        parts += ["--images", str(self.images)] if self.images != DEFAULT_IMAGES else []
        return shlex.join(parts)


def write_findings(workspace: Workspace, settings: Settings, inputs: Inputs, display: Display) -> Path:
    """Compute what is missing, write the page, and return its path; the caller holds no lock.

    Raises:
        ModelError: no such model, or an input cannot be used.

    """
    from reports.findings import findings_page

    inputs = replace(inputs, votes=inputs.votes or newest_votes(workspace))
    evaluated = open_evaluated_model(workspace, settings, inputs.model, inputs.on, inputs.images, inputs.seed, display)
    found = {name: _tables(evaluated, name, inputs, display) for name in QUESTIONS}
    answers = {name: words.ANSWERS[name](tables) for name, tables in found.items() if tables}
    path = workspace.reports / "models.html"
    with display.step("Writing the page"):
        html = findings_page(_laid_out(evaluated, inputs, found, answers))
        files.write_bytes(path, html.encode("utf-8"))
    return path


def _tables(evaluated: EvaluatedModel, name: str, inputs: Inputs, display: Display) -> Tables:
    """Return a section's tables, remembered or computed; {} where an input is missing."""
    folder = evaluated.workspace.findings / evaluated.run_dir.name
    if name == "elsewhere":
        with display.step("Corrupting images on purpose", "grades") as report:
            tables = remembered(
                folder / "robustness",
                _key(evaluated, "robustness", "challenges", evaluated.challenges.to_csv()),
                lambda: robustness(evaluated, report),
            )
        tables = tables | new_people(evaluated)
        if inputs.data:
            key = _key(evaluated, name, _stamp(inputs.data))
            tables = tables | remembered(folder / name, key, lambda: external_data(evaluated, inputs.data, display))
        return tables
    wanted, compute = _section(evaluated, name, inputs, display)
    if wanted is None:
        return {}
    return remembered(folder / name, _key(evaluated, name, wanted), compute)


def _section(
    evaluated: EvaluatedModel, name: str, inputs: Inputs, display: Display
) -> tuple[Any, Callable[[], Tables]]:
    """Return what a section is computed from (None where that is missing), and how."""
    votes, given = _stamp(str(inputs.votes)) if inputs.votes else None, inputs.attributes
    sections: dict[str, tuple[Any, Callable[[], Tables]]] = {
        "people": (votes, lambda: people(evaluated, inputs.votes or Path(), display)),
        "outside": (
            [*inputs.outside, _stamp(inputs.data)] if inputs.outside else None,
            lambda: outside_models(evaluated, inputs.outside, inputs.data, display),
        ),
        "groups": (
            _stamp(str(network_file(given)) if given.startswith(PREFIX) else given) or None,
            lambda: groups(evaluated, inputs.attributes, 2 * inputs.images, display),
        ),
        "learned": (
            "",
            lambda: _with_steps("Explaining predictions", display, lambda r: explanations(evaluated, r)),
        ),
        "exclusive": (
            votes or "",
            lambda: _with_steps("Comparing classes", display, lambda r: class_overlap(evaluated, inputs.votes, r)),
        ),
    }
    return sections[name]


def _with_steps(title: str, display: Display, compute: Callable[[Any], Tables]) -> Tables:
    with display.step(title, "steps") as report:
        return compute(report)


def _key(evaluated: EvaluatedModel, *parts: Any) -> str:
    return fingerprint(*evaluated.key, *parts)


def _stamp(source: str) -> list[Any]:
    """Return a stamp that changes with an input: its path and content; for a folder, the state of its files."""
    path = Path(source)
    if path.is_file():
        return [str(path.resolve()), file_digest(path)]
    if not (source and path.is_dir()):
        return [source] if source else []
    found = sorted(file for file in path.rglob("*") if file.is_file())
    marks = [(str(file), *mark_of(file.stat()), file.stat().st_size) for file in found]
    return [str(path.resolve()), fingerprint(marks)]


def _laid_out(
    evaluated: EvaluatedModel, inputs: Inputs, found: dict[str, Tables], answers: dict[str, words.SectionSummary]
) -> Any:
    from reports.findings import FindingsTables

    source = source_of(evaluated.workspace)
    tiles = [
        {
            "title": short,
            "figure": answers[name].figure if name in answers else "not yet",
            "note": answers[name].note if name in answers else "see below how to provide what it needs",
        }
        for name, (short, _) in QUESTIONS.items()
    ]
    config = evaluated.config
    facts = [
        ("Model", f"{evaluated.run_dir.name}, recipe {config['recipe']['name']}"),
        ("Trained on", f"{config['images']['train']:,} images, seed {config['seed']}"),
        ("Starting weights", f"{config['weights']}; licence: {config['weights_licence']}"),
        (
            "Judged on",
            f"{len(evaluated.frame):,} held-out images of version {evaluated.version.name}, "
            "none a copy of a training image",
        ),
        ("Manifest hash", evaluated.version.hash),
    ]
    named = replace(inputs, model=evaluated.run_dir.name)
    folder = evaluated.workspace.findings / evaluated.run_dir.name / "accuracy"
    judged = remembered(folder, _key(evaluated, "accuracy"), lambda: {"accuracy": _accuracy(evaluated)})["accuracy"]
    share = evaluated.frame["label"].value_counts(normalize=True)
    return FindingsTables(
        name=evaluated.run_dir.name,
        warnings=warnings(judged, {"the held-out images": (str(share.index[0]), float(share.iloc[0]))}),
        data=source,
        facts=facts,
        tiles=pd.DataFrame(tiles),
        findings=[_finding(name, found[name], answers.get(name)) for name in QUESTIONS],
        command=named.command(evaluated.workspace),
    )


def _accuracy(evaluated: EvaluatedModel) -> pd.DataFrame:
    """Return the accuracy on the held-out images as an evaluation's table has it."""
    from training.evaluate import metrics

    table = metrics(evaluated.labels, evaluated.probabilities, evaluated.classes)
    return table[table["metric"] == "accuracy"].assign(split="the held-out images", view="as given")


def _finding(name: str, tables: Tables, answer: words.SectionSummary | None) -> Finding:
    from reports.findings import Finding

    short, question = QUESTIONS[name]
    if answer is None:
        return Finding(name, short, question, missing=MISSING[name])
    sentences = list(answer.sentences)
    if name == "elsewhere" and "metrics" not in tables:
        sentences.append(NO_OTHER_DATA)
    return Finding(name, short, question, sentences, answer.limits, tables=tables)
