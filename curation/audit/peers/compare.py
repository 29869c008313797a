"""Our pairs and a peer's, side by side: found by both, by us alone, or by the peer alone and verified or refused.

The issues table is not changed: whether a copy is flagged must not depend on which peers happen to be installed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from curation.audit.peers.brain import brain
from curation.audit.peers.fastdup import fastdup
from curation.audit.peers.judges import JUDGES, PAIR_PEERS, Given, Judge, ask, from_pairs, judges, store
from curation.audit.peers.peer import Opinion, Peer, require
from curation.base import files
from curation.base.classes import in_order
from curation.base.errors import CurationError
from curation.base.progress import Display
from curation.base.settings import Settings
from curation.base.workspace import Workspace, read_listing
from curation.checks.duplicates.calibration import probability
from curation.checks.duplicates.candidates import Candidates, Features
from curation.checks.duplicates.features import Pictures, pictures
from curation.checks.duplicates.find import NEAR_DUPLICATE
from curation.checks.duplicates.kernel import EVIDENCE
from curation.checks.duplicates.transform import decompose, in_words
from curation.checks.duplicates.verification import joined, verify
from curation.measure import load_thumbnails
from curation.models.runs import of_present_contents

PEERS = (*PAIR_PEERS, *(name for name in JUDGES if name not in PAIR_PEERS))
"""The toolkit's own peers, which ``--also`` takes; other packages add theirs."""

Probabilities = np.ndarray[Any, np.dtype[np.float64]]

REFUSED = "refused"

_COLUMNS = ("i", "j", "found_by", "similarity", "probability", "verdict", "transform")
_DECIMALS = 4


@dataclass(frozen=True)
class Opinions:
    """Result of the second opinions.

    counts -- a row per pair-finding peer: peer, version, both, ours_only, peer_only_verified, peer_only_refused
              (pairs of contents)
    pairs  -- a row per peer and pair: peer, path_a, path_b, found_by (both, ours, peer), similarity (its own, NaN
              where it did not name the pair), probability (0..1, ours), verdict (near_duplicate, same_session,
              refused), transform (words)
    findings -- what the peers flagged, as issue rows: see ``judges.ask``
    """

    counts: pd.DataFrame
    pairs: pd.DataFrame
    findings: pd.DataFrame

    def record(self) -> list[dict[str, Any]]:
        """Return the counts for machines."""
        return [{str(key): value for key, value in row.items()} for row in self.counts.to_dict("records")]


def second_opinions(
    workspace: Workspace,
    measurements: pd.DataFrame,
    ours: pd.DataFrame,
    settings: Settings,
    display: Display,
    *,
    peers: Sequence[str],
    python: str,
) -> Opinions:
    """Run ``peers`` on the distinct contents and keep their findings.

    Their findings go to ``opinion_issues.parquet``, judged pairs to ``opinions.json`` and ``opinions.parquet``.

    Args:
        workspace: a scanned workspace; the caller holds its lock
        measurements: a row per image: path, sha256, error, pixel_sha256, dhash, phash
        ours: verified pairs, as ``workflow.find_pairs`` returns them
        settings: the threshold of probability
        display: where progress is shown
        peers: names among ``PEERS``, or those that other packages add
        python: the interpreter that has them, see ``interpreter``

    Raises:
        CurationError: no such peer.
        PeerError: a peer is not installed, or failed.

    """
    readable = measurements[measurements["error"] == ""].sort_values(["pixel_sha256", "path"])
    contents = readable.drop_duplicates("pixel_sha256").reset_index(drop=True)
    listing = read_listing(workspace).set_index("path")
    urls = listing.loc[contents["path"], "url"].tolist()
    judging = judges()
    known = list(dict.fromkeys((*PEERS, *judging)))
    unknown = [name for name in peers if name not in known]
    if unknown:
        raise CurationError(f"there is no second opinion {unknown[0]!r}; --also takes {' or '.join(known)}")
    digests = contents["sha256"].tolist()
    make = {"fastdup": lambda: fastdup(urls, digests, python), "brain": lambda: brain(python)}
    chosen = [make[name]() for name in dict.fromkeys(peers) if name in PAIR_PEERS]
    asked_judges = [judging[name] for name in dict.fromkeys(peers) if name in judging]
    everybody: list[Peer | Judge] = [*chosen, *asked_judges]
    for asked in everybody:
        require(asked.name, asked.module, python)
    found = _compared(chosen, contents, _features(workspace, contents, settings), ours, settings, display)
    given = _given(workspace, readable, listing, _features(workspace, readable, settings))
    findings = [found.findings]
    for judge in asked_judges:
        with display.step(f"Running {judge.name} on each image"):
            findings.append(ask(judge, given, python, workspace.peer_pages))
    whole = replace(found, findings=pd.concat(findings, ignore_index=True))
    if chosen:
        files.write_table(workspace.root / "opinions.parquet", whole.pairs)
        files.write_json(workspace.root / "opinions.json", whole.record())
    store(workspace, whole.findings)
    return whole


