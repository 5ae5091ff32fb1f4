"""Raw rows: they fit their tables, do not depend on the window, and obey physics."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from collectors.simulate import Cluster, holdings, samples
from collectors.simulate.phases import RUN
from collectors.simulate.sampling import scene
from collectors.simulate.shapes import instant
from ledger.tables import (
    BlockDeviceSample,
    CollectorRun,
    GpuEvent,
    GpuHealthSample,
    GpuProcessSample,
    GpuSample,
    HostSample,
    JobGpu,
    LustreOperationSample,
    MountSample,
    NetworkPortSample,
    NodeEvent,
    PressureSample,
    ServingSample,
    TcpSample,
    TrainingSample,
)

Frames = dict[str, pl.DataFrame]

RAW = {
    table.__name__
    for table in (
        GpuSample, GpuProcessSample, GpuHealthSample, HostSample, PressureSample, NetworkPortSample, BlockDeviceSample,
        MountSample, CollectorRun, ServingSample, GpuEvent, NodeEvent, TcpSample, LustreOperationSample, TrainingSample,
    )
}  # fmt: skip


def collect(cluster: Cluster, window: tuple[datetime, datetime]) -> Frames:
    """Return the rows of a window by table, each checked against its schema."""
    parts: dict[str, list[pl.DataFrame]] = {}
    for schema, frame in samples(cluster, window):
        good, bad = schema.filter(frame)
        assert not bad.counts(), schema.__name__
        assert good.height == frame.height
        parts.setdefault(schema.__name__, []).append(frame)
    return {name: pl.concat(each) for name, each in parts.items()}


def everything(cluster: Cluster) -> tuple[datetime, datetime]:
    """Return a window that holds the whole plan."""
    return instant(cluster.start), instant(cluster.end) + timedelta(seconds=1)


@pytest.fixture(scope="module")
def rows(small: Cluster) -> Frames:
    return collect(small, everything(small))


def test_every_raw_table_has_valid_rows(rows: Frames) -> None:
    assert {name for name, frame in rows.items() if frame.height} == RAW


def test_a_row_does_not_depend_on_the_window(small: Cluster, rows: Frames) -> None:
    start = instant(small.start) + timedelta(hours=7, minutes=3, seconds=20)
    window = (start, start + timedelta(minutes=50))
    part = collect(small, window)
    for name in RAW - {"GpuEvent", "NodeEvent"}:
        inside = rows[name].filter(pl.col("sampled_at").is_between(*window, closed="left"))
        order = [column for column in inside.columns if column in {"node", "gpu_uuid", "device", "port", "resource"}]
        order += ["sampled_at"] + [
            each
            for each in ("collector", "mount_point", "pid_code", "endpoint", "operation", "job_id")
            if each in inside
        ]
        assert part[name].sort(order).equals(inside.sort(order)), name


def test_a_row_tells_of_the_rounds_of_a_collector_in_a_minute(rows: Frames) -> None:
    runs = rows["CollectorRun"]
    assert (runs["step_seconds"] * runs["round_count"] == 60).all()
    assert set(runs["round_count"]) == {1, 6}
    mean = runs["duration_seconds"] / runs["round_count"]
    assert (mean <= runs["longest_round_seconds"]).all()
    assert (runs["row_count"] % runs["round_count"] == 0).all()
    failed = runs.filter(~pl.col("is_ok"))
    assert set(failed["collector"]) == {"filesystem"}
    assert set(failed["error"]) == {"no end after 10 s"}
    assert set(failed["longest_round_seconds"]) == {10.0}, "as long as the agent lets a round go on"


def test_energy_is_the_integral_of_power(rows: Frames) -> None:
    steps = (
        rows["GpuSample"].sort("gpu_uuid", "sampled_at")
        .with_columns(
            grown=pl.col("energy_joules_total").diff().shift(-1).over("gpu_uuid"),
            seconds=pl.col("sampled_at").diff().shift(-1).over("gpu_uuid").dt.total_seconds(),
            same=(pl.col("boot_id") == pl.col("boot_id").shift(-1)).over("gpu_uuid"),
        )
        .filter((pl.col("seconds") == 10) & pl.col("same") & pl.col("grown").is_not_null())
    )  # fmt: skip
    assert steps.height > 100_000
    off = (steps["grown"] - steps["power_watts"] * 10).abs().max()
    assert isinstance(off, float)
    assert off < 0.01


def test_counters_never_fall_within_a_boot(rows: Frames) -> None:
    for name, keys in (
        ("GpuSample", ["gpu_uuid", "boot_id"]),
        ("HostSample", ["cluster", "node", "boot_id"]),
        ("NetworkPortSample", ["cluster", "node", "device", "boot_id"]),
        ("TrainingSample", ["cluster", "node", "job_id", "rank_index", "started_at"]),
    ):
        frame = rows[name].sort([*keys, "sampled_at"])
        counters = [column for column in frame.columns if column.endswith("_total")]
        falls = frame.group_by(keys).agg((pl.col(counters).diff() < -1e-3).any()).select(counters)
        assert not any(falls.max().row(0)), name


def test_counters_start_again_after_a_boot(demo: Cluster) -> None:
    fault = next(fault for fault in demo.faults if fault.kind == "down")
    around = timedelta(minutes=5)
    rows = collect(demo, (instant(fault.start) - around, instant(fault.end) + around))
    own = rows["GpuSample"].filter(pl.col("gpu_uuid") == demo.devices[fault.devices[0]].uuid)
    before = own.filter(pl.col("sampled_at") <= instant(fault.start))["energy_joules_total"].max()
    after = own.filter(pl.col("sampled_at") == instant(fault.end))["energy_joules_total"].item()
    assert isinstance(before, float)
    assert after < 100 < before
    assert own["boot_id"].n_unique() == 2
    assert "boot" in rows["NodeEvent"]["event"]


def test_h100_is_profiled_and_a100_is_not(small: Cluster, rows: Frames) -> None:
    models = {device.uuid: small.hardware(device.index).gpu_model for device in small.devices}
    seen = rows["GpuSample"].filter(pl.col("status") == "ok").with_columns(
        model=pl.col("gpu_uuid").replace_strict(models)
    )  # fmt: skip
    profiled = seen.filter(pl.col("model").str.contains("H100"))
    plain = seen.filter(pl.col("model").str.contains("A100"))
    assert profiled["evidence_quality"].unique().to_list() == ["A"]
    assert profiled["sm_active_ratio"].null_count() == 0
    assert plain["evidence_quality"].unique().to_list() == ["C"]
    assert plain["sm_active_ratio"].null_count() == plain.height
    assert plain["kernel_active_ratio"].null_count() == 0


def test_a_silent_agent_sends_nothing_inside_its_gap(small: Cluster, rows: Frames) -> None:
    assert small.gaps
    for gap in small.gaps:
        node = small.nodes[gap.node]
        for name in ("GpuSample", "HostSample", "NetworkPortSample", "PressureSample"):
            own = rows[name].filter((pl.col("node") == node.name) & (pl.col("cluster") == node.provider.cluster))
            inside = own.filter(pl.col("sampled_at").is_between(instant(gap.start), instant(gap.end), closed="none"))
            edges = own.filter(pl.col("sampled_at").is_in([instant(gap.start), instant(gap.end)]))
            assert inside.is_empty(), name
            assert edges["sampled_at"].n_unique() == 2, name


def test_a_lost_device_has_a_status_and_no_values(small: Cluster, rows: Frames) -> None:
    fault = next(fault for fault in small.faults if fault.kind == "xid")
    uuid = small.devices[fault.devices[0]].uuid
    during = rows["GpuSample"].filter(
        (pl.col("gpu_uuid") == uuid)
        & pl.col("sampled_at").is_between(instant(fault.start), instant(fault.end), closed="left")
    )
    assert during["status"].unique().to_list() == ["lost"]
    assert during.select(pl.col("power_watts", "process_count", "memory_used_bytes").null_count()).row(0) == (
        during.height, during.height, during.height,
    )  # fmt: skip
    events = rows["GpuEvent"].filter(pl.col("gpu_uuid") == uuid)
    assert {"xid", "lost"} <= set(events["event"])


def test_processes_are_the_holders(small: Cluster, rows: Frames) -> None:
    held = next(frame for schema, frame in holdings(small) if schema is JobGpu)
    named = rows["GpuProcessSample"].filter(pl.col("job_id") != "").select("gpu_uuid", "job_id", "sampled_at")
    strays = {
        (small.devices[orphan.device].uuid, small.jobs[orphan.job].job_id)
        for orphan in small.orphans
        if orphan.keeps_id
    }
    found = named.join(
        held.select("gpu_uuid", "job_id", "held_start", "held_end"), on=["gpu_uuid", "job_id"], how="left"
    )
    inside = (pl.col("sampled_at") >= pl.col("held_start")) & (
        pl.col("held_end").is_null() | (pl.col("sampled_at") < pl.col("held_end"))
    )
    lone = found.group_by("gpu_uuid", "job_id", "sampled_at").agg(inside.any().alias("is_held"))
    wrong = lone.filter(~pl.col("is_held").fill_null(value=False)).select("gpu_uuid", "job_id").unique().rows()
    assert set(wrong) <= strays


def test_a_shared_device_has_two_processes(small: Cluster, rows: Frames) -> None:
    uuid = next(device.uuid for device in small.devices if device.is_shared)
    own = rows["GpuSample"].filter((pl.col("gpu_uuid") == uuid) & (pl.col("process_count") > 0))
    assert own["process_count"].unique().to_list() == [2]
    assert own["process_job_ids"].unique().to_list() == ["shared-a,shared-b"]


def test_heat_is_seen_in_the_counter(demo: Cluster) -> None:
    stretch = next(each for each in demo.stretches if each.kind == "thermal" and each.end > demo.end - 2 * 86_400)
    known = scene(demo)
    hot = known.line.is_hot & np.isin(known.line.device, stretch.devices)
    start, end = int(known.line.start[hot][-1]), int(known.line.end[hot][-1])
    window = (datetime.fromtimestamp(start, UTC), datetime.fromtimestamp(min(end, start + 600), UTC))
    uuid = demo.devices[stretch.devices[0]].uuid
    own = next(frame for schema, frame in samples(demo, window) if schema is GpuSample)
    own = own.filter(pl.col("gpu_uuid") == uuid).sort("sampled_at")
    slowed = own["sw_thermal_throttle_seconds_total"].diff().drop_nulls()
    assert slowed.is_between(2.99, 3.01).all()
    assert (own["temperature_celsius"] >= 85).all()


def test_trainings_advance_while_they_work_and_some_tell_nothing(small: Cluster, rows: Frames) -> None:
    told = rows["TrainingSample"]
    trainings = {job.job_id: job for job in small.jobs if job.kind == "training" and job.started is not None}
    assert 0 < told["job_id"].n_unique() < len(trainings)
    assert set(told["job_id"]) <= set(trainings)
    line = scene(small).line
    for process in told.partition_by("cluster", "node", "job_id", "started_at"):
        last = process.sort("sampled_at").row(-1, named=True)
        until = int(last["sampled_at"].timestamp())
        own = [job.index for job in small.jobs if job.job_id == last["job_id"]]
        nodes = np.array([small.nodes[each.node].name == last["node"] for each in small.devices])
        works = np.isin(line.job, own) & (line.kind == RUN) & nodes[line.device] & (line.start < until)
        worked = int((np.minimum(line.end[works], until) - line.start[works]).sum())
        assert last["sample_count_total"] <= 250 * worked
    assert told["sample_count_total"].max() > 1_000
