"""Offers of lists and bills: which GPU is meant, and what cannot be compared."""

from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import Any

import polars as pl
import pytest

from ledger.money import MONEY
from queries.scenarios.offers import accelerator, offers, unpriced

DAY = date(2026, 11, 1)
SCHEMA = {
    "provider": pl.String, "region": pl.String, "instance_type": pl.String, "price_category": pl.String,
    "billing_currency": pl.String, "unit_price": MONEY, "priced_on": pl.Date, "source": pl.String,
    "gpu_model": pl.String, "gpu_count": pl.Int64, "gpu_memory_bytes": pl.Float64,
}  # fmt: skip


def prices(*rows: dict[str, Any]) -> pl.DataFrame:
    base = {
        "provider": "AWS", "region": "us-east-1", "instance_type": "p5", "price_category": "on_demand",
        "billing_currency": "USD", "unit_price": Decimal(80), "priced_on": DAY, "source": "aws.csv",
        "gpu_model": "h100", "gpu_count": 8, "gpu_memory_bytes": None,
    }  # fmt: skip
    return pl.DataFrame([base | row for row in rows], schema=SCHEMA)


def worth(currency: str, on: date) -> Fraction | None:
    del on
    return {"USD": Fraction(1), "EUR": Fraction("1.1")}.get(currency)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("NVIDIA H100 80GB HBM3", "H100"), ("h100", "H100"), ("NVIDIA A100-SXM4-80GB", "A100"), ("a10g", "A10G"),
        ("NVIDIA A10", "A10"), ("L40S", "L40S"), ("NVIDIA L4", "L4"), ("Tesla T4", "T4"), ("H200", "H200"),
        ("NVIDIA GH200 480GB", "GH200"),
        ("AMD Instinct MI300X", "MI300X"), ("NVIDIA GeForce RTX 4090", "GeForce RTX 4090"),
        (None, ""), ("", ""),
    ],
)  # fmt: skip
def test_lists_and_drivers_name_one_gpu(name: str | None, kind: str) -> None:
    assert accelerator(name) == kind


def test_a_price_is_compared_in_one_currency_and_kept_as_listed() -> None:
    found = offers(prices({}, {"billing_currency": "EUR"}, {"billing_currency": "JPY"}), prices(), worth)
    assert [each.price for each in found] == [80, 88, None]
    assert [each.unit_price for each in found] == [Decimal(80)] * 3
    assert found[1].gpu_price == 11
    assert [each.name for each in unpriced(prices(), found)] == ["Prices in JPY"]


def test_a_list_that_names_no_gpus_is_told() -> None:
    listed = prices({"gpu_model": None}, {"gpu_count": None, "instance_type": "p6"})
    assert offers(listed, prices(), worth) == []
    (told,) = unpriced(listed, [])
    assert told.name == "2 types of AWS"


def test_where_each_price_comes_from_is_said() -> None:
    rates = prices({"price_category": "committed", "unit_price": Decimal(50)}).drop("source")
    listed, card, billed = offers(prices({}, {"price_category": "rate_card", "source": "card.toml"}), rates, worth)
    assert listed.source == "list aws.csv"
    assert card.source == "rate card card.toml"
    assert (billed.source, billed.category, billed.priced_on) == ("bill, committed", "committed", DAY)
