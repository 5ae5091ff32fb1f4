"""Rows of a node whose clock is wrong: from the future, or from long before anything could have waited to be sent.

The first say what nobody can know yet and would be the newest for ever; the second come of a clock that starts at 1970
and would be the oldest.
"""

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

BEHIND: Final = timedelta(days=366)
"""How old a row may be: no agent keeps rows for so long."""

_TIMED: Final = frozenset({"sample", "slow_sample", "event"})

Counts = dict[tuple[int, str], int]
"""By batch and table, how many rows are out of time."""


def timely(joints: Sequence[Joint], senders: Sequence[Sender], now: datetime) -> tuple[list[Joint], Counts]:
    """Return the rows that a clock may bear, with the others among the refused, and how many these are."""
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
        low, high = at.min(), at.max()
        if (
            not isinstance(low, datetime)
            or not isinstance(high, datetime)
            or (low >= now - BEHIND and high <= now + AHEAD)
        ):
            continue
        wrong = ((at > now + AHEAD) | (at < now - BEHIND)).fill_null(value=False)
        kept[-1] = joint.where(~wrong)
        rows = joint.frame.with_columns(at).filter(wrong).iter_rows(named=True)
        for place, row in zip(map(joint.owner, wrong.arg_true()), rows, strict=True):
            counts[place, table.name] = counts.get((place, table.name), 0) + 1
            refused.setdefault(place, []).append(_refusal(table.name, column, row, now, senders[place].source))
    if refused:
        frame = pl.DataFrame(
            [row for rows in refused.values() for row in rows], schema=RejectedRow.create_empty().schema
        )
        kept.append(Joint(RejectedRow, frame, [(place, len(rows)) for place, rows in refused.items()]))
    return kept, counts


def _refusal(table: str, column: str, row: dict[str, object], now: datetime, source: str) -> dict[str, object]:
    at = row[column]
    is_ahead = isinstance(at, datetime) and at > now
    side = "ahead of" if is_ahead else "far behind"
    bound = f"{AHEAD // timedelta(minutes=1)} minutes" if is_ahead else f"{BEHIND // timedelta(days=1)} days"
    return {
        "rejected_id": uuid.uuid4().hex,
        "table_name": table,
        "source": source,
        "reason": f"{column}: found {at}, which is {side} the hub's clock ({now:%Y-%m-%d %H:%M:%S%z}), "
        f"expected at most {bound}; set the node's clock",
        "row_json": json.dumps(row, default=str),
        "rejected_at": now,
    }
