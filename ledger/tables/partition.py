"""What of a table is replaced, sealed and recomputed as one: its partition.

The key of a partition is text, so that it stands in `partition_state` on every store.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Final, Literal, TypeVar

import dataframely as dy

Group = Literal["sample", "slow_sample", "event", "holding", "inventory", "money", "rollup", "operation"]

Every = Literal["hour", "day", "month"]


class Without(tuple[str, ...]):
    """Values that rows are read without; any other sequence holds values of which a row has one."""

    __slots__ = ()


class Containing(tuple[str, ...]):
    """Texts that a column of the rows that are read contains, each of them."""

    __slots__ = ()


class Between(tuple[str | None, str | None]):
    """The first text of the rows that are read, in order, and the first after them; None where it is open."""

    __slots__ = ()


class Among(tuple[str, str, str]):
    """Values that a column has in rows of another table, too: its name, and a column of it with what that says there.

    Rows that belong to no such row are not read.
    """

    __slots__ = ()


EDGE: Final = timedelta(minutes=5)
"""So much of an hour's samples closes the steps that began in the hour before."""

EDGE_PREFIX: Final = "edge:"

WHOLE: Final = "*"
"""The key of the one partition of a table that has no other."""


@dataclass(frozen=True)
class Timed:
    """Partitions are clock hours, UTC days or calendar months of one column.

    Rows of the first `edge` of a partition give it another version too, under the key `edge:partition`: whoever reads
    no further beyond the end of the one before does not depend on what comes later.
    """

    column: str
    every: Every = "hour"
    edge: timedelta = timedelta(0)


@dataclass(frozen=True)
class Keyed:
    """Partitions are the values of some columns, such as provider and billing period."""

    columns: tuple[str, ...]


@dataclass(frozen=True)
class Spanning:
    """Rows are intervals; a change of one touches each hour that it overlaps. An open end reaches to now.

    Where only the end moved, the hours between the old and the new end are touched; where a column of
    `watched` changed, all hours of the interval; a change elsewhere touches none.
    """

    start: str
    end: str
    watched: tuple[str, ...] = ()


@dataclass(frozen=True)
class Whole:
    """The table is one partition."""


Partition = Timed | Keyed | Spanning | Whole

S = TypeVar("S", bound=type[dy.Schema])


@dataclass(frozen=True)
class Table:
    """A table's schema with its name, group and partition.

    `also` names further ways in which its rows are grouped by readers: a write records a new version
    for each of them, under the key `column:partition`, and none of them is replaced by it.
    """

    name: str
    schema: type[dy.Schema]
    group: Group
    partition: Partition
    order: tuple[str, ...]
    also: tuple[Timed, ...] = ()

    @cached_property
    def key(self) -> tuple[str, ...]:
        """Return the columns that identify a row."""
        return tuple(self.schema.primary_key())


TABLES: Final[dict[str, Table]] = {}
"""Every table by name, filled as the modules of `ledger.tables` are imported."""

_BY_SCHEMA: Final[dict[type[dy.Schema], Table]] = {}


def table(
    group: Group, partition: Partition, *, order: tuple[str, ...] = (), also: tuple[Timed, ...] = ()
) -> Callable[[S], S]:
    """Register a schema as a stored table under its name in snake case; `order` is how rows lie on disk."""

    def register(schema: S) -> S:
        name = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in schema.__name__).lstrip("_")
        declared = Table(name, schema, group, partition, order, also)
        TABLES[name] = declared
        _BY_SCHEMA[schema] = declared
        return schema

    return register


def declared(schema: type[dy.Schema]) -> Table:
    """Return what was registered for a schema."""
    return _BY_SCHEMA[schema]


_FORMAT: Final[dict[Every, str]] = {"hour": "%Y-%m-%dT%H", "day": "%Y-%m-%d", "month": "%Y-%m"}
_LENGTH: Final[dict[Every, int]] = {"hour": len("2026-11-20T05"), "day": len("2026-11-20"), "month": len("2026-11")}


def partition_key(at: datetime, every: Every) -> str:
    """Return the key of the partition that holds an instant: `2026-11-20T05`, `2026-11-20` or `2026-11`."""
    # Something that goes on since a year has thousands of hours: `strftime` takes four times as long.
    return at.astimezone(UTC).isoformat()[: _LENGTH[every]]


def floor(at: datetime, every: Every) -> datetime:
    """Return the start of the hour, day or month that holds an instant."""
    at = at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    if every == "hour":
        return at
    at = at.replace(hour=0)
    return at if every == "day" else at.replace(day=1)


def after(start: datetime, every: Every) -> datetime:
    """Return the end, exclusive, of the partition that starts at an instant."""
    if every == "hour":
        return start + timedelta(hours=1)
    if every == "day":
        return start + timedelta(days=1)
    return (start + timedelta(days=32)).replace(day=1)


def start_of(key: str) -> datetime:
    """Return the instant at which a timed partition starts."""
    every: Every = "hour" if "T" in key else "day" if key.count("-") == 2 else "month"  # noqa: PLR2004  year-month-day
    return datetime.strptime(key, _FORMAT[every]).replace(tzinfo=UTC)
