"""Decisions follow the picture: to which images of a raw manifest people's decisions apply, and which apply to none.

A person decided on a picture (the SHA-256 of its file) under a label. A renamed or moved file keeps the decision,
another picture under an old name does not inherit it, and "keep", "relabel" and "soften", which concern the label, no
longer apply when the data come with another one. Of several files with the same content the decision's path tells which
was meant; if that path is gone, those added since are meant, not copies that were beside it then.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from curation.base.files import parsed
from curation.base.frames import is_in
from curation.decisions.log import LogError, undone_in
from curation.decisions.replay import overruled, people_rows

if TYPE_CHECKING:
    import pandas as pd


T = TypeVar("T", bound=tuple[Any, ...])


class Image(NamedTuple):
    """What a raw manifest states about a path."""

    content: str
    label: str


Images = Mapping[str, Image]


@dataclass(frozen=True)
class Followed:
    """A log's table in which people's rows have paths of a raw manifest, and the rows that apply to none.

    lost: seq, actor, path, action, value, content, why; the last decision on each picture.
    """

    table: pd.DataFrame
    lost: pd.DataFrame


_LOST = ["seq", "actor", "path", "action", "value", "content", "why"]


def none_lost() -> pd.DataFrame:
    """Return ``Followed.lost`` without rows."""
    import pandas as pd

    return pd.DataFrame({name: pd.Series(dtype="int64" if name == "seq" else "str") for name in _LOST})


def images_of(raw: pd.DataFrame) -> dict[str, Image]:
    """Return path -> content and given label of a raw manifest."""
    return dict(zip(raw["path"], map(Image, raw["sha256"], raw["original_label"]), strict=True))


Past = Callable[[int], Sequence[Images]]
"""Returns the raw manifests that a decision, given by its number, may have been made on, the likeliest first."""


def identified(table: pd.DataFrame, past: Past) -> pd.DataFrame:
    """Return people's decisions on images that were not undone, with the content and label that they were made on.

    Decisions of older versions name no content: it is taken from the manifest in force when they were logged.
    """
    people = people_rows(table)
    content, label = people["content"].copy(), people["label"].copy()
    unnamed = people.loc[content == "", ["seq", "path"]]
    for place, seq, path in unnamed.itertuples(name=None):
        then = next((images[path] for images in past(seq) if path in images), None)
        content[place], label[place] = then or (UNKNOWN, "")
    return people.assign(content=content, label=label)


_ON_THE_LABEL = ("keep", "relabel", "soften")
"""Actions that concern the label; all others apply to the picture under any label."""

UNKNOWN = "?"
"""Content of a decision on an unknown picture: it is followed by its path."""


def follow(table: pd.DataFrame, raw: pd.DataFrame, past: Past) -> Followed:
    """Return the log as it applies to ``raw``; see the module.

    Args:
        table: of the log.
        raw: the rows of a raw version.
        past: what decisions were made on.

    """
    import pandas as pd

    people = identified(table, past)
    here = raw[is_in(raw["path"], people["path"])].set_index("path")
    at_home = people["content"].eq(people["path"].map(here["sha256"]))
    same_label = people["label"].eq(people["path"].map(here["original_label"]))
    plain = people[at_home & (same_label | ~people["action"].isin(_ON_THE_LABEL))]
    targets, lost = _looked_for(people[~people["seq"].isin(plain["seq"])], raw, past)
    moved = targets.merge(people, on="seq").assign(path=lambda rows: rows["target"])[list(table.columns)]
    others = table[~table["seq"].isin(people["seq"])]
    whole = pd.concat([others, plain, moved]).sort_values("seq", kind="stable", ignore_index=True)
    gone = lost.merge(people, on="seq").drop_duplicates(["path", "content"], keep="last")
    return Followed(whole.astype(table.dtypes), gone[_LOST])


def _looked_for(people: pd.DataFrame, raw: pd.DataFrame, past: Past) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return to which paths decisions apply (seq, target), and which do not apply any more (seq, why)."""
    import pandas as pd

    now = images_of(raw) if len(people) else {}
    paths_of = cache(lambda: {str(content): list(paths) for content, paths in raw.groupby("sha256")["path"]})
    targets: list[tuple[int, str]] = []
    lost: list[tuple[int, str]] = []
    rows = people[["seq", "path", "action", "value", "content", "label"]].itertuples(index=False, name=None)
    for seq, path, action, value, *taken_on in rows:
        about = Image(*taken_on)
        found = list(_about(about, path, now, paths_of, partial(past, seq)))
        if action == "keep" and len(found) > 1:
            found = [min(found, key=lambda other: (other.rpartition("/")[2] != path.rpartition("/")[2], other))]
        applying = [other for other in found if _applies(action, value, about, now[other])]
        targets += [(seq, other) for other in applying]
        if not applying:
            lost.append((seq, _why(about, path, [now[other] for other in found], now)))
    whole = {"seq": "int64"}
    return (
        pd.DataFrame(targets, columns=["seq", "target"]).astype(whole),
        pd.DataFrame(lost, columns=["seq", "why"]).astype(whole),
    )


