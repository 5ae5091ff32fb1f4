"""Charges that stand beside the parts into which their provider divided them (FOCUS 1.3 and later).

A row with an AllocatedMethodId is a part of a charge and stands in its place. A delivery that has both counts the
charge twice; which of the two is the bill, a program cannot know: it is told, and nothing is left out.
"""

from dataclasses import dataclass, field
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
_COSTS: Final = ("BilledCost", "EffectiveCost")
_KEY: Final = ("charge", "is_part")


@dataclass
class Divided:
    """What charges of resources cost whole, and what in parts, while a delivery is read: a part may stand anywhere.

    A charge is kept as a hash: a delivery has millions of them.
    """

    met: list[pl.DataFrame] = field(default_factory=list)
    has_parts: bool = False

    def see(self, charges: Charges, cells: Cells, first_index: int) -> None:
        """Note the charges of some rows of a file."""
        if not cells.has("AllocatedMethodId"):
            return
        places = (charges.frame["row_index"] - first_index).cast(pl.UInt32)
        is_part = cells.text("AllocatedMethodId").gather(places).is_not_null()
        self.has_parts = self.has_parts or bool(is_part.any())
        rows = charges.frame.select(
            charges.frame.select(_SAME).hash_rows().alias("charge"), is_part.alias("is_part"), "ResourceId", *_COSTS
        )
        self.met.append(money.summed(rows.drop_nulls("ResourceId"), by=_KEY, columns=_COSTS))

    def remarks(self) -> tuple[str, ...]:
        """Say how many charges are there whole and in parts that sum to them, if any are."""
        if not self.has_parts:
            return ()
        sums = money.summed(pl.concat(self.met), by=_KEY, columns=_COSTS)
        wholes, parts = sums.filter(~pl.col("is_part")), sums.filter("is_part")
        both = wholes.join(parts, on=["charge", *_COSTS], nulls_equal=True)
        count = both.filter(pl.any_horizontal(pl.col(_COSTS) != 0)).height
        if not count:
            return ()
        remark = (
            f"found {amount(count, 'charge')} beside the parts that AllocatedMethodId divides, counted twice; "
            "export the parts in place of the whole, or none of them"
        )
        return (remark,)
