"""What a write changed: which partitions get a new version, and sums of their rows."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import duckdb
import polars as pl

from ledger._connection import with_rows
from ledger.frames import dtypes
from ledger.tables import PartitionChange
from ledger.tables.partition import (
    EDGE_PREFIX,
    WHOLE,
    Every,
    Keyed,
    Spanning,
    Table,
    Timed,
    after,
    floor,
    partition_key,
)

_TRUNCATE: Final[dict[Every, str]] = {"hour": "1h", "day": "1d", "month": "1mo"}

SAME_PARTITION: Final = "s.table_name = i.table_name AND s.partition_key = i.partition_key"
"""How rows of `partition_state s` and `incoming i` belong together."""

_HOUR: Final = timedelta(hours=1)

# An interval from the year 1, or to the year 9999, is somebody's error or word for ever: its millions of hours are none
# that anybody computes. One that lasts longer than this ahead is met again when that time has come.
_REACH_BACK: Final = timedelta(days=30 * 366)
_REACH_AHEAD: Final = timedelta(days=366)

Changes = dict[tuple[str, str], int]
"""By table and partition, how many rows were added."""


def starts(column: str, every: Every) -> pl.Expr:
    """Return the start of each row's partition."""
    return pl.col(column).cast(pl.Datetime("us", "UTC")).dt.truncate(_TRUNCATE[every])


def also_key(group: Timed, at: datetime) -> str:
    """Return the key of a further grouping: `column:partition`."""
    return f"{group.column}:{partition_key(at, group.every)}"


def partition_column(table: Table) -> pl.Expr:
    """Return what tells the partitions of a table apart: an instant or text."""
    partition = table.partition
    if isinstance(partition, Timed):
        return starts(partition.column, partition.every)
    if isinstance(partition, Keyed):
        return pl.concat_str([pl.col(name).cast(pl.String) for name in partition.columns], separator="|")
    return pl.lit(WHOLE)


def key_text(table: Table, value: object) -> str:
    """Return the key of a partition from the value of `partition_column`."""
    if isinstance(table.partition, Timed) and isinstance(value, datetime):
        return partition_key(value, table.partition.every)
    return str(value)


def row_counts(table: Table, frame: pl.DataFrame) -> dict[str, int]:
    """Return how many rows of a frame lie in each partition; intervals lie in none."""
    if isinstance(table.partition, Spanning) or frame.is_empty():
        return {}
    if isinstance(table.partition, Timed):
        times = frame.get_column(table.partition.column)
        edges = {key_text(table, each) for each in (times.min(), times.max()) if isinstance(each, datetime)}
        # What agents send lies in one hour: no table is grouped to find that.
        if len(edges) == 1 and not times.null_count():
            return {edges.pop(): frame.height}
    counted = frame.lazy().group_by(partition_column(table).alias("part")).len().collect()
    return {key_text(table, value): count for value, count in counted.iter_rows()}


def also_keys(table: Table, frame: pl.DataFrame) -> set[str]:
    """Return the keys of the further groupings that rows belong to."""
    return {
        also_key(group, at)
        for group in table.also
        for at in frame.select(starts(group.column, group.every)).to_series().unique().drop_nulls()
    }


def edge_keys(table: Table, frame: pl.DataFrame) -> set[str]:
    """Return the keys of the partitions in whose edge rows lie."""
    partition = table.partition
    if not isinstance(partition, Timed) or not partition.edge or frame.is_empty():
        return set()
    times = frame.get_column(partition.column)
    first, last = times.min(), times.max()
    if isinstance(first, datetime) and isinstance(last, datetime):
        start = floor(first, partition.every)
        # What agents send lies in one hour: no table is filtered to find whether in its edge.
        if last < after(start, partition.every):
            return {edge_key(partition_key(start, partition.every))} if first < start + partition.edge else set()
    start_of_each = starts(partition.column, partition.every)
    inside = times.to_frame().filter(pl.col(partition.column) < start_of_each + partition.edge)
    found = inside.select(start_of_each).to_series().unique()
    return {edge_key(partition_key(at, partition.every)) for at in found}


def edge_key(key: str) -> str:
    """Return the key of a partition's edge."""
    return f"{EDGE_PREFIX}{key}"


