"""Judge the labels of a workspace: out-of-fold models, other opinions, neighbours, copies, answers -> one table.

Nothing is decided here: the table becomes issues (``mislabelled``, ``ambiguous``), on which a policy may act. The
inputs of the judge are stored too (``label_store``), so that answers teach it within a second, without a model.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from curation.base.arrays import Floats, Ints
from curation.base.files import write_json, write_table
from curation.base.progress import Display
from curation.base.settings import Settings
from curation.base.workspace import Workspace
from curation.decisions import log, manifest, replay
from curation.labels import jury, neighbours, noise, opinions, ranking, scores
from curation.labels import outcome as label_outcome
from curation.labels.judge import Judgement, judgement
from curation.labels.jury import Consensus
from curation.labels.outcome import LabelOutcome
from curation.labels.teach import GUESSED, Answers, TaughtJudge, teach
from curation.models import runs
from curation.pipeline import answers as people
from curation.pipeline.label_store import (
    DOUBT,
    REVISION,
    Memory,
    data_digest,
    is_judged,
    memory_of,
    read_labels,
    record_file,
    record_of,
    write_memory,
)

_NOTHING_TO_JUDGE = pd.DataFrame({name: pd.Series(dtype="str") for name in ("key", "label", "group", "kin")})

MODELS = "models"
"""Name of the out-of-fold models' opinion."""


_RATE_DRAWS = 100
"""Bootstrap samples for the interval of the expected errors."""

_PLANTED_SHARE = 0.1
"""Share of the undoubted labels that is flipped to measure how well flips are found."""

_WEAK_KAPPA = 0.4
"""Agreement up to here is at most fair (Landis & Koch, Biometrics 1977)."""


@dataclass(frozen=True)
class _Evidence:
    """The inputs of the judgement; arrays have the rows of the frame."""

    frame: pd.DataFrame
    classes: list[str]
    labels: Ints
    names: list[str]
    seen: list[str]
    said: Floats
    remarks: list[str]
    neighbours: Floats
    copies: Floats
    dynamics: Floats

    @property
    def groups(self) -> npt.NDArray[np.object_]:
        """(n,) names of groups of copies, "" for none."""
        return np.asarray(self.frame["group"], dtype=object)

    def deliberated(self, labels: Ints, groups: npt.ArrayLike, seed: int) -> Consensus:
        """Return the jury's consensus, with these as the given labels."""
        near = neighbours.share(self.neighbours)
        return jury.deliberate(self.names, self.said, labels, near, groups, kin=self.frame["kin"], seed=seed)


def judge(
    workspace: Workspace, images: pd.DataFrame, copies: pd.DataFrame, settings: Settings, display: Display
) -> None:
    """Judge every label of the raw version and write ``labels.parquet``; cached parts are reused.

    Classes that are too small for the folds are left out, with a note. If fewer than two remain, nothing is judged, and
    the record says why. The caller holds the lock and has committed the raw version.

    Args:
        workspace: that was scanned.
        images: the images table.
        copies: the readable images with their groups of copies (``curation.pipeline.steps.copy_graph``).
        settings: in force.
        display: shows the steps.

    Raises:
        ModelError: the recipe is unknown, or its models cannot be fitted.
        OpinionError: a requested opinion is not available.

    """
    raw = manifest.find(workspace, "raw")
    whole = runs.training_frame(workspace, raw, copies) if (images["label"] != "").any() else _NOTHING_TO_JUDGE
    frame, remarks = _with_enough(whole, settings.labels.folds, int((images["label"] == "").sum()))
    key = _key(raw.hash, whole, settings)
    data = data_digest(images)
    before = record_of(workspace)
    current = before.get("key") == key and before.get("data") == data
    if current and (workspace.labels.exists() or before.get("skipped")):
        learn(workspace, settings)
        return
    for sentence in remarks:
        display.note(sentence)
    if frame.empty:
        runs.require_recipe(settings.labels.recipe)
        workspace.labels.unlink(missing_ok=True)
        write_json(record_file(workspace), {"key": key, "data": data, "skipped": True, "remarks": remarks})
        return
    started = time.monotonic()
    evidence = _gathered(workspace, frame, settings, display)
    with display.step("Judging the labels", "steps"):
        consensus = evidence.deliberated(evidence.labels, evidence.groups, settings.seed)
        table = _table(evidence, consensus)
        facts = calibration_record(evidence, consensus, settings)
    near = neighbours.share(evidence.neighbours)
    record_file(workspace).unlink(missing_ok=True)  # if killed, labels are judged again
    write_memory(workspace, key, evidence.labels, consensus, near, evidence.dynamics)
    write_table(workspace.labels, table)
    facts |= {
        "key": key,
        "data": data,
        "revision": REVISION,
        "recipe": settings.labels.recipe,
        "classes": evidence.classes,
        "sharpness": consensus.sharpness,
        "remarks": [*remarks, *evidence.remarks, *_weakness(evidence)],
        "seconds": round(time.monotonic() - started, 1),
        "accuracy": float((evidence.said[0].argmax(axis=1) == evidence.labels).mean()),
    }
    write_json(record_file(workspace), facts)
    learn(workspace, settings)


