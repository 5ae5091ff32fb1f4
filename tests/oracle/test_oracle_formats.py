"""Bills that are drawn once and written in the words of each format: what is read is what was drawn, to the digit."""

from collections import Counter
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from collectors.billing._format import Imported
from collectors.billing._rates import stated
from collectors.billing._read import read_bill
from ledger import money
from ledger.money_sections import RateCard
from ledger.tables import FocusCharge
from tests.oracle.bills_written import FORMATS, KINDS, Format, Line, Sums, drawn, truth
from tests.oracle.faults import LAST_UNIT
from tests.oracle.searching import CI

TOGETHER = 70
FILES = 6 if CI else 1
"""At least 5,000 bills in CI: so many accounts in a file, and so many files of each format."""

CARDS = tuple(
    RateCard(provider="Cloud", sku="H100", unit_price=Decimal(1), currency=code)
    for code in ("USD", "EUR", "JPY", "CNY")
)


def read(folder: Path, form: Format, lines: list[Line]) -> Imported:
    found = read_bill(form.write(folder, lines), prices=lambda: stated(CARDS))
    FocusCharge.validate(found.tables[FocusCharge])
    return found


def charged(charges: pl.DataFrame) -> Sums:
    """Return what was read, as `truth` says it."""
    by = ("BillingAccountId", "ChargeCategory", "status", "ChargePeriodStart", "BillingCurrency", "resource")
    named = charges.with_columns(
        pl.when(ChargeCategory="Usage").then("CommitmentDiscountStatus").fill_null("").alias("status"),
        pl.col("ResourceId").fill_null("").alias("resource"),
    )
    sums = money.summed(named, by=by, columns=["BilledCost", "EffectiveCost"])
    return {
        row[:6]: (row[6], row[7]) for row in sums.select(*by, "BilledCost", "EffectiveCost").rows() if row[6] or row[7]
    }


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("seed", range(FILES))
def test_each_format_tells_what_was_charged(tmp_path: Path, name: str, seed: int) -> None:
    form = FORMATS[name]
    lines = drawn(seed, TOGETHER, form.kinds)
    found = read(tmp_path, form, lines)
    assert found.rejected == ()
    assert charged(found.tables[FocusCharge]) == truth(lines, form)
    billed: Counter[tuple[str, str]] = Counter()
    for each in lines:
        billed[each.account, each.currency] += each.billed if form.is_billed else 0  # type: ignore[assignment]  decimals
    stated_sums = found.imports.select("billing_account_id", "billing_currency", "billed_cost").rows()
    assert {(account, code): cost for account, code, cost in stated_sums} == billed


def test_enough_is_drawn_and_each_kind() -> None:
    assert not CI or len(FORMATS) * FILES * TOGETHER >= 5_000
    assert {each.kind for each in drawn(0, TOGETHER)} == set(KINDS)
    for form in FORMATS.values():
        assert {each.kind for each in drawn(0, TOGETHER, form.kinds)} == set(form.kinds)


@pytest.mark.parametrize("name", FORMATS)
def test_a_bill_in_another_order_is_the_same_bill(tmp_path: Path, name: str) -> None:
    form = FORMATS[name]
    lines = drawn(99, 10, form.kinds)
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    first, second = (
        read(tmp_path / place, form, given).tables[FocusCharge] for place, given in (("a", lines), ("b", lines[::-1]))
    )
    assert charged(first) == charged(second)


_COSTS = ("BilledCost", "EffectiveCost")
FAULTS = {
    "a row lost": {},
    "a last unit too much": {name: pl.col(name) + LAST_UNIT for name in _COSTS},
    "a sign lost": {name: -pl.col(name) for name in _COSTS},
    "another currency": {"BillingCurrency": pl.lit("CHF")},
    "an hour later": {"ChargePeriodStart": pl.col("ChargePeriodStart").dt.offset_by("1h")},
    "another account": {"BillingAccountId": pl.lit("other")},
    "another kind": {"ChargeCategory": pl.lit("Adjustment")},
    "cash for cost": {"BilledCost": pl.col("EffectiveCost") + 1},
    "another machine": {"ResourceId": pl.lit("i-99")},
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("name", FORMATS)
def test_one_wrong_charge_turns_the_comparison_red(tmp_path: Path, name: str, fault: str) -> None:
    form = FORMATS[name]
    lines = drawn(7, 4, form.kinds)
    rows = read(tmp_path, form, lines).tables[FocusCharge]
    assert charged(rows) == truth(lines, form)
    place = rows.select(((pl.col("EffectiveCost") != 0) & (pl.col("ChargeCategory") == "Usage")).arg_max()).item()
    here = pl.int_range(pl.len()) == place
    changes = (
        pl.when(here).then(value.cast(rows.schema[column])).otherwise(pl.col(column)).alias(column)
        for column, value in FAULTS[fault].items()
    )
    wrong = rows.with_columns(changes) if FAULTS[fault] else rows.filter(~here)
    assert charged(wrong) != truth(lines, form)
