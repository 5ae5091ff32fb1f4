"""One write transaction in progress: what it stores, and which versions that changes."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import duckdb
import polars as pl

from ledger import _versions
from ledger._connection import fetch, fetch_with_rows, insert, with_rows
from ledger._ddl import quoted
from ledger._door import APPEND_ONLY, Admitted, Written, second_rows
from ledger.errors import ContractError, SealedError
from ledger.tables import TABLES, Batch, RejectedRow, declared
from ledger.tables.partition import WHOLE, Keyed, Spanning, Table, Timed, Whole, after, start_of


@dataclass(frozen=True)
class RollupState:
    """What a partition of a rollup was computed from: fingerprints of its inputs' versions, code and settings."""

    input_version: str
    code_version: str
    settings_fingerprint: str


@dataclass
class Commit:
    """What one transaction has done so far; `finish` records the versions."""

    cursor: duckdb.DuckDBPyConnection
    prefix: str
    now: datetime
    changes: _versions.Changes = field(default_factory=dict)

    def of(self, table: Table) -> str:
        """Return a table's qualified name."""
        return f"{self.prefix}{quoted(table.name)}"

    def _note(self, table: Table, keys: Mapping[str, int]) -> None:
        for key, count in keys.items():
            self.changes[table.name, key] = self.changes.get((table.name, key), 0) + count

    def has_batch(self, batch_id: str) -> bool:
        """Tell whether a batch was committed before."""
        seen = fetch(self.cursor, f"SELECT 1 FROM {self.of(declared(Batch))} WHERE batch_id = ? LIMIT 1", [batch_id])
        return seen.height > 0

    def record_batch(self, batch_id: str, node: str, written: Mapping[str, Written]) -> None:
        """Remember that a batch counts."""
        row = {
            "batch_id": batch_id,
            "node": node,
            "received_at": self.now,
            "row_count": sum(each.rows for each in written.values()),
            "rejected_count": sum(each.rejected for each in written.values()),
        }
        self._add(declared(Batch), pl.DataFrame([row], schema={name: column.dtype for name, column in Batch.columns().items()}))

    def append(self, table: Table, admitted: Admitted, source: str) -> Written:
        """Store admitted rows, and refused ones as such."""
        add = self._append_only if table.group in APPEND_ONLY else self._upsert
        rows, known, refused = add(table, admitted.frame)
        rejected = pl.concat([admitted.rejected, refused]) if refused.height else admitted.rejected
        if rejected.height:
            self._reject(table, rejected, source)
        return Written(rows, admitted.duplicates + known, rejected.height, admitted.unknown_columns)

    def _append_only(self, table: Table, frame: pl.DataFrame) -> tuple[int, int, pl.DataFrame]:
        key = list(table.key)
        stored = self._stored(table, frame, only_keys=True)
        known, refused = 0, pl.DataFrame(schema={"reason": pl.String, "row_json": pl.String})
        if stored.height:
            stored = self._stored(table, frame, only_keys=False)
            met = frame.join(stored, on=key, how="semi")
            other = met.join(stored, on=frame.columns, how="anti", nulls_equal=True)
            known, refused = met.height - other.height, second_rows(table, other)
            frame = frame.join(stored, on=key, how="anti", maintain_order="left")
        self._add(table, frame)
        return frame.height, known, refused

    def _upsert(self, table: Table, frame: pl.DataFrame) -> tuple[int, int, pl.DataFrame]:
        refused = pl.DataFrame(schema={"reason": pl.String, "row_json": pl.String})
        stored = self._stored(table, frame, only_keys=False)
        changed = frame
        if stored.height:
            changed = frame.join(stored, on=frame.columns, how="anti", nulls_equal=True, maintain_order="left")
            stored = stored.join(changed, on=list(table.key), how="semi")
            if stored.height:
                self._delete_keys(table, stored)
        if changed.height:
            insert(self.cursor, self.of(table), changed)
            self._note_changed(table, stored, changed)
        return changed.height, frame.height - changed.height, refused

    def _note_changed(self, table: Table, old: pl.DataFrame, new: pl.DataFrame) -> None:
        """Note the partitions of rows that were there and of those that stand in their place."""
        if isinstance(table.partition, Spanning):
            hours = _versions.touched_hours(table.partition, old, new, table.key, self.now)
            self._note(table, dict.fromkeys(hours, 0))
        else:
            self._note(table, _versions.row_counts(table, new))
            self._note(table, {key: -count for key, count in _versions.row_counts(table, old).items()})
        self._note(table, dict.fromkeys(_versions.also_keys(table, new) | _versions.also_keys(table, old), 0))

    def _add(self, table: Table, frame: pl.DataFrame) -> None:
        """Insert rows that are known to be new."""
        if frame.is_empty():
            return
        insert(self.cursor, self.of(table), frame)
        self._note_changed(table, frame.clear(), frame)

    def _stored(self, table: Table, frame: pl.DataFrame, *, only_keys: bool) -> pl.DataFrame:
        """Return the stored rows whose keys a frame has, looked for only in the frame's stretch of time."""
        if frame.is_empty():
            return frame.select(table.key) if only_keys else frame
        keys = frame.select(table.key)
        selected = list(table.key) if only_keys else frame.columns
        same = " AND ".join(f"s.{quoted(name)} = i.{quoted(name)}" for name in table.key)
        query = f"SELECT {', '.join(f's.{quoted(name)}' for name in selected)} FROM {self.of(table)} s SEMI JOIN incoming i ON {same}"
        params: list[object] = []
        if isinstance(table.partition, Timed) and table.partition.column in table.key:
            column = table.partition.column
            query += f" WHERE s.{quoted(column)} BETWEEN ? AND ?"
            params = [keys[column].min(), keys[column].max()]
        return fetch_with_rows(self.cursor, keys, query, params).cast(dict(frame.select(selected).schema))

    def _delete_keys(self, table: Table, rows: pl.DataFrame) -> None:
        same = " AND ".join(f"s.{quoted(name)} = i.{quoted(name)}" for name in table.key)
        with_rows(self.cursor, rows.select(table.key), f"DELETE FROM {self.of(table)} s USING incoming i WHERE {same}")

    def _reject(self, table: Table, rejected: pl.DataFrame, source: str) -> None:
        rows = rejected.select(
            rejected_id=pl.Series([uuid.uuid4().hex for _ in range(rejected.height)]),
            table_name=pl.lit(table.name),
            source=pl.lit(source),
            reason="reason",
            row_json="row_json",
            rejected_at=pl.lit(self.now).cast(pl.Datetime("us", "UTC")),
        )
        self._add(declared(RejectedRow), rows)

    def replace(
        self, table: Table, frame: pl.DataFrame, partitions: Sequence[str], state: Mapping[str, RollupState]
    ) -> list[str]:
        """Put rows in the place of whole partitions; return those whose rows changed.

        Raises: SealedError: one of them is sealed.
        """
        before = self._states(table, partitions)
        sealed = sorted(key for key, row in before.items() if row["is_sealed"])
        if sealed:
            raise SealedError(
                f"{table.name}: {', '.join(sealed[:3])}: found a sealed partition, expected an open one; "
                "recomputing a sealed one is refused: the rows behind it have expired",
                hint="compute a later stretch of time, or restore a backup that still has the rows",
            )
        found = _versions.fingerprints(table, frame) if not isinstance(table.partition, Spanning) else {}
        if isinstance(table.partition, Spanning):
            changed = self._replace_spanning(table, frame)
        else:
            changed = [key for key in partitions if (before[key]["content_fingerprint"] if key in before else "") != found.get(key, "")]
            self._swap(table, frame, changed)
            self._write_states(table, frame, partitions, changed, found, state)
        return changed

    def _states(self, table: Table, partitions: Sequence[str]) -> dict[str, dict[str, object]]:
        query = (
            f"SELECT partition_key, is_sealed, content_fingerprint FROM {self.of(TABLES['partition_state'])} "
            "WHERE table_name = ? AND partition_key IN (SELECT unnest(?::VARCHAR[]))"
        )
        rows = fetch(self.cursor, query, [table.name, list(partitions)])
        return {str(row["partition_key"]): row for row in rows.iter_rows(named=True)}

    def _swap(self, table: Table, frame: pl.DataFrame, changed: Sequence[str]) -> None:
        """Delete the changed partitions and insert their new rows."""
        if not changed:
            return
        where, params = predicate(table, changed)
        if not isinstance(table.partition, Whole):
            parts = frame.select(_versions.partition_column(table)).to_series()
            names = {value: _versions.key_text(table, value) for value in parts.unique()}
            wanted = [value for value, name in names.items() if name in set(changed)]
            frame = frame.filter(parts.is_in(pl.Series(wanted, dtype=parts.dtype)))
        if table.also:
            old = fetch(self.cursor, f"SELECT * FROM {self.of(table)} WHERE {where}", params)
            old = old.select(frame.columns).cast(dict(frame.schema))
            was, now = _versions.also_fingerprints(table, old), _versions.also_fingerprints(table, frame)
            self._note(table, {key: 0 for key in was.keys() | now.keys() if was.get(key) != now.get(key)})
        self.cursor.execute(f"DELETE FROM {self.of(table)} WHERE {where}", params)
        if frame.height:
            insert(self.cursor, self.of(table), frame)

    def _replace_spanning(self, table: Table, frame: pl.DataFrame) -> list[str]:
        old = fetch(self.cursor, f"SELECT * FROM {self.of(table)}").select(frame.columns).cast(dict(frame.schema))
        added = frame.join(old, on=frame.columns, how="anti", nulls_equal=True)
        gone = old.join(frame, on=frame.columns, how="anti", nulls_equal=True)
        if added.is_empty() and gone.is_empty():
            return []
        self._delete_keys(table, gone)
        insert(self.cursor, self.of(table), added)
        self._note_changed(table, gone, added)
        return [WHOLE]

    def _write_states(
        self,
        table: Table,
        frame: pl.DataFrame,
        partitions: Sequence[str],
        changed: Sequence[str],
        found: Mapping[str, str],
        state: Mapping[str, RollupState],
    ) -> None:
        counts = _versions.row_counts(table, frame)
        nothing = RollupState("", "", "")
        rows = pl.DataFrame(
            [
                (
                    table.name,
                    key,
                    int(key in set(changed)),
                    found.get(key, ""),
                    *(getattr(state.get(key, nothing), name) or None for name in RollupState.__dataclass_fields__),
                    counts.get(key, 0),
                    self.now,
                )
                for key in dict.fromkeys(partitions)
            ],
            schema=_STATE_ROWS,
            orient="row",
        )
        states = self.of(TABLES["partition_state"])
        same = "s.table_name = i.table_name AND s.partition_key = i.partition_key"
        columns = ", ".join(_STATE_ROWS)
        with_rows(
            self.cursor,
            rows,
            f"INSERT INTO {states} ({columns}, is_sealed) SELECT {columns.replace('version_count', '0').replace('changed_at', 'changed_at')}, false "
            f"FROM incoming i WHERE NOT EXISTS (SELECT 1 FROM {states} s WHERE {same})",
        )
        with_rows(
            self.cursor,
            rows,
            f"UPDATE {states} s SET version_count = s.version_count + i.version_count, content_fingerprint = i.content_fingerprint, "
            "input_version = i.input_version, code_version = i.code_version, settings_fingerprint = i.settings_fingerprint, "
            "row_count = i.row_count, changed_at = CASE WHEN i.version_count = 1 THEN i.changed_at ELSE s.changed_at END "
            f"FROM incoming i WHERE {same}",
        )

    def seal(self, table: Table, keys: Sequence[str]) -> None:
        """Close partitions for good."""
        states = self.of(TABLES["partition_state"])
        rows = pl.DataFrame({"table_name": [table.name] * len(keys), "partition_key": list(keys)})
        same = "s.table_name = i.table_name AND s.partition_key = i.partition_key"
        with_rows(self.cursor, rows, f"UPDATE {states} s SET is_sealed = true FROM incoming i WHERE {same}")
        with_rows(
            self.cursor,
            rows,
            f"INSERT INTO {states} (table_name, partition_key, version_count, is_sealed, changed_at) "
            f"SELECT table_name, partition_key, 0, true, ? FROM incoming i WHERE NOT EXISTS (SELECT 1 FROM {states} s WHERE {same})",
            [self.now],
        )

    def expire(self, table: Table, before: datetime) -> int:
        """Delete the rows of a table before an instant; versions stay, so that nothing becomes due by it."""
        partition = table.partition
        if not isinstance(partition, Timed):
            raise ContractError(f"{table.name}: found no time to expire by, expected a table with timed partitions")
        query = f"DELETE FROM {self.of(table)} WHERE {quoted(partition.column)} < ?"
        row = self.cursor.execute(query, [before]).fetchone()
        return int(row[0]) if row else 0

    def finish(self) -> None:
        """Record the versions of all that changed."""
        _versions.bump(self.cursor, self.of(TABLES["partition_state"]), self.changes, self.now)


