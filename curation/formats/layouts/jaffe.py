"""JAFFE: one folder of KA.AN1.39.tiff: person, expression, number of the shot, number of the picture.

Source: Lyons, Kamachi and Gyoba, "The Japanese Female Facial Expression (JAFFE) Dataset" (1998), README_FIRST.txt.
"""

from __future__ import annotations

import re

from curation.formats.layouts.by_name import NameCode

CLASSES = {
    "AN": "anger",
    "DI": "disgust",
    "FE": "fear",
    "HA": "happiness",
    "NE": "neutral",
    "SA": "sadness",
    "SU": "surprise",
}

_NAME = r"(?:^|/)(?P<person>[A-Z]{2})\.(?P<code>[A-Z]{2})-?\d\.\d+(?:\.\w+)+$"

recognise = NameCode(re.compile(_NAME, re.IGNORECASE), CLASSES).recognise
