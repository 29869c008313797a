"""Values that leave pandas, typed: its own annotations call a row's values scalars and a column's name hashable."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    import pandas as pd

    from curation.base.arrays import Ints


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return each row as column -> value."""
    return cast("list[dict[str, Any]]", frame.to_dict("records"))


def places(index: pd.Index[Any], keys: pd.Series[Any] | pd.Index[Any]) -> Ints:
    """Return the place of each key in a unique index, (N,); -1 where it has none."""
    import pandas as pd

    return cast("Ints", index.get_indexer(pd.Index(keys)))