def _with_enough(labelled: pd.DataFrame, folds: int, unlabelled: int) -> tuple[pd.DataFrame, list[str]]:
    """Return the rows of classes with at least one picture per fold, and sentences on what is left out.

    Copies and shots of one session count as one picture: they stay in one fold.
    """
    unit = labelled["kin"].where(labelled["kin"] != "", labelled["key"])
    pictures = unit.groupby(labelled["label"]).nunique()
    small = pictures[pictures < folds]
    said = []
    if unlabelled:
        said.append(f"{unlabelled:,} images have no label to judge.")
    for label, number in small.items():
        said.append(
            f"The labels of class {label!r} were not judged: it has {number} different "
            f"{'picture' if number == 1 else 'pictures'}, and each of the {folds} models needs one to be tested on."
        )
    kept = labelled[~labelled["label"].isin(small.index)].reset_index(drop=True)
    if kept["label"].nunique() >= 2:
        return kept, said
    few = ", ".join(map(repr, kept["label"].unique())) or "none"
    return kept.iloc[:0], [*said, f"No label was judged: at least two classes are needed, and there is {few}."]


def _key(raw_hash: str, frame: pd.DataFrame, settings: Settings) -> str:
    """Return a fingerprint of everything that determines the judgement except people's answers."""
    chosen = settings.labels.model_dump(mode="json", exclude={"threads", "workers", "code", "teach"})
    groups = pd.util.hash_pandas_object(frame[["group", "kin"]], index=False).to_numpy().tobytes()
    marks = [opinions.mark(source) for source in settings.labels.opinions]
    parts = json.dumps([raw_hash, chosen, settings.seed, REVISION, marks]).encode()
    return hashlib.sha256(parts + groups).hexdigest()


