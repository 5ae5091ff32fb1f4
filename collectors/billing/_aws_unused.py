"""What of a commitment AWS says was not used: a row of its own, beside the line that bills the commitment.

A reservation's monthly fee has the unused part of its prepayment and of its fee; a savings plan's hourly fee has what
was committed and what was used. A fee that was used up has no such row.
"""

from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction
from typing import Final

import polars as pl

from ledger import money
from ledger.money import MoneyError

_FEES: Final = ("RIFee", "SavingsPlanRecurringFee")
_RESERVATION: Final = (
    ("reservationnetunusedamortizedupfrontfeeforbillingperiod", "reservationunusedamortizedupfrontfeeforbillingperiod"),
    ("reservationnetunusedrecurringfee", "reservationunusedrecurringfee"),
)
_PLAN: Final = ("amortizedupfrontcommitmentforbillingperiod", "recurringcommitmentforbillingperiod")

Line = Mapping[str, str | None]


def unused_rows(rows: pl.DataFrame, lines: pl.DataFrame) -> pl.DataFrame:
    """Return the rows of unused commitment that the lines of a report state, in the shape of `lines`."""
    found: dict[int, str] = {}
    fees = rows.with_row_index("row").filter(pl.col("lineitemlineitemtype").is_in(_FEES))
    for line in fees.iter_rows(named=True):
        amount = unused(line)
        if amount:
            found[line["row"]] = money.written(amount)
    amounts = pl.DataFrame(
        {"row": list(found), "unused": list(found.values())}, schema={"row": pl.UInt32, "unused": pl.String}
    )
    nothing = pl.lit(None, dtype=pl.String)
    return (
        lines.join(amounts, on="row", how="inner", maintain_order="left")
        .with_columns(
            pl.lit("0").alias("BilledCost"),
            pl.col("unused").alias("EffectiveCost"),
            nothing.alias("ListCost"),
            nothing.alias("ContractedCost"),
            pl.lit("Usage").alias("ChargeCategory"),
            nothing.alias("ChargeClass"),
            pl.lit("Usage-Based").alias("ChargeFrequency"),
            pl.lit("Committed").alias("PricingCategory"),
            pl.lit("Unused").alias("CommitmentDiscountStatus"),
            pl.concat_str(pl.lit("Unused: "), pl.col("ChargeDescription").fill_null("")).alias("ChargeDescription"),
        )
        .select(lines.columns)
    )


def unused(line: Line) -> Decimal | None:
    """Return what a fee's line states as not used, after discounts where it states that; null where it says nothing."""
    if line["lineitemlineitemtype"] == "RIFee":
        parts = [
            next((each for name in names if (each := _amount(line, name)) is not None), None) for names in _RESERVATION
        ]
        known = [each for each in parts if each is not None]
        return money.add(*known) if known else None
    committed, used = _amount(line, "savingsplantotalcommitmenttodate"), _amount(line, "savingsplanusedcommitment")
    if committed is None or used is None:
        return None
    left = money.difference(committed, used)
    return money.priced(left, _discounted(line))


def _discounted(line: Line) -> Fraction:
    """Return which part of a plan's commitment is paid after discounts; all of it where the line names none."""
    before = [_amount(line, f"savingsplan{name}") for name in _PLAN]
    after = [_amount(line, f"savingsplannet{name}") for name in _PLAN]
    whole = sum((Fraction(each) for each in before if each is not None), Fraction(0))
    if not whole or all(each is None for each in after):
        return Fraction(1)
    return sum((Fraction(each) for each in after if each is not None), Fraction(0)) / whole


def _amount(line: Line, name: str) -> Decimal | None:
    text = line[name]
    if text is None:
        return None
    try:
        return money.parse(text).amount
    except MoneyError:
        return None
