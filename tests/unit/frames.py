"""Small frames for unit tests."""

import pandas as pd


def images(*rows: tuple[str, str, str]) -> pd.DataFrame:
    """An images table from (path, split, label)."""
    frame = pd.DataFrame(list(rows), columns=["path", "split", "label"])
    return frame.assign(sha256=frame["path"], bytes=100, width=48, height=48, mode="L")[
        ["path", "sha256", "bytes", "width", "height", "mode", "split", "label"]
    ]


def issue(path: str, check: str, group: str = "", evidence: str = "{}", flagged: bool = True) -> dict[str, object]:
    """One row of an issues table."""
    return {
        "path": path,
        "check": check,
        "score": 0.0 if flagged else 1.0,
        "is_issue": flagged,
        "group": group,
        "evidence": evidence,
    }
