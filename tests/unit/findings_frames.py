"""A small page of six questions whose tables the training package itself has made of drawn answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
import pandas as pd

from curation.evidence import words
from curation.evidence.report import MISSING, QUESTIONS
from curation.evidence.store import Tables
from reports.findings import Finding, FindingsTables
from training import class_overlap, evaluate, explain, fairness, robustness
from training.arrays import Pixels, Probabilities
from training.model import Model

CLASSES = ("happy", "neutral", "sad", "surprise")
SIDE = 24
REGIONS = explain.face_regions((0.3, 0.4, 0.7, 0.4, 0.5, 0.6, 0.35, 0.78, 0.65, 0.78))
EVIL = "<script>alert(1)</script>"
"""A name that data may bring."""


@dataclass(frozen=True)
class Drawn:
    """Faces whose class is a light band, and a model that reads the band (through noise of its own)."""

    images: Pixels
    labels: np.ndarray
    classes: tuple[str, ...] = CLASSES

    def probabilities(self, images: Pixels) -> Probabilities:
        """Return the share of light in each of four bands, sharpened."""
        bands = images.reshape(len(images), 4, -1).astype(np.float64).mean(axis=2)
        raised = np.exp((bands - bands.max(axis=1, keepdims=True)) / 12)
        return np.asarray(raised / raised.sum(axis=1, keepdims=True), np.float32)


def drawn(count: int, seed: int, noise: float) -> Drawn:
    """Return ``count`` faces; the more noise (0..255), the more mistakes."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 4, count)
    bands = rng.normal(110, noise, (count, 4))
    bands[np.arange(count), labels] += 40
    images = np.repeat(bands, SIDE // 4, axis=1)[:, :, None] + rng.normal(0, 10, (count, SIDE, SIDE))
    return Drawn(np.clip(images, 0, 255).astype(np.uint8), labels)


def _thumbnails(faces: Drawn, rows: list[int]) -> pd.Series:
    return pd.Series([faces.images[row].tobytes() for row in rows], dtype=object)


def people_tables(faces: Drawn) -> Tables:
    """Return what votes say."""
    names = ("all", *CLASSES)
    shares = np.linspace(0.5, 0.9, len(names))
    accuracy = pd.DataFrame({"class": names, "images": 50, "person": shares - 0.1, "crowd": shares})
    accuracy = accuracy.assign(low=shares - 0.05, high=shares + 0.05, majority=shares + 0.02, with_majority=40)
    kappa = pd.DataFrame({"class": names, "images": 50, "kappa": shares, "low": shares - 0.1, "high": shares + 0.1})
    pairs = [("the model", "the given label"), ("the model", "the crowd's majority")]
    pairs += [("the given label", "the crowd's majority")]
    pairs += [("one person", "the given label"), ("one person", "the crowd's majority")]
    beside = pd.DataFrame(pairs, columns=["who", "with"]).assign(images=40, value=0.7, low=0.6, high=0.8)
    disputed = pd.DataFrame(
        {
            "path": [f"train/{EVIL}/1.jpg", "train/a_long_name_without_any_place_to_break_it/2.jpg"],
            "label": [EVIL, "sad"],
            "votes": ["happy 4, sad 4, other 2", "neutral 5, sad 5"],
            "thumbnail": _thumbnails(faces, [0, 1]),
        }
    )
    return {"accuracy": accuracy, "kappa": kappa, "beside": beside, "disputed": disputed}


def elsewhere_tables(faces: Drawn, other: Drawn) -> Tables:
    """Return corruption, covariates and the gap to noisier faces."""
    right, theirs = (each.probabilities(each.images).argmax(axis=1) == each.labels for each in (faces, other))
    values, others = robustness.covariates(faces.images), robustness.covariates(other.images)
    kinds = [
        frame.assign(**{"mix of classes": [CLASSES[label] for label in each.labels]})
        for frame, each in ((values, faces), (others, other))
    ]
    called = other.probabilities(other.images)
    both = [
        evaluate.metrics(each.labels, each.probabilities(each.images), CLASSES, replicates=50).assign(data=name)
        for name, each in (("held out", faces), ("elsewhere & co", other))
    ]
    wrong = [int(place) for place in np.flatnonzero(~theirs)[:3]]
    gallery = pd.DataFrame(
        {
            "path": [f"sad/{EVIL}{place}.jpg" for place in wrong],
            "label": [CLASSES[other.labels[place]] for place in wrong],
            "predicted": [CLASSES[called[place].argmax()] for place in wrong],
            "probability": [float(called[place].max()) for place in wrong],
            "thumbnail": _thumbnails(other, wrong),
        }
    )
    return {
        "curves": robustness.curves(faces.probabilities, faces.images, faces.labels),
        "covariates": robustness.by_covariate(right, values),
        "challenges": robustness.by_challenge(right, pd.DataFrame({"Watermark": np.arange(len(right)) % 4 == 0})),
        "metrics": pd.concat(both, ignore_index=True),
        "gap": robustness.explained_gap(right, theirs, kinds[0], kinds[1], replicates=50),
        "facts": pd.DataFrame({"data": ["elsewhere & co"], "images": [len(theirs)], "found": [len(theirs) - 1]}),
        "wrong": gallery,
    }


def outside_tables(faces: Drawn) -> Tables:
    """Return a worse model beside ours."""
    ours = faces.probabilities(faces.images)
    theirs = np.roll(ours, 1, axis=0) * 0.6 + ours * 0.4
    name = "their model"
    scored = [
        evaluate.metrics(faces.labels, said, CLASSES, replicates=50).assign(model=who, data="held out")
        for who, said in (("fast_1_seed0", ours), (name, theirs))
    ]
    pairs = evaluate.compare_pairs(faces.labels, theirs, ours, CLASSES, replicates=50)
    facts = [(name, "happy, sad, anger", "MIT", "trained on FER-2013: probably")]
    return {
        "metrics": pd.concat(scored, ignore_index=True),
        "pairs": pairs.assign(model=name, data="held out", images=len(faces.labels)),
        "facts": pd.DataFrame(facts, columns=["model", "classes", "licence", "seen"]),
    }


def groups_tables(faces: Drawn) -> Tables:
    """Return figures by gender and age; the cleaning removes one gender."""
    rng = np.random.default_rng(5)
    groups = pd.DataFrame(
        {
            "gender": rng.choice(["female", "male"], len(faces.labels)),
            "age": rng.choice(["0 to 9", "20 to 39"], len(faces.labels)),
        }
    )
    flags = pd.DataFrame({"removed": (groups["gender"] == "male") & (rng.random(len(groups)) < 0.5)})
    said = faces.probabilities(faces.images)
    facts = {"source": EVIL, "images": len(groups), "found": len(groups), "labelled": True, "own": False}
    return {
        "model": fairness.by_group(groups, said, CLASSES, faces.labels, replicates=50),
        "cleaning": fairness.rates_by_group(groups, flags.assign(relabelled=False), replicates=50),
        "facts": pd.DataFrame([facts | {"estimated": True}]),
    }


def learned_tables(faces: Drawn) -> Tables:
    """Return where it looks: at one map for all, and what covering regions costs."""
    some = faces.images[:40]
    labels = faces.labels[:40]
    falls = explain.occlusion_by_region(cast(Model, faces), some, labels, REGIONS)
    maps = some.astype(np.float32) / 255
    called = faces.probabilities(some).argmax(axis=1)
    averages = explain.mean_maps(maps, labels, called, CLASSES, least=3)
    picture = explain.overlay(some[0], maps[0], 32)
    mass = explain.mass_by_region(maps, REGIONS).assign(given=[CLASSES[label] for label in labels])
    looked = mass.groupby("given", sort=False).mean().reset_index().melt("given", var_name="region", value_name="mass")
    single = {"label": "happy", "predicted": "sad", "probability": 0.8}
    single |= {"image": picture, "grad_cam": picture, "occlusion": picture}
    return {
        "averages": averages.assign(face=pd.Series([picture] * len(averages), index=averages.index, dtype=object)),
        "falls": falls,
        "mass": looked,
        "singles": pd.DataFrame([single]),
        "suspects": explain.shortcut_suspects(falls),
    }


def exclusive_tables(faces: Drawn) -> Tables:
    """Return shared probability, sets of classes and two heads."""
    said, half = faces.probabilities(faces.images), len(faces.labels) // 2
    sets = {
        method: class_overlap.conformal_sets(said[:half], faces.labels[:half], said[half:], method)
        for method in ("lac", "aps")
    }
    covered = [
        class_overlap.coverage(found, faces.labels[half:], CLASSES).assign(method=name) for name, found in sets.items()
    ]
    logits = np.log(said.astype(np.float64) + 1e-6)
    heads = class_overlap.compare_heads(logits[:half], faces.labels[:half], logits[half:], faces.labels[half:], CLASSES)
    shared = class_overlap.shared_probability(said, CLASSES)
    gallery = pd.DataFrame({"first": ["sad"], "first_p": [0.5], "second": ["neutral"], "second_p": [0.4]})
    return {
        "shared": shared,
        "coverage": pd.concat(covered, ignore_index=True),
        "sets": class_overlap.set_counts(sets["lac"], CLASSES),
        "heads": heads.compared,
        "answers": heads.answers,
        "gallery": gallery.assign(path=f"test/sad/{EVIL}.jpg", label="sad", thumbnail=_thumbnails(faces, [3])),
        "votes": shared.assign(any_second=0.3, voted=50),
    }


def section_tables() -> dict[str, Tables]:
    """Return the tables of every question."""
    faces, other = drawn(160, 0, 18.0), drawn(80, 1, 34.0)
    return {
        "people": people_tables(faces),
        "elsewhere": elsewhere_tables(faces, other),
        "outside": outside_tables(faces),
        "groups": groups_tables(faces),
        "learned": learned_tables(faces),
        "exclusive": exclusive_tables(faces),
    }


def page_of(sections: dict[str, Tables]) -> FindingsTables:
    """Return the page of some questions' tables; a question without any says how to provide what it needs."""
    answers = {name: words.ANSWERS[name](tables) for name, tables in sections.items()}
    tiles = [
        {"title": short, "figure": answers[name].figure, "note": answers[name].note}
        if name in answers
        else {"title": short, "figure": "not yet", "note": "see below"}
        for name, (short, _) in QUESTIONS.items()
    ]
    findings = [
        Finding(name, short, question, answers[name].sentences, answers[name].limits, tables=sections[name])
        if name in answers
        else Finding(name, short, question, missing=MISSING.get(name, "Not asked."))
        for name, (short, question) in QUESTIONS.items()
    ]
    return FindingsTables(
        name=f"fast_{EVIL}_seed0",
        data=f"/data/{EVIL}",
        facts=[("Model", f"fast {EVIL}")],
        tiles=pd.DataFrame(tiles),
        findings=findings,
        command="curate report --models fast_1_seed0",
    )
