"""May I trust this number? The answer that stands on every page and in every mail."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

import polars as pl

from app import format as written
from queries import measure
from queries.measures import health

Tone = Literal["green", "orange", "red", "gray"]

# An agent ships every few seconds and rollups run each minute: older means that something stands still.
_FRESH = timedelta(minutes=15)
_GOOD_COVERAGE = 0.9


@dataclass(frozen=True)
class Mark:
    """One short statement with its tone and what it means."""

    label: str
    tone: Tone
    meaning: str


def marks(found: pl.DataFrame, now: datetime) -> tuple[Mark, ...]:
    """Return what is known of reconciliation, freshness and coverage.

    `found` is the answer to the question `freshness`.
    """
    row = found.row(0, named=True)
    return (
        _reconciled(row),
        _bills(row["complete_through"], now),
        _fresh(row["last_sampled_at"], now),
        _covered(measure.value(found, health.COVERAGE_RATIO)),
    )


def _reconciled(row: Mapping[str, Any]) -> Mark:
    differing, matching, all_of = row["differing_count"], row["matching_count"], row["reconciliation_count"]
    if not all_of:
        return Mark("no bills", "gray", "No bill was imported: money comes from list prices or is missing.")
    if differing:
        return Mark(
            f"{differing} of {all_of} invoices differ",
            "red",
            "A bill's charges differ from its invoice, or from the totals of its own file. See Invoices.",
        )
    if matching == all_of:
        return Mark(
            "matches all invoices", "green", "Each bill's charges equal its invoice within FOCUS 1.4's tolerance."
        )
    return Mark(
        f"{matching} of {all_of} invoices match",
        "orange" if matching else "gray",
        "The other bills have no invoice to be compared with yet. Nothing differs.",
    )


def _bills(complete_through: datetime | None, now: datetime) -> Mark:
    if complete_through is None:
        return Mark("bills: none", "gray", "Import a bill with `clusterledger ingest`.")
    tone: Tone = "green" if now - complete_through < timedelta(days=3) else "orange"
    return Mark(
        f"bills to {complete_through:%-d %b %H:%M}",
        tone,
        "Until then all sources have billed. Later hours are estimated from the last billed rates.",
    )


def _fresh(last: datetime | None, now: datetime) -> Mark:
    if last is None:
        return Mark("no samples", "gray", "No agent has sent anything yet.")
    return Mark(
        f"samples {written.ago(last, now)}",
        "green" if now - last < _FRESH else "orange",
        f"The last sample was taken at {written.instant(last)}.",
    )


def _covered(ratio: float | None) -> Mark:
    if ratio is None:
        return Mark("coverage unknown", "gray", "No GPU time of the last seven days is known.")
    return Mark(
        f"coverage {written.percent(ratio)}",
        "green" if ratio >= _GOOD_COVERAGE else "orange",
        "Share of the GPU time of the last seven days that samples cover. The rest is `unknown`, never idle.",
    )
