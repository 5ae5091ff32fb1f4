"""What is computed and replaces whole partitions: cast and held to its table, never filtered."""

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from datetime import date, datetime, timedelta
from typing import Final

import polars as pl

from ledger import _versions
from ledger._commit import Commit
from ledger._connection import fetch, with_rows
from ledger._ddl import quoted
from ledger._door import checks
from ledger._order import has_repeats
from ledger._slices import Content, Stretch
from ledger.errors import ContractError, SealedError
from ledger.frames import columns_of, shaped
from ledger.tables import TABLES
from ledger.tables.partition import WHOLE, Keyed, Spanning, Table, Timed, Whole, start_of
from ledger.units import is_money


@dataclass(frozen=True)
class RollupState:
    """What a partition of a rollup was computed from: fingerprints of its inputs' versions, code and settings."""

    input_version: str
    code_version: str
    settings_fingerprint: str


_STATE_ROWS: Final = {
    "table_name": pl.String(),
    "partition_key": pl.String(),
    "version_count": pl.Int64(),
    "content_fingerprint": pl.String(),
    "input_version": pl.String(),
    "code_version": pl.String(),
    "settings_fingerprint": pl.String(),
    "row_count": pl.Int64(),
    "changed_at": pl.Datetime("us", "UTC"),
}


def checked(table: Table, frame: pl.DataFrame, partitions: Sequence[str]) -> pl.DataFrame:
    """Return the rows in the types of their table.

    Raises: ContractError: a column is missing or does not fit, money has another type, a value is null or
    not finite, two rows have one key, or a row lies outside the partitions.
    """
    cast = _cast(table, frame)
    for check in checks(table.schema):
        series = cast[check.name]
        if check.is_required and series.null_count():
            raise ContractError(f"{table.name}: {check.name}: found null, expected a value in every row")
        if check.is_float and not (series.is_finite() | series.is_null()).all():
            raise ContractError(f"{table.name}: {check.name}: found NaN or infinity, expected null or a number")
    if has_repeats(cast, table.key):
        raise ContractError(f"{table.name}: found two rows with one key, expected one")
    _refuse_strays(table, cast, partitions)
    return cast


def _cast(table: Table, frame: pl.DataFrame) -> pl.DataFrame:
    wanted = columns_of(table.schema)
    for name, column in wanted.items():
        if name not in frame.columns and not column.nullable:
            raise ContractError(f"{table.name}: found no column {name}, expected one")
        if name in frame.columns and is_money(name) and frame[name].dtype not in (column.dtype, pl.Null):
            raise ContractError(f"{table.name}: {name}: found {frame[name].dtype}, expected {column.dtype}")
    absent = frame.with_columns(pl.lit(None).alias(name) for name in wanted if name not in frame.columns)
    try:
        return absent.select(pl.col(name).cast(column.dtype) for name, column in wanted.items()).rechunk()
    except pl.exceptions.PolarsError as error:
        raise ContractError(f"{table.name}: found a value that does not fit its column: {error}") from error


def _refuse_strays(table: Table, frame: pl.DataFrame, partitions: Sequence[str]) -> None:
    """Refuse keys that are no partitions of the table, and rows outside those named."""
    partition = table.partition
    if isinstance(partition, (Whole, Spanning)):
        if list(partitions) != [WHOLE]:
            raise ContractError(f"{table.name}: found partitions {list(partitions)}, expected ['{WHOLE}']")
        return
    if isinstance(partition, Timed):
        for key in partitions:
            try:
                start_of(key)
            except ValueError as error:
                raise ContractError(
                    f"{table.name}: found partition {key!r}, expected the key of one {partition.every}"
                ) from error
    strays = sorted(_versions.row_counts(table, frame).keys() - set(partitions))
    if strays:
        raise ContractError(
            f"{table.name}: found rows of partition {strays[0]}, expected only {', '.join(partitions[:3])}"
        )


def replace(
    commit: Commit,
    table: Table,
    frame: pl.DataFrame,
    partitions: Sequence[str],
    state: Mapping[str, RollupState],
    new: Content,
) -> list[str]:
    """Put rows, of which `new` tells, in the place of whole partitions; return those whose rows changed.

    Raises: SealedError: one of them is sealed.
    """
    commit.rewritten.add(table.name)
    before = _states(commit, table, partitions)
    sealed = sorted(key for key, (is_sealed, _) in before.items() if is_sealed)
    if sealed:
        raise SealedError(
            f"{table.name}: {', '.join(sealed[:3])}: found a sealed partition, expected an open one; "
            "recomputing a sealed one is refused: the rows behind it have expired",
            hint="compute a later stretch of time, or restore a backup that still has the rows",
        )
    if isinstance(table.partition, Spanning):
        return _replace_intervals(commit, table, frame)
    # What was never written counts as empty; what was appended to has no fingerprint.
    known = {key: before.get(key, (False, ""))[1] for key in partitions}
    changed = {key: was for key, was in known.items() if was != str(new.of(key))}
    if changed:
        _swap(commit, table, frame, changed, new)
    _write_states(commit, table, _Outcome(partitions, frozenset(changed), new, state))
    return list(changed)


def extend(commit: Commit, table: Table, frame: pl.DataFrame) -> None:
    """Put more rows into partitions that were begun."""
    commit.rewritten.add(table.name)
    if frame.height:
        commit.insert(table, frame)
        commit.note_changed(table, frame.clear(), frame)


