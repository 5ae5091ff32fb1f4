from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import dataframely as dy
import polars as pl
import pytest

from ledger.names import IDLE_STATES, STATES
from ledger.tables import AllocationHour, Finding, GpuHour, JobUsage, ModelCostDay
from ledger.units import UNITS
from queries import measure, measures

HOUR = datetime(2026, 11, 20, 5, tzinfo=UTC)


def frame(schema: type[dy.Schema], rows: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    types = schema.create_empty().schema
    return pl.DataFrame({name: [row.get(name) for row in rows] for name in types}, schema=types, strict=False)


def gpu(fraction: str = "1", **seconds: int) -> dict[str, Any]:
    states = {f"{state}_seconds": Decimal(seconds.get(state, 0)) for state in STATES}
    return {"gpu_fraction": Decimal(fraction), "existed_seconds": sum(states.values(), Decimal(0)), **states}


def cost(amount: str | None, state: str = "", currency: str = "USD", **more: Any) -> dict[str, Any]:
    row = {"bucket": "allocated", "gpu_uuid": "g", "in_scope": True, "is_estimated": False, "held_gpu_seconds": 3600}
    paid = None if amount is None else Decimal(amount)
    return {**row, "billing_currency": currency, "state": state, "effective_cost": paid, "billed_cost": paid, **more}


def test_a_ratio_is_a_sum_against_a_sum() -> None:
    rows = frame(GpuHour, [gpu(unallocated=3600), gpu(fraction="0.5", productive=1800, held_idle=1800)])
    assert measure.value(measures.GPU_HOURS, rows) == 1.5
    assert measure.value(measures.IDLE_RATIO, rows) == pytest.approx((3600 + 900) / 5400)
    parts = (measures.UNALLOCATED_RATIO, measures.ALLOCATED_IDLE_RATIO, measures.HELD_IDLE_RATIO)
    assert sum(float(measure.value(each, rows) or 0) for each in parts) == pytest.approx(4500 / 5400)
    assert len(parts) == len(IDLE_STATES)


def test_no_rows_and_nothing_measured_are_null_and_not_zero() -> None:
    assert measure.value(measures.IDLE_RATIO, frame(GpuHour, [])) is None
    assert measure.value(measures.ENERGY_JOULES, frame(GpuHour, [gpu(productive=1)])) is None
    assert measure.value(measures.IDLE_RATIO, frame(GpuHour, [gpu()])) is None
    assert measure.value(measures.QUEUE_SECONDS, frame(JobUsage, [{"state": "PENDING", "queue_seconds": 5.0}])) is None


def test_money_is_exact_and_currencies_stay_apart() -> None:
    rows = frame(
        AllocationHour,
        [
            cost("0.100000000000000001", "held_idle"),
            cost("0.2", "productive"),
            cost("7", "held_idle", "EUR"),
            cost(None),
        ],
    )
    assert measure.amounts(measures.SPEND, rows) == {"EUR": Decimal(7), "USD": Decimal("0.300000000000000001")}
    assert measure.amounts(measures.IDLE_COST, rows)["USD"] == Decimal("0.100000000000000001")
    assert measure.amounts(measures.SPEND, frame(AllocationHour, [cost(None)])) == {}


def test_what_is_not_of_the_estate_is_not_counted() -> None:
    rows = frame(AllocationHour, [cost("1"), cost("2", in_scope=False)])
    assert measure.amounts(measures.SPEND, rows) == {"USD": Decimal(1)}


def test_unit_cost_divides_a_sum_by_a_sum() -> None:
    rows = frame(AllocationHour, [cost("1", held_gpu_seconds=1800), cost("5", held_gpu_seconds=5400)])
    assert measure.unit_costs(measures.COST_PER_GPU_HOUR, rows) == {"USD": Decimal(3)}
    tokens = frame(
        ModelCostDay,
        [
            {"billing_currency": "USD", "effective_cost": Decimal(4), "generated_token_count": 2_000_000},
            {"billing_currency": "USD", "effective_cost": Decimal(9)},
        ],
    )
    assert measure.unit_costs(measures.COST_PER_MILLION_TOKENS, tokens) == {"USD": Decimal(2)}
    assert measure.unit_costs(measures.COST_PER_GPU_HOUR, frame(AllocationHour, [cost("1", held_gpu_seconds=0)])) == {}


def test_groups_have_the_measure_by_its_name() -> None:
    rows = frame(GpuHour, [{**gpu(productive=10), "node": "a"}, {**gpu(held_idle=10), "node": "b"}])
    assert measure.grouped(measures.IDLE_RATIO, rows, ["node"]).to_dicts() == [
        {"node": "a", "idle_ratio": 0.0},
        {"node": "b", "idle_ratio": 1.0},
    ]


def test_findings_that_claim_one_saving_count_once_whoever_names_the_other() -> None:
    def finding(key: str, saving: int, excludes: str = "") -> dict[str, Any]:
        return {"finding_id": key, "saving_effective_month": Decimal(saving), "excludes": excludes}

    rows = frame(Finding, [finding("a", 5), finding("b", 9, "c"), finding("c", 3), finding("d", 1, "a")])
    assert measure.counted_once(rows)["finding_id"].to_list() == ["b", "a"]


def test_each_measure_says_what_it_means_once_and_in_a_known_unit() -> None:
    known = {unit.suffix for unit in UNITS}
    titles = []
    for name, each in measures.catalogue().items():
        assert each.name == name
        assert each.means.endswith(".")
        assert each.unit in known
        titles.append((type(each), each.title, each.means))
    assert len(set(titles)) == len(titles) > 30
