"""What was found and decided, as small tables and plain sentences: for the terminal, the summary and the report.

Pure functions on the house's tables. Nothing here decides anything; it only counts, picks examples and words.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from curation.base import tables
from curation.base.classes import in_order
from curation.decisions.replay import PERSON_PREFIX

if TYPE_CHECKING:
    from curation.decisions.log import Entry
    from curation.decisions.manifest import Version
    from curation.decisions.policy import Policy
    from reports.cleaning import CleaningTables, Provenance

Thumbnails = Callable[[Sequence[str]], Mapping[str, bytes]]
"""Gives path -> pixels of a square grey uint8 picture, row by row, of those among the paths that have one."""

COPY_CHECKS = ("exact_duplicate", "near_duplicate", "label_conflict", "split_leak")
"""Checks whose issues come in groups of copies; the report shows them as groups, not one by one."""

PICTURES_PER_CLASS = 12
"""Examples shown for each check and class: two rows on a laptop."""

_BLOCK = 16_384
"""Rows of evidence parsed at a time."""

MEMBERS_SHOWN = 24
"""Of a group of copies in the report: a chain of thousands would fill the page."""

GROUPS_SHOWN = {"label_conflict": 80, "split_leak": 40, "near_duplicate": 24, "exact_duplicate": 24}
"""Groups of copies shown, most serious kind first; a group is shown once, under its most serious kind."""

PEER_PICTURES = 8
"""Examples shown of what only a peer flags, for each check and peer: one row on a laptop."""

FINDINGS = ("peer", "version", "path", "check", "score", "is_issue", "group", "evidence")
"""Columns of peers' issue rows."""

DECISIONS_SHOWN = 60
"""Lines of each kind of decision in the page's table; ``curate log`` has them all."""

_BINS = 40
"""Bins of a histogram between its smallest and largest value."""

_SPLIT_ORDER = ("train", "validation", "test")
_TOTAL = "all"
NO_LABEL = "no label"
"""Stands in tables and on pages where a class would."""

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
}


def before_after(raw: pd.DataFrame, cleaned: pd.DataFrame) -> pd.DataFrame:
    """Return the images by split and class in two manifests, as the deck's slides "Before" and "After".

    Args:
        raw: manifest before cleaning.
        cleaned: manifest after it; only kept images count, under the label they now have.

    Returns:
        columns version ("before", "after"), split (the last one is "all"), one column a class (int64), all (int64)
        and share (the split's share of all images, 0..1). A class that is called like one of these columns gets
        " (class)" after its name.

    """
    labels = in_order([*raw["label"], *cleaned["label"]])
    splits = _ordered_splits(raw["split"])
    reserved = {"version", "split", _TOTAL, "share"}
    names = {label: f"{label} (class)" if label in reserved else label or NO_LABEL for label in labels}
    parts = []
    for version, frame in (("before", raw), ("after", cleaned)):
        kept = frame[frame["status"] == "kept"]
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
    """Return what share of each split and class the cleaned manifest leaves out, by the label the images came with.

    Returns:
        columns split, label, before, left_out (int64), share (left_out / before, 0..1); classes that a split lacks
        have no row.

    """
    excluded = set(cleaned.loc[cleaned["status"] == "excluded", "path"])
    frame = raw.assign(gone=raw["path"].isin(excluded), label=raw["label"].replace("", NO_LABEL))
    counts = frame.groupby(["split", "label"])["gone"].agg(["size", "sum"]).reset_index()
    counts.columns = pd.Index(["split", "label", "before", "left_out"])
    counts["share"] = counts["left_out"] / counts["before"]
    place = {
        "split": {split: n for n, split in enumerate(_ordered_splits(raw["split"]))},
        "label": {label: n for n, label in enumerate(in_order(frame["label"]))},
    }
    return counts.sort_values(["split", "label"], key=lambda c: c.map(place[c.name]), ignore_index=True)


