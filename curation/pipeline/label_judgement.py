"""Judge the labels of a workspace: out-of-fold models, neighbours, copies and an independent voter -> one table.

Nothing here decides anything: the table becomes issues (``mislabelled``, ``ambiguous``), which a policy may act on.
People's votes are read only to measure how good the judgement is.
"""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from curation.base.classes import in_order
from curation.base.errors import CurationError
from curation.base.files import read_json, read_table, write_json, write_table
from curation.base.progress import Display
from curation.base.settings import LabelSettings, Settings
from curation.base.workspace import Workspace
from curation.decisions import log, manifest, replay
from curation.labels import judge as judging
from curation.labels import neighbours, noise, ranking, scores, votes
from curation.labels import outcome as label_outcome
from curation.labels.judge import Judgement, Opinions
from curation.labels.outcome import LabelOutcome
from curation.models import runs

REVISION = 2
"""Raised whenever the judgement may change for the same data, recipe and settings."""

SCORES: dict[str, str] = {
    "wrong": "P(wrong), all opinions together, calibrated",
    "self_confidence": "self-confidence of the out-of-fold models (cleanlab)",
    "margin": "normalised margin of the out-of-fold models (cleanlab)",
    "neighbours": "neighbours in embedding space",
    "voter": "independent voter (may have seen this data)",
    "disagreement": "disagreement of the opinions",
    "resistance": "area under the margin while training, negated (AUM)",
    "forgetting": "times forgotten while training",
}
"""Columns of the labels table that rank suspects, the highest first, and what they are."""

_VOTER_SIDE = 64
"""Pixels that the voter's faces are read at."""


class LabellingError(CurationError):
    """Labels cannot be judged, or have not been."""


class NotJudgedError(LabellingError):
    """The labels of these data cannot be judged: all else goes on without."""


@dataclass(frozen=True)
class _Evidence:
    """What the judgement rests on, row by row those of the frame."""

    frame: pd.DataFrame
    classes: list[str]
    labels: scores.Whole
    model: scores.Floats
    voter: scores.Floats | None
    neighbours: scores.Floats
    copies: scores.Floats
    area: scores.Floats
    forgotten: scores.Floats

    @property
    def opinions(self) -> Opinions:
        """What is pooled: the models, and the voter where there is one."""
        if self.voter is None:
            return Opinions(("model",), self.model[None])
        return Opinions(("model", "voter"), np.stack([self.model, self.voter]))

    @property
    def noise_estimators(self) -> Opinions:
        """Who testifies to how noisy each class is: a single model has its neighbours as a second witness."""
        if self.voter is not None:
            return self.opinions
        return Opinions(("model", "neighbours"), np.stack([self.model, neighbours.share(self.neighbours)]))


def data_digest(images: pd.DataFrame) -> str:
    """Return a fingerprint of what labels are judged on: paths, contents and labels."""
    digest = hashlib.sha256()
    for column in ("path", "sha256", "label"):
        digest.update(pd.util.hash_pandas_object(images[column], index=False).to_numpy().tobytes())
    return digest.hexdigest()


def stored(workspace: Workspace, images: pd.DataFrame) -> pd.DataFrame | None:
    """Return the judgement in the workspace if it is of these very images and labels, else None."""
    record = read_json(workspace.labels.with_suffix(".json"))
    if record is None or not workspace.labels.exists() or record["data"] != data_digest(images):
        return None
    table = read_table(workspace.labels)
    table["believed"] = [json.loads(text) for text in table["believed"]]
    return table


def record_of(workspace: Workspace) -> dict[str, Any]:
    """Return how the labels were judged: recipe, opinions, rates, calibration, cost; {} where they were not."""
    return dict(read_json(workspace.labels.with_suffix(".json")) or {})