def _gathered(workspace: Workspace, frame: pd.DataFrame, settings: Settings, display: Display) -> _Evidence:
    """Fit the models and gather all other opinions."""
    from training.held_out import held_out

    chosen = settings.labels
    options = runs.FitOptions(seed=settings.seed, threads=chosen.threads or None)
    found = runs.out_of_fold(
        workspace, chosen.recipe, "raw", options, display, folds=chosen.folds, workers=chosen.workers, frame=frame
    )
    files = [Path(path) for path in frame["path"]]
    heard = runs.translate_errors(lambda: held_out(found.table, files, workspace.folds, frame["sha256"].tolist()))
    place = {name: number for number, name in enumerate(found.classes)}
    labels = np.asarray(frame["label"].map(place), np.int64)
    models = heard.members.astype(np.float64).mean(axis=0)
    # shots of one session share mistakes, so none of them is a neighbour of another
    around = neighbours.nearest(heard.embedding, frame["kin"], found.table["fold"])
    with display.step("Gathering other opinions") as report:
        others = opinions.gather(
            chosen.opinions,
            frame[["key", "path", "sha256"]],
            found.classes,
            workspace.predictions / "opinions",
            code=chosen.code,
            download=settings.measure.allow_download,
            report=report,
        )
    return _Evidence(
        frame=frame,
        classes=found.classes,
        labels=labels,
        names=[MODELS, *(opinion.name for opinion in others)],
        seen=["", *(opinion.seen for opinion in others)],
        said=np.stack([models, *opinions.completed(others, models)]),
        remarks=[remark for opinion in others for remark in opinion.remarks],
        neighbours=neighbours.votes(around, labels, len(found.classes)),
        copies=neighbours.copies_votes(labels, frame["group"], len(found.classes)),
        dynamics=_learned(found.table, labels, workspace.folds),
    )


def _learned(table: pd.DataFrame, labels: Ints, cache_dir: Path) -> Floats:
    """Return area under the margin and times forgotten, (n, 2): means over an image's fits, NaN without a record."""
    from training.dynamics import dynamics

    total, number = np.zeros((len(labels), 2)), np.zeros((len(labels), 1))
    for fit in dynamics(table, cache_dir):
        mine = labels[fit.rows]
        total[fit.rows, 0] += scores.area_under_margin(mine, fit.logits)
        total[fit.rows, 1] += scores.forgetting(mine, fit.logits)
        number[fit.rows] += 1
    return np.divide(total, number, out=np.full_like(total, np.nan), where=number > 0)


def _table(evidence: _Evidence, consensus: Consensus) -> pd.DataFrame:
    """Return the labels table before any answer: the opinions and the judgement; one row per image."""
    names = np.asarray(evidence.classes, dtype=object)
    rows = np.arange(len(evidence.labels))
    labels, models = evidence.labels, evidence.said[0]
    table = evidence.frame[["key", "label", "group"]].rename(columns={"key": "path"})
    found = judgement(labels, consensus.posterior, consensus.sharpness)
    table = with_judgement(table, evidence.classes, found).assign(
        wrong_untaught=found.wrong,
        answers=0.0,
        self_confidence=1.0 - scores.self_confidence(labels, models),
        margin=1.0 - scores.normalised_margin(labels, models),
        neighbours=1.0 - neighbours.share(evidence.neighbours)[rows, labels],
        disagreement=scores.mutual_information(np.exp(consensus.calibrated)),
        negated_aum=-evidence.dynamics[:, 0],
        forgetting=evidence.dynamics[:, 1],
        says=_words(evidence, names),
    )
    for name, said in zip(evidence.names, evidence.said, strict=True):
        table[DOUBT + name] = 1.0 - said[rows, labels]
    return table.reset_index(drop=True)


def with_judgement(table: pd.DataFrame, classes: Sequence[str], found: Judgement) -> pd.DataFrame:
    """Return the labels table with the judgement of every label."""
    names = np.asarray(classes, dtype=object)
    rounded = found.posterior.round(4).tolist()
    return table.assign(
        wrong=found.wrong,
        ambiguous=found.ambiguous,
        suggestion=names[found.suggestion],
        suggestion_right=found.suggestion_right,
        posterior=[json.dumps(dict(zip(classes, row, strict=True))) for row in rounded],
    )


