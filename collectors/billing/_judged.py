"""Which rows of a bill are no charge: nothing is refused for its sign or size."""

from datetime import timedelta
from typing import Final

import polars as pl

from collectors.billing._cells import Cells
from ledger.names import CHARGE_CATEGORIES

MANDATORY: Final = (
    "BilledCost",
    "BillingAccountId",
    "BillingCurrency",
    "BillingPeriodStart",
    "BillingPeriodEnd",
    "ChargePeriodStart",
    "ChargePeriodEnd",
    "ChargeCategory",
    "ServiceProviderName",
)

_CURRENCY: Final = r"^[A-Z]{3}$"

# The longest that is sold: usage is paid in advance for five years at most, and bought or leased for less than fifty.
_LONGEST_USAGE: Final = timedelta(days=5 * 366)
_LONGEST: Final = timedelta(days=50 * 366)


def judge(cells: Cells, frame: pl.DataFrame) -> None:
    """Refuse the rows that are no charge; `frame` has their values."""
    for name in MANDATORY:
        cells.need(name, frame[name], "a value in every row")
    cells.among("ChargeCategory", frame["ChargeCategory"], CHARGE_CATEGORIES)
    if wrong := pl.arg_where(~frame["BillingCurrency"].str.contains(_CURRENCY), eager=True).to_list():
        written = pl.select(pl.coalesce(cells.text("BillingCurrency"), frame["BillingCurrency"])).to_series()
        for index in wrong:
            cells.refuse(index, "BillingCurrency", written[index], "three letters of ISO 4217")
    _judge_periods(cells, frame)


def _judge_periods(cells: Cells, frame: pl.DataFrame) -> None:
    """Refuse periods without length or that run backwards, and charges that last longer than anything that is sold.

    Of such a charge one instant is wrong, and which is not known. Spread over centuries, most of its cost would be in
    years that nobody looks at.
    """
    length = frame["ChargePeriodEnd"] - frame["ChargePeriodStart"]
    is_usage = frame["ChargeCategory"] == "Usage"
    wrong = (
        (
            "BillingPeriodEnd",
            frame["BillingPeriodEnd"] <= frame["BillingPeriodStart"],
            "an end after BillingPeriodStart",
        ),
        ("ChargePeriodEnd", length < timedelta(0), "ChargePeriodStart or later"),
        (
            "ChargePeriodEnd",
            is_usage & (length > _LONGEST_USAGE),
            "at most five years of usage after ChargePeriodStart",
        ),
        ("ChargePeriodEnd", length > _LONGEST, "at most fifty years after ChargePeriodStart"),
    )
    for name, is_wrong, expected in wrong:
        for index in pl.arg_where(is_wrong, eager=True).to_list():
            cells.refuse(index, name, frame[name][index], expected)
