"""The persons in a workspace's images: given by the source or by people, or recognised; and how to forget them.

Recognition protects measurements and names nobody: embeddings and groups stay in the workspace, are never exported, and
``forget`` deletes them. Until then, later runs use the network that was once named.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from curation.base import files
from curation.base.arrays import Flags, Floats, Floats32, Ints
from curation.base.progress import Display
from curation.base.settings import Settings
from curation.base.workspace import Workspace, read_listing
from curation.decisions import manifest
from curation.decisions.follow import Image, not_same_value, separated_people
from curation.decisions.log import Draft, Log
from curation.decisions.replay import COLUMN_SET, people_rows

if TYPE_CHECKING:
    from curation.checks.base import CheckInputs
    from curation.checks.graph import CopyGraph
    from curation.checks.subjects import Separated, Subjects
    from curation.measure.identity import Embeddings

_NAME_DIGITS = 12
"""Hexadecimal digits of a content hash in the name of a recognised person."""

_SUREST = 0.9999
"""Largest probability of a recognised group: the distribution of distances is not known further."""

_COMPARED = 512
"""Most pictures of a person that a picture is compared with to find the nearest."""

_DIFFERENT_PAIRS = 2000
"""Pairs of people with given names from which the distribution of distances is checked."""


Apart = Sequence[Sequence[Sequence[str]]]


def network_in_use(workspace: Workspace, settings: Settings) -> str:
    """Return the network of the settings, else the one that this workspace has used, else ""."""
    return settings.identity.network or str(record_of(workspace).get("network", ""))


def record_of(workspace: Workspace) -> dict[str, Any]:
    """Return how people were recognised: network, limit, expected share of false pairs; {} if they were not."""
    record = files.read_json(workspace.subjects.with_suffix(".json"), shape={"key": str, "network": str})
    return dict(record or {})


def find(workspace: Workspace, inputs: CheckInputs, display: Display) -> pd.DataFrame | None:
    """Return the person of each image, computed again only if inputs changed; None if none is known or asked for.

    Returns:
        one row per image whose person is known: path, person (a name), given (bool), sure (expected share of right
        pairs), perhaps (a larger, less certain group, or ""), unsure (its share), nearest (path of the most similar
        picture of the person, in another split if possible; "" for a person with one picture).

    """
    settings = inputs.settings
    network = network_in_use(workspace, settings)
    names = given_names(workspace, inputs.images)
    record_file = workspace.subjects.with_suffix(".json")
    if not network and not (names != "").any():
        for path in (record_file, workspace.subjects):  # of names that were given once
            path.unlink(missing_ok=True)
        return None
    apart = separated_people(Log(workspace.decisions).table)
    key = _key(inputs, names, network, apart)
    if record_of(workspace).get("key") == key and workspace.subjects.exists():
        texts = ("path", "person", "perhaps", "nearest")
        return files.read_table(workspace.subjects, texts=texts, numbers=("given", "sure", "unsure"))
    members = _pictures(inputs.copies, names)
    members["file"] = inputs.measurements["sha256"][inputs.readable].to_numpy()
    table, record = _found(workspace, inputs, members, network, apart, display)
    files.write_json(record_file, {**record_of(workspace), "network": network, "key": ""})  # if killed, of no inputs
    files.write_table(workspace.subjects, table)
    files.write_json(record_file, {"key": key, "network": network, **record})
    return table


def given_names(workspace: Workspace, images: pd.DataFrame) -> pd.Series:
    """Return path -> name of the person, from the source or a later decision; "" if unknown."""
    return given_or_decided(workspace, images, "subject")


def given_or_decided(workspace: Workspace, images: pd.DataFrame, action: str) -> pd.Series:
    """Return path -> split (``move``) or person (``subject``), from the source or a later decision."""
    given = images.set_index("path")[COLUMN_SET[action]].copy()
    table = Log(workspace.decisions).table
    if not (table["action"] == action).any():
        return given
    people = people_rows(manifest.followed(workspace, table, manifest.raw_manifest(images)).table)
    people = people[people["action"] == action]
    said = dict(zip(people["path"], people["value"], strict=True))
    known = [path for path in said if path in given.index]
    given.loc[known] = [said[path] for path in known]
    return given


def _key(inputs: CheckInputs, names: pd.Series, network: str, apart: Apart) -> str:
    from curation.checks.subjects import REVISION
    from curation.measure.identity import weights_digest

    digest = hashlib.sha256()
    settings = inputs.settings
    for column in (inputs.images["path"], inputs.images["split"], inputs.measurements["sha256"], names):
        digest.update(pd.util.hash_pandas_object(column, index=False).to_numpy().tobytes())
    copies = inputs.copies.members["group"]
    digest.update(pd.util.hash_pandas_object(copies, index=False).to_numpy().tobytes())
    weights = weights_digest(network) if network else ""
    plain = [settings.identity.model_dump(mode="json"), settings.measure.model_dump(mode="json"), settings.seed]
    digest.update(json.dumps([*plain, weights, REVISION, apart]).encode())
    return digest.hexdigest()


def _pictures(graph: CopyGraph, names: pd.Series) -> pd.DataFrame:
    """Return the readable images with picture (copies share one, unless given as two people) and name.

    Columns path, split, content, name, picture (0 .. N - 1).
    """
    members = graph.members[["path", "split", "content", "group"]].copy()
    members["name"] = names.reindex(members["path"]).to_numpy()
    one = members["group"].where(members["group"] != "", members["content"])
    named = members["name"].where(members["name"] != "")
    only = named.groupby(one).transform("first").where(named.groupby(one).transform("nunique") == 1)
    members["name"] = members["name"].where(members["name"] != "", only.fillna(""))
    members["picture"] = pd.factorize(one + "\0" + members["name"], sort=True)[0]
    return members.drop(columns="group")


def _found(
    workspace: Workspace, inputs: CheckInputs, members: pd.DataFrame, network: str, apart: Apart, display: Display
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Return the person of each image, and the record of how it was found."""
    from curation.checks.subjects import find_subjects

    settings = inputs.settings
    own, different = np.full((len(members), 0), np.nan, dtype=np.float32), None
    if network:
        embeddings, own = _embeddings(workspace, inputs, network, display)
        members = _unlike_apart(members, own, settings.seed)
        different = _different(embeddings, own, members["name"].to_numpy(dtype=object), settings.seed)
    first = members.drop_duplicates("picture").sort_values("picture")
    names = first["name"].to_numpy(dtype=object)
    faces = _means(own, members["picture"].to_numpy(), len(first))
    seen = _known(faces)
    with display.step("Grouping faces by person"):
        given = names[seen].tolist()
        parted = _positions(apart, members, seen)
        subjects = find_subjects(faces[seen], given, settings.identity.precision, settings.seed, different, parted)
    record = {
        "precision": settings.identity.precision,
        "pictures": len(first),
        "faces": int(seen.sum()),
        "pairs": subjects.pairs,
        "expected_false": round(subjects.expected_false, 2),
        **_proven(inputs.copies, members, seen, subjects),
    }
    whole, places = _with_named(subjects, seen, names)
    return _table(members, whole, faces.astype(np.float64)[places], places), record


