"""The toolkit from Python: what the command does, in a few lines, with pictures in a notebook.

Examples:
    >>> import curation
    >>> space = curation.Workspace("workspace")
    >>> space.run("faces")
    >>> space.gallery("label_conflict")
    >>> space.version("cleaned").export("huggingface", "faces-hf")

"""

from __future__ import annotations

import getpass
import inspect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd

from curation.base import notebook, settings
from curation.base.errors import WorkspaceError, naming_keywords, require_known
from curation.base.issues import read_issues
from curation.base.progress import Display
from curation.base.settings import with_a_judge
from curation.base.tables import facts
from curation.base.workspace import Workspace as WorkspaceFolder
from curation.base.workspace import create_workspace, locked, open_workspace, read_images, require_own
from curation.decisions import manifest
from curation.decisions.manifest import Version as Committed
from curation.formats import export
from curation.models import comparison, evaluation, runs
from curation.pipeline import curating, decisions, queries, steps, summary

if TYPE_CHECKING:
    from curation.audit.planted import PlantedAudit
    from curation.formats.export_data import Placement
    from curation.formats.torch import CuratedFaces
    from curation.pipeline.gate import Gate

__all__ = ["Explanation", "Gallery", "Outcome", "Version", "Workspace"]

Action = Literal["keep", "exclude", "relabel", "move", "subject", "not_copies", "not_same"]

_PLAIN_ACTIONS = ("keep", "exclude", "not_copies", "not_same")


@dataclass(frozen=True)
class Outcome:
    """What a run did: sentences for people, the same as a record for machines."""

    lines: tuple[str, ...]
    record: dict[str, Any]

    def _repr_html_(self) -> str:
        return str(notebook.sentences(self.lines))

    def __str__(self) -> str:
        """Return the sentences, one per line."""
        return "\n".join(self.lines)

    __repr__ = __str__


@dataclass(frozen=True)
class Gallery:
    """Images that a check flagged, worst first: frame has path, label, split, score, group, evidence (words)."""

    title: str
    frame: pd.DataFrame
    thumbnails: dict[str, str] = field(repr=False)

    def _repr_html_(self) -> str:
        rows = zip(*(self.frame[name] for name in ("path", "label", "evidence")), strict=True)
        pictures = [(self.thumbnails.get(path, ""), path, f"{label}; {words}") for path, label, words in rows]
        return str(notebook.sentences([self.title]) + notebook.gallery(pictures))

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.frame)

    def __repr__(self) -> str:
        """Return the images as a table: outside a notebook there are no pictures."""
        return f"{self.title}\n{self.frame.to_string(index=False, max_colwidth=60)}"


@dataclass(frozen=True, repr=False)
class Explanation(Outcome):
    """All that is known of one image."""

    thumbnail: str

    def _repr_html_(self) -> str:
        picture = notebook.gallery([(self.thumbnail, self.record["path"], "")])
        return str(picture + notebook.sentences(self.lines))


def _told(found: pd.DataFrame) -> pd.DataFrame:
    """Return issue rows with a column for each fact of their evidence, and the facts in words."""
    said = facts(found["evidence"])
    words = [summary.evidence_words(fact, path) for fact, path in zip(said, found["path"], strict=True)]
    return found.drop(columns="evidence").assign(words=words).join(pd.DataFrame(said, index=found.index))


def _fit_options(options: dict[str, Any]) -> runs.FitOptions:
    require_known(options, [each.name for each in fields(runs.FitOptions)])
    return runs.FitOptions(**options)


