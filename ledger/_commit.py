"""One write transaction in progress: what it stores, and which versions that changes."""

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Final

import dataframely as dy
import duckdb
import polars as pl

from ledger import _versions
from ledger._connection import fetch, fetch_with_rows, insert, with_rows
from ledger._ddl import quoted
from ledger._door import APPEND_ONLY, NONE_REJECTED, Admitted, Written, admit, second_rows, unknown_columns
from ledger._latest import Latest, time_of
from ledger.errors import ContractError
from ledger.frames import columns_of, dtypes
from ledger.tables import TABLES, Batch, RejectedRow, declared
from ledger.tables.partition import Spanning, Table, Timed

# An agent sends a batch again as long as nobody said that it arrived, and the newest batches last: what is
# older than this is known by its rows.
_BATCHES_REMEMBERED: Final = timedelta(days=2)


@dataclass(frozen=True)
class Part:
    """What one batch has for one table."""

    batch_id: str
    source: str
    frame: pl.DataFrame


@dataclass(frozen=True)
class Ready:
    """What several batches have for one table, and all of it taken through the door as one."""

    table: Table
    parts: Sequence[Part]
    merged: Admitted | None


@dataclass(frozen=True)
class NodeBatch:
    """Rows of several tables that a node sent as one, under an id that it gave them."""

    frames: Mapping[type[dy.Schema], pl.DataFrame]
    source: str
    batch_id: str
    node: str


