"""Points of series into columns, without an object for each point.

The text of all points becomes one table of two columns for the CSV reader, which is ten times faster than
decoding each pair. What a table's row is made of may come from many series: values meet in arrays, at the
place of their row's key and instant.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl

from collectors.cluster._prometheus_api import Grid, Series

Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]

_SEPARATOR: Final = b'"],['
_DENSE: Final = 4
"""Above this many places for each value, places are listed in the place of being reserved."""

_NONE: Final[Floats] = np.empty(0)
_PAIRS: Final = msgspec.json.Decoder(list[tuple[float, str]])


def points(series: Sequence[Series], grid: Grid) -> tuple[Places, Places, Floats]:
    """Return the series, the step and the value of each point that is a finite number and on the grid."""
    owners, seconds, values = _parsed([bytes(each.values) for each in series])
    steps = np.rint((seconds - grid.start) / grid.step).astype(np.int64)
    is_kept = np.isfinite(values) & (steps >= 0) & (steps < grid.length)
    if is_kept.all():
        return owners, steps, values
    return owners[is_kept], steps[is_kept], values[is_kept]


def _parsed(raws: Sequence[bytes]) -> tuple[Places, Floats, Floats]:
    """Return owners, instants and values of the points of several series, `[[1700000000,"1.5"],...]` each."""
    told = [(index, raw) for index, raw in enumerate(raws) if len(raw) > len("[]")]
    counts = [raw.count(_SEPARATOR) + 1 for _, raw in told]
    # The first pair begins after `[[`, the last ends before `"]]`.
    text = _SEPARATOR.join(raw[2:-3] for _, raw in told).replace(_SEPARATOR, b"\n").replace(b',"', b",")
    table = pl.DataFrame()
    if told:
        with suppress(pl.exceptions.PolarsError):
            table = pl.read_csv(text, has_header=False, schema={"at": pl.Float64, "value": pl.Float64})
    if table.height == sum(counts) and not any(series.null_count() for series in table):
        owners = np.repeat(np.array([index for index, _ in told], dtype=np.int64), np.array(counts, dtype=np.int64))
        return (owners, *((table["at"].to_numpy(), table["value"].to_numpy()) if told else (_NONE, _NONE)))
    # Infinities, or a server that puts blanks between: each pair by itself, and slower.
    pairs = [(index, at, float(value)) for index, raw in told for at, value in _PAIRS.decode(raw)]
    return (
        np.array([index for index, _, _ in pairs], dtype=np.int64),
        np.array([at for _, at, _ in pairs], dtype=np.float64),
        np.array([value for _, _, value in pairs], dtype=np.float64),
    )


class Rows:
    """The rows of one table in one window: keys times steps, of which each value takes its place."""

    def __init__(self, grid: Grid) -> None:
        self._grid = grid
        self._parts: list[_Part] = []
        self._keys: dict[tuple[str, ...], int] = {}

    def add(
        self, column: str, keys: Sequence[tuple[str, ...]], found: tuple[Places, Places, Floats], factor: float = 1.0
    ) -> None:
        """Put the points of series at the places of their keys and steps; `keys` has one for each series."""
        owners, steps, values = found
        numbers = np.array([self._keys.setdefault(key, len(self._keys)) for key in keys], dtype=np.int64)
        places = numbers[owners] * self._grid.length + steps
        self._parts.append(_Part(column, frozenset(keys), len(set(keys)) < len(keys), places, values * factor))

    def frame(self, names: Sequence[str]) -> pl.DataFrame:
        """Return the rows that have at least one value: key columns of these names, `sampled_at`, and the values.

        Where several series have a value for one place, the largest counts: the same device, told under two labels,
        or a flag that one of several parts has set.
        """
        places, is_listed = self._places()
        found: dict[str, Floats] = {}
        filled: dict[str, frozenset[tuple[str, ...]]] = {}
        for part in self._parts:
            array = found.setdefault(part.column, np.full(len(places), np.nan))
            at = np.searchsorted(places, part.places) if is_listed else part.places
            if part.is_ambiguous or filled.get(part.column, frozenset()) & part.keys:
                np.fmax.at(array, at, part.values)
            else:
                array[at] = part.values
            filled[part.column] = filled.get(part.column, frozenset()) | part.keys
        if not is_listed:
            is_there = np.zeros(len(places), dtype=np.bool_)
            for array in found.values():
                is_there |= ~np.isnan(array)
            places = np.flatnonzero(is_there)
            found = {column: array[places] for column, array in found.items()}
        owners = pl.Series(places // self._grid.length, dtype=pl.UInt32)
        at_us = (self._grid.start + (places % self._grid.length) * self._grid.step) * 1_000_000
        columns = {
            name: pl.Series([key[index] for key in self._keys], dtype=pl.String).gather(owners)
            for index, name in enumerate(names)
        }
        return pl.DataFrame(
            {
                **columns,
                "sampled_at": pl.Series(at_us, dtype=pl.Int64).cast(pl.Datetime("us", "UTC")),
                **{column: pl.Series(array, nan_to_null=True) for column, array in found.items()},
            }
        )

    def _places(self) -> tuple[Places, bool]:
        """Return all places; or those that have a value, where these are few of all."""
        total = len(self._keys) * self._grid.length
        if total <= _DENSE * max((len(part.places) for part in self._parts), default=0):
            return np.arange(total, dtype=np.int64), False
        listed = [part.places for part in self._parts]
        return (np.unique(np.concatenate(listed)) if listed else np.empty(0, dtype=np.int64)), True


@dataclass(frozen=True)
class _Part:
    """The values of one metric for one column, with the places that they take."""

    column: str
    keys: frozenset[tuple[str, ...]]
    is_ambiguous: bool
    places: Places
    values: Floats
