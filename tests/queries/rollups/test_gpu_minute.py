"""What samples say of a device's minutes: means, counters spread over their steps, and which minutes have a row."""

from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import accumulate, pairwise
from statistics import fmean
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

Spans = Callable[..., Any]
Minutes = Callable[[float], datetime]

NODE = {"cluster": "c", "node": "n"}


def samples(minute: Minutes, *rows: dict[str, Any]) -> list[dict[str, Any]]:
    """Return a sample every half minute, each with its own values."""
    fixed = {**NODE, "gpu_uuid": "G", "status": "ok", "step_seconds": 30.0, "evidence_quality": "A"}
    return [{**fixed, "sampled_at": minute(number / 2), **row} for number, row in enumerate(rows)]


def test_means_are_weighted_by_time_and_counters_are_spread_over_their_step(
    ledger: Any, hours: Spans, minute: Minutes
) -> None:
    mine = ledger()
    rows = samples(
        minute,
        {"graphics_active_ratio": 0.2, "energy_joules_total": 100.0, "memory_used_bytes": 5.0, "power_watts": 100.0},
        {"graphics_active_ratio": 0.6, "energy_joules_total": 400.0, "memory_used_bytes": 9.0},
        {"graphics_active_ratio": 1.0, "energy_joules_total": 1000.0, "memory_used_bytes": 7.0},
        {"graphics_active_ratio": 0.0, "energy_joules_total": 4.0},
    )
    rows[3]["sampled_at"] = minute(2.25)
    mine.add("gpu_sample", rows)
    found = mine.compute("gpu_minute", hours(1)).to_dicts()
    assert [row["minute_start"] for row in found] == [minute(0), minute(1), minute(2)], "the rest was not observed"
    first, second, third = found
    assert first["graphics_active_ratio"] == pytest.approx(0.4)
    assert first["energy_joules"] == pytest.approx(900)
    assert first["memory_used_bytes"] == 9
    assert first["power_watts"] == 100
    assert first["kernel_active_ratio"] is None
    assert second["observed_seconds"] == 60
    assert second["energy_joules"] is None, "the counter was reset"
    assert third["observed_seconds"] == 15
    assert third["graphics_active_ratio"] == 1


def test_minutes_of_a_gap_have_no_row_and_those_at_its_edges_say_what_was_observed(
    ledger: Any, hours: Spans, minute: Minutes
) -> None:
    mine = ledger()
    times = (-0.25, 0.25, 0.75, 4.5, 5.0, 6.5, 59.75, 60.25)
    fixed = {**NODE, "gpu_uuid": "G", "status": "ok", "step_seconds": 30.0}
    mine.add("gpu_sample", [{**fixed, "sampled_at": minute(time), "power_watts": 100.0} for time in times])
    found = mine.compute("gpu_minute", hours(1)).to_dicts()
    observed = {row["minute_start"]: row["observed_seconds"] for row in found}
    assert observed == {
        minute(0): Decimal(45), minute(4): Decimal(30), minute(5): Decimal(60), minute(6): Decimal(30),
        minute(59): Decimal(15),
    }  # fmt: skip
    later = mine.compute("gpu_minute", hours(1, first=1)).to_dicts()
    assert [(row["minute_start"], row["observed_seconds"]) for row in later] == [(minute(60), Decimal(15))]


def test_the_last_milliseconds_at_the_power_limit_are_kept(ledger: Any, hours: Spans, minute: Minutes) -> None:
    mine = ledger()
    capped = (0.0, 0.001, 7.126, 7.126)
    fixed = {**NODE, "gpu_uuid": "G", "status": "ok", "step_seconds": 40.0}
    mine.add(
        "gpu_sample",
        [
            {**fixed, "sampled_at": minute(0) + timedelta(seconds=40 * place), "power_cap_seconds_total": each}
            for place, each in enumerate(capped)
        ],
    )
    found = mine.compute("gpu_minute", hours(1))["power_capped_seconds"].to_list()
    # The second step reaches over the minute's end: half of its 7,125 milliseconds lie on either side.
    assert found == [Decimal("0.001") + Decimal("3.562"), Decimal("3.563")]


WAYS = ("pcie_transmit", "pcie_receive", "nvlink_transmit", "nvlink_receive")


WIDE = 2.0**40


def carried(counters: float | None, rates: float | None, number: int, first: float = WIDE) -> dict[str, Any]:
    """Return what one sample says of all four ways: counters that grow so much a second, and profiling's mean."""
    by_counter = {} if counters is None else {f"{way}_bytes_total": first + counters * 30 * number for way in WAYS}
    return by_counter | ({} if rates is None else {f"{way}_bytes_per_second": rates for way in WAYS})


