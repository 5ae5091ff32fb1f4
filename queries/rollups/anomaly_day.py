"""Days on which a scope cost far more or less than the same weekdays before, and which part of it that was."""

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any, Final

import dataframely as dy
import polars as pl
from pydantic import BaseModel, ConfigDict, Field

from ledger import money
from ledger.tables import AnomalyDay as AnomalyDayTable
from ledger.tables import BillImport, SpendDay
from queries.graph import Input, Span, rollup
from queries.rollups._unusual import Usual, cause, unusual

_DAY: Final = timedelta(days=1)
_WEEK: Final = 7
_WEEKS: Final = 8
_HOURS: Final = timedelta(hours=24)

_ENDED: Final = 3 * _DAY
"""A bill that has not come for so long, at the end of a day, is not waited for."""

# The week before a day is judged by its own weekdays.
_BEFORE: Final = (_WEEKS + 1) * _WEEK * _DAY

_READ: Final = Input(
    before=_BEFORE,
    # Usage of a day is billed when something later is.
    after=3 * _DAY,
    columns=(
        *("day", "billing_currency", "provider", "service_name", "node", "team", "charge_category", "in_scope"),
        *("is_estimated", "effective_cost", "held_gpu_seconds", "first_hour_start", "last_hour_end"),
        "has_unstated_charge",
    ),
    where={"charge_category": ("Usage",)},
)
_DELIVERED: Final = Input(
    by="billing_period_start",
    before=_BEFORE + 31 * _DAY,
    after=_ENDED,
    columns=(
        *("source_name", "billing_account_id", "billing_currency", "billing_period_start"),
        *("status", "complete_through"),
    ),
    fills=False,
)


