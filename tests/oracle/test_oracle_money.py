"""Costs, allocations and reconciliation against bills read literally, charge by charge, on drawn bills.

Several bills are computed in one call, since most of a call's time does not depend on its rows. Each of them is a
case of its own, of another provider and cluster, and is compared to the last unit of 1e-18.
"""

import os
from collections import Counter

from hypothesis import HealthCheck, Phase, given, settings

from tests.oracle import bills as drawing
from tests.oracle.bills import Bills
from tests.oracle.money_frames import check_bills, computed, tables

CI = bool(os.environ.get("CI"))
TOGETHER = 5
EXAMPLES = 200 if CI else 12

# A failing case is the same in each run; shrinking it takes minutes and is asked for.
PHASES = (Phase.generate, Phase.shrink) if os.environ.get("ORACLE_SHRINK") else (Phase.generate,)


def test_costs_allocations_and_invoices_are_those_of_the_charges_and_each_kind_is_drawn() -> None:
    drawn: Counter[str] = Counter()

    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        deadline=None,
        database=None,
        phases=PHASES,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    @given(drawing.bills(TOGETHER))
    def compare(found: Bills) -> None:
        drawn.update({"case": len(found.bills), **dict.fromkeys(found.kinds, 1)})
        check_bills(found.bills, computed(tables(found.bills)))

    compare()
    assert drawn["case"] >= EXAMPLES * TOGETHER
    assert drawing.KINDS - set(drawn) == set()
