"""The App's side: Python operators, a panel, and what they do to the samples. Loaded by FiftyOne's server only.

Every answer is on disk, in the journal, before the database is touched; the database only shows it.
"""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import fiftyone.operators as foo
from fiftyone.core.json import stringify
from fiftyone.operators import types

from curation.base import reading
from curation.review import review_session as sessions
from curation.review.journal import ReviewError
from curation.review.push import answered_of, words
from curation.review.read_model import sample_id
from curation.review.review_session import WALK
from curation.review.units import (
    Sample,
    is_ours,
    named,
    of_people_in,
    people_here,
    samples_of,
    standing,
    the_session,
    together,
    unit,
)
from curation.review.views import MAP_KEY, PANEL

PLUGIN = "@face-curation/review"

_SHOWN = 3
"""Selected images whose evidence the panel shows."""

_AHEAD = 6
"""Images or groups whose pictures the opened view fetches before they are asked for."""

_BEHIND = 50
"""Images before the opened one in the grid to which one can go back."""

_panel_ids: set[str] = set()


def _about(ctx: Any) -> list[Sample]:
    """Return what an answer is about: what the opened view names, else the opened sample and its copies.

    Else it is the selection, in which the tile of a group stands for the whole group.
    """
    if ctx.params.get("names"):
        return named(ctx, ctx.params["names"])
    chosen = [str(ctx.current_sample)] if ctx.current_sample else [str(one) for one in ctx.selected]
    samples = samples_of(ctx.dataset.select(chosen, ordered=True)) if chosen else []
    by_group = any("GroupBy" in stage.get("_cls", "") for stage in ctx.request_params.get("view") or [])
    if ctx.current_sample or by_group:
        units = together(ctx, samples, of_people_in(people_here(ctx)))
        samples = [copy for members in units for copy in members]
    return samples


def _show_answers(ctx: Any, names: Sequence[str]) -> list[dict[str, Any]]:
    """Update the samples from the journals, and return them in the App's format."""
    from fiftyone import Classification

    review_session = the_session()
    paths = {review_session.path(name) for name in names}
    answers = [answer for (path, _), answer in review_session.answers().items() if path in paths]
    if review_session.session.blind:  # nobody sees what the others said
        answers = [answer for answer in answers if answer.reviewer == review_session.session.reviewer]
    said = answered_of(answers)
    shown = []
    for sample in ctx.dataset.select([sample_id(name) for name in names]).iter_samples(autosave=True):
        path = review_session.path(sample["path"])
        decided = said.decided.get(path, "")
        sample["decided"] = Classification(label=decided) if decided else None
        sample["reviewers"] = said.reviewers.get(path, [])
        sample["disagree"] = path in said.disagree
        sample["digest"] = None  # no longer what was pushed: the next push looks at it again
        shown.append(stringify(sample.to_mongo_dict(include_id=True)))
    return shown


def _state() -> str:
    progress = the_session().progress()
    return f"{the_session().session.reviewer}: {progress.left:,} of {progress.total:,} left"


def _after(ctx: Any, note: str = "", shown: Sequence[dict[str, Any]] = ()) -> None:
    """Update the tiles and the key bar, and the panel unless the opened view covers it."""
    ctx.trigger(f"{PLUGIN}/show_keys", {"state": _state(), "note": note, "samples": list(shown)})
    if not ctx.params.get("names"):
        for panel_id in _panel_ids:
            ctx.ops.show_panel_output(_panel_output(ctx), panel_id=panel_id)


def _refused(ctx: Any, error: ReviewError) -> dict[str, Any]:
    """Report why nothing was done, in the key bar and as a notification of the App."""
    ctx.trigger(f"{PLUGIN}/show_keys", {"note": str(error), "refused": True})
    ctx.ops.notify(str(error), variant="warning")
    return {"error": str(error)}


class _Operator(foo.Operator):  # type: ignore[misc]
    """Base of the operators: ``key`` is the name that the App's JavaScript calls, ``title`` is shown to people."""

    key = ""
    title = ""
    options: Mapping[str, bool] = {}

    @property
    def config(self) -> Any:
        """The operator's configuration for the App."""
        return foo.OperatorConfig(name=self.key, label=f"Review: {self.title}", view_target=False, **self.options)


