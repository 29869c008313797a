"""What was found and decided, as small tables and sentences for terminal and report: pure functions on tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from curation.base.classes import in_order
from curation.base.frames import is_in, rows_of
from curation.base.issues import Issues
from curation.base.reading import refusing
from curation.base.tables import EVIDENCE, MEND_EVIDENCE, TableError, facts
from curation.checks import registry
from curation.decisions.replay import COLUMN_SET, HELD, PERSON_PREFIX

if TYPE_CHECKING:
    from curation.decisions.log import Entry

COPY_CHECKS = ("exact_duplicate", "near_duplicate", "label_conflict", "split_leak")
"""Checks whose issues come in groups of copies; the report shows them as groups, not one by one."""

GROUP_CHECKS = (*COPY_CHECKS, "subject_leak", "same_session")
"""Checks whose issues come in groups: of copies, or of one person."""

LABEL_CHECKS = ("mislabelled", "ambiguous")
"""Checks that need a judgement of labels."""

JUDGE_LABELS = "curate check mislabelled ambiguous --labels fast"
"""Command that judges labels."""

_HOW_TO_RUN = {
    **dict.fromkeys(LABEL_CHECKS, JUDGE_LABELS),
    "overlap": "curate overlap OTHER_DATA",
    **dict.fromkeys(("subject_leak", "subject_shift"), "curate check subject_leak --identity dlib"),
    **dict.fromkeys(
        ("occluded_face", "non_human_face", "watermark", "outlier", "rare"), "curate check watermark --embed"
    ),
}

FINDINGS = ("peer", "version", "path", "check", "score", "is_issue", "group", "evidence")
"""Columns of peers' issue rows."""

_SPLIT_ORDER = ("train", "validation", "test")
_TOTAL = "all"
NO_LABEL = "no label"
"""Stands for the class of images without a label in tables and on pages."""

_MEASURE_WORDS = {
    "brightness_p95": "brightness of the lightest parts",
    "brightness_p05": "brightness of the darkest parts",
    "contrast": "contrast",
    "entropy": "entropy in bits",
    "log10_relative_sharpness": "fine detail relative to contrast (log10)",
    "size_relative_to_median": "size relative to the median",
    "face_score": "face score",
    "second_face_score": "score of a second face",
    "face_size": "face size as a share of the side",
    "distance_from_centre": "distance from the centre",
    "share_outside": "share of the face outside",
    "angle_relative_to_limit": "turn relative to the limit",
    "face_brightness_p95": "brightness of the face's lightest parts",
    "face_brightness_p05": "brightness of the face's darkest parts",
    "log10_edge_sharpness": "sharpness of edges (log10)",
    "share_missing": "share of the face that is missing",
    "score_gained_by_turning": "face score gained by turning the picture",
    "unlike_a_person": "how little it looks like a person's face",
    "log_distance_from_the_nearest_faces": "distance from the nearest faces (log)",
}


def before_after(raw: pd.DataFrame, cleaned: pd.DataFrame) -> pd.DataFrame:
    """Return the images by split and class in two manifests, as on the deck's slides "Before" and "After".

    Args:
        raw: manifest before cleaning.
        cleaned: manifest after it; only kept images count, under the label they now have.

    Returns:
        columns version ("before", "after"), split (the last one is "all"), one column per class (int64), all (int64)
        and share (the split's share of all images, 0..1). The name of a class that is also a column's gets the suffix
        " (class)".

    """
    labels = in_order([*raw["label"].unique(), *cleaned["label"].unique()])
    reserved = {"version", "split", _TOTAL, "share"}
    names = {label: f"{label} (class)" if label in reserved else label or NO_LABEL for label in labels}
    parts = []
    for version, frame in (("before", raw), ("after", cleaned)):
        kept, splits = frame[frame["status"] == "kept"], _ordered_splits(frame["split"])
        counts = kept.groupby(["split", "label"]).size().unstack(fill_value=0)
        counts = counts.reindex(index=splits, columns=labels, fill_value=0)
        if splits != [""]:
            counts.loc[_TOTAL] = counts.sum()
        else:
            counts.index = pd.Index([_TOTAL])
        totals = counts.sum(axis=1)
        table = counts.rename(columns=names).astype("int64")
        table[_TOTAL] = totals.astype("int64")
        table["share"] = totals / max(len(kept), 1)
        table.insert(0, "split", list(counts.index))
        table.insert(0, "version", version)
        parts.append(table)
    result = pd.concat(parts, ignore_index=True)
    result.columns.name = None
    return result


