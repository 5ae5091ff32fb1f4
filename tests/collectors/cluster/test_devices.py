"""A place on a node becomes the device that was there."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl

from collectors.cluster._devices import named
from collectors.cluster._source import Pulled
from ledger.frames import to_frame
from ledger.tables import Gpu, Job, JobGpu

AT = datetime(2026, 11, 20, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def holding(place: str, **changes: Any) -> dict[str, Any]:
    run = {"cluster": "c", "node": "n1", "job_id": "7", "submitted_at": AT, "restart_count": 0}
    return {**run, "gpu_uuid": place, "held_start": AT, "held_end": None, "source": "scheduler", **changes}


def gpu(uuid: str, index: int, **changes: Any) -> dict[str, Any]:
    place = {"cluster": "c", "node": "n1", "gpu_uuid": uuid, "gpu_index": index, "parent_gpu_uuid": ""}
    return {**place, "exists_start": AT - HOUR, "exists_end": None, "gpu_fraction": 1, **changes}


def names(holdings: Sequence[dict[str, Any]], gpus: Sequence[dict[str, Any]]) -> tuple[list[str], tuple[str, ...]]:
    asked: list[list[str]] = []

    def known(nodes: Sequence[str]) -> pl.DataFrame:
        asked.append(list(nodes))
        return to_frame(Gpu, gpus)

    found = named(Pulled({JobGpu: to_frame(JobGpu, holdings)}, AT), known)
    assert len(asked) <= 1
    return found.frames[JobGpu].sort("gpu_uuid")["gpu_uuid"].to_list(), found.remarks


def test_a_place_is_the_device_of_its_index() -> None:
    told = [holding("index:0"), holding("index:3"), holding("GPU-x")]
    found, remarks = names(told, [gpu(f"GPU-{each}", each) for each in range(4)])
    assert found == ["GPU-0", "GPU-3", "GPU-x"]
    assert remarks == ()


def test_a_device_that_no_agent_told_is_left_out_and_said() -> None:
    found, remarks = names([holding("index:0"), holding("index:9", node="n2", job_id="8")], [gpu("GPU-0", 0)])
    assert found == ["GPU-0"]
    assert remarks == ("1 holdings name places of GPUs that no agent has told, or that are cut: n2",)


def test_a_replaced_device_is_the_one_that_was_there() -> None:
    old, new = gpu("OLD", 0, exists_end=AT + HOUR), gpu("NEW", 0, exists_start=AT + HOUR)
    assert names([holding("index:0", held_end=AT + HOUR)], [new, old])[0] == ["OLD"]
    assert names([holding("index:0", held_start=AT + 2 * HOUR)], [new, old])[0] == ["NEW"]
    assert names([holding("index:0", held_start=AT - 3 * HOUR, held_end=AT - 2 * HOUR)], [new, old])[0] == []
    assert names([holding("index:0")], [new, old])[0] == ["OLD"]


def test_a_device_that_is_cut_into_slices_has_no_name_by_place() -> None:
    slices = [gpu(f"MIG-{each}", 0, parent_gpu_uuid="GPU-0") for each in range(2)]
    assert names([holding("index:0")], slices)[0] == []


def test_what_needs_no_name_is_not_asked() -> None:
    piece = Pulled({Job: Job.create_empty()}, AT)
    assert named(piece, lambda _: pl.DataFrame()) is piece
    assert names([holding("GPU-x")], [])[0] == ["GPU-x"]
