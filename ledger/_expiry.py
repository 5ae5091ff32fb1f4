"""Which stretches of a table's old rows are deleted one after the other.

The rows of a day are a hundred million and more: deleted with one commit they would keep all others waiting.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

import polars as pl

from ledger._ddl import quoted
from ledger.errors import ContractError
from ledger.tables.partition import Table, Timed, floor

Stretch = tuple[datetime, datetime]
"""A stretch of time, half-open."""

AT_ONCE: Final = 1_000_000
"""Rows that are deleted with one commit: a tenth of a second, and 8 MB of log."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST: Final = datetime.min.replace(tzinfo=UTC)


def timed(table: Table) -> Timed:
    """Return the time by which a table's rows expire.

    Raises: ContractError: it has none.
    """
    if isinstance(table.partition, Timed):
        return table.partition
    raise ContractError(f"{table.name}: found no time to expire by, expected a table with timed partitions")


def expiring(
    rows: Callable[[str, Mapping[str, object]], pl.DataFrame], prefix: str, table: Table, before: datetime, at_once: int
) -> Iterator[Stretch]:
    """Yield the stretches that hold a table's rows of whole partitions before an instant; `rows` reads the store."""
    by = timed(table)
    before, column = floor(before, by.every), quoted(by.column)
    # `time_bucket` and `date_trunc` know time zones, which takes ten times as long.
    query = (
        f"SELECT epoch_us({column}::TIMESTAMPTZ) // 60_000_000 AS minute, count(*) AS row_count "
        f"FROM {prefix}{quoted(table.name)} WHERE {column} < $before GROUP BY 1 ORDER BY 1"
    )
    return stretches(rows(query, {"before": before}).iter_rows(), before, at_once)


def stretches(minutes: Iterable[tuple[int, int]], before: datetime, at_once: int) -> Iterator[Stretch]:
    """Yield stretches up to an instant, oldest first, of at most so many rows, or of one minute that has more.

    `minutes` are those since 1970 that have rows, in order, with how many; where there are none, nothing is yielded.
    """
    start, count = _FIRST, 0
    for minute, added in minutes:
        if count and count + added > at_once:
            end = _EPOCH + timedelta(minutes=minute)
            yield start, end
            start, count = end, 0
        count += added
    if count:
        yield start, before
