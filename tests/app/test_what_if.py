"""The page, the service and the command say the same of the same work elsewhere, as the store has it."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from app import format as written
from app import what_if as asking
from app.context import Context
from app.data import Window
from app.services import named
from ledger.errors import InputError
from ledger.tables import Price
from tests.app.conftest import Command, used
from tests.app.opening import metrics, money_of, opened, said
from tests.demo import DEMO_NOW

WEEK = {"start": datetime(2026, 11, 11, tzinfo=UTC), "end": DEMO_NOW.replace(hour=0, minute=0)}


def asked(context: Context, **params: Any) -> Any:
    service = named("what_if")
    return service.run(context, service.asked(params))


def of_kind(found: Any, kind: str) -> list[dict[str, Any]]:
    return [each for each in found["options"] if each["kind"] == kind]


def listed(found: Any) -> str:
    return next(str(each["source"]) for each in of_kind(found, "on demand") if each["instance_type"] == "hgx-h100")


def is_named(option: dict[str, Any]) -> bool:
    return not option["may_be_interrupted"] and not option["is_price_assumed"]


def work_on(kind: str, context: Context) -> str:
    return next(each["work"] for each in asked(context, days=7)["works"] if each["work"].startswith(kind))


def test_what_there_is_now_is_what_the_allocations_cost(demo_context: Context) -> None:
    found = asked(demo_context, days=7)
    assert (found["start"], found["end"]) == (WEEK["start"], WEEK["end"])
    query = (
        "SELECT billing_currency, sum(effective_cost) FROM allocation_hour WHERE hour_start >= $start "
        "AND hour_start < $end AND node <> '' AND charge_category = 'Usage' AND cost_kind = 'usage' "
        "AND commitment_status <> 'Unused' GROUP BY ALL"
    )
    spent = money_of(demo_context, query, **WEEK)
    assert len(found["works"]) >= 2
    for currency, amount in spent.items():
        months = [each["month_cost"] for each in found["works"] if each["billing_currency"] == currency]
        assert sum(months) == pytest.approx(amount * 730 / 168, abs=Decimal("1e-15"))
    query = (
        "SELECT sum((existed_seconds - unallocated_seconds) * gpu_fraction) / 3600 AS most, "
        "sum(existed_seconds * gpu_fraction) / 3600 AS existing FROM gpu_hour "
        "WHERE hour_start >= $start AND hour_start < $end"
    )
    most, existing = demo_context.store.select(query, **WEEK).row(0)
    assert sum(each["existing_gpu_hours"] for each in found["works"]) == pytest.approx(float(existing))
    assert 0 < sum(each["held_gpu_hours"] for each in found["works"]) <= float(most)


def test_the_demo_is_priced_in_all_ways(demo_context: Context) -> None:
    found = asked(demo_context, days=7, work=work_on("H100", demo_context))
    assert {each["kind"] for each in found["options"]} == {"now", "on demand", "spot", "committed", "owned"}
    places = {(each["provider"], each["region"]) for each in of_kind(found, "on demand")}
    assert {("AWS", "us-east-1"), ("AWS", "us-west-2"), ("Example GPU Cloud", "")} <= places
    for each in found["options"]:
        assert each["month_cost"] is not None
        assert each["billing_currency"] == "EUR", "prices in dollars are compared in the currency of the bill"
        assert each["source"]
        assert each["kind"] == "now" or (each["is_estimate"] and each["priced_on"] is not None)
    best = min((each for each in found["options"] if is_named(each)), key=lambda each: each["month_cost"])
    assert found["best"] == best["option"]
    assert (best["kind"], found["saving_month_cost"]) == ("now", None)
    dear = {"rent": "hgx-h100 · Example GPU Cloud · " + listed(found), "three_year_discount": "0.6"}
    stated = asked(demo_context, days=7, work=found["work"], **dear)
    now = of_kind(stated, "now")[0]["month_cost"]
    cheapest = next(each for each in stated["options"] if each["option"] == stated["best"])
    assert cheapest["kind"] == "committed"
    assert stated["saving_month_cost"] == now - cheapest["month_cost"] > 0


def test_a_base_is_never_dearer_than_all_or_nothing(demo_context: Context) -> None:
    for each in of_kind(asked(demo_context), "committed"):
        assert each["month_cost"] <= each["all_rented_cost"]
        assert each["month_cost"] <= each["all_base_cost"]


def test_assumptions_change_what_follows_from_them(demo_context: Context) -> None:
    found = asked(demo_context, purchase_cost="100000", billing_currency="USD", life_years="5", gpu_count=4)
    (bought, *_) = of_kind(found, "owned")
    assert bought["gpu_count"] == 4
    assert "changed here" in bought["source"] or "stated here" in bought["source"]
    dollars = asked(demo_context, work=work_on("H100", demo_context), billing_currency="USD", purchase_cost="336350")
    euros = asked(demo_context, work=work_on("H100", demo_context), purchase_cost="310000")
    # At 1.085 both prices are the same, and what the inventory says is exchanged with it.
    in_dollars, in_euros = (of_kind(each, "owned")[0] for each in (dollars, euros))
    assert (in_dollars["price_currency"], in_euros["price_currency"]) == ("USD", "EUR")
    assert in_dollars["month_cost"] == pytest.approx(in_euros["month_cost"], abs=Decimal("1e-12"))
    for_nothing = asked(demo_context, one_year_discount="0", three_year_discount="0")
    assumed = [each for each in of_kind(for_nothing, "committed") if "less" in each["source"]]
    assert len(assumed) == 2
    assert all(each["break_even_ratio"] == 1 for each in assumed)
    other = asked(demo_context, accelerator="H200", speed="1.5")
    assert {each["accelerator"] for each in of_kind(other, "on demand")} == {"H200"}


def test_a_team_pays_for_what_it_held(demo_context: Context) -> None:
    everyone, mine = asked(demo_context, days=7), asked(demo_context, days=7, team="vision")
    assert sum(each["held_gpu_hours"] for each in mine["works"]) < sum(
        each["held_gpu_hours"] for each in everyone["works"]
    )


def test_an_unknown_work_is_refused(demo_context: Context) -> None:
    with pytest.raises(InputError, match="found no work 'nonsense'"):
        asked(demo_context, work="nonsense")


def test_a_store_without_devices_has_no_work(empty_context: Context) -> None:
    found = asked(empty_context)
    assert found["works"] == found["options"] == []


def test_the_page_opens_with_the_answer_of_the_service(demo_context: Context) -> None:
    with used(demo_context):
        test = opened("what_if", window="7d")
    found = asked(demo_context, days=8)
    shown = metrics(test)
    now = next(each["month_cost"] for each in found["options"] if each["kind"] == "now")
    assert shown["Now"] == (written.money(now, found["billing_currency"], compact=True), "a month")
    best = next(each for each in found["options"] if is_named(each))
    assert shown["Cheapest sure way"][0] == written.money(best["month_cost"], found["billing_currency"], compact=True)
    words = " ".join(each.value for each in (*test.success, *test.info))
    assert ("what there is now" if best["kind"] == "now" else str(best["option"]).replace("_", "\\_")) in words
    assert len(test.dataframe[0].value) == len(found["options"])
    assert len(test.dataframe[1].value) == len(found["works"])
    assert "By the hour means" in said(test)


def test_what_is_assumed_stands_in_the_url(demo_context: Context) -> None:
    with used(demo_context):
        plain = opened("what_if", window="30d")
        dear = opened("what_if", query={"buy": "100000000", "buy-currency": "USD"}, window="30d")
        wrong = opened("what_if", query={"year1": "a lot"}, window="30d")
        all_of_it = opened("what_if", query={"basis": "existing", "year1": "100"}, window="30d")
    assert metrics(dear)["Owning from"][0] == "never"
    assert metrics(plain)["Owning from"][0] != "never"
    assert "a lot" in wrong.error[0].value
    assert "expected less than 100" in all_of_it.error[0].value


def test_without_prices_the_page_says_what_to_do(demo_copy: Context) -> None:
    demo_copy.store.replace(Price, Price.create_empty(), partitions=["*"], state=None)
    demo_copy.changed()
    with used(demo_copy):
        test = opened("what_if", window="7d")
    words = " ".join(each.value for each in test.info)
    assert "`clusterledger ingest prices.csv`" in words
    told = said(test)
    assert "Not priced: H100 on demand: no price list or bill names a price" in told
    assert "Not priced: Spot" in told
    assert metrics(test)["On spot"][0] == written.UNKNOWN


def test_the_command_prints_works_and_ways(command: Command, demo_copy: Context) -> None:
    url = demo_copy.settings.store.url
    demo_copy.close()
    plain = command("what-if", "--days", "7", "--store", url)
    assert plain.code == 0, plain.err
    assert "a month of it:" in plain.out
    told = json.loads(command("what-if", "--days", "7", "--store", url, "--json").out)
    assert told["options"]
    assert isinstance(told["options"][0]["month_cost"], str)
    refused = command("what-if", "--work", "nonsense", "--store", url)
    assert refused.code == 2
    assert "hint: one of" in refused.err


def test_windows_are_whole_days_that_are_over() -> None:
    now = datetime(2026, 3, 20, 15, 20, tzinfo=UTC)
    midnight = datetime(2026, 3, 20, tzinfo=UTC)
    week = Window(datetime(2026, 3, 13, 16, tzinfo=UTC), datetime(2026, 3, 20, 16, tzinfo=UTC))
    assert asking.whole_days(week, now) == Window(datetime(2026, 3, 13, tzinfo=UTC), midnight)
    month = Window(datetime(2026, 2, 1, tzinfo=UTC), datetime(2026, 3, 1, tzinfo=UTC))
    assert asking.whole_days(month, now) == month
    this_morning = Window(midnight, midnight.replace(hour=16))
    assert asking.whole_days(this_morning, now) == Window(datetime(2026, 3, 19, tzinfo=UTC), midnight)


def test_dated_prices_hold_from_their_day(demo_copy: Context) -> None:
    """A list of tomorrow says nothing of today; a newer list of yesterday replaces an older one."""
    known = demo_copy.store.read(Price)
    row = known.filter((known["instance_type"] == "p5.48xlarge") & (known["region"] == "us-west-2")).to_dicts()[0]
    newer = [
        {**row, "valid_start": datetime(2026, 11, 17, tzinfo=UTC), "unit_price": Decimal(7)},
        {**row, "valid_start": datetime(2026, 11, 19, tzinfo=UTC), "unit_price": Decimal(1)},
    ]
    demo_copy.store.append(Price, pl.DataFrame(newer, schema=known.schema), source="test")
    found = asked(demo_copy, work=work_on("H100", demo_copy))
    west = [each["unit_price"] for each in of_kind(found, "on demand") if each["region"] == "us-west-2"]
    assert west == [Decimal(7)]


def test_a_demo_writes_lists_that_the_ledger_reads(demo_context: Context) -> None:
    prices = demo_context.store.read(Price)
    assert {"AWS", "Microsoft", "Example GPU Cloud"} <= set(prices["provider"])
    assert {"on_demand", "spot"} <= set(prices["price_category"])
    assert Path(prices["source"][0]).name