def _compared(
    peers: Sequence[Peer],
    contents: pd.DataFrame,
    features: Features,
    ours: pd.DataFrame,
    settings: Settings,
    display: Display,
) -> Opinions:
    """Run the peers that report pairs, and verify their pairs."""
    seen, known = pictures(features.thumbnails), _as_rows(ours, contents["pixel_sha256"])
    counts, tables = [], [pd.DataFrame(columns=["peer", "path_a", "path_b", *_COLUMNS[2:]])]
    for peer in peers:
        with display.step(f"Running {peer.name}"):
            opinion = peer.ask(features)
            table = compare(known, opinion, seen, settings.duplicates.min_probability)
        counts.append({"peer": peer.name, "version": opinion.version, **_counts(table)})
        tables.append(_with_paths(table, peer.name, contents["path"]))
    pairs = pd.concat(tables[1:] or tables, ignore_index=True)
    findings = from_pairs(pairs, {str(row["peer"]): str(row["version"]) for row in counts})
    return Opinions(pd.DataFrame(counts), pairs, findings)


def _given(workspace: Workspace, readable: pd.DataFrame, listing: pd.DataFrame, features: Features) -> Given:
    """Return the input of the judges: every readable image, including copies."""
    paths = readable["path"]
    labels = listing.loc[paths, "label"].tolist()
    urls = listing.loc[paths, "url"].tolist()
    return Given(
        paths.tolist(), urls, readable["sha256"].tolist(), labels, features, out_of_fold(workspace, paths, labels)
    )


def out_of_fold(workspace: Workspace, paths: pd.Series, labels: Sequence[str]) -> Probabilities | None:
    """Return the newest out-of-fold probabilities that cover all ``paths``, (n, classes) by sorted label, or None."""
    classes = in_order(labels)
    tables = sorted(workspace.predictions.glob("oof_*.parquet"), key=lambda path: path.stat().st_mtime, reverse=True)
    for table in tables:
        known = of_present_contents(workspace, files.read_table(table))
        if {"path", *classes} <= set(known.columns) and set(paths) <= set(known["path"]):
            chosen = known.drop_duplicates("path").set_index("path").loc[paths, classes].to_numpy(dtype=np.float64)
            return np.asarray(chosen / chosen.sum(axis=1, keepdims=True))
    return None


def _features(workspace: Workspace, contents: pd.DataFrame, settings: Settings) -> Features:
    thumbnails = load_thumbnails(contents["sha256"].tolist(), workspace.measurements, settings.measure)
    hashes = (contents[name].to_numpy(dtype=np.int64) for name in ("dhash", "phash"))
    return Features(thumbnails, *hashes)


def _as_rows(ours: pd.DataFrame, contents: pd.Series) -> pd.DataFrame:
    """Return our pairs with row numbers (i, j) instead of hashes, and texts as plain strings for merging."""
    places = pd.Index(contents)
    i, j = (places.get_indexer(ours[name]) for name in ("pixel_sha256_a", "pixel_sha256_b"))
    plain = ours.astype({"relation": "str", "transform": "str"})
    return plain.assign(i=np.minimum(i, j), j=np.maximum(i, j))