def check_summary(issues: pd.DataFrame) -> pd.DataFrame:
    """Return one row a check that was run, in the order of ``tables.CHECK_NAMES``.

    Returns:
        columns check, scored, issues, groups (int64), share (issues / scored, 0..1).

    """
    flagged = issues.loc[issues["is_issue"], ["check", "group"]]
    grouped = flagged[flagged["group"] != ""]
    counts = pd.DataFrame(
        {
            "scored": issues["check"].value_counts(),
            "issues": flagged["check"].value_counts(),
            "groups": grouped.groupby("check", observed=True)["group"].nunique(),
        }
    )
    counts.index = counts.index.astype(object)
    ordered = counts.reindex([name for name in tables.CHECK_NAMES if name in counts.index])
    ordered = ordered.fillna(0).astype("int64")
    ordered["share"] = ordered["issues"] / ordered["scored"]
    return ordered.rename_axis("check").reset_index()


def check_words(check: str) -> tuple[str, str]:
    """Return a check's title and what it says, in plain words."""
    from curation.checks.registry import CHECKS

    if check in CHECKS:
        return CHECKS[check].title, CHECKS[check].explanation
    return check.replace("_", " ").capitalize(), ""


def evidence_words(evidence: Mapping[str, Any]) -> str:
    """Return an issue's evidence in words; keys that are meant for machines (dhash, rank) are left out."""
    if "error" in evidence:
        return f"cannot be decoded: {evidence['error']}"
    if "believed" in evidence:
        return _label_words(evidence)
    if "measure" in evidence and "value" in evidence:
        return _measured_words(evidence)
    if "kind" in evidence:
        return _copy_words(evidence)
    if "mark" in evidence or "covered" in evidence:
        return _challenge_words(evidence)
    return ", ".join(f"{key} {value}" for key, value in evidence.items() if key not in ("dhash", "rank"))


def _measured_words(evidence: Mapping[str, Any]) -> str:
    value, measure = evidence["value"], str(evidence["measure"])
    words = f"{_MEASURE_WORDS.get(measure, measure.replace('_', ' '))} {value:.3g}"
    if "threshold" not in evidence:
        return words
    side = "below" if value < evidence["threshold"] else "above"
    return f"{words}, {side} the limit {evidence['threshold']:.3g}"


def _label_words(evidence: Mapping[str, Any]) -> str:
    says = f" ({evidence['says']})" if "says" in evidence else ""
    if "wrong" in evidence:
        return (
            f"labelled {evidence['given']}: wrong with probability {evidence['wrong']:.2f}, "
            f"{evidence['suggestion']} with {evidence['probability']:.2f}{says}"
        )
    return f"labelled {evidence['given']}: ambiguous with probability {evidence['ambiguous']:.2f}{says}"


def _challenge_words(evidence: Mapping[str, Any]) -> str:
    """Return what lies over a picture or before a face, and where."""
    sure = f"probability {evidence['probability']:.2f}"
    if "covered" in evidence:
        return f"covers {' and '.join(evidence['covered']) or 'the face beside its parts'}, {sure}"
    return f"{evidence['mark']} {_place(evidence['box'])}, {evidence['how']}, {sure}"


def _place(box: Sequence[float]) -> str:
    """Return where the middle of a box (x, y, width, height, fractions) lies, in words."""
    x, y = box[0] + box[2] / 2, box[1] + box[3] / 2
    words = [*(["top"] if y < 1 / 3 else ["bottom"] if y > 2 / 3 else [])]
    words += ["left"] if x < 1 / 3 else ["right"] if x > 2 / 3 else []
    return f"at the {' '.join(words)}" if words else "in the middle"


def _copy_words(evidence: Mapping[str, Any]) -> str:
    parts = [f"{evidence['kind']} copy"]
    if "of" in evidence:
        parts[0] += " of " + str(evidence["of"])
    if evidence.get("transform") not in (None, "", "none"):
        parts.append(str(evidence["transform"]))
    if "probability" in evidence:
        parts.append(f"probability {evidence['probability']:.2f}")
    if "copies" in evidence:
        parts.append(f"{evidence['copies']} copies")
    for key in ("labels", "splits"):
        if len(evidence.get(key, ())) > 1:
            parts.append(f"{key} " + " and ".join(map(str, evidence[key])))
    return ", ".join(parts)


