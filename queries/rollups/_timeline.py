"""Time of devices as whole milliseconds: cut at points, spread intervals over the pieces.

A device and an instant are packed into one integer, so that millions of rows are sorted, compared and
merged without looking at text.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

import polars as pl

DEVICE: Final = ("cluster", "node", "gpu_uuid")

HOUR: Final = 3_600_000
MINUTE: Final = 60_000

_TEXTS: Final = tuple(pl.col(name).cast(pl.String) for name in DEVICE)

_BITS: Final = 42
"""Milliseconds since 1970 fit into 42 bits until the year 2109; 21 bits are left for devices."""

_BLOCK: Final = 100_000
"""Rows that are worked on at once."""

_MILLISECOND: Final = timedelta(milliseconds=1)


def milliseconds(at: datetime) -> int:
    """Return an instant as milliseconds since 1970, rounded down."""
    return (at - datetime.fromtimestamp(0, tz=at.tzinfo)) // _MILLISECOND


def instant(time: str | pl.Expr) -> pl.Expr:
    """Return milliseconds since 1970 as an instant in UTC."""
    return ((pl.col(time) if isinstance(time, str) else time) * 1000).cast(pl.Datetime("us", "UTC"))


def packed(at: str | pl.Expr, device: str = "device") -> pl.Expr:
    """Return a device's number and an instant as one integer that sorts as both."""
    time = pl.col(at) if isinstance(at, str) else at
    return pl.col(device).cast(pl.Int64) * (1 << _BITS) + time


def numbered(*frames: pl.DataFrame) -> pl.DataFrame:
    """Return each device of some frames once, in order, with its number in `device`; names may be text or codes."""
    # Rows of one device usually lie together: only the first of each run is looked at.
    names = pl.concat([frame.filter(_begins(frame)).select(_TEXTS) for frame in frames]).unique()
    return names.sort(DEVICE).with_row_index("device")


def located(frame: pl.DataFrame, devices: pl.DataFrame, *, at: str) -> pl.DataFrame:
    """Return the rows of known devices with `device`, `time` and `key` in place of their names, sorted by key."""
    return _located(frame, _runs(frame, devices, at), at)


def blocks(frame: pl.DataFrame, devices: pl.DataFrame, *, at: str) -> Iterator[pl.DataFrame]:
    """Yield the rows of known devices in slices of whole devices, as `located` returns them.

    What is computed from millions of rows by many steps stays small and close to the processor that way: half the time
    and a third of the memory.
    """
    runs = _runs(frame, devices, at)
    last = runs.get_column("device").ne_missing(runs.get_column("device").shift(-1))
    ends = runs.get_column("length").cum_sum()
    start = row = 0
    for edge, end in zip(last.arg_true().to_list(), ends.filter(last).to_list(), strict=True):
        if end - row >= _BLOCK or edge == runs.height - 1:
            yield _located(frame, runs.slice(start, edge + 1 - start), at)
            start, row = edge + 1, end


def _located(frame: pl.DataFrame, runs: pl.DataFrame, at: str) -> pl.DataFrame:
    """Return the rows of some runs, in order of device and time."""
    begin, length = pl.col("row"), pl.col("length")
    rows = runs.select(
        pl.int_ranges(begin, begin + length, dtype=pl.UInt32).alias("row"), pl.col("device").repeat_by("length")
    ).explode("row", "device", empty_as_null=False)
    found = (
        frame.drop(DEVICE)[rows.get_column("row")]
        .with_columns(rows.get_column("device"), pl.col(at).dt.timestamp("ms").alias("time"))
        .with_columns(packed("time").alias("key"))
    )
    return found if found.get_column("key").is_sorted() else found.sort("key", at)


def _runs(frame: pl.DataFrame, devices: pl.DataFrame, at: str) -> pl.DataFrame:
    """Return the runs of rows of one known device: device, row (the first), length; by device and time.

    A device is looked up, and put in order, once for each run of its rows and not for each row.
    """
    row = _begins(frame).arg_true().alias("row")
    length = (row.shift(-1).fill_null(frame.height) - row).alias("length")
    heads = frame.select(*DEVICE, at)[row].select(*_TEXTS, at, row, length)
    known = heads.join(devices.select(*DEVICE, "device"), on=DEVICE)
    return known.sort("device", at).select("device", "row", "length")


def _begins(frame: pl.DataFrame) -> pl.Series:
    """Return which rows are the first of a run of one device."""
    changes = pl.any_horizontal(pl.col(name).ne_missing(pl.col(name).shift(1)) for name in DEVICE)
    return frame.select(changes.alias("begins")).to_series()


def clipped(frame: pl.DataFrame, start: str, end: str, window: tuple[int, int]) -> pl.DataFrame:
    """Return intervals as `start` and `end` in milliseconds inside a window; an open end reaches to its end."""
    low, high = window
    edges = frame.with_columns(
        pl.col(start).dt.timestamp("ms").clip(lower_bound=low).alias("start"),
        pl.col(end).dt.timestamp("ms").fill_null(high).clip(upper_bound=high).alias("end"),
    )
    return edges.filter(pl.col("start") < pl.col("end"))


def pieces(window: tuple[int, int], devices: pl.DataFrame, *intervals: pl.DataFrame, every: int = HOUR) -> pl.DataFrame:
    """Return each device's window cut at all edges of some intervals and at each clock hour.

    One row: piece, device, start, end. The last row of each device starts at the window's end and is empty.
    """
    low, high = window
    grid = pl.DataFrame({"start": [low, *range(low - low % every + every, high, every), high]}, {"start": pl.Int64})
    points = [devices.select("device").join(grid.unique(), how="cross")]
    for frame in intervals:
        points.append(frame.select("device", "start"))
        points.append(frame.select("device", pl.col("end").alias("start")))
    cut = pl.concat(points).unique().sort("device", "start")
    following = pl.col("start").shift(-1).over("device")
    return cut.with_columns(following.fill_null(high).alias("end")).with_row_index("piece")


def spread(intervals: pl.DataFrame, cut: pl.DataFrame) -> pl.DataFrame:
    """Return one row per interval and piece that it covers, with `piece`; the interval's edges must be cut points."""
    index = cut.select("device", "start", "piece")
    found = (
        intervals.join(index.rename({"piece": "_first"}), on=["device", "start"], how="inner")
        .join(index.rename({"start": "end", "piece": "_last"}), on=["device", "end"], how="inner")
        .with_columns(pl.int_ranges("_first", "_last", dtype=pl.UInt32).alias("piece"))
    )
    return found.drop("_first", "_last").explode("piece", empty_as_null=False)
