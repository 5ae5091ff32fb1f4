"""Of how much of the time of processes it is known whose they were, and from where."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.tables import AttributionHour, Gpu, GpuProcessSample, GpuSample
from queries.graph import Span
from queries.rollups.attribution_hour import attribution_hour
from tests.frames import frame, validated

HOUR = datetime(2026, 11, 20, 5, tzinfo=UTC)
NODE = {"cluster": "c", "node": "n"}
SOURCES = ("cgroup", "prolog", "pod_resources", "environ", "other", "unattributed")
WORDS = {"cgroup": 0.9, "prolog": 0.7, "pod_resources": 0.8, "environ": 0.5, "a_newer_one": 0.6, "none": None}


def at(seconds: float, pace: float | None = 10.0) -> dict[str, Any]:
    return {**NODE, "sampled_at": HOUR + timedelta(seconds=seconds), "step_seconds": pace}


def device(seconds: float, uuid: str = "GPU-a", count: int | None = 0, **more: Any) -> dict[str, Any]:
    return {**at(seconds), "gpu_uuid": uuid, "status": "ok", "process_count": count, **more}


def process(seconds: float, source: str | None, pid: int = 1, uuid: str = "GPU-a", **more: Any) -> dict[str, Any]:
    ratio = None if source is None else WORDS[source]
    return {
        **at(seconds),
        "gpu_uuid": uuid,
        "pid_code": pid,
        "job_id": "",
        "attribution_source": source,
        "attribution_confidence_ratio": ratio,
        **more,
    }


def hours(
    devices: Sequence[dict[str, Any]],
    processes: Sequence[dict[str, Any]] = (),
    gpus: Sequence[dict[str, Any]] = (),
    count: int = 1,
    start: datetime = HOUR,
) -> pl.DataFrame:
    span = Span(start, start + timedelta(hours=count), start + timedelta(hours=count))
    inputs = (frame(GpuSample, devices), frame(GpuProcessSample, processes), frame(Gpu, gpus))
    return validated(AttributionHour, attribution_hour.function(*(each.lazy() for each in inputs), span).collect())


def test_each_source_has_its_time_and_what_nothing_tells_has_its_own() -> None:
    processes = [process(0, word, pid) for pid, word in enumerate(WORDS)]
    (row,) = hours([device(0, count=6), device(10)], [*processes, process(10, "cgroup")]).to_dicts()
    assert {name: row[f"{name}_seconds"] for name in SOURCES} == {
        name: Decimal(20 if name == "cgroup" else 10) for name in SOURCES
    }
    assert (row["process_seconds"], row["observed_seconds"], row["invisible_seconds"]) == (70, 20, 0)
    assert row["confidence_ratio"] == pytest.approx((0.9 + 0.9 + 0.7 + 0.8 + 0.5 + 0.6) / 6)


def test_a_device_whose_processes_cannot_be_listed_is_not_one_without() -> None:
    (row,) = hours([device(0, count=None), device(10, count=0)]).to_dicts()
    assert (row["observed_seconds"], row["invisible_seconds"], row["process_seconds"]) == (20, 10, 0)
    assert row["confidence_ratio"] is None


def test_a_cut_device_is_not_asked_for_its_processes_while_it_is_cut() -> None:
    slice_ = {**NODE, "gpu_uuid": "MIG-1", "parent_gpu_uuid": "GPU-a", "gpu_fraction": Decimal("0.5")}
    gpus = [
        {**slice_, "exists_start": HOUR + timedelta(seconds=10), "exists_end": HOUR + timedelta(seconds=30)},
        {**slice_, "node": "m", "exists_start": HOUR},
    ]
    devices = [device(each, count=None) for each in (0, 10, 20, 30)] + [device(10, "MIG-1", 1)]
    (row,) = hours(devices, [process(10, "cgroup", uuid="MIG-1")], gpus).to_dicts()
    assert (row["observed_seconds"], row["invisible_seconds"], row["cgroup_seconds"]) == (30, 20, 10)


def test_a_pace_that_is_not_told_is_the_agents_own() -> None:
    (row,) = hours([device(0, step_seconds=None)], [process(0, None, step_seconds=30.0)]).to_dicts()
    assert (row["observed_seconds"], row["unattributed_seconds"], row["process_seconds"]) == (10, 30, 30)


ROUNDS = st.lists(
    st.tuples(
        st.integers(0, 719),
        st.sampled_from(["GPU-a", "GPU-b"]),
        st.lists(st.sampled_from([None, *WORDS]), max_size=4),
        st.sampled_from([1.0, 10.0, 33.333]),
    ),
    max_size=25,
    unique_by=lambda each: each[:2],
)


@given(ROUNDS)
def test_the_sources_sum_to_the_whole_and_hours_apart_are_hours_together(rounds: list[tuple[Any, ...]]) -> None:
    devices = [device(10 * step, uuid, len(sources), step_seconds=pace) for step, uuid, sources, pace in rounds]
    processes = [
        process(10 * step, source, pid, uuid, step_seconds=pace)
        for step, uuid, sources, pace in rounds
        for pid, source in enumerate(sources)
    ]
    both = hours(devices, processes, count=2)
    assert both["process_seconds"].sum() == sum(
        (Decimal(str(pace)) * len(sources) for _, _, sources, pace in rounds), Decimal(0)
    )
    assert both.select(pl.sum_horizontal(f"{name}_seconds" for name in SOURCES)).to_series().to_list() == (
        both["process_seconds"].to_list()
    )
    apart = [hours(devices, processes, start=HOUR + each * timedelta(hours=1)) for each in (0, 1)]
    again = hours(devices[::-1], processes[::-1], count=2)
    assert pl.concat(apart).equals(both)
    assert again.equals(both)
