"""Immutable, content-addressed versions of the manifest: commit, find, diff, verify.

A version is two files: ``vN.parquet`` (the rows) and ``vN.json`` (what it is and where it comes from). Linking the JSON
file into place is the commit; a Parquet file without it is the remnant of a killed writer.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

from curation.base import files, issues, reading, tables
from curation.base.errors import WorkspaceError
from curation.base.frames import are_sorted, records, rows_of
from curation.base.workspace import Workspace
from curation.decisions import log
from curation.decisions.follow import Followed, Images, Past, follow, images_of, none_lost, overruled_now
from curation.decisions.follow import identified as follow_identified
from curation.decisions.replay import BY_CONTENT, BY_PATH, people_rows, replay

if TYPE_CHECKING:
    import pandas as pd

_VERSION_NAME = re.compile(r"v[1-9][0-9]*")
_SHORTEST_PREFIX = 4
"""Fewest hexadecimal digits of a hash that may name a version."""

_HASHED_AT_ONCE = 2**15
"""Rows whose text is in memory at a time."""


@dataclass(frozen=True)
class Version:
    """What ``vN.json`` states about a version.

    kind is ``raw`` (as ingested) or ``cleaned`` (after decisions). base is the raw version on which the log, up to and
    including line ``log_through``, is replayed by ``rules`` (``curation.decisions.replay``). hash is the SHA-256 of the
    rows in canonical form, chain the log's chain at ``log_through``. seal is the SHA-256 of all other fields and of the
    record before it, "" in versions of older tools.
    """

    name: str
    kind: Literal["raw", "cleaned"]
    hash: str
    base: str
    parent: str
    log_through: int
    created: str
    counts: dict[str, dict[str, dict[str, int]]]
    lineage: dict[str, Any] = field(default_factory=dict)
    rules: int = BY_PATH
    chain: str = ""
    seal: str = ""

    @property
    def number(self) -> int:
        """N of ``vN``."""
        return int(self.name[1:])


def raw_manifest(images: pd.DataFrame) -> pd.DataFrame:
    """Return the manifest in which every image is kept under its original label."""
    stated = [name for name in ("soft_label", "subject") if name in images]
    frame = images[["path", "sha256", "split", "label"]].assign(
        original_label=images["label"], status="kept", reason="", group="", weight=1.0, soft_label=""
    )
    frame = frame.assign(**{name: images[name] for name in stated})
    return tables.checked("manifest", _by_path(frame))


def content_hash(manifest: pd.DataFrame) -> str:
    """Return the SHA-256 of the rows, sorted by path, as one JSON array per line.

    An optional column that is empty for all images is left out, so that versions from before it keep their hash.
    """
    silent = {name for name in tables.OPTIONAL["manifest"] if name not in manifest or manifest[name].eq("").all()}
    ordered = _by_path(manifest)[[name for name in tables.columns("manifest") if name not in silent]]
    digest = hashlib.sha256()
    for start in range(0, len(ordered), _HASHED_AT_ONCE):
        block = ordered.iloc[start : start + _HASHED_AT_ONCE]
        lines = zip(*(_as_json(block[name]) for name in block), strict=True)
        digest.update("".join(f"[{','.join(line)}]\n" for line in lines).encode("utf-8"))
    return digest.hexdigest()


def _as_json(column: pd.Series) -> list[str]:
    """Return each value of a column as JSON, which holds no line break of its own."""
    text = json.dumps(column.tolist(), ensure_ascii=False, separators=("\n", ":"))
    return text[1:-1].split("\n")


def _by_path(manifest: pd.DataFrame) -> pd.DataFrame:
    """Return the rows in the order of their paths."""
    if are_sorted(manifest["path"]):
        return manifest.reset_index(drop=True)
    return manifest.sort_values("path", ignore_index=True)


def counts(manifest: pd.DataFrame) -> dict[str, dict[str, dict[str, int]]]:
    """Return split -> label -> status -> number of images."""
    result: dict[str, dict[str, dict[str, int]]] = {}
    sizes = manifest.groupby(["split", "label", "status"], observed=True).size().reset_index(name="images")
    for split, label, status, number in sizes.itertuples(index=False, name=None):
        result.setdefault(split, {}).setdefault(label, {})[status] = int(number)
    return result


def versions(workspace: Workspace) -> list[Version]:
    """Return all committed versions, oldest first.

    Raises:
        WorkspaceError: a version's JSON file is damaged, or was changed after it was committed.

    """
    known = _versions(workspace)
    records = {"": b"", **{version.name: record for version, record in known}}
    for version, _ in known:
        own_parent = f"v{version.number - 1}" if version.number > 1 else ""
        before = records.get(own_parent)
        is_whole = version.parent == own_parent and (before is None or _seal(version, before) == version.seal)
        if version.seal and not is_whole:
            raise WorkspaceError(
                f"{workspace.manifests / version.name}.json, or the record before it, is not as it was committed; "
                "restore it from a copy"
            )
    return [version for version, _ in known]


def _versions(workspace: Workspace) -> list[tuple[Version, bytes]]:
    """Return all committed versions with the bytes of their records, oldest first; seals are not checked."""
    found = []
    for path in workspace.manifests.glob("v*.json"):
        if _VERSION_NAME.fullmatch(path.stem):
            with reading.refusing(path, "restore it from a copy: a version cannot be made again"):
                data = reading.contents(path)
                version = reading.built(Version, reading.json_object(data))
                _require_types(version, path.stem)
            found.append((version, data))
    return sorted(found, key=lambda each: each[0].number)


def _require_types(version: Version, name: str) -> None:
    texts = (version.name, version.kind, version.hash, version.base, version.parent, version.created)
    if not all(isinstance(text, str) for text in (*texts, version.chain, version.seal)) or version.name != name:
        raise ValueError("a field is not a text, or its name is that of another version")
    numbers = [n for labels in version.counts.values() for states in labels.values() for n in states.values()]
    if not all(isinstance(number, int) for number in (version.log_through, version.rules, *numbers)):
        raise ValueError("a field is not a number")
    if not isinstance(version.lineage, dict):
        raise ValueError("its lineage is not an object")


def rows(workspace: Workspace, version: Version) -> pd.DataFrame:
    """Return the rows of a version as committed."""
    return files.read_checked("manifest", workspace.manifests / f"{version.name}.parquet")


def both_rows(workspace: Workspace, version: Version) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the rows of a version's base and its own; columns that are equal in both are in memory once."""
    raw, own = rows(workspace, find(workspace, version.base)), rows(workspace, version)
    for name in own.columns:
        if own[name].equals(raw[name]):
            own[name] = raw[name]
    return raw, own


