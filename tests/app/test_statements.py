"""Closed statements stay as they were stated; what changes later posts once, and all of them sum to what is known."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.context import Context
from app.services import named
from app.services.statement import of
from ledger import money
from ledger.errors import InputError
from ledger.store import Store
from ledger.tables import Audit, SpendDay, StatementLine
from tests.app.conftest import Command, used
from tests.app.opening import opened, said
from tests.bills import rows
from tests.collectors.billing.bills import bill
from tests.demo import settings_of

MONTHS = [datetime(2026, month, 1, tzinfo=UTC) for month in (8, 9, 10)]
NOW = datetime(2026, 11, 2, tzinfo=UTC)
AMOUNTS = ("billed_cost", "effective_cost", "productive_cost", "idle_cost", "held_gpu_seconds")
UNIT = Decimal(1).scaleb(-18)

PART = st.fixed_dictionaries(
    {
        "day": st.sampled_from([date(2026, month, 3) for month in (8, 9, 10)]),
        "billing_period_start": st.sampled_from(MONTHS),
        "billing_currency": st.sampled_from(["USD", "JPY"]),
        "charge_category": st.sampled_from(["Usage", "Tax", "Credit"]),
        "charge_class": st.sampled_from(["", "Correction"]),
        "bucket": st.sampled_from(["allocated", "shared"]),
        "team": st.sampled_from(["red", "blue"]),
        "billed_cost": st.integers(-(10**30), 10**30).map(lambda units: units * UNIT),
        "effective_cost": st.none() | st.integers(-(10**30), 10**30).map(lambda units: units * UNIT),
        "held_gpu_seconds": st.integers(0, 3600).map(Decimal),
    }
)
ABOUT = ("day", "billing_period_start", "billing_currency", "charge_category", "charge_class", "bucket", "team")
SPENT = st.lists(PART, max_size=8, unique_by=lambda each: tuple(each[name] for name in ABOUT))
ACTS = st.lists(st.tuples(SPENT, st.sampled_from(["", "red", "all"])), min_size=1, max_size=5)


def spent(parts: list[dict[str, Any]]) -> pl.DataFrame:
    start = datetime(2026, 8, 1, tzinfo=UTC)
    words = {name: "" for name in SpendDay.primary_key() if SpendDay.create_empty().schema[name] == pl.String}
    fixed = {
        **words,
        "submitted_at": datetime(1970, 1, 1, tzinfo=UTC),
        "is_estimated": False,
        "in_scope": True,
        "productive_gpu_seconds": Decimal(0),
        "idle_gpu_seconds": Decimal(0),
        "first_hour_start": start,
        "last_hour_end": start,
    }
    return rows(SpendDay, [{**fixed, "productive_cost": each["effective_cost"], **each} for each in parts])


@contextmanager
def a_ledger() -> Iterator[Context]:
    with TemporaryDirectory() as folder:
        context = Context(settings_of(Path(folder) / "l.duckdb"), now=lambda: NOW)
        context._store = Store.open("duckdb::memory:", now=lambda: NOW)
        yield context
        context.close()


def know(context: Context, frame: pl.DataFrame) -> None:
    """Let the ledger know this of the three months, and nothing else."""
    days = [f"2026-{month:02}-03" for month in (8, 9, 10)]
    context.store.replace(SpendDay, frame, partitions=days)


def close(context: Context, month: str, team: str = "") -> Any:
    service = named("statements")
    return service.run(context, service.asked({"action": "close", "month": month, "team": team}))


def known_by_now(frame: pl.DataFrame, team: str) -> dict[tuple[Any, ...], dict[str, Decimal]]:
    """Return what a team is charged for each month in each category and currency, straight from what was given."""
    found: dict[tuple[Any, ...], dict[str, Decimal]] = {}
    for row in frame.filter(pl.col("team") == team).iter_rows(named=True):
        kind = (row["charge_category"], row["billing_currency"])
        used, billed = row["day"].replace(day=1), row["billing_period_start"].date()
        for month, names in ((used, AMOUNTS[1:]), (billed, AMOUNTS[:1])):
            amounts = found.setdefault((month, *kind), dict.fromkeys(AMOUNTS, Decimal(0)))
            for name in names:
                amounts[name] = money.add(amounts[name], row[name] or Decimal(0))
    return {key: amounts for key, amounts in found.items() if any(amounts.values())}


def said_so_far(context: Context, team: str) -> dict[tuple[Any, ...], dict[str, Decimal]]:
    """Return what closed statements and those of all open months say together."""
    stored = context.store.read(StatementLine, where={"team": [team], "section": ["charges"]})
    key = ("for_month", "charge_category", "billing_currency")
    every = [stored.select(*key, *AMOUNTS)]
    for month in MONTHS:
        statement = of(context, team, month)
        if statement.closed is None:
            every.append(statement.charges.select(*key, *AMOUNTS))
    last = of(context, team, datetime(2026, 11, 1, tzinfo=UTC))
    every.append(last.charges.select(*key, *AMOUNTS))
    sums = money.summed(pl.concat(every), by=list(key), columns=AMOUNTS)
    found = {
        tuple(row[name] for name in key): {name: row[name] or Decimal(0) for name in AMOUNTS}
        for row in sums.iter_rows(named=True)
    }
    return {each: amounts for each, amounts in found.items() if any(amounts.values())}


@given(ACTS)
@settings(max_examples=8, deadline=None)
def test_all_statements_ever_issued_sum_to_what_is_known(acts: list[tuple[list[dict[str, Any]], str]]) -> None:
    with a_ledger() as context:
        closed = {"red": 0, "blue": 0}
        for parts, closing in acts:
            frame = spent(parts)
            know(context, frame)
            _sums_to(context, frame)
            if closing:
                closed |= _closed(context, closed, closing)
                _sums_to(context, frame)


def _sums_to(context: Context, frame: pl.DataFrame) -> None:
    for team in ("red", "blue"):
        assert said_so_far(context, team) == known_by_now(frame, team)


def _closed(context: Context, closed: dict[str, int], closing: str) -> dict[str, int]:
    """Close the next month of whom it is said, and return how many are closed by team; a refusal changes none."""
    teams = {"red": ("red",), "all": ("red", "blue")}[closing]
    place = min(closed[team] for team in teams)
    if place == len(MONTHS):
        return closed
    try:
        close(context, f"{MONTHS[place]:%Y-%m}", closing if closing == "red" else "")
    except InputError:
        return closed
    return dict.fromkeys(teams, place + 1)


BILL = {
    "BillingPeriodStart": "2026-09-01T00:00:00Z",
    "BillingPeriodEnd": "2026-10-01T00:00:00Z",
    "ChargePeriodStart": "2026-09-05T00:00:00Z",
    "ChargePeriodEnd": "2026-09-06T00:00:00Z",
    "Tags": '{"team": "red"}',
    "ResourceId": "",
}
OCTOBER = {**BILL, "BillingPeriodStart": "2026-10-01T00:00:00Z", "BillingPeriodEnd": "2026-11-01T00:00:00Z"}


@pytest.fixture
def billed(tmp_path: Path) -> Iterator[Context]:
    """Return a ledger with September's bill, of which all is the red team's."""
    owners = [{"team": team, "field": "tag", "value": f"team={team}"} for team in ("red", "blue")]
    given_settings = settings_of(tmp_path / "l.duckdb", money={"owners": owners})
    context = Context(given_settings, now=lambda: NOW)
    take(context, tmp_path, "september", {**BILL, "BilledCost": "100"})
    yield context
    context.close()


def take(context: Context, folder: Path, name: str, *charges: dict[str, str]) -> None:
    path = bill(folder / f"{name}.csv", *({**each, "EffectiveCost": each["BilledCost"]} for each in charges))
    for service, asked in (("ingest", {"paths": [str(path)], "accept": True}), ("rollup", {})):
        found = named(service)
        found.run(context, found.asked(asked))


def total(context: Context, month: str, column: str = "billed_cost") -> Decimal | None:
    return of(context, "red", datetime.strptime(month, "%Y-%m").replace(tzinfo=UTC)).total("USD", column)


def test_a_restated_bill_of_a_closed_month_posts_on_the_next_statement(billed: Context, tmp_path: Path) -> None:
    (kept,) = close(billed, "2026-09")
    assert (kept["team"], kept["billed_cost"], kept["closed_by"]) == ("red", {"USD": Decimal(100)}, "command line")
    take(billed, tmp_path, "september", {**BILL, "BilledCost": "90"})
    assert total(billed, "2026-09") == Decimal(100)
    found = of(billed, "red", datetime(2026, 10, 1, tzinfo=UTC))
    (line,) = found.lines("USD")
    assert (line["words"], line["billed_cost"], line["effective_cost"]) == (
        "Adjustment for 2026-09: owned",
        Decimal(-10),
        Decimal(-10),
    )
    assert found.frame()["name"].to_list() == ["adjustment for 2026-09: owned"]
    assert [str(each) for each in found.frame()["for_month"]] == ["2026-09-01"]
    close(billed, "2026-10")
    take(billed, tmp_path, "september", {**BILL, "BilledCost": "90.5"})
    assert total(billed, "2026-10") == Decimal(-10)
    assert total(billed, "2026-11") == Decimal("0.5")


def test_a_late_charge_is_told_as_incurred_and_as_invoiced(billed: Context, tmp_path: Path) -> None:
    close(billed, "2026-09")
    late = {**OCTOBER, "BilledCost": "7", "ChargePeriodStart": "2026-09-29T00:00:00Z",
            "ChargePeriodEnd": "2026-09-30T00:00:00Z"}  # fmt: skip
    take(billed, tmp_path, "october", late)
    rows_ = (
        of(billed, "red", datetime(2026, 10, 1, tzinfo=UTC))
        .frame()
        .select(pl.col("for_month").dt.strftime("%Y-%m"), "name", "billed_cost", "effective_cost")
    )
    assert rows_.sort("for_month").rows() == [
        ("2026-09", "adjustment for 2026-09: owned", Decimal(0), Decimal(7)),
        ("2026-10", "owned", Decimal(7), None),
    ]


def test_statements_close_in_order_and_once(billed: Context) -> None:
    close(billed, "2026-09", "red")
    for month, team, told in (
        ("2026-09", "red", "expected the month after 2026-09"),
        ("2026-11", "", "expected a month that is over"),
        ("2026-08", "", "expected the month after 2026-09"),
        ("2026-09", "blue", "found 'blue', expected one of red"),
    ):
        with pytest.raises(InputError, match=told):
            close(billed, month, team)
    assert [each["team"] for each in close(billed, "2026-09")] == ["", "red"]
    assert [(each["month"].month, each["team"]) for each in close(billed, "2026-10")] == [(10, "")]
    assert [each["action"] for each in billed.store.read(Audit).iter_rows(named=True)].count("statements closed") == 3


def test_who_was_closed_further_alone_stays_so_when_all_are_closed(billed: Context) -> None:
    for month in ("2026-09", "2026-10"):
        close(billed, month, "red")
    assert [each["team"] for each in close(billed, "2026-09")] == ["", "red"]
    assert [each["team"] for each in close(billed, "2026-10")] == ["", "red"]
    with pytest.raises(InputError, match="expected the month after 2026-10, the last closed one of team red"):
        close(billed, "2026-10", "red")


def test_what_was_paid_before_it_is_used_posts_when_the_month_after_it_is_closed(
    billed: Context, tmp_path: Path
) -> None:
    """A charge of September that comes late and is of use in November changes what October's statement says."""
    close(billed, "2026-09")
    november = {"ChargePeriodStart": "2026-11-01T00:00:00Z", "ChargePeriodEnd": "2026-11-02T00:00:00Z"}
    take(billed, tmp_path, "other", {**BILL, **november, "BilledCost": "3", "Tags": '{"team": "blue"}'})
    (line,) = of(billed, "blue", datetime(2026, 10, 1, tzinfo=UTC)).lines("USD")
    close(billed, "2026-10")
    assert of(billed, "blue", datetime(2026, 10, 1, tzinfo=UTC)).lines("USD") == [line]