def _words(evidence: _Evidence, names: npt.NDArray[np.object_]) -> list[str]:
    """Return a sentence per image: what its neighbours, every opinion and its copies say."""
    near, asked = evidence.neighbours, evidence.neighbours.sum(axis=1).astype(np.int64)
    parts = [
        [f"{int(most)} of {total} nearest say {name}"] if total else []
        for name, most, total in zip(names[near.argmax(axis=1)], near.max(axis=1), asked, strict=True)
    ]
    for who, said in zip(evidence.names, evidence.said, strict=True):
        rest = 1.0 - said.sum(axis=1)
        chosen = np.where(rest > said.max(axis=1), "none of these", names[said.argmax(axis=1)])
        for words, name, sure in zip(parts, chosen, np.maximum(said.max(axis=1), rest), strict=True):
            words.append(f"{who} {name} {sure:.2f}")
    others = evidence.copies.copy()
    others[np.arange(len(others)), evidence.labels] = 0.0
    for row in np.flatnonzero(others.any(axis=1)):
        parts[row] += [
            f"{int(number)} {'copies' if number > 1 else 'copy'} labelled {name}"
            for name, number in zip(evidence.classes, others[row], strict=True)
            if number
        ]
    return ["; ".join(words) for words in parts]


def calibration_record(evidence: _Evidence, consensus: Consensus, settings: Settings) -> dict[str, Any]:
    """Return what was learned about the labels and the jury, and how well planted flips are found, by kind.

    The flips are counterfactual: 10 % of the labels that the jury does not doubt are judged as if they were others.
    """
    named = consensus.posterior[:, :-1]
    confused = scores.joint(evidence.labels, evidence.said[0])
    undoubted = named.argmax(axis=1) == evidence.labels
    planted = {}
    for kind in noise.KINDS:
        weights = noise.flip_weights(evidence.labels, kind, named, confused)
        labels = noise.plant(evidence.labels, weights, _PLANTED_SHARE, undoubted, settings.seed + 1)
        again = evidence.deliberated(labels, [""] * len(labels), settings.seed)
        doubt = 1.0 - again.posterior[np.arange(len(labels)), labels]
        flips = labels != evidence.labels
        planted[kind] = {
            "AP": round(ranking.average_precision(flips[undoubted], doubt[undoubted]), 4),
            "AUROC": round(ranking.auroc(flips[undoubted], doubt[undoubted]), 4),
        }
    draws = jury.rate_draws(consensus.patterns, _RATE_DRAWS, settings.seed)
    own = np.arange(len(evidence.labels)), evidence.labels
    return {
        "jury": [juror_record(*both) for both in zip(consensus.jurors, evidence.seen, strict=True)],
        "meaning": consensus.meaning.round(4).tolist(),
        "rates": dict(zip(evidence.classes, consensus.rates.round(4).tolist(), strict=True)),
        "rate_draws": draws.round(5).tolist(),
        "confident_joint": confused.round(5).tolist(),
        "expected_wrong": round(float((1.0 - consensus.posterior[own]).sum()), 1),
        "planted": planted,
    }


def juror_record(juror: jury.Juror, seen: str = "") -> dict[str, Any]:
    """Return what was learned about one opinion; ``seen`` is its source's statement on the data that it has seen."""
    numbers = {name: round(getattr(juror, name), 3) for name in ("weight", "seen", "skill", "slope")}
    return {
        "name": juror.name,
        **numbers,
        "confusion": juror.confusion.round(3).tolist(),
        "sentence": f"{juror.sentence()} Its source: {seen}." if seen else juror.sentence(),
    }


def _weakness(evidence: _Evidence) -> list[str]:
    """Return a sentence if no opinion agrees with the labels much better than chance."""
    labels, shares = evidence.labels, np.bincount(evidence.labels) / len(evidence.labels)
    found = []
    for said in evidence.said:
        chosen = said.argmax(axis=1)
        by_chance = float((np.bincount(chosen, minlength=len(shares)) / len(labels)) @ shares)
        found.append(((chosen == labels).mean() - by_chance) / max(1.0 - by_chance, 1e-9))
    if max(found) >= _WEAK_KAPPA:
        return []
    return [
        f"No opinion agrees with the labels much better than chance (Cohen's kappa {max(found):.2f} at best): use the "
        "suspects as an order of review, not as wrong labels; more images, answers or another --opinion help."
    ]


