"""What is computed and replaces whole partitions."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass
from datetime import date, datetime, timedelta
from typing import Final

import polars as pl

from ledger import _versions
from ledger._commit import Commit
from ledger._connection import ROW_GROUP, fetch, with_rows
from ledger._ddl import quoted
from ledger._pieces import Pieces
from ledger._slices import Content, Stretch
from ledger.errors import SealedError
from ledger.frames import columns_of, shaped
from ledger.tables import TABLES
from ledger.tables.partition import WHOLE, Keyed, Spanning, Table, Timed


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


def replace(commit: Commit, pieces: Pieces, state: Mapping[str, RollupState]) -> list[str]:
    """Put rows in the place of whole partitions; return those whose rows changed.

    Raises: SealedError: one of them is sealed.
    """
    table, partitions, new = pieces.table, pieces.partitions, pieces.content
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
        return _replace_intervals(commit, table, pl.concat(pieces.frames()))
    # What was never written counts as empty; what was appended to has no fingerprint.
    known = {key: before.get(key, (False, ""))[1] for key in partitions}
    changed = {key: was for key, was in known.items() if was != str(new.of(key))}
    if changed:
        _swap(commit, pieces, changed)
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


def _swap(commit: Commit, pieces: Pieces, changed: Mapping[str, str | None]) -> None:
    """Delete what has changed of partitions and insert their new rows; `changed` are these, as they were."""
    table, slices = pieces.table, commit.latest.slices
    stale = slices.stale(table, changed, pieces.content)
    where, params = _predicate(table, list(changed), stale)
    frames = _together(_changed(table, frame, changed, stale) for frame in pieces.frames())
    if table.also:
        frame = pl.concat(frames)
        frames = iter([frame])
        old = shaped(fetch(commit.cursor, f"SELECT * FROM {commit.of(table)} WHERE {where}", params), table.schema)
        was, now = _versions.also_fingerprints(table, old), _versions.also_fingerprints(table, frame)
        commit.note(table, {key: 0 for key in was.keys() | now.keys() if was.get(key) != now.get(key)})
    if isinstance(table.partition, Timed) and table.partition.edge:
        commit.note(table, {_versions.edge_key(key): 0 for key in changed})
    commit.cursor.execute(f"DELETE FROM {commit.of(table)} WHERE {where}", params)
    for rows in frames:
        if rows.height:
            commit.insert(table, rows)
    slices.keep(table, list(changed), pieces.content)


def _changed(table: Table, frame: pl.DataFrame, changed: Collection[str], stale: Sequence[Stretch]) -> pl.DataFrame:
    """Return the rows of a piece that take another's place."""
    if isinstance(table.partition, Keyed):
        return frame.filter(frame.select(_versions.partition_column(table)).to_series().is_in(list(changed)))
    if isinstance(table.partition, Timed) and frame.height:
        return _inside(table, table.partition.column, frame, stale)
    return frame


def _together(frames: Iterable[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    """Yield rows as frames that fill a group each; one that does not is alone."""
    waiting: list[pl.DataFrame] = []
    full: pl.DataFrame | None = None
    for frame in frames:
        waiting.append(frame)
        if sum(each.height for each in waiting) >= ROW_GROUP:
            if full is not None:
                yield full
            full, waiting = pl.concat(waiting, rechunk=True), []
    rest = waiting if full is None else [full, *waiting]
    if rest:
        yield pl.concat(rest, rechunk=True)


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
