"""What storage costs stands where its file systems stand, with what to do where nobody is known to own it."""

from datetime import timedelta
from decimal import Decimal

import polars as pl
import pytest

from app.context import Context
from ledger.tables import SpendDay
from ledger.tables.partition import floor
from tests.app.conftest import used
from tests.app.opening import opened, said
from tests.demo import DEMO_NOW

START = floor(DEMO_NOW, "day") - timedelta(days=3)


def billed(context: Context, *storage: tuple[str, str, int]) -> None:
    """Add storage to a day, each a resource, the team that it is, and what it cost."""
    spent = context.store.read(SpendDay, (START, START + timedelta(days=1)))
    some = spent.filter(pl.col("billing_currency") == "USD", pl.col("in_scope")).head(1)
    rows = [
        some.with_columns(
            *(pl.lit("").alias(name) for name in ("node", "cluster", "state", "model", "job_id")),
            cost_kind=pl.lit("storage"), charge_category=pl.lit("Usage"), bucket=pl.lit("shared"),
            service_name=pl.lit("Amazon FSx"), resource_id=pl.lit(resource), team=pl.lit(team),
            user=pl.lit(f"user-{number}"),
            effective_cost=pl.lit(Decimal(cost), pl.Decimal(38, 18)),
        )
        for number, (resource, team, cost) in enumerate(storage)
    ]  # fmt: skip
    context.store.replace(SpendDay, pl.concat([spent, *rows]), partitions=[f"{START.date()}"], state=None)
    context.changed()


@pytest.mark.parametrize("is_known", [True, False])
def test_storage_is_listed_with_how_much_of_it_is_somebodys(demo_copy: Context, *, is_known: bool) -> None:
    billed(demo_copy, ("fs-1", "vision", 6), ("fs-1", "vision" if is_known else "", 2), ("fs-2", "speech", 100))
    with used(demo_copy):
        test = opened("network_storage", window="7d")
    table = next(each.value for each in test.dataframe if "storage_owned_ratio" in each.value.columns)
    found = table.set_index("resource_id")
    assert found.loc["fs-1", "effective_cost"] == 8
    assert found.loc["fs-1", "storage_owned_ratio"] == pytest.approx(1 if is_known else 0.75)
    assert found.loc["fs-2", "teams"] == "speech"
    assert "[[money.file_systems]]" in said(test), "the simulated estate has storage of nobody's, too"