def judge(
    workspace: Workspace, images: pd.DataFrame, copies: pd.DataFrame, settings: Settings, display: Display
) -> None:
    """Judge every label of the raw version and write ``labels.parquet``; what is cached is not done again.

    The caller holds the lock and has committed the raw version.

    Args:
        workspace: that was scanned.
        images: the images table.
        copies: the readable images with their groups of copies (path, group).
        settings: in force.
        display: shows the steps.

    Raises:
        NotJudgedError: there are too few images of a class.
        ModelError: the recipe is unknown, or its models cannot be fitted.

    """
    chosen = settings.labels
    raw = manifest.find(workspace, "raw")
    frame = runs.training_frame(workspace, raw, copies)
    key = _key(raw.hash, frame, settings)
    before = record_of(workspace)
    if before.get("key") == key and before.get("data") == data_digest(images) and workspace.labels.exists():
        return
    started = time.monotonic()
    options = runs.FitOptions(seed=settings.seed, threads=chosen.threads or None)
    found = _out_of_fold(workspace, frame, chosen, options, display)
    with display.step("Judging the labels", "steps"):
        evidence = _evidence(workspace, frame, found, settings)
        judgement = judging.judge(
            evidence.labels,
            evidence.opinions,
            frame["group"],
            noise_estimators=evidence.noise_estimators,
            kinds=chosen.planted,
            seed=settings.seed,
        )
        table = _table(evidence, judgement)
    write_table(workspace.labels, table)
    facts = {
        "key": key,
        "data": data_digest(images),
        "recipe": chosen.recipe,
        "seconds": round(time.monotonic() - started, 1),
        "accuracy": float((evidence.model.argmax(axis=1) == evidence.labels).mean()),
        **calibration_record(evidence, judgement, settings),
    }
    write_json(workspace.labels.with_suffix(".json"), facts)


def _out_of_fold(
    workspace: Workspace, frame: pd.DataFrame, chosen: LabelSettings, options: runs.FitOptions, display: Display
) -> runs.OutOfFold:
    from training.data import DataError

    try:
        return runs.out_of_fold(
            workspace, chosen.recipe, "raw", options, display, folds=chosen.folds, workers=chosen.workers, frame=frame
        )
    except runs.ModelError as error:
        if isinstance(error.__cause__, DataError):
            raise NotJudgedError(str(error)) from error
        raise


def _key(raw_hash: str, frame: pd.DataFrame, settings: Settings) -> str:
    """Return a fingerprint of all that decides the judgement."""
    chosen = settings.labels.model_dump(mode="json", exclude={"threads", "workers"})
    groups = pd.util.hash_pandas_object(frame["group"], index=False).to_numpy().tobytes()
    parts = json.dumps([raw_hash, chosen, settings.seed, REVISION, _voter_name(settings)]).encode()
    return hashlib.sha256(parts + groups).hexdigest()


def _voter_name(settings: Settings) -> str:
    """Return the voter that would be asked, "" for none."""
    if not settings.labels.voter:
        return ""
    from training import fer_model

    return fer_model.NAME if fer_model.available() else ""


def _evidence(workspace: Workspace, frame: pd.DataFrame, found: runs.OutOfFold, settings: Settings) -> _Evidence:
    """Gather every opinion on the images of the out-of-fold run."""
    from training.held_out import held_out

    files = [Path(path) for path in frame["path"]]
    heard = runs.translate_errors(lambda: held_out(found.table, files, workspace.folds, frame["sha256"]))
    place = {name: number for number, name in enumerate(found.classes)}
    labels = frame["label"].map(place).to_numpy(dtype=np.int64)
    around = neighbours.nearest(heard.embedding, frame["group"], found.table["fold"])
    area, forgotten = _learned(found.table, labels, workspace.folds)
    return _Evidence(
        area=area,
        forgotten=forgotten,
        frame=frame,
        classes=found.classes,
        labels=labels,
        model=heard.members.astype(np.float64).mean(axis=0),
        voter=_voter_opinion(workspace, frame, files, found.classes, settings),
        neighbours=neighbours.votes(around, labels, len(found.classes)),
        copies=neighbours.copies_votes(labels, frame["group"], len(found.classes)),
    )


