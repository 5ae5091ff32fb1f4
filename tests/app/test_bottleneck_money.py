"""What each cause of slowness costs: in each currency, and all of what the jobs cost."""

from datetime import UTC, datetime
from decimal import Decimal

import polars as pl

from app import bottleneck_money
from ledger.money import MONEY
from queries import measure

RUN = {"cluster": "c", "submitted_at": datetime(2026, 11, 1, tzinfo=UTC), "restart_count": 0}


def classes(*rows: tuple[str, str, int, str | None, Decimal | None]) -> pl.DataFrame:
    return pl.DataFrame(
        [
            RUN
            | {
                "job_id": job, "bottleneck": name, "gpu_seconds": Decimal(seconds), "billing_currency": code,
                "job_cost": cost,
            }
            for job, name, seconds, code, cost in rows
        ],
        schema_overrides={"job_cost": MONEY, "gpu_seconds": pl.Decimal(28, 9), "billing_currency": pl.String},
    )  # fmt: skip


def test_a_class_costs_its_part_of_each_job_in_each_currency() -> None:
    found = bottleneck_money.with_cost(
        classes(
            ("1", "idle", 3600, "USD", Decimal(8)),
            ("1", "input_cpu", 10_800, "USD", Decimal(8)),
            ("2", "idle", 3600, "EUR", Decimal(5)),
            ("3", "idle", 7200, None, None),
        )
    )
    assert bottleneck_money.cost_columns(found) == {"USD": "cost_USD", "EUR": "cost_EUR"}
    assert measure.by_currency(found, "cost") == {"USD": Decimal(8), "EUR": Decimal(5)}
    table = {row["bottleneck"]: row for row in bottleneck_money.by_class(found).to_dicts()}
    assert {name: (row["cost_USD"], row["cost_EUR"]) for name, row in table.items()} == {
        "idle": (Decimal(2), Decimal(5)), "input_cpu": (Decimal(6), None),
    }  # fmt: skip
    assert {name: row["gpu_hours"] for name, row in table.items()} == {"idle": 4.0, "input_cpu": 3.0}


def test_without_any_price_there_is_no_column_of_cost() -> None:
    found = bottleneck_money.with_cost(classes(("3", "idle", 7200, None, None)))
    assert bottleneck_money.cost_columns(found) == {}
    assert bottleneck_money.by_class(found)["gpu_hours"].to_list() == [2.0]
