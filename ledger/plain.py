"""Plain columns of many batches as one frame, where each value is of the kind that its column is sent as.

A frame costs the same for ten rows and for a thousand. A batch with a value of another kind is named, and read
by itself: `frames.to_frame` keeps such a value for the door to refuse in words.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from itertools import repeat
from typing import Final, cast

import dataframely as dy
import polars as pl

from ledger.frames import columns_of

Columns = Mapping[str, Sequence[object]]

_INT64: Final = 2**63

_KINDS: Final[dict[type[dy.Column], tuple[frozenset[type], pl.DataType]]] = {
    dy.Datetime: (frozenset({int}), pl.Int64()),
    dy.Int64: (frozenset({int}), pl.Int64()),
    dy.Float64: (frozenset({int, float}), pl.Float64()),
    dy.String: (frozenset({str}), pl.String()),
    dy.Bool: (frozenset({bool}), pl.Boolean()),
    dy.Decimal: (frozenset({str}), pl.String()),
}
"""How values of a column are sent, and what holds them; money and columns of other types are read batch by batch."""


@cache
def _expected(schema: type[dy.Schema]) -> Mapping[str, tuple[frozenset[type], pl.DataType]]:
    nothing: tuple[frozenset[type], pl.DataType] = (frozenset(), pl.Null())
    return {
        name: nothing
        if (column.metadata or {}).get("kind") in {"money", "quantity"}
        else _KINDS.get(type(column), nothing)
        for name, column in columns_of(schema).items()
    }


def joined(schema: type[dy.Schema], parts: Sequence[Columns]) -> tuple[pl.DataFrame, set[int]]:
    """Return all rows as one frame, or which parts are to be read by themselves.

    Columns that the table does not know are left out, and those that no part has. With a part to be read by itself
    the frame is empty: the others are joined anew.
    """
    heights = [height_of(part) for part in parts]
    series, odd = [], set[int]()
    for name, (kinds, dtype) in _expected(schema).items():
        found = [part.get(name) for part in parts]
        if not any(found):
            continue
        values: list[object] = []
        for each, height in zip(found, heights, strict=True):
            values.extend(repeat(None, height) if each is None else each)
        if not _fits(values, kinds):
            odd |= {place for place, each in enumerate(found) if each is not None and not _fits(each, kinds)}
        elif not odd:
            series.append(pl.Series(name, values, dtype=dtype))
    return (pl.DataFrame() if odd else pl.DataFrame(series)), odd


def height_of(columns: Columns) -> int:
    """Return the number of rows."""
    return len(next(iter(columns.values()), ()))


def _fits(values: Sequence[object], kinds: frozenset[type]) -> bool:
    """Tell whether all values are of the kinds, and whole numbers fit into 64 bits."""
    found = set(map(type, values))
    if not found - {type(None)} <= kinds:
        return False
    if int not in found:
        return True
    whole = cast("Sequence[int]", values) if found == {int} else [value for value in values if type(value) is int]
    return min(whole) >= -_INT64 and max(whole) < _INT64
