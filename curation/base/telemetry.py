"""No library that the toolkit uses may report to its maker; set here, before any of them is imported."""

from __future__ import annotations

import os
from collections.abc import Mapping

OFF: Mapping[str, str] = {
    "DO_NOT_TRACK": "1",  # consoledonottrack.com; Hugging Face and others
    "FIFTYONE_DO_NOT_TRACK": "true",
    "SENTRY_OPT_OUT": "1",  # fastdup
    "FASTDUP_PRODUCTION": "1",  # fastdup: its other calls home
    "RAY_USAGE_STATS_ENABLED": "0",
    "ORT_DISABLE_TELEMETRY": "1",  # onnxruntime >= 1.32 keeps a device id and sends events, on Linux too
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "NO_ALBUMENTATIONS_UPDATE": "1",  # a dependency of insightface: asks for newer versions when imported
}
"""Environment variables; a child process inherits them. Lightning and timm report nothing of their own."""


def switch_off() -> None:
    """Set the variables of this process, whatever they were."""
    os.environ.update(OFF)
