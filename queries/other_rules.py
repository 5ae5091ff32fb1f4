"""Costs as other rules would divide them: computed when somebody asks, never stored."""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Final

import dataframely as dy
import polars as pl

from ledger import money
from ledger.errors import InputError
from ledger.money_sections import MoneySettings
from ledger.tables import AllocationHour, CostHour, declared
from ledger.tables.partition import Spanning, Timed, Without, after, floor
from queries import sql
from queries.graph import Source, Span
from queries.rollups._shared import is_shared
from queries.rollups.allocation_hour import allocation_hour
from queries.rollups.spend_day import spend_day

Read = Callable[..., pl.DataFrame]
"""`Store.read`: schema, window, by, columns, where."""

Select = Callable[..., pl.DataFrame]
"""`Store.select`: a query and its parameters."""

Progress = Callable[[float], object]
"""Called with the share of the days that are computed."""

MOST: Final = 200
"""So many names stand alone, as in the question `cost_days`; what is left is called `other`."""

OTHER: Final = "other"

WITHOUT_NODE: Final = "spent_without_node"
"""The question about costs that no split rule moves."""

_NAMES: Final[dict[str, pl.Expr]] = {
    "team": pl.when(pl.col("team") == "").then("bucket").otherwise("team"),
    "model": pl.when(pl.col("model") == "").then("bucket").otherwise("model"),
    "provider": pl.col("provider"),
    "resource": pl.when(pl.col("node") != "")
    .then("node")
    .when(pl.col("resource_id") != "")
    .then("resource_id")
    .otherwise("charge_category"),
    "service": pl.when(pl.col("service_name") == "").then("charge_category").otherwise("service_name"),
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
    read: Read,
    settings: MoneySettings,
    split_rule: str,
    window: tuple[datetime, datetime],
    now: datetime,
    *,
    of_nodes: bool = False,
) -> pl.DataFrame:
    """Return the rows of `allocation_hour` in a window as another split rule gives them; totals are the same.

    With `of_nodes`, those of the costs of nodes alone.
    """
    chosen = settings.model_copy(update={"split_rule": split_rule})
    frames = {source.parameter: _input(read, source, window, of_nodes=of_nodes) for source in allocation_hour.sources}
    result: dy.LazyFrame[AllocationHour] = allocation_hour.function(
        **frames, span=Span(window[0], window[1], now), settings=chosen
    )
    return result.collect()


def _input(read: Read, source: Source, window: tuple[datetime, datetime], *, of_nodes: bool) -> pl.LazyFrame:
    partition = declared(source.schema).partition
    is_timed = isinstance(partition, Timed | Spanning)
    where = {"node": Without(("",))} if of_nodes and source.schema is CostHour else None
    return read(
        source.schema,
        window if is_timed else None,
        by=source.read.by,
        columns=source.read.columns,
        where=where,
        ordered=False,
    ).lazy()


def spent(
    read: Read,
    select: Select,
    stored: MoneySettings,
    rules: MoneySettings,
    window: tuple[datetime, datetime],
    now: datetime,
    progress: Progress,
) -> pl.DataFrame:
    """Return the costs in a window by day, as `queries/sql/parts/spent.sql` does, under other rules than the stored.

    Where the rules differ in how a node is split, and shared cost stays apart, costs without a node are what is stored.
    """
    of_nodes = rules.model_copy(update={"split_rule": stored.split_rule}) == stored and not is_shared(rules)
    kept = select(sql.load(WITHOUT_NODE).text, start=window[0], end=window[1])
    found = [kept if of_nodes else kept.clear()]
    for start, end in _stretches(read, window, of_nodes=of_nodes):
        hours = allocations(read, rules, rules.split_rule, (start, end), now, of_nodes=of_nodes)
        days: pl.DataFrame = spend_day.function(hours.lazy(), Span(start, end, now)).collect()
        found.append(days.select(kept.columns))
        progress((end - window[0]) / (window[1] - window[0]))
    return pl.concat(found)


def _stretches(read: Read, window: tuple[datetime, datetime], *, of_nodes: bool) -> Iterator[tuple[datetime, datetime]]:
    """Yield stretches of whole days, as long as so many rows lie in them as are divided at once."""
    start = window[0]
    while start < window[1]:
        first = min(after(floor(start, "day"), "day"), window[1])
        rows = max(
            _input(read, source, (start, first), of_nodes=of_nodes).collect().height
            for source in allocation_hour.sources
            if isinstance(declared(source.schema).partition, Timed) and source.read.fills
        )
        end = min(floor(start, "day") + timedelta(days=max(1, allocation_hour.rows_at_once // max(1, rows))), window[1])
        yield start, end
        start = end


def cost_days(spent: pl.DataFrame, *, cluster: str, team: str, by: str, measure: str, estate: str) -> pl.DataFrame:
    """Return what the question `cost_days` answers, from costs by day.

    Grain: day, currency, name. Nulls: `cost` is null where no part of it is known.
    """
    kept = spent.filter(
        pl.lit(value=not cluster) | (pl.col("cluster") == cluster),
        pl.lit(value=not team) | (pl.col("team") == team),
        pl.lit(value=estate == "all") | pl.col("in_scope"),
    )
    named = kept.with_columns(name=_NAMES[by], cost=pl.col("billed_cost" if measure == "billed" else "effective_cost"))
    totals = money.summed(named, by=["billing_currency", "name"], columns=["cost"])
    size = money.to_units("cost").abs()
    first = totals.sort(size, "name", descending=[True, False], nulls_last=True).group_by("billing_currency").head(MOST)
    alone = first.select("billing_currency", "name", alone=pl.col("name"))
    folded = named.join(alone, on=["billing_currency", "name"], how="left").with_columns(
        name=pl.col("alone").fill_null(OTHER)
    )
    key = ["day", "billing_currency", "name"]
    sums = money.summed(folded, by=key, columns=["cost"])
    estimates = folded.group_by(key, maintain_order=True).agg(has_estimate=pl.col("is_estimated").any())
    return sums.with_columns(estimates["has_estimate"]).sort(
        "day", "cost", "name", descending=[False, True, False], nulls_last=True
    )
