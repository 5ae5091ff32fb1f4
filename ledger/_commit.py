"""One write transaction in progress: what it stores, and which versions that changes."""

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Final

import duckdb
import polars as pl

from ledger import _versions
from ledger._connection import ROW_GROUP, fetch, fetch_with_rows, insert, with_rows
from ledger._ddl import quoted
from ledger._door import APPEND_ONLY, NONE_REJECTED, Admitted, Written, second_rows
from ledger._expiry import Stretch, timed
from ledger._latest import Latest
from ledger._reach import Reach, reach, time_of
from ledger._seen import KEPT, BatchKey
from ledger._turns import NeedsTurnError
from ledger.frames import dtypes
from ledger.tables import TABLES, Batch, PartitionChange, PartitionState, RejectedRow, declared
from ledger.tables.partition import Spanning, Table, Timed

# An agent sends a batch again as long as nobody said that it arrived, and the newest batches last: what is
# older than this is known by its rows.
_BATCHES_REMEMBERED: Final = timedelta(days=2)

_FURTHER: Final = (_versions.also_keys, _versions.edge_keys)
"""Which versions rows have beside those of their partitions."""

# How far back it is looked for the last rows of nodes: the rows of one that was silent for longer are looked up.
_ENDS_KNOWN: Final = timedelta(hours=6)


@dataclass(frozen=True)
class Sender:
    """Whose rows a batch has, and the id that they were given."""

    batch_id: str
    node: str
    source: str
    cluster: str = ""

    @property
    def key(self) -> BatchKey:
        """Return what tells a batch from all others."""
        return self.cluster, self.node, self.batch_id


