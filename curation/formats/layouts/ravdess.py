"""RAVDESS, as frames: seven numbers in the name of a file or of its folder, below Actor_05.

Source: Livingstone and Russo, "The Ryerson Audio-Visual Database of Emotional Speech and Song" (2018), as described at
zenodo.org/record/1188976: modality-channel-emotion-intensity-statement-repetition-actor, as in 01-01-06-01-02-01-12.
"""

from __future__ import annotations

import re

from curation.formats.layouts.by_name import NameCode

CLASSES = {
    "01": "neutral",
    "02": "calm",
    "03": "happy",
    "04": "sad",
    "05": "angry",
    "06": "fearful",
    "07": "disgust",
    "08": "surprised",
}

_NAME = r"(?:^|[/_])0[123]-0[12]-(?P<code>0[1-8])-0[12]-0[12]-0[12]-(?P<person>[012]\d)(?![\d-])"

recognise = NameCode(re.compile(_NAME, re.ASCII), CLASSES, "Actor_").recognise
