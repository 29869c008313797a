"""The tables of each question as sentences, with one figure for the summary."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from curation.evidence.store import Tables


@dataclass(frozen=True)
class SectionSummary:
    """A section in words: figure and note for the summary, sentences, and limits of the evidence."""

    figure: str
    note: str
    sentences: list[str]
    limits: list[str]


def people(tables: Tables) -> SectionSummary:
    """Summarise people's votes."""
    accuracy, kappa, beside = tables["accuracy"], tables["kappa"], tables["beside"]
    whole = accuracy[accuracy["class"] == "all"].iloc[0]
    classes = accuracy[accuracy["class"] != "all"].sort_values("crowd")
    worst, best = classes.iloc[0], classes.iloc[-1]
    agreed = kappa.iloc[0]
    sentences = [
        f"One person gives the data set's label {whole['person']:.0%} of the time; the most frequent of all answers is "
        f"the label for {_with_interval(whole, 'crowd')} of {whole['images']:,} images.",
        f"It is {best['crowd']:.0%} for {best['class']} and only {worst['crowd']:.0%} for {worst['class']}: the labels "
        "are in doubt, not only the answers.",
        f"Among themselves people agree with a Fleiss' kappa of {agreed['kappa']:.2f} ({agreed['low']:.2f} to "
        f"{agreed['high']:.2f})."
        if agreed["images"]
        else "How far people agree among themselves is not known: no image has two people's answers.",
    ]
    if len(beside):
        pairs = {(row["who"], row["with"]): row for row in beside.to_dict("records")}
        model, person = pairs["the model", "the crowd's majority"], pairs["one person", "the crowd's majority"]
        sentences.append(
            f"Where six of ten agree, a model that has not seen the image names their answer for {model['value']:.0%} "
            f"({model['low']:.0%} to {model['high']:.0%}) of {model['images']:,} images, and one person for "
            f"{person['value']:.0%}."
        )
    return SectionSummary(
        f"{whole['crowd']:.0%}",
        "of labels are people's most frequent answer",
        sentences,
        [
            "A person's own vote is part of the crowd's majority, so that people's agreement with it is a little "
            "too high.",
            "Voters could also say another emotion, unknown or no face; such votes count against the label.",
        ],
    )


def external_data(tables: Tables) -> SectionSummary:
    """Summarise other data and corruption."""
    curves = tables["curves"]
    clean = curves[curves["severity"] == 0].iloc[0]
    strong = curves[curves["severity"] == curves["severity"].max()].sort_values("change")
    worst = strong.iloc[0]
    bends = _weakest(tables["covariates"])
    sentences = [
        f"Of the corruptions {worst['corruption']} costs most: {-worst['change']:.0%} of accuracy at the strongest "
        f"grade ({-worst['change_high']:.0%} to {-worst['change_low']:.0%}), from {clean['accuracy']:.0%}.",
        *bends,
        *_costliest(tables.get("challenges")),
        *_new_people(tables),
    ]
    limits = [
        "What a challenge costs is measured where a check finds it; images that it misses count as without.",
        "A covariate that explains a gap need not cause it.",
    ]
    if "metrics" not in tables:
        return SectionSummary(f"{worst['change']:.0%}", f"under the strongest {worst['corruption']}", sentences, limits)
    metrics, gap, facts = tables["metrics"], tables["gap"], tables["facts"].iloc[0]
    accuracy = metrics[metrics["metric"] == "accuracy"]
    here, there = _row(accuracy, "data", "held out"), _row(accuracy, "data", facts["data"])
    first = (
        f"On {facts['data']} ({facts['images']:,} faces of another source, {facts['found']:,} of them found and "
        f"aligned) accuracy is {_with_interval(there, 'estimate')}, against {_with_interval(here, 'estimate')} on "
        "held-out images of the same source."
    )
    return SectionSummary(
        f"{there['estimate']:.0%}",
        f"right on {facts['data']}, {here['estimate']:.0%} here",
        [first, _gap(gap), *sentences],
        limits,
    )


def _new_people(tables: Tables) -> list[str]:
    """Compare accuracy on people whom the model has seen in training with that on others."""
    if "new_people" not in tables:
        return []
    rows, said = tables["new_people"], []
    for data, whom in (("new people", "people who are not in train"), ("people in train", "people who are")):
        if data in set(rows["data"]):
            row = _row(rows, "data", data)
            said.append(f"{_with_interval(row, 'estimate')} on {row['images']:,} held-out images of {whom}")
    return [f"By person, accuracy is {' and '.join(said)}."]


def _gap(gap: pd.DataFrame) -> str:
    """Return what explains the gap between the held-out images and the others."""
    together = gap[gap["covariate"] == "all together"].iloc[0]
    single = gap[gap["covariate"] != "all together"].sort_values("explained", ascending=False).iloc[0]
    if together["gap"] <= 0:
        return "There is no gap to explain: accuracy on the other data is no lower."
    lost = (
        f"they lose {_points(together['explained'])} ({_points(together['low'])} to {_points(together['high'])}), "
        f"{together['share']:.0%} of the gap"
        if together["low"] > 0
        else f"they lose nothing distinguishable from chance ({_points(together['low'])} to "
        f"{_points(together['high'])})"
    )
    return (
        f"That is a gap of {_points(together['gap'])} points. Weight the held-out images to be like the others in "
        f"light, sharpness, size and pose of the face, and mix of classes, and {lost}. Taken singly, "
        f"{single['covariate']} costs most, {_points(single['explained'])}. The rest: other people, scenes and labels."
    )


