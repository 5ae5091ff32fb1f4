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


def test_a_place_is_slurms_index_where_an_agent_tells_it() -> None:
    """The device files of this node are numbered otherwise than its PCI addresses are ordered."""
    there = [gpu(f"GPU-{each}", each, scheduler_index=(each + 2) % 4, minor_index=(each + 2) % 4) for each in range(4)]
    assert names([holding("index:0")], there)[0] == ["GPU-2"]
    assert names([holding("index:3")], there)[0] == ["GPU-1"]


def test_a_device_whose_index_is_told_stands_before_one_whose_index_is_guessed() -> None:
    """Slurm counts two of the four: their indices are also those that the driver gave the others."""
    there = [gpu(f"GPU-{each}", each, scheduler_index=each - 2 if each > 1 else None) for each in range(4)]
    assert names([holding("index:0"), holding("index:1")], there)[0] == ["GPU-2", "GPU-3"]


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


def cut(*profiles: str, index: int = 0, **changes: Any) -> list[dict[str, Any]]:
    """Return the slices of one GPU, and the rest of it."""
    rest = gpu(f"GPU-{index}-rest", index, parent_gpu_uuid=f"GPU-{index}", **changes)
    return [
        gpu(f"MIG-{index}-{n}", index, parent_gpu_uuid=f"GPU-{index}", mig_profile=each, mig_index=n, **changes)
        for n, each in enumerate(profiles)
    ] + [rest]


def test_on_a_node_with_slices_a_place_counts_devices_of_one_kind() -> None:
    there = [gpu("GPU-0", 0), *cut("3g.40gb", "1g.10gb", "1g.10gb", index=1), gpu("GPU-2", 2)]
    told = [
        holding("index:7/whole/0"),
        holding("index:7/3g.40gb/0"),
        holding("index:7/1g.10gb/1"),
        holding("index:7/whole/1"),
    ]
    assert names(told, there) == (["GPU-0", "GPU-2", "MIG-1-0", "MIG-1-2"], ())


def test_slices_of_several_gpus_are_counted_first_by_their_place_on_the_gpu() -> None:
    there = [*cut("3g.40gb", "3g.40gb", index=0), *cut("3g.40gb", "3g.40gb", index=1)]
    told = [[f"index:7/3g.40gb/{each}"] for each in range(4)]
    assert [names([holding(place)], there)[0] for [place] in told] == [
        ["MIG-0-0"],
        ["MIG-1-0"],
        ["MIG-0-1"],
        ["MIG-1-1"],
    ]


def test_a_place_that_no_device_of_its_kind_has_is_left_out() -> None:
    there = [gpu("GPU-0", 0), *cut("3g.40gb", "1g.10gb", index=1)]
    found, remarks = names([holding("index:7/1g.10gb/1"), holding("index:1"), holding("index:7/whole/1")], there)
    assert found == []
    assert remarks == ("3 holdings name places of GPUs that no agent has told, or that are cut: n1",)


def test_a_slice_is_one_of_the_cut_that_was_there() -> None:
    old = cut("3g.40gb", "3g.40gb", exists_end=AT + HOUR)
    new = [
        {**each, "gpu_uuid": f"NEW-{each['gpu_uuid']}"} for each in cut("3g.40gb", "3g.40gb", exists_start=AT + HOUR)
    ]
    there = [*new, *old]
    assert names([holding("index:7/3g.40gb/1", held_end=AT + HOUR)], there)[0] == ["MIG-0-1"]
    assert names([holding("index:7/3g.40gb/1", held_start=AT + 2 * HOUR)], there)[0] == ["NEW-MIG-0-1"]
    late = [{**each, "exists_start": AT + HOUR} for each in old]
    assert names([holding("index:7/3g.40gb/1")], [{**each, "exists_end": None} for each in late])[0] == ["MIG-0-1"]


def test_where_an_agent_tells_slurms_index_of_slices_kinds_may_mix() -> None:
    """What Slurm detects: whole, slice, slice, whole; no kind's devices stand together."""
    whole = [gpu("GPU-0", 0, scheduler_index=0), gpu("GPU-2", 2, scheduler_index=3)]
    slices = [
        {**each, "scheduler_index": n} for each, n in zip(cut("3g.40gb", "1g.10gb", index=1)[:2], (1, 2), strict=True)
    ]
    there = [*whole, *slices]
    told = ["index:3/whole", "index:2/1g.10gb", "index:1/3g.40gb/2", "index:0/whole/0"]
    assert [names([holding(each)], there)[0] for each in told] == [["GPU-2"], ["MIG-1-1"], ["MIG-1-0"], ["GPU-0"]]
    assert names([holding("index:2/3g.40gb/0")], there)[0] == [], "it is another kind's"
    all_of_them = ["index:/whole/0", "index:/whole/1", "index:/3g.40gb/0", "index:/1g.10gb/0"]
    assert names([holding(each) for each in all_of_them], there)[0] == ["GPU-0", "GPU-2", "MIG-1-0", "MIG-1-1"]


def test_a_share_is_of_the_device_of_its_index_whichever_kind_was_guessed() -> None:
    """Of four devices that Slurm detected, it counts the slices between the whole ones."""
    there = [gpu("GPU-0", 0), *cut("3g.40gb", "1g.10gb", index=1), gpu("GPU-2", 2)]
    asked = ["index:0/?whole/0", "index:1/?whole/1", "index:2/?3g.40gb/0", "index:3/?1g.10gb/0"]
    assert [names([holding(each)], there)[0] for each in asked] == [["GPU-0"], ["GPU-2"], ["MIG-1-0"], ["MIG-1-1"]]
    order = {"GPU-0": 0, "MIG-1-0": 1, "MIG-1-1": 2, "GPU-2": 3}
    told = [{**each, "scheduler_index": order.get(each["gpu_uuid"])} for each in there]
    assert [names([holding(each)], told)[0] for each in asked] == [["GPU-0"], ["MIG-1-0"], ["MIG-1-1"], ["GPU-2"]]


def test_slices_whose_order_nobody_tells_have_no_place() -> None:
    there = [{**each, "mig_index": None} for each in cut("3g.40gb", "3g.40gb")]
    assert names([holding("index:7/3g.40gb/1")], there)[0] == []


def test_what_needs_no_name_is_not_asked() -> None:
    piece = Pulled({Job: Job.create_empty()}, AT)
    assert named(piece, lambda _: pl.DataFrame()) is piece
    assert names([holding("GPU-x")], [])[0] == ["GPU-x"]