def find(workspace: Workspace, name: str) -> Version:
    """Return the version called ``name``: raw, cleaned, vN, a tag or the beginning of a content hash.

    Raises:
        WorkspaceError: there is none of that name, or a hash prefix is ambiguous.

    """
    known = versions(workspace)
    by_name = {version.name: version for version in known}
    if name in ("raw", "cleaned"):
        of_kind = [version for version in known if version.kind == name]
        if of_kind:
            return of_kind[-1]
    elif name in by_name:
        return by_name[name]
    elif (target := tags(workspace).get(name)) in by_name:
        return by_name[str(target)]
    elif len(name) >= _SHORTEST_PREFIX:
        fitting = [version for version in known if version.hash.startswith(name)]
        if len({version.hash for version in fitting}) > 1:
            raise WorkspaceError(f"{name!r} begins several versions' hashes; give more digits")
        if fitting:
            return fitting[-1]
    offered = ", ".join(["raw", "cleaned", *by_name, *tags(workspace)]) if known else "none yet: run curate run DATA"
    raise WorkspaceError(f"no version {name!r} in {workspace.root}; there are: {offered}")


def tags(workspace: Workspace) -> dict[str, str]:
    """Return tag -> version name; of several lines with a tag the last counts.

    Raises:
        WorkspaceError: the file is damaged.

    """
    try:
        lines = workspace.tags.read_text(encoding="utf-8").splitlines()
        named = {record["tag"]: record["version"] for record in map(files.parsed, lines)}
        if not all(isinstance(text, str) for pair in named.items() for text in pair):
            raise ValueError("a name is not a text")
        return named
    except FileNotFoundError:
        return {}
    except (ValueError, KeyError, TypeError) as error:
        raise WorkspaceError(f"{workspace.tags} is damaged ({error}); restore it from a copy, or delete it") from error


