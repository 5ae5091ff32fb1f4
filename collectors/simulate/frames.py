"""Arrays become frames of a table: every column there, typed as declared, NaN as null."""

from collections.abc import Mapping, Sequence
from decimal import Decimal

import dataframely as dy
import numpy as np
import numpy.typing as npt
import polars as pl

from collectors.simulate.shapes import Cluster

Column = npt.NDArray[np.generic] | pl.Series | Sequence[object] | str | float | bool | None

_MICRO = 1_000_000
_THOUSANDTH = pl.Series([Decimal("0.001")], dtype=pl.Decimal(4, 3))


def frame(schema: type[dy.Schema], data: Mapping[str, Column], height: int) -> pl.DataFrame:
    """Return rows of a table; a single value stands for all rows, and a column that is left out is null."""
    columns = schema.columns()
    unknown = set(data) - set(columns)
    if unknown:
        raise KeyError(f"{schema.__name__} has no column {sorted(unknown)}")
    return pl.DataFrame([_series(name, data.get(name), column.dtype, height) for name, column in columns.items()])


def _series(name: str, value: Column, dtype: pl.DataType, height: int) -> pl.Series:
    if isinstance(value, (pl.Series, np.ndarray)):
        found = pl.Series(name, value)
        if found.dtype.is_float():
            found = found.fill_nan(None)
        if isinstance(dtype, pl.Datetime) and found.dtype.is_integer():
            found = (found.cast(pl.Int64) * _MICRO).cast(pl.Datetime("us", "UTC"))
    elif value is None or isinstance(value, (str, float, int, bool)):
        return pl.repeat(value, height, dtype=dtype, eager=True).alias(name)
    else:
        found = pl.Series(name, value, dtype=dtype)
    return found if found.dtype == dtype else found.cast(dtype)


def exact_seconds(milliseconds: npt.NDArray[np.int64]) -> pl.Series:
    """Return whole milliseconds as exact seconds."""
    return (pl.Series(milliseconds).cast(pl.Decimal(18, 0)) * _THOUSANDTH).cast(pl.Decimal(18, 3))


def words(values: Sequence[str | None], index: npt.NDArray[np.int64]) -> pl.Series:
    """Return a word for each index; -1 is the last of the values."""
    # Gathering from a short series of words is far faster than building a list of millions of them.
    return pl.Series(values, dtype=pl.String).gather(pl.Series(np.where(index < 0, len(values) - 1, index)))


def places(plan: Cluster) -> tuple[list[str], list[str]]:
    """Return the ledger's cluster and the node name of each node."""
    return [node.provider.cluster for node in plan.nodes], [node.name for node in plan.nodes]


def noise(first: npt.NDArray[np.int64], second: npt.NDArray[np.int64], salt: int) -> npt.NDArray[np.float64]:
    """Return numbers in [0, 1) that depend on nothing but the arguments, so that any window gives the same rows."""
    mixed = first.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) ^ second.astype(np.uint64) * np.uint64(
        0xBF58476D1CE4E5B9
    )
    mixed += np.uint64((salt * 0x94D049BB133111EB) % 2**64)
    mixed ^= mixed >> np.uint64(30)
    mixed *= np.uint64(0xBF58476D1CE4E5B9)
    mixed ^= mixed >> np.uint64(27)
    mixed *= np.uint64(0x94D049BB133111EB)
    mixed ^= mixed >> np.uint64(31)
    return (mixed >> np.uint64(11)).astype(np.float64) / 2**53
