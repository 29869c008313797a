"""The App's side: Python operators, a panel, and what they do to the samples. Loaded by FiftyOne's server only.

Every answer is on disk, in the journal, before the database is touched; the database only shows it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import fiftyone.operators as foo
from fiftyone.operators import types

from curation.review import review_session as desks
from curation.review.environment import SESSION_VARIABLE
from curation.review.journal import ReviewError
from curation.review.push import answered_of, classification, words
from curation.review.read_model import sample_id
from curation.review.review_session import PAGE, Image, ReviewSession
from curation.review.views import PANEL

PLUGIN = "@face-curation/review"

_SHOWN = 3
"""Selected images whose evidence the panel shows."""

_panel_ids: set[str] = set()


@cache
def the_desk() -> ReviewSession:
    """Return the desk of the command that started this server."""
    return ReviewSession(desks.load_session(Path(os.environ[SESSION_VARIABLE])))


def _is_ours(ctx: Any) -> bool:
    return SESSION_VARIABLE in os.environ and ctx.dataset_name == the_desk().session.dataset


def _chosen_ids(ctx: Any) -> list[str]:
    """Return what an answer is about: the opened sample, else the selection; a tile of a group stands for all of it."""
    if ctx.current_sample:
        return [str(ctx.current_sample)]
    ids = [str(one) for one in ctx.selected]
    if ids and ctx.view is not None and ctx.view._is_dynamic_groups:
        groups = [group for group in ctx.dataset.select(ids).values("copy_group") if group]
        found = ctx.dataset._sample_collection.find({"copy_group": {"$in": groups}}, {"_id": 1})
        ids = sorted({*ids, *(str(one["_id"]) for one in found)})
    return ids


def _documents(ctx: Any, ids: Sequence[str]) -> list[dict[str, Any]]:
    from bson import ObjectId

    found = ctx.dataset._sample_collection.find({"_id": {"$in": [ObjectId(one) for one in ids]}})
    by_id = {str(document["_id"]): document for document in found}
    return [by_id[one] for one in ids if one in by_id]


def _images(ctx: Any) -> list[Image]:
    return [
        Image(
            name=document["path"],
            label=_label(document, "label"),
            original_label=_label(document, "original_label"),
            status=document.get("status") or "kept",
        )
        for document in _documents(ctx, _chosen_ids(ctx))
    ]


def _label(document: dict[str, Any], field: str) -> str:
    return str((document.get(field) or {}).get("label", ""))


def _show_answers(ctx: Any, names: Sequence[str]) -> None:
    """Let the samples show what the journals say of them now."""
    from bson import ObjectId
    from pymongo import UpdateOne

    review_session = the_desk()
    paths = {review_session.path(name) for name in names}
    answers = [answer for (path, _), answer in review_session.answers().items() if path in paths]
    if review_session.session.blind:  # nobody sees what the others said
        answers = [answer for answer in answers if answer.reviewer == review_session.session.reviewer]
    said = answered_of(answers)
    updates = []
    for name in names:
        path = review_session.path(name)
        state = {
            "decided": classification(said.decided.get(path, "")),
            "reviewers": said.reviewers.get(path, []),
            "disagree": path in said.disagree,
            "digest": None,  # no longer what was pushed: the next push looks at it again
        }
        updates.append(UpdateOne({"_id": ObjectId(sample_id(name))}, {"$set": state}))
    ctx.dataset._sample_collection.bulk_write(updates, ordered=False)


def _put_up(ctx: Any) -> str:
    """Bring up what comes next in the queue: the next image where one is open, else the page with its first chosen.

    Returns:
        what there is to say where the queue is done, else "".

    """
    review_session = the_desk()
    names, first = review_session.upcoming(PAGE)
    if not names:
        ctx.ops.clear_selected_samples()
        review_session.current_selection = frozenset()
        return "the queue is done"
    if ctx.current_sample:
        ctx.ops.open_sample(id=sample_id(first[0]))
        review_session.current_selection = frozenset(first[:1])
    else:
        _show_page(ctx, names)
        ctx.ops.set_selected_samples([sample_id(name) for name in first])
        review_session.current_selection = frozenset(first)
    return ""


def _show_page(ctx: Any, names: Sequence[str]) -> None:
    """Show a page of the queue, unless what comes next is on the page that is shown."""
    if not _is_shown(ctx, sample_id(names[0])):
        # the App drops the selection when the view changes, some time after; see FaceReview.on_change_selected
        the_desk().reselect = True
        ctx.ops.set_view(ctx.dataset.select([sample_id(name) for name in names], ordered=True))


def _is_shown(ctx: Any, identity: str) -> bool:
    """Whether the view is a page of the queue with this sample; a long list may have it off the screen."""
    for stage in ctx.request_params.get("view") or []:
        if stage.get("_cls", "").endswith(".Select"):
            ids = dict(stage.get("kwargs", [])).get("sample_ids") or []
            return identity in ids and len(ids) <= 2 * PAGE
    return False


def _state() -> str:
    progress = the_desk().progress()
    return f"{the_desk().session.reviewer}: {progress.left:,} of {progress.total:,} left"


def _after(ctx: Any, message: str = "") -> None:
    """Refresh the tiles, the bar of keys and the panel."""
    # reload_samples leaves the grid's tiles as they were in 1.22
    ctx.ops.reload_dataset()
    ctx.trigger(f"{PLUGIN}/show_keys", {"state": message or _state()})
    for panel_id in _panel_ids:
        ctx.ops.show_panel_output(_panel_output(ctx), panel_id=panel_id)


class _Answer(foo.Operator):  # type: ignore[misc]
    """Common to the answers: write the press down, show it, go on in the queue where the queue was being worked."""

    action = ""
    label = ""

    @property
    def config(self) -> Any:
        """What the App is told of the operator."""
        return foo.OperatorConfig(name=self.action, label=f"Review: {self.label}", dynamic=False, view_target=False)

    def value(self, ctx: Any) -> str:
        """Return the answer's value."""
        return ""

    def execute(self, ctx: Any) -> dict[str, Any]:
        """Answer for what is chosen."""
        if not _is_ours(ctx):
            return {}
        review_session = the_desk()
        images = _images(ctx)
        names = [image.name for image in images]
        try:
            value = self.value(ctx)
            review_session.answer(self.action, images, value, str(ctx.params.get("reason") or ""))
        except ReviewError as error:
            ctx.ops.notify(str(error), variant="warning")
            return {"error": str(error)}
        _show_answers(ctx, names)
        message = ""
        if review_session.current_selection and review_session.current_selection == set(names):
            message = _put_up(ctx)
        elif not ctx.current_sample:
            ctx.ops.clear_selected_samples()
        _after(ctx, message or f"{_state()}; {words(self.action, value)}: {len(names):,}")
        return {"answered": len(names)}