def left_out(raw: pd.DataFrame, cleaned: pd.DataFrame) -> pd.DataFrame:
    """Return the share of each split and given class that the cleaned manifest leaves out.

    Returns:
        columns split, label, before, left_out (int64), share (left_out / before, 0..1); no rows for classes that a
        split lacks.

    """
    excluded = cleaned.loc[cleaned["status"] == "excluded", "path"]
    frame = raw.assign(gone=is_in(raw["path"], excluded), label=raw["label"].replace("", NO_LABEL))
    counts = frame.groupby(["split", "label"])["gone"].agg(["size", "sum"]).reset_index()
    counts.columns = pd.Index(["split", "label", "before", "left_out"])
    counts["share"] = counts["left_out"] / counts["before"]
    place = {
        "split": {split: n for n, split in enumerate(_ordered_splits(raw["split"]))},
        "label": {label: n for n, label in enumerate(in_order(frame["label"].unique()))},
    }
    return counts.sort_values(["split", "label"], key=lambda c: c.map(place[str(c.name)]), ignore_index=True)


def check_summary(issues: Issues) -> pd.DataFrame:
    """Return one row per check that was run, in the order of ``curation.checks.registry.names``.

    Returns:
        columns check, scored, issues, groups (int64), share (issues / scored, 0..1).

    """
    flagged = issues.flagged[["check", "group"]]
    grouped = flagged[flagged["group"] != ""]
    counts = pd.DataFrame(
        {
            "scored": pd.Series(issues.scored, dtype="int64"),
            "issues": flagged["check"].value_counts(),
            "groups": grouped.groupby("check")["group"].nunique(),
        }
    )
    counts.index = counts.index.astype(object)
    ordered = counts.reindex([name for name in registry.names(counts.index) if name in counts.index])
    ordered = ordered.fillna(0).astype("int64")
    ordered = ordered[ordered["scored"] > 0]
    ordered["share"] = ordered["issues"] / ordered["scored"]
    return ordered.rename_axis("check").reset_index()


def check_words(check: str) -> tuple[str, str]:
    """Return a check's title and explanation."""
    found = registry.CHECKS.get(check) or (registry.every().get(check) if check in registry.added() else None)
    if found is not None:
        return found.title, found.explanation
    return check.replace("_", " ").capitalize(), ""


def how_to_run(check: str) -> str:
    """Return the command that runs a check that was not run."""
    return _HOW_TO_RUN.get(check, f"curate check {check}")


@refusing(EVIDENCE, MEND_EVIDENCE, TableError)
def evidence_words(evidence: Mapping[str, Any], path: str = "") -> str:
    """Return an issue's evidence in words, without keys for machines (dhash, rank).

    ``path`` is the image's own, to recognise the best of a group of copies.

    Raises:
        TableError: it does not have the form that checks write.

    """
    if "error" in evidence:
        return f"cannot be decoded: {evidence['error']}"
    if "posterior" in evidence or "believed" in evidence:
        return _label_words(evidence)
    if "person" in evidence:
        return _person_words(evidence)
    if "measure" in evidence and "value" in evidence:
        return _measured_words(evidence)
    if "kind" in evidence:
        return _copy_words(evidence, path)
    if "same_session" in evidence:
        return f"{_ANOTHER_SHOT}: see {evidence['same_session']}"
    if "looks_like" in evidence:
        return _rare_words(evidence)
    if "mark" in evidence or "covered" in evidence:
        return _challenge_words(evidence)
    return ", ".join(f"{key} {value}" for key, value in evidence.items() if key not in ("dhash", "rank"))


