"""What scopes cost on each complete day: the history that forecasts and anomalies are taken from."""

from collections.abc import Iterator, Mapping
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Final

import polars as pl

from ledger import money
from queries.graph import Input

DAY: Final = timedelta(days=1)

History = Mapping[date, Decimal | None]
"""The cost of each complete day; null where a charge of the day does not say."""

READ: Final = Input(
    recent=timedelta(days=70),
    columns=(
        *("day", "billing_currency", "provider", "team", "model", "is_estimated", "effective_cost"),
        *("charge_category", "in_scope", "first_hour_start", "last_hour_end"),
    ),
    where={"charge_category": ("Usage",)},
)
"""What is read of `spend_day`: usage of ten weeks."""

# A provider that has charged nothing for so long, and has no estimates, is no longer used.
_ENDED: Final = timedelta(days=14)


def histories(days: pl.DataFrame, now: datetime, scopes: tuple[str, ...]) -> Iterator[tuple[dict[str, str], History]]:
    """Yield each scope's cost of each complete day since its first charge; one without a charge cost 0.

    `days` are rows of `spend_day`, `scopes` of total, team, model, provider. A day is complete when every provider in
    use has billed past its end; estimates are no evidence.
    """
    wanted = (pl.col("charge_category") == "Usage") & pl.col("in_scope") & (pl.col("first_hour_start") < now)
    used = days.filter(wanted)
    complete = _complete(used, now)
    for scope in scopes:
        provider = "provider" if scope == "provider" else None
        for (name, currency), history in _of_scope(used, scope, complete, provider):
            yield {"scope": name, "billing_currency": currency}, history


def _complete(used: pl.DataFrame, now: datetime) -> pl.DataFrame:
    """Return for each provider and currency in use through when its usage is billed, and none of it an estimate."""
    end = pl.min_horizontal("last_hour_end", pl.lit(now, dtype=pl.Datetime("us", "UTC")))
    per_provider = used.group_by("provider", "billing_currency").agg(
        end.filter(~pl.col("is_estimated")).max().alias("billed_through"),
        pl.col("first_hour_start").filter("is_estimated").min().alias("estimated_from"),
        pl.col("is_estimated").any(),
    )
    # A charge of a whole month reaches over days of which all else is an estimate.
    through = pl.min_horizontal("billed_through", "estimated_from")
    per_provider = per_provider.with_columns(
        pl.when(pl.col("billed_through").is_not_null()).then(through).alias("complete_through")
    )
    newest = pl.col("complete_through").max().over("billing_currency")
    is_used = (pl.col("complete_through") > newest - _ENDED) | pl.col("is_estimated")
    # One that has only estimates never had a complete day: nothing can be said about what it is part of.
    return per_provider.filter(is_used.fill_null(value=True))


def _of_scope(
    used: pl.DataFrame, scope: str, complete: pl.DataFrame, provider: str | None
) -> Iterator[tuple[tuple[str, str], History]]:
    named = pl.lit("total") if scope == "total" else pl.concat_str(pl.lit(f"{scope}:"), pl.col(scope))
    rows = used if scope == "total" else used.filter(pl.col(scope) != "")
    group = ["billing_currency"] if provider is None else ["billing_currency", provider]
    whole = complete.group_by(group).agg(
        pl.when(pl.col("complete_through").is_not_null().all())
        .then(pl.col("complete_through").min())
        .dt.date()
        .alias("until")
    )
    # The ledger may begin within a day.
    first = used.group_by(group).agg(pl.col("first_hour_start").min().dt.offset_by("23h").dt.date().alias("first"))
    daily = (
        rows.with_columns(named.alias("scope"))
        .join(whole, on=group)
        .join(first, on=group)
        .filter(pl.col("day").is_between(pl.col("first"), pl.col("until"), closed="left"))
    )
    key = ["scope", "billing_currency", "until", "first", "day"]
    sums = money.summed(daily.sort("scope", "billing_currency", "day"), by=key, columns=["effective_cost"])
    for (name, currency), part in sums.group_by("scope", "billing_currency", maintain_order=True):
        known = dict(part.select("day", "effective_cost").iter_rows())
        # Before its first charge a scope is not known to have cost nothing.
        start: date = max(part["first"][0], part["day"][0])
        every = (start + index * DAY for index in range((part["until"][0] - start).days))
        yield (str(name), str(currency)), {day: known.get(day, Decimal(0)) for day in every}
