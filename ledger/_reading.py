"""The queries by which tables are read."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from ledger._ddl import quoted
from ledger._replaced import bounds
from ledger._turns import CHANGES, STATES
from ledger._versions import summed
from ledger.errors import ContractError
from ledger.frames import columns_of
from ledger.tables import TABLES
from ledger.tables.partition import Among, Between, Containing, Spanning, Table, Timed, Without

Window = tuple[datetime, datetime]
"""A stretch of time, half-open."""


class PartitionStateRow(NamedTuple):
    """One partition's version, and for a rollup what it was computed from."""

    partition_key: str
    version_count: int
    content_fingerprint: str | None
    input_version: str | None
    code_version: str | None
    settings_fingerprint: str | None
    is_sealed: bool
    row_count: int | None
    changed_at: datetime


def _states(prefix: str, conditions: Sequence[str]) -> str:
    """Return the query that gives rows of `partition_state`, what is not counted yet added."""
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    return f"""
        SELECT table_name, partition_key, coalesce(s.version_count, 0) + coalesce(c.version_count, 0) AS version_count,
            CASE WHEN c.version_count IS NULL THEN content_fingerprint END AS content_fingerprint,
            input_version, code_version, settings_fingerprint, coalesce(is_sealed, false) AS is_sealed,
            CASE WHEN c.version_count IS NULL THEN s.row_count ELSE coalesce(s.row_count, 0) + c.row_count END
                AS row_count,
            coalesce(c.changed_at, s.changed_at) AS changed_at
        FROM (SELECT * FROM {prefix}{STATES}{where}) s
        FULL JOIN ({summed(f"{prefix}{CHANGES}", where)}) c USING (table_name, partition_key)"""


def versions_query(prefix: str, table_name: str, since_key: str | None) -> tuple[str, dict[str, object]]:
    """Return the query, with its parameters, that reads what is known of a table's partitions, from one key on."""
    conditions, params = ["table_name = $name"], {"name": table_name}
    if since_key is not None:
        conditions.append("substr(partition_key, strpos(partition_key, ':') + 1) >= $since")
        params["since"] = since_key
    columns = ", ".join(PartitionStateRow._fields)
    return f"SELECT {columns} FROM ({_states(prefix, conditions)}) ORDER BY partition_key", {**params}


class Version(NamedTuple):
    """What tells one state of a partition from another: the part of its row that deciding what is due needs.

    `token` is the fingerprint of its rows where that is known: computed again to the same rows, it is the same.
    """

    token: str
    input_version: str | None
    code_version: str | None
    settings_fingerprint: str | None
    is_sealed: bool
    row_count: int | None


def current_query(prefix: str, table_name: str | None) -> tuple[str, dict[str, object]]:
    """Return the query that reads the versions of a table's partitions, or of all tables', with its parameters.

    The first two columns are the table and the key, the others those of `Version`.
    """
    told = "coalesce(content_fingerprint, version_count::VARCHAR)"
    columns = f"table_name, partition_key, {told}, {', '.join(Version._fields[1:])}"
    if table_name is None:
        return f"SELECT {columns} FROM ({_states(prefix, ())})", {}
    return f"SELECT {columns} FROM ({_states(prefix, ['table_name = $name'])})", {"name": table_name}


def by_table(rows: Iterable[tuple[Any, ...]]) -> dict[str, dict[str, Version]]:
    """Return the rows of `current_query` by table and key."""
    found: dict[str, dict[str, Version]] = {}
    for row in rows:
        found.setdefault(row[0], {})[row[1]] = Version._make(row[2:])
    return found


def rows_of(
    table: Table,
    name: str,
    columns: Sequence[str],
    window: Window | None,
    *,
    by: str,
    where: Mapping[str, Sequence[object]],
) -> tuple[str, dict[str, object]]:
    """Return ` FROM ... WHERE ...` of the rows in a window, with its parameters; `name` is qualified.

    Raises: ContractError: one of the columns that are to be read, or are named to read by, is not the table's.
    """
    for column in (*columns, *where, *([by] if by else [])):
        if column not in columns_of(table.schema):
            raise ContractError(f"{table.name}: found no column {column}, expected one to read by")
    conditions: list[str] = []
    params: dict[str, object] = {}
    partition = table.partition
    timed = by or (partition.column if isinstance(partition, Timed) else "")
    if window is not None and timed:
        params["low"], params["high"] = bounds(table, timed, *window)
        conditions.append(f"{quoted(timed)} >= $low AND {quoted(timed)} < $high")
    elif window is not None and isinstance(partition, Spanning):
        params["low"], params["high"] = window
        start, end = quoted(partition.start), quoted(partition.end)
        conditions.append(f"{start} < $high AND ({end} IS NULL OR {end} > $low OR {start} >= $low)")
    for place, (column, values) in enumerate(where.items()):
        more, told = _told(quoted(column), values, name.removesuffix(quoted(table.name)), place)
        conditions += more
        params |= told
    return f" FROM {name}{' WHERE ' if conditions else ''}{' AND '.join(conditions)}", params


def _told(column: str, values: Sequence[object], prefix: str, place: int) -> tuple[list[str], dict[str, object]]:
    """Return the conditions by which a column has some values, with their parameters; `prefix` qualifies tables.

    Raises: ContractError: the other table, of whose rows values are wanted, has no such column.
    """
    if isinstance(values, Without):
        # Compared one by one: whole row groups are passed over that hold nothing else.
        names = [f"without_{place}_{each}" for each in range(len(values))]
        return [f"{column} <> ${name}" for name in names], dict(zip(names, values, strict=True))
    if isinstance(values, Containing):
        names = [f"part_{place}_{each}" for each in range(len(values))]
        return [f"contains({column}, ${name})" for name in names], dict(zip(names, values, strict=True))
    if isinstance(values, Between):
        low, high = values
        edges = [(">=", f"low_{place}", low), ("<", f"high_{place}", high)]
        known = [each for each in edges if each[2] is not None]
        return [f"{column} {sign} ${name}" for sign, name, _ in known], {name: value for _, name, value in known}
    if isinstance(values, Among):
        other, by, value = values
        if not {column, quoted(by)} <= {quoted(each) for each in columns_of(TABLES[other].schema)}:
            raise ContractError(f"{other}: found no column {column} or {by}, expected both to read by")
        name = f"among_{place}"
        rows = f"SELECT {column} FROM {prefix}{quoted(other)} WHERE {quoted(by)} = ${name}"
        return [f"{column} IN ({rows})"], {name: value}
    some = [value for value in values if value is not None]
    tests = [f"{column} IN (SELECT unnest($where_{place}))"] if some else []
    tests += [f"{column} IS NULL"] if len(some) < len(values) else []
    return [f"({' OR '.join(tests)})" if tests else "false"], {f"where_{place}": some} if some else {}