def _person_words(evidence: Mapping[str, Any]) -> str:
    """Return who an image shows: "the same person as B, found: ...; 12 images in test and train"."""
    same = f"the same person as {evidence['of']}" if evidence.get("of") else "one person"
    told = f"{same}, {sure_words(evidence)}; {evidence['images']} images"
    if "splits" in evidence:
        return f"{told} in {_listed([str(split) or 'no split' for split in evidence['splits']])}"
    return f"{told}, all {evidence['labels'][0]}; {evidence['expected']:.2g} such people would be chance"


@refusing(EVIDENCE, MEND_EVIDENCE, TableError)
def sure_words(evidence: Mapping[str, Any]) -> str:
    """Return how certain it is that these are one person, in words."""
    how = {"given": "named by the source or a person", "found": "found", "perhaps": "perhaps"}.get(
        str(evidence.get("person")), ""
    )
    if "probability" not in evidence:
        return how
    return f"{how}: groups as sure as this are right in {evidence['probability']:.2%} of their pairs"


def measure_words(measure: str) -> str:
    """Return a measure's name in words."""
    return _MEASURE_WORDS.get(measure, measure.replace("_", " "))


def _measured_words(evidence: Mapping[str, Any]) -> str:
    value, measure = evidence["value"], str(evidence["measure"])
    words = f"{measure_words(measure)} {value:.3g}"
    if "threshold" not in evidence:
        return words
    side = "below" if value < evidence["threshold"] else "above"
    turn = f"; turn it by {evidence['turn_by']} degrees" if "turn_by" in evidence else ""
    return f"{words}, {side} the limit {evidence['threshold']:.3g}{turn}"


def _label_words(evidence: Mapping[str, Any]) -> str:
    says = f" ({evidence['says']})" if "says" in evidence else ""
    if "wrong" in evidence:
        return (
            f"labelled {evidence['given']}: wrong with probability {evidence['wrong']:.2f}, "
            f"{evidence['suggestion']} with {evidence['probability']:.2f}{says}"
        )
    return f"labelled {evidence['given']}: ambiguous with probability {evidence['ambiguous']:.2f}{says}"


_LOOKS_LIKE = {
    "outlier": "it looks like an outlier, no face like the others",
    "mislabelled": "its label is probably wrong",
    "rare face": "a rare face: no sign of a fault, worth keeping",
}


def _rare_words(evidence: Mapping[str, Any]) -> str:
    """Return how isolated an image is, and which of the three kinds it looks like."""
    looks = _LOOKS_LIKE.get(str(evidence["looks_like"]), str(evidence["looks_like"]))
    return (
        f"distance to its 10th neighbour {evidence['neighbour_distance']:.2f}, limit {evidence['threshold']:.2f}; "
        f"{looks}"
    )


_ANOTHER_SHOT = "another shot of the same session, no copy"


def _challenge_words(evidence: Mapping[str, Any]) -> str:
    """Return which mark is on a picture, or what covers a face, and where."""
    sure = f"probability {evidence['probability']:.2f}"
    if "covered" in evidence:
        beside = f"lies beside the {evidence['beside']}" if "beside" in evidence else "covers a part that is not known"
        return f"{'covers ' + ' and '.join(evidence['covered']) if evidence['covered'] else beside}, {sure}"
    return f"{evidence['mark']} {_place(evidence['box'])}, {evidence['how']}, {sure}"


def _place(box: Sequence[float]) -> str:
    """Return the position of a box's centre (x, y, width, height; fractions of the side) in words."""
    x, y = box[0] + box[2] / 2, box[1] + box[3] / 2
    words = [*(["top"] if y < 1 / 3 else ["bottom"] if y > 2 / 3 else [])]
    words += ["left"] if x < 1 / 3 else ["right"] if x > 2 / 3 else []
    return f"at the {' '.join(words)}" if words else "in the middle"


