"""Every page, on an empty store and on a simulated cluster: no error, and the numbers that the store has."""

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from streamlit.testing.v1 import AppTest

from app import controls, data, links
from app import format as written
from app.context import Context
from app.data import Scope
from app.page import pages
from app.reports import week
from ledger.tables.partition import after, floor
from queries import measure
from tests.app.conftest import used
from tests.app.opening import DAYS, WEEK, WINDOW, metrics, money_of, opened
from tests.demo import DEMO_NOW

NAMES = [each.name for each in pages()]


@pytest.mark.parametrize("name", NAMES)
def test_on_an_empty_store_a_page_says_what_is_missing(name: str, empty_context: Context) -> None:
    with used(empty_context):
        test = opened(name)
    words = " ".join(str(each.value) for each in test.info)
    assert len(words) > 40
    assert "clusterledger" in words or "days of evidence" in words or "this window" in words or "agent" in words


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("window", ["24h", "30d", "last-month"])
def test_a_page_runs_in_every_window(name: str, window: str, demo_context: Context) -> None:
    with used(demo_context):
        opened(name, window=window)


def check_overview(test: AppTest, context: Context) -> None:
    month = floor(DEMO_NOW, "month")
    query = (
        "SELECT billing_currency, sum(effective_cost) FROM cost_hour "
        "WHERE in_scope AND hour_start >= $start AND hour_start < $end GROUP BY ALL"
    )
    (first, amount), *others = money_of(context, query, start=month, end=after(floor(DEMO_NOW, "hour"), "hour")).items()
    assert len(others) == 1
    value, small = metrics(test)["AI spend, Nov"]
    assert value == written.money(amount, first, compact=True)
    assert small == f"and {written.money(others[0][1], others[0][0], compact=True)}"


def check_gpus(test: AppTest, context: Context) -> None:
    query = "SELECT count(*) AS n FROM gpu WHERE exists_start <= $now AND (exists_end IS NULL OR exists_end > $now)"
    number = context.store.select(query, now=DEMO_NOW)["n"][0]
    shown = metrics(test)
    assert {shown[label][1] for label in ("Free", "Held and idle", "Productive")} == {f"of {number}"}
    assert sum(int(shown[label][0]) for label in ("Free", "Held and idle", "Productive", "Faulty, unknown")) <= number
    assert len(json.loads(test.get("plotly_chart")[0].proto.spec)["data"][0]["y"]) <= number + 4


def check_jobs(test: AppTest, context: Context) -> None:
    query = "SELECT count(*) AS n FROM job_usage WHERE submitted_at < $end AND (ended_at IS NULL OR ended_at >= $start)"
    number = context.store.select(query, **WEEK)["n"][0]
    assert number > 20
    assert metrics(test)["Job runs"][0] == written.count(number)


def check_bottlenecks(test: AppTest, context: Context) -> None:
    query = (
        "SELECT sum(input_storage_seconds) / 3600 AS hours FROM bottleneck_hour "
        "WHERE hour_start >= $start AND hour_start < $end"
    )
    hours = float(context.store.select(query, **WEEK)["hours"][0])
    classes = test.dataframe[0].value.set_index("name")
    assert classes.loc["input storage", "gpu_hours"] == pytest.approx(hours)
    assert classes["limited_ratio"].sum() == pytest.approx(1)


def check_network_storage(test: AppTest, context: Context) -> None:
    query = (
        "SELECT count(DISTINCT (cluster, node, device, port)) AS n FROM network_hour "
        "WHERE hour_start >= $start AND hour_start < $end"
    )
    assert metrics(test)["Ports with errors"][1] == f"of {context.store.select(query, **WEEK)['n'][0]}"


def check_cost(test: AppTest, context: Context) -> None:
    query = (
        "SELECT billing_currency, sum(effective_cost) FROM cost_hour "
        "WHERE in_scope AND hour_start >= $start AND hour_start < $end GROUP BY ALL"
    )
    expected = money_of(context, query, **WEEK)
    assert len(expected) == 2
    for currency, amount in expected.items():
        assert metrics(test)[f"Effective cost, {currency}"][0] == written.money(amount, currency, compact=True)


def check_models(test: AppTest, context: Context) -> None:
    query = (
        "SELECT billing_currency, sum(effective_cost) FROM allocation_hour WHERE bucket = 'allocated' "
        "AND hour_start >= $start AND hour_start < $end {where} GROUP BY ALL"
    )
    everything = money_of(context, query.format(where=""), **DAYS)
    currency = next(iter(everything))
    named = money_of(context, query.format(where="AND model <> 'unattributed'"), **DAYS)[currency]
    shown = metrics(test)
    assert shown["Allocated to models"][0] == written.money(named, currency, compact=True)
    assert shown["Unattributed"][0] == written.money(everything[currency] - named, currency, compact=True)


