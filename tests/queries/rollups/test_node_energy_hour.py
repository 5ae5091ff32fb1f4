"""The energy of whole nodes, by one of their meters: nothing is made up, nothing is counted twice."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.tables import NodeEnergyHour, PowerSample
from queries.graph import Span
from queries.rollups.node_energy_hour import node_energy_hour
from tests.bills import rows
from tests.frames import validated

HOUR = datetime(2026, 11, 20, 5, tzinfo=UTC)


def reading(minute: float, watts: float | None = None, joules: float | None = None, **given: Any) -> dict[str, Any]:
    row = {
        "sampled_at": HOUR + timedelta(minutes=minute), "cluster": "c", "node": "a1", "boot_id": "b",
        "step_seconds": 60.0, "power_source": "ipmi:dcmi" if joules is None else "cray:node", "scope": "node",
        "power_watts": watts, "energy_joules_total": joules,
    }  # fmt: skip
    return row | given


def hours(readings: list[dict[str, Any]], length: int = 3) -> pl.DataFrame:
    span = Span(HOUR - timedelta(hours=1), HOUR + timedelta(hours=length - 1), HOUR + timedelta(hours=9))
    made = node_energy_hour.function(meters=rows(PowerSample, readings).lazy(), span=span)
    return validated(NodeEnergyHour, made.collect())


def test_a_draw_holds_until_it_is_read_again() -> None:
    made = hours([reading(0, 1000), reading(1, 3000), reading(2, 500)])
    assert made.row(0, named=True) == {
        "hour_start": HOUR,
        "cluster": "c",
        "node": "a1",
        "power_source": "ipmi:dcmi",
        "energy_joules": 60 * 1000.0 + 60 * 3000.0,
        "measured_seconds": Decimal(120),
    }


def test_a_step_over_the_hour_is_divided_by_time() -> None:
    made = hours([reading(59.75, joules=0), reading(60.75, joules=4000)])
    assert made.select("hour_start", "energy_joules", "measured_seconds").rows() == [
        (HOUR, 1000.0, Decimal(15)),
        (HOUR + timedelta(hours=1), 3000.0, Decimal(45)),
    ]


def test_gaps_resets_boots_and_other_nodes_add_nothing() -> None:
    gap = [reading(0, 1000), reading(10, 1000)]
    reset = [reading(20, joules=9000), reading(21, joules=5)]
    boot = [reading(30, 1000, boot_id="b"), reading(31, 1000, boot_id="other")]
    silent = [reading(40, None), reading(41, 1000)]
    other = [reading(50, 1000, node="a2")]
    assert hours([*gap, *reset, *boot, *silent, *other]).is_empty()


def test_a_step_that_an_hour_alone_would_not_see_adds_nothing() -> None:
    slow = [reading(50, 1000, step_seconds=600.0), reading(65, 1000, step_seconds=600.0)]
    assert hours(slow)["measured_seconds"].to_list() == [Decimal(600), Decimal(300)]
    slower = [reading(50, 1000, step_seconds=600.0), reading(66, 1000, step_seconds=600.0)]
    assert hours(slower).is_empty()


def test_of_several_meters_one_counts() -> None:
    """Two meters see one draw; the one that counts energy goes first, unless it saw much less of the hour."""
    gauges = [reading(minute, 1000) for minute in range(61)]
    counters = [reading(minute, joules=66_000.0 * minute) for minute in range(61)]
    both = hours([*gauges, *counters])
    assert both.select("power_source", "energy_joules").rows() == [("cray:node", 66_000.0 * 60)]
    short = hours([*gauges, *counters[:30]])
    assert short.select("power_source", "energy_joules").rows() == [("ipmi:dcmi", 60_000.0 * 60)]


@given(
    st.lists(st.tuples(st.integers(1, 170), st.floats(0, 5000)), min_size=2, max_size=80),
    st.randoms(use_true_random=False),
)
def test_hours_apart_and_any_order_give_the_same_and_no_joule_is_lost(
    steps: list[tuple[int, float]], random: Any
) -> None:
    readings, minute = [], 0.0
    for seconds, watts in steps:
        readings.append(reading(minute, watts))
        minute += seconds / 60
    made = hours(readings, 6)
    held = sum(watts * after for (_, watts), (after, _) in zip(steps, steps, strict=True) if after)
    held -= steps[-1][1] * steps[-1][0]
    assert made["energy_joules"].sum() == pytest.approx(held)
    assert float(sum(made["measured_seconds"])) == pytest.approx(sum(seconds for seconds, _ in steps[:-1]), abs=0.1)
    random.shuffle(readings)
    assert hours(readings, 6).equals(made)
    assert hours(readings, 2).equals(made.filter(pl.col("hour_start") < HOUR + timedelta(hours=1)))
