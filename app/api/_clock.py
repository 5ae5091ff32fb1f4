"""Rows of a node whose clock is ahead: they say what nobody can know yet, and would be the newest for ever."""

import json
import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

import polars as pl

from ledger.frames import columns_of, typed
from ledger.store import Joint, Sender
from ledger.tables import RejectedRow
from ledger.tables.partition import Timed

AHEAD: Final = timedelta(minutes=5)
"""How far a clock may be ahead: what time servers correct, and the way of a batch, are seconds."""

_TIMED: Final = frozenset({"sample", "slow_sample", "event"})

Counts = dict[tuple[int, str], int]
"""By batch and table, how many rows are from the future."""


def not_ahead(joints: Sequence[Joint], senders: Sequence[Sender], now: datetime) -> tuple[list[Joint], Counts]:
    """Return the rows that a clock may bear, with those from the future among the refused, and how many there are."""
    kept: list[Joint] = []
    counts: Counts = {}
    refused: dict[int, list[dict[str, object]]] = {}
    for joint in joints:
        table = joint.table
        kept.append(joint)
        if table.group not in _TIMED or not isinstance(table.partition, Timed):
            continue
        column = table.partition.column
        if column not in joint.frame.columns:
            continue
        at = typed(joint.frame[column], columns_of(joint.schema)[column], f"{table.name}: {column}")
        late = (at > now + AHEAD).fill_null(value=False)
        if not late.any():
            continue
        kept[-1] = joint.where(~late)
        rows = joint.frame.with_columns(at).filter(late).iter_rows(named=True)
        for place, row in zip(map(joint.owner, late.arg_true()), rows, strict=True):
            counts[place, table.name] = counts.get((place, table.name), 0) + 1
            refused.setdefault(place, []).append(_refusal(table.name, column, row, now, senders[place].source))
    if refused:
        frame = pl.DataFrame(
            [row for rows in refused.values() for row in rows], schema=RejectedRow.create_empty().schema
        )
        kept.append(Joint(RejectedRow, frame, [(place, len(rows)) for place, rows in refused.items()]))
    return kept, counts


def _refusal(table: str, column: str, row: dict[str, object], now: datetime, source: str) -> dict[str, object]:
    minutes = AHEAD // timedelta(minutes=1)
    return {
        "rejected_id": uuid.uuid4().hex,
        "table_name": table,
        "source": source,
        "reason": f"{column}: found {row[column]}, which is ahead of the hub's clock ({now:%Y-%m-%d %H:%M:%S%z}), "
        f"expected at most {minutes} minutes; set the node's clock",
        "row_json": json.dumps(row, default=str),
        "rejected_at": now,
    }
