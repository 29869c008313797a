"""The cleaning report's tables and choice of pictures: pure functions on the tables of a workspace."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from curation.base.frames import is_in
from curation.base.issues import Issues
from curation.base.tables import facts
from curation.checks import registry
from curation.pipeline import summary

if TYPE_CHECKING:
    from curation.checks.coverage import Finding
    from curation.decisions.log import Entry
    from curation.decisions.manifest import Version
    from curation.decisions.policy import Policy
    from curation.pipeline.axes import Coverage
    from reports.cleaning import CleaningTables, Provenance

Thumbnails = Callable[[Sequence[str]], Mapping[str, bytes]]
"""Paths -> path -> pixels of its square grey uint8 thumbnail, row by row, for the paths that have one."""

PICTURES_PER_CLASS = 12
"""Most examples for each check and class: two rows on a laptop."""

PICTURES_SHOWN = 480
"""Most examples of all checks and classes together: about 2 KB each, on a page of at most 3 MB."""

MEMBERS_SHOWN = 24
"""Most members shown of a group of copies, as a chain may have thousands."""

COPIES_SHOWN = 760
"""Most members of all groups together, about 2 KB each."""

_LEAST_SHOWN = 3
"""Examples or members of each kind that are shown in any case."""

GROUPS_SHOWN = {
    "label_conflict": 80,
    "split_leak": 40,
    "subject_leak": 40,
    "near_duplicate": 24,
    "exact_duplicate": 24,
    "same_session": 12,
}
"""Most groups of each kind, most serious first; a group is shown once, under its most serious kind."""

PEER_PICTURES = 8
"""Most examples of what only a peer flags, for each check and peer: one row on a laptop."""

DECISIONS_SHOWN = 60
"""Most lines of each kind of decision; ``curate log`` prints all of them."""

_LARGE_LOSS = 0.25
"""A class in a split that loses more than this share is named at the top."""

_LOSSES = 4
"""Most losses named at the top; the chart shows all of them."""

_GAPS = 8
"""Most emptied, empty or thin cells that the report names."""

_BINS = 40
"""Bins of a histogram between its smallest and largest value."""


def provenance(
    source: str,
    version: Version,
    policy: Policy | None,
    left_out_files: Sequence[Mapping[str, str]] = (),
    warnings: Sequence[str] = (),
    made: Mapping[str, Any] | None = None,
    *,
    command: str,
    option: str = "",
    app: str = "",
) -> Provenance:
    """Return the origin of a cleaning report's figures and how to reproduce them.

    Args:
        source: where the data set was read from.
        version: the cleaned version that the report is about.
        policy: that the version was made with, None if it is no longer available.
        left_out_files: path and reason of files that ingest left out.
        warnings: of ingest and others.
        made: what the issues were computed with (``curation.base.settings.made_with``).
        command: that repeats the run.
        option: command-line option for the workspace.
        app: address of the version's images in the App.

    """
    from reports.cleaning import Provenance

    lineage, made = version.lineage, made or {}
    name = policy.name if policy else lineage.get("policy", {}).get("name", "none")
    detector = made.get("detector") or lineage.get("detector", "")
    return Provenance(
        source=source,
        version=version.name,
        manifest_hash=version.hash,
        created=version.created,
        policy=name,
        policy_description=policy.description if policy else "",
        review_checks=policy.review.checks if policy else (),
        commands=(command, f"curate show {version.name}{option}", f"curate verify{option}"),
        tools={str(name): str(value) for name, value in lineage.get("tools", {}).items()},
        detector=detector_words(detector),
        settings=_sorted({**lineage.get("settings", {}), **made.get("settings", {}), "policy": name}),
        left_out=tuple((str(row["path"]), str(row["reason"])) for row in left_out_files),
        warnings=tuple(warnings),
        option=option,
        app=app,
    )


def _sorted(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return nested settings by name, as they are once they were stored."""
    return {name: _sorted(value) if isinstance(value, Mapping) else value for name, value in sorted(settings.items())}


def detector_words(detector: object) -> str:
    """Return the face detector's name and other properties."""
    if not isinstance(detector, Mapping):
        return str(detector)
    rest = [f"{name} {value}" for name, value in detector.items() if name != "name" and value]
    return ", ".join([str(detector.get("name", "")), *rest])


