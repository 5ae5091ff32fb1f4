"""Older days as retention leaves them: valid, and the same story as the truth."""

from datetime import timedelta
from decimal import Decimal

import polars as pl
import pytest

from collectors.simulate import Cluster, sealed, truth
from collectors.simulate.shapes import instant
from ledger.names import STATES
from ledger.tables import GpuMinute, GpuStateInterval, NetworkHour, StorageDay

Frames = dict[type, pl.DataFrame]


@pytest.fixture(scope="module")
def rows(small: Cluster) -> Frames:
    parts: dict[type, list[pl.DataFrame]] = {}
    for schema, frame in sealed(small, (instant(small.start), instant(small.end))):
        good, bad = schema.filter(frame)
        assert not bad.counts(), schema.__name__
        assert good.height == frame.height > 0
        parts.setdefault(schema, []).append(frame)
    return {schema: pl.concat(each) for schema, each in parts.items()}


def test_the_tables_are_those_that_read_raw_rows(rows: Frames) -> None:
    assert set(rows) == {GpuStateInterval, GpuMinute, NetworkHour, StorageDay}


def test_states_of_a_minute_sum_to_its_existence(rows: Frames) -> None:
    states = pl.sum_horizontal(f"{state}_seconds" for state in STATES)
    assert rows[GpuMinute].filter(states != pl.col("existed_seconds")).is_empty()


def test_minutes_and_intervals_tell_the_truth(small: Cluster, rows: Frames) -> None:
    known = truth(small).device_seconds
    minutes = rows[GpuMinute].group_by("gpu_uuid").agg(pl.col(f"{state}_seconds").sum() for state in STATES)
    told = {row["gpu_uuid"]: row for row in minutes.iter_rows(named=True)}
    for uuid, states in known.items():
        assert {state: told[uuid][f"{state}_seconds"] for state in STATES} == states
    length = (pl.col("ended_at") - pl.col("started_at")).dt.total_milliseconds().sum()
    sums = rows[GpuStateInterval].group_by("gpu_uuid", "state").agg(length.alias("length")).rows()
    told_by_interval = {(uuid, state): Decimal(milliseconds) / 1000 for uuid, state, milliseconds in sums}
    for uuid, states in known.items():
        assert {state: told_by_interval.get((uuid, state), Decimal(0)) for state in STATES} == states


def test_intervals_have_no_holes_and_stay_inside_hours(rows: Frames) -> None:
    order = ["cluster", "node", "gpu_uuid", "started_at"]
    intervals = rows[GpuStateInterval]
    assert intervals.sort(order).equals(intervals.sort("gpu_uuid", "started_at").sort(order))
    following = pl.col("started_at").shift(-1).over("gpu_uuid")
    assert intervals.filter(pl.col("ended_at") != following).is_empty()
    last = pl.col("ended_at") - timedelta(microseconds=1)
    assert intervals.filter(pl.col("started_at").dt.truncate("1h") != last.dt.truncate("1h")).is_empty()


def test_what_nobody_saw_has_no_values(rows: Frames) -> None:
    dark = rows[GpuMinute].filter(pl.col("observed_seconds") == 0)
    assert dark.height > 0
    measured = ("kernel_active_ratio", "power_watts", "energy_joules", "memory_used_bytes", "node_cpu_active_ratio")
    assert dark.select(pl.col(measured).null_count()).row(0) == (dark.height,) * len(measured)


def test_a_day_at_a_time_is_the_same_as_parts_of_it(small: Cluster, rows: Frames) -> None:
    start = instant(small.start)
    halves = [
        frame
        for window in ((start, start + timedelta(hours=11)), (start + timedelta(hours=11), instant(small.end)))
        for schema, frame in sealed(small, window)
        if schema is GpuMinute
    ]
    order = ["gpu_uuid", "minute_start"]
    assert pl.concat(halves).sort(order).equals(rows[GpuMinute].sort(order))