def _learned(table: pd.DataFrame, labels: scores.Whole, cache_dir: Path) -> tuple[scores.Floats, scores.Floats]:
    """Return area under the margin and times forgotten, each (n,), means over the fits that trained on an image.

    NaN where no fit was recorded.
    """
    from training.dynamics import dynamics

    total, number = np.zeros((2, len(labels))), np.zeros(len(labels))
    for fit in dynamics(table, cache_dir):
        mine = labels[fit.rows]
        total[0, fit.rows] += scores.area_under_margin(mine, fit.logits)
        total[1, fit.rows] += scores.forgetting(mine, fit.logits)
        number[fit.rows] += 1
    mean = np.divide(total, number, out=np.full_like(total, np.nan), where=number > 0)
    return mean[0], mean[1]


def _voter_opinion(
    workspace: Workspace, frame: pd.DataFrame, files: list[Path], classes: list[str], settings: Settings
) -> scores.Floats | None:
    """Return the voter's probabilities of these classes, (n, classes); None without a voter that knows them all.

    What it says once is kept as a predictions table.
    """
    name = _voter_name(settings)
    if not name:
        return None
    from training import fer_model

    column_of = votes.match_classes(list(fer_model.CLASSES), classes)
    if set(column_of) != set(classes):
        return None
    path = workspace.predictions / "fer_model.parquet"
    if path.exists():
        kept = read_table(path)
        if "sha256" in kept and kept["sha256"].equals(frame["sha256"]) and (kept["model"] == name).all():
            return np.asarray(kept[[column_of[c] for c in classes]], dtype=np.float64)
    from training.data import load_images
    from training.evaluate import predictions_table

    images = runs.translate_errors(lambda: load_images(files, _VOTER_SIDE, frame["sha256"]))
    said = fer_model.fer_probabilities(images)
    table = predictions_table(frame["key"].tolist(), said, fer_model.CLASSES, -1, name)
    table["sha256"] = frame["sha256"]
    write_table(path, table)
    return np.asarray(table[[column_of[c] for c in classes]], dtype=np.float64)


def _table(evidence: _Evidence, judgement: Judgement) -> pd.DataFrame:
    """Return the labels table: who says what, and what is made of it; one row an image."""
    names = np.asarray(evidence.classes, dtype=object)
    rows = np.arange(len(evidence.labels))
    labels, voter = evidence.labels, evidence.voter
    table = evidence.frame[["key", "label", "group"]].rename(columns={"key": "path"})
    table = table.assign(
        wrong=judgement.wrong,
        ambiguous=judgement.ambiguous,
        suggestion=names[judgement.suggestion],
        suggestion_right=judgement.suggestion_right,
        believed=[_as_json(evidence.classes, row) for row in judgement.posterior],
        self_confidence=1.0 - scores.self_confidence(labels, evidence.model),
        margin=1.0 - scores.normalised_margin(labels, evidence.model),
        disagreement=judgement.disagreement,
        resistance=-evidence.area,
        forgetting=evidence.forgotten,
        model_for=names[evidence.model.argmax(axis=1)],
        model_probability=evidence.model.max(axis=1),
        neighbours_for=names[evidence.neighbours.argmax(axis=1)],
        neighbours_votes=evidence.neighbours.max(axis=1).astype(np.int64),
        neighbours_asked=evidence.neighbours.sum(axis=1).astype(np.int64),
        copies_say=_copies_words(evidence),
    )
    table["neighbours"] = 1.0 - neighbours.share(evidence.neighbours)[rows, labels]
    table["voter"] = np.nan if voter is None else 1.0 - voter[rows, labels]
    table["voter_for"] = "" if voter is None else _first_choice(voter, names)
    table["voter_probability"] = 0.0 if voter is None else np.maximum(voter.max(axis=1), 1.0 - voter.sum(axis=1))
    return table.reset_index(drop=True)


def _as_json(classes: list[str], row: scores.Floats) -> str:
    return json.dumps({name: round(float(value), 4) for name, value in zip(classes, row, strict=True)})


def _first_choice(said: scores.Floats, names: Any) -> Any:
    """Return each row's likeliest class, or "none of these"."""
    none = 1.0 - said.sum(axis=1) > said.max(axis=1)
    return np.where(none, "none of these", names[said.argmax(axis=1)])


