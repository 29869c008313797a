"""Values that leave pandas, typed: its own annotations call a row's values scalars and a column's name hashable."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any, Union, cast

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from curation.base.arrays import Flags, Ints


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return each row as column -> value."""
    return cast("list[dict[str, Any]]", frame.to_dict("records"))


_Texts = Union["pd.Series", "pd.Index[Any]", "pa.Array", "pa.ChunkedArray", Collection[str]]


def is_in(texts: _Texts, values: _Texts) -> Flags:
    """Return which of a column's texts are among ``values``, (N,).

    Many times as fast as pandas' own ``isin``, which makes a Python object of each value.
    """
    import numpy as np
    import pyarrow.compute as pc

    return np.asarray(pc.is_in(_arrow(texts), value_set=_arrow(values)))


def rows_of(texts: _Texts, column: _Texts) -> Ints:
    """Return the first row in which a column holds each of ``texts``, (N,); -1 where it does not."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    keys, values = _arrow(texts), _arrow(column)
    rows = None
    if len(values) > 2 * len(keys):  # the few that are asked for take less memory than a table of all
        rows = np.append(np.flatnonzero(np.asarray(pc.is_in(values, value_set=keys))), -1)
        values = values.take(pa.array(rows[:-1]))
    found = pc.fill_null(pc.index_in(keys, value_set=values), -1).to_numpy(zero_copy_only=False).astype("int64")
    return cast("Ints", found if rows is None else rows[found])


def _arrow(texts: _Texts) -> Any:
    import pandas as pd
    import pyarrow as pa

    if isinstance(texts, pa.Array | pa.ChunkedArray):  # as a list, each of its values would become a Python object
        found = texts.cast(pa.large_string())
    else:
        found = pa.array(texts if isinstance(texts, pd.Series | pd.Index) else list(texts), pa.large_string())
    return found.combine_chunks() if isinstance(found, pa.ChunkedArray) else found


def first_rows(texts: _Texts) -> Ints:
    """Return the row in which each distinct text of a column occurs first, (M,), in the order of the texts."""
    import numpy as np
    import pyarrow.compute as pc

    found = _arrow(texts)
    order = pc.sort_indices(found)  # stable
    ordered = found.take(order)
    begins = np.ones(len(found), dtype=np.bool_)
    begins[1:] = np.asarray(pc.not_equal(ordered[1:], ordered[:-1]))
    return cast("Ints", order.to_numpy().astype("int64")[begins])


def are_distinct(*columns: _Texts) -> bool:
    """Return whether no text of a column, or no combination of texts in several, occurs twice."""
    import pyarrow as pa
    import pyarrow.compute as pc

    found, *more = map(_arrow, columns)
    if more:
        names = [str(number) for number in range(len(columns))]
        table = pa.table([found, *more], names=names)
        return bool(table.group_by(names, use_threads=False).aggregate([]).num_rows == len(found))
    if pc.all(pc.less(found[:-1], found[1:])).as_py() is not False:  # most tables are sorted, which needs no memory
        return True
    return bool(pc.count_distinct(found).as_py() == len(found))


def are_sorted(texts: _Texts) -> bool:
    """Return whether no text of a column is smaller than the one before it; UTF-8 sorts as Python's texts do."""
    import pyarrow.compute as pc

    found = _arrow(texts)
    return pc.any(pc.less(found[1:], found[:-1])).as_py() is not True
