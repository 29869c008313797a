"""Print the lowest supported versions of the main dependencies as pip's constraints: python -m tests.lowest."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

_BOUND = re.compile(r"([A-Za-z0-9._-]+)(?:\[[^\]]*\])?>=([0-9][^,;\s]*)")


def lowest(pyproject: str) -> list[str]:
    """Return one constraint a main dependency, ``name==its lower bound``.

    Raises:
        ValueError: a main dependency states no lower bound.

    """
    found = []
    for requirement in tomllib.loads(pyproject)["project"]["dependencies"]:
        bound = _BOUND.match(requirement)
        if bound is None:
            raise ValueError(f"{requirement} states no lower bound")
        found.append(f"{bound[1]}=={bound[2]}")
    return found


if __name__ == "__main__":
    print("\n".join(lowest((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))))