class Anomalies(BaseModel):
    """What is unusual enough to be told."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    spreads: Annotated[
        float, Field(gt=0, le=100, description="How many usual distances from the median a day must be away")
    ] = 5.0
    least_ratio: Annotated[
        float, Field(gt=0, le=10, description="Which part of the median it must differ by, at least")
    ] = 0.2
    least_cost: Annotated[
        float, Field(ge=0, description="By how much it must differ, at least, in its own currency")
    ] = 50.0
    least_estate_ratio: Annotated[
        float, Field(ge=0, le=1, description="Which part of what the whole estate usually costs in a day, at least")
    ] = 0.05
    least_weekdays: Annotated[int, Field(ge=3, le=_WEEKS, description="Same weekdays that must lie before it")] = 4


@rollup(version=2)
def anomaly_day(
    days: Annotated[dy.LazyFrame[SpendDay], _READ],
    imports: Annotated[dy.LazyFrame[BillImport], _DELIVERED],
    span: Span,
    anomalies: Anomalies,
) -> dy.LazyFrame[AnomalyDayTable]:
    """Compare each complete day with the median of the same weekdays of eight weeks, in total, by team and provider.

    Effective cost of usage of the AI estate. A day is complete when every provider that is in use has billed past
    its end, on each account, and none of it is estimated. A day on which some charge of a scope has no known cost is
    neither judged there nor a weekday to compare with: what is known of it only looks cheap.

    The distance is measured in standard deviations: by the median distance of those weekdays from their median, or by
    what nine of ten of all days keep to, whichever is larger. The cause is the part (provider, node or service, team)
    whose own cost differs most, in the same direction, from its own median; and of all device time, what its amount
    and what its price would have changed alone.
    """
    wanted = (pl.col("charge_category") == "Usage") & pl.col("in_scope")
    used = days.filter(wanted & (pl.col("first_hour_start") < span.now)).collect()
    bills = imports.filter(pl.col("status") == "current").collect()
    found: list[dict[str, Any]] = []
    for currency, rows in sorted(used.group_by("billing_currency"), key=lambda each: str(each[0][0])):
        complete = _complete(rows, _delivered(bills.filter(pl.col("billing_currency") == str(currency[0]))))
        asked = [day for day in complete if span.start.date() <= day < span.end.date()]
        estate = Usual.of(rows, (), complete)
        for scope, team, part in _scopes(rows):
            key = {"scope": scope, "billing_currency": str(currency[0]), "team": team}
            found.extend({**key, **row} for row in _of_scope(part, estate, asked, complete, anomalies))
    frame = pl.DataFrame(found, schema=AnomalyDayTable.create_empty().schema)
    return AnomalyDayTable.cast(frame.sort(AnomalyDayTable.primary_key()).lazy())


_Bills = Mapping[tuple[str, str], Sequence[tuple[datetime, datetime]]]
"""Of each source and account, when its billing periods start, and through when their bills are complete."""


def _delivered(imports: pl.DataFrame) -> _Bills:
    told: dict[tuple[str, str], list[tuple[datetime, datetime]]] = {}
    columns = ("source_name", "billing_account_id", "billing_period_start", "complete_through")
    for source, account, start, through in imports.drop_nulls("complete_through").select(columns).iter_rows():
        told.setdefault((source, account), []).append((start, through))
    return told


def _is_late(bills: _Bills, end: datetime) -> bool:
    """Tell whether an account was billed until shortly before the end of a day, and not past it.

    Of what came later only the next days are looked at: a day is the same, whatever is computed with it.
    """
    through = [
        max((each for start, each in periods if start < end + _ENDED), default=end) for periods in bills.values()
    ]
    return any(end - _ENDED < each < end for each in through)


def _complete(rows: pl.DataFrame, bills: _Bills) -> list[date]:
    """Return the days that are whole, in one currency, in order."""
    billed = rows.filter(~pl.col("is_estimated"))
    estimated = set(rows.filter("is_estimated")["day"])
    in_use = rows.group_by("provider").agg(pl.col("day").min().alias("first"), pl.col("day").max().alias("last"))
    through = dict(billed.group_by("provider").agg(pl.col("last_hour_end").max()).iter_rows())
    begun = rows["first_hour_start"].min()
    complete: list[date] = []
    for day in sorted(set(rows["day"]) - estimated):
        end = pl.Series([day]).cast(pl.Datetime("us", "UTC"))[0] + _HOURS
        using = in_use.filter((pl.col("first") <= day) & (pl.col("last") >= day - 2 * _DAY))["provider"]
        is_cut = begun is not None and begun > end - _HOURS
        if (
            not is_cut
            and not _is_late(bills, end)
            and all((last := through.get(each)) is not None and last >= end for each in using)
        ):
            complete.append(day)
    return complete


def _scopes(rows: pl.DataFrame) -> Iterator[tuple[str, str, pl.DataFrame]]:
    yield "total", "", rows
    for (team,), part in rows.filter(pl.col("team") != "").group_by("team"):
        yield f"team:{team}", str(team), part
    for (provider,), part in rows.group_by("provider"):
        yield f"provider:{provider}", "", part


def _of_scope(
    rows: pl.DataFrame, estate: Usual, asked: list[date], complete: list[date], settings: Anomalies
) -> Iterator[dict[str, Any]]:
    """Yield the unusual ones of the days that are asked for.

    Before its first charge in the weeks that are looked at, a scope is not known to have cost nothing: it had no bill.
    """
    whole = Usual.of(rows, (), complete)
    charged = sorted(set(rows["day"]))
    for day in asked:
        since = charged[bisect_left(charged, day - _BEFORE) :][:1]
        usual = estate.median((), day, _WEEKS)
        least_part = money.share(usual, Decimal(str(settings.least_estate_ratio)))
        found = unusual(
            {each: cost for each, cost in whole.series(()).items() if since and each >= since[0]},
            day,
            weeks=_WEEKS,
            least=settings.least_weekdays,
            spreads=Decimal(str(settings.spreads)),
            least_ratio=Decimal(str(settings.least_ratio)),
            least_cost=max(Decimal(str(settings.least_cost)), least_part),
        )
        if found is None:
            continue
        named = cause(rows, day, complete, weeks=_WEEKS, rises=found.difference > 0)
        yield {
            "day": day,
            "actual_cost": found.actual,
            "expected_cost": found.expected,
            "spread_cost": found.spread,
            "reach_cost": found.reach,
            "difference_cost": found.difference,
            "weekday_count": found.weekdays,
            **named._asdict(),
        }