def _reason(inputs: Any) -> Any:
    inputs.str("reason", label="Why (optional)", required=False)
    return types.Property(inputs)


class Keep(_Answer):
    """The image stays as it came."""

    action, label = "keep", "keep as it came"


class Exclude(_Answer):
    """The image is left out."""

    action, label = "exclude", "exclude"


class Unsure(_Answer):
    """Nothing is decided; another person should look."""

    action, label = "unsure", "unsure"


class Relabel(_Answer):
    """The image gets another label."""

    action, label = "relabel", "relabel"

    def resolve_input(self, ctx: Any) -> Any:
        """Ask for the class."""
        inputs = types.Object()
        if _is_ours(ctx):
            inputs.enum("label", list(the_desk().session.classes), label="Class", required=True)
        return _reason(inputs)

    def value(self, ctx: Any) -> str:
        """Return the class."""
        return str(ctx.params.get("label", ""))


class Soften(_Answer):
    """The image lies between two classes."""

    action, label = "soften", "between two classes"

    def resolve_input(self, ctx: Any) -> Any:
        """Ask for two classes and the share of the first."""
        inputs = types.Object()
        if _is_ours(ctx):
            for name in ("first", "second"):
                inputs.enum(name, list(the_desk().session.classes), label=f"The {name} class", required=True)
            inputs.float("share", label="Share of the first", min=0.05, max=0.95, default=0.5)
        return _reason(inputs)

    def value(self, ctx: Any) -> str:
        """Return the classes' shares as JSON."""
        share = float(ctx.params.get("share") or 0.5)
        return json.dumps({str(ctx.params.get("first")): share, str(ctx.params.get("second")): 1 - share})


class Next(foo.Operator):  # type: ignore[misc]
    """Bring up what comes next in the queue."""

    @property
    def config(self) -> Any:
        """What the App is told of the operator."""
        return foo.OperatorConfig(name="next", label="Review: next in queue", view_target=False)

    def execute(self, ctx: Any) -> None:
        """Bring up the next open images."""
        if _is_ours(ctx):
            _after(ctx, _put_up(ctx))


class Undo(foo.Operator):  # type: ignore[misc]
    """Take the last answer back."""

    @property
    def config(self) -> Any:
        """What the App is told of the operator."""
        return foo.OperatorConfig(name="undo", label="Review: undo", view_target=False)

    def execute(self, ctx: Any) -> dict[str, Any]:
        """Take back, and select again what it was about."""
        if not _is_ours(ctx):
            return {}
        names = the_desk().undo()
        if not names:
            ctx.ops.notify("there is nothing to take back", variant="info")
            return {}
        _show_answers(ctx, names)
        if not ctx.current_sample:
            ctx.ops.set_selected_samples([sample_id(name) for name in names])
        the_desk().current_selection = frozenset(names)
        _after(ctx, f"{_state()}; taken back: {len(names):,}")
        return {"undone": len(names)}