def tag(workspace: Workspace, version: Version, name: str) -> None:
    """Give ``version`` a name; the caller holds the lock.

    Raises:
        WorkspaceError: the name is ambiguous or malformed.

    """
    reserved = name in ("raw", "cleaned") or _VERSION_NAME.fullmatch(name)
    if reserved or not re.fullmatch(r"[A-Za-z][\w.-]{0,63}", name):
        raise WorkspaceError(f"{name!r} cannot be a tag: use letters, digits, '.', '_' or '-', not raw, cleaned or vN")
    before = workspace.tags.read_bytes() if workspace.tags.exists() else b""
    record = {"tag": name, "version": version.name, "hash": version.hash}
    line = json.dumps({**record, "seal": _seal_of_tag(before, record)}) + "\n"
    files.write_bytes(workspace.tags, before + line.encode("utf-8"))


def _seal_of_tag(before: bytes, record: dict[str, Any]) -> str:
    """Return the SHA-256 of the lines before a tag's line and of its record without the seal."""
    own = {key: value for key, value in record.items() if key != "seal"}
    return hashlib.sha256(before + files.json_bytes(own)).hexdigest()


def _problems_of_tags(workspace: Workspace, known: list[Version]) -> list[str]:
    """Return what is wrong with the tags; lines of older tools have no seal."""
    hashes = {version.name: version.hash for version in known}
    before, is_sealed, found = b"", False, []
    for line in (reading.contents(workspace.tags) if workspace.tags.exists() else b"").splitlines(keepends=True):
        record = files.parsed(line)
        seal = record.get("seal", "")
        is_sealed |= bool(seal)
        if record["version"] not in hashes:
            found.append(f"{workspace.tags}: {record['tag']} names {record['version']}, which does not exist")
        elif record.get("hash") != hashes[record["version"]]:
            found.append(f"{workspace.tags}: {record['tag']} states another hash than {record['version']} has")
        elif is_sealed and seal != _seal_of_tag(before, record):
            found.append(f"{workspace.tags}: the tag {record['tag']}, or one before it, is not as it was given")
        before += line
    return found


def commit(
    workspace: Workspace,
    manifest: pd.DataFrame,
    *,
    kind: Literal["raw", "cleaned"],
    log_through: int,
    lineage: dict[str, Any],
    chain: str = "",
) -> Version:
    """Commit ``manifest`` as the next version, unless it equals the newest of its kind; the caller holds the lock.

    Returns:
        the new version, or the newest one if nothing has changed.

    """
    known = versions(workspace)
    manifest = tables.checked("manifest", _by_path(manifest))
    digest = content_hash(manifest)
    same_kind = [version for version in known if version.kind == kind]
    raws = [version for version in known if version.kind == "raw"]
    name = f"v{known[-1].number + 1 if known else 1}"
    base = name if kind == "raw" else raws[-1].name
    if same_kind and same_kind[-1].hash == digest and (kind == "raw" or same_kind[-1].base == base):
        return same_kind[-1]
    version = Version(
        name=name,
        kind=kind,
        hash=digest,
        base=base,
        parent=known[-1].name if known else "",
        log_through=log_through,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        counts=counts(manifest),
        lineage=lineage,
        rules=BY_CONTENT,
        chain=chain,
    )
    before = reading.contents(workspace.manifests / f"{version.parent}.json") if version.parent else b""
    version = replace(version, seal=_seal(version, before))
    files.write_table(workspace.manifests / f"{name}.parquet", manifest)
    files.write_new(workspace.manifests / f"{name}.json", files.json_bytes(asdict(version)))
    return version


def _seal(version: Version, before: bytes) -> str:
    """Return the SHA-256 of the file of the record before a version's and of its record without the seal."""
    return hashlib.sha256(before + files.json_bytes({**asdict(version), "seal": ""})).hexdigest()


def rebuilt(workspace: Workspace, version: Version, table: pd.DataFrame) -> pd.DataFrame:
    """Return a version rebuilt from its raw version and the log (``curation.decisions.log.Log.table``)."""
    base = rows(workspace, find(workspace, version.base))
    until = table[table["seq"] <= version.log_through]
    if version.rules == BY_PATH:
        return replay(base, until, BY_PATH)
    return replay(base, followed(workspace, until, base).table)