def _copies_words(evidence: _Evidence) -> list[str]:
    """Return how the copies of each image are labelled where they carry another label, else ""."""
    others = evidence.copies.copy()
    others[np.arange(len(others)), evidence.labels] = 0.0
    words = [""] * len(others)
    for row in np.flatnonzero(others.any(axis=1)):
        said = [
            f"{int(number)} {'copies' if number > 1 else 'copy'} labelled {name}"
            for name, number in zip(evidence.classes, others[row], strict=True)
            if number
        ]
        words[row] = ", ".join(said)
    return words


def calibration_record(evidence: _Evidence, judgement: Judgement, settings: Settings) -> dict[str, Any]:
    """Return what was learned of the labels, and how well planted flips are found again, kind by kind.

    The flips are counterfactual: 10 % of the labels that no opinion doubts are judged as if they had been others.
    """
    named = judgement.pooled / judgement.pooled.sum(axis=1, keepdims=True)
    confused = scores.joint(evidence.labels, evidence.model)
    rates = dict(zip(evidence.classes, judgement.rates.round(4).tolist(), strict=True))
    undoubted = named.argmax(axis=1) == evidence.labels
    planted = {}
    for kind in noise.KINDS:
        weights = noise.flip_weights(evidence.labels, kind, named, confused)
        labels = noise.plant(evidence.labels, weights, _PLANTED_SHARE, undoubted, settings.seed + 1)
        again = judging.judge(
            labels,
            evidence.opinions,
            [""] * len(labels),
            noise_estimators=evidence.noise_estimators,
            kinds=settings.labels.planted,
            seed=settings.seed,
        )
        flips = labels != evidence.labels
        planted[kind] = {
            "AP": round(ranking.average_precision(flips[undoubted], again.wrong[undoubted]), 4),
            "AUROC": round(ranking.auroc(flips[undoubted], again.wrong[undoubted]), 4),
        }
    return {
        "opinions": list(evidence.opinions.names),
        "rates": rates,
        "rate_draws": _rate_draws(evidence, settings.seed).round(5).tolist(),
        "slope": round(judgement.curve.slope, 4),
        "confident_joint": confused.round(5).tolist(),
        "expected_wrong": round(float(judgement.wrong.sum()), 1),
        "planted": planted,
    }


def _rate_draws(evidence: _Evidence, seed: int) -> scores.Floats:
    """Return the classes' rates of wrong labels in bootstrap samples of the images, (draws, classes)."""
    rng = np.random.default_rng(seed)
    noise_estimators, count = evidence.noise_estimators, len(evidence.labels)
    draws = []
    for _ in range(_RATE_DRAWS):
        rows = rng.integers(0, count, count)
        drawn = Opinions(noise_estimators.names, noise_estimators.said[:, rows])
        draws.append(judging.class_rates(evidence.labels[rows], drawn))
    return np.stack(draws)


_RATE_DRAWS = 100
"""Bootstrap samples behind the interval of the expected errors."""

_PLANTED_SHARE = 0.1
"""Of the undoubted labels, flipped to measure how well flips are found."""


def outcome_of(workspace: Workspace, version: manifest.Version) -> LabelOutcome | None:
    """Return what a version did about the labels, and what it is expected to leave; None where none were judged."""
    record = record_of(workspace)
    if not workspace.labels.exists() or "rate_draws" not in record:
        return None
    judged = read_table(workspace.labels)
    judged["believed"] = [json.loads(text) for text in judged["believed"]]
    table = log.Log(workspace.decisions).table
    table = table[table["seq"] <= version.log_through]
    raw = manifest.rows(workspace, manifest.find(workspace, version.base))
    people = set(replay.people_rows(manifest.followed(workspace, table, raw).table)["path"])
    decided = replay.policy_rows(table)
    causes = dict(zip(decided["path"], decided["issue"], strict=True))
    rows = manifest.rows(workspace, version)
    rows["issue"] = rows["path"].map(lambda path: causes.get(path, ""))
    rows["by_person"] = rows["path"].isin(people)
    return label_outcome.outcome(rows, judged, np.asarray(record["rate_draws"]), record["rates"])