class Look(_Operator):
    """Tell the opened view what to show: given names, the opened sample and its neighbours, or the queue."""

    key, title = "look", "what comes next"
    options: Mapping[str, bool] = {"unlisted": True}

    def execute(self, ctx: Any) -> dict[str, Any]:
        """Return the names in order, the place to begin at, and the first images or groups."""
        if not is_ours(ctx):
            return {"error": "this dataset is not under review"}
        place, walk = 0, list(ctx.params.get("names") or [])
        if not walk and ctx.params.get("here"):
            place, walk = _view_around(ctx)
        elif not walk:
            walk = [names[0] for names in the_session().upcoming(WALK)]
        people = people_here(ctx) if ctx.params.get("here") else ctx.params.get("people")
        of_people = of_people_in(people)
        units = together(ctx, named(ctx, walk[place : place + _AHEAD]), of_people)
        told = {"walk": walk, "place": place, "people": people, "state": _state(), "ranking": the_session().ranking}
        return {**told, "units": [unit(members, of_people) for members in units]}


def _view_around(ctx: Any) -> tuple[int, list[str]]:
    """Return the opened sample's place among its neighbours in the grid, and their names."""
    identities, names = ctx.view.values(["id", "path"])
    if str(ctx.current_sample) not in identities:
        return 0, [sample.path for sample in samples_of(ctx.dataset.select([str(ctx.current_sample)]))]
    place = identities.index(str(ctx.current_sample))
    start = max(place - _BEHIND, 0)
    return place - start, names[start : start + WALK]


class _Answer(_Operator):
    """Base of the answers: write the press to the journal and show it."""

    def value(self, ctx: Any) -> str:
        """Return the answer's value."""
        return ""

    def execute(self, ctx: Any) -> dict[str, Any]:
        """Answer for the chosen images."""
        if not is_ours(ctx):
            return {}
        samples = _about(ctx)
        try:
            value = self.value(ctx)
            images = [sample.image for sample in samples]
            the_session().answer(self.key, images, value, str(ctx.params.get("reason") or ""))
        except ReviewError as error:
            return _refused(ctx, error)
        shown = _show_answers(ctx, [sample.path for sample in samples])
        if not ctx.params.get("names") and not ctx.current_sample:
            ctx.ops.clear_selected_samples()
        note = f"{words(self.key, value)}: {len(samples):,}"
        _after(ctx, note, shown)
        decided = {str(sample["path"]): (sample["decided"] or {}).get("label", "") for sample in shown}
        return {"decided": decided, "note": note, "ranking": the_session().ranking}


PLAIN = {
    "keep": "keep as imported",
    "exclude": "exclude",
    "unsure": "unsure",  # nothing is decided; another person should look
    "accept": "accept the suggestion",
    "same": "same person",
}
"""Answers without a value: key and title."""


def _reason(inputs: Any) -> Any:
    inputs.str("reason", label="Why (optional)", required=False)
    return types.Property(inputs)


class Relabel(_Answer):
    """The image gets another label."""

    key, title = "relabel", "relabel"

    def resolve_input(self, ctx: Any) -> Any:
        """Ask for the class."""
        inputs = types.Object()
        if is_ours(ctx):
            inputs.enum("label", list(the_session().session.classes), label="Class", required=True)
        return _reason(inputs)

    def value(self, ctx: Any) -> str:
        """Return the class."""
        return str(ctx.params.get("label", ""))


class Soften(_Answer):
    """The image lies between two classes."""

    key, title = "soften", "between two classes"

    def resolve_input(self, ctx: Any) -> Any:
        """Ask for two classes and the share of the first."""
        inputs = types.Object()
        if is_ours(ctx):
            for name in ("first", "second"):
                inputs.enum(name, list(the_session().session.classes), label=f"The {name} class", required=True)
            inputs.float("share", label="Share of the first", min=0.05, max=0.95, default=0.5)
        return _reason(inputs)

    def value(self, ctx: Any) -> str:
        """Return the classes' shares as JSON."""
        share = float(ctx.params.get("share") or 0.5)
        return json.dumps({str(ctx.params.get("first")): share, str(ctx.params.get("second")): 1 - share})


class NotSame(_Answer):
    """The images show somebody else than those beside them that were left out; without any, no two show one person."""

    key, title = "not_same", "not the same person"

    def value(self, ctx: Any) -> str:
        """Return the names of the images whose person these are not, as JSON."""
        return json.dumps([str(name) for name in ctx.params.get("others") or []])


