"""What a job used of its nodes: of the right run, once, and summed up over the run."""

from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.names import NOBODY_AT

Spans = Callable[..., Any]
Minutes = Callable[[float], datetime]


def group(at: datetime, job_id: str = "7", node: str = "n1", **more: Any) -> dict[str, Any]:
    """Return a sample of a job's cgroup."""
    place = {"sampled_at": at, "cluster": "c", "node": node, "job_id": job_id, "boot_id": "b"}
    return {**place, "step_seconds": 30.0, "scheduler": "slurm", "hierarchy": "v2", **more}


def run(minute: Minutes, **more: Any) -> dict[str, Any]:
    key = {"cluster": "c", "job_id": "7", "submitted_at": minute(-60), "restart_count": 0}
    return {**key, "state": "RUNNING", "source": "slurm", **more}


def test_processors_memory_and_devices_of_a_job_are_added_up(ledger: Any, hours: Spans, minute: Minutes) -> None:
    mine = ledger()
    mine.add("job", [run(minute, started_at=minute(0), cpu_count=4, node_count=1, memory_bytes=64.0)])
    rows = [
        group(minute(0), cpu_seconds_total=100.0, memory_used_bytes=5.0, memory_peak_bytes=5.0, read_bytes_total=0.0),
        group(minute(0.5), cpu_seconds_total=130.0, memory_used_bytes=4.0, memory_peak_bytes=9.0, read_bytes_total=8.0),
        group(minute(1), cpu_seconds_total=190.0, memory_used_bytes=12.0, memory_resident_bytes=3.0),
    ]
    mine.add("job_cgroup_sample", rows)
    (row,) = mine.compute("job_node_hour", hours(1)).to_dicts()
    assert (row["submitted_at"], row["restart_count"], row["observed_seconds"]) == (minute(-60), 0, Decimal(60))
    assert (row["cpu_seconds"], row["read_bytes"], row["written_bytes"]) == (90.0, 8.0, None)
    assert (row["memory_peak_bytes"], row["memory_resident_bytes"], row["oom_kill_count"]) == (12.0, 3.0, None)
    (usage,) = mine.compute("job_usage", hours(24, first=-5, now=3)).to_dicts()
    assert (usage["cpu_seconds"], usage["cpu_count"], usage["cpu_active_ratio"]) == (90.0, 4, 90 / (60 * 4))
    assert (usage["host_memory_peak_bytes"], usage["host_memory_bytes"], usage["read_bytes"]) == (12.0, 64.0, 8.0)


def test_a_job_on_two_nodes_has_half_of_its_processors_on_each(ledger: Any, hours: Spans, minute: Minutes) -> None:
    mine = ledger()
    mine.add("job", [run(minute, started_at=minute(0), cpu_count=8, node_count=2)])
    for node, used in (("n1", 60.0), ("n2", 120.0)):
        mine.add("job_cgroup_sample", [group(minute(at), node=node, cpu_seconds_total=used * at) for at in (0, 0.5, 1)])
    mine.compute("job_node_hour", hours(1))
    (usage,) = mine.compute("job_usage", hours(24, first=-5, now=3)).to_dicts()
    assert (usage["cpu_seconds"], usage["cpu_active_ratio"]) == (180.0, 180 / (120 * 4))


def test_a_run_whose_nodes_were_not_watched_is_null(ledger: Any, hours: Spans, minute: Minutes) -> None:
    mine = ledger()
    mine.add("job", [run(minute, started_at=minute(0), cpu_count=8)])
    (usage,) = mine.compute("job_usage", hours(24, first=-5, now=3)).to_dicts()
    names = ("cpu_seconds", "cpu_active_ratio", "host_memory_peak_bytes", "oom_kill_count", "read_bytes")
    assert [usage[name] for name in names] == [None] * len(names)
    assert usage["cpu_count"] == 8


def test_an_id_that_recurs_is_the_run_that_lived(ledger: Any, hours: Spans, minute: Minutes) -> None:
    mine = ledger()
    mine.add(
        "job",
        [
            run(minute, ended_at=minute(30), submitted_at=minute(-600)),
            run(minute, submitted_at=minute(62), restart_count=0),
            run(minute, submitted_at=minute(62), restart_count=1),
            run(minute, submitted_at=minute(500)),
        ],
    )
    counters = {"cpu_seconds_total": 1.0}
    mine.add("job_cgroup_sample", [group(minute(at), **counters) for at in (10, 10.5, 70, 70.5)])
    mine.add("job_cgroup_sample", [group(minute(at), job_id="nobody", **counters) for at in (10, 10.5)])
    rows = mine.compute("job_node_hour", hours(2)).select("job_id", "submitted_at", "restart_count").rows()
    assert rows == [("7", minute(-600), 0), ("nobody", NOBODY_AT, 0), ("7", minute(62), 1)]


def test_a_kill_a_reset_and_a_gap(ledger: Any, hours: Spans, minute: Minutes) -> None:
    mine = ledger()
    kills = [(0, 0.0, 10.0), (0.5, 1.0, 40.0), (1, 3.0, 5.0), (9, 4.0, 900.0), (9.5, 4.0, 910.0)]
    mine.add(
        "job_cgroup_sample",
        [group(minute(at), oom_kill_count_total=kill, cpu_seconds_total=used) for at, kill, used in kills],
    )
    (row,) = mine.compute("job_node_hour", hours(1)).to_dicts()
    assert (row["oom_kill_count"], row["cpu_seconds"], row["observed_seconds"]) == (3, 40.0, Decimal(90))


GROWTH = st.lists(
    st.tuples(st.integers(1, 200), st.sampled_from(["7", "8"]), st.integers(0, 900)), min_size=1, max_size=30
)


@given(growth=GROWTH, seed=st.integers(0, 2**16))
def test_processor_time_is_conserved_and_hours_apart_are_hours_together(
    growth: list[tuple[int, str, int]], seed: int, ledger: Any, hours: Spans, minute: Minutes
) -> None:
    mine = ledger()
    clock, last, used, expected = 0, dict[str, int](), {"7": 0, "8": 0}, 0
    for wait, job_id, grown in growth:
        clock += wait
        used[job_id] += grown
        if job_id in last and clock - last[job_id] <= 90:
            expected += grown
        last[job_id] = clock
        at = minute(0) + timedelta(seconds=clock)
        mine.add("job_cgroup_sample", [group(at, job_id, cpu_seconds_total=float(used[job_id]))])
    count = clock // 3600 + 1
    whole = mine.compute("job_node_hour", hours(count))
    assert (whole["cpu_seconds"].sum() or 0) == pytest.approx(expected)
    assert mine.shuffled(seed).compute("job_node_hour", hours(count)).equals(whole)
    apart = [mine.compute("job_node_hour", hours(1, first=each)) for each in range(count)]
    assert pl.concat(apart).equals(whole)