def outcomes(
    manifest: pd.DataFrame, issues: pd.DataFrame, entries: Sequence[Entry], review_checks: Sequence[str] = ()
) -> pd.DataFrame:
    """Return what became of each image and which issue counts as the cause.

    The cause is the issue that the decision in force rests on; without one it is the image's worst issue (lowest
    score, then the order of ``tables.CHECK_NAMES``); "" where nothing was found.

    Args:
        manifest: the cleaned manifest.
        issues: the issues table.
        entries: the decisions in force, weakest first (see ``curation.decisions.replay.effective``).
        review_checks: checks that the policy leaves to a person.

    Returns:
        index path; columns label, split, outcome ("kept", "left out", "relabelled", "softened"), waits (bool: an
        issue is left to a person, none has decided yet, and the image was not left out for another reason), cause (a
        check's name or ""), reason.

    """
    frame = manifest.set_index("path")
    flagged = issues.loc[issues["is_issue"], ["path", "check", "score"]].astype({"check": "str"})
    place = flagged["check"].map({name: n for n, name in enumerate(tables.CHECK_NAMES)})
    worst = flagged.assign(place=place).sort_values(["score", "place"], kind="stable").drop_duplicates("path")
    cause = worst.set_index("path")["check"].to_dict()
    cause |= {entry.path: entry.issue.partition("#")[0] for entry in entries if entry.issue}
    by_person = {entry.path for entry in entries if entry.actor.startswith(PERSON_PREFIX)}
    doubtful = set(flagged.loc[flagged["check"].isin(list(review_checks)), "path"]) - by_person
    # the source may give soft labels of its own
    softened = frame["soft_label"].ne("") & frame.index.isin([e.path for e in entries if e.action == "soften"])
    changed = np.select(
        [frame["status"] == "excluded", frame["label"] != frame["original_label"], softened],
        ["left out", "relabelled", "softened"],
        "kept",
    )
    result = frame[["original_label", "split", "reason"]].rename(columns={"original_label": "label"})
    result["label"] = result["label"].replace("", NO_LABEL)
    causes = pd.Series([cause.get(path, "") for path in result.index], index=result.index, dtype=object)
    # what was left out for another reason, a surplus copy for instance, need not be looked at
    still_open = (changed != "left out") | causes.isin(list(review_checks))
    waits = result.index.isin(list(doubtful)) & still_open
    return result.assign(outcome=changed, waits=waits, cause=causes)


def closing(
    images: pd.DataFrame,
    issues: pd.DataFrame,
    manifest: pd.DataFrame,
    entries: Sequence[Entry],
    review_checks: Sequence[str] = (),
) -> tuple[list[str], dict[str, Any]]:
    """Return what was found and decided: a few plain sentences, and the same as a record for machines.

    Args:
        images: the images table.
        issues: the issues table.
        manifest: the cleaned manifest.
        entries: the decisions in force.
        review_checks: checks that the policy leaves to a person.

    Returns:
        sentences, and a record with images, clean (images without any issue), kept, excluded, relabelled, softened,
        waiting, issues (check -> images), groups (check -> groups), excluded_by (check -> images) and leaks_left
        (groups of known copies that still lie in two splits among the kept images).

    """
    issues = _by_check(issues)
    states = outcomes(manifest, issues, entries, review_checks)
    found = check_summary(issues).set_index("check")
    by_outcome = states["outcome"].value_counts()
    dropped = states.loc[states["outcome"] == "left out", "cause"]
    record = {
        "images": len(images),
        "clean": len(images) - issues.loc[issues["is_issue"], "path"].nunique(),
        "kept": int((manifest["status"] == "kept").sum()),
        "excluded": len(dropped),
        "relabelled": int(by_outcome.get("relabelled", 0)),
        "softened": int(by_outcome.get("softened", 0)),
        "waiting": int(states["waits"].sum()),
        "issues": {check: int(n) for check, n in found["issues"].items()},
        "groups": {check: int(n) for check, n in found["groups"].items() if check in COPY_CHECKS},
        "excluded_by": {check: int(n) for check, n in dropped.value_counts().sort_index().items()},
        "leaks_left": _leaks_left(manifest, issues),
    }
    return _sentences(images, record), record