def cleaning_report_tables(
    issues: Issues,
    entries: Sequence[Entry],
    raw: pd.DataFrame,
    cleaned: pd.DataFrame,
    origin: Provenance,
    thumbnails: Thumbnails,
    findings: pd.DataFrame | None = None,
    peer_pages: Sequence[str] = (),
    people: pd.DataFrame | None = None,
    around: tuple[Sequence[str], Sequence[str]] = ((), ()),
    changes_page: str = "",
    jury: pd.DataFrame | None = None,
    plan: tuple[pd.DataFrame, pd.DataFrame] | None = None,
    covered: Coverage | None = None,
) -> CleaningTables:
    """Return the tables of the cleaning report (see ``reports.cleaning.CleaningTables`` for their columns).

    Args:
        issues: of the workspace.
        entries: the decisions in force, weakest first (see ``curation.decisions.replay.effective``).
        raw: the manifest before cleaning.
        cleaned: the manifest after it.
        origin: of :func:`provenance`.
        thumbnails: called once, with the images that are shown.
        findings: issue rows of peers (see :func:`side_by_side`), if any were asked.
        peer_pages: pages that peers made themselves, relative to the report.
        people: figures of people's votes (see ``curation.labels.people.figures``), if there are any.
        around: sentences before and after those on what was found and decided, such as on losses and labels.
        changes_page: page of changes since the previous version, if there is one.
        jury: of ``curation.pipeline.label_store.jury_of``, if labels were judged.
        plan: of ``curation.pipeline.label_queue.newest_plan``.
        covered: coverage of each class, if an image has a label.

    """
    from reports.cleaning import CleaningTables

    said = pd.DataFrame(columns=list(summary.FINDINGS)).astype({"is_issue": bool}) if findings is None else findings
    rows = issues.rows
    states = summary.outcomes(cleaned, rows, entries, origin.review_checks)
    found = states[is_in(states.index, rows["path"]) | is_in(states.index, said["path"])]
    shown = (_gallery(rows, found), _groups(rows, found), _peer_gallery(rows, said, found))
    paths = sorted({path for frame in shown for path in frame["path"]})
    pictures = thumbnails(paths)
    hashes = raw[is_in(raw["path"], paths)].set_index("path")["sha256"]
    labels = cleaned[is_in(cleaned["path"], paths)].set_index("path")["label"]
    gallery, groups, peer_gallery = (
        _with_pictures(_with_states(frame, found, labels), hashes, pictures) for frame in shown
    )
    lost = summary.left_out(raw, cleaned)
    sentences, record = summary.closing(raw, issues, cleaned, entries, origin.review_checks, states)
    return CleaningTables(
        provenance=origin,
        first=around[0],
        anomalies=anomalies(record, lost, rows, cleaned, around[0]),
        sentences=(*sentences, *around[1]),
        headline=_headline(record),
        before_after=summary.before_after(raw, cleaned),
        left_out=lost,
        checks=_checks_table(issues, states),
        check_classes=_check_classes(rows, found),
        flow=_flow(states),
        distributions=distributions(issues),
        gallery=gallery,
        groups=groups,
        decision_counts=_decision_counts(entries),
        decisions=_decision_rows(entries),
        decisions_total=len(entries),
        opinions=summary.side_by_side(rows, said),
        peer_gallery=peer_gallery,
        peer_pages=tuple(peer_pages),
        people=people,
        changes_page=changes_page,
        jury=jury,
        plan=None if plan is None else plan[0],
        reached=None if plan is None else plan[1],
        coverage=None if covered is None else covered.cells,
        gaps=_gaps(covered.findings if covered else ()),
    )


def _gaps(findings: Sequence[Finding]) -> list[str]:
    """Return sentences on cells that cleaning emptied, and on empty or thin ones."""
    said = [one.sentence for kind in ("emptied", "empty", "thin") for one in findings if one.kind == kind]
    more = [f"And {len(said) - _GAPS:,} more: curate coverage"] if len(said) > _GAPS else []
    return [*said[:_GAPS], *more] or ["Cleaning emptied no cell, and none holds far fewer images than the others."]


def _peer_gallery(issues: pd.DataFrame, findings: pd.DataFrame, states: pd.DataFrame) -> pd.DataFrame:
    """Choose the worst images that only a peer flags, for each check and peer."""
    if findings.empty:
        return pd.DataFrame(columns=["check", "peer", "path", "score", "label", "evidence"])
    ours = issues.loc[issues["is_issue"], ["path", "check"]].assign(ours=True)
    said = findings[findings["is_issue"]].merge(ours, on=["path", "check"], how="left")
    alone = said[said["ours"].isna() & said["path"].isin(states.index)].sort_values(["check", "peer", "score", "path"])
    chosen = alone.groupby(["check", "peer"]).head(PEER_PICTURES)[["check", "peer", "path", "score"]]
    words = [f"its score {score:.2f}" for score in chosen["score"]]
    labels = states["label"].reindex(chosen["path"]).to_numpy()
    return chosen.assign(label=labels, evidence=words)


