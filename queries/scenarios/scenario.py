"""All ways to do one kind of work beside each other, and the cheapest of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from fractions import Fraction

from ledger import money
from queries.scenarios import ways
from queries.scenarios.demand import Demand
from queries.scenarios.offers import STANDARD, Convert, Offer, Unpriced
from queries.scenarios.options import RERUN, Assumptions, Option
from queries.scenarios.work import Work


@dataclass(frozen=True)
class Scenario:
    """All ways to do one kind of work; `rent` is the offer that the others are held against.

    Nulls: `now` has no cost where bills do not say it; `best` is null where nothing can be compared.
    """

    work: Work
    assumptions: Assumptions
    demand: Demand
    now: Option
    rent: Offer | None
    options: tuple[Option, ...]
    unpriced: tuple[Unpriced, ...]
    rerun_ratio: Decimal
    is_rerun_measured: bool

    @property
    def accelerator(self) -> str:
        """The kind of GPU that it would run on."""
        return self.assumptions.accelerator or self.work.accelerator

    @property
    def best(self) -> Option | None:
        """The cheapest way that nobody interrupts and whose price somebody names, what there is now among them."""
        known = (each for each in self.options if each.is_safe and not each.is_price_assumed)
        return self._least([self.now, *known])

    @property
    def best_risky(self) -> Option | None:
        """The cheapest way that may be interrupted."""
        return self._least([each for each in self.options if not each.is_safe])

    @property
    def based(self) -> Option | None:
        """The cheapest way with a base of committed or owned servers; at an assumed price only if there is no other."""
        found = [each for each in self.options if each.base_gpu_count]
        return self._least([each for each in found if not each.is_price_assumed]) or self._least(found)

    def saving(self, option: Option) -> Decimal | None:
        """Return by how much an option costs less in a month than what there is now; null where either is unknown."""
        if option.month_cost is None or self.now.month_cost is None:
            return None
        return money.difference(self.now.month_cost, option.month_cost)

    def _least(self, found: Sequence[Option]) -> Option | None:
        known = [(each.month_cost, index) for index, each in enumerate(found) if each.month_cost is not None]
        return found[min(known)[1]] if known else None


def scenario(
    work: Work,
    offered: Sequence[Offer],
    assumptions: Assumptions,
    interrupted_ratio: Decimal | None,
    worth: Convert,
    on: date,
) -> Scenario:
    """Price one kind of work in all ways that there are prices for; `interrupted_ratio` is what was measured of it."""
    target = assumptions.accelerator or work.accelerator
    # A millisecond of work takes longer on what is slower.
    demand = work.demand(assumptions.basis).times(1 / Fraction(assumptions.speed))
    fitting = [each for each in offered if each.accelerator == target and each.price is not None]
    rent = ways.reference(work, fitting, demand, assumptions.rent)
    measured = interrupted_ratio or None
    rerun = assumptions.rerun_ratio if assumptions.rerun_ratio is not None else measured or RERUN
    told = [ways.assumed_work(work, assumptions, target)]
    found: list[Option] = []
    missing: list[Unpriced] = []
    found += ways.rented(work, fitting, demand, told)
    is_measured = assumptions.rerun_ratio is None and measured is not None
    found += ways.spot(work, fitting, rent, demand, (assumptions.spot_discount, rerun, is_measured), told, missing)
    found += ways.committed(work, fitting, rent, demand, assumptions, told)
    found += ways.owned(work, rent, demand, assumptions.server, worth, on, told, missing)
    if not any(each.category in STANDARD for each in fitting):
        missing.append(Unpriced(f"{target} on demand", "no price list or bill names a price"))
    return Scenario(
        work,
        assumptions,
        demand,
        ways.now(work, rent, assumptions.speed),
        rent,
        tuple(found),
        tuple(missing),
        rerun,
        is_measured,
    )