def _by_check(issues: pd.DataFrame) -> pd.DataFrame:
    """Return the issues with names of checks as categories: a column of a score of texts an image is costly to ask."""
    return issues.assign(check=pd.Categorical(issues["check"], categories=list(tables.CHECK_NAMES)))


def _leaks_left(manifest: pd.DataFrame, issues: pd.DataFrame) -> int:
    kept = manifest.loc[manifest["status"] == "kept", ["path", "split"]]
    copies = issues[issues["is_issue"] & issues["check"].isin(["exact_duplicate", "near_duplicate"])]
    splits = kept.merge(copies[["path", "group"]], on="path").groupby("group")["split"].nunique()
    return int((splits > 1).sum())


def _sentences(images: pd.DataFrame, record: Mapping[str, Any]) -> list[str]:
    splits, classes = images["split"].nunique(), len(set(images["label"]) - {""})
    where = f" in {_counted(splits, 'split')}" if splits > 1 else ""
    lines = [
        f"{_counted(record['images'], 'image')}{where}, {_counted(classes, 'class', 'classes')}: "
        f"{record['clean']:,} passed every check."
    ]
    return [*lines, *_found_sentences(record), *_decided_sentences(record)]


def _found_sentences(record: Mapping[str, Any]) -> list[str]:
    copies = [
        f"{record['issues'][check]:,} {words} in {_counted(record['groups'][check], 'group')}"
        for check, words in (
            ("exact_duplicate", "exact copies"),
            ("near_duplicate", "near copies"),
            ("label_conflict", "copies under different labels"),
            ("split_leak", "copies across splits"),
        )
        if record["issues"].get(check)
    ]
    single = [(check, n) for check, n in record["issues"].items() if n and check not in COPY_CHECKS]
    single.sort(key=lambda item: -item[1])
    lines = [f"Copies found: {_listed(copies)}."] if copies else ["No copies were found."]
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
        lines.append(f"{_counted(record['waiting'], 'image')} should be looked at by a person.")
    if record["leaks_left"]:
        lines.append(f"{_counted(record['leaks_left'], 'group')} of known copies still lie in more than one split.")
    elif record["groups"].get("split_leak"):
        lines.append("No kept image has a known copy in another split any more.")
    return lines


def provenance(
    source: str,
    version: Version,
    policy: Policy,
    left_out_files: Sequence[Mapping[str, str]] = (),
    warnings: Sequence[str] = (),
) -> Provenance:
    """Return where a cleaning report's figures come from and how to get them again.

    Args:
        source: where the data set was read from.
        version: the cleaned version that the report is about.
        policy: the policy in force.
        left_out_files: path and reason of files that ingest did not take.
        warnings: what ingest remarked.

    """
    from reports.cleaning import Provenance

    lineage = version.lineage
    return Provenance(
        source=source,
        version=version.name,
        manifest_hash=version.hash,
        created=version.created,
        policy=policy.name,
        policy_description=policy.description,
        review_checks=policy.review.checks,
        commands=(
            f"curate run {source} --policy {policy.name}",
            f"curate show {version.name}",
            "curate verify",
        ),
        tools={str(name): str(value) for name, value in lineage.get("tools", {}).items()},
        detector=json.dumps(lineage.get("detector", ""), ensure_ascii=False).strip('"'),
        settings=lineage.get("settings", {}),
        left_out=tuple((str(row["path"]), str(row["reason"])) for row in left_out_files),
        warnings=tuple(warnings),
    )