def _copy_words(evidence: Mapping[str, Any], path: str) -> str:
    session = evidence["kind"] == "session"
    parts = [_ANOTHER_SHOT if session else f"{evidence['kind']} copy"]
    if "of" in evidence and evidence["of"] == path:
        parts[0] = f"the best of its {evidence['kind']} copies"
    elif "of" in evidence:
        parts[0] += (": see " if session else " of ") + str(evidence["of"])
    if evidence.get("transform") not in (None, "", "none"):
        parts.append(str(evidence["transform"]))
    if "probability" in evidence:
        parts.append(f"probability {evidence['probability']:.2f}")
    for key in ("copies", "shots"):
        if key in evidence:
            parts.append(f"{evidence[key]} {key}")
    for key in ("labels", "splits"):
        if len(evidence.get(key, ())) > 1:
            parts.append(f"{key} " + " and ".join(map(str, evidence[key])))
    return ", ".join(parts)


def people_in_doubt(issues: pd.DataFrame) -> pd.DataFrame:
    """Return the images of people who may be one person in several splits: path, group, flagged.

    A group holds all of them; flagged images certainly have other pictures of the person in another split.
    """
    mine = issues[issues["check"].eq("subject_leak") & issues["evidence"].str.contains('"perhaps"', regex=False)]
    groups = [str(fact.get("perhaps", "")) for fact in facts(mine["evidence"])]
    found = pd.DataFrame({"path": mine["path"].to_numpy(), "group": groups, "flagged": mine["is_issue"].to_numpy()})
    return found[found["group"] != ""].reset_index(drop=True)


def outcomes(
    manifest: pd.DataFrame, issues: pd.DataFrame, entries: Sequence[Entry], review_checks: Sequence[str] = ()
) -> pd.DataFrame:
    """Return each image's outcome and the issue that counts as its cause.

    The cause is the issue behind the decision in force, or else the image's worst issue (lowest score, then the order
    of ``curation.checks.registry.names``); "" without issues.

    Args:
        manifest: the cleaned manifest.
        issues: the issues table.
        entries: the decisions in force, weakest first (see ``curation.decisions.replay.effective``).
        review_checks: checks that the policy leaves to a person.

    Returns:
        index path; columns label, split, outcome ("kept", "left out", "relabelled", "softened"), waits (bool: an issue
        is left to a person, or the brake held its exclusion back, while nobody has decided and the image was not left
        out for another reason), cause (a check's name or ""), reason.

    """
    frame = manifest.set_index("path")
    flagged = issues.loc[issues["is_issue"], ["path", "check", "score"]]
    place = flagged["check"].map({name: n for n, name in enumerate(registry.names(flagged["check"].unique()))})
    worst = flagged.assign(place=place).sort_values(["score", "place"], kind="stable").drop_duplicates("path")
    cause: dict[str, str] = dict(zip(worst["path"], worst["check"], strict=True))
    cause |= {entry.path: entry.issue.partition("#")[0] for entry in entries if entry.issue}
    by_person = {e.path for e in entries if e.actor.startswith(PERSON_PREFIX) and e.action not in COLUMN_SET}
    held = {entry.path for entry in entries if entry.action == "keep" and entry.value == HELD}
    doubtful = (set(flagged.loc[flagged["check"].isin(list(review_checks)), "path"]) | held) - by_person
    # the source may give soft labels of its own
    softened = frame["soft_label"].ne("") & is_in(frame.index, [e.path for e in entries if e.action == "soften"])
    changed = np.select(
        [frame["status"] == "excluded", frame["label"] != frame["original_label"], softened],
        ["left out", "relabelled", "softened"],
        "kept",
    )
    result = frame[["original_label", "split", "reason"]].rename(columns={"original_label": "label"})
    result["label"] = result["label"].replace("", NO_LABEL)
    causes = np.array([*cause.values(), ""], dtype=object)[rows_of(result.index, list(cause))]
    # images left out for another reason, such as a surplus copy, need no review
    still_open = (changed != "left out") | np.isin(causes, list(review_checks))
    waits = is_in(result.index, doubtful) & still_open
    return result.assign(outcome=changed, waits=waits, cause=causes)