def followed(workspace: Workspace, table: pd.DataFrame, raw: pd.DataFrame | Version) -> Followed:
    """Return the log as it applies to the rows of a raw version; see ``curation.decisions.follow``.

    The rows of a version are only read if people have decided on images.
    """
    if people_rows(table).empty:
        return Followed(table.reset_index(drop=True), none_lost())
    now = rows(workspace, raw) if isinstance(raw, Version) else raw
    return follow(table, now, _past(workspace, now))


def identified(workspace: Workspace, table: pd.DataFrame) -> pd.DataFrame:
    """Return people's decisions on images that were not undone, with the pictures that they were made on."""
    return follow_identified(table, _past(workspace, rows(workspace, find(workspace, "raw"))))


def overruled(workspace: Workspace, table: pd.DataFrame, raw: pd.DataFrame) -> set[tuple[str, str]]:
    """Return the (path, action) of a raw version's images in which people overruled a policy."""
    return overruled_now(table, raw, _past(workspace, raw))


def _past(workspace: Workspace, raw: pd.DataFrame) -> Past:
    """Return a function from a decision to the raw versions that it may have been made on.

    These are the base of the version before it, and of the one after it, or ``raw`` if none was committed since.
    """
    cleaned = [version for version in versions(workspace) if version.kind == "cleaned"]
    images_now = cache(lambda: images_of(raw))

    @cache
    def images(name: str) -> Images:
        return images_of(rows(workspace, find(workspace, name)))

    @cache
    def past(seq: int) -> list[Images]:
        before = [version.base for version in cleaned if version.log_through < seq][-1:]
        after = [version.base for version in cleaned if version.log_through >= seq][:1]
        return [images(name) for name in (*before, *after)] + [images_now()] * (not after)

    return past


def require_whole_log(workspace: Workspace, through: int) -> None:
    """Refuse a log that is shorter than a committed version states, or another one than the version rests on.

    Raises:
        WorkspaceError: lines of the log are gone, or it was replaced by that of another copy of the workspace.

    """
    known = versions(workspace)
    for version in known:
        if version.log_through > through:
            raise WorkspaceError(
                f"{workspace.decisions} ends at decision {through}, but {version.name} rests on decision "
                f"{version.log_through}; restore the log from a copy"
            )
    chained = [version for version in known if version.chain and version.log_through]
    newest = max(chained, key=lambda version: version.log_through, default=None)
    if newest is not None and log.stated_chain(workspace.decisions, newest.log_through) not in ("", newest.chain):
        raise WorkspaceError(
            f"{workspace.decisions} is not the log that {newest.name} was made from; restore the log from a copy, and "
            "add decisions of another copy of this workspace with curate merge"
        )


def verify(workspace: Workspace) -> list[str]:
    """Return what is wrong with versions, records, tags, kept policies, the log and the issues, a sentence each."""
    from curation.decisions.policy import edited as edited_policies  # here because it loads pydantic

    try:
        table = log.Log(workspace.decisions).table
        require_whole_log(workspace, len(table))
        known = versions(workspace)
        tags(workspace)
        chain = log.chain_of(workspace.decisions)
    except (log.LogError, WorkspaceError) as error:
        return [str(error)]
    problems = [f"{workspace.decisions}: {chain.broken}; restore the log from a copy"] * bool(chain.broken)
    for version in known:
        problems += _problems_of(workspace, version, table, chain)
    numbers = [version.number for version in known]
    if numbers != list(range(1, len(numbers) + 1)):
        problems.append(f"{workspace.manifests}: the versions are not numbered 1 to {len(numbers)}: {numbers}")
    sealed = next((version.number for version in known if version.seal), None)
    problems += [
        f"{version.name}: {version.name}.json has left the seals that versions before it have; it was edited"
        for version in known
        if sealed is not None and version.number > sealed and not version.seal
    ]
    problems += [*_problems_of_tags(workspace, known), *edited_policies(workspace.policies)]
    return [*problems, *issues.faults(workspace)]