def _points(share: float) -> str:
    """Return points of accuracy."""
    return f"{100 * share:.1f}"


def _costliest(challenges: pd.DataFrame | None) -> list[str]:
    """Return the challenge with the highest cost, if any cost is certain."""
    if challenges is None or not (challenges["cost_low"] > 0).any():
        return []
    worst = challenges[challenges["cost_low"] > 0].iloc[0]
    return [
        f"Of the challenges, {worst['challenge'].lower()} costs most: {_points(worst['cost'])} points of accuracy "
        f"({_points(worst['cost_low'])} to {_points(worst['cost_high'])}) on the {worst['images']:,} images with it."
    ]


def _weakest(covariates: pd.DataFrame) -> list[str]:
    """Return the covariate along which accuracy differs most, if the intervals of its ends lie apart."""
    found = []
    for name, rows in covariates.groupby("covariate", sort=False):
        low, high = rows.iloc[rows["accuracy"].argmin()], rows.iloc[rows["accuracy"].argmax()]
        if low["high"] < high["low"]:
            found.append((high["accuracy"] - low["accuracy"], str(name), low, high))
    if not found:
        return [
            "Along no single covariate do the best and the worst fifth of the images differ beyond their intervals."
        ]
    _, name, low, high = max(found, key=lambda one: one[0])
    return [
        f"By {name}, accuracy runs from {low['accuracy']:.0%} (values {low['left']:.3g} to {low['right']:.3g}) to "
        f"{high['accuracy']:.0%} ({high['left']:.3g} to {high['right']:.3g})."
    ]


def outside(tables: Tables) -> SectionSummary:
    """Summarise the comparison with other models."""
    pairs, facts = tables["pairs"], tables["facts"].set_index("model")
    sentences = []
    for row in pairs[pairs["metric"] == "accuracy"].to_dict("records"):
        better = (
            "ours is better" if row["low"] > 0 else "theirs is better" if row["high"] < 0 else "no clear difference"
        )
        sentences.append(
            f"{row['model']} on {row['data']} ({row['images']:,} images): {row['first']:.1%}, ours "
            f"{row['second']:.1%}; "
            f"difference {row['difference']:+.1%} ({row['low']:+.1%} to {row['high']:+.1%}), {better}."
        )
    for name, seen in facts["seen"].items():
        sentences.append(f"Has {name} seen this data? {seen[:1].upper()}{seen[1:]}.")
    first = pairs[pairs["metric"] == "accuracy"].iloc[0]
    return SectionSummary(
        f"{first['second']:.0%}",
        f"ours, on {first['data']} images; {first['model']}: {first['first']:.0%}",
        sentences,
        [
            "A model that was trained on these very images and labels remembers them: its figure here is no "
            "generalisation. Compare on data of another source.",
            "Their other classes are left out and their probabilities scaled up, which helps them.",
        ],
    )


def groups(tables: Tables) -> SectionSummary:
    """Summarise which groups are treated differently."""
    model, cleaning, facts = tables["model"], tables["cleaning"], tables["facts"].iloc[0]
    differing, cleaned = model[model["differs"]], cleaning[cleaning["differs"]]
    sentences = [
        f"{facts['images']:,} faces of {facts['source']} with known attributes; groups below thirty images are "
        "not shown.",
        *_differences(differing, "the model"),
        *_differences(cleaned, "the cleaning"),
    ]
    limits = [
        "A difference between groups may come from the pictures (age, pose, light, what people do in them), not from "
        "the model.",
        "Groups are as the source names them.",
    ]
    if facts.get("estimated", False):
        limits.insert(
            0,
            "Gender and age are a network's estimates, which err, and err more for some groups than for others: a "
            "difference may be the estimate's, and what people call themselves is not known.",
        )
    if not facts["labelled"]:
        limits.insert(
            0,
            "These faces have no expression labels: accuracy, F1 and error rates by group are unknown, only how "
            "often each class is answered and how confident the model is. A label column in the table fills them in.",
        )
    if not facts["own"]:
        limits.append(
            "Whom the cleaning of the data set itself removes is not known, since its people are not; shown is what "
            "the same checks and policy do to the faces with attributes. Those have one label, so that nothing is "
            "relabelled."
        )
    return SectionSummary(
        str(len(differing) + len(cleaned)),
        f"figures differ between groups: {len(differing)} of the model, {len(cleaned)} of the cleaning",
        sentences,
        limits,
    )