def outcome_lines(workspace: Workspace, version: manifest.Version) -> list[str]:
    """Return ``outcome_of`` a cleaned version in plain sentences; [] of a raw one, or where no label was judged."""
    found = outcome_of(workspace, version) if version.kind == "cleaned" else None
    return [] if found is None else found.lines()


def evaluate(workspace: Workspace, file: Path) -> dict[str, pd.DataFrame]:
    """Measure every score against people's votes.

    Returns:
        "agreement" (``curation.labels.votes.agreement``), "scores" (``curation.labels.ranking.evaluate``: how well each
        ranks the labels that at most one of ten people gave), "ambiguous" (likewise for images without a majority
        whose label is not wrong), "calibration" (P(wrong) by bins: images, mean probability, share that is wrong,
        share that no strict majority confirms), "versions" (label accuracy of each version's kept images against the
        strict majority).

    Raises:
        LabellingError: labels have not been judged. VotesError: the votes cannot be used.

    """
    if not workspace.labels.exists():
        raise LabellingError(f"the labels of {workspace.root} have not been judged; run: curate check --labels fast")
    table = read_table(workspace.labels)
    classes = in_order(table["label"])
    said = _matched(votes.read_votes(file, classes), table)
    mine = table.set_index("path").loc[list(said.paths)].reset_index()
    labels = mine["label"].map({name: number for number, name in enumerate(classes)}).to_numpy(dtype=np.int64)
    wrong = votes.is_wrong(said, labels)
    ranked = {words: mine[name].to_numpy() for name, words in SCORES.items() if mine[name].notna().all()}
    unsettled = (votes.majority(said) < 0) & ~wrong
    return {
        "agreement": votes.agreement(said, labels),
        "scores": ranking.evaluate(wrong, ranked),
        "ambiguous": ranking.evaluate(unsettled, {"P(ambiguous)": mine["ambiguous"].to_numpy()}),
        "calibration": _calibration(wrong, votes.majority(said) != labels, mine["wrong"].to_numpy()),
        "versions": _versions(workspace, said),
    }


def _matched(said: votes.Votes, table: pd.DataFrame) -> votes.Votes:
    """Return the votes on images of the table.

    Raises:
        VotesError: there are none.

    """
    known = said.take(np.isin(said.paths.astype(str), table["path"].to_numpy(dtype=str)))
    if not len(known):
        raise votes.VotesError("none of the votes is on an image of this workspace; give paths as curate issues does")
    return known


def _calibration(wrong: scores.Flags, unconfirmed: scores.Flags, probability: scores.Floats) -> pd.DataFrame:
    """Return ten bins of P(wrong): images, mean probability, share that is wrong, share without a majority for it."""
    bins = np.minimum((probability * 10).astype(np.int64), 9)
    frame = pd.DataFrame({"bin": bins, "probability": probability, "wrong": wrong, "unconfirmed": unconfirmed})
    table = frame.groupby("bin").agg(
        images=("wrong", "size"),
        expected=("probability", "mean"),
        found=("wrong", "mean"),
        unconfirmed=("unconfirmed", "mean"),
    )
    return table.reset_index(drop=True)


def _versions(workspace: Workspace, said: votes.Votes) -> pd.DataFrame:
    """Return, for each version, how the labels of its kept images fit the strict majority of the votes."""
    chosen = pd.Series(votes.majority(said), index=said.paths)
    chosen = chosen[chosen >= 0]
    truth = pd.Series(np.asarray(said.classes, dtype=object)[chosen.to_numpy()], index=chosen.index)
    records = []
    for version in manifest.versions(workspace):
        rows = manifest.rows(workspace, version).set_index("path")
        kept = rows[rows["status"] == "kept"]
        judged = kept.loc[kept.index.isin(truth.index), "label"]
        right = judged == truth.loc[judged.index]
        estimate = ranking.share_interval(right.to_numpy())
        records.append(
            {
                "version": version.name,
                "policy": version.lineage.get("policy", {}).get("name", "") if version.kind == "cleaned" else "raw",
                "kept": len(kept),
                "kept_share": len(kept) / len(rows),
                "with_majority": len(judged),
                "accuracy": estimate[0],
                "low": estimate[1],
                "high": estimate[2],
            }
        )
    return pd.DataFrame(records)