@naming_keywords
class Version:
    """One version of a workspace's manifest; ``rows`` has the manifest's columns, ``kept`` only what is kept."""

    def __init__(self, workspace: WorkspaceFolder, committed: Committed) -> None:
        self._workspace, self._committed = workspace, committed
        self.name, self.kind, self.hash = committed.name, committed.kind, committed.hash
        self.lineage = committed.lineage

    @property
    def rows(self) -> pd.DataFrame:
        """Every row of the manifest, kept or not."""
        return manifest.rows(self._workspace, self._committed)

    @property
    def kept(self) -> pd.DataFrame:
        """The rows that are kept."""
        rows = self.rows
        return rows[rows["status"] == "kept"].reset_index(drop=True)

    def export(
        self,
        format_name: str,
        destination: Path | str,
        *,
        since: str = "",
        place: Placement = "copy",
        force: bool = False,
    ) -> int:
        """Write this version in a format among ``curation.formats.registry.names()``; return how many rows or images.

        Raises:
            CurationError: see ``curation.formats.export.export_version``.

        """
        where, shown = Path(destination), Display()
        return export.export_version(
            self._workspace, self.name, format_name, where, since=since, place=place, force=force, display=shown
        )

    def torch(self, split: str = "", **options: Any) -> CuratedFaces:
        """Return the kept images as a PyTorch dataset; options as ``curation.formats.torch.CuratedFaces``."""
        from curation.formats.torch import CuratedFaces

        require_known(options, list(inspect.signature(CuratedFaces).parameters)[3:])
        return CuratedFaces(self._workspace.root, self.name, split, **options)

    def __repr__(self) -> str:
        """Return what the version is."""
        return f"<{queries.version_lines(self._committed)[0]}>"

    def _repr_html_(self) -> str:
        shown = queries.show(self._workspace, self.name)
        return str(notebook.sentences(shown.lines) + notebook.table(shown.table))