def _differences(frame: pd.DataFrame, what: str) -> list[str]:
    """Return the largest difference and the number of all."""
    if frame.empty:
        return [f"In {what} no group differs from the rest at a false discovery rate of 5 %."]
    largest = frame.iloc[frame["difference"].abs().argmax()]
    metric = f"{largest['metric'].replace('_', ' ').replace('f1', 'F1')} of {largest['class']}".removesuffix(" of ")
    return [
        f"In {what}, {len(frame)} figures differ from the rest at a false discovery rate of 5 %; the largest: {metric} "
        f"in {largest['group']} ({largest['attribute']}, {largest['images']:,} images) is {largest['estimate']:.1%} "
        f"against {largest['rest']:.1%}."
    ]


def explanations(tables: Tables) -> SectionSummary:
    """Summarise what the model looks at."""
    falls, suspects = tables["falls"], tables["suspects"]
    whole = falls[falls["class"] == ""].sort_values("fall", ascending=False)
    first, second = whole.iloc[0], whole.iloc[1]
    sentences = [
        f"It needs the {first['region']} most: covered, the answer's probability falls by "
        f"{_with_interval(first, 'fall')}; then the {second['region']}, {second['fall']:.0%}.",
    ]
    for name, rows in falls[falls["class"] != ""].groupby("class", sort=False):
        top = rows.sort_values("fall", ascending=False).iloc[0]
        sentences.append(f"{str(name).capitalize()} is read most from the {top['region']} ({top['fall']:.0%}).")
    if len(suspects):
        names = ", ".join(suspects["class"])
        sentences.append(
            f"Suspected shortcut: for {names} the border of the image matters more than any part of the face. Look for "
            "marks, frames and crops that go with the class."
        )
    else:
        sentences.append("For no class does the border of the image matter more than the face.")
    return SectionSummary(
        str(first["region"]),
        f"matters most: {first['fall']:.0%} of the probability",
        sentences,
        [
            "Grad-CAM shows where evidence lies in a coarse map of a few cells per side, not which pixels.",
            "A covered region is itself unusual to the model; large regions cost more than small ones.",
        ],
    )


SHARED_ENOUGH = 0.1
"""From this share of images with two expressions on, soft labels are recommended: one image of ten."""


def class_overlap(tables: Tables) -> SectionSummary:
    """Summarise whether classes can be exclusive."""
    coverage, heads, answers, shared = (tables[name] for name in ("coverage", "heads", "answers", "shared"))
    whole = _row(coverage[coverage["class"] == ""], "method", "lac")
    accuracy = heads[heads["metric"] == "accuracy"].iloc[0]
    several = float(answers.loc[answers["yes"] > 1, "share"].sum())
    none = float(answers.loc[answers["yes"] == 0, "share"].sum())
    pair = shared.sort_values("share", ascending=False).iloc[0]
    sentences = [
        f"By the model, {pair['first']} and {pair['second']} share most: {pair['share']:.0%} of the images called "
        f"{pair['first']} have {pair['second']} as a second class of at least 25 %.",
        f"Sets that hold the label for nine images of ten (measured: {_with_interval(whole, 'coverage')}) hold one "
        f"class for {whole['single']:.0%} of the images and two for {whole['pair']:.0%}.",
        f"Sigmoid heads instead of softmax change accuracy by {accuracy['difference']:+.1%} ({accuracy['low']:+.1%} to "
        f"{accuracy['high']:+.1%}); they affirm two classes for {several:.1%} of the images and none for {none:.1%}.",
    ]
    people = None
    if "votes" in tables and len(tables["votes"]):
        people = float(tables["votes"]["any_second"].iloc[0])
        sentences.insert(
            0,
            f"At least two of ten people each see two of the classes in {people:.0%} of "
            f"{tables['votes']['voted'].iloc[0]:,} images.",
        )
    evidence = people if people is not None else float(whole["pair"] + whole["larger"])
    if evidence >= SHARED_ENOUGH:
        advice = (
            "No: keep one answer per face for counting, but train on soft labels where there are votes, and give sets "
            "instead of one class where one is not enough. Sigmoid heads are not needed for that."
            if several < SHARED_ENOUGH
            else "No: faces carry two of the classes often enough that sigmoid heads and soft labels are worth it."
        )
    else:
        advice = "For this data, yes: so few faces carry two classes that one answer per face loses little."
    return SectionSummary(
        f"{evidence:.0%}",
        "of the faces show two classes to people" if people is not None else "of the faces need a set of two or more",
        [advice, *sentences],
        [
            "Coverage is promised for images like those that calibrated the sets, not for another source.",
            "Both heads rest on features that were learned with softmax; a network trained with sigmoids from the "
            "start may differ.",
        ],
    )


def _row(frame: pd.DataFrame, column: str, value: str) -> pd.Series:
    """Return the first row that has ``value`` in ``column``."""
    return frame[frame[column] == value].iloc[0]


def _with_interval(row: pd.Series, name: str) -> str:
    return f"{row[name]:.0%} ({row['low']:.0%} to {row['high']:.0%})"


ANSWERS = {
    "people": people,
    "elsewhere": external_data,
    "outside": outside,
    "groups": groups,
    "learned": explanations,
    "exclusive": class_overlap,
}