def anomalies(
    record: Mapping[str, Any],
    left_out: pd.DataFrame,
    issues: pd.DataFrame,
    cleaned: pd.DataFrame,
    said: Sequence[str],
) -> pd.DataFrame:
    """Return what a person should know first, worst first, without what is already ``said``.

    Returns:
        columns text, command (without the workspace) and view (a saved one's name in the App, or "").

    """
    found, groups = record["issues"], record["groups"]
    rows: list[tuple[str, str, str]] = []

    def add(number: int, text: str, command: str, check: str = "") -> None:
        if number:
            rows.append((text, command, summary.check_words(check)[0] if check else ""))

    leaks = record["leaks_left"]
    text = f"Copies in more than one split are left: {summary.counted(leaks, 'group')}."
    add(leaks, text, _look("split_leak"), "split_leak")
    large = left_out[left_out["share"] > _LARGE_LOSS].sort_values("share", ascending=False).head(_LOSSES)
    for row in large.to_dict("records"):
        where = " ".join(filter(None, [f"{row['split']}'s" if row["split"] else "", str(row["label"])]))
        text = f"{row['share']:.0%} of {where} is left out: {row['left_out']:,} of {row['before']:,} images."
        if not any(f" of {where} " in sentence for sentence in said):
            rows.append((text, "curate diff raw cleaned --page", "Excluded by this version"))
    conflicts = found.get("label_conflict", 0)
    of = summary.counted(groups.get("label_conflict", 0), "group")
    text = f"{conflicts:,} images are copies under different labels, in {of}."
    add(conflicts, text, _look("label_conflict"), "label_conflict")
    wrong = found.get("mislabelled", 0)
    text = f"More likely wrong than right: {summary.counted(wrong, 'label')}."
    add(wrong, text, _look("mislabelled"), "mislabelled")
    shots = _sessions(issues, cleaned)
    text = (
        f"Another shot of the same session, alike but no copy, is in another split: {summary.counted(shots, 'image')}."
    )
    add(shots, text, _look("same_session"), "same_session")
    broken = found.get("unreadable", 0)
    add(broken, f"Cannot be read: {summary.counted(broken, 'file')}.", "curate issues --check unreadable", "unreadable")
    not_run = [check for check in summary.LABEL_CHECKS if check not in found]
    add(len(not_run), "Labels were not judged: nothing is known of wrong ones.", summary.JUDGE_LABELS)
    return pd.DataFrame(rows, columns=["text", "command", "view"])


def _look(check: str) -> str:
    """Return the command to review what a check flags."""
    return f"curate review --check {check}"


def _sessions(issues: pd.DataFrame, cleaned: pd.DataFrame) -> int:
    """Count the kept images that have another kept shot of their session in another split."""
    shot = issues["evidence"].str.contains('"same_session"', regex=False)
    near = issues[(issues["check"] == "near_duplicate") & shot]
    other = [fact["same_session"] for fact in facts(near["evidence"], same_session=str)]
    asked = is_in(cleaned["path"], near["path"]) | is_in(cleaned["path"], other)
    split = cleaned.loc[(cleaned["status"] == "kept") & asked].set_index("path")["split"]
    pairs = pd.DataFrame({"own": near["path"].map(split).to_numpy(), "other": split.reindex(other).to_numpy()}).dropna()
    return int((pairs["own"] != pairs["other"]).sum())


def _headline(record: Mapping[str, Any]) -> pd.DataFrame:
    """Return the figures at the top; NaN where their check was not run."""
    total = max(record["images"], 1)
    found, groups = record["issues"], record["groups"]
    kinds = ("label_conflict", "split_leak")
    conflicts, leaks = (groups.get(check, 0) if check in found else np.nan for check in kinds)
    rows = [
        (record["images"], "images", f"{record['clean']:,} passed every check", "curate show raw", ""),
        (record["kept"], "kept", f"{record['kept'] / total:.1%} of all", "curate show cleaned", ""),
        (
            record["excluded"],
            "left out",
            f"{record['excluded'] / total:.1%} of all",
            "curate diff raw cleaned --page",
            "Excluded by this version",
        ),
        (record["waiting"], "to look at", "doubts that are left to a person", "curate review", ""),
        (
            conflicts,
            "label conflicts",
            "groups of copies under different labels",
            _look("label_conflict"),
            "Label conflicts, group by group",
        ),
        (leaks, "split leaks", "groups of copies across splits", _look("split_leak"), "Split leaks"),
    ]
    if "subject_leak" in groups:
        people = groups["subject_leak"]
        rows.append((people, "people", "in several splits", _look("subject_leak"), "One person in several splits"))
    return pd.DataFrame(rows, columns=["figure", "title", "note", "command", "view"])