def overruled_now(table: pd.DataFrame, raw: pd.DataFrame, past: Past) -> set[tuple[str, str]]:
    """Return the (path, action) of ``raw`` in which people overruled a policy, following the picture."""
    rows = overruled(table)
    found: set[tuple[str, str]] = set()
    for seq, path, action in rows[["seq", "path", "action"]].itertuples(index=False, name=None):
        then = next((images[path].content for images in past(seq) if path in images), "")
        same = raw.loc[raw["sha256"] == then, "path"] if then else raw.loc[raw["path"] == path, "path"]
        found |= {(other, action) for other in ([path] if path in set(same) else same)}
    return found


def not_copies_value(images: Mapping[str, Image], paths: Collection[str]) -> str:
    """Return the value of a ``not_copies`` line about images: their contents, and their paths for information."""
    return json.dumps(
        {"contents": sorted({images[path].content for path in paths}), "paths": sorted(paths)}, ensure_ascii=False
    )


def separated_copies(table: pd.DataFrame) -> list[tuple[str, ...]]:
    """Return the sets of contents that, according to people, are not copies of each other.

    Raises:
        LogError: a line names no contents.

    """
    return _contents(table, "not_copies", lambda contents: tuple(map(str, contents)))


def not_same_value(images: Mapping[str, Image], parts: Collection[Collection[str]]) -> str:
    """Return the value of a ``not_same`` line: images of different parts show different people."""
    paths = sorted(sorted(part) for part in parts)
    contents = [sorted({images[path].content for path in part}) for part in paths]
    return json.dumps({"contents": contents, "paths": paths}, ensure_ascii=False)


def separated_people(table: pd.DataFrame) -> list[tuple[tuple[str, ...], ...]]:
    """Return sets of parts of contents; different parts of a set, according to people, show different people.

    Raises:
        LogError: a line names no contents.

    """
    return _contents(table, "not_same", lambda contents: tuple(tuple(map(str, part)) for part in contents))


def _contents(table: pd.DataFrame, action: str, read: Callable[[Any], T]) -> list[T]:
    """Return what the lines of an action that were not undone state as contents, sorted, each once."""
    rows = table[(table["action"] == action) & ~table["seq"].isin(undone_in(table))]
    found = set()
    for seq, value in rows[["seq", "value"]].itertuples(index=False, name=None):
        try:
            found.add(read(parsed(value)["contents"]))
        except (ValueError, TypeError, KeyError) as error:
            raise LogError(f"decision {seq} ({action}) names no contents: {value!r}; restore the log") from error
    return sorted(found)


def _about(
    about: Image,
    path: str,
    now: Images,
    paths_of: Callable[[], dict[str, list[str]]],
    past: Callable[[], Sequence[Images]],
) -> Iterator[str]:
    """Yield the paths to which a decision applies now."""
    if path in now and about.content in (UNKNOWN, now[path].content):
        yield path
    elif about.content not in ("", UNKNOWN):
        nothing = Image("", "")
        then: Images = next((images for images in past() if images.get(path, nothing).content == about.content), {})
        for other in paths_of().get(about.content, []):
            if other not in then or then[other].content != about.content:
                yield other


def _applies(action: str, value: str, about: Image, now: Image) -> bool:
    """Return whether a decision still applies to a picture that may come with another label now."""
    same = about.content == UNKNOWN or about.label == now.label
    return same or action not in _ON_THE_LABEL or (action == "relabel" and value == now.label)


def _why(about: Image, path: str, found: list[Image], now: Images) -> str:
    if found:
        return f"it was made on the label {about.label or 'none'!r}, and the data say {found[0].label or 'none'!r} now"
    return "another picture has this name now" if path in now else "the picture is gone"