def check_budget(test: AppTest, context: Context) -> None:
    query = "SELECT scope, billing_currency, budget_cost FROM budget WHERE month = '2026-11-01' ORDER BY ALL"
    table = next(each.value for each in test.dataframe if "budget_cost" in each.value.columns)
    shown = sorted(table[["scope", "billing_currency", "budget_cost"]].itertuples(index=False, name=None))
    assert shown == [(scope, code, float(cost)) for scope, code, cost in context.store.select(query).iter_rows()]


def check_statement(test: AppTest, context: Context) -> None:
    team = next(each.value for each in test.selectbox if each.label == "Statement of team")
    month = next(each.value for each in test.selectbox if each.label == "Month")
    query = (
        "SELECT billing_currency, sum(effective_cost) FROM allocation_hour WHERE team = $team AND in_scope "
        "AND hour_start >= $start AND hour_start < $end GROUP BY ALL"
    )
    start = datetime(month.year, month.month, 1, tzinfo=UTC)
    charged = money_of(context, query, team=team, start=start, end=after(start, "month"))
    said = " ".join(each.value for each in test.markdown)
    assert charged
    for currency, amount in charged.items():
        assert written.money(amount, currency).replace("$", "\\$") in said


def check_savings(test: AppTest, context: Context) -> None:
    found = context.store.select("SELECT * FROM finding WHERE status = 'open'")
    assert found.height
    assert metrics(test)["Open findings"][0] == str(found.height)
    assert set(test.dataframe[0].value["title"]) == set(found["title"])
    assert test.code[0].value in set(found["directive"])


def check_idle_incidents(test: AppTest, context: Context) -> None:
    query = "SELECT gpu_uuid FROM idle_incident WHERE closed_at IS NULL AND status = 'open'"
    found = set(context.store.select(query)["gpu_uuid"])
    assert metrics(test)["Open incidents"][0] == str(len(found))
    assert set(test.dataframe[0].value["gpu_uuid"]) == found


def check_commitments(test: AppTest, context: Context) -> None:
    query = (
        "SELECT billing_currency, sum(effective_cost) FROM allocation_hour "
        "WHERE resource_id IN (SELECT lower(asset_id) FROM asset) AND hour_start >= $start AND hour_start < $end "
        "GROUP BY ALL"
    )
    (currency, amount), *_ = money_of(context, query, **DAYS).items()
    assert metrics(test)["Owned"][0] == written.money(amount, currency, compact=True)
    assets = set(context.store.select("SELECT asset_id FROM asset")["asset_id"])
    assert set(test.dataframe[-1].value["asset_id"]) == assets


def check_what_if(test: AppTest, context: Context) -> None:
    query = (
        "SELECT sum(existed_seconds * gpu_fraction) / 3600 AS hours FROM gpu_hour "
        "WHERE hour_start >= $start AND hour_start < $end"
    )
    whole = {"start": DAYS["start"], "end": floor(DEMO_NOW, "day")}
    hours = context.store.select(query, **whole)["hours"][0]
    assert test.dataframe[-1].value["existing_gpu_hours"].sum() == pytest.approx(float(hours))
    ways = test.dataframe[0].value
    least = ways[ways["month_cost"].notna() & ~ways["option"].str.startswith("Spot") & ~ways["is_price_assumed"]][
        "month_cost"
    ].min()
    currency = ways["billing_currency"].iloc[0]
    assert metrics(test)["Cheapest sure way"][0] == written.money(Decimal(str(least)), currency, compact=True)


def check_carbon(test: AppTest, context: Context) -> None:
    query = "SELECT sum(energy_joules) AS joules FROM gpu_hour WHERE hour_start >= $start AND hour_start < $end"
    joules = context.store.select(query, **DAYS)["joules"][0]
    shown = metrics(test)
    assert shown["GPU energy"][0] == written.measured("joules", "", joules)
    groups = test.dataframe[0].value
    assert groups["kilowatt_hours"].sum() == pytest.approx(joules / 3.6e6)
    assert shown["CO₂ equivalent"][0] == written.measured("grams", "", groups["carbon_kilograms"].sum() * 1000)


def check_data_health(test: AppTest, context: Context) -> None:
    query = (
        "SELECT sum(gpu_observed_seconds) / sum(gpu_existed_seconds) AS ratio FROM coverage_day "
        "WHERE day >= $start::DATE AND day < $end::DATE"
    )
    ratio = context.store.select(query, **DAYS)["ratio"][0]
    invoices = context.store.select("SELECT status FROM reconciliation")["status"]
    assert metrics(test)["Coverage"][0] == written.percent(ratio)
    assert metrics(test)["Invoices that differ"] == (str((invoices == "differs").sum()), f"of {len(invoices)}")


