"""What was bought in advance: what of it is used and wasted, what it saves, and what else could be covered."""

from typing import Final

import polars as pl

from ledger.expressions import total
from queries.measure import Amount, Measure, Part, UnitCost

_MONTH_HOURS: Final = 730

COMMITTED_COST: Final = Amount(
    "committed_cost",
    "Committed",
    "Amortised cost of all commitments: reservations, savings plans, committed use, capacity blocks.",
    ("commitment_costs",),
    "committed_cost",
)
COMMITMENT_USED: Final = Part(
    "commitment_used_ratio",
    "Used",
    "Amortised cost of what commitments covered, against all of their amortised cost, where the bill states all of it.",
    Amount(
        "commitment_used_cost",
        "Used commitments",
        "Amortised cost of the usage that commitments covered.",
        ("commitment_costs",),
        "used_cost",
        pl.col("committed_cost").is_not_null(),
    ),
    COMMITTED_COST,
)
COMMITMENT_WASTE: Final = Amount(
    "commitment_unused_cost",
    "Wasted",
    "Amortised cost of commitments in hours in which nothing used them.",
    ("commitment_costs",),
    "unused_cost",
)
USE_UNSTATED: Final = Measure(
    "commitment_used_unstated_count",
    "Use not stated",
    "Charges of covered usage whose amortised cost the bill does not state: they are no part of what was used.",
    ("commitment_costs",),
    "count",
    total("used_unstated_count"),
)
WASTE_UNSTATED: Final = Measure(
    "commitment_unused_unstated_count",
    "Waste not stated",
    "Charges of unused commitments whose amortised cost the bill does not state: they are no part of what was wasted.",
    ("commitment_costs",),
    "count",
    total("unused_unstated_count"),
)
COMMITMENT_SAVING: Final = Amount(
    "commitment_net_saving_cost",
    "Saved against list",
    "List price of what commitments covered, less all of their amortised cost, waste included.",
    ("commitment_costs",),
    "net_saving_cost",
)
MISSED: Final = Amount(
    "missed_cover_cost",
    "Wasted beside on demand",
    "Unused commitment of days on which servers of the same provider ran on demand, at most what those cost.",
    ("missed_cover",),
    "missed_cost",
)
COVERED: Final = Part(
    "commitment_coverage_ratio",
    "Covered",
    "List price of usage that commitments covered, against that of all usage that they could cover. Spot is neither.",
    Amount(
        "covered_list_cost",
        "Covered usage",
        "List price of usage that commitments covered.",
        ("coverable",),
        "covered_list_cost",
    ),
    Amount(
        "eligible_list_cost",
        "Usage that could be covered",
        "List price of usage that commitments cover or could cover.",
        ("coverable",),
        "eligible_list_cost",
    ),
)
ON_DEMAND_COST: Final = Amount(
    "on_demand_cost",
    "On demand",
    "Effective cost of servers at standard prices that no commitment covers.",
    ("coverable",),
    "on_demand_cost",
)
COVERABLE_MONTH: Final = UnitCost(
    "coverable_month",
    "Steady, a month",
    "What runs on demand around the clock and could be covered: the cheapest hour, times 730 hours of a month.",
    Amount(
        "steady_hour_cost",
        "Runs around the clock",
        "On-demand cost of the cheapest hour of all days that the bill covers.",
        ("coverable",),
        "steady_hour_cost",
    ),
    pl.lit(1),
    _MONTH_HOURS,
)

OWNED_COST: Final = Amount(
    "owned_cost", "Owned", "What owned hardware cost to have.", ("owned_hardware",), "effective_cost"
)
OWNED_UNUSED: Final = Part(
    "owned_unused_ratio",
    "Owned, not held",
    "Cost of owned hardware in time in which no job held it, against all of its cost.",
    Amount(
        "owned_unused_cost",
        "Owned, not held",
        "Cost of owned hardware in time in which no job held it.",
        ("owned_hardware",),
        "unheld_cost",
    ),
    OWNED_COST,
)
