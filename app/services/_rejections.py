"""Rows of files that were refused, kept once however often the file is imported."""

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

import polars as pl

from app.context import Context
from app.services._faults import Faults
from collectors.billing._format import Rejected as RejectedCharge
from collectors.dumps._dump import Rejected as RejectedRecord
from ledger.frames import to_frame
from ledger.tables import RejectedRow

_FOUND: Final = re.compile(r"found .*?, expected", re.DOTALL)

# A file of millions of rows may be wrong in every one.
_AT_ONCE: Final = 20_000


@dataclass(frozen=True)
class Refusal:
    """One row that was refused: where it was meant to go, why, and what it was.

    `fault` is what the reason shares with those of other rows that are wrong in the same way.
    """

    table_name: str
    reason: str
    record: str
    fault: str

    def row(self, source: str) -> dict[str, object]:
        """Return it as a row of `rejected_row`, without the instant."""
        text = repr((self.table_name, source, self.reason, self.record))
        return {
            "rejected_id": hashlib.sha256(text.encode(errors="replace")).hexdigest()[:32],
            "table_name": self.table_name,
            "source": source,
            "reason": self.reason,
            "row_json": self.record,
            "fault": self.fault,
        }


def of_dump(each: RejectedRecord) -> Refusal:
    """Return the refusal of a scheduler's record."""
    fault = _FOUND.sub("expected", each.reason)
    return Refusal(each.table_name, f"{each.where}: {each.reason}", json.dumps(each.record), fault)


def of_bill(each: RejectedCharge) -> Refusal:
    """Return the refusal of a bill's row; beyond the first rows with one fault it has the wrong cell alone."""
    fault = f"column {each.column}: expected {each.expected}" if each.column else f"expected {each.expected}"
    record = each.record or json.dumps({each.column: each.found})
    return Refusal(each.table_name, each.reason, record, fault)


def keep(context: Context, refusals: Iterable[Refusal], source: str) -> Faults:
    """Store refusals that are not there yet, some at a time, and return what is wrong with how many of them."""
    faults = Faults()
    left = iter(refusals)
    while some := list(islice(left, _AT_ONCE)):
        for each in some:
            faults.add(each.table_name, each.fault, each.reason)
        new = fresh(context, [each.row(source) for each in some])
        if not new.is_empty():
            context.store.append(RejectedRow, new, source="ingest")
    return faults


def fresh(context: Context, rows: Sequence[dict[str, object]]) -> pl.DataFrame:
    """Return the refusals that are not stored yet, each once."""
    ids = [row["rejected_id"] for row in rows]
    known: set[object] = set()
    if ids:
        stored = context.store.read(RejectedRow, columns=("rejected_id",), where={"rejected_id": ids})
        known = set(stored["rejected_id"])
    now = context.now()
    new = {str(row["rejected_id"]): {**row, "rejected_at": now} for row in rows if row["rejected_id"] not in known}
    return to_frame(RejectedRow, list(new.values()))
