import itertools
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import dataframely as dy
import polars as pl
import pytest
from hypothesis import strategies as st

from ledger.tables import (
    BottleneckMinute,
    Gpu,
    GpuMinute,
    GpuProcessSample,
    GpuStateInterval,
    Job,
    JobGpu,
    Node,
    NodeMinute,
    PressureSample,
)
from queries.graph import Span
from queries.rollups.bottleneck_minute import bottleneck_minute
from tests.frames import validated
from tests.queries.rollups.conftest import on_cases

HOUR = datetime(2026, 11, 20, 5, tzinfo=UTC)
SUBMITTED = datetime(2026, 11, 19, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def frame(schema: type[dy.Schema], rows: Sequence[Mapping[str, Any]]) -> Any:
    """Return rows as a frame of a table; columns that are not said are null."""
    types = schema.create_empty().schema
    columns = {name: [row.get(name) for row in rows] for name in types}
    return pl.DataFrame(columns, schema=types, strict=False).lazy()


def interval(start: datetime, end: datetime, state: str, gpu: str = "g0", **more: Any) -> dict[str, Any]:
    return {
        "cluster": "c",
        "node": "n",
        "gpu_uuid": gpu,
        "started_at": start,
        "ended_at": end,
        "state": state,
        "job_id": "7",
        "restart_count": 0,
        "submitted_at": SUBMITTED,
        "holder_count": 1,
        "evidence_quality": "A",
        "is_observed": True,
        **more,
    }


def minute(at: datetime, gpu: str = "g0", **more: Any) -> dict[str, Any]:
    return {
        "minute_start": at,
        "cluster": "c",
        "node": "n",
        "gpu_uuid": gpu,
        "observed_seconds": Decimal(60),
        "power_limit_watts": 700.0,
        "power_watts": 500.0,
        **more,
    }


def gpu(uuid: str = "g0", fraction: str = "1", cluster: str = "c") -> dict[str, Any]:
    return {
        "cluster": cluster,
        "node": "n",
        "gpu_uuid": uuid,
        "exists_start": SUBMITTED,
        "gpu_fraction": Decimal(fraction),
        "parent_gpu_uuid": "",
    }


def judged(
    intervals: Sequence[Mapping[str, Any]],
    minutes: Sequence[Mapping[str, Any]],
    gpus: Sequence[Mapping[str, Any]] = (gpu(),),
    holdings: Sequence[Mapping[str, Any]] = (),
    span: Span | None = None,
    pressure: Sequence[Mapping[str, Any]] = (),
) -> pl.DataFrame:
    """Return what the rollup says; what a minute says of its node is put into the node's own minutes."""
    of_nodes = {
        (row["cluster"], row["node"], row["minute_start"]): row
        for row in minutes
        if any(name.startswith("node_") for name in row)
    }
    rows: pl.DataFrame = bottleneck_minute.function(
        frame(GpuStateInterval, intervals),
        frame(GpuMinute, minutes),
        frame(NodeMinute, list(of_nodes.values())),
        frame(JobGpu, holdings),
        frame(Gpu, gpus),
        frame(Job, ()),
        frame(Node, ()),
        frame(GpuProcessSample, ()),
        frame(PressureSample, pressure),
        span or Span(HOUR, HOUR + timedelta(hours=1), HOUR + timedelta(hours=2)),
    ).collect()
    return validated(BottleneckMinute, rows).sort("minute_start", "cluster", "gpu_uuid", "job_id")


BUSY = {
    "graphics_active_ratio": 0.98,
    "kernel_active_ratio": 1.0,
    "sm_active_ratio": 0.9,
    "tensor_active_ratio": 0.5,
    "dram_active_ratio": 0.4,
}

LABELLED = {
    "compute_tensor": BUSY,
    "dram_bound": {**BUSY, "tensor_active_ratio": 0.1, "dram_active_ratio": 0.8},
    "compute_other": {**BUSY, "tensor_active_ratio": 0.0},
    "launch_bound": {**BUSY, "tensor_active_ratio": 0.02, "sm_active_ratio": 0.1, "dram_active_ratio": 0.1},
    "input_storage": {**BUSY, "graphics_active_ratio": 0.3, "node_io_pressure_ratio": 0.5},
    "input_cpu": {**BUSY, "graphics_active_ratio": 0.3, "node_cpu_active_ratio": 0.99},
    "host_memory": {**BUSY, "node_memory_pressure_ratio": 0.4},
    "power_capped": {**BUSY, "power_capped_seconds": Decimal(55), "sm_clock_ratio": 0.6},
}


@pytest.mark.parametrize("expected", LABELLED)
def test_each_class_is_told_from_its_evidence(expected: str) -> None:
    rows = judged([interval(HOUR, HOUR + MINUTE, "productive")], [minute(HOUR, **LABELLED[expected])])
    (row,) = rows.to_dicts()
    assert row["bottleneck"] == expected
    assert row["gpu_limited_seconds"] == Decimal(60)
    assert row["first_evidence"] is not None
    assert row["first_evidence_ratio"] is not None
    assert row["confidence_ratio"] > 0.4


def test_devices_that_spin_together_wait_for_each_other() -> None:
    spin = {
        **BUSY,
        "power_watts": 200.0,
        "dram_active_ratio": 0.02,
        "tensor_active_ratio": 0.0,
        "sm_active_ratio": 0.15,
    }
    devices = ("g0", "g1")
    intervals = [interval(HOUR, HOUR + MINUTE, "productive", each) for each in devices]
    rows = judged(intervals, [minute(HOUR, each, **spin) for each in devices], [gpu(each) for each in devices])
    assert rows["bottleneck"].to_list() == ["communication", "communication"]
    alone = judged(intervals[:1], [minute(HOUR, **spin)])
    assert alone["bottleneck"].to_list() == ["launch_bound"]


def test_a_straggler_is_slow_for_five_minutes_beside_four_peers() -> None:
    devices = [f"g{place}" for place in range(5)]
    end = HOUR + 6 * MINUTE
    intervals = [interval(HOUR, end, "productive", each) for each in devices]
    minutes = [
        minute(HOUR + at * MINUTE, each, **{**BUSY, "sm_active_ratio": 0.6 if each == "g0" else 0.9})
        for each in devices
        for at in range(6)
    ]
    rows = judged(intervals, minutes, [gpu(each) for each in devices])
    slow = rows.filter(pl.col("gpu_uuid") == "g0")["bottleneck"].to_list()
    assert slow == ["compute_tensor"] * 4 + ["straggler"] * 2
    assert set(rows.filter(pl.col("gpu_uuid") != "g0")["bottleneck"]) == {"compute_tensor"}
    four = [each for each in intervals if each["gpu_uuid"] != "g4"]
    assert "straggler" not in judged(four, minutes, [gpu(each) for each in devices])["bottleneck"].to_list()


def test_without_profiling_busy_time_is_kept_with_a_low_confidence() -> None:
    known = {"kernel_active_ratio": 0.9, "tensor_active_ratio": 0.9}
    busy = [interval(HOUR, HOUR + MINUTE, "productive", evidence_quality="C")]
    (row,) = judged(busy, [minute(HOUR, **known)]).to_dicts()
    assert (row["bottleneck"], row["gpu_unknown_seconds"]) == ("compute_other", 0)
    assert row["confidence_ratio"] < 0.2
    starved = {**known, "kernel_active_ratio": 0.2, "node_io_pressure_ratio": 0.9}
    (row,) = judged(busy, [minute(HOUR, **starved)]).to_dicts()
    assert (row["bottleneck"], row["first_evidence"]) == ("input_storage", "kernel_active_ratio")


def test_an_idle_device_is_idle_because_of_its_node() -> None:
    waiting = {"graphics_active_ratio": 0.0, "node_io_pressure_ratio": 0.6}
    (row,) = judged([interval(HOUR, HOUR + MINUTE, "held_idle")], [minute(HOUR, **waiting)]).to_dicts()
    assert (row["bottleneck"], row["idle_cause"], row["gpu_idle_seconds"]) == ("idle", "input_storage", 60)
    (row,) = judged([interval(HOUR, HOUR + MINUTE, "allocated_idle")], [minute(HOUR, **waiting)]).to_dicts()
    assert (row["bottleneck"], row["idle_cause"]) == ("idle", None)


def test_reads_of_a_network_file_system_that_the_kernel_counts_nowhere_are_waiting_for_storage() -> None:
    starved = {**BUSY, "graphics_active_ratio": 0.3, "node_io_pressure_ratio": 0.0, "node_cpu_iowait_ratio": 0.1}
    busy = [interval(HOUR, HOUR + MINUTE, "productive")]
    (row,) = judged(busy, [minute(HOUR, **starved, node_file_system_wait_ratio=0.9)]).to_dicts()
    assert (row["bottleneck"], row["third_evidence"]) == ("input_storage", "node_file_system_wait_ratio")
    assert row["third_evidence_ratio"] == 0.9
    (row,) = judged(busy, [minute(HOUR, **starved, node_file_system_wait_ratio=0.3)]).to_dicts()
    assert row["bottleneck"] != "input_storage"
    waiting = minute(HOUR, graphics_active_ratio=0.0, node_file_system_wait_ratio=0.9)
    (row,) = judged([interval(HOUR, HOUR + MINUTE, "held_idle")], [waiting]).to_dicts()
    assert row["idle_cause"] == "input_storage"


@pytest.mark.parametrize(
    ("model", "share", "expected"),
    [
        ("NVIDIA H100 80GB HBM3", 0.7, "communication"),
        ("NVIDIA H100 80GB HBM3", 0.5, "launch_bound"),
        ("NVIDIA H100 PCIe", 0.7, "communication"),
        ("NVIDIA H100 PCIe", 0.5, "communication"),
        ("A model of 2040", 0.7, "launch_bound"),
    ],
)
def test_links_that_are_full_are_communication_where_the_model_says_what_they_carry(
    model: str, share: float, expected: str
) -> None:
    work = {**BUSY, "sm_active_ratio": 0.2, "tensor_active_ratio": 0.05, "dram_active_ratio": 0.3}
    minutes = [minute(HOUR, each, **work, nvlink_bytes_per_second=share * 900e9) for each in ("g0", "g1")]
    intervals = [interval(HOUR, HOUR + MINUTE, "productive", each) for each in ("g0", "g1")]
    rows = judged(intervals, minutes, [{**gpu(each), "gpu_model": model} for each in ("g0", "g1")])
    assert rows["bottleneck"].to_list() == [expected] * 2
    if expected == "communication":
        assert set(rows["second_evidence"]) == {"nvlink_active_ratio"}


def test_a_power_cap_that_nobody_measured_is_none() -> None:
    slow = {**BUSY, "sm_clock_ratio": 0.5}
    busy = [interval(HOUR, HOUR + MINUTE, "productive")]
    (row,) = judged(busy, [minute(HOUR, **slow)]).to_dicts()
    assert (row["bottleneck"], row["runner_up"]) == ("compute_tensor", None)
    spin = {"power_watts": None, "graphics_active_ratio": 0.98, "dram_active_ratio": 0.0, "tensor_active_ratio": 0.0}
    both = [interval(HOUR, HOUR + MINUTE, "productive", each) for each in ("g0", "g1")]
    rows = judged(both, [minute(HOUR, each, **spin) for each in ("g0", "g1")], [gpu("g0"), gpu("g1")])
    assert "communication" not in rows["bottleneck"].to_list(), "what it draws is not known"


def stalls(job: str, ratio: float, resource: str = "io") -> list[dict[str, Any]]:
    """Return what the cgroup of a job says every half minute, around one minute."""
    fixed = {"cluster": "c", "node": "n", "resource": resource, "job_id": job, "step_seconds": 30.0}
    times = [HOUR + MINUTE * place / 2 for place in range(-1, 4)]
    return [
        {**fixed, "sampled_at": at, "some_seconds_total": ratio * (at - HOUR + MINUTE).total_seconds()} for at in times
    ]


def test_what_a_job_waits_for_by_its_own_cgroup_stands_for_what_its_node_waits_for() -> None:
    starved = {**BUSY, "graphics_active_ratio": 0.3, "node_io_pressure_ratio": 0.6}
    both = [interval(HOUR, HOUR + MINUTE, "productive"), interval(HOUR, HOUR + MINUTE, "productive", "g1", job_id="8")]
    minutes = [minute(HOUR, each, **starved) for each in ("g0", "g1")]
    gpus = [gpu("g0"), gpu("g1")]
    told = judged(both, minutes, gpus, pressure=[*stalls("7", 0.6), *stalls("8", 0.0)]).sort("job_id")
    assert told["bottleneck"].to_list() == ["input_storage", "compute_tensor"], "the other job is the one that waits"
    assert told["second_evidence"].to_list()[0] == "job_io_pressure_ratio"
    assert told["second_evidence_ratio"].to_list()[0] == pytest.approx(0.6)
    (alone,) = judged(both[:1], minutes[:1])["confidence_ratio"]
    assert told["confidence_ratio"].to_list()[0] == pytest.approx(alone), "nobody else is part of the evidence"
    untold = judged(both, minutes, gpus).sort("job_id")
    assert untold["bottleneck"].to_list() == ["input_storage"] * 2
    assert untold["second_evidence"].to_list() == ["node_io_pressure_ratio"] * 2
    assert untold["confidence_ratio"].to_list() == [pytest.approx(alone / 2)] * 2


def test_host_evidence_on_a_node_with_several_jobs_counts_less() -> None:
    starved = {**BUSY, "graphics_active_ratio": 0.3, "node_io_pressure_ratio": 0.5}
    busy = interval(HOUR, HOUR + MINUTE, "productive")
    gpus = [gpu(each) for each in ("g0", "g1")]

    def beside(**other: Any) -> float:
        rows = judged([busy, {**busy, "gpu_uuid": "g1", **other}], [minute(HOUR, **starved)], gpus)
        (mine,) = rows.filter(pl.col("gpu_uuid") == "g0").to_dicts()
        assert mine["bottleneck"] == "input_storage"
        return float(mine["confidence_ratio"])

    (alone,) = judged([busy], [minute(HOUR, **starved)])["confidence_ratio"]
    assert beside() == alone, "a job is not in its own way"
    assert beside(job_id="8") == pytest.approx(alone / 2)
    assert beside(restart_count=1) == pytest.approx(alone / 2), "a restart within the minute is another run"
    assert beside(job_id="") == alone
    assert beside(job_id="8", node="m") == alone
    assert beside(job_id="8", started_at=HOUR + MINUTE, ended_at=HOUR + 2 * MINUTE) == alone


def test_the_node_of_a_minute_is_that_of_the_same_cluster() -> None:
    starved = {**BUSY, "graphics_active_ratio": 0.3}
    minutes = [minute(HOUR, **starved), minute(HOUR, cluster="d", node_io_pressure_ratio=0.9)]
    other = interval(HOUR, HOUR + MINUTE, "productive", cluster="d")
    rows = judged([interval(HOUR, HOUR + MINUTE, "productive"), other], minutes).sort("cluster")
    assert rows["cluster"].to_list() == ["c", "d"]
    assert rows["bottleneck"].to_list()[0] != "input_storage"
    assert judged(
        [interval(HOUR, HOUR + MINUTE, "productive", cluster="d")],
        [minute(HOUR, cluster="d", **starved, node_io_pressure_ratio=0.9)],
    )["bottleneck"].to_list() == ["input_storage"]


def test_coverage_is_what_was_observed_of_the_held_time_and_the_grade_that_of_its_longest_part() -> None:
    half = HOUR + MINUTE / 2
    seen = interval(HOUR, half, "productive")
    (all_of_it,) = judged([interval(HOUR, HOUR + MINUTE, "productive")], [minute(HOUR, **BUSY)])["confidence_ratio"]
    dark = interval(half, HOUR + MINUTE, "unknown", is_observed=False, evidence_quality=None)
    (row,) = judged([seen, dark], [minute(HOUR, **BUSY)]).to_dicts()
    assert (row["bottleneck"], row["gpu_unknown_seconds"]) == ("compute_tensor", 30)
    assert row["confidence_ratio"] == pytest.approx(all_of_it / 2)
    (short,) = judged([seen], [minute(HOUR, **BUSY)])["confidence_ratio"]
    assert short == pytest.approx(all_of_it), "what it held was observed, all of it"
    weak = interval(half, HOUR + 2 * MINUTE, "underused", evidence_quality="C")
    graded = judged(
        [{**seen, "ended_at": half - timedelta(seconds=1)}, {**weak, "started_at": half}], [minute(HOUR, **BUSY)]
    )
    (whole_c,) = judged([interval(HOUR, HOUR + MINUTE, "productive", evidence_quality="C")], [minute(HOUR, **BUSY)])[
        "confidence_ratio"
    ]
    assert graded["confidence_ratio"][0] == pytest.approx(whole_c)


def test_a_minute_without_evidence_is_the_ledgers_unknown() -> None:
    dark = interval(HOUR, HOUR + MINUTE, "unknown", evidence_quality=None, is_observed=False)
    (row,) = judged([dark], []).to_dicts()
    assert (row["bottleneck"], row["gpu_unknown_seconds"], row["confidence_ratio"]) == ("unknown", 60, 0)


def test_several_holders_share_a_device_evenly_to_the_millisecond() -> None:
    end = HOUR + timedelta(seconds=10)
    shared = interval(HOUR, end, "productive", job_id="7,8,9", restart_count=None, submitted_at=None, holder_count=3)
    holdings = [
        {
            "cluster": "c",
            "node": "n",
            "gpu_uuid": "g0",
            "job_id": job,
            "submitted_at": SUBMITTED,
            "restart_count": int(job) - 7,
            "held_start": SUBMITTED,
        }
        for job in ("7", "8", "9")
    ]
    rows = judged([shared], [minute(HOUR, **BUSY)], [gpu(fraction="0.5")], holdings)
    assert rows["restart_count"].to_list() == [0, 1, 2]
    assert rows["gpu_allocated_seconds"].to_list() == [Decimal("1.667"), Decimal("1.6665"), Decimal("1.6665")]
    assert rows["gpu_allocated_seconds"].sum() == Decimal(5)


STATES = st.sampled_from(["unknown", "faulty", "orphaned", "allocated_idle", "held_idle", "throttled", "productive"])


@st.composite
def timelines(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Draw what two devices did in two hours, cut at the hour."""
    rows = []
    for device in ("g0", "g1"):
        cuts = draw(st.lists(st.integers(1, 7_199_999), max_size=8, unique=True))
        edges = sorted({0, 3_600_000, 7_200_000, *cuts})
        for begin, end in itertools.pairwise(edges):
            job = draw(st.sampled_from(["", "7", "8"]))
            state = draw(STATES) if job else draw(st.sampled_from(["unallocated", "productive"]))
            at = timedelta(milliseconds=1)
            rows.append(interval(HOUR + begin * at, HOUR + end * at, state, device, job_id=job))
    return rows


@on_cases(st.tuples(timelines(), st.sampled_from(["1", "0.142857"])))
def test_seconds_are_conserved_per_job_and_hours_may_be_computed_apart(
    cases: list[tuple[list[dict[str, Any]], str]],
) -> None:
    clusters = {f"c{place}": case for place, case in enumerate(cases)}
    rows = [{**each, "cluster": cluster} for cluster, (drawn, _) in clusters.items() for each in drawn]
    devices = [(cluster, uuid) for cluster in clusters for uuid in ("g0", "g1")]
    gpus = [gpu(uuid, clusters[cluster][1], cluster) for cluster, uuid in devices]
    minutes = [
        minute(HOUR + at * MINUTE, uuid, cluster=cluster, **BUSY) for cluster, uuid in devices for at in range(120)
    ]
    now = HOUR + timedelta(hours=3)
    both = judged(rows, minutes, gpus, span=Span(HOUR, HOUR + timedelta(hours=2), now))
    apart = [
        judged(
            [each for each in rows if start - timedelta(hours=1) <= each["started_at"] < start + timedelta(hours=1)],
            [each for each in minutes if start - 5 * MINUTE <= each["minute_start"] < start + timedelta(hours=1)],
            gpus,
            span=Span(start, start + timedelta(hours=1), now),
        )
        for start in (HOUR, HOUR + timedelta(hours=1))
    ]
    assert both.equals(pl.concat(apart).sort("minute_start", "cluster", "gpu_uuid", "job_id"))
    divided = ("gpu_idle_seconds", "gpu_throttled_seconds", "gpu_unknown_seconds", "gpu_limited_seconds")
    for cluster, (drawn, part) in clusters.items():
        own = both.filter(cluster=cluster)
        for job in ("7", "8"):
            mine = [each for each in drawn if each["job_id"] == job]
            held = sum((each["ended_at"] - each["started_at"] for each in mine), timedelta())
            total = own.filter(pl.col("job_id") == job)["gpu_allocated_seconds"].sum()
            assert total == Decimal(held // timedelta(milliseconds=1)) / 1000 * Decimal(part)
        assert own.select(pl.sum_horizontal(divided)).to_series().sum() == own["gpu_allocated_seconds"].sum()
