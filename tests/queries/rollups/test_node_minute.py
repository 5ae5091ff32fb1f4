"""How a node was in each minute: what three collectors say of it."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

Spans = Callable[..., Any]
Minutes = Callable[[float], datetime]

NODE = {"cluster": "c", "node": "n"}
PACES = {"user": 6.0, "system": 3.0, "idle": 18.0, "iowait": 3.0}
WAITED = {"cpu": 3.0, "io": 12.0, "memory": 0.0}
PORTS = {"mlx5_0": (25e9, 30 * 10e9, 5), "mlx5_1": (25e9, 30 * 5e9, 2), "eth0": (1e9, 30 * 0.9e9, 900)}


def told(ledger: Any, minute: Minutes, count: int = 5, first: float = 0, **names: str) -> None:
    """Add what the collectors of a node say every half minute."""
    for number in range(count):
        at = {**NODE, "sampled_at": minute(first + number / 2), "step_seconds": 30.0, "boot_id": "b", **names}
        ledger.add("host_sample", [{**at, **{f"cpu_{each}_seconds_total": number * PACES[each] for each in PACES}}])
        ledger.add(
            "pressure_sample",
            [
                {**at, "resource": name, "job_id": "", "some_seconds_total": number * value}
                for name, value in WAITED.items()
            ],
        )
        ledger.add(
            "network_port_sample",
            [
                {
                    **at,
                    "device": name,
                    "port": "1",
                    "line_rate_bytes_per_second": rate,
                    "transmit_bytes_total": number * sent / 2,
                    "receive_bytes_total": number * sent,
                    "transmit_wait_count_total": float(number * wait),
                }
                for name, (rate, sent, wait) in PORTS.items()
            ],
        )


def test_each_source_says_its_part_and_a_minute_that_none_measured_has_no_row(
    ledger: Any, hours: Spans, minute: Minutes
) -> None:
    mine = ledger()
    told(mine, minute)
    found = mine.compute("node_minute", hours(1)).sort("minute_start").to_dicts()
    assert [row["minute_start"] for row in found] == [minute(0), minute(1)]
    for row in found:
        assert row["node_cpu_active_ratio"] == pytest.approx(0.3)
        assert row["node_cpu_iowait_ratio"] == pytest.approx(0.1)
        assert row["node_cpu_pressure_ratio"] == pytest.approx(0.1)
        assert row["node_io_pressure_ratio"] == pytest.approx(0.4)
        assert row["node_memory_pressure_ratio"] == 0
        assert row["node_network_active_ratio"] == pytest.approx(0.4), "the slow port says nothing about a job"
        assert row["node_network_wait_count"] == 14


@pytest.mark.parametrize("only", ["host_sample", "pressure_sample", "network_port_sample"])
def test_what_a_source_did_not_measure_is_null_and_the_others_stay(
    only: str, ledger: Any, hours: Spans, minute: Minutes
) -> None:
    mine = ledger()
    told(mine, minute)
    whole = mine.compute("node_minute", hours(1)).sort("minute_start")
    mine.tables = {only: mine.get(only)}
    alone = mine.compute("node_minute", hours(1)).sort("minute_start")
    prefixes = {
        "host_sample": ("node_cpu_active_ratio", "node_cpu_iowait_ratio"),
        "pressure_sample": ("node_cpu_pressure_ratio", "node_io_pressure_ratio", "node_memory_pressure_ratio"),
        "network_port_sample": ("node_network_active_ratio", "node_network_wait_count"),
    }
    for name in (each for each in whole.columns if each.startswith("node_")):
        expected = whole[name] if name in prefixes[only] else pl.Series(name, [None] * 2, dtype=whole.schema[name])
        assert alone[name].equals(expected, null_equal=True), name


def test_nodes_are_apart_and_hours_may_be_computed_apart(ledger: Any, hours: Spans, minute: Minutes) -> None:
    mine = ledger()
    told(mine, minute, count=20, first=55)
    told(mine, minute, count=8, first=57.25, node="m")
    told(mine, minute, count=4, first=59, cluster="d")
    order = ["cluster", "node", "minute_start"]
    together = mine.compute("node_minute", hours(2)).sort(order)
    counts = together.group_by("cluster", "node").len().sort("cluster", "node").rows()
    assert counts == [("c", "m", 4), ("c", "n", 10), ("d", "n", 2)]
    apart = pl.concat([mine.compute("node_minute", hours(1, first=hour)) for hour in range(2)])
    assert_frame_equal(apart.sort(order), together)
    shuffled = mine.shuffled(3).compute("node_minute", hours(2))
    assert_frame_equal(shuffled.sort(order), together)


@pytest.mark.parametrize(("step_minutes", "minutes"), [(4, 12), (5, 15), (6, 0)])
def test_a_step_that_hours_alone_would_not_see_counts_in_none(
    ledger: Any, hours: Spans, minute: Minutes, step_minutes: int, minutes: int
) -> None:
    mine = ledger()
    for number in range(4):
        at = {**NODE, "sampled_at": minute(52 + number * step_minutes), "step_seconds": 180.0, "boot_id": "b"}
        mine.add("host_sample", [{**at, **{f"cpu_{each}_seconds_total": number * PACES[each] for each in PACES}}])
    together = mine.compute("node_minute", hours(2)).sort("minute_start")
    assert together.height == minutes
    apart = pl.concat([mine.compute("node_minute", hours(1, first=hour)) for hour in range(2)])
    assert_frame_equal(apart.sort("minute_start"), together)


def test_what_jobs_waited_for_is_not_the_nodes(ledger: Any, hours: Spans, minute: Minutes) -> None:
    mine = ledger()
    told(mine, minute)
    before = mine.compute("node_minute", hours(1)).sort("minute_start")
    of_job = mine.get("pressure_sample").with_columns(pl.lit("7").alias("job_id"), pl.col("some_seconds_total") * 2)
    mine.tables["pressure_sample"] = pl.concat([mine.get("pressure_sample"), of_job])
    assert mine.compute("node_minute", hours(1)).sort("minute_start").equals(before)


def mount(at: datetime, point: str, read_seconds: float | None, **more: Any) -> dict[str, Any]:
    place = {**NODE, "sampled_at": at, "boot_id": "b", "step_seconds": 60.0, "mount_point": point}
    return {**place, "read_seconds_total": read_seconds, **more}


def test_reads_of_network_file_systems_are_waited_for_on_average_so_many(
    ledger: Any, hours: Spans, minute: Minutes
) -> None:
    mine = ledger()
    for at, home, scratch in ((0, 100.0, 50.0), (1, 106.0, 53.0), (2, 112.0, 500.0), (3, 4.0, 500.0)):
        rows = [mount(minute(at), "/home", home), mount(minute(at), "/scratch", scratch), mount(minute(at), "/", None)]
        mine.add("mount_sample", rows)
    found = mine.compute("node_minute", hours(1)).sort("minute_start")
    assert found["minute_start"].to_list() == [minute(0), minute(1), minute(2)]
    waits = found["node_file_system_wait_ratio"].to_list()
    # Both mounts; more than one at a time; a remount, of which the other mount knows nothing.
    assert waits == [pytest.approx(0.15), 1.0, 0.0]
    assert found["node_io_pressure_ratio"].null_count() == 3


def test_a_mount_that_was_sampled_late_counts_in_the_minutes_it_was_watched(
    ledger: Any, hours: Spans, minute: Minutes
) -> None:
    mine = ledger()
    mine.add("mount_sample", [mount(minute(each + 0.5), "/home", 10.0 * each) for each in range(3)])
    whole = mine.compute("node_minute", hours(1))
    assert whole["node_file_system_wait_ratio"].to_list() == [pytest.approx(1 / 6)] * 3
    watched = [0.5, 1, 0.5]
    assert sum(
        ratio * part * 60 for ratio, part in zip(whole["node_file_system_wait_ratio"], watched, strict=True)
    ) == pytest.approx(20), "the time of reads is conserved"