def cleaning_report_tables(
    issues: pd.DataFrame,
    entries: Sequence[Entry],
    raw: pd.DataFrame,
    cleaned: pd.DataFrame,
    origin: Provenance,
    thumbnails: Thumbnails,
    findings: pd.DataFrame | None = None,
    peer_pages: Sequence[str] = (),
    people: pd.DataFrame | None = None,
    label_sentences: Sequence[str] = (),
) -> CleaningTables:
    """Return the tables of the cleaning report (see ``reports.cleaning.CleaningTables`` for their columns).

    Args:
        issues: the issues table.
        entries: the decisions in force, weakest first (see ``curation.decisions.replay.effective``).
        raw: the manifest before cleaning.
        cleaned: the manifest after it.
        origin: what :func:`provenance` returns.
        thumbnails: gives the pictures of the images that are shown, and of no others.
        findings: issue rows of peers (see :func:`side_by_side`), if any were asked.
        peer_pages: pages that peers made themselves, relative to the report.
        people: figures of people's votes (see ``curation.labels.people.figures``), if there are any.
        label_sentences: what the version did about labels (``curation.pipeline.label_judgement.outcome_lines``).

    """
    from reports.cleaning import CleaningTables

    said = pd.DataFrame(columns=list(FINDINGS)).astype({"is_issue": bool}) if findings is None else findings
    issues = _by_check(issues)
    states = outcomes(cleaned, issues, entries, origin.review_checks)
    hashes = raw.set_index("path")["sha256"]
    shown = (_gallery(issues, states), _groups(issues, states), _peer_gallery(issues, said, states))
    pictures = thumbnails(sorted({path for frame in shown for path in frame["path"]}))
    gallery, groups, peer_gallery = (_with_pictures(_with_states(frame, states), hashes, pictures) for frame in shown)
    sentences, record = closing(raw, issues, cleaned, entries, origin.review_checks)
    return CleaningTables(
        provenance=origin,
        sentences=(*sentences, *label_sentences),
        headline=_headline(record),
        before_after=before_after(raw, cleaned),
        left_out=left_out(raw, cleaned),
        checks=_checks_table(issues, states),
        check_classes=_check_classes(issues, states),
        flow=_flow(states),
        distributions=_distributions(issues),
        gallery=gallery,
        groups=groups,
        decision_counts=_decision_counts(entries),
        decisions=_decision_rows(entries),
        decisions_total=len(entries),
        opinions=side_by_side(issues, said),
        peer_gallery=peer_gallery,
        peer_pages=tuple(peer_pages),
        people=people,
    )


def side_by_side(issues: pd.DataFrame, findings: pd.DataFrame) -> pd.DataFrame:
    """Lay what peers flagged beside what our checks flag.

    Args:
        issues: the issues table.
        findings: issue rows of peers: peer, version and the issues table's columns.

    Returns:
        columns check, title, peer (with its version), both, ours_only, peer_only (images): a row a check and peer.

    """
    if findings.empty:
        return pd.DataFrame(columns=["check", "title", "peer", "both", "ours_only", "peer_only"])
    asked = issues["is_issue"] & issues["check"].isin(findings["check"].unique())
    ours = issues[asked].groupby("check", observed=True)["path"].agg(set).to_dict()
    rows = []
    for (check, peer, version), said in findings.groupby(["check", "peer", "version"], sort=False):
        mine, theirs = ours.get(check, set()), set(said.loc[said["is_issue"], "path"])
        numbers = [len(mine & theirs), len(mine - theirs), len(theirs - mine)]
        rows.append([check, check_words(str(check))[0], f"{peer} {version}", *numbers])
    frame = pd.DataFrame(rows, columns=["check", "title", "peer", "both", "ours_only", "peer_only"])
    place = {name: n for n, name in enumerate(tables.CHECK_NAMES)}
    ordered = frame.assign(place=frame["check"].map(place)).sort_values(["place", "peer"], ignore_index=True)
    return ordered.drop(columns="place")


