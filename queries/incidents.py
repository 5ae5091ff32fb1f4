"""Where idle incidents stand: what ended, what people decided, which rules exempt them. Seconds stay as they are."""

from collections.abc import Iterable
from datetime import datetime
from typing import Final

import polars as pl

INCIDENT: Final = ("cluster", "node", "gpu_uuid", "opened_at")

_PATTERNS: Final = {
    "cluster": ("cluster",),
    "node": ("node",),
    "user": ("user",),
    "job": ("job_id", "job_name"),
    "model": ("model",),
}
"""Columns of an incident in which each pattern of an exemption may be found."""

_DECIDED: Final = ("decision", "decided_at", "decided_by", "snoozed_until", "comment")


def standing(incidents: pl.DataFrame, decisions: pl.DataFrame, exemptions: pl.DataFrame, now: datetime) -> pl.DataFrame:
    """Return incidents with their `status` at an instant, and who decided so, until when, and why.

    What ended is closed, whatever was decided. A rule that exempts goes before a decision; a snooze ends by itself.
    """
    latest = decisions.sort("decided_at", "decision").group_by(*INCIDENT).agg(pl.col(_DECIDED).last())
    kept = incidents.drop("status", *(name for name in _DECIDED if name in incidents.columns), strict=False)
    active = exemptions.filter(
        (pl.col("starts_at") <= now) & (pl.col("ends_at") > now) & pl.col("withdrawn_at").is_null()
    )
    joined = kept.join(latest, on=INCIDENT, how="left", maintain_order="left").with_columns(_exemption(active))
    awake = ((pl.col("decision") == "snoozed") & (pl.col("snoozed_until") <= now)).fill_null(value=False)
    ruled = pl.col("exemption").is_not_null()
    decided = pl.col("decision").is_not_null() & ~awake
    status = (
        pl.when(pl.col("closed_at").is_not_null())
        .then(pl.lit("closed"))
        .when(ruled)
        .then(pl.lit("exempt"))
        .when(decided)
        .then("decision")
        .otherwise(pl.lit("open"))
    )
    rule = pl.col("exemption").struct
    counts = decided & ~ruled
    return joined.with_columns(
        status.alias("status"),
        pl.when(ruled).then(rule.field("made_by")).when(counts).then("decided_by").alias("decided_by"),
        pl.when(ruled).then(rule.field("ends_at")).when(counts).then("snoozed_until").alias("snoozed_until"),
        pl.when(ruled).then(rule.field("reason")).when(counts).then("comment").alias("comment"),
        pl.when(ruled).then(rule.field("exemption_id")).alias("exemption_id"),
    ).drop("exemption", "decision", "decided_at")


def _exemption(active: pl.DataFrame) -> pl.Expr:
    """Return the first rule that fits, by its end: the one that lasts longest; null where none does."""
    fields = ("exemption_id", "made_by", "ends_at", "reason")
    found = pl.lit(None, dtype=pl.Struct({name: active.schema[name] for name in fields}))
    for rule in active.sort("ends_at", "exemption_id").iter_rows(named=True):
        row = pl.struct(pl.lit(rule[name], dtype=active.schema[name]).alias(name) for name in fields)
        found = pl.when(fits(rule)).then(row).otherwise(found)
    return found.alias("exemption")


def fits(rule: dict[str, object]) -> pl.Expr:
    """Return whether an incident fits all patterns of a rule; a pattern that is empty fits all."""
    given = [(columns, str(rule[name])) for name, columns in _PATTERNS.items() if rule[name]]
    return pl.all_horizontal(pl.lit(value=True), *(_any(columns, pattern) for columns, pattern in given))


def _any(columns: Iterable[str], pattern: str) -> pl.Expr:
    def one(column: str) -> pl.Expr:
        said = pl.col(column)
        found = said.str.starts_with(pattern[:-1]) if pattern.endswith("*") else said.eq(pattern)
        return found.fill_null(value=False)

    return pl.any_horizontal(one(column) for column in columns)
