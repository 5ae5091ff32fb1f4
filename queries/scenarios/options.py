"""A way to do the same work, what it would cost in an average month, and what is assumed for it."""

from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Final

from queries.scenarios.offers import Offer
from queries.scenarios.owned import Server

RERUN: Final = Decimal("0.10")
"""Work that spot is assumed to do twice where no interruption was measured."""

ONE_YEAR: Final = Decimal("0.25")
THREE_YEARS: Final = Decimal("0.45")
"""What commitments are assumed to take off the on-demand price; neither a bill nor a list says it."""


@dataclass(frozen=True)
class Assumptions:
    """What is not measured and not on a list; each of them is shown beside what follows from it.

    `accelerator` is '' for the present one; `speed` is how much of its work an hour of the other does.
    `rerun_ratio` is null for what was measured; discounts of commitments that nobody states are null: what is then
    assumed is told. `rent` names the offer that the rest is rented at, '' for the best.
    """

    basis: str = "held"
    accelerator: str = ""
    speed: Decimal = Decimal(1)
    rerun_ratio: Decimal | None = None
    spot_discount: Decimal | None = None
    one_year_discount: Decimal | None = None
    three_year_discount: Decimal | None = None
    rent: str = ""
    server: Server | None = None


@dataclass(frozen=True)
class Option:
    """One way to do the work, for an average month, in `billing_currency`.

    `unit_price` is as listed, for an hour of a server, or a month of an owned one. `base_count` servers are paid in
    every hour; `break_even` is from which share of hours in use such a base costs less than to rent by the hour.
    `line` is how it is called beside others that are paid in every hour.
    Nulls: `month_cost` where something has no price; `reason` then says what.
    """

    kind: str
    name: str
    billing_currency: str
    month_cost: Decimal | None
    offer: Offer | None = None
    server: Server | None = None
    base_count: int = 0
    base_gpu_count: int = 0
    rented_hours: Fraction = Fraction(0)
    all_rented_cost: Decimal | None = None
    all_base_cost: Decimal | None = None
    break_even: Fraction | None = None
    assumptions: tuple[str, ...] = ()
    reason: str = ""
    line: str = ""
    is_estimate: bool = True
    is_safe: bool = True
    is_price_assumed: bool = False