def _peer_gallery(issues: pd.DataFrame, findings: pd.DataFrame, states: pd.DataFrame) -> pd.DataFrame:
    """Pick, for each check and peer, the worst images that only the peer flags."""
    if findings.empty:
        return pd.DataFrame(columns=["check", "peer", "path", "score", "label", "evidence"])
    ours = issues.loc[issues["is_issue"], ["path", "check"]].astype({"check": "str"}).assign(ours=True)
    said = findings[findings["is_issue"]].merge(ours, on=["path", "check"], how="left")
    alone = said[said["ours"].isna() & said["path"].isin(states.index)].sort_values(["check", "peer", "score", "path"])
    chosen = alone.groupby(["check", "peer"]).head(PEER_PICTURES)[["check", "peer", "path", "score"]]
    words = [f"its score {score:.2f}" for score in chosen["score"]]
    labels = states["label"].reindex(chosen["path"]).to_numpy()
    return chosen.assign(label=labels, evidence=words)


def _headline(record: Mapping[str, Any]) -> pd.DataFrame:
    total = max(record["images"], 1)
    rows = [
        (record["images"], "images", f"{record['clean']:,} passed every check"),
        (record["kept"], "kept", f"{record['kept'] / total:.1%} of all"),
        (record["excluded"], "left out", f"{record['excluded'] / total:.1%} of all"),
        (record["waiting"], "to look at", "doubts that the policy leaves to a person"),
        (record["groups"].get("label_conflict", 0), "label conflicts", "groups of copies under different labels"),
        (record["groups"].get("split_leak", 0), "split leaks", "groups of copies across splits"),
    ]
    return pd.DataFrame(rows, columns=["figure", "title", "note"])


def _checks_table(issues: pd.DataFrame, states: pd.DataFrame) -> pd.DataFrame:
    table = check_summary(issues)
    words = [check_words(check) for check in table["check"]]
    dropped = states.loc[states["outcome"] == "left out", "cause"].value_counts()
    return table.assign(
        title=[title for title, _ in words],
        explanation=[text for _, text in words],
        left_out=[int(dropped.get(check, 0)) for check in table["check"]],
    )


def _check_classes(issues: pd.DataFrame, states: pd.DataFrame) -> pd.DataFrame:
    flagged = issues.loc[issues["is_issue"], ["path", "check"]].astype({"check": "str"})
    counts = flagged.assign(label=states["label"].reindex(flagged["path"]).to_numpy())
    return counts.groupby(["check", "label"]).size().rename("issues").reset_index()


def _flow(states: pd.DataFrame) -> pd.DataFrame:
    """Count images by cause and outcome; images that passed every check and are kept are left to the text."""
    waits = np.where(states["waits"], ", to look at", "")
    frame = pd.DataFrame({"cause": states["cause"], "outcome": states["outcome"] + waits})
    frame = frame[(frame["cause"] != "") | (frame["outcome"] != "kept")]
    counts = frame.groupby(["cause", "outcome"]).size().rename("images").reset_index()
    titles = [check_words(cause)[0] if cause else "Nothing found" for cause in counts["cause"]]
    counts.insert(0, "found", titles)
    return counts.sort_values(["images", "found"], ascending=[False, True], ignore_index=True)


def _distributions(issues: pd.DataFrame) -> pd.DataFrame:
    columns = ["check", "title", "measure", "threshold", "left", "right", "passed", "flagged"]
    parts = []
    for check in [name for name in tables.CHECK_NAMES if name not in {*COPY_CHECKS, "unreadable"}]:
        rows = issues.loc[issues["check"] == check, ["is_issue", "evidence"]]
        for measure, values in _measured_values(rows).groupby("measure", observed=True):
            parts.append(_histogram(check, str(measure), values))
    return pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame(columns=columns)


def _measured_values(rows: pd.DataFrame) -> pd.DataFrame:
    """Return value, threshold, measure and is_issue of rows whose evidence has them, parsed a block at a time."""
    columns = ["value", "threshold", "measure"]
    parts = [pd.DataFrame({"value": [], "threshold": [], "measure": [], "is_issue": []})]
    for start in range(0, len(rows), _BLOCK):
        block = rows.iloc[start : start + _BLOCK]
        evidence = pd.DataFrame(_parsed(block["evidence"])).reindex(columns=columns)
        kinds = {"value": "float64", "threshold": "float64", "measure": "category"}
        told = evidence.assign(is_issue=block["is_issue"].to_numpy()).dropna(subset=["value", "threshold"])
        parts.append(told.astype(kinds))
    return pd.concat([part for part in parts if len(part)] or parts, ignore_index=True)