def _states(commit: Commit, table: Table, partitions: Sequence[str]) -> dict[str, tuple[bool, str | None]]:
    query = (
        f"SELECT partition_key, is_sealed, content_fingerprint FROM {commit.of(TABLES['partition_state'])} "
        "WHERE table_name = ? AND partition_key IN (SELECT unnest(?::VARCHAR[]))"
    )
    rows = fetch(commit.cursor, query, [table.name, list(partitions)])
    return {key: (is_sealed, fingerprint) for key, is_sealed, fingerprint in rows.iter_rows()}


def _swap(commit: Commit, table: Table, frame: pl.DataFrame, changed: Mapping[str, str | None], new: Content) -> None:
    """Delete what has changed of partitions and insert their new rows; `changed` are these, as they were."""
    slices = commit.latest.slices
    stale = slices.stale(table, changed, new)
    where, params = _predicate(table, list(changed), stale)
    if isinstance(table.partition, Keyed):
        kept = frame.select(_versions.partition_column(table)).to_series().is_in(list(changed))
        frame = frame.filter(kept)
    elif isinstance(table.partition, Timed) and frame.height:
        frame = _inside(table, table.partition.column, frame, stale)
    if table.also:
        old = shaped(fetch(commit.cursor, f"SELECT * FROM {commit.of(table)} WHERE {where}", params), table.schema)
        was, now = _versions.also_fingerprints(table, old), _versions.also_fingerprints(table, frame)
        commit.note(table, {key: 0 for key in was.keys() | now.keys() if was.get(key) != now.get(key)})
    commit.cursor.execute(f"DELETE FROM {commit.of(table)} WHERE {where}", params)
    if frame.height:
        commit.insert(table, frame)
    slices.keep(table, list(changed), new)


def _inside(table: Table, column: str, frame: pl.DataFrame, stretches: Sequence[Stretch]) -> pl.DataFrame:
    """Return the rows that lie in one of the stretches."""
    edges = (bounds(table, column, low, high) for low, high in stretches)
    kept = pl.any_horizontal((pl.col(column) >= pl.lit(low)) & (pl.col(column) < pl.lit(high)) for low, high in edges)
    is_kept = frame.select(kept.alias("kept")).to_series()
    return frame if is_kept.all() else frame.filter(is_kept)


def _replace_intervals(commit: Commit, table: Table, frame: pl.DataFrame) -> list[str]:
    old = shaped(fetch(commit.cursor, f"SELECT * FROM {commit.of(table)}"), table.schema)
    added = frame.join(old, on=frame.columns, how="anti", nulls_equal=True)
    gone = old.join(frame, on=frame.columns, how="anti", nulls_equal=True)
    if added.is_empty() and gone.is_empty():
        return []
    commit.delete_keys(table, gone)
    commit.insert(table, added)
    commit.note_changed(table, gone, added)
    return [WHOLE]


@dataclass(frozen=True)
class _Outcome:
    """What replacing partitions came to."""

    partitions: Sequence[str]
    changed: frozenset[str]
    new: Content
    state: Mapping[str, RollupState]

    def row(self, table: Table, key: str, now: datetime) -> tuple[object, ...]:
        """Return the row of `partition_state`, with what is added to its version."""
        state, rows = self.state.get(key), self.new.of(key)
        known = (None, None, None) if state is None else astuple(state)
        return (table.name, key, int(key in self.changed), str(rows), *known, rows.count, now)


def _write_states(commit: Commit, table: Table, outcome: _Outcome) -> None:
    data = [outcome.row(table, key, commit.now) for key in dict.fromkeys(outcome.partitions)]
    rows = pl.DataFrame(data, schema=_STATE_ROWS, orient="row")
    states = commit.of(TABLES["partition_state"])
    columns = ", ".join(_STATE_ROWS)
    with_rows(
        commit.cursor,
        rows,
        f"INSERT INTO {states} ({columns}, is_sealed) "
        f"SELECT {columns.replace('version_count', '0')}, false FROM incoming i "
        f"WHERE NOT EXISTS (SELECT 1 FROM {states} s WHERE {_versions.SAME_PARTITION})",
    )
    with_rows(
        commit.cursor,
        rows,
        f"UPDATE {states} s SET version_count = s.version_count + i.version_count, "
        "content_fingerprint = i.content_fingerprint, input_version = i.input_version, "
        "code_version = i.code_version, settings_fingerprint = i.settings_fingerprint, row_count = i.row_count, "
        "changed_at = CASE WHEN i.version_count = 1 THEN i.changed_at ELSE s.changed_at END "
        f"FROM incoming i WHERE {_versions.SAME_PARTITION}",
    )


def _predicate(table: Table, keys: Sequence[str], stretches: Sequence[Stretch]) -> tuple[str, list[object]]:
    """Return the condition that selects partitions, or stretches of them in time, with its parameters."""
    partition = table.partition
    if isinstance(partition, Keyed):
        text = " || '|' || ".join(f"CAST({quoted(name)} AS VARCHAR)" for name in partition.columns)
        return f"{text} IN (SELECT unnest(?::VARCHAR[]))", [list(keys)]
    if not isinstance(partition, Timed):
        return "true", []
    params = [edge for low, high in stretches for edge in bounds(table, partition.column, low, high)]
    column = quoted(partition.column)
    return "(" + " OR ".join([f"({column} >= ? AND {column} < ?)"] * len(stretches)) + ")", params


def bounds(table: Table, column: str, low: datetime, high: datetime) -> tuple[object, object]:
    """Return a window's edges in the type of a column; a day is in the window if its first instant is."""
    if columns_of(table.schema)[column].dtype == pl.Date:
        return _day_from(low), _day_from(high)
    return low, high


def _day_from(at: datetime) -> date:
    """Return the first day that starts at or after an instant."""
    starts = at == at.replace(hour=0, minute=0, second=0, microsecond=0)
    return at.date() if starts else at.date() + timedelta(days=1)