def test_a_closed_statement_says_so_on_its_page_and_in_its_notes(demo_copy: Context, tmp_path: Path) -> None:
    demo_copy.now = lambda: datetime(2026, 12, 2, tzinfo=UTC)
    with used(demo_copy):
        test = opened("statement", team="vision", **{"statement-month": date(2026, 11, 1)})
        next(each for each in test.button if each.label == "Close November 2026 of team vision").click()
        test.run()
        assert "Closed by page at" in said(test)
    service = named("statement")
    for suffix in ("pdf", "csv", "parquet"):
        out = tmp_path / f"s.{suffix}"
        told = service.run(demo_copy, service.asked({"team": "vision", "month": "2026-11", "out": out}))
        assert out.stat().st_size > 1000
    assert told["closed_at"] is not None
    before = pl.read_parquet(tmp_path / "s.parquet")
    demo_copy.store.replace(SpendDay, SpendDay.create_empty(), partitions=_days(demo_copy))
    demo_copy.changed()
    service.run(demo_copy, service.asked({"team": "vision", "month": "2026-11", "out": tmp_path / "s.parquet"}))
    stated = ["charges", "models", "users", "runs"]
    after = pl.read_parquet(tmp_path / "s.parquet").filter(pl.col("section").is_in(stated))
    assert after.rows() == before.filter(pl.col("section").is_in(stated)).rows()


def _days(context: Context) -> list[str]:
    return [each for each in context.store.versions("spend_day") if ":" not in each]


def test_the_command_closes_and_lists(billed: Context, command: Command) -> None:
    store = billed.settings.store.url
    billed.close()
    done = command("statement", "close", "2026-09", "--team", "red", "--store", store)
    assert (done.code, "red" in done.out, "100" in done.out) == (0, True, True)
    listed = command("statement", "list", "--json", "--store", store)
    assert '"billed_cost": {"USD": "100' in listed.out.replace("\n", "").replace("  ", "")
    refused = command("statement", "close", "2026-09", "--team", "red", "--store", store)
    assert (refused.code, refused.out) == (2, "")
