"""KDEF: AF01/AF01ANS.JPG: session A or B, F or M and a number (the person), expression, angle.

Source: Lundqvist, Flykt and Öhman, "The Karolinska Directed Emotional Faces" (1998), kdef.se, "Using and publishing":
the person is F01 in both sessions, which are called AF01 and BF01.
"""

from __future__ import annotations

import re

from curation.formats.layouts.by_name import NameCode

CLASSES = {
    "AF": "afraid",
    "AN": "angry",
    "DI": "disgusted",
    "HA": "happy",
    "NE": "neutral",
    "SA": "sad",
    "SU": "surprised",
}

_NAME = r"(?:^|/)[AB](?P<person>[FM]\d{2})(?P<code>AF|AN|DI|HA|NE|SA|SU)(?:FL|HL|S|HR|FR)\.\w+$"

recognise = NameCode(re.compile(_NAME, re.IGNORECASE), CLASSES).recognise