def _checks_table(issues: Issues, states: pd.DataFrame) -> pd.DataFrame:
    """Return a row for every check; those that were not run have NaN."""
    run = summary.check_summary(issues).set_index("check")
    checks = registry.every()
    known = [name for name in registry.names(run.index) if name in run.index or name in checks]
    table = run.reindex(known).rename_axis("check").reset_index()
    words = [summary.check_words(check) for check in known]
    dropped = states.loc[states["outcome"] == "left out", "cause"].value_counts()
    judged = [check in run.index for check in known]
    return table.assign(
        title=[title for title, _ in words],
        explanation=[text for _, text in words],
        left_out=[int(dropped.get(check, 0)) for check in known],
        command=[_look(one) if ran else summary.how_to_run(one) for one, ran in zip(known, judged, strict=True)],
        view=[title if ran else "" for (title, _), ran in zip(words, judged, strict=True)],
    )


def _check_classes(issues: pd.DataFrame, states: pd.DataFrame) -> pd.DataFrame:
    flagged = issues.loc[issues["is_issue"], ["path", "check"]]
    counts = flagged.assign(label=states["label"].reindex(flagged["path"]).to_numpy())
    return counts.groupby(["check", "label"]).size().rename("issues").reset_index()


def _flow(states: pd.DataFrame) -> pd.DataFrame:
    """Count images by cause and outcome, without those that are kept and passed every check."""
    waits = np.where(states["waits"], ", to look at", "")
    frame = pd.DataFrame({"cause": states["cause"], "outcome": states["outcome"] + waits})
    frame = frame[(frame["cause"] != "") | (frame["outcome"] != "kept")]
    counts = frame.groupby(["cause", "outcome"]).size().rename("images").reset_index()
    titles = [summary.check_words(cause)[0] if cause else "Nothing found" for cause in counts["cause"]]
    counts.insert(0, "found", titles)
    return counts.sort_values(["images", "found"], ascending=[False, True], ignore_index=True)


def distributions(issues: Issues) -> pd.DataFrame:
    """Return the histogram of each check on one number: passed and flagged images a bin."""
    columns = ["check", "title", "measure", "threshold", "left", "right", "passed", "flagged"]
    parts = []
    for check in [name for name in registry.names(issues.scored) if name not in {*summary.GROUP_CHECKS, "unreadable"}]:
        if check in issues.scored:
            for measure, values in issues.measured(check).groupby("measure", observed=True):
                parts.append(_histogram(check, str(measure), values))
    return pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame(columns=columns)


def _histogram(check: str, measure: str, rows: pd.DataFrame) -> pd.DataFrame:
    """Count the values in bins of equal width, one of which begins at the threshold; equal values have one bin."""
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
            "title": summary.check_words(check)[0],
            "measure": summary.measure_words(measure),
            "threshold": threshold,
            "left": edges[:-1],
            "right": edges[1:],
            "passed": np.histogram(values[~flags], edges)[0] if width > 0 else (~flags).sum(),
            "flagged": np.histogram(values[flags], edges)[0] if width > 0 else flags.sum(),
        }
    )


def _gallery(issues: pd.DataFrame, states: pd.DataFrame) -> pd.DataFrame:
    """Choose the worst images of each check and class."""
    flagged = issues[issues["is_issue"] & ~issues["check"].isin(summary.GROUP_CHECKS)]
    frame = flagged.assign(label=states["label"].reindex(flagged["path"]).to_numpy())
    frame["total"] = frame.groupby(["check", "label"])["path"].transform("size")
    frame = frame.sort_values(["score", "path"])
    alike = frame.groupby(["check", "label"])
    frame = alike.head(evenly(alike.size(), PICTURES_PER_CLASS, PICTURES_SHOWN))
    place = {name: n for n, name in enumerate(registry.names(frame["check"].unique()))}
    frame = frame.assign(place=frame["check"].map(place)).sort_values(["place", "label", "score", "path"])
    frame["evidence"] = [
        summary.evidence_words(evidence, path)
        for evidence, path in zip(facts(frame["evidence"]), frame["path"], strict=True)
    ]
    return frame[["check", "label", "total", "path", "score", "evidence"]]