@dataclass
class Commit:
    """What one transaction has done so far; `finish` records the versions."""

    cursor: duckdb.DuckDBPyConnection
    prefix: str
    now: datetime
    latest: Latest
    changes: _versions.Changes = field(default_factory=dict)
    added: list[tuple[Table, pl.DataFrame]] = field(default_factory=list)
    rewritten: set[str] = field(default_factory=set)

    def of(self, table: Table) -> str:
        """Return a table's qualified name."""
        return f"{self.prefix}{quoted(table.name)}"

    def note(self, table: Table, keys: Mapping[str, int]) -> None:
        for key, count in keys.items():
            self.changes[table.name, key] = self.changes.get((table.name, key), 0) + count

    def seen_batches(self, batch_ids: Sequence[str]) -> set[str]:
        """Return which batches were committed lately."""
        query = (
            f"SELECT batch_id FROM {self.of(declared(Batch))} "
            "WHERE received_at > ? AND batch_id IN (SELECT unnest(?::VARCHAR[]))"
        )
        return set(fetch(self.cursor, query, [self.now - _BATCHES_REMEMBERED, list(batch_ids)])["batch_id"])

    def record_batches(self, batches: Iterable[NodeBatch], written: Mapping[str, Mapping[str, Written]]) -> None:
        """Remember that batches count."""
        rows = [
            {
                "batch_id": batch.batch_id,
                "node": batch.node,
                "received_at": self.now,
                "row_count": sum(each.rows for each in written[batch.batch_id].values()),
                "rejected_count": sum(each.rejected for each in written[batch.batch_id].values()),
            }
            for batch in batches
        ]
        self._add(declared(Batch), pl.DataFrame(rows, schema=dtypes(Batch)))

    def append(self, table: Table, admitted: Admitted, source: str) -> Written:
        """Store admitted rows, and refused ones as such."""
        add = self._append_only if table.group in APPEND_ONLY else self._upsert
        rows, known, refused = add(table, admitted.frame)
        rejected = pl.concat([admitted.rejected, refused]) if refused.height else admitted.rejected
        if rejected.height:
            self._reject(table, rejected, source)
        return Written(rows, admitted.duplicates + known, rejected.height, admitted.unknown_columns)

    def append_parts(self, ready: Ready) -> list[Written]:
        """Store what several batches have for one table: as one, unless some row needs a word of its own."""
        table, merged = ready.table, ready.merged
        if merged is not None and len(ready.parts) == 1:
            return [self.append(table, merged, ready.parts[0].source)]
        if merged is not None and merged.is_whole and table.group in APPEND_ONLY and self._is_new(table, merged.frame):
            self._add(table, merged.frame)
            return [Written(part.frame.height, 0, 0, unknown_columns(table, part.frame)) for part in ready.parts]
        return [self.append(table, admit(table, part.frame), part.source) for part in ready.parts]

    def _is_new(self, table: Table, frame: pl.DataFrame) -> bool:
        """Tell whether no stored row has a key of the frame."""
        if frame.is_empty() or self.latest.is_beyond(table, frame, partial(self._ends, table)):
            return True
        return self._stored(table, frame, only_keys=True).is_empty()

    def _ends(self, table: Table) -> pl.DataFrame:
        query = f"SELECT cluster, node, max({time_of(table)}) FROM {self.of(table)} GROUP BY cluster, node"
        return fetch(self.cursor, query)

    def _append_only(self, table: Table, frame: pl.DataFrame) -> tuple[int, int, pl.DataFrame]:
        key = list(table.key)
        known, refused = 0, NONE_REJECTED
        if not self._is_new(table, frame):
            stored = self._stored(table, frame, only_keys=False)
            met = frame.join(stored, on=key, how="semi")
            other = met.join(stored, on=frame.columns, how="anti", nulls_equal=True)
            known, refused = met.height - other.height, second_rows(table, other)
            frame = frame.join(stored, on=key, how="anti", maintain_order="left")
        self._add(table, frame)
        return frame.height, known, refused

    def _upsert(self, table: Table, frame: pl.DataFrame) -> tuple[int, int, pl.DataFrame]:
        stored = self._stored(table, frame, only_keys=False)
        changed = frame
        if stored.height:
            changed = frame.join(stored, on=frame.columns, how="anti", nulls_equal=True, maintain_order="left")
            stored = stored.join(changed, on=list(table.key), how="semi")
            if stored.height:
                self.delete_keys(table, stored)
        if changed.height:
            insert(self.cursor, self.of(table), changed)
            self.note_changed(table, stored, changed)
        return changed.height, frame.height - changed.height, NONE_REJECTED

    def note_changed(self, table: Table, old: pl.DataFrame, new: pl.DataFrame) -> None:
        """Note the partitions of rows that were there and of those that stand in their place."""
        if isinstance(table.partition, Spanning):
            hours = _versions.touched_hours(table.partition, old, new, table.key, self.now)
            self.note(table, dict.fromkeys(hours, 0))
        else:
            self.note(table, _versions.row_counts(table, new))
            self.note(table, {key: -count for key, count in _versions.row_counts(table, old).items()})
        self.note(table, dict.fromkeys(_versions.also_keys(table, new) | _versions.also_keys(table, old), 0))

    def _add(self, table: Table, frame: pl.DataFrame) -> None:
        """Insert rows that are known to be new."""
        if frame.is_empty():
            return
        insert(self.cursor, self.of(table), frame)
        self.added.append((table, frame))
        self.note_changed(table, frame.clear(), frame)

    def _stored(self, table: Table, frame: pl.DataFrame, *, only_keys: bool) -> pl.DataFrame:
        """Return the stored rows whose keys a frame has, looked for only in the frame's stretch of time."""
        if frame.is_empty():
            return frame.select(table.key) if only_keys else frame
        keys = frame.select(table.key)
        selected = list(table.key) if only_keys else frame.columns
        columns = ", ".join(f"s.{quoted(name)}" for name in selected)
        query = f"SELECT {columns} FROM {self.of(table)} s SEMI JOIN incoming i ON {_same_key(table)}"
        params: list[object] = []
        if isinstance(table.partition, Timed) and table.partition.column in table.key:
            column = table.partition.column
            query += f" WHERE s.{quoted(column)} BETWEEN ? AND ?"
            params = [keys[column].min(), keys[column].max()]
        found = fetch_with_rows(self.cursor, keys, query, params)
        return found.select(pl.col(name).cast(frame.schema[name]) for name in selected)

    def delete_keys(self, table: Table, rows: pl.DataFrame) -> None:
        query = f"DELETE FROM {self.of(table)} s USING incoming i WHERE {_same_key(table)}"
        with_rows(self.cursor, rows.select(table.key), query)

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

    def seal(self, table: Table, keys: Sequence[str]) -> None:
        """Close partitions for good."""
        states = self.of(TABLES["partition_state"])
        rows = pl.DataFrame({"table_name": [table.name] * len(keys), "partition_key": list(keys)})
        same = _versions.SAME_PARTITION
        with_rows(self.cursor, rows, f"UPDATE {states} s SET is_sealed = true FROM incoming i WHERE {same}")
        with_rows(
            self.cursor,
            rows,
            f"INSERT INTO {states} (table_name, partition_key, version_count, is_sealed, changed_at) "
            "SELECT table_name, partition_key, 0, true, ? FROM incoming i "
            f"WHERE NOT EXISTS (SELECT 1 FROM {states} s WHERE {same})",
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


def _same_key(table: Table) -> str:
    """Return how rows of `s` and `i` belong together."""
    return " AND ".join(f"s.{quoted(name)} = i.{quoted(name)}" for name in table.key)


def prepared(batches: Iterable[NodeBatch]) -> list[Ready]:
    """Take batches through the door, once per table; this needs no store."""
    parts: dict[type[dy.Schema], list[Part]] = {}
    for batch in batches:
        for schema, frame in batch.frames.items():
            parts.setdefault(schema, []).append(Part(batch.batch_id, batch.source, frame))
    ready = []
    for schema, each in parts.items():
        joined = _joined(schema, [part.frame for part in each])
        ready.append(Ready(declared(schema), each, None if joined is None else admit(declared(schema), joined)))
    return ready


def _joined(schema: type[dy.Schema], frames: Sequence[pl.DataFrame]) -> pl.DataFrame | None:
    """Return all rows as one frame, or None where that would change a value."""
    kinds: dict[str, set[pl.DataType]] = {}
    for frame in frames:
        for name, dtype in frame.schema.items():
            kinds.setdefault(name, set()).add(dtype)
    columns = columns_of(schema)
    for name, found in kinds.items():
        is_float = (
            name in columns and isinstance(columns[name], dy.Float64) and all(kind.is_numeric() for kind in found)
        )
        if len(found - {pl.Null()}) > 1 and not is_float:
            return None
    return frames[0] if len(frames) == 1 else pl.concat(frames, how="diagonal_relaxed")


def append_batches(
    commit: Commit, batches: Sequence[NodeBatch], ready: Sequence[Ready]
) -> list[dict[str, Written] | None]:
    """Store the rows of those batches that were not seen before; the others are None."""
    seen = commit.seen_batches([batch.batch_id for batch in batches])
    places: dict[str, int] = {}
    for place, batch in enumerate(batches):
        if batch.batch_id not in seen:
            places.setdefault(batch.batch_id, place)
    fresh = [batches[place] for place in places.values()]
    if len(fresh) < len(batches):
        ready = prepared(fresh)
    written: dict[str, dict[str, Written]] = {batch_id: {} for batch_id in places}
    for each in ready:
        for part, outcome in zip(each.parts, commit.append_parts(each), strict=True):
            written[part.batch_id][each.table.name] = outcome
    commit.record_batches(fresh, written)
    answers = enumerate(batches)
    return [written[batch.batch_id] if places.get(batch.batch_id) == place else None for place, batch in answers]