class Undo(_Operator):
    """Undo the last answer."""

    key, title = "undo", "undo"

    def execute(self, ctx: Any) -> dict[str, Any]:
        """Undo, and return what the answer was about, so that it is shown again."""
        if not is_ours(ctx):
            return {}
        try:
            names = the_session().undo()
        except ReviewError as error:
            return _refused(ctx, error)
        if not names:
            return _refused(ctx, ReviewError("there is nothing to undo"))
        note = f"undone: {len(names):,}"
        _after(ctx, note, _show_answers(ctx, names))
        return {"names": names, "note": note}


class Queue(_Operator):
    """Make a queue of the images lassoed on the map, or of those in the grid: its selection, else the whole view."""

    key, title = "queue", "queue what the grid shows"

    def execute(self, ctx: Any) -> dict[str, Any]:
        """Put the images into the queue, in the grid's order."""
        if not is_ours(ctx) or the_session().session.blind:
            return {}
        chosen = [str(one) for one in ctx.selected]
        view = ctx.view.select(chosen) if chosen else ctx.view
        names = ctx.params.get("queue") or view.values("path")
        if not names:
            return _refused(ctx, ReviewError("the grid shows no image"))
        the_session().requeue(names, f"{len(names):,} images chosen in the App")
        _after(ctx, f"queued: {len(names):,}")
        return {"queued": len(names)}


class Map(_Operator):
    """Return where each image is on the map, and the values to colour it by."""

    key, title = "map", "map of all images"
    options: Mapping[str, bool] = {"unlisted": True}

    def execute(self, ctx: Any) -> dict[str, Any]:
        """Return names, positions (x and y, 16 bits each) and one code per colouring, base64."""
        if not is_ours(ctx) or the_session().session.blind:
            return {"error": "there is no map of these images"}
        results = ctx.dataset.load_brain_results(MAP_KEY)
        samples = {sample.id: sample for sample in samples_of(ctx.dataset)}
        there = [place for place, one in enumerate(results.sample_ids) if one in samples]
        shown = [samples[results.sample_ids[place]] for place in there]
        low, high = results.points[there].min(axis=0), results.points[there].max(axis=0)
        places = ((results.points[there] - low) / (high - low).clip(1e-12) * 65535).astype("<u2")
        colours = {
            "label": [sample.label or "none" for sample in shown],
            "issue": [sample.worst_issue or "none" for sample in shown],
            "decision": [_decision(sample) for sample in shown],
            "split": [sample.split or "none" for sample in shown],
        }
        return {
            "names": [sample.path for sample in shown],
            "points": _text(places.tobytes()),
            "colours": {by: _coded(values) for by, values in colours.items()},
        }


def _decision(sample: Sample) -> str:
    """Return what was decided on an image, by people or else by the version."""
    if sample.decided:
        return "relabelled by people" if sample.decided.startswith("→") else f"{sample.decided}, by people"
    if sample.status == "excluded":
        return "excluded by the version"
    return "none" if sample.label == sample.original_label else "relabelled by the version"


def _coded(values: Sequence[str]) -> dict[str, Any]:
    """Return the distinct values, the commonest first, and the index of each value among them, one byte each."""
    names = [name for name, _ in Counter(values).most_common(255)]
    place = {name: code for code, name in enumerate(names)}
    return {"names": names, "codes": _text(bytes(place.get(value, 0) for value in values))}


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


class MarkDifference(_Operator):
    """Mark where copies differ from the first of them."""

    key, title = "mark_difference", "difference"
    options: Mapping[str, bool] = {"unlisted": True}

    def execute(self, ctx: Any) -> dict[str, Any]:
        """Return an overlay and a description for each copy."""
        samples = named(ctx, ctx.params.get("names") or []) if is_ours(ctx) else []
        return {"marks": {copy.path: _marks(samples[0].filepath, copy.filepath) for copy in samples[1:]}}


def _marks(reference: str, copy: str) -> dict[str, str]:
    from curation.measure.decode import DecodeError
    from curation.review import difference

    try:
        found = difference.difference(reading.contents(reference), reading.contents(copy))
    except (OSError, ValueError, DecodeError):
        return {"words": "the difference cannot be shown: a file cannot be read"}
    if found.same:
        return {"words": "the same pixels as the first"}
    mirrored = "mirrored, " if found.mirrored else ""
    if found.share > difference.MOST_MARKED:
        return {"words": f"{mirrored}too unlike the first to mark the difference"}
    if not found.share:
        return {"words": f"{mirrored}differs from the first by crop, tone or file only"}
    overlay = "data:image/png;base64," + _text(found.overlay)
    share = max(round(100 * found.share), 1)
    return {"words": f"{mirrored}differs from the first where marked, {share} % of it", "overlay": overlay}