@dataclass
class Commit:
    """What one transaction has done so far; `finish` records the versions.

    With `only_inserts` it updates and deletes nothing, and goes on beside a checkpoint.
    """

    cursor: duckdb.DuckDBPyConnection
    prefix: str
    now: datetime
    latest: Latest
    turn: int
    only_inserts: bool = False
    changes: _versions.Changes = field(default_factory=dict)
    added: list[tuple[Table, Reach]] = field(default_factory=list)
    inserted: list[tuple[Table, pl.DataFrame]] = field(default_factory=list)
    rewritten: set[str] = field(default_factory=set)
    recorded: list[BatchKey] = field(default_factory=list)

    def of(self, table: Table) -> str:
        """Return a table's qualified name."""
        return f"{self.prefix}{quoted(table.name)}"

    def note(self, table: Table, keys: Mapping[str, int]) -> None:
        for key, count in keys.items():
            self.changes[table.name, key] = self.changes.get((table.name, key), 0) + count

    def insert(self, table: Table, frame: pl.DataFrame) -> None:
        """Insert rows as they are; versions are noted by whoever calls."""
        insert(self.cursor, self.of(table), frame)
        # So many lie in whole groups, which nobody joins.
        if frame.height < ROW_GROUP:
            self.inserted.append((table, frame))

    def seen_batches(self, senders: Sequence[Sender]) -> set[BatchKey]:
        """Return which batches were committed lately."""
        known = self.latest.batches.known([each.key for each in senders], self._last_batches)
        if known is not None:
            return known
        query = (
            f"SELECT coalesce(cluster, ''), node, batch_id FROM {self.of(declared(Batch))} "
            "WHERE received_at > ? AND batch_id IN (SELECT unnest(?::VARCHAR[]))"
        )
        ids = [each.batch_id for each in senders]
        found = fetch(self.cursor, query, [self.now - _BATCHES_REMEMBERED, ids])
        return {(cluster, node, batch_id) for cluster, node, batch_id in found.iter_rows()}

    def _last_batches(self) -> Iterable[tuple[str, str, list[str]]]:
        query = (
            f"SELECT coalesce(cluster, ''), node, max_by(batch_id, received_at, {KEPT}) "
            f"FROM {self.of(declared(Batch))} WHERE received_at > ? GROUP BY 1, 2"
        )
        return fetch(self.cursor, query, [self.now - _BATCHES_REMEMBERED]).iter_rows()

    def record_batches(self, batches: Iterable[tuple[Sender, Mapping[str, Written]]]) -> None:
        """Remember that batches count."""
        batches = list(batches)
        self.recorded += [sender.key for sender, _ in batches]
        rows = [
            {
                "batch_id": sender.batch_id,
                "node": sender.node,
                "cluster": sender.cluster,
                "received_at": self.now,
                "row_count": sum(each.rows for each in written.values()),
                "rejected_count": sum(each.rejected for each in written.values()),
            }
            for sender, written in batches
        ]
        self.add(declared(Batch), pl.DataFrame(rows, schema=dtypes(Batch)))

    def append(
        self, table: Table, admitted: Admitted, source: str, *, is_looked_up: bool = False, is_mending: bool = False
    ) -> Written:
        """Store admitted rows, and refused ones as such; `is_looked_up`: also where they seem to be later than all.

        With `is_mending` a sample takes the place of one with its key: what was stored is known in part only.
        """
        if table.group in APPEND_ONLY and is_mending:
            rows, refused = self._mend(table, admitted.frame), NONE_REJECTED
            known = admitted.frame.height - rows
        elif table.group in APPEND_ONLY:
            rows, known, refused = self._append_only(table, admitted.frame, is_looked_up=is_looked_up)
        else:
            rows, refused = self.upsert(table, admitted.frame).height, NONE_REJECTED
            known = admitted.frame.height - rows
        rejected = pl.concat([admitted.rejected, refused]) if refused.height else admitted.rejected
        if rejected.height:
            self._reject(table, rejected, source)
        return Written(rows, admitted.duplicates + known, rejected.height, admitted.unknown_columns)

    def known_rows(self, table: Table, frame: pl.DataFrame, reached: Reach) -> list[int]:
        """Return the places of rows that may be stored already: their key is, or their node's time went back."""
        behind = self.latest.behind(table, lambda: reached, partial(self._ends, table))
        if behind is not None and not behind:
            return []
        if behind is None:
            on, met = list(table.key), self._stored(table, frame, only_keys=True)
        else:
            on, met = ["cluster", "node"], pl.DataFrame(sorted(behind), schema=["cluster", "node"], orient="row")
        if met.is_empty():
            return []
        return frame.select(on).with_row_index("_row").join(met, on=on, how="semi")["_row"].to_list()

    def _ends(self, table: Table) -> tuple[pl.DataFrame, datetime]:
        """Return how far each node's rows reach, and from which instant on that is known."""
        since, time = self.now - _ENDS_KNOWN, time_of(table)
        query = f"SELECT cluster, node, max({time}) FROM {self.of(table)} WHERE {time} > ? GROUP BY cluster, node"
        return fetch(self.cursor, query, [since]), since

    def _append_only(self, table: Table, frame: pl.DataFrame, *, is_looked_up: bool) -> tuple[int, int, pl.DataFrame]:
        key = list(table.key)
        known, refused = 0, NONE_REJECTED
        if not frame.is_empty() and (
            is_looked_up or self.latest.behind(table, partial(reach, table, frame), partial(self._ends, table)) != set()
        ):
            stored = self._stored(table, frame, only_keys=False)
            met = frame.join(stored, on=key, how="semi")
            other = met.join(stored, on=frame.columns, how="anti", nulls_equal=True)
            known, refused = met.height - other.height, second_rows(table, other)
            frame = frame.join(stored, on=key, how="anti", maintain_order="left")
        self.add(table, frame)
        return frame.height, known, refused

    def _mend(self, table: Table, frame: pl.DataFrame) -> int:
        """Put rows in the place of those with their keys; a value that only the older one has stays.

        Return how many rows are new or others than before.
        """
        key, stored = list(table.key), self._stored(table, frame, only_keys=False)
        self.add(table, frame.join(stored, on=key, how="anti", maintain_order="left"))
        both = frame.join(stored, on=key, suffix="_before", maintain_order="left")
        mended = both.select(
            pl.col(name) if name in key else pl.coalesce(name, f"{name}_before") for name in frame.columns
        )
        changed = mended.join(stored, on=frame.columns, how="anti", nulls_equal=True, maintain_order="left")
        if changed.height:
            before = stored.join(changed, on=key, how="semi")
            self.delete_keys(table, before)
            self.insert(table, changed)
            self.note_changed(table, before, changed)
        return frame.height - both.height + changed.height

    def upsert(self, table: Table, frame: pl.DataFrame) -> pl.DataFrame:
        """Put rows in the place of those with their keys, and return the ones that changed anything."""
        stored = self._stored(table, frame, only_keys=False)
        changed = frame
        if stored.height:
            changed = frame.join(stored, on=frame.columns, how="anti", nulls_equal=True, maintain_order="left")
            stored = stored.join(changed, on=list(table.key), how="semi")
            if stored.height:
                self.delete_keys(table, stored)
        if changed.height:
            self.insert(table, changed)
            self.note_changed(table, stored, changed)
        return changed

    def note_changed(self, table: Table, old: pl.DataFrame, new: pl.DataFrame) -> None:
        """Note the partitions of rows that were there and of those that stand in their place."""
        if isinstance(table.partition, Spanning):
            hours = _versions.touched_hours(table.partition, old, new, table.key, self.now)
            self.note(table, dict.fromkeys(hours, 0))
        else:
            self.note(table, _versions.row_counts(table, new))
            self.note(table, {key: -count for key, count in _versions.row_counts(table, old).items()})
        others = {key for each in (old, new) for keys in _FURTHER for key in keys(table, each)}
        self.note(table, dict.fromkeys(others, 0))

    def add(self, table: Table, frame: pl.DataFrame, reached: Reach | None = None) -> None:
        """Insert rows that are known to be new; `reached` is how far they reach, where that is known."""
        if frame.is_empty():
            return
        self.insert(table, frame)
        if self.latest.is_known(table):
            self.added.append((table, reach(table, frame) if reached is None else reached))
        self.note_changed(table, frame.clear(), frame)

    def _stored(self, table: Table, frame: pl.DataFrame, *, only_keys: bool) -> pl.DataFrame:
        """Return the stored rows whose keys a frame has, looked for only in the frame's stretch of time."""
        if frame.is_empty():
            return frame.select(table.key) if only_keys else frame
        keys = frame.select(table.key)
        selected = list(table.key) if only_keys else frame.columns
        columns = ", ".join(f"s.{quoted(name)}" for name in selected)
        query = f"SELECT {columns} FROM {self.of(table)} s SEMI JOIN incoming i ON {same_key(table)}"
        params: list[object] = []
        if isinstance(table.partition, Timed) and table.partition.column in table.key:
            column = table.partition.column
            query += f" WHERE s.{quoted(column)} BETWEEN ? AND ?"
            params = [keys[column].min(), keys[column].max()]
        found = fetch_with_rows(self.cursor, keys, query, params)
        return found.select(pl.col(name).cast(frame.schema[name]) for name in selected)

    def delete_keys(self, table: Table, rows: pl.DataFrame) -> None:
        if self.only_inserts:
            raise NeedsTurnError
        query = f"DELETE FROM {self.of(table)} s USING incoming i WHERE {same_key(table)}"
        with_rows(self.cursor, rows.select(table.key), query)

    def _reject(self, table: Table, rejected: pl.DataFrame, source: str) -> None:
        rows = rejected.select(
            rejected_id=pl.Series([uuid.uuid4().hex for _ in range(rejected.height)]),
            table_name=pl.lit(table.name),
            source=pl.lit(source),
            reason="reason",
            row_json="row_json",
            rejected_at=pl.lit(self.now).cast(pl.Datetime("us", "UTC")),
            fault=pl.col("reason").str.replace("(?s)found .*?, expected", "expected"),
        )
        self.add(declared(RejectedRow), rows)

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

    def expire(self, table: Table, stretch: Stretch) -> int:
        """Delete a table's rows of a stretch of time; versions stay, so that nothing becomes due by it."""
        column = quoted(timed(table).column)
        query = f"DELETE FROM {self.of(table)} WHERE {column} >= ? AND {column} < ?"
        row = self.cursor.execute(query, list(stretch)).fetchone()
        return int(row[0]) if row else 0

    def finish(self) -> int:
        """Record the versions of all that changed; return the turn of the last commit, once this is one."""
        rows = _versions.changed_rows(self.changes, self.turn, self.now)
        if self.only_inserts:
            insert(self.cursor, self.of(declared(PartitionChange)), rows)
            return self.turn if rows.height else self.turn - 1
        _versions.bump(self.cursor, self.of(declared(PartitionState)), rows)
        return self.turn


def same_key(table: Table) -> str:
    """Return how rows of `s`, which are stored, and of `incoming i` belong together."""
    return " AND ".join(f"s.{quoted(name)} = i.{quoted(name)}" for name in table.key)
