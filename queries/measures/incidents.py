"""How many held devices idle for too long, who takes care of them, and what they cost so far."""

from typing import Final

import polars as pl

from queries.measure import Amount, Measure

_ROWS: Final = ("idle_incident",)


def _standing(name: str, title: str, means: str, *status: str) -> Measure:
    return Measure(f"{name}_incident_count", title, means, _ROWS, "count", pl.col("status").is_in(status).sum())


NOT_DECIDED: Final = _standing(
    "undecided", "Open incidents", "Devices that idle and that nobody has looked at.", "open"
)
CARED_FOR: Final = _standing(
    "cared_for",
    "Taken care of",
    "Devices that idle, of which somebody knows: acknowledged or snoozed.",
    "acknowledged",
    "snoozed",
)
EXEMPT: Final = _standing(
    "exempt", "Exempt", "Devices that may idle for now; their time is idle all the same.", "exempt"
)
LASTING_COST: Final = Amount(
    "incident_effective_cost",
    "Cost so far",
    "Effective cost of the idleness that lasts, exempt or not, since each incident opened.",
    _ROWS,
    "effective_cost",
    pl.col("closed_at").is_null(),
)
