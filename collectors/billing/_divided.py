"""Charges that stand beside the parts into which their provider divided them (FOCUS 1.3 and later).

A row with an AllocatedMethodId is a part of a charge and stands in its place. A file that has both counts the charge
twice; which of the two is the bill, a program cannot know: it is told, and nothing is left out.
"""

from dataclasses import replace
from typing import Final

import polars as pl

from collectors.billing._cells import Cells
from collectors.billing._charges import Charges
from ledger import money
from ledger.words import amount

COLUMNS: Final = frozenset({"allocatedmethodid"})

_SAME: Final = (
    "ResourceId",
    "ChargePeriodStart",
    "ChargePeriodEnd",
    "ChargeCategory",
    "SkuId",
    "SkuPriceId",
    "BillingCurrency",
)


def told(charges: Charges, cells: Cells, first_index: int) -> Charges:
    """Return charges with a remark where some of them are there whole and in parts that sum to them."""
    if not cells.has("AllocatedMethodId"):
        return charges
    method = cells.text("AllocatedMethodId")
    places = (charges.frame["row_index"] - first_index).cast(pl.UInt32)
    rows = charges.frame.with_columns(method.gather(places).is_not_null().alias("is_part"))
    costs = ["BilledCost", "EffectiveCost"]
    parts, wholes = (
        money.summed(rows.filter(mask).drop_nulls("ResourceId"), by=_SAME, columns=costs)
        for mask in (pl.col("is_part"), ~pl.col("is_part"))
    )
    both = wholes.join(parts, on=[*_SAME, *costs], nulls_equal=True).filter(pl.any_horizontal(pl.col(costs) != 0))
    if both.is_empty():
        return charges
    remark = (
        f"found {amount(both.height, 'charge')} beside the parts that AllocatedMethodId divides, counted twice; "
        "export the parts in place of the whole, or none of them"
    )
    return replace(charges, remarks=(*charges.remarks, remark))