def _histogram(check: str, measure: str, rows: pd.DataFrame) -> pd.DataFrame:
    """Count the values in bins of equal width, of which one begins at the threshold; equal values get one bin."""
    values = rows["value"].to_numpy(dtype=np.float64)
    threshold = float(rows["threshold"].iloc[0])
    low, high = float(values.min()), float(values.max())
    width = (high - low) / _BINS
    if width > 0:
        first = np.floor((low - threshold) / width)
        last = np.floor((high - threshold) / width) + 1
        edges = threshold + np.arange(first, last + 1) * width
    else:
        edges = np.array([low, high])
    flags = rows["is_issue"].to_numpy(dtype=bool)
    return pd.DataFrame(
        {
            "check": check,
            "title": check_words(check)[0],
            "measure": _MEASURE_WORDS.get(measure, measure.replace("_", " ")),
            "threshold": threshold,
            "left": edges[:-1],
            "right": edges[1:],
            "passed": np.histogram(values[~flags], edges)[0] if width > 0 else (~flags).sum(),
            "flagged": np.histogram(values[flags], edges)[0] if width > 0 else flags.sum(),
        }
    )


def _gallery(issues: pd.DataFrame, states: pd.DataFrame) -> pd.DataFrame:
    """Pick each check's and class's worst images."""
    flagged = issues[issues["is_issue"] & ~issues["check"].isin(COPY_CHECKS)].astype({"check": "str"})
    frame = flagged.assign(label=states["label"].reindex(flagged["path"]).to_numpy())
    frame["total"] = frame.groupby(["check", "label"])["path"].transform("size")
    frame = frame.sort_values(["score", "path"]).groupby(["check", "label"]).head(PICTURES_PER_CLASS)
    place = {name: n for n, name in enumerate(tables.CHECK_NAMES)}
    frame = frame.assign(place=frame["check"].map(place)).sort_values(["place", "label", "score", "path"])
    frame["evidence"] = [evidence_words(evidence) for evidence in _parsed(frame["evidence"])]
    return frame[["check", "label", "total", "path", "score", "evidence"]]


def _groups(issues: pd.DataFrame, states: pd.DataFrame) -> pd.DataFrame:
    """Pick groups of copies, the widest group of each image, each group under its most serious kind."""
    copies = issues.loc[issues["is_issue"] & issues["check"].isin(COPY_CHECKS), ["path", "check", "score", "group"]]
    copies = copies.astype({"check": "str"})
    near = set(copies.loc[copies["check"] == "near_duplicate", "path"])
    copies = copies[(copies["check"] != "exact_duplicate") | ~copies["path"].isin(near)]
    seriousness = {check: n for n, check in enumerate(GROUPS_SHOWN)}
    frame = copies.assign(place=copies["check"].map(seriousness)).sort_values(["place", "score", "path"])
    kind = frame.drop_duplicates("group").set_index("group")["check"]
    members = frame.drop_duplicates(["group", "path"]).assign(kind=lambda f: f["group"].map(kind))
    members["copies"] = members.groupby("group")["path"].transform("size")
    order = members.sort_values(["place", "copies", "group"], ascending=[True, False, True]).drop_duplicates("group")
    shown = order.groupby("kind").head(max(GROUPS_SHOWN.values()))
    shown = shown[shown.groupby("kind").cumcount() < shown["kind"].map(GROUPS_SHOWN).astype("int64")]
    rank = {group: n for n, group in enumerate(shown["group"])}
    totals = kind.value_counts()
    chosen = members[members["group"].isin(list(rank))].assign(
        rank=lambda f: f["group"].map(rank), total=lambda f: f["kind"].map(totals)
    )
    chosen = chosen.assign(label=states["label"].reindex(chosen["path"]).to_numpy())
    chosen = _every_kind_of_member(chosen, states["split"].reindex(chosen["path"]).to_numpy())
    # what a member is a near copy of, and how sure that is, stands in its near-duplicate row
    said = issues[(issues["check"] == "near_duplicate") & issues["is_issue"] & issues["path"].isin(chosen["path"])]
    evidence = said.set_index("path")["evidence"].reindex(chosen["path"]).fillna("{}")
    chosen["evidence"] = [_link_words(facts) for facts in _parsed(evidence)]
    return chosen.sort_values(["rank", "path"])[["kind", "total", "group", "copies", "path", "evidence", "label"]]


