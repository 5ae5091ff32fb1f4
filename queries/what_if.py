"""Costs as another split rule would divide them: computed when somebody asks, never stored."""

from collections.abc import Callable
from datetime import datetime
from typing import Final

import dataframely as dy
import polars as pl

from ledger.errors import InputError
from ledger.sections import MoneySettings
from ledger.tables import AllocationHour, declared
from ledger.tables.partition import Spanning, Timed
from queries.graph import Source, Span
from queries.rollups.allocation_hour import allocation_hour

Read = Callable[..., pl.DataFrame]
"""`Store.read`: schema, window, by, columns."""

_NAMES: Final[dict[str, pl.Expr]] = {
    "team": pl.when(pl.col("team") == "").then("bucket").otherwise("team"),
    "model": pl.when(pl.col("model") == "").then("bucket").otherwise("model"),
    "provider": pl.col("provider"),
    "resource": pl.when(pl.col("node") != "")
    .then("node")
    .when(pl.col("resource_id") != "")
    .then("resource_id")
    .otherwise("charge_category"),
    "service": pl.coalesce("service_name", "charge_category"),
    "category": pl.col("charge_category"),
    "kind": pl.col("cost_kind"),
    "state": pl.when(pl.col("state") == "").then("bucket").otherwise("state"),
    "bucket": pl.col("bucket"),
}


def tried(stored: MoneySettings, split_rule: str | None, shared_cost: str | None) -> MoneySettings:
    """Return rules in place of the stored ones; another rule for what is shared holds for every kind of it.

    Raises: InputError: a rule needs shares, and none are configured.
    """
    chosen: dict[str, object] = {}
    if split_rule and split_rule != stored.split_rule:
        chosen["split_rule"] = split_rule
    if shared_cost and shared_cost != stored.shared_cost:
        chosen |= {"shared_cost": shared_cost, "shared_cost_rules": {}}
    if chosen.get("split_rule") == "custom" and not stored.split_ratios:
        raise InputError("split rule: found custom and no shares", hint="set money.split_ratios")
    if chosen.get("shared_cost") == "fixed" and not stored.shared_cost_ratios:
        raise InputError("shared cost: found fixed and no shares", hint="set money.shared_cost_ratios")
    return stored.model_copy(update=chosen) if chosen else stored


def allocations(
    read: Read, settings: MoneySettings, split_rule: str, window: tuple[datetime, datetime], now: datetime
) -> pl.DataFrame:
    """Return the rows of `allocation_hour` in a window as another split rule gives them; totals are the same."""
    chosen = settings.model_copy(update={"split_rule": split_rule})
    frames = {source.parameter: _input(read, source, window) for source in allocation_hour.sources}
    result: dy.LazyFrame[AllocationHour] = allocation_hour.function(
        **frames, span=Span(window[0], window[1], now), settings=chosen
    )
    return result.collect()


def _input(read: Read, source: Source, window: tuple[datetime, datetime]) -> pl.LazyFrame:
    partition = declared(source.schema).partition
    is_timed = isinstance(partition, Timed | Spanning)
    return read(
        source.schema, window if is_timed else None, by=source.read.by, columns=source.read.columns, ordered=False
    ).lazy()


def cost_days(allocated: pl.DataFrame, *, cluster: str, team: str, by: str, measure: str, estate: str) -> pl.DataFrame:
    """Return what the question `cost_days` answers, from rows of `allocation_hour`.

    Grain: day, currency, name. Nulls: `cost` is null where no part of it is known.
    """
    kept = allocated
    if cluster:
        kept = kept.filter(pl.col("cluster") == cluster)
    if team:
        kept = kept.filter(pl.col("team") == team)
    if estate != "all":
        kept = kept.filter("in_scope")
    amount = pl.col("billed_cost" if measure == "billed" else "effective_cost")
    return (
        kept.with_columns(day=pl.col("hour_start").dt.date(), name=_NAMES[by])
        .group_by("day", "billing_currency", "name")
        .agg(
            cost=pl.when(amount.is_not_null().any()).then(amount.sum()),
            has_estimate=pl.col("is_estimated").any(),
        )
        .sort("day", "cost", descending=[False, True], nulls_last=True)
    )