def _positions(apart: Apart, members: pd.DataFrame, seen: Flags) -> Separated:
    """Return the groups that people declared different, as positions among the pictures with a face."""
    place = np.where(seen, np.cumsum(seen) - 1, -1)
    of_content = dict(iter(members.groupby("file")["picture"])) if apart else {}
    return [
        [
            [at for one in part if one in of_content for at in place[of_content[one].unique()].tolist() if at >= 0]
            for part in parts
        ]
        for parts in apart
    ]


def _with_named(subjects: Subjects, seen: Flags, names: npt.NDArray[np.object_]) -> tuple[Subjects, Ints]:
    """Add pictures without a face whose person is given; return also the positions of all pictures with a person."""
    places = np.flatnonzero(seen | (names != ""))
    group, perhaps = np.arange(len(names)) + len(names), np.arange(len(names)) + len(names)
    sure, unsure = np.ones(len(names)), np.ones(len(names))
    for whole, part in ((group, subjects.group), (perhaps, subjects.perhaps)):
        whole[seen] = part
    for share, part_share in ((sure, subjects.sure), (unsure, subjects.unsure)):
        share[seen] = part_share
    for whole in (group, perhaps):
        # pictures with a face come first, so that the others of that name join their group
        named = pd.DataFrame({"name": names, "faceless": ~seen, "group": whole}).query("name != ''")
        of_name = named.sort_values("faceless", kind="stable").drop_duplicates("name").set_index("name")["group"]
        without = ~seen & (names != "")
        whole[without] = of_name.reindex(names[without]).to_numpy()
    told = replace(subjects, group=group[places], perhaps=perhaps[places], sure=sure[places], unsure=unsure[places])
    return told, places


def _embeddings(workspace: Workspace, inputs: CheckInputs, name: str, display: Display) -> tuple[Embeddings, Floats32]:
    """Return the embeddings of all contents, new ones made now, and those of the readable images, row by row."""
    from curation.measure.identity import choose_network, load_embeddings, measure_identity

    settings = inputs.settings
    network = choose_network(name)
    listing = read_listing(workspace)
    chosen = (settings.measure, settings.identity, settings.engine)
    with display.step("Recognising faces") as report:
        measure_identity(listing, inputs.measurements, workspace.measurements, chosen, network, display.note, report)
    hashes = inputs.measurements["sha256"][inputs.readable]
    contents = hashes.drop_duplicates().tolist()
    found = load_embeddings(contents, workspace.measurements, settings.measure, network)
    return found, found.first[pd.Index(contents).get_indexer(hashes)]


