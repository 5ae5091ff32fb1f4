"""Pages in a display currency: each day by its own rate, as the page on cost has it, and nothing is left out."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import polars as pl
import pytest

from app import display
from app import format as written
from app.advice import in_display_currency
from app.context import Context
from app.services.findings import standing
from ledger import money
from ledger.money_sections import StatedRate
from ledger.names import HELD_IDLE_STATES, IDLE_STATES
from ledger.tables import CommitmentDay
from queries import measure
from queries.measures import spending
from tests.app.conftest import used
from tests.app.opening import metrics, opened, said
from tests.app.weekly_mail import weekly_of
from tests.bills import rows
from tests.demo import DEMO_NOW

DAYS = "2026-11-13T00--2026-11-18T00"
BETWEEN = "BETWEEN '2026-11-13' AND '2026-11-17'"
FIRST = DEMO_NOW.date() - timedelta(days=30)


def rate(currency: str, day: date) -> Decimal:
    """Return a rate that changes every day."""
    return {"USD": Decimal("0.5"), "EUR": Decimal("0.8"), "GBP": Decimal(1)}[currency] + (
        Decimal((day - FIRST).days) / 100 if currency != "GBP" else 0
    )


RATES = tuple(
    StatedRate(day=day, from_currency=currency, to_currency="GBP", unit_price=rate(currency, day))
    for day in (FIRST + timedelta(days=number) for number in range(31))
    for currency in ("USD", "EUR")
)


@contextmanager
def shown_in(currency: str, context: Context, first: date = FIRST) -> Iterator[Context]:
    """Let pages read a context in a display currency, with rates from a day on."""
    known = tuple(each for each in RATES if each.day >= first)
    chosen = context.settings.money.model_copy(update={"display_currency": currency, "exchange_rates": known})
    settings = context.settings.model_copy(update={"money": chosen})
    with used(replace(context, settings=settings, _store=context.store)) as found:
        yield found


@pytest.fixture
def in_pounds(owners_context: Context) -> Iterator[Context]:
    with shown_in("GBP", owners_context) as found:
        yield found


def worth(context: Context, query: str) -> Decimal:
    """Return amounts of days in pounds: the query answers day, currency and amount."""
    found = context.store.select(query).drop_nulls().rows()
    assert found
    return money.add(Decimal(0), *(money.priced(cost, Fraction(rate(code, day))) for day, code, cost in found))


def pounds(amount: Decimal) -> str:
    return written.money(amount, "GBP", compact=True)


def table(page: str, column: str, **query: str) -> Any:
    """Return the first table of a page that has a column."""
    found = opened(page, query={"window": DAYS, **query}, window=DAYS).dataframe
    return next(each.value for each in found if column in each.value.columns)


def costs(by: str) -> dict[str, float]:
    """Return what the page on cost says by name, in pounds."""
    found = table("cost", "cost", by=by).set_index("name")["cost"]
    return {str(name): float(cost) for name, cost in found.items()}


def close(number: float) -> object:
    return pytest.approx(number, rel=1e-9)


ALLOCATED = (
    "SELECT hour_start::DATE AS day, billing_currency, sum({}) AS cost FROM allocation_hour WHERE {} GROUP BY ALL"
)


def test_jobs_cost_what_the_cost_page_says_of_them(in_pounds: Context) -> None:
    page = opened("jobs", window=DAYS)
    states = costs("state")
    found = next(each.value for each in page.dataframe if "effective_cost" in each.value.columns)
    assert set(found["billing_currency"].dropna()) == {"≈ GBP"}
    assert float(found["effective_cost"].sum()) == close(costs("bucket")["allocated"])
    assert float(found["idle_cost"].sum()) == close(sum(states[each] for each in HELD_IDLE_STATES))
    value, beside = metrics(page)["≈ Idle cost of jobs"]
    held = f"bucket = 'allocated' AND state IN {HELD_IDLE_STATES} AND hour_start::DATE {BETWEEN}"
    assert value == pounds(worth(in_pounds, ALLOCATED.format("effective_cost", held)))
    assert not beside
    assert "≈ is converted from EUR, USD to GBP at rates of 2026-11-13 to 2026-11-17." in said(page)


def test_a_display_currency_changes_no_count_of_jobs(owners_context: Context) -> None:
    """A run that costs in several currencies has a row for each; in one it has one."""
    with used(owners_context):
        billed = opened("jobs", window=DAYS)
    with shown_in("GBP", owners_context):
        shown = opened("jobs", window=DAYS)
    for title in ("Job runs", "GPU-hours held", "Idle while held", "Waiting"):
        assert metrics(shown)[title] == metrics(billed)[title], title
    runs = owners_context.store.select("SELECT * FROM job_usage").height
    assert len(shown.dataframe[0].value) <= runs


def test_one_job_costs_each_of_its_days_by_its_own_rate(in_pounds: Context) -> None:
    longest = (
        "SELECT cluster, job_id, submitted_at, restart_count FROM allocation_hour WHERE bucket = 'allocated' "
        "GROUP BY ALL HAVING max(hour_start::DATE) <= '2026-11-17' "
        "ORDER BY count(DISTINCT hour_start::DATE) DESC, job_id LIMIT 1"
    )
    run = in_pounds.store.select(longest).row(0, named=True)
    submitted = str(int(run["submitted_at"].timestamp()))
    page = opened("jobs", query={"job": run["job_id"], "submitted": submitted}, window="30d")
    mine = (
        f"bucket = 'allocated' AND job_id = '{run['job_id']}' AND cluster = '{run['cluster']}' "
        f"AND floor(epoch(submitted_at)) = {submitted} AND restart_count = {run['restart_count']}"
    )
    whole = worth(in_pounds, ALLOCATED.format("effective_cost", mine))
    assert metrics(page)["≈ Cost"][0] == pounds(whole)
    states = next(each.value for each in page.dataframe if "has_estimate" in each.value.columns)
    assert float(states["effective_cost"].sum()) == close(float(whole))
    assert len(set(states["state"])) == len(states), "a state once, not once a day"
    assert set(states["billing_currency"]) == {"≈ GBP"}


def test_bottlenecks_cost_what_their_jobs_cost(in_pounds: Context) -> None:
    page = opened("bottlenecks", window=DAYS)
    classes = next(each.value for each in page.dataframe if "cost_GBP" in each.value.columns)
    limited = (
        f"bucket = 'allocated' AND hour_start::DATE {BETWEEN} AND (cluster, job_id, submitted_at, restart_count) IN "
        f"(SELECT (cluster, job_id, submitted_at, restart_count) FROM bottleneck_hour WHERE hour_start::DATE {BETWEEN})"
    )
    whole = worth(in_pounds, ALLOCATED.format("effective_cost", limited))
    assert float(classes["cost_GBP"].sum()) == close(float(whole))
    assert [name for name in classes.columns if name.startswith("cost_")] == ["cost_GBP"]
    assert "of the GPU time that jobs held, ≈ £" in said(page)
    assert "≈ is converted from EUR, USD to GBP at rates of" in said(page)
    worst = next(each.value for each in page.dataframe if "job_name" in each.value.columns)
    assert set(worst["billing_currency"].dropna()) == {"≈ GBP"}


def test_a_display_currency_changes_no_gpu_hour_of_a_bottleneck(owners_context: Context) -> None:
    def hours() -> dict[str, float]:
        return dict(table("bottlenecks", "limited_ratio")[["name", "gpu_hours"]].itertuples(index=False, name=None))

    with used(owners_context):
        billed = hours()
    with shown_in("GBP", owners_context):
        assert hours() == billed


def test_commitments_go_by_the_rate_of_each_day(in_pounds: Context) -> None:
    page = opened("commitments", window=DAYS)
    held = next(each.value for each in page.dataframe if "committed_cost" in each.value.columns)
    query = (
        "SELECT day, billing_currency, sum(coalesce(used_cost, 0) + coalesce(unused_cost, 0))::DECIMAL(38, 18) "
        "FROM commitment_day WHERE in_scope AND commitment_id <> '' AND (used_cost IS NOT NULL OR unused_cost IS NOT "
        f"NULL) AND day {BETWEEN} GROUP BY ALL"
    )
    assert float(held["committed_cost"].sum()) == close(float(worth(in_pounds, query)))
    bought = (
        "SELECT day, billing_currency, purchased_cost FROM commitment_day "
        "WHERE in_scope AND commitment_id <> '' AND purchased_cost IS NOT NULL"
    )
    assert float(held["purchased_cost"].sum()) == close(float(worth(in_pounds, bought)))
    assert set(held["billing_currency"]) == {"≈ GBP"}
    assert len(set(held["commitment_id"])) == len(held)


def on_demand(day: int, lowest: int) -> dict[str, Any]:
    return {
        "billing_period_start": datetime(2026, 11, 1, tzinfo=UTC), "day": date(2026, 11, day), "provider": "AWS",
        "billing_account_id": "acct", "commitment_id": "", "region": "us-east-1", "instance_type": "p5",
        "billing_currency": "USD", "in_scope": True, "on_demand_cost": Decimal(120),
        "on_demand_list_cost": Decimal(150), "lowest_hour_cost": Decimal(lowest),
    }  # fmt: skip


def test_what_could_be_covered_goes_by_the_rate_of_each_day(empty_context: Context) -> None:
    """Four dollars are the least on two whole days: the later one gives the rate, and waste goes by its own day."""
    days = [on_demand(day, lowest) for day, lowest in ((12, 5), (13, 4), (14, 4), (15, 6), (16, 1))]
    nothing = dict.fromkeys(("on_demand_cost", "on_demand_list_cost", "lowest_hour_cost"))
    plan = {"day": date(2026, 11, 13), "commitment_id": "plan", "unused_cost": Decimal(100)}
    wasted = days[0] | nothing | plan
    empty_context.store.replace(CommitmentDay, rows(CommitmentDay, [*days, wasted]), partitions=["2026-11"], state=None)
    with shown_in("GBP", empty_context):
        page = opened("commitments", window=DAYS)
    steady = rate("USD", date(2026, 11, 14)) * 4
    assert metrics(page)["≈ Steady, a month"] == (pounds(steady * 730), "")
    cover = next(each.value for each in page.dataframe if "steady_hour_cost" in each.value.columns)
    (kind,) = cover.itertuples()
    assert kind.billing_currency == "≈ GBP"
    assert kind.steady_hour_cost == close(float(steady))
    paid = sum(rate("USD", date(2026, 11, day)) for day in range(13, 17)) * 120
    assert kind.on_demand_cost == close(float(paid))
    missed = rate("USD", date(2026, 11, 13)) * 100
    assert metrics(page)["≈ Wasted"] == (pounds(missed), "")
    assert any(each.value.startswith(f"≈ {pounds(missed)} was wasted on days") for each in page.warning)


@pytest.mark.parametrize("first", [FIRST, date(2026, 11, 14)])
def test_owned_hardware_costs_what_the_cost_page_says_and_its_price_is_not_lost(
    owners_context: Context, first: date
) -> None:
    """Where no rate is known of the day of a price, it stands in a row of its own, as it was paid."""
    window = {"window": "2026-11-14T00--2026-11-18T00"}
    with shown_in("GBP", owners_context, first):
        page, providers = opened("commitments", **window), opened("cost", by="provider", **window)
    assets = owners_context.store.select(
        "SELECT owner, billing_currency, purchase_cost, life_start FROM asset"
    ).to_dicts()
    assert {each["life_start"] for each in assets} == {date(2026, 11, 13)}
    told = providers.dataframe[0].value.set_index("name")["cost"]
    whole = sum(float(told[owner]) for owner in {each["owner"] for each in assets})
    found = next(each.value for each in page.dataframe if "asset_id" in each.value.columns)
    converted = found[found["billing_currency"] == "≈ GBP"]
    assert float(converted["effective_cost"].sum()) == close(whole)
    assert metrics(page)["≈ Owned"] == (pounds(Decimal(whole)), "")
    paid = found[found["purchase_cost"].notna()][["billing_currency", "purchase_cost"]]
    expected = [
        ("≈ GBP", close(float(each["purchase_cost"] * rate(each["billing_currency"], each["life_start"]))))
        if first == FIRST
        else (each["billing_currency"], float(each["purchase_cost"]))
        for each in assets
    ]
    assert list(paid.itertuples(index=False, name=None)) == expected
    is_kept = "Prices that were paid: No rate to GBP is known for all days in EUR, USD: shown as billed." in said(page)
    assert is_kept is (first != FIRST)


def test_idle_cost_of_the_overview_goes_by_the_rate_of_each_day(in_pounds: Context) -> None:
    page = opened("overview", window=DAYS)
    states = costs("state")
    whole = sum(states[each] for each in IDLE_STATES if each in states)
    idle = f"in_scope AND gpu_uuid <> '' AND state IN {IDLE_STATES} AND hour_start::DATE {BETWEEN}"
    exact = worth(in_pounds, ALLOCATED.format("effective_cost", idle))
    assert float(exact) == close(whole)
    assert metrics(page)["≈ Idle cost"] == (pounds(exact), "")


def test_a_held_gpu_hour_goes_by_the_rate_of_each_day(in_pounds: Context) -> None:
    held = f"in_scope AND bucket = 'allocated' AND hour_start::DATE {BETWEEN}"
    whole = worth(in_pounds, ALLOCATED.format("effective_cost", held))
    seconds = in_pounds.store.select(f"SELECT sum(held_gpu_seconds) AS s FROM allocation_hour WHERE {held}")["s"][0]
    price = money.priced(whole, Fraction(3600) / Fraction(seconds))
    assert metrics(opened("cost", window=DAYS))["≈ Per held GPU-hour"] == (written.unit_price(price, "GBP"), "")


def savings_of(context: Context) -> pl.DataFrame:
    """Return open findings that are counted once, each in pounds by the rate of the last day of its evidence."""
    found = [
        row | {
            name: money.priced(row[name], Fraction(rate(row["billing_currency"], _last(row))))
            for name in ("saving_cash_month", "saving_effective_month") if row[name] is not None
        }
        for row in standing(context).to_dicts()
    ]  # fmt: skip
    return measure.counted_once(pl.DataFrame(found, schema=standing(context).schema))


def _last(row: dict[str, Any]) -> date:
    last: datetime = row["evidence_end"] - timedelta(microseconds=1)
    return last.date()


def test_savings_go_by_the_rate_of_their_evidence_on_all_pages_and_in_the_mail(demo_context: Context) -> None:
    with shown_in("GBP", demo_context) as shown:
        page, first = opened("savings"), opened("overview")
        rates = display.known(shown)
        mail = weekly_of(shown, exchange=rates)
    found = savings_of(demo_context)
    free, cash = (money.add(Decimal(0), *found[name].drop_nulls()) for name in
                  ("saving_effective_month", "saving_cash_month"))  # fmt: skip
    assert free
    assert metrics(page)["≈ Frees a month"] == (pounds(free), "")
    assert metrics(page)["≈ Of it cash"] == (pounds(cash), "")
    assert "effective cost: ≈ £" in said(page)
    listed = page.dataframe[0].value
    assert set(listed["billing_currency"].dropna()) == {"≈ GBP"}
    for of in (spending.SAVING_EFFECTIVE, spending.SAVING_CASH):
        told = measure.amounts(measure.counted_once(mail.findings), of)
        assert told == {"GBP": free if of is spending.SAVING_EFFECTIVE else cash}
    top = first.dataframe[-1].value
    assert list(top["title"]) == list(found["title"].head(3)) == [each.title for each in mail.actions]
    assert [float(each) for each in top["saving_effective_month"]] == [
        close(float(each)) for each in found["saving_effective_month"].head(3)
    ]
    assert [each.frees for each in mail.actions] == [
        f"≈ {pounds(each)}" for each in found["saving_effective_month"].head(3)
    ]
    assert "would free ≈ £" in mail.lead


def test_what_was_decided_before_any_rate_keeps_no_open_finding_as_billed(demo_context: Context) -> None:
    found = standing(demo_context)
    old = found.head(1).with_columns(
        status=pl.lit("applied"), evidence_end=pl.col("evidence_end") - timedelta(days=900), finding_id=pl.lit("old"),
        saving_realised_month=pl.lit(Decimal(7), money.MONEY),
    )  # fmt: skip
    with shown_in("GBP", demo_context):
        told, opened_, others = in_display_currency(pl.concat([found, old]), display.shown)
    assert opened_.converted
    assert not others.converted
    kept = told.filter(pl.col("finding_id") == "old")
    assert (kept["saving_realised_month"][0], kept["billing_currency"][0]) == (Decimal(7), old["billing_currency"][0])
    assert told.height == found.height + 1


@pytest.mark.parametrize("page", ["jobs", "bottlenecks", "commitments", "savings", "overview"])
def test_without_a_rate_a_page_stays_as_billed(demo_context: Context, page: str) -> None:
    with used(demo_context):
        billed = opened(page, window=DAYS)
    with shown_in("JPY", demo_context):
        shown = opened(page, window=DAYS)
    assert metrics(shown) == metrics(billed)
    assert [each.value.to_csv() for each in shown.dataframe] == [each.value.to_csv() for each in billed.dataframe]
    assert "No rate to JPY is known for all days in" in said(shown)
    assert "≈" not in said(shown)