def closing(
    images: pd.DataFrame,
    issues: Issues,
    manifest: pd.DataFrame,
    entries: Sequence[Entry],
    review_checks: Sequence[str] = (),
    states: pd.DataFrame | None = None,
) -> tuple[list[str], dict[str, Any]]:
    """Return what was found and decided, as sentences and as a JSON record.

    Args:
        images: the images table, or the raw manifest.
        issues: the issues table.
        manifest: the cleaned manifest.
        entries: the decisions in force.
        review_checks: checks that the policy leaves to a person.
        states: the :func:`outcomes` of these, if they are known.

    Returns:
        sentences, and a record with images, clean (images without any issue), kept, excluded, relabelled, softened,
        waiting, issues (check -> images), groups (check -> groups), excluded_by (check -> images), leaks_left (groups
        of copies with kept images in several splits), subject_leaks_left (the same for people), subject_doubts (the
        same for people who may be one) and emptied (splits without kept images).

    """
    rows = issues.rows
    states = outcomes(manifest, rows, entries, review_checks) if states is None else states
    found = check_summary(issues).set_index("check")
    by_outcome = states["outcome"].value_counts()
    dropped = states.loc[states["outcome"] == "left out", "cause"]
    kept = manifest.loc[manifest["status"] == "kept", ["path", "split"]]
    copies = rows[rows["is_issue"] & rows["check"].isin(["exact_duplicate", "near_duplicate"])]
    record = {
        "images": len(images),
        "clean": len(images) - rows.loc[rows["is_issue"] & (rows["check"] != "same_session"), "path"].nunique(),
        "kept": len(kept),
        "excluded": len(dropped),
        "relabelled": int(by_outcome.get("relabelled", 0)),
        "softened": int(by_outcome.get("softened", 0)),
        "waiting": int(states["waits"].sum()),
        "issues": {check: int(n) for check, n in found["issues"].items()},
        "groups": {check: int(found["groups"][check]) for check in found.index if check in GROUP_CHECKS},
        "excluded_by": {check: int(n) for check, n in dropped.value_counts().sort_index().items()},
        "leaks_left": _across_splits(kept, copies),
        "subject_leaks_left": _across_splits(kept, issues.groups("subject_leak")),
        "subject_doubts": _across_splits(kept, people_in_doubt(rows)),
        "emptied": sorted(set(manifest["split"].unique()) - set(kept["split"].unique())),
    }
    return _sentences(images, record), record


def _across_splits(kept: pd.DataFrame, members: pd.DataFrame) -> int:
    """Count the groups (path, group) of which kept images (path, split) lie in more than one split."""
    at = rows_of(members["path"], kept["path"])
    splits = kept["split"].iloc[at[at >= 0]].reset_index(drop=True)
    return int((splits.groupby(members["group"].to_numpy()[at >= 0]).nunique() > 1).sum())


def _sentences(images: pd.DataFrame, record: Mapping[str, Any]) -> list[str]:
    splits, classes = images["split"].nunique(), len(set(images["label"].unique()) - {""})
    where = f" in {counted(splits, 'split')}" if splits > 1 else ""
    lines = [
        f"{counted(record['images'], 'image')}{where}, {counted(classes, 'class', 'classes')}: "
        f"{record['clean']:,} passed every check."
    ]
    return [*lines, *_found_sentences(record), *_decided_sentences(record)]


def _found_sentences(record: Mapping[str, Any]) -> list[str]:
    copies = [
        f"{record['issues'][check]:,} {words} in {counted(record['groups'][check], 'group')}"
        for check, words in (
            ("exact_duplicate", "exact copies"),
            ("near_duplicate", "near copies"),
            ("label_conflict", "copies under different labels"),
            ("split_leak", "copies across splits"),
        )
        if record["issues"].get(check)
    ]
    single = [(check, n) for check, n in record["issues"].items() if n and check not in GROUP_CHECKS]
    single.sort(key=lambda item: -item[1])
    lines = [f"Copies found: {_listed(copies)}."] if copies else ["No copies were found."]
    if record["issues"].get("subject_leak"):
        people = counted(record["groups"]["subject_leak"], "person", "people")
        lines.append(f"In several splits: {people}, {counted(record['issues']['subject_leak'], 'image')}.")
    if record["issues"].get("same_session"):
        shots, sessions = record["issues"]["same_session"], record["groups"]["same_session"]
        told = f"{counted(shots, 'image')} of {counted(sessions, 'session')}"
        lines.append(f"Shots of one session, alike but no copies: {told}; they stay.")
    if single:
        named = [f"{check_words(check)[0].lower()} ({n:,})" for check, n in single]
        lines.append(f"Found in single images: {_listed(named)}.")
    return lines