def learn(workspace: Workspace, settings: Settings) -> bool:
    """Teach the judge people's new answers; return whether the labels table changed."""
    memory = memory_of(workspace)
    if memory is None:
        return False
    given = people.collect_answers(workspace, memory.classes) if settings.labels.teach else people.NOBODY
    digest = hashlib.sha256(given.to_csv(index=False).encode("utf-8")).hexdigest()
    record = record_of(workspace)
    if record.get("answers") == digest or (given.empty and "answers" not in record):
        return False
    answers, who = people.as_answers(given, memory.table["path"], memory.classes)
    taught = teach(memory.known, answers)
    found = judgement(memory.known.labels, taught.posterior, memory.sharpness)
    counted = _answers_heard(memory, answers)
    table = with_judgement(memory.table, memory.classes, found).assign(answers=counted)
    write_json(record_file(workspace), record | {"answers": ""})  # if killed, the judge is taught again
    write_table(workspace.labels, table)
    record |= {"answers": digest, "taught": taught_record(taught, answers, who, found)}
    write_json(record_file(workspace), record)
    return True


def _answers_heard(memory: Memory, answers: Answers) -> Floats:
    """Return how many answers there are to each image and its copies, (n,)."""
    heard = np.bincount(answers.rows, weights=answers.weights, minlength=len(memory.known))
    groups = pd.Series(memory.known.groups)
    shared = pd.Series(heard).groupby(groups).transform("sum").to_numpy()
    return np.where(memory.known.groups != "", shared, heard)


def taught_record(taught: TaughtJudge, answers: Answers, who: Sequence[str], found: Judgement) -> dict[str, Any]:
    """Return what the answers changed, as a record with sentences."""
    number, images = float(answers.weights.sum()), len(np.unique(answers.rows))
    people_record = {name: round(float(value), 3) for name, value in zip(who, taught.reliability, strict=True)}
    sentences = []
    if number:
        sentences.append(
            f"{number:,.0f} answers on {images:,} images taught the judge: it now names another class for "
            f"{100 * taught.moved:.1f} % of all images."
        )
    sentences += [
        f"The answers of {name!r} fit the images no better than guesses and count as {GUESSED:.0f}: check some of them."
        for name, guesses in zip(who, taught.guesses, strict=True)
        if guesses
    ]
    return {
        "count": number,
        "images": images,
        "moved": round(taught.moved, 4),
        "reliability": people_record,
        "expected_wrong": round(float(found.wrong.sum()), 1),
        "sentences": sentences,
    }


def outcome_of(workspace: Workspace, version: manifest.Version) -> LabelOutcome | None:
    """Return how a version changed labels and how many errors it is expected to leave; None if none was judged."""
    record = record_of(workspace)
    if not is_judged(workspace):
        return None
    judged = read_labels(workspace)
    table = log.Log(workspace.decisions).table
    table = table[table["seq"] <= version.log_through]
    raw = manifest.rows(workspace, manifest.find(workspace, version.base))
    people = set(replay.people_rows(manifest.followed(workspace, table, raw).table)["path"])
    decided = replay.policy_rows(table)
    causes = dict(zip(decided["path"], decided["issue"], strict=True))
    rows = manifest.rows(workspace, version)
    if not rows["path"].isin(judged["path"]).any():
        return None
    rows["issue"] = rows["path"].map(lambda path: causes.get(path, ""))
    rows["by_person"] = rows["path"].isin(people)
    return label_outcome.outcome(rows, judged, np.asarray(record["rate_draws"]), record["rates"])


def outcome_lines(workspace: Workspace, version: manifest.Version) -> list[str]:
    """Return ``outcome_of`` a cleaned version in plain sentences; [] of a raw one, or where no label was judged."""
    found = outcome_of(workspace, version) if version.kind == "cleaned" else None
    return [] if found is None else found.lines()