def check_invoices(test: AppTest, context: Context) -> None:
    found = context.store.select("SELECT status, invoiced FROM reconciliation")
    known = found["invoiced"].count()
    assert metrics(test)["Compared"] == (str(known), f"of {found.height}")
    assert f"All {known} bills whose invoice is known match it" in test.success[0].value


def check_imports(test: AppTest, context: Context) -> None:
    found = context.store.select("SELECT status FROM bill_import")["status"]
    assert metrics(test)["Bills that count"][0] == str((found == "current").sum())
    assert metrics(test)["Waiting for you"][0] == "0"
    assert len(test.dataframe[0].value) == len(found)


@pytest.mark.parametrize("name", NAMES)
def test_a_page_shows_what_the_store_has(name: str, demo_context: Context) -> None:
    checks: dict[str, Callable[[AppTest, Context], None]] = {
        name.removeprefix("check_"): check for name, check in globals().items() if name.startswith("check_")
    }
    with used(demo_context):
        test = opened(name)
    checks[name](test, demo_context)


def test_a_link_opens_one_job(demo_context: Context) -> None:
    store = demo_context.store
    query = (
        "SELECT job_id, job_name, sum(effective_cost) AS cost, any_value(billing_currency) AS currency "
        "FROM allocation_hour JOIN job_usage USING (cluster, job_id, submitted_at, restart_count) "
        "WHERE bucket = 'allocated' AND started_at >= $start "
        "AND job_id IN (SELECT job_id FROM job_usage GROUP BY ALL HAVING count(*) = 1) "
        "GROUP BY ALL ORDER BY cost DESC LIMIT 1"
    )
    row = store.select(query, start=WINDOW.start).row(0, named=True)
    with used(demo_context):
        test = opened("jobs", query={"job": row["job_id"]})
        assert test.subheader[0].value == f"Job {row['job_id']}: {row['job_name']}"
        assert metrics(test)["Cost"][0] == written.money(row["cost"], row["currency"], compact=True)
        held = "SELECT count(DISTINCT (node, gpu_uuid)) AS n FROM job_gpu_hour WHERE job_id = $job"
        devices = next(each.value for each in test.dataframe if "held_seconds" in each.value.columns)
        assert len(devices) == store.select(held, job=row["job_id"])["n"][0]
        test.button[0].click().run()
        assert not test.exception
        assert "Job runs" in metrics(test)


def test_two_jobs_of_one_id_are_told_apart(demo_context: Context) -> None:
    """Schedulers use ids again: each run has its own cost, and a link names one of them."""
    query = (
        "SELECT job_id, submitted_at, job_name, sum(effective_cost) AS cost, any_value(billing_currency) AS currency "
        "FROM job_usage JOIN allocation_hour USING (cluster, job_id, submitted_at, restart_count) "
        "WHERE bucket = 'allocated' AND job_id IN "
        "(SELECT job_id FROM job_usage GROUP BY cluster, job_id, restart_count HAVING count(*) > 1) "
        "AND restart_count = 0 GROUP BY ALL HAVING count(DISTINCT billing_currency) = 1 "
        "ORDER BY job_id, submitted_at"
    )
    rows = demo_context.store.select(query).filter(pl.len().over("job_id") == 2)
    pair = rows.head(2).to_dicts()
    assert pair[0]["cost"] != pair[1]["cost"]
    with used(demo_context):
        for row in pair:
            test = opened("jobs", query=links.to_job(row), window="30d")
            assert test.subheader[0].value == f"Job {row['job_id']}: {row['job_name']}"
            assert metrics(test)["Cost"][0] == written.money(row["cost"], row["currency"], compact=True)


def test_the_cost_of_all_jobs_is_what_was_allocated_to_them(demo_context: Context) -> None:
    query = (
        "SELECT billing_currency, sum(effective_cost) FROM allocation_hour "
        "WHERE bucket = 'allocated' AND hour_start >= $start AND hour_start < $end GROUP BY ALL"
    )
    rows = data.answered(demo_context, "jobs", scope=Scope(), cluster="", **WEEK)
    assert measure.by_currency(rows, "effective_cost") == money_of(demo_context, query, **WEEK)