def _decided_sentences(record: Mapping[str, Any]) -> list[str]:
    causes = sorted(record["excluded_by"].items(), key=lambda item: (-item[1], item[0]))
    why = _listed([f"{check_words(check)[0].lower() if check else 'by hand'} ({n:,})" for check, n in causes])
    line = f"Decided: {record['kept']:,} kept, {record['excluded']:,} left out" + (f" for {why}." if why else ".")
    changes = [f"{record[key]:,} {key}" for key in ("relabelled", "softened") if record[key]]
    if changes:
        line += f" Of the kept, {_listed(changes)}."
    lines = [line]
    if record["waiting"]:
        lines.append(f"{counted(record['waiting'], 'image')} should be looked at by a person.")
    for split in record["emptied"]:
        lines.append(f"No image of the split {split or 'without a name'!r} is kept.")
    if record["leaks_left"]:
        lines.append(f"{counted(record['leaks_left'], 'group')} of known copies still lie in more than one split.")
    elif record["groups"].get("split_leak") and not record["emptied"]:
        lines.append("No kept image has a known copy in another split any more.")
    if record["subject_leaks_left"]:
        people = counted(record["subject_leaks_left"], "person has", "people have")
        lines.append(f"{people} kept images in more than one split: curate split --by subject.")
    elif record["groups"].get("subject_leak"):
        lines.append("No known person has kept images in more than one split any more.")
    if record["subject_doubts"]:
        people = counted(record["subject_doubts"], "group of people who are", "groups of people who are")
        lines.append(
            f"{people} perhaps one person in several splits should be looked at by a person: "
            "curate review --check subject_leak."
        )
    return lines


def side_by_side(issues: pd.DataFrame, findings: pd.DataFrame) -> pd.DataFrame:
    """Compare what peers flag with what our checks flag.

    Args:
        issues: the issues table.
        findings: issue rows of peers: peer, version and the issues table's columns.

    Returns:
        columns check, title, peer (with its version), both, ours_only, peer_only (images): a row per check and peer.

    """
    if findings.empty:
        return pd.DataFrame(columns=["check", "title", "peer", "both", "ours_only", "peer_only"])
    asked = issues["is_issue"] & issues["check"].isin(findings["check"].unique())
    ours = issues[asked].groupby("check")["path"].agg(set).to_dict()
    rows = []
    for (check, peer, version), said in findings.groupby(["check", "peer", "version"], sort=False):
        mine, theirs = ours.get(check, set()), set(said.loc[said["is_issue"], "path"])
        numbers = [len(mine & theirs), len(mine - theirs), len(theirs - mine)]
        rows.append([check, check_words(str(check))[0], f"{peer} {version}", *numbers])
    frame = pd.DataFrame(rows, columns=["check", "title", "peer", "both", "ours_only", "peer_only"])
    place = {name: n for n, name in enumerate(registry.names(frame["check"]))}
    ordered = frame.assign(place=frame["check"].map(place)).sort_values(["place", "peer"], ignore_index=True)
    return ordered.drop(columns="place")


def _ordered_splits(splits: pd.Series) -> list[str]:
    known = set(splits.unique())
    return [*(s for s in _SPLIT_ORDER if s in known), *sorted(known - set(_SPLIT_ORDER))]


def counted(number: int, singular: str, plural: str = "") -> str:
    """Return a number with its noun."""
    return f"{number:,} {singular if number == 1 else plural or singular + 's'}"


def _listed(items: Sequence[str]) -> str:
    return " and ".join([", ".join(items[:-1]), items[-1]]) if len(items) > 1 else "".join(items)