def touched_hours(
    partition: Spanning, old: pl.DataFrame, new: pl.DataFrame, key: Sequence[str], now: datetime
) -> set[str]:
    """Return the hours that a change of intervals touches.

    Where only the end moved, those between the old and the new end; where the row is new, or gone, or a
    watched column changed, all that either interval overlaps.
    """
    watched = list(partition.watched)
    columns = [*dict.fromkeys([*key, *watched])]
    end = pl.col(partition.end).fill_null(pl.lit(now).cast(pl.Datetime("us", "UTC")))
    both = new.select(*columns, _end=end).join(
        old.select(*columns, _end=end), on=list(key), how="full", suffix="_old", coalesce=True
    )
    is_same_ground = pl.col("_end").is_not_null() & pl.col("_end_old").is_not_null()
    for name in watched:
        if name not in key:
            is_same_ground &= pl.col(name).eq_missing(pl.col(f"{name}_old"))
    low = pl.when(is_same_ground).then(pl.min_horizontal("_end", "_end_old")).otherwise(pl.col(partition.start))
    pairs = both.select(low=low, high=pl.max_horizontal("_end", "_end_old"), same=is_same_ground)
    pairs = pairs.filter(~pl.col("same") | (pl.col("low") < pl.col("high")))
    first, last = (pl.lit(at).cast(pl.Datetime("us", "UTC")) for at in (now - _REACH_BACK, now + _REACH_AHEAD))
    pairs = pairs.filter(pl.col("high") >= first, pl.col("low") <= last).select(
        pl.max_horizontal("low", first).dt.truncate("1h"), pl.min_horizontal("high", last)
    )
    pairs = pairs.drop_nulls().unique()
    return _hours(pairs.sort("low", "high").iter_rows())


def _hours(pairs: Iterable[tuple[datetime, datetime]]) -> set[str]:
    """Return the keys of the hours that intervals overlap, at least the first of each."""
    hours: set[str] = set()
    reached: datetime | None = None
    for low, high in pairs:
        at = low if reached is None else max(low, reached)
        end = max(high, low + _HOUR)
        while at < end:
            hours.add(partition_key(at, "hour"))
            at += _HOUR
        reached = at if reached is None else max(reached, at)
    return hours


def also_fingerprints(table: Table, frame: pl.DataFrame) -> dict[str, str]:
    """Return a fingerprint of the rows of each further grouping, as a set: their order does not matter."""
    return {
        also_key(group, at): f"{count}-{first:016x}{second:016x}"
        for group in table.also
        for at, count, first, second in sums(frame, starts(group.column, group.every))
    }


def sums(frame: pl.DataFrame, part: pl.Expr) -> Iterator[tuple[Any, int, int, int]]:
    """Yield of each part of a frame the number of its rows and two sums of their hashes.

    A sum does not depend on the order of rows, and 128 bits do not meet by chance.
    """
    if frame.is_empty():
        return
    # A table that is one partition has a literal here: `select` would return one row of it.
    hashed = (
        frame.with_columns(part.alias("part"))
        .select("part")
        .with_columns(first=frame.hash_rows(seed=1), second=frame.hash_rows(seed=2))
    )
    found = hashed.group_by("part").agg(pl.len(), pl.col("first").sum(), pl.col("second").sum())
    yield from (row for row in found.iter_rows() if row[0] is not None)


def changed_rows(changes: Changes, turn: int, now: datetime) -> pl.DataFrame:
    """Return changes as rows of `partition_change`."""
    rows = [(turn, table, key, count, now) for (table, key), count in changes.items()]
    return pl.DataFrame(rows, schema=dtypes(PartitionChange), orient="row")


def bump(cursor: duckdb.DuckDBPyConnection, states: str, rows: pl.DataFrame) -> None:
    """Give every changed partition a new version; `states` is the qualified name of `partition_state`."""
    if rows.height:
        with_rows(cursor, rows, _counted(states, "incoming"))


def count_changes(cursor: duckdb.DuckDBPyConnection, states: str, changes: str) -> None:
    """Give the partitions of all `partition_change` their new versions, and empty it; both names are qualified."""
    cursor.execute(_counted(states, changes))
    cursor.execute(f"DELETE FROM {changes}")


def summed(changes: str, where: str = "") -> str:
    """Return the query that gives the changes of each partition as one row: each commit makes one version."""
    return (
        "SELECT table_name, partition_key, count(*) AS version_count, sum(row_count)::BIGINT AS row_count, "
        f"max(changed_at) AS changed_at FROM {changes}{where} GROUP BY table_name, partition_key"
    )


def _counted(states: str, changes: str) -> str:
    return (
        f"MERGE INTO {states} s USING ({summed(changes)}) i ON {SAME_PARTITION} "
        "WHEN MATCHED THEN UPDATE SET version_count = s.version_count + i.version_count, content_fingerprint = NULL, "
        "row_count = coalesce(s.row_count, 0) + i.row_count, changed_at = i.changed_at "
        "WHEN NOT MATCHED THEN INSERT "
        "(table_name, partition_key, version_count, is_sealed, row_count, changed_at) "
        "VALUES (i.table_name, i.partition_key, i.version_count, false, i.row_count, i.changed_at)"
    )
