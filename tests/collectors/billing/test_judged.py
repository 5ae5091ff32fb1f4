"""A charge whose period cannot be is told, and its cost stays in what its source says in all."""

from decimal import Decimal
from pathlib import Path

import pytest

from collectors.billing._read import read_bill
from ledger import money
from ledger.errors import InputError
from ledger.tables import FocusCharge
from tests.collectors.billing.aws_bills import line, report
from tests.collectors.billing.bills import bill

CENTURIES = {"ChargePeriodStart": "1990-01-01T00:00:00Z", "ChargePeriodEnd": "2190-01-01T00:00:00Z"}


def test_usage_of_two_centuries_is_refused_and_stays_in_the_total(tmp_path: Path) -> None:
    path = bill(tmp_path / "a.csv", {}, {**CENTURIES, "BilledCost": "40"})
    read = read_bill(path)
    (refused,) = read.rejected
    assert refused.reason == (
        f"{path}: line 3, column ChargePeriodEnd: found '2190-01-01T00:00:00Z', "
        "expected at most five years of usage after ChargePeriodStart"
    )
    stated = read.imports.row(0, named=True)
    assert (stated["billed_cost"], stated["row_count"], stated["rejected_count"]) == (Decimal("41.5"), 1, 1)
    assert money.total(read.tables[FocusCharge]["BilledCost"]) == Decimal("1.5")


@pytest.mark.parametrize(
    ("category", "end", "is_kept"),
    [
        ("Usage", "2029-01-01T00:00:00Z", True),  # a licence of three years
        ("Usage", "2031-01-01T00:00:00Z", True),
        ("Usage", "2031-02-01T00:00:00Z", False),
        ("Purchase", "2036-01-01T00:00:00Z", True),  # a domain name
        ("Purchase", "2076-01-01T00:00:00Z", True),
        ("Purchase", "2077-01-01T00:00:00Z", False),
        ("Tax", "2190-01-01T00:00:00Z", False),
        ("Credit", "2026-01-01T00:00:00Z", True),
    ],
)
def test_a_term_that_is_sold_is_kept(tmp_path: Path, category: str, end: str, is_kept: bool) -> None:
    read = read_bill(bill(tmp_path / "a.csv", {"ChargeCategory": category, "ChargePeriodEnd": end}))
    assert (read.row_count, len(read.rejected)) == ((1, 0) if is_kept else (0, 1))


def test_costs_that_cannot_be_summed_name_their_file(tmp_path: Path) -> None:
    path = bill(tmp_path / "a.csv", *[{"BilledCost": "99999999999999999999.5"}] * 2)
    with pytest.raises(InputError) as caught:
        read_bill(path)
    assert caught.value.message.startswith(f"{path}: BilledCost: the amounts of a group sum to 2e+20, expected ")


def test_a_native_bill_names_its_own_column(tmp_path: Path) -> None:
    path = report(tmp_path / "cur.csv", {}, line(UsageStartDate="1990-01-01T00:00:00Z"))
    (refused,) = read_bill(path).rejected
    assert refused.reason.startswith(f"{path}: line 3, column lineItem/UsageEndDate: found '2026-10-05T01:00:00Z', ")