@pytest.mark.parametrize(
    ("start", "end", "first", "last"),
    [
        ("2026-11-18T15:00Z", "2026-11-18T16:00Z", "2026-11-18", "2026-11-19"),
        ("2026-11-11T16:00Z", "2026-11-18T16:00Z", "2026-11-11", "2026-11-19"),
        ("2026-11-16T00:00Z", "2026-11-23T00:00Z", "2026-11-16", "2026-11-23"),
    ],
)
def test_a_stretch_touches_whole_days_and_today(start: str, end: str, first: str, last: str) -> None:
    found = controls.days(data.Window(datetime.fromisoformat(start), datetime.fromisoformat(end)))
    assert [f"{each:%Y-%m-%dT%H:%M}" for each in found] == [f"{first}T00:00", f"{last}T00:00"]


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "America/New_York"])
def test_a_week_has_seven_days_of_models_in_every_zone(zone: str, demo_context: Context) -> None:
    window = week.last_complete(DEMO_NOW, week.zone_of(zone)).window
    for team in ("", "vision"):
        days = data.answered(
            demo_context, "model_days", scope=Scope(), start=window.start, end=window.end, cluster="", team=team
        )["day"].unique()
        assert [f"{day:%d}" for day in days.sort()] == ["09", "10", "11", "12", "13", "14", "15"]


def test_an_unknown_job_opens_the_list(demo_context: Context) -> None:
    with used(demo_context):
        assert "Job runs" in metrics(opened("jobs", query={"job": "no-such-job"}))


def test_cost_by_provider_as_billed_with_all_charges(demo_context: Context) -> None:
    query = (
        "SELECT provider, billing_currency, sum(billed_cost) AS cost FROM cost_hour "
        "WHERE date_trunc('month', billing_period_start) = date_trunc('month', $end) GROUP BY ALL"
    )
    month = demo_context.store.select(query, end=WEEK["end"])
    expected = {(name, currency): cost for name, currency, cost in month.iter_rows()}
    with used(demo_context):
        test = opened("cost", by="provider", measure="billed", estate="all")
    totals: dict[str, Decimal] = {}
    for (_, currency), cost in expected.items():
        totals[currency] = totals.get(currency, Decimal(0)) + cost
    shown = metrics(test)
    for currency, total in totals.items():
        assert shown[f"Billed cost, {currency}"][0] == written.money(total, currency, compact=True)
    rows = {
        name: cost for each in test.dataframe for name, cost in each.value[["name", "cost"]].itertuples(index=False)
    }
    assert set(rows) == {name for name, _ in expected}
    for (name, _), cost in expected.items():
        assert rows[name] == pytest.approx(float(cost))


def test_the_team_that_is_chosen_limits_the_cost(demo_context: Context) -> None:
    query = (
        "SELECT billing_currency, sum(effective_cost) FROM allocation_hour "
        "WHERE team = 'vision' AND in_scope AND hour_start >= $start AND hour_start < $end GROUP BY ALL"
    )
    with used(demo_context):
        shown = metrics(opened("cost", team="vision"))
    for currency, amount in money_of(demo_context, query, **WEEK).items():
        assert shown[f"Effective cost, {currency}"][0] == written.money(amount, currency, compact=True)


@pytest.mark.parametrize(
    ("button", "status"), [("applied", "applied"), ("snoozed", "snoozed"), ("dismissed", "dismissed")]
)
def test_a_decision_on_a_finding_is_kept(button: str, status: str, demo_copy: Context) -> None:
    with used(demo_copy):
        test = opened("savings")
        before = int(metrics(test)["Open findings"][0])
        chosen = next(each for each in test.button if str(each.key).startswith(f"{button}-"))
        finding = str(chosen.key).removeprefix(f"{button}-")
        test.text_input(key=f"reason-{finding}").set_value("the owner asked for it")
        chosen.click().run()
        assert not test.exception
        assert int(metrics(test)["Open findings"][0]) == before - 1
        kept: dict[str, Any] = demo_copy.store.select("SELECT * FROM finding_decision").row(0, named=True)
        assert (kept["finding_id"], kept["status"], kept["decided_by"]) == (finding, status, "page")
        assert kept["reason"] == "the owner asked for it"
        assert kept["snoozed_until"] == (DEMO_NOW + timedelta(days=30) if status == "snoozed" else None)
        again = opened("savings", status=status)
        assert set(again.dataframe[0].value["title"])
        assert demo_copy.store.select("SELECT count(*) AS n FROM audit")["n"][0] == 1


def test_no_page_module_computes() -> None:
    """A page asks and shows: sums of money and SQL are made elsewhere."""
    for each in (Path(__file__).parents[2] / "app" / "views").glob("*.py"):
        text = each.read_text(encoding="utf-8")
        assert "SELECT " not in text, each.name
        assert not re.search(r"ledger\.money\b", text), each.name
        assert "duckdb" not in text, each.name
