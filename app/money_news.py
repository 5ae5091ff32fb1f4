"""What is worth telling of money: thresholds that budgets reached, budgets that will break, and unusual days."""

from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal

from app import budgets as budgeting
from app.context import Context
from app.data import Scope, answered
from app.services._plain import plain
from app.services.budgets import row
from ledger import money
from ledger.tables.partition import after, floor
from queries.budgets import Standing

Kind = Literal["budgets", "anomalies"]

_RECENT: Final = timedelta(days=7)
"""An unusual day is news for a week; the same scope is not told again within one."""

_FORECAST: Final = "forecast"


@dataclass(frozen=True)
class MoneyNews:
    """One thing to tell, once: `event_ids` are what it settles, the first of them is its own."""

    event_ids: tuple[str, ...]
    kind: Kind
    team: str
    text: str
    starts_at: datetime
    ends_at: datetime
    page: str
    labels: Mapping[str, str]
    facts: Mapping[str, Any] = field(default_factory=dict)


def news(context: Context) -> list[MoneyNews]:
    """Return what is worth telling now, of all teams."""
    return [*_of_budgets(context), *_of_anomalies(context)]


def fresh(found: Sequence[MoneyNews], told: AbstractSet[str], team: str, about: Sequence[str]) -> list[MoneyNews]:
    """Return what somebody is to be told who was told some events before: each once, and one cause of a day once."""
    mine = [each for each in found if each.kind in about and (not team or each.team == team)]
    seen: set[tuple[str, ...]] = set()
    kept = []
    for each in mine:
        if each.event_ids[0] in told or _is_repeated(each, told):
            continue
        cause = (each.kind, str(each.starts_at), *(str(each.facts.get(name)) for name in _CAUSE))
        if each.kind == "anomalies" and cause in seen:
            continue
        seen.add(cause)
        kept.append(each)
    return kept


_CAUSE: Final = ("billing_currency", "cause_provider", "cause_resource", "cause_team")


def _is_repeated(each: MoneyNews, told: AbstractSet[str]) -> bool:
    """Tell whether the same scope was unusual, and told of, in the week before."""
    if each.kind != "anomalies":
        return False
    scope, currency = each.labels["scope"], each.labels["currency"]
    days = (each.starts_at - index * timedelta(days=1) for index in range(1, _RECENT.days + 1))
    return any(_anomaly_id(scope, currency, day) in told for day in days)


def _of_budgets(context: Context) -> Iterator[MoneyNews]:
    for each in budgeting.standing(context, Scope()):
        budget = each.budget
        reached = sorted(each.reached, reverse=True)
        # A budget that was raised is another one: who was told of the old amount has not heard of the new one.
        base = f"budget:{budget.scope}:{budget.currency}:{budget.month:%Y-%m}:{money.written(budget.cost)}"
        events = [f"{base}:{threshold:g}" for threshold in reached]
        if each.status == "will break":
            yield _budget_news(context, each, (f"{base}:{_FORECAST}",), _FORECAST)
        if events:
            # Who hears of all of it need not hear of four fifths of it.
            settled = (*events, f"{base}:{_FORECAST}") if each.status == "broken" else tuple(events)
            yield _budget_news(context, each, settled, f"{reached[0]:g}")


def _budget_news(context: Context, each: Standing, events: tuple[str, ...], threshold: str) -> MoneyNews:
    budget = each.budget
    start = datetime(budget.month.year, budget.month.month, 1, tzinfo=UTC)
    reached = "" if threshold == _FORECAST else f" {float(threshold):.0%} of the budget is spent."
    return MoneyNews(
        event_ids=events,
        kind="budgets",
        team=budget.team,
        text=f"Budget of {start:%B}: {budgeting.sentence(each)}{reached}",
        starts_at=floor(context.now(), "hour"),
        ends_at=after(start, "month"),
        page="budget",
        labels={
            "alertname": "ClusterledgerBudget",
            "scope": budget.scope,
            "currency": budget.currency,
            "month": f"{start:%Y-%m}",
            "threshold": threshold,
        },
        facts={"event": "budget", "threshold": threshold, **_plainly(row(each))},
    )


def _of_anomalies(context: Context) -> Iterator[MoneyNews]:
    """Yield unusual days of the last week, the broadest scope of a day first."""
    end = after(floor(context.now(), "day"), "day")
    rows = answered(context, "anomalies", scope=Scope(), start=end - _RECENT, end=end)
    ranks = {"total": 0, "provider": 1, "team": 2}
    for each in sorted(
        rows.iter_rows(named=True),
        key=lambda row: (row["day"], ranks[row["scope"].partition(":")[0]], row["scope"], row["billing_currency"]),
    ):
        start = datetime(each["day"].year, each["day"].month, each["day"].day, tzinfo=UTC)
        kind, _, name = each["scope"].partition(":")
        yield MoneyNews(
            event_ids=(_anomaly_id(each["scope"], each["billing_currency"], start),),
            kind="anomalies",
            team=name if kind == "team" else "",
            text=f"Unusual day: {budgeting.anomaly_sentence(each)}",
            starts_at=start,
            ends_at=start + _RECENT,
            page="budget",
            labels={
                "alertname": "ClusterledgerCostAnomaly",
                "scope": each["scope"],
                "currency": each["billing_currency"],
                "day": f"{start:%Y-%m-%d}",
            },
            facts={"event": "anomaly", **_plainly(each)},
        )


def _anomaly_id(scope: str, currency: str, day: datetime) -> str:
    return f"anomaly:{scope}:{currency}:{day:%Y-%m-%d}"


def _plainly(values: Mapping[str, Any]) -> dict[str, Any]:
    found = plain(dict(values))
    return dict(found) if isinstance(found, Mapping) else {}