def _unlike_apart(members: pd.DataFrame, own: Floats32, seed: int) -> pd.DataFrame:
    """Return the members, with copies whose faces differ as pictures of their own, as copies may be found in error.

    Faces differ if they are further apart than half the usual distance between two people.
    """
    drawn = np.random.default_rng(seed).integers(0, max(len(own), 1), (2, _DIFFERENT_PAIRS))
    usual = np.nanmedian(np.linalg.norm(own[drawn[0]] - own[drawn[1]], axis=1)) if len(own) > 1 else np.nan
    known = _known(own)
    first = pd.Series(np.arange(len(own))).where(known).groupby(members["picture"].to_numpy()).transform("first")
    head = np.asarray(first.fillna(0), np.int64)
    unlike = known & (np.linalg.norm(own - own[head], axis=1) > usual / 2)
    alone = members["picture"].astype(str) + "\0" + members["content"].where(unlike, "")
    return members.assign(picture=pd.factorize(alone, sort=True)[0])


def _known(faces: Floats32) -> Flags:
    """Return (N,) which rows hold an embedding."""
    if not faces.shape[1]:
        return np.zeros(len(faces), dtype=np.bool_)
    return np.asarray(~np.isnan(faces[:, 0]), dtype=np.bool_)


def _means(own: Floats32, picture: Ints, pictures: int) -> Floats32:
    """Return (pictures, numbers) the mean embedding of each picture's images, NaN where none has one."""
    known = _known(own)
    total, count = np.zeros((pictures, own.shape[1])), np.zeros(pictures)
    np.add.at(total, picture[known], own[known].astype(np.float64))
    np.add.at(count, picture[known], 1)
    with np.errstate(invalid="ignore"):
        return (total / np.where(count > 0, count, np.nan)[:, None]).astype(np.float32)


def _different(embeddings: Embeddings, own: Floats32, names: npt.NDArray[np.object_], seed: int) -> Floats | None:
    """Return (M, 2, numbers) pairs of faces of certainly different people: in one picture, or of two given names."""
    rng = np.random.default_rng(seed)
    together = np.stack([embeddings.others, embeddings.first[embeddings.beside]], axis=1)
    parts = [together[~np.isnan(together).any(axis=(1, 2))]]
    from curation.checks.subjects import is_made

    real = np.array([bool(name) and not is_made(name) for name in names], dtype=np.bool_)
    named = np.flatnonzero(real & ~np.isnan(own).any(axis=1))
    if len(named):
        one, other = rng.choice(named, (2, _DIFFERENT_PAIRS))
        apart = names[one] != names[other]
        parts.append(np.stack([own[one[apart]], own[other[apart]]], axis=1))
    found = np.concatenate(parts).astype(np.float64)
    return found if len(found) else None


def _proven(graph: CopyGraph, members: pd.DataFrame, seen: Flags, subjects: Subjects) -> dict[str, Any]:
    """Return how many pairs of shots of one session there are, and how many of them are in one group.

    An independent check of recognition; about one in ten such pairs only look alike.
    """
    group = np.full(len(seen), -1, dtype=np.int64)
    group[seen] = subjects.group
    picture = members.drop_duplicates("content").set_index("content")["picture"]
    sessions = graph.sessions.reset_index()
    one, other = (picture.reindex(sessions[side]).to_numpy(dtype=np.int64) for side in ("content", "partner"))
    both = (one != other) & (group[one] >= 0) & (group[other] >= 0)
    return {"session_pairs": int(both.sum()), "session_pairs_joined": int((group[one] == group[other])[both].sum())}


def _table(members: pd.DataFrame, subjects: Subjects, faces: Floats, pictures: Ints) -> pd.DataFrame:
    """Return the person of each image, see ``find``; ``pictures`` have a person, ``faces`` are their embeddings."""
    place = np.full(int(members["picture"].to_numpy().max(initial=-1)) + 1, -1, dtype=np.int64)
    place[pictures] = np.arange(len(pictures))
    at = place[members["picture"]]
    known, at = members[at >= 0], at[at >= 0]
    frame = pd.DataFrame(
        {
            "path": known["path"].to_numpy(),
            "person": _named(known, subjects.group[at], "person"),
            "given": (known["name"] != "").to_numpy(),
            "sure": np.round(np.where(known["name"] != "", 1.0, np.minimum(subjects.sure[at], _SUREST)), 6),
            "perhaps": _named(known, subjects.perhaps[at], "perhaps"),
            "unsure": np.round(np.minimum(subjects.unsure[at], _SUREST), 6),
        }
    )
    alone = pd.Series(subjects.group[at]).groupby(subjects.perhaps[at]).transform("nunique").to_numpy() == 1
    frame["perhaps"] = frame["perhaps"].mask(alone, "")
    return frame.assign(nearest=_nearest(frame, known["split"].to_numpy(), at, faces))