def compare(ours: pd.DataFrame, opinion: Opinion, seen: Pictures, min_probability: float) -> pd.DataFrame:
    """Merge a peer's pairs with ours.

    Args:
        ours: verified pairs: i, j (row numbers, i < j), probability, relation, transform
        opinion: the peer's answer
        seen: pictures of all rows, for verifying pairs that only the peer reports
        min_probability: from which a pair is a near duplicate

    Returns:
        i, j, found_by, similarity, probability, verdict, transform (see ``Opinions``), sorted by i, j. A pair that we
        call ``same_session`` is included only if the peer reports it, because it is not a copy.

    """
    named = pd.DataFrame(opinion.pairs, columns=["i", "j"]).assign(similarity=opinion.similarity)
    table = ours.rename(columns={"relation": "verdict"}).merge(named, on=["i", "j"], how="outer", sort=True)
    unjudged = table["verdict"].isna().to_numpy()
    judged = _judged(table.loc[unjudged, ["i", "j"]].to_numpy(dtype=np.int64), seen, min_probability)
    for column in ("probability", "verdict", "transform"):
        table.loc[unjudged, column] = judged[column].to_numpy()
    copies = (table["verdict"] == NEAR_DUPLICATE).to_numpy() & ~unjudged
    by_peer = table["similarity"].notna().to_numpy()
    table["found_by"] = np.select([copies & by_peer, copies], ["both", "ours"], "peer")
    return table.loc[copies | by_peer, list(_COLUMNS)].reset_index(drop=True)


def _judged(pairs: np.ndarray[Any, np.dtype[np.int64]], seen: Pictures, min_probability: float) -> pd.DataFrame:
    """Verify pairs, plain and mirrored, and return the likelier: probability, verdict, transform, a row per pair."""
    candidates = Opinion("", pairs, np.zeros(len(pairs))).candidates()
    verified = joined(verify(seen, candidates))
    fine, quartile = (verified.evidence[:, EVIDENCE.index(name)] for name in ("fine_median", "fine_quartile"))
    found: Candidates = verified.candidates
    frame = pd.DataFrame(
        {
            "i": found.pairs[:, 0],
            "j": found.pairs[:, 1],
            "probability": probability(verified.odds),
            "transform": in_words(decompose(verified.maps), found.mirrored, fine, quartile),
        }
    )
    best = frame.sort_values(["i", "j", "probability"], ascending=[True, True, False], kind="stable")
    best = best.drop_duplicates(["i", "j"]).set_index(["i", "j"])
    wanted = pd.MultiIndex.from_arrays([pairs[:, 0], pairs[:, 1]], names=["i", "j"])
    result = best.reindex(wanted).reset_index(drop=True)
    result["probability"] = result["probability"].fillna(0.0)
    proved = result["probability"] >= min_probability
    result["transform"] = result["transform"].where(proved, "")
    return result.assign(verdict=np.where(proved, NEAR_DUPLICATE, REFUSED))


def _counts(table: pd.DataFrame) -> dict[str, int]:
    alone, proved = table["found_by"] == "peer", table["verdict"] == NEAR_DUPLICATE
    return {
        "both": int((table["found_by"] == "both").sum()),
        "ours_only": int((table["found_by"] == "ours").sum()),
        "peer_only_verified": int((alone & proved).sum()),
        "peer_only_refused": int((alone & ~proved).sum()),
    }


def _with_paths(table: pd.DataFrame, peer: str, paths: pd.Series) -> pd.DataFrame:
    names = paths.to_numpy()
    named = table.assign(
        peer=peer,
        path_a=names[table["i"].to_numpy(dtype=np.int64)],
        path_b=names[table["j"].to_numpy(dtype=np.int64)],
        similarity=table["similarity"].round(_DECIMALS),
    )
    return named[["peer", "path_a", "path_b", *_COLUMNS[2:]]]