def _groups(issues: pd.DataFrame, states: pd.DataFrame) -> pd.DataFrame:
    """Choose groups, each under its most serious kind; of an image's groups of copies the widest."""
    copies = issues.loc[
        issues["is_issue"] & issues["check"].isin(summary.GROUP_CHECKS), ["path", "check", "score", "group"]
    ]
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
    # the near-duplicate row holds what a member is a copy of, and with what probability
    said = issues[(issues["check"] == "near_duplicate") & issues["is_issue"] & issues["path"].isin(chosen["path"])]
    evidence = said.set_index("path")["evidence"].reindex(chosen["path"]).fillna("{}")
    chosen["evidence"] = [_link_words(fact) for fact in facts(evidence)]
    of_person = (chosen["kind"] == "subject_leak").to_numpy()
    said = issues[(issues["check"] == "subject_leak") & issues["path"].isin(chosen.loc[of_person, "path"])]
    evidence = said.set_index("path")["evidence"].reindex(chosen.loc[of_person, "path"]).fillna("{}")
    chosen.loc[of_person, "evidence"] = [summary.sure_words(fact) for fact in facts(evidence)]
    columns = ["kind", "total", "group", "copies", "path", "score", "evidence", "label"]
    return chosen.sort_values(["rank", "path"])[columns]


def _every_kind_of_member(members: pd.DataFrame, split: NDArray[np.object_]) -> pd.DataFrame:
    """Choose at most ``MEMBERS_SHOWN`` members of each group, from its labels and splits in turn."""
    ordered = members.assign(split=split).sort_values("path")
    ordered["turn"] = ordered.groupby(["group", "label", "split"]).cumcount()
    groups = ordered.sort_values(["turn", "path"]).groupby("group")
    return groups.head(evenly(groups.size(), MEMBERS_SHOWN, COPIES_SHOWN))


def evenly(sizes: pd.Series, most: int, together: int) -> int:
    """Return how many of each kind to show, at most ``most``, so that the total is at most ``together``."""
    return next((n for n in range(most, _LEAST_SHOWN, -1) if sizes.clip(upper=n).sum() <= together), _LEAST_SHOWN)


def _link_words(evidence: Mapping[str, Any]) -> str:
    """Return a near copy's kind, transform and probability in words; the rest is in the picture's caption."""
    link = {key: evidence[key] for key in ("kind", "transform", "probability") if key in evidence}
    return summary.evidence_words(link)


def _with_states(chosen: pd.DataFrame, states: pd.DataFrame, labels: pd.Series) -> pd.DataFrame:
    there = states.reindex(chosen["path"])
    return chosen.assign(
        becomes=labels.reindex(chosen["path"]).to_numpy(),
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
    columns = ["actor", "action", "cause", "images", "example", "command"]
    frame = pd.DataFrame(
        [(e.actor, e.action, e.issue.partition("#")[0], e.reason) for e in entries],
        columns=["actor", "action", "cause", "example"],
    )
    grouped = frame.groupby(["actor", "action", "cause"])["example"]
    counts = grouped.agg(images="size", example="first").reset_index()
    counts["command"] = [f"curate issues --check {cause}" if cause else "curate log" for cause in counts["cause"]]
    own = np.where(counts["actor"].str.startswith("person:"), "A person's own judgement", "No single check")
    counts["cause"] = [
        summary.check_words(cause)[0] if cause else word for cause, word in zip(counts["cause"], own, strict=True)
    ]
    return counts.sort_values(["images", "actor", "cause"], ascending=[False, True, True], ignore_index=True)[columns]


def _decision_rows(entries: Sequence[Entry]) -> pd.DataFrame:
    """Return the first decisions of each actor, action and cause."""
    columns = ["seq", "actor", "path", "action", "value", "reason", "issue"]
    frame = pd.DataFrame([[getattr(entry, name) for name in columns] for entry in entries], columns=columns)
    cause = frame["issue"].str.partition("#")[0] if len(frame) else frame["issue"]
    shown = frame.groupby([frame["actor"], frame["action"], cause]).head(DECISIONS_SHOWN)
    return shown.sort_values("seq", ignore_index=True)
