"""Lines edited by hand, and files that people fill in: one sentence, and nothing is taken of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from tests.faults.trust.base import Home

VALUES: dict[str, Any] = {
    "nothing": None,
    "a number": 7,
    "NaN": float("nan"),
    "a list": [1],
    "an object": {"x": 1},
    "text": "text",
    "an empty text": "",
    "half a character": "\ud800",
    "a huge number": 10**400,
    "a control character": "\x1b[31m",
}

PRESS = {
    **{"id": "1", "time": "2026-01-01T00:00:00+00:00", "reviewer": "ann", "action": "exclude", "value": ""},
    **{"paths": ["{image}"], "queue": "q", "reason": "", "issue": ""},
}

ENTRY = {
    **{"seq": 1, "time": "2026-01-01T00:00:00+00:00", "actor": "person:ann", "path": "{image}", "action": "exclude"},
    **{"value": "", "reason": "r", "issue": ""},
}

ODD_PRESSES: dict[str, dict[str, Any]] = {
    "an undo of text": {"action": "undo", "value": "text", "paths": []},
    "an undo of nothing": {"action": "undo", "value": "", "paths": []},
    "a soft label of a list": {"action": "soften", "value": "[1, 2]"},
    "a soft label of NaN": {"action": "soften", "value": '{"happy": NaN, "sad": 1}'},
    "a soft label of nothing": {"action": "soften", "value": "{}"},
    "a soft label of zeros": {"action": "soften", "value": '{"happy": 0, "sad": 0}'},
    "a soft label below zero": {"action": "soften", "value": '{"happy": -1, "sad": 2}'},
    "a soft label of text": {"action": "soften", "value": "happy"},
    "an action of the future": {"action": "rotate"},
    "no action": {"action": ""},
    "a time of text": {"time": "yesterday"},
    "a time without a zone": {"time": "2026-01-01T00:00:00"},
    "a reviewer of two lines": {"reviewer": "a\nb"},
    "a reviewer who climbs": {"reviewer": "../x"},
    "an image of nobody": {"paths": ["nobody.jpg"]},
    "an image twice": {"paths": ["{image}", "{image}"]},
}


def _lines(record: dict[str, Any], image: str) -> str:
    return json.dumps(record).replace("{image}", image) + "\n"


def run(home: Home, *, every: int = 1) -> None:
    """Give edited journals, logs, votes, answers and annotations."""
    for number, (case, words) in enumerate(_presses(home)):
        if number % every == 0:
            home.begin(f"a journal with {case}")
            journal = home.space / "review" / "journal" / "x.jsonl"
            journal.parent.mkdir(parents=True, exist_ok=True)
            journal.write_text(words)
            unhurt = home.keep(home.space / "manifests" / "v2.json", journal)
            for verb in (("review", "pull"), ("log",), ("verify",), ("show",), ("apply",)):
                home.run(*verb)
            unhurt()
    for number, (case, words) in enumerate(_entries(home)):
        if number % every == 0:
            home.begin(f"a log with {case}")
            log = home.space / "decisions.jsonl"
            log.write_text(words)
            unhurt = home.keep(home.space / "manifests" / "v2.json")
            for verb in (("log",), ("verify",), ("show",), ("explain", _image(home)), ("apply",), ("undo", "1")):
                home.run(*verb)
            unhurt()
    for case, name, text, verb in _filled(home):
        home.begin(case)
        file = home.top / name
        file.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"))
        unhurt = home.keep(home.data, home.space / "votes", home.space / "manifests", file)
        ended = home.run(*verb, file)
        if not case.endswith("which is fine"):
            home.expect(not ended.went_well, "it is taken")
            unhurt()
        else:
            home.expect(ended.went_well, ended.output[-200:])
        home.done("report")


def _image(home: Home) -> str:
    return home.images()[2].relative_to(home.data).as_posix()


def _presses(home: Home) -> Iterator[tuple[str, str]]:
    image = _image(home)
    for case, change in ODD_PRESSES.items():
        yield case, _lines({**PRESS, **change}, image)
    for field in PRESS:
        for what, value in VALUES.items():
            yield f"{what} for {field}", _lines({**PRESS, field: value}, image)
    yield "a torn line before a whole one", _lines(PRESS, image)[:40] + _lines(PRESS, image)


def _entries(home: Home) -> Iterator[tuple[str, str]]:
    image = _image(home)
    closing = json.dumps({"commit": 1, "through": 1}) + "\n"
    odd = [(case, change) for case, change in ODD_PRESSES.items() if "reviewer" not in change and "paths" not in change]
    for case, change in odd:
        yield case, _lines({**ENTRY, **{k: v for k, v in change.items() if k in ENTRY}}, image) + closing
    for field in ENTRY:
        for what, value in VALUES.items():
            yield f"{what} for {field}", _lines({**ENTRY, field: value}, image) + closing
    for what, value in VALUES.items():
        yield f"a closing line of {what}", _lines(ENTRY, image) + json.dumps({"commit": value, "through": 1}) + "\n"
    yield "an undo of itself", _lines({**ENTRY, "action": "undo", "value": "[1]", "path": ""}, image) + closing
    yield "an undo of the future", _lines({**ENTRY, "action": "undo", "value": "[99]", "path": ""}, image) + closing


def _filled(home: Home) -> Iterator[tuple[str, str, str | bytes, tuple[str, ...]]]:
    image, other = _image(home), home.images()[3].relative_to(home.data).as_posix()
    votes = ("votes", "import")
    for case, text in (
        ("no numbers", f"path,happy,sad\n{image},many,few\n"),
        ("only a header", "path,happy,sad\n"),
        ("nothing", ""),
        ("no column path", "file,happy\nx,1\n"),
        ("no class", f"path,joyless\n{image},1\n"),
        ("counts below zero", f"path,happy\n{image},-1\n"),
        ("fractions", f"path,happy\n{image},0.5\n"),
        ("NaN", f"path,happy\n{image},nan\n"),
        ("infinity", f"path,happy\n{image},inf\n"),
        ("a thousand digits", f"path,happy\n{image},{'9' * 1000}\n"),
        ("a superscript", f"path,happy\n{image},\u00b2\n"),
        ("an open quote", f'path,happy\n"{image},1\n'),
        ("two columns of one name", f"path,happy,happy\n{image},1,2\n"),
        ("rows of other lengths", f"path,happy\n{image},1,2,3\n"),
        ("an image twice", f"path,happy\n{image},1\n{image},2\n"),
        ("images of nobody", "path,happy\nnobody.jpg,1\n"),
        ("zeros only", f"path,happy\n{image},0\n"),
        ("bytes that are not UTF-8", b"path,happy\n\xff\xfe\x80,1\n"),
        ("a NUL", f"path,happy\n{image}\0,1\n"),
    ):
        yield f"votes with {case}", "crowd.csv", text, votes
    yield "votes with a mark of byte order, which is fine", "crowd.csv", f"\ufeffpath,happy\n{image},1\n", votes
    yield "votes with semicolons, which is fine", "crowd.csv", f"path;happy;sad\n{image};1;2\n", votes
    yield "votes one a row, which is fine", "crowd.csv", f"path,label\n{image},happy\n{image},sad\n", votes
    yield "votes of noise in Parquet", "crowd.parquet", b"PAR1" + b"\0" * 90, votes
    yield "votes with a name that climbs", "..csv", f"path,happy\n{image},1\n", votes
    header = "path,check,flagged,bad\n"
    for case, text in (
        ("an image twice", f"{header}{image},dark,n,y\n{image},dark,n,y\n"),
        ("an image twice, otherwise", f"{header}{image},dark,n,y\n{image},dark,n,n\n"),
        ("no answer", f"{header}{image},dark,n,\n"),
        ("maybe", f"{header}{image},dark,n,maybe\n"),
        ("two checks", f"{header}{image},dark,n,y\n{other},bright,n,y\n"),
        ("a check that there is not", f"{header}{image},sunny,n,y\n"),
        ("an image of nobody", f"{header}nobody.jpg,dark,n,y\n"),
        ("a column too few", f"path,check,bad\n{image},dark,y\n"),
        ("only a header", header),
    ):
        yield f"answers with {case}", "review.csv", text, ("audit", "--answers")
    marked = f"\ufeff{header}{image},dark,n,y\n{other},dark,n,\n"
    yield (
        "answers with a mark of byte order, half filled in, which is fine",
        "review.csv",
        marked,
        ("audit", "--answers"),
    )
    for case, value in (
        ("an object", {"data": 1}),
        ("a list of numbers", [1, 2]),
        ("tasks without data", [{"annotations": []}]),
        ("annotations of text", [{"data": {"path": image, "sha256": "x"}, "annotations": "none"}]),
        ("choices of numbers", [_task(image, 7)]),
        ("half a character", [{"data": {"path": "\ud800", "sha256": "x"}, "annotations": []}]),
    ):
        yield f"annotations of {case}", "project.json", json.dumps(value), ("annotations",)
    yield "annotations nested deeply", "project.json", "[" * 100_000, ("annotations",)
    yield (
        "annotations of nobody's, which is fine",
        "project.json",
        json.dumps([_task("nobody.jpg", ["happy"])]),
        ("annotations",),
    )
    for case, text in (
        ("nested deeply", "x = " + "[" * 10_000 + "]" * 10_000),
        ("nested objects", "x" + ".x" * 3000 + " = 1\n"),
        ("an unknown part", 'name = "m"\ndescription = "d"\nquantum = 1\n'),
        ("a check that there is not", 'name = "m"\ndescription = "d"\n[[exclude]]\ncheck = "x"\nreason = "r"\n'),
        ("numbers for names", "name = 1\ndescription = 2\n"),
        ("bytes that are not UTF-8", b"name = '\xff'\n"),
        ("nothing", ""),
    ):
        yield f"a policy with {case}", "mine.toml", text, ("apply", "--policy")


def _task(image: str, choices: Any) -> dict[str, Any]:
    result = {"type": "choices", "from_name": "label", "value": {"choices": choices}}
    annotation = {"result": [result], "completed_by": {"email": "ann@x"}, "created_at": "2026-01-01T00:00:00Z"}
    return {"data": {"path": image, "sha256": "0" * 64}, "annotations": [annotation]}