@pytest.mark.parametrize(
    ("counters", "rates", "pcie", "nvlink"),
    [
        (100.0, None, 200.0, 200.0),
        (None, 70.0, 140.0, 140.0),
        # PCIe's counter may be narrow elsewhere; NVLink's is exact.
        (100.0, 70.0, 140.0, 200.0),
        (None, None, None, None),
        # A mean that no link can carry is none.
        (100.0, 5e14, 200.0, 200.0),
    ],
)
def test_links_are_measured_by_counters_or_by_profiling(
    ledger: Any, hours: Spans, minute: Minutes, counters: float | None, rates: float | None,
    pcie: float | None, nvlink: float | None,
) -> None:  # fmt: skip
    mine = ledger()
    mine.add("gpu_sample", samples(minute, *(carried(counters, rates, number) for number in range(3))))
    (found,) = mine.compute("gpu_minute", hours(1)).to_dicts()
    assert found["pcie_bytes_per_second"] == (None if pcie is None else pytest.approx(pcie))
    assert found["nvlink_bytes_per_second"] == (None if nvlink is None else pytest.approx(nvlink))


def test_a_pcie_counter_that_may_be_narrow_says_nothing_and_one_that_cannot_be_does(
    ledger: Any, hours: Spans, minute: Minutes
) -> None:
    mine = ledger()
    rows = (carried(2.0**32 / 90, None, number, first=0.0) for number in range(7))
    mine.add("gpu_sample", samples(minute, *rows))
    found = mine.compute("gpu_minute", hours(1)).to_dicts()
    # The counter passes 32 bits at the end of the third step: at the end of the first half of the second minute.
    both = pytest.approx(2 * 2.0**32 / 90)
    assert [row["pcie_bytes_per_second"] for row in found] == [None, both, both]
    assert [row["nvlink_bytes_per_second"] for row in found] == [both] * 3


MOST = 128 * 10**9
"""The fastest link of today, one way, in bytes per second."""


@given(
    rates=st.lists(st.one_of(st.just(0), st.integers(0, 10**9), st.integers(0, MOST)), min_size=4, max_size=12),
    first=st.one_of(st.integers(0, 2**34), st.just(2**32 - 1), st.just(2**40)),
    width=st.sampled_from([32, 64]),
    is_reset=st.booleans(),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_pcie_counter_that_wraps_never_makes_a_rate_that_is_not_true(
    rates: list[int], first: int, width: int, is_reset: bool, ledger: Any, hours: Spans, minute: Minutes
) -> None:
    """Each step has its own rate; the counter shows as many bits as it has, and may begin anew half way."""
    true = [first, *accumulate((rate * 30 for rate in rates), initial=first)][1:]
    half = len(true) // 2
    begun = [true[half] if is_reset and number >= half else 0 for number in range(len(true))]
    shown = [(count - since) % 2**width for count, since in zip(true, begun, strict=True)]
    rows = ({"pcie_transmit_bytes_total": float(each), "pcie_receive_bytes_total": WIDE} for each in shown)
    mine = ledger()
    mine.add("gpu_sample", samples(minute, *rows))
    found = mine.compute("gpu_minute", hours(1))["pcie_bytes_per_second"].to_list()
    # Two steps a minute; a step counts where the counter did not begin anew in it and shows more than 32 bits after it.
    known = [
        rate if after >= 2**32 and after >= before else None
        for rate, (before, after) in zip(rates, pairwise(shown), strict=True)
    ]
    expected = [[rate for rate in known[place : place + 2] if rate is not None] for place in range(0, len(known), 2)]
    assert found == [pytest.approx(fmean(each)) if each else None for each in expected]
    if width == 32:
        assert set(found) == {None}
    elif first >= 2**32 and not is_reset:
        assert None not in found


def test_profilings_mean_is_of_the_time_before_its_sample(ledger: Any, hours: Spans, minute: Minutes) -> None:
    mine = ledger()
    rates = (9e9, 10.0, 20.0, 40.0, 80.0)
    mine.add("gpu_sample", samples(minute, *(carried(None, rate, number) for number, rate in enumerate(rates))))
    found = mine.compute("gpu_minute", hours(1))["pcie_bytes_per_second"].to_list()
    assert found == [pytest.approx(2 * 15.0), pytest.approx(2 * 60.0)], "the first is of a time that nobody asked about"


def test_profiling_fills_what_a_reset_takes_from_nvlinks_counter(ledger: Any, hours: Spans, minute: Minutes) -> None:
    mine = ledger()
    rows = [carried(100.0, 70.0, number) for number in (5, 0, 1)]
    mine.add("gpu_sample", samples(minute, *rows))
    (found,) = mine.compute("gpu_minute", hours(1))["nvlink_bytes_per_second"].to_list()
    assert found == pytest.approx((140.0 + 200.0) / 2)
