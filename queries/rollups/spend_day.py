"""What a day cost, by node or resource, service, state and run: small enough for every question about a year."""

from typing import Annotated, Final

import dataframely as dy
import polars as pl

from ledger import money
from ledger.names import HELD_IDLE_STATES
from ledger.tables import AllocationHour, SpendDay
from queries.graph import Input, Span, rollup

_KEY: Final = tuple(SpendDay.primary_key())
_KEPT: Final = tuple(name for name in _KEY if name not in {"day", "service_name"})
_COSTS: Final = ("billed_cost", "effective_cost", "productive_cost", "idle_cost")
_TIMES: Final = ("held_gpu_seconds", "productive_gpu_seconds", "idle_gpu_seconds")
_CODED: Final = (
    *("billing_currency", "provider", "charge_category", "charge_class", "commitment_status", "cost_kind", "bucket"),
    *("state", "cluster", "node", "resource_id", "service_name", "team", "user", "model", "job_id"),
    "allocated_method_id",
)
_READ: Final = Input(
    columns=(
        *(*_KEPT, "hour_start", "service_name", "billed_cost", "effective_cost", "held_gpu_seconds"),
        "has_unstated_charge",
    ),
    coded=_CODED,
)


@rollup()
def spend_day(allocations: Annotated[dy.LazyFrame[AllocationHour], _READ], span: Span) -> dy.LazyFrame[SpendDay]:
    """Sum allocations into days, over devices, invoices and the restarts of a run.

    Conserves: over each key, parts sum to those of `allocation_hour` in each measure.
    Nulls: `effective_cost` where no part of it is known. Its productive and idle parts are 0 where nothing of a known
    cost was that, null where the cost is unknown.
    """
    within = pl.col("hour_start").is_between(span.start, span.end, closed="left")
    hours = allocations.filter(within).with_columns(_parts()).collect()
    costs = money.summed(hours, by=_KEY, columns=_COSTS)
    rest = hours.group_by(_KEY).agg(
        pl.col(_TIMES).sum(),
        pl.col("hour_start").min().alias("first_hour_start"),
        pl.col("hour_start").max().dt.offset_by("1h").alias("last_hour_end"),
        (pl.col("has_unstated_charge").fill_null(value=False) | pl.col("effective_cost").is_null()).any(),
    )
    return SpendDay.cast(costs.join(rest, on=_KEY).select(SpendDay.column_names()).sort(_KEY).lazy())


def _parts() -> list[pl.Expr]:
    """Return the day and the parts of what a row cost: of a known cost, what was not productive was 0 so."""
    held = pl.col("bucket") == "allocated"
    resource = pl.when(pl.col("node") == "").then(pl.col("resource_id").cast(pl.String)).otherwise(pl.lit(""))
    of = {
        "productive": held & (pl.col("state") == "productive"),
        "idle": held & pl.col("state").is_in(list(HELD_IDLE_STATES)),
    }
    cost, seconds = pl.col("effective_cost"), pl.col("held_gpu_seconds")
    nothing = pl.when(cost.is_not_null()).then(pl.lit(0, dtype=money.MONEY))
    return [
        pl.col("hour_start").dt.date().alias("day"),
        pl.col("service_name").cast(pl.String).fill_null(""),
        resource.alias("resource_id"),
        *(pl.when(is_so).then(cost).otherwise(nothing).alias(f"{name}_cost") for name, is_so in of.items()),
        *(
            pl.when(is_so).then(seconds).otherwise(pl.lit(0, dtype=pl.Decimal(28, 9))).alias(f"{name}_gpu_seconds")
            for name, is_so in of.items()
        ),
    ]
