"""Older days as retention leaves them: valid, and the same story as the truth."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

import polars as pl
import pytest

from collectors.simulate import Cluster, samples, sealed, truth
from collectors.simulate.shapes import instant
from ledger.names import STATES
from ledger.tables import (
    GpuMinute,
    GpuSample,
    GpuStateInterval,
    HostSample,
    MountSample,
    NetworkHour,
    NetworkPortSample,
    NodeMinute,
    PressureSample,
    StorageDay,
)
from queries.graph import Span
from queries.rollups.gpu_minute import gpu_minute
from queries.rollups.node_minute import node_minute

Frames = dict[type, pl.DataFrame]

MINUTE = timedelta(minutes=1)
OF_NODE = ["cluster", "node", "minute_start"]
OF_DEVICE = ["cluster", "node", "gpu_uuid", "minute_start"]


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
    assert set(rows) == {GpuStateInterval, GpuMinute, NodeMinute, NetworkHour, StorageDay}


def test_states_of_a_minute_sum_to_its_existence(small: Cluster, rows: Frames) -> None:
    parts = cut_into_minutes(rows[GpuStateInterval]).group_by(OF_DEVICE).agg(pl.col("part").sum())
    existed = truth(small).existed_seconds
    assert set(parts["part"]) == {60_000}, "each device is there from the first minute to the last"
    assert dict(parts.group_by("gpu_uuid").len().iter_rows()) == {uuid: each / 60 for uuid, each in existed.items()}


def cut_into_minutes(intervals: pl.DataFrame) -> pl.DataFrame:
    """Return intervals once for each minute that they touch, with their milliseconds of it as `part`."""
    last = pl.col("ended_at") - timedelta(microseconds=1)
    cut = intervals.with_columns(
        minute_start=pl.datetime_ranges(pl.col("started_at").dt.truncate("1m"), last.dt.truncate("1m"), "1m")
    ).explode("minute_start")
    end = pl.min_horizontal("ended_at", pl.col("minute_start") + MINUTE)
    return cut.with_columns(part=(end - pl.max_horizontal("started_at", "minute_start")).dt.total_milliseconds())


def test_observed_minutes_are_those_of_the_intervals(rows: Frames) -> None:
    parts = cut_into_minutes(rows[GpuStateInterval]).filter("is_observed")
    seconds = (pl.col("part").sum().cast(pl.Decimal(18, 3)) / 1000).cast(pl.Decimal(18, 3))
    expected = parts.group_by(OF_DEVICE).agg(seconds.alias("observed_seconds")).sort(OF_DEVICE)
    assert expected.equals(rows[GpuMinute].select(*OF_DEVICE, "observed_seconds").sort(OF_DEVICE))


def test_intervals_tell_the_truth(small: Cluster, rows: Frames) -> None:
    known = truth(small).device_seconds
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


def test_what_nobody_saw_has_no_row(small: Cluster, rows: Frames) -> None:
    assert small.gaps
    for gap in small.gaps:
        node = small.nodes[gap.node]
        own = (pl.col("node") == node.name) & (pl.col("cluster") == node.provider.cluster)
        silent = pl.col("minute_start").is_between(instant(gap.start), instant(gap.end) - MINUTE)
        for schema in (GpuMinute, NodeMinute):
            assert rows[schema].filter(own & silent).is_empty()
            assert rows[schema].filter(own & (pl.col("minute_start") == instant(gap.start) - MINUTE)).height > 0


@dataclass(frozen=True)
class Both:
    """Minutes as they are drawn, and as the rollups compute them from the raw rows of the same time."""

    told: Frames
    computed: Frames
    edges: pl.Expr
    """Minutes of devices in which a fault begins or ends: a counter lacks its last step there."""


@pytest.fixture(scope="module", params=["small", "demo"])
def both(request: pytest.FixtureRequest) -> Both:
    """Return two days of a small estate, and the hours around a crash of a larger one."""
    plan: Cluster = request.getfixturevalue(request.param)
    window = (instant(plan.start), instant(plan.end))
    if request.param == "demo":
        (crash,) = [fault for fault in plan.faults if fault.kind == "down"]
        hour = timedelta(hours=1)
        window = (
            instant(crash.start).replace(minute=0, second=0) - hour,
            instant(crash.end).replace(minute=0, second=0) + 2 * hour,
        )
    told = {
        schema: pl.concat([frame for other, frame in sealed(plan, window) if other is schema])
        for schema in (GpuMinute, NodeMinute)
    }
    return Both(told, minutes_of_samples(plan, window), edges_of(plan))


def minutes_of_samples(plan: Cluster, window: tuple[datetime, datetime]) -> Frames:
    """Return what the rollups make of raw rows."""
    around = timedelta(minutes=5)
    parts: dict[type, list[pl.DataFrame]] = {}
    for schema, frame in samples(plan, (window[0] - around, window[1] + around)):
        parts.setdefault(schema, []).append(frame)
    raw = {schema: pl.concat(each).lazy() for schema, each in parts.items()}
    span = Span(*window, window[1])
    return {
        GpuMinute: gpu_minute.function(raw[GpuSample], span).collect(),
        NodeMinute: node_minute.function(
            raw[HostSample], raw[PressureSample], raw[NetworkPortSample], raw[MountSample], span
        ).collect(),
    }


def edges_of(plan: Cluster) -> pl.Expr:
    """Return which minutes of devices a fault begins or ends in, up to a step before."""
    found = pl.lit(value=False)
    for fault in plan.faults:
        uuids = [plan.devices[device].uuid for device in fault.devices]
        for at in (fault.start, fault.end):
            near = (pl.col("minute_start") <= instant(at)) & (pl.col("minute_start") > instant(at - 10) - MINUTE)
            found |= pl.col("gpu_uuid").is_in(uuids) & near
    return found


def differing(both: Both, schema: type, key: list[str], name: str, within: float) -> pl.DataFrame:
    """Return the minutes whose value is further from the computed one than a part of it, or known on one side."""
    pairs = both.told[schema].join(both.computed[schema], on=key, suffix="_computed")
    mine, other = pl.col(name).cast(pl.Float64), pl.col(f"{name}_computed").cast(pl.Float64)
    known = mine.is_null() != other.is_null()
    return pairs.filter(known | ((mine - other).abs() > within * other.abs())).select(*key, name, f"{name}_computed")


def test_minutes_are_those_of_the_raw_rows(both: Both) -> None:
    for schema, key in ((GpuMinute, OF_DEVICE), (NodeMinute, OF_NODE)):
        told, computed = both.told[schema].select(key).sort(key), both.computed[schema].select(key).sort(key)
        assert told.height > 1_000
        assert told.equals(computed), schema.__name__


def test_what_minutes_of_nodes_say_is_what_the_rollup_says(both: Both) -> None:
    names = [name for name in NodeMinute.column_names() if name not in OF_NODE]
    assert len(names) == 8
    for name in names:
        assert differing(both, NodeMinute, OF_NODE, name, 1e-8).is_empty(), name
    assert both.told[NodeMinute]["node_cpu_active_ratio"].n_unique() > 10


def test_what_minutes_of_devices_say_is_what_the_rollup_says(both: Both) -> None:
    exact = (
        "observed_seconds", "memory_used_bytes", "power_limit_watts", "sm_clock_ratio", "pcie_bytes_per_second",
        "nvlink_bytes_per_second",
    )  # fmt: skip
    # Samples wobble one by one, a minute as a whole.
    noisy = {"power_watts": 0.03, "energy_joules": 0.03, "power_capped_seconds": 1e-9}
    noisy |= {name: 0.05 for name in GpuMinute.column_names() if name.endswith("_active_ratio")}
    noisy |= {"sm_occupancy_ratio": 0.05}
    assert {*exact, *noisy, *OF_DEVICE} == set(GpuMinute.column_names())
    for name in exact:
        assert differing(both, GpuMinute, OF_DEVICE, name, 1e-9).is_empty(), name
    for name, within in noisy.items():
        off = differing(both, GpuMinute, OF_DEVICE, name, within)
        assert off.filter(~both.edges).is_empty(), name
    watts = [rows[GpuMinute]["energy_joules"].sum() for rows in (both.told, both.computed)]
    assert watts[0] == pytest.approx(watts[1], rel=1e-3)


def test_a_day_at_a_time_is_the_same_as_parts_of_it(small: Cluster, rows: Frames) -> None:
    start = instant(small.start)
    windows = ((start, start + timedelta(hours=11)), (start + timedelta(hours=11), instant(small.end)))
    for schema, order in ((GpuMinute, OF_DEVICE), (NodeMinute, OF_NODE)):
        halves = [frame for window in windows for other, frame in sealed(small, window) if other is schema]
        assert pl.concat(halves).sort(order).equals(rows[schema].sort(order))