_STATE_ROWS = {
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


def predicate(table: Table, keys: Sequence[str]) -> tuple[str, list[object]]:
    """Return the condition that selects partitions, with its parameters; neighbours in time become one range."""
    partition = table.partition
    if isinstance(partition, Keyed):
        text = " || '|' || ".join(f"CAST({quoted(name)} AS VARCHAR)" for name in partition.columns)
        return f"{text} IN (SELECT unnest(?::VARCHAR[]))", [list(keys)]
    if not isinstance(partition, Timed):
        return "true", []
    ranges: list[tuple[datetime, datetime]] = []
    for start in sorted(start_of(key) for key in keys):
        end = after(start, partition.every)
        if ranges and ranges[-1][1] == start:
            ranges[-1] = (ranges[-1][0], end)
        else:
            ranges.append((start, end))
    column = quoted(partition.column)
    params: list[object] = []
    for low, high in ranges:
        params += bounds(table, partition.column, low, high)
    return "(" + " OR ".join([f"({column} >= ? AND {column} < ?)"] * len(ranges)) + ")", params


def bounds(table: Table, column: str, low: datetime, high: datetime) -> list[object]:
    """Return a window's edges in the type of a column; a day is in the window if its first instant is."""
    if table.schema.columns()[column].dtype == pl.Date:
        return [_next_day(low), _next_day(high)]
    return [low, high]


def _next_day(at: datetime) -> object:
    day = at.date()
    return day if at == at.replace(hour=0, minute=0, second=0, microsecond=0) else day + timedelta(days=1)