def not_sealed(workspace: Workspace) -> list[str]:
    """Return which decisions and versions of older tools ``verify`` can check less strictly, a sentence each."""
    chain = log.chain_of(workspace.decisions)
    first = chain.begins or max(chain.values) + 1
    notes = []
    if first > 1:
        notes.append(
            f"Decisions 1 to {first - 1} are older than the log's chain, which begins with the next: replaying them "
            "proves what was decided, but not when."
        )
    unsealed = [version.name for version in versions(workspace) if not version.seal]
    if unsealed:
        notes.append(f"{', '.join(unsealed)}: older than the seal on a version's times, policy and settings.")
    return notes


def _problems_of(workspace: Workspace, version: Version, table: pd.DataFrame, chain: log.Chain) -> list[str]:
    try:
        stored = rows(workspace, version)
        remade = stored if version.kind == "raw" else rebuilt(workspace, version, table)
    except (WorkspaceError, tables.TableError, log.LogError) as error:
        return [f"{version.name}: {error}"]
    if content_hash(stored) != version.hash:
        return [f"{version.name}: its rows do not have the hash that {version.name}.json states; one was edited"]
    if content_hash(remade) != version.hash:
        return [f"{version.name}: replaying the log on {version.base} gives other rows; the log was edited"]
    found = []
    if counts(stored) != version.counts:
        found.append(f"{version.name}: {version.name}.json states other counts than its rows have; it was edited")
    if version.chain and not chain.broken and chain.values.get(version.log_through) != version.chain:
        found.append(f"{version.name}: the log up to decision {version.log_through} is not the one it was made from")
    return found


def diff(before: pd.DataFrame, after: pd.DataFrame) -> pd.DataFrame:
    """Return one row for each image that differs between two manifests.

    Returns:
        columns path, change (added, removed, excluded, restored, moved, relabelled, reweighted, other), before, after,
        reason; sorted by change and path.

    """
    import numpy as np
    import pandas as pd

    place = rows_of(before["path"], after["path"])
    same = np.flatnonzero(place >= 0)
    differs = np.zeros(len(same), dtype=np.bool_)
    for name in before.columns.drop("path"):
        one, other = before[name].iloc[same], after[name].iloc[place[same]]
        differs |= one.reset_index(drop=True).ne(other.reset_index(drop=True)).to_numpy()
    gone, new = np.flatnonzero(place < 0), np.setdiff1d(np.arange(len(after)), place)
    first, second = (np.union1d(rest, at[differs]) for rest, at in ((gone, same), (new, place[same])))
    changed = before.iloc[first].merge(
        after.iloc[second], on="path", how="outer", suffixes=("_a", "_b"), indicator=True
    )
    changes = []
    for row in records(changed):
        change = _change(row)
        if change:
            changes.append(
                {
                    "path": row["path"],
                    "change": change,
                    "before": _state(row, "_a"),
                    "after": _state(row, "_b"),
                    "reason": row["reason_b"] if row["_merge"] != "left_only" else "",
                }
            )
    frame = pd.DataFrame(changes, columns=["path", "change", "before", "after", "reason"])
    return frame.sort_values(["change", "path"], ignore_index=True)


def _change(row: dict[str, Any]) -> str:
    if row["_merge"] != "both":
        return "added" if row["_merge"] == "right_only" else "removed"
    if row["status_a"] != row["status_b"]:
        return "excluded" if row["status_b"] == "excluded" else "restored"
    changes = {"split": "moved", "label": "relabelled", "weight": "reweighted", "soft_label": "reweighted"}
    changes["subject"] = "person"
    for column, change in changes.items():
        if row[f"{column}_a"] != row[f"{column}_b"]:
            return change
    same = all(row[f"{column}_a"] == row[f"{column}_b"] for column in ("sha256", "original_label"))
    return "" if same else "other"


def _state(row: dict[str, Any], suffix: str) -> str:
    absent = row["_merge"] == ("right_only" if suffix == "_a" else "left_only")
    if absent:
        return ""
    weight = row[f"weight{suffix}"]
    text = f"{row[f'status{suffix}']} as {row[f'label{suffix}']}"
    for column, words in (("split", "in {}"), ("subject", "person {}")):
        if row["_merge"] == "both" and row[f"{column}_a"] != row[f"{column}_b"]:
            text += ", " + words.format(row[f"{column}{suffix}"] or "unknown")
    return text if weight == 1.0 else f"{text}, weight {weight:g}"