def _every_kind_of_member(members: pd.DataFrame, split: NDArray[np.object_]) -> pd.DataFrame:
    """Pick at most ``MEMBERS_SHOWN`` members a group, of each of its labels and splits in turn."""
    ordered = members.assign(split=split).sort_values("path")
    ordered["turn"] = ordered.groupby(["group", "label", "split"]).cumcount()
    return ordered.sort_values(["turn", "path"]).groupby("group").head(MEMBERS_SHOWN)


def _link_words(evidence: Mapping[str, Any]) -> str:
    """Return how a near copy was made and how sure that is; what the picture's captions say already is left out."""
    link = {key: evidence[key] for key in ("kind", "transform", "probability") if key in evidence}
    return evidence_words(link)


def _with_states(chosen: pd.DataFrame, states: pd.DataFrame) -> pd.DataFrame:
    there = states.reindex(chosen["path"])
    return chosen.assign(
        split=there["split"].to_numpy(),
        outcome=there["outcome"].to_numpy(),
        waits=there["waits"].to_numpy(dtype=bool),
        reason=there["reason"].to_numpy(),
    ).reset_index(drop=True)


def _with_pictures(chosen: pd.DataFrame, hashes: pd.Series, pictures: Mapping[str, bytes]) -> pd.DataFrame:
    shown = [pictures.get(path) for path in chosen["path"]]
    return chosen.assign(
        sha256=hashes.reindex(chosen["path"]).to_numpy(), thumbnail=pd.Series(shown, index=chosen.index, dtype=object)
    )


def _decision_counts(entries: Sequence[Entry]) -> pd.DataFrame:
    columns = ["actor", "action", "cause", "images", "example"]
    frame = pd.DataFrame(
        [(e.actor, e.action, e.issue.partition("#")[0], e.reason) for e in entries],
        columns=["actor", "action", "cause", "example"],
    )
    grouped = frame.groupby(["actor", "action", "cause"])["example"]
    counts = grouped.agg(images="size", example="first").reset_index()
    counts["cause"] = [check_words(cause)[0] if cause else "" for cause in counts["cause"]]
    return counts.sort_values(["images", "actor", "cause"], ascending=[False, True, True], ignore_index=True)[columns]


def _decision_rows(entries: Sequence[Entry]) -> pd.DataFrame:
    """List the first decisions of each kind: of one actor, action and cause."""
    columns = ["seq", "actor", "path", "action", "value", "reason", "issue"]
    frame = pd.DataFrame([[getattr(entry, name) for name in columns] for entry in entries], columns=columns)
    cause = frame["issue"].str.partition("#")[0] if len(frame) else frame["issue"]
    shown = frame.groupby([frame["actor"], frame["action"], cause]).head(DECISIONS_SHOWN)
    return shown.sort_values("seq", ignore_index=True)


def _parsed(evidence: pd.Series) -> list[dict[str, Any]]:
    """Parse a column of JSON objects in one go, several times as fast as one by one."""
    objects: list[dict[str, Any]] = json.loads(f"[{','.join(evidence)}]")
    return objects


def _ordered_splits(splits: pd.Series) -> list[str]:
    known = set(splits)
    return [*(s for s in _SPLIT_ORDER if s in known), *sorted(known - set(_SPLIT_ORDER))]


def _counted(number: int, singular: str, plural: str = "") -> str:
    return f"{number:,} {singular if number == 1 else plural or singular + 's'}"


def _listed(items: Sequence[str]) -> str:
    return " and ".join([", ".join(items[:-1]), items[-1]]) if len(items) > 1 else "".join(items)
