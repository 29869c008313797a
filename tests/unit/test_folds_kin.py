"""What stays in one fold: copies, and shots of one session, that share whatever mistake was made with their label."""

from __future__ import annotations

import json

import pandas as pd

from curation.models.runs import kin_groups, session_pairs


def frame(groups: dict[str, str], number: int) -> pd.DataFrame:
    keys = [f"{place}.png" for place in range(number)]
    return pd.DataFrame({"key": keys, "group": [groups.get(key, "") for key in keys]})


def issues(sessions: dict[str, object]) -> pd.DataFrame:
    rows = [
        (path, "near_duplicate", json.dumps({"dhash": "0", "same_session": other})) for path, other in sessions.items()
    ]
    return pd.DataFrame([*rows, ("9.png", "near_duplicate", "{}")], columns=["path", "check", "evidence"])


def together(names: list[str], *rows: int) -> bool:
    return names[rows[0]] != "" and len({names[row] for row in rows}) == 1


def test_a_session_joins_its_shots_and_their_copies() -> None:
    names = kin_groups(
        frame({"0.png": "a", "1.png": "a", "5.png": "b", "6.png": "b"}, 80), session_pairs(issues({"1.png": "2.png"}))
    )
    assert together(names, 0, 1, 2) and together(names, 5, 6)
    assert names[0] != names[5] and names[3] == ""


def test_a_list_of_shots_and_a_shot_that_is_not_there_are_understood() -> None:
    names = kin_groups(frame({}, 80), session_pairs(issues({"1.png": ["2.png", "3.png"], "4.png": "gone.png"})))
    assert together(names, 1, 2, 3) and names[4] == ""


def test_what_would_be_too_much_of_the_data_is_no_session_and_keeps_its_copies() -> None:
    chain = {f"{place}.png": f"{place + 1}.png" for place in range(30)}
    names = kin_groups(frame({"0.png": "a", "1.png": "a"}, 100), session_pairs(issues(chain)))
    assert together(names, 0, 1) and names[2] == ""
