"""Every number that a person sees: its heading and unit, how it is computed from rows, and what it means.

A measure is computed from the answer to its question and no other way: a page and the weekly mail say the same number.
A ratio is a sum against a sum, never a mean of ratios; what nobody measured is null, never 0; money is summed exactly
and stays apart by currency. `queries.measure` takes the numbers.
"""

from collections.abc import Iterator, Mapping

from queries.measure import Amount, Measure, Part, UnitCost
from queries.measures import carbon, commitments, foresight, gpu_time, health, incidents, invoices, per_unit, spending

Kind = Measure | Amount | Part | UnitCost


def catalogue() -> Mapping[str, Kind]:
    """Return all measures by name."""
    return {
        each.name: each
        for module in (gpu_time, spending, commitments, carbon, per_unit, foresight, health, incidents, invoices)
        for each in _measures(module)
    }


def _measures(module: object) -> Iterator[Kind]:
    for found in vars(module).values():
        family = found.values() if isinstance(found, Mapping) else (found,)
        yield from (each for each in family if isinstance(each, Kind))