@naming_keywords
class Workspace:
    """A workspace folder: run, inspect, decide, undo, export.

    Everything that writes takes the workspace's lock; everything it reads stays as it was committed.
    """

    def __init__(self, folder: Path | str = "workspace", *, quiet: bool = False, **overrides: Any) -> None:
        """Open the workspace at ``folder``; where there is none yet, only :meth:`run` makes it.

        Args:
            folder: the workspace's folder
            quiet: show no progress
            overrides: settings by section, as in ``measure={"detector": "yunet"}``; they win over file and environment

        Raises:
            CurationError: the folder holds something else, or a setting is wrong.

        """
        self.folder = Path(folder)
        require_own(self.folder)
        settings.load(None, overrides)
        self._display = Display(quiet=quiet)
        self._overrides = overrides

    @property
    def _workspace(self) -> WorkspaceFolder:
        return open_workspace(self.folder)

    @property
    def settings(self) -> settings.Settings:
        """All settings in force; printed, they are the text of a ``curate.toml``."""
        return settings.of_workspace(WorkspaceFolder(self.folder), self._overrides)

    def run(self, data: str | Path, *, policy: str = "", limit: int = 0, accept_loss: bool = False) -> Outcome:
        """Curate ``data`` up to a cleaned version and its report; a second run does only what is new.

        With ``accept_loss`` the policy also excludes what the brake would hold back.

        Raises:
            CurationError: the source, a setting or the policy is wrong.

        """
        workspace = create_workspace(self.folder)
        chosen = self.settings.model_copy(update={"policy": policy}) if policy else self.settings
        with locked(workspace):
            outcome = curating.run(workspace, str(data), chosen, self._display, limit, accept_loss=accept_loss)
        return Outcome(tuple(outcome.lines), outcome.record)

    def check(
        self, *, labels: str = "", opinions: Sequence[str] | None = None, embed: bool | None = None, identity: str = ""
    ) -> pd.DataFrame:
        """Run the checks on what was scanned and return how many images each flags; a recipe in ``labels`` judges them.

        Args:
            labels: recipe of the out-of-fold models, such as ``fast``
            opinions: who else judges, as ``--opinion`` of the command; None for the settings' own
            embed: whether images are embedded and searched for watermarks, occlusion, faces of no person and outliers;
                None: where labels are judged
            identity: a network that groups faces by person: dlib, insightface:PACK or FILE.onnx

        Raises:
            CurationError: nothing was scanned yet, or a recipe cannot be fitted.

        """
        changes: dict[str, dict[str, Any]] = {}
        if identity:
            changes["identity"] = {"network": identity}
        if labels or opinions:
            asked = {} if opinions is None else {"opinions": tuple(opinions), "code": tuple(opinions)}
            changes["labels"] = {**({"recipe": labels} if labels else {}), **asked}
        if embed is not None:
            changes["embed"] = {"when": "on" if embed else "off"}
        chosen = self.settings
        sections = {name: getattr(chosen, name).model_copy(update=update) for name, update in changes.items()}
        chosen = with_a_judge(chosen.model_copy(update=sections))
        with locked(self._workspace):
            scanned = steps.scanned_before(self._workspace, chosen, self._display)
            return summary.check_summary(curating.judge_labels(self._workspace, scanned, chosen, self._display))

    def opinions(self, *peers: str, python: str = "") -> pd.DataFrame:
        """Ask peers (``curation.audit.peers.PEERS``) and return what they flag beside ours, a row per check and peer.

        Args:
            peers: their names
            python: the interpreter that has them; "" for this one, or that of ``make peers``

        Raises:
            CurationError: there is no such peer, it is not installed, or it failed.

        """
        from curation.audit.peers import interpreter, second_opinions

        chosen = self.settings
        with locked(self._workspace):
            scanned = steps.scanned_before(self._workspace, chosen, self._display)
            pairs = steps.find_pairs(self._workspace, scanned, chosen, self._display)
            known = read_issues(self._workspace).rows
            measured, asked = scanned.measurements, interpreter(python)
            found = second_opinions(self._workspace, measured, pairs, chosen, self._display, peers=peers, python=asked)
        return summary.side_by_side(known, found.findings)

    def audit(self, *, images: int = 2000, per_kind: int = 50, seed: int = 0) -> PlantedAudit:
        """Plant known defects among ``images`` of your own, find them blind, and return recall and precision."""
        from curation.audit.planted import audit_planted

        with locked(self._workspace):
            return audit_planted(
                self._workspace, self.settings, self._display, images=images, per_kind=per_kind, seed=seed
            )

    def apply(self, policy: str = "", *, accept_loss: bool = False) -> Version:
        """Apply a policy to the issues again; ``accept_loss`` as in ``run``."""
        chosen = self.settings.model_copy(update={"policy": policy}) if policy else self.settings
        with locked(self._workspace):
            recorded = decisions.apply(self._workspace, chosen, self._display, accept_loss=accept_loss)
        return Version(self._workspace, recorded.version)

    @property
    def images(self) -> pd.DataFrame:
        """The images table: path, sha256, bytes, width, height, mode, split, label."""
        return read_images(self._workspace)

    def issues(self, check: str = "", *, flagged_only: bool = True) -> pd.DataFrame:
        """Return issue rows, worst first.

        Returns:
            path, check, score (0 worst .. 1), is_issue, group, words (the evidence as a sentence), and a column for
            each fact of the evidence, such as value and threshold; NaN where a check has no such fact.

        """
        return _told(queries.found_issues(self._workspace, check, flagged_only=flagged_only))

    def issue_blocks(self, check: str = "", *, flagged_only: bool = False) -> Iterator[pd.DataFrame]:
        """Yield what ``issues`` returns in blocks of bounded size, each of one check: for large data sets."""
        return map(_told, filter(len, queries.listed(self._workspace, check, flagged_only=flagged_only).blocks()))

    def checks(self) -> pd.DataFrame:
        """Return how many images each check scored and flagged."""
        return summary.check_summary(read_issues(self._workspace))

    def gallery(self, check: str, limit: int = 24) -> Gallery:
        """Return the worst images of a check with their thumbnails."""
        found = self.issues(check)
        shown = found.head(limit)
        known = self.images.set_index("path").loc[shown["path"], ["label", "split"]].reset_index(drop=True)
        frame = shown[["path", "score", "group"]].reset_index(drop=True).join(known).assign(evidence=shown["words"])
        title = f"{summary.check_words(check)[0]}: {len(frame):,} of {len(found):,} images"
        return Gallery(title, frame, self._thumbnails(shown["path"].tolist()))

    def explain(self, path: str) -> Explanation:
        """Return what was measured, found and decided on one image, and why.

        Raises:
            WorkspaceError: no image has that path.

        """
        answer = queries.explain(self._workspace, path)
        return Explanation(tuple(answer.lines), answer.record, self._thumbnails([path]).get(path, ""))

    def _thumbnails(self, paths: Sequence[str]) -> dict[str, str]:
        from reports.thumbnails import data_uris

        pictures = queries.thumbnails(self._workspace, self.settings, paths)
        return data_uris(list(pictures), list(pictures.values()))

    def decide(
        self,
        paths: str | Sequence[str],
        action: Action,
        value: str = "",
        *,
        reason: str = "",
        by: str = "",
        new_class: bool = False,
        new_split: bool = False,
    ) -> Version:
        """Decide on images yourself; a person's decision outranks every policy's and follows the picture.

        Args:
            paths: of images; with not_copies and not_same also names of groups
            action: keep, exclude, relabel, move, subject, not_copies (no two of them are copies of each other), or
                not_same (no two of them show one person)
            value: the label of relabel, the split of move, the name of subject (whose face it is)
            reason: for the log
            by: who decides; "" for the user of this machine
            new_class: whether a label that no image has yet is meant
            new_split: whether a split that no image is in yet is meant

        Raises:
            WorkspaceError: a path, a class or a split is unknown, or the value is missing or not asked for.

        """
        if (action in _PLAIN_ACTIONS) == bool(value):
            raise WorkspaceError("give a value with relabel (label), move (split) and subject (name), and only there")
        chosen, who = [paths] if isinstance(paths, str) else list(paths), by or getpass.getuser()
        allowed = {"new_class": new_class, "new_split": new_split}
        with locked(self._workspace):
            recorded = decisions.decide(self._workspace, chosen, action, value, reason, who, self.settings, **allowed)
        return Version(self._workspace, recorded.version)

    def annotations(self, file: str | Path, *, new_class: bool = False) -> Outcome:
        """Import people's answers from Label Studio (its JSON export) as their decisions, and commit.

        Classes that no image has yet are imported with ``new_class`` only.
        """
        from curation.review.label_studio import read, take

        answered = read(Path(file))
        with locked(self._workspace):
            taken = take(self._workspace, answered, self.settings, self._display, new_class=new_class)
        return Outcome(tuple(taken.lines()), asdict(taken))

    def review(self, check: str = "", *, number: int = 0, by: str = "", port: int = 5151) -> Any:
        """Open the FiftyOne App on a ranked queue and return its session, whose ``url`` a browser opens; then ``pull``.

        Args:
            check: only what this check flags
            number: at most about so many images; 0 for all
            by: who reviews, for the log
            port: of the App, on this machine only

        Raises:
            CurationError: FiftyOne is not installed, its database does not start, or nothing is in the queue.

        """
        from curation.review import app

        request = app.Request(by or getpass.getuser(), check=check, images=number, port=port, browser=False)
        session, _ = app.start(
            self._workspace, app.open_review(self._workspace, request, self.settings, self._display), request
        )
        return session

    def plan_review(self, seed: int = 0) -> pd.DataFrame:
        """Return the share of labels expected to be right by number of answers and order of asking."""
        from curation.pipeline import label_queue

        return label_queue.plan_review(self._workspace, seed).table

    def pull(self, *, new_class: bool = False) -> Outcome:
        """Import people's answers from the App into the log, and commit; ``new_class`` as in ``decide``."""
        from curation.review.pull import pull

        with locked(self._workspace):
            pulled = pull(self._workspace, self.settings, self._display, new_class=new_class)
        counts = ("decided", "undone", "conflicts", "unsure", "blind_labels")
        return Outcome(tuple(pulled.lines()), {name: getattr(pulled, name) for name in counts})

    def merge(self, other: str | Path) -> Outcome:
        """Import people's decisions from another workspace of the same data; ``record["conflicts"]``: contradictions.

        Raises:
            WorkspaceError: there is no other workspace, or it is this one.

        """
        from curation.pipeline.merge import merge

        with locked(self._workspace):
            merged = merge(self._workspace, Path(other), self.settings, self._display)
        record = {**vars(merged), "version": merged.version.name, "conflicts": merged.conflicts.to_dict("records")}
        return Outcome(tuple(merged.lines()), record)

    def overlap(self, other: str | Path) -> Outcome:
        """Find what this data shares with another data set or workspace; ``record`` has shared, theirs and counts.

        Raises:
            CurationError: there is no such data set, or it holds no images.

        """
        from curation.pipeline.overlap import overlap

        with locked(self._workspace):
            found = overlap(self._workspace, str(other), self.settings, self._display)
        return Outcome(tuple(found.lines), found.record())

    def coverage(self, on: str = "cleaned", attributes: str = "") -> Outcome:
        """Report what a version holds of each class; see ``curation.evidence.coverage.coverage``."""
        from curation.evidence.coverage import coverage

        with locked(self._workspace):
            found = coverage(self._workspace, self.settings, on, attributes)
        return Outcome(tuple([*found.lines, f"Page: {found.page}"]), found.record())

    def select(self, number: int, *, pool: str | Path = "", by: str = "", **options: Any) -> Outcome:
        """Keep ``number`` images, or rank those of ``pool``; see ``curation.pipeline.selection``: select, ask_next."""
        from curation.pipeline import selection

        require_known(options, () if pool else ("how", "balance", "split", "dry_run"))
        with locked(self._workspace):
            if pool:
                asked = selection.ask_next(self._workspace, str(pool), number, self.settings, self._display)
                return Outcome(tuple(asked.lines), asked.record())
            who = by or getpass.getuser()
            done = selection.select(self._workspace, number, self.settings, self._display, by=who, **options)
        return Outcome(tuple(done.lines), done.record())

    def split(self, *, train: float = 0.75, validation: float = 0.2, test: float = 0.05, by: str = "") -> Version:
        """Split the kept images again, with no person, copy or session in two splits; ``undo`` takes it back.

        Raises:
            WorkspaceError: nothing is known of who is in the images, or the shares do not sum to 1.

        """
        from curation.pipeline import splitting

        shares = {"train": train, "validation": validation, "test": test}
        with locked(self._workspace):
            committed, _ = splitting.split(
                self._workspace, shares, by or getpass.getuser(), self.settings, self._display
            )
        return Version(self._workspace, committed)

    def forget_identity(self) -> int:
        """Delete the embeddings of faces and the groups found with them; return their size in bytes."""
        with locked(self._workspace):
            return steps.forget_identity(self._workspace, self.settings, self._display)

    def undo(self, target: str | int, *, by: str = "") -> Version:
        """Undo a decision (its number) or a version (its name)."""
        with locked(self._workspace):
            recorded = decisions.undo(self._workspace, str(target), by or getpass.getuser(), self.settings)
        return Version(self._workspace, recorded.version)

    def version(self, name: str = "cleaned") -> Version:
        """Return a version: raw, cleaned, vN, a tag or the beginning of a hash."""
        return Version(self._workspace, manifest.find(self._workspace, name))

    def versions(self) -> pd.DataFrame:
        """Return one row per version."""
        return queries.version_list(self._workspace)

    def tag(self, version: str, name: str) -> None:
        """Give a version a name."""
        with locked(self._workspace):
            manifest.tag(self._workspace, manifest.find(self._workspace, version), name)

    def diff(self, before: str, after: str) -> pd.DataFrame:
        """Return the images that two versions judge differently."""
        return queries.diff(self._workspace, before, after)

    def changes_page(self, before: str, after: str) -> Path:
        """Write the page that shows what two versions judge differently, and return its path."""
        from curation.pipeline.changes import write_changes

        with locked(self._workspace):
            return write_changes(self._workspace, before, after, self.settings)

    def log(self, path: str = "") -> pd.DataFrame:
        """Return the log of decisions, newest first."""
        return queries.log_table(self._workspace, path)

    def gate(self, limits: Mapping[str, Any] | str | Path = "", version: str = "cleaned") -> Gate:
        """Check a version against limits; ``holds`` says whether it keeps to all of them.

        Args:
            limits: name -> the most allowed, or a TOML file; "" for the workspace's ``gate.toml``, else the defaults
            version: which one

        Raises:
            CurationError: a limit is unknown, or its file cannot be read.

        """
        from curation.pipeline import gate

        workspace = self._workspace
        if not isinstance(limits, Mapping):
            limits = gate.limits_of(workspace, Path(limits) if limits else None)
        return gate.check_version(workspace, version, limits, self.settings)

    def verify(self) -> list[str]:
        """Return what is wrong with the versions and the log; an empty list means nothing."""
        return manifest.verify(self._workspace)

    def report(self) -> Path:
        """Write the cleaning report and return its path."""
        with locked(self._workspace):
            return curating.report(self._workspace, self.settings, self._display)

    def train(self, recipe: str, on: str = "cleaned", **options: Any) -> Path:
        """Train a recipe on a version and return its run's folder; options as ``curation.models.runs.FitOptions``."""
        return runs.train(self._workspace, recipe, on, _fit_options(options), self._display)

    def evaluate(self, model: str, on: str = "cleaned") -> pd.DataFrame:
        """Evaluate a model on validation and test, with intervals; see ``curation.models.evaluation.evaluate``."""
        return evaluation.evaluate(self._workspace, model, on, self._display).table

    def crossval(self, recipe: str = "fast", on: str = "raw", **options: Any) -> runs.OutOfFold:
        """Predict each image by a model that has seen no copy of it; see ``curation.models.runs.out_of_fold``."""
        return runs.out_of_fold(self._workspace, recipe, on, _fit_options(options), self._display)

    def compare(
        self, first: str, second: str, recipe: str = "fast", *, seeds: int = 3, votes: str | Path = "", **options: Any
    ) -> comparison.Comparison:
        """Train on two versions and a random-removal control; see ``curation.models.comparison.compare``."""
        file, chosen, run = Path(votes) if votes else None, _fit_options(options), comparison.compare
        return run(self._workspace, first, second, recipe, chosen, self._display, seeds=seeds, votes_file=file)

    def ladder(self, *recipes: str, on: str = "cleaned", **options: Any) -> runs.Ladder:
        """Train several recipes under one budget; see ``curation.models.runs.ladder``."""
        return runs.ladder(self._workspace, recipes or ("vgg16",), on, _fit_options(options), self._display)

    def predict(self, model: str, images: Sequence[str]) -> pd.DataFrame:
        """Return a model's probabilities for image files, a row per file."""
        return runs.predict(self._workspace, model, images)

    def export_model(self, model: str, destination: str | Path) -> Outcome:
        """Export a model to ONNX, checked against torch, with its card."""
        return Outcome(tuple(runs.export_model(self._workspace, model, Path(destination))), {"model": model})

    def cards(self, destination: str | Path = "cards", model: str = "", on: str = "cleaned") -> list[Path]:
        """Write a dataset card, Croissant metadata and a model card; return the files."""
        from curation.evidence.cards import write_cards

        return write_cards(self._workspace, on, model, Path(destination))

    def __repr__(self) -> str:
        """Return where it is and what it holds."""
        workspace = WorkspaceFolder(self.folder)
        if not workspace.marker.exists():
            return f"<Workspace {self.folder}: nothing there yet; run(DATA) makes it>"
        held = f"{len(manifest.versions(workspace))} versions"
        if workspace.issues.exists():
            found = self.checks()
            counts = zip(found["check"], found["issues"], strict=True)
            held += "; flagged: " + ", ".join(f"{check} {images:,}" for check, images in counts if images)
        return f"<Workspace {self.folder}, {held}>"

    def _repr_html_(self) -> str:
        head = notebook.sentences([repr(self).strip("<>")])
        if not WorkspaceFolder(self.folder).issues.exists():
            return str(head)
        return str(head + notebook.table(self.versions()) + notebook.table(self.checks(), "What the checks found"))
