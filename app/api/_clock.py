"""Rows of a node whose clock is ahead: they say what nobody can know yet, and would be the newest for ever."""

import json
import uuid
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

import dataframely as dy
import polars as pl

from ledger.frames import columns_of, typed
from ledger.tables import RejectedRow, declared
from ledger.tables.partition import Timed

AHEAD: Final = timedelta(minutes=5)
"""How far a clock may be ahead: what time servers correct, and the way of a batch, are seconds."""

_TIMED: Final = frozenset({"sample", "slow_sample", "event"})

Frames = Mapping[type[dy.Schema], pl.DataFrame]


def not_ahead(frames: Frames, now: datetime, source: str) -> tuple[Frames, dict[str, int]]:
    """Return the rows that a clock may bear, with those from the future among the refused, and how many by table."""
    kept: dict[type[dy.Schema], pl.DataFrame] = {}
    counts: dict[str, int] = {}
    refused: list[dict[str, object]] = []
    for schema, frame in frames.items():
        table = declared(schema)
        kept[schema] = frame
        if table.group not in _TIMED or not isinstance(table.partition, Timed):
            continue
        column = table.partition.column
        at = typed(frame[column], columns_of(schema)[column], f"{table.name}: {column}")
        late = (at > now + AHEAD).fill_null(value=False)
        if late.any():
            kept[schema] = frame.filter(~late)
            counts[table.name] = int(late.sum())
            rows = frame.with_columns(at).filter(late).to_dicts()
            refused += [_refusal(table.name, column, row, now, source) for row in rows]
    if refused:
        kept[RejectedRow] = pl.DataFrame(refused, schema=RejectedRow.create_empty().schema)
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