class OpenSession(_Operator):
    """Send the App's JavaScript the keys when the dataset under review is opened, and none for any other."""

    key, title = "open_session", "show the keys"
    options: Mapping[str, bool] = {"unlisted": True, "on_dataset_open": True}

    def execute(self, ctx: Any) -> None:
        """Show the keys."""
        ours = is_ours(ctx)
        told = {"keys": _keys() if ours else [], "state": _state() if ours else ""}
        ctx.trigger(f"{PLUGIN}/show_keys", told)


def _keys() -> list[dict[str, Any]]:
    session = the_session().session
    return sessions.record(sessions.keys_of(session.classes, blind=session.blind, people=session.people))


class FaceReview(foo.Panel):  # type: ignore[misc]
    """The panel: queue, images left, agreement, evidence on the chosen images, keys."""

    @property
    def config(self) -> Any:
        """The panel's configuration for the App."""
        return foo.PanelConfig(name=PANEL, label="Review", icon="rate_review", surfaces="grid modal")

    def on_load(self, ctx: Any) -> None:
        """Remember the panel, so that answers refresh it."""
        _panel_ids.add(str(ctx.panel.id))

    def on_unload(self, ctx: Any) -> None:
        """Forget the panel."""
        _panel_ids.discard(str(ctx.panel.id))

    def on_change_selected(self, ctx: Any) -> None:
        """Render again."""

    def on_change_current_sample(self, ctx: Any) -> None:
        """Render again."""

    def render(self, ctx: Any) -> Any:
        """Return the panel's content."""
        return _panel_output(ctx)


def _panel_output(ctx: Any) -> Any:
    panel = types.Object()
    if is_ours(ctx):
        keys = "Keys: " + ", ".join(f"`{key['key']}` {_plain(key['words'])}" for key in _keys())
        panel.md("\n\n".join([_queue_words(), _evidence_words(ctx), keys]), name="state")
    else:
        panel.md("This dataset is not under review: open one with `curate review`.", name="state")
    margins = {"grid": {"sx": {"padding": "8px 14px 48px"}}}  # the bar of keys lies over the bottom
    view = types.GridView(height=100, width=100, orientation="vertical", componentsProps=margins)
    return types.Property(panel, view=view)


def _queue_words() -> str:
    review_session = the_session()
    progress = review_session.progress()
    lines = [
        f"**Queue: {_plain(review_session.session.queue)}**",
        f"**{progress.left:,}** of {progress.total:,} left for {_plain(review_session.session.reviewer)}; "
        "`n` opens the next, large.",
    ]
    if review_session.session.learns:
        lines.append(review_session.learning.words())
    if progress.answered and not review_session.session.blind:
        lines.append(f"You kept {progress.kept_label:,} of the {progress.answered:,} images you answered as imported.")
    if progress.shared and not review_session.session.blind:
        lines.append(f"Agreement with others: {progress.agreed:,} of {progress.shared:,} answers on the same images.")
    return "\n\n".join(lines)


def _evidence_words(ctx: Any) -> str:
    samples = _about(ctx)
    if not samples:
        return "*Select images, or open one, to see the evidence for and against them.*"
    if the_session().session.blind:
        return f"{len(samples)} selected."
    blocks = []
    for sample in samples[:_SHOWN]:
        title = f"**{_plain(sample.path)}**, labelled **{_plain(sample.label)}**"
        if standing(sample):
            title += f", {_plain(standing(sample))}"
        facts = [f"- {_plain(line)}" for line in (sample.evidence or "no check flags it").split("\n")]
        blocks.append("\n".join([title, "", *facts]))
    more = f"\n\nand {len(samples) - _SHOWN} more" if len(samples) > _SHOWN else ""
    return "\n\n".join(blocks) + more


def _plain(text: str) -> str:
    """Return text with Markdown and HTML escaped: names come from the file system."""
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return "".join("\\" + letter if letter in "\\`*_{}[]()#+!|~" else letter for letter in text)


OPERATORS = (
    Look,
    *(type(key.title(), (_Answer,), {"key": key, "title": title}) for key, title in PLAIN.items()),
    Relabel,
    Soften,
    NotSame,
    Undo,
    Queue,
    Map,
    MarkDifference,
    OpenSession,
    FaceReview,
)
"""What the plug-in registers; ``fiftyone.yml`` lists the same."""


def register(plugin: Any) -> None:
    """Register everything with FiftyOne."""
    for one in OPERATORS:
        plugin.register(one)
