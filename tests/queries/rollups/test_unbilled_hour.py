"""Device time without a bill: what a finished bill left out, and what nothing prices."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pytest

from ledger.tables import GpuHour, Node, Price, UnbilledHour
from queries.graph import Span
from queries.rollups.unbilled_hour import unbilled_hour
from tests.bills import HOUR, at, charge, costs, device_hour, link, node, rows
from tests.frames import validated

Given = Iterable[Mapping[str, Any]]
FIRST, LAST = at(1), at(4)
A_DAY = {"ChargePeriodStart": at(1), "ChargePeriodEnd": at(2)}


def unbilled(
    charges: Given,
    *,
    nodes: Given,
    devices: Given,
    links: Given = (),
    prices: Given = (),
    now: datetime = LAST,
    start: datetime = FIRST,
    end: datetime = LAST,
) -> pl.DataFrame:
    """Return the validated list of a bill and what device hours there are."""
    given = list(devices)
    made = unbilled_hour.function(
        gpu_hours=rows(GpuHour, [each for each in given if start <= each["hour_start"] < end])
        .select(next(each for each in unbilled_hour.sources if each.parameter == "gpu_hours").read.columns)
        .lazy(),
        costs=costs(charges, nodes=nodes, links=links, prices=prices, now=now).lazy(),
        nodes=rows(Node, nodes).lazy(),
        prices=rows(Price, prices).lazy(),
        span=Span(start, end, now),
    )
    return validated(UnbilledHour, made.collect())


def price(**given: Any) -> dict[str, Any]:
    row = {
        "provider": "AWS",
        "region": "us-east-1",
        "instance_type": "p5.48xlarge",
        "price_category": "on_demand",
        "billing_currency": "USD",
        "valid_start": at(1) - timedelta(days=90),
        "unit_price": Decimal("55.04"),
        "pricing_unit": "Hours",
    }
    return row | given


def test_hours_that_a_finished_bill_left_out_are_listed_at_the_nearest_billed_rate() -> None:
    nodes = [node("a1"), node("b2", start=at(1, 10))]
    bill = [charge(**A_DAY), charge(1, ResourceId="vol-1", ChargePeriodStart=at(2), ChargePeriodEnd=at(3))]
    devices = [device_hour(at(1, hour), "G", "b2", existed_seconds=1800, unknown_seconds=600) for hour in (10, 23)]
    devices.append(device_hour(at(1, 5), "H", "a1"))
    made = unbilled(bill, nodes=nodes, links=[link("a1")], devices=devices, now=at(2))
    assert made["node"].to_list() == ["b2", "b2"]
    assert made["reason"].unique().to_list() == ["left_out"]
    assert made["expected_cost"].to_list() == [Decimal(1), Decimal(1)]
    assert made["billing_currency"].unique().to_list() == ["USD"]
    assert made["gpu_existed_seconds"].to_list() == [1800, 1800]
    assert made["gpu_known_seconds"].to_list() == [1200, 1200]


def test_a_part_of_an_hour_is_expected_to_cost_a_part() -> None:
    nodes = [node("a1"), node("b2", start=at(1, 10, 45))]
    made = unbilled(
        [charge(**A_DAY)], nodes=nodes, links=[link("a1")], devices=[device_hour(at(1, 10), "G", "b2")], now=at(2)
    )
    assert made["expected_cost"].to_list() == [Decimal("0.25")]


def test_before_the_first_bill_the_next_rate_counts() -> None:
    bill = [charge(ChargePeriodStart=at(2), ChargePeriodEnd=at(3))]
    made = unbilled(bill, nodes=[node()], links=[link(start=at(2))], devices=[device_hour(at(1, 3), "G")], now=at(3))
    assert made["expected_cost"].to_list() == [Decimal(1)]
    assert made["reason"].to_list() == ["left_out"]


def test_a_type_that_was_never_billed_goes_by_the_list_price() -> None:
    nodes = [node("a1"), node("b2", instance_type="p4d.24xlarge")]
    prices = [
        price(instance_type="p4d.24xlarge", unit_price=Decimal(30), region=""),
        price(instance_type="p4d.24xlarge", unit_price=Decimal(32)),
        price(instance_type="p4d.24xlarge", unit_price=Decimal(99), valid_start=at(9)),
    ]
    made = unbilled(
        [charge(**A_DAY)],
        nodes=nodes,
        links=[link("a1")],
        prices=prices,
        devices=[device_hour(at(1, 3), "G", "b2")],
        now=at(2),
    )
    assert made["expected_cost"].to_list() == [Decimal(32)]
    assert made["reason"].to_list() == ["left_out"]


def test_without_a_bill_and_a_price_nothing_is_guessed() -> None:
    devices = [device_hour(at(1, 3), "G", "b2"), device_hour(at(1, 3), "G", "unheard-of")]
    made = unbilled([charge()], nodes=[node("b2", provider="Elsewhere")], devices=devices, now=at(2))
    assert made["reason"].to_list() == ["no_price", "no_price"]
    assert made["expected_cost"].null_count() == 2
    assert made["billing_currency"].null_count() == 2
    assert made["provider"].to_list() == ["Elsewhere", None]


def test_what_is_billed_estimated_or_not_over_is_not_listed() -> None:
    devices = [device_hour(at(1, 3), "G"), device_hour(at(2, 3), "G"), device_hour(at(2, 5), "G")]
    now = at(2, 5, 30)
    made = unbilled([charge(**A_DAY)], nodes=[node()], links=[link()], devices=devices, now=now)
    assert made.is_empty()
    assert unbilled([], nodes=[node()], devices=devices, now=now)["hour_start"].to_list() == [at(1, 3), at(2, 3)]


def test_a_correction_alone_is_no_charge() -> None:
    correction = charge(1, ChargeClass="Correction", BilledCost=Decimal(-3), ChargePeriodStart=at(2))
    bill = [charge(**A_DAY), correction | {"ChargePeriodEnd": at(3)}, charge(2, ResourceId="x", ChargePeriodEnd=at(4))]
    made = unbilled(bill, nodes=[node()], links=[link()], devices=[device_hour(at(2, 3), "G")])
    assert made["expected_cost"].to_list() == [Decimal(1)]


def test_slices_count_as_parts() -> None:
    devices = [
        device_hour(at(1, 3), "P", gpu_fraction=Decimal("0.25")),
        device_hour(at(1, 3), "M", gpu_fraction=Decimal("0.75"), parent_gpu_uuid="P"),
    ]
    made = unbilled([], nodes=[node()], devices=devices)
    assert made["gpu_existed_seconds"].to_list() == [3600]


@pytest.mark.parametrize("cut", [at(1, 4), at(1, 20), at(2, 1)])
def test_days_and_hours_may_be_computed_apart(cut: datetime) -> None:
    nodes = [node("a1"), node("b2")]
    bill = [charge(**A_DAY), charge(1, BilledCost=Decimal(48), ChargePeriodStart=at(3), ChargePeriodEnd=at(4))]
    devices = [device_hour(at(1) + hour * HOUR, "G", name) for hour in range(50) for name in ("a1", "b2")]
    given = {"nodes": nodes, "links": [link("a1")], "devices": devices}
    whole = unbilled(bill, **given)
    parts = [unbilled(bill, **given, start=at(1), end=cut), unbilled(bill, **given, start=cut, end=at(4))]
    assert pl.concat(parts).equals(whole)
    assert whole.height == 50 + 24
    assert whole.group_by("expected_cost").len().sort("len").rows() == [(Decimal(2), 2), (Decimal(1), 72)]
