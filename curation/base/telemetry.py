"""Switches off the telemetry of all libraries in use, before any of them is imported."""

from __future__ import annotations

import os
from collections.abc import Mapping

OFF: Mapping[str, str] = {
    "DO_NOT_TRACK": "1",  # consoledonottrack.com; Hugging Face and others
    "FIFTYONE_DO_NOT_TRACK": "true",
    "SENTRY_OPT_OUT": "1",  # fastdup
    "FASTDUP_PRODUCTION": "1",  # fastdup: its other reports
    "RAY_USAGE_STATS_ENABLED": "0",
    "ORT_DISABLE_TELEMETRY": "1",  # onnxruntime >= 1.32 sends events with a device id, on Linux too
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "NO_ALBUMENTATIONS_UPDATE": "1",  # a dependency of insightface: looks for updates when imported
}
"""Environment variables, which child processes inherit. Lightning and timm report nothing."""


def switch_off() -> None:
    """Set the variables in this process, whatever their values were."""
    os.environ.update(OFF)
