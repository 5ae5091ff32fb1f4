"""Rows of files that were refused, kept once however often the file is imported."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from app.context import Context
from collectors.billing._format import Rejected as RejectedCharge
from collectors.dumps._dump import Rejected as RejectedRecord
from ledger.frames import to_frame
from ledger.tables import RejectedRow


@dataclass(frozen=True)
class Refusal:
    """One row that was refused: where it was meant to go, why, and what it was."""

    table_name: str
    reason: str
    record: str

    def row(self, source: str) -> dict[str, object]:
        """Return it as a row of `rejected_row`, without the instant."""
        text = repr((self.table_name, source, self.reason, self.record))
        return {
            "rejected_id": hashlib.sha256(text.encode(errors="replace")).hexdigest()[:32],
            "table_name": self.table_name,
            "source": source,
            "reason": self.reason,
            "row_json": self.record,
        }


def of_dump(each: RejectedRecord) -> Refusal:
    """Return the refusal of a scheduler's record."""
    return Refusal(each.table_name, f"{each.where}: {each.reason}", json.dumps(each.record))


def of_bill(each: RejectedCharge) -> Refusal:
    """Return the refusal of a bill's row."""
    return Refusal(each.table_name, each.reason, json.dumps({each.column: each.found}))


def keep(context: Context, rows: Sequence[dict[str, object]]) -> None:
    """Store refusals that are not there yet."""
    new = fresh(context, rows)
    if not new.is_empty():
        context.store.append(RejectedRow, new, source="ingest")


def fresh(context: Context, rows: Sequence[dict[str, object]]) -> pl.DataFrame:
    """Return the refusals that are not stored yet, each once."""
    ids = [row["rejected_id"] for row in rows]
    known: set[object] = set()
    if ids:
        stored = context.store.read(RejectedRow, columns=("rejected_id",), where={"rejected_id": ids})
        known = set(stored["rejected_id"])
    new = {
        str(row["rejected_id"]): {**row, "rejected_at": context.now()}
        for row in rows
        if row["rejected_id"] not in known
    }
    return to_frame(RejectedRow, list(new.values()))