def _named(known: pd.DataFrame, number: Ints, kind: str) -> pd.Series:
    """Return each group's name: the given one, or one made of the smallest hash of its contents."""
    from curation.checks.subjects import is_made

    frame = known[["name", "content"]].assign(number=number)
    named = frame[frame["name"] != ""].drop_duplicates(["number", "name"])
    named = named.sort_values("name", key=lambda names: names.map(is_made), kind="stable")
    given = named.drop_duplicates("number").set_index("number")["name"]
    smallest = frame.groupby("number")["content"].min().str[:_NAME_DIGITS]
    names = (f"{kind}-" + smallest).mask(smallest.index.isin(given.index), "subject-" + given.reindex(smallest.index))
    return names.reindex(number).reset_index(drop=True)


def _nearest(frame: pd.DataFrame, split: npt.NDArray[Any], at: Ints, faces: Floats) -> list[str]:
    """Return each image's most similar other picture of its person, in another split if possible."""
    nearest = np.full(len(frame), -1, dtype=np.int64)
    leaks = pd.Series(split).groupby(frame["person"]).transform("nunique").gt(1)
    pool = frame["person"].where(leaks | (frame["perhaps"] == ""), frame["perhaps"])
    for rows in map(np.asarray, frame.groupby(pool).indices.values()):
        if len(rows) < 2:
            continue
        others = rows[:: -(-len(rows) // _COMPARED)]
        away = np.nan_to_num(_distances(faces[at[rows]], faces[at[others]]), nan=1e3)
        same_split = split[rows][:, None] == split[others]
        same_picture = at[rows][:, None] == at[others]
        cost = away + 1e4 * same_split + 1e5 * same_picture + 1e9 * (rows[:, None] == others)
        best = cost.argmin(axis=1)
        nearest[rows] = np.where(cost[np.arange(len(rows)), best] < 1e9, others[best], -1)
    paths = np.append(frame["path"].to_numpy(dtype=object), "")
    return list(paths[nearest])


def _distances(one: Floats, other: Floats) -> Floats:
    square = (one**2).sum(axis=1)[:, None] + (other**2).sum(axis=1) - 2 * one @ other.T
    away: Floats = np.sqrt(np.maximum(square, 0.0))
    return away


def same(given: pd.Series, images: pd.DataFrame, paths: Sequence[str], told: Draft) -> list[Draft]:
    """Return the decisions by which images show one person.

    They get the name that one of them has, or else a made one (``is_made``).

    Args:
        given: path -> name (``given_names``)
        images: the images table
        paths: at least two
        told: reason and time of the decisions

    """
    from curation.checks.subjects import is_made

    about = images.set_index("path").loc[sorted(paths)]
    names = sorted(set(given[about.index]) - {""}, key=lambda name: (is_made(name), name))
    name = names[0] if names else f"person-{about['sha256'].min()[:_NAME_DIGITS]}"
    return [replace(told, path=path, action="subject", value=name) for path in about.index]


def not_same(
    given: pd.Series, images: pd.DataFrame, paths: Sequence[str], others: Sequence[str], told: Draft
) -> list[Draft]:
    """Return the decisions by which images do not show the person of the ``others``; without others, no two show one.

    A contradicting name is removed from them first.

    Args:
        given: path -> name (``given_names``)
        images: the images table
        paths: the images
        others: images that show somebody else
        told: reason and time of the decisions

    """
    parts = [list(paths), list(others)] if others else [[path] for path in paths]
    about = {row[0]: Image(row[1], row[2]) for row in images[["path", "sha256", "label"]].itertuples(index=False)}
    seen = given[list(others or paths)].value_counts()
    taken = [path for path in paths if given[path] and seen.get(given[path], 0) > (not others)]
    drafts = [replace(told, path=path, action="subject", value="") for path in taken]
    return [*drafts, replace(told, path="", action="not_same", value=not_same_value(about, parts))]


def forget(workspace: Workspace) -> int:
    """Delete the embeddings of faces and the people recognised by them; return the embeddings' size in bytes.

    The caller holds the lock.
    """
    from curation.measure.identity import forget as forget_embeddings

    for path in (workspace.subjects, workspace.subjects.with_suffix(".json")):
        path.unlink(missing_ok=True)
    return forget_embeddings(workspace.measurements)