class OpenDesk(foo.Operator):  # type: ignore[misc]
    """Tell the App's JavaScript the keys when the dataset under review is opened; none on any other."""

    @property
    def config(self) -> Any:
        """What the App is told of the operator."""
        return foo.OperatorConfig(
            name="open_desk", label="Review: show the keys", on_dataset_open=True, unlisted=True, view_target=False
        )

    def execute(self, ctx: Any) -> None:
        """Show the keys."""
        ours = _is_ours(ctx)
        ctx.trigger(f"{PLUGIN}/show_keys", {"keys": _keys() if ours else [], "state": _state() if ours else ""})


def _keys() -> list[dict[str, Any]]:
    session = the_desk().session
    return desks.record(desks.keys_of(session.classes, blind=session.blind))


class FaceReview(foo.Panel):  # type: ignore[misc]
    """The panel: queue, how many are left, agreement, evidence of what is chosen, keys."""

    @property
    def config(self) -> Any:
        """What the App is told of the panel."""
        return foo.PanelConfig(name=PANEL, label="Review", icon="rate_review", surfaces="grid modal")

    def on_load(self, ctx: Any) -> None:
        """Remember the panel, so that answers refresh it."""
        _panel_ids.add(str(ctx.panel.id))

    def on_unload(self, ctx: Any) -> None:
        """Forget the panel."""
        _panel_ids.discard(str(ctx.panel.id))

    def on_change_selected(self, ctx: Any) -> None:
        """Choose again what the queue has put up, where the App dropped it while it changed the view."""
        review_session = the_desk() if _is_ours(ctx) else None
        if review_session is not None and review_session.reselect and not ctx.selected:
            review_session.reselect = False
            ctx.ops.set_selected_samples([sample_id(name) for name in sorted(review_session.current_selection)])

    def on_change_current_sample(self, ctx: Any) -> None:
        """Render again."""

    def render(self, ctx: Any) -> Any:
        """Return the panel's content."""
        return _panel_output(ctx)


def _panel_output(ctx: Any) -> Any:
    panel = types.Object()
    if _is_ours(ctx):
        panel.md("\n\n".join([_queue_words(), _evidence_words(ctx), _keys_words()]), name="state")
    else:
        panel.md("This dataset is not under review: open one with `curate review`.", name="state")
    margins = {"grid": {"sx": {"padding": "8px 14px 48px"}}}  # the bar of keys lies over the bottom
    view = types.GridView(height=100, width=100, orientation="vertical", componentsProps=margins)
    return types.Property(panel, view=view)


def _queue_words() -> str:
    review_session = the_desk()
    progress = review_session.progress()
    lines = [
        f"**Queue: {_plain(review_session.session.queue)}**",
        f"**{progress.left:,}** of {progress.total:,} left for {_plain(review_session.session.reviewer)}; "
        "`n` brings the next.",
    ]
    if review_session.session.learns:
        lines.append(review_session.learning.words())
    if progress.answered and not review_session.session.blind:
        lines.append(f"You kept {progress.kept_label:,} of the {progress.answered:,} images you answered as they came.")
    if progress.shared and not review_session.session.blind:
        lines.append(f"Agreement with others: {progress.agreed:,} of {progress.shared:,} answers on the same images.")
    return "\n\n".join(lines)


def _evidence_words(ctx: Any) -> str:
    documents = _documents(ctx, _chosen_ids(ctx))
    if not documents:
        return "*Select images, or open one, to see what speaks for and against them.*"
    if the_desk().session.blind:
        return f"{len(documents)} selected."
    blocks = []
    for document in documents[:_SHOWN]:
        title = f"**{_plain(document['path'])}**, labelled **{_plain(_label(document, 'label'))}**"
        if document.get("status") == "excluded":
            title += f", excluded: {_plain(document.get('reason') or '')}"
        facts = [f"- {_plain(line)}" for line in (document.get("evidence") or "no check flags it").split("\n")]
        blocks.append("\n".join([title, "", *facts]))
    more = f"\n\nand {len(documents) - _SHOWN} more selected" if len(documents) > _SHOWN else ""
    return "\n\n".join(blocks) + more


def _keys_words() -> str:
    return "Keys: " + ", ".join(f"`{key['key']}` {_plain(key['words'])}" for key in _keys())


def _plain(text: str) -> str:
    """Return text in which Markdown and HTML mean nothing: names come from the file system."""
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return "".join("\\" + letter if letter in "\\`*_{}[]()#+!|~" else letter for letter in text)


def register(plugin: Any) -> None:
    """Register everything with FiftyOne."""
    for one in (Keep, Exclude, Relabel, Soften, Unsure, Next, Undo, OpenDesk, FaceReview):
        plugin.register(one)
