import itertools
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from hypothesis import strategies as st

from ledger.tables import NetworkHour, NetworkPortSample
from queries.graph import Span
from queries.rollups.network_hour import network_hour
from tests.frames import validated
from tests.queries.rollups.conftest import on_cases

HOUR = datetime(2026, 11, 20, 5, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def sample(seconds: float, transmit: float | None = None, **more: Any) -> dict[str, Any]:
    return {
        "sampled_at": HOUR + seconds * SECOND,
        "cluster": "c",
        "node": "n",
        "device": "mlx5_0",
        "port": "1",
        "boot_id": "b",
        "step_seconds": 10.0,
        "link_layer": "InfiniBand",
        "line_rate_bytes_per_second": 1000.0,
        "transmit_bytes_total": transmit,
        **more,
    }


def hours(rows: Sequence[Mapping[str, Any]], start: datetime = HOUR, count: int = 1) -> pl.DataFrame:
    types = NetworkPortSample.create_empty().schema
    frame = pl.DataFrame({name: [row.get(name) for row in rows] for name in types}, schema=types, strict=False)
    end = start + timedelta(hours=count)
    return validated(NetworkHour, network_hour.function(frame.lazy(), Span(start, end, end)).collect()).sort(
        "hour_start", "cluster", "device"
    )


def test_bytes_are_the_growth_of_the_counter_and_the_peak_is_the_busiest_step() -> None:
    (row,) = hours(
        [
            sample(0, 0.0, receive_bytes_total=0.0),
            sample(10, 1000.0, receive_bytes_total=9000.0),
            sample(20, 5000.0, receive_bytes_total=9000.0),
        ]
    ).to_dicts()
    assert (row["transmit_bytes"], row["receive_bytes"], row["peak_active_ratio"]) == (5000, 9000, 0.9)
    assert (row["observed_seconds"], row["reset_count"], row["wait_count"]) == (Decimal(20), 0, None)
    assert (row["link_layer"], row["line_rate_bytes_per_second"]) == ("InfiniBand", 1000.0)


def test_a_reset_adds_nothing_and_is_counted() -> None:
    (row,) = hours([sample(0, 1000.0), sample(10, 2000.0), sample(20, 50.0), sample(30, 150.0)]).to_dicts()
    assert (row["transmit_bytes"], row["reset_count"]) == (1100, 1)


def test_a_reboot_and_a_gap_add_nothing() -> None:
    (row,) = hours([sample(0, 0.0), sample(10, 5.0, boot_id="other"), sample(100, 999.0, boot_id="other")]).to_dicts()
    assert (row["transmit_bytes"], row["observed_seconds"]) == (None, Decimal(10))


def test_what_was_not_measured_is_null_and_what_was_zero_is_zero() -> None:
    (row,) = hours([sample(0), sample(10)]).to_dicts()
    assert (row["transmit_bytes"], row["peak_active_ratio"], row["error_count"]) == (None, None, None)
    quiet = {"receive_error_count_total": 3.0}
    (row,) = hours([sample(0, **quiet), sample(10, **quiet)]).to_dicts()
    assert row["error_count"] == 0


def test_errors_of_all_kinds_are_added_and_a_saturated_counter_says_nothing() -> None:
    before = {"symbol_error_count_total": 1.0, "receive_error_count_total": 0.0, "link_downed_count_total": 254.0}
    after = {"symbol_error_count_total": 4.0, "receive_error_count_total": 2.0, "link_downed_count_total": 255.0}
    (row,) = hours([sample(0, **before), sample(10, **after)]).to_dicts()
    assert (row["error_count"], row["link_downed_count"]) == (5, None)


def test_the_step_over_the_hour_counts_where_it_ends() -> None:
    rows = hours([sample(3595, 100.0), sample(3605, 300.0)], count=2)
    assert rows["transmit_bytes"].to_list() == [None, 200.0]
    alone = hours([sample(3595, 100.0), sample(3605, 300.0)], start=HOUR + timedelta(hours=1))
    assert alone["transmit_bytes"].to_list() == [200.0]


steps = st.lists(st.tuples(st.integers(1, 2000), st.integers(0, 10_000)), min_size=1, max_size=40)


@on_cases(steps, random=st.randoms(use_true_random=False))
def test_hours_may_be_computed_apart_and_row_order_does_not_matter(
    cases: list[list[tuple[int, int]]], random: Any
) -> None:
    of_clusters: dict[str, list[dict[str, Any]]] = {}
    for place, drawn in enumerate(cases):
        at, counter = 0, 0
        for wait, grown in drawn:
            at, counter = at + wait, (counter + grown) % 60_000
            of_clusters.setdefault(f"c{place}", []).append(sample(at, float(counter), cluster=f"c{place}"))
    rows = [row for own in of_clusters.values() for row in own]
    last = (max(row["sampled_at"] for row in rows) - HOUR) // timedelta(hours=1) + 1
    whole = hours(rows, count=last)
    shuffled = list(rows)
    random.shuffle(shuffled)
    assert whole.equals(hours(shuffled, count=last))
    apart = []
    for place in range(last):
        start = HOUR + timedelta(hours=place)
        near = [row for row in rows if start - timedelta(minutes=15) <= row["sampled_at"] < start + timedelta(hours=1)]
        apart.append(hours(near, start))
    assert whole.equals(pl.concat(apart))
    for cluster, own in of_clusters.items():
        assert whole.filter(cluster=cluster)["transmit_bytes"].sum() == pytest.approx(_growth(own))


def _growth(rows: Sequence[Mapping[str, Any]]) -> float:
    """Return the growth over all steps that are neither gaps nor resets nor above the line, one by one."""
    grown = 0.0
    for before, after in itertools.pairwise(rows):
        elapsed = (after["sampled_at"] - before["sampled_at"]).total_seconds()
        step = after["transmit_bytes_total"] - before["transmit_bytes_total"]
        if elapsed <= 30 and 0 <= step <= 1.2 * 1000 * elapsed:
            grown += step
    return grown


def test_congestion_and_retransmission_have_columns_of_their_own() -> None:
    counters = {
        "congestion_notification_count_total": 1.0,
        "congestion_handled_count_total": 2.0,
        "congestion_mark_count_total": 4.0,
        "out_of_sequence_count_total": 8.0,
        "sequence_error_count_total": 16.0,
        "acknowledgement_timeout_count_total": 32.0,
        "receiver_not_ready_count_total": 64.0,
        "out_of_buffer_count_total": 128.0,
        "retransmission_count_total": 256.0,
        "symbol_error_count_total": 512.0,
        "link_integrity_error_count_total": 3.0,
        "transmit_packet_count_total": 1024.0,
    }
    before = dict.fromkeys(counters, 0.0)
    (row,) = hours([sample(0, **before), sample(10, **counters)]).to_dicts()
    assert {name: row[name] for name in row if name.endswith("_count") and row[name]} == {
        "congestion_notification_count": 1,
        "congestion_handled_count": 2,
        "congestion_mark_count": 4,
        "out_of_sequence_count": 24,
        "acknowledgement_timeout_count": 32,
        "receiver_not_ready_count": 192,
        "retransmission_count": 256,
        "symbol_error_count": 512,
        "error_count": 515,
        "transmit_packet_count": 1024,
    }
    assert row["congestion_mark_count"] is not None
    assert row["receive_packet_count"] is None


def test_a_link_that_falls_and_comes_back_slower_has_its_times_and_its_capacity() -> None:
    rows = [
        sample(0, is_up=True),
        sample(10, is_up=True),
        sample(20, is_up=False, line_rate_bytes_per_second=None),
        sample(30, is_up=True, line_rate_bytes_per_second=500.0, has_stopped_counter=True),
        sample(40, is_up=None, line_rate_bytes_per_second=500.0),
    ]
    (row,) = hours(rows).to_dicts()
    assert (row["up_seconds"], row["down_seconds"], row["observed_seconds"]) == (Decimal(20), Decimal(10), Decimal(40))
    assert (row["lowest_line_rate_bytes_per_second"], row["capacity_bytes"]) == (500.0, 15_000.0)
    assert (row["is_rdma"], row["has_stopped_counter"]) == (True, True)
    (row,) = hours([sample(0), sample(10)]).to_dicts()
    assert (row["up_seconds"], row["down_seconds"], row["capacity_bytes"]) == (None, None, None)


def test_an_adapter_with_a_physical_state_carries_rdma_whatever_its_link_layer() -> None:
    office = {"link_layer": "Ethernet", "is_up": True}
    assert hours([sample(0, **office), sample(10, **office)])["is_rdma"].to_list() == [False]
    roce = {**office, "physical_state": "LinkUp"}
    assert hours([sample(0, **roce), sample(10, **roce)])["is_rdma"].to_list() == [True]
