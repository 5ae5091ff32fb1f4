"""What happens to a driver, to a device or to its slices while the agent runs: it goes on without a restart."""

import time
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pynvml
import pytest

from collectors.fake_nvml import Accounted, FakeNvml, Gpu, Incident, Phase, Process, Reload, Scenario, Slice
from collectors.node.nvml import nvml
from ledger.errors import SourceError
from tests.collectors.node.gpu_node import GIB, Node, events

Make = Callable[..., Node]


@pytest.fixture
def node(small_node: Path) -> Make:
    return lambda *gpus, **options: Node(small_node / "proc", gpus, **options)


BUSY = Phase(kernel=0.9, graphics=0.9, sw_thermal=0.5, nvlink_bytes_per_second=1e6)
RELOAD = Reload(115, 135, "590.44.01")


def test_a_driver_that_is_loaded_again_leaves_status_rows_and_a_mark_on_its_counters(
    node: Make, kept: Callable[..., dict[str, pl.DataFrame]]
) -> None:
    gpu = node(Gpu("GPU-a", phases=(BUSY,)), Gpu("GPU-b"), reloads=(RELOAD,))
    tables = gpu.rounds(7)
    statuses = [[row["status"] for row in each["gpu_sample"]] for each in tables]
    assert statuses == [["ok"] * 2, ["ok"] * 2, ["error"] * 2, ["error"] * 2, ["ok"] * 2, ["ok"] * 2, ["ok"] * 2]
    assert tables[2]["gpu_sample"][0]["status_reason"] == "the driver does not answer: Driver Not Loaded"
    assert events(tables, "gpu_uuid", "event", "is_critical") == [
        ("GPU-a", "driver_reload", False),
        ("GPU-b", "driver_reload", False),
    ]
    assert "590.44.01" in str(tables[4]["gpu_event"][0]["message"])
    assert tables[4]["gpu_health_sample"][0]["driver_version"] == "590.44.01"
    energy = [each["gpu_sample"][0].get("energy_joules_total") for each in tables]
    assert energy == [7000.0, 7700.0, None, None, 350.0, 1050.0, 1750.0]
    qualities = [each["gpu_sample"][0]["evidence_quality"] for each in tables]
    assert qualities == ["B", "A", "X", "X", "B", "A", "A"], "no average reaches over the gap"
    kept((name, row) for each in tables[4:5] for name, rows in each.items() for row in rows)


def test_a_session_that_ended_between_two_rounds_is_opened_again(node: Make) -> None:
    """The driver was away for a moment that no round saw: the old session answers nothing."""
    gpu = node(Gpu("GPU-a", phases=(BUSY,)), reloads=(Reload(103, 104),))
    tables = gpu.rounds(3)
    assert [each["gpu_sample"][0]["status"] for each in tables] == ["ok", "error", "ok"]
    assert events(tables, "event") == [("driver_reload",)]


def test_a_driver_that_goes_in_the_middle_of_a_round_leaves_one_row_for_each_device(node: Make) -> None:
    class Going(FakeNvml):
        def _nvmlDeviceGetPowerUsage(self, handle: object) -> int:  # noqa: N802
            if handle.gpu == 1 and self._clock() == 110:  # type: ignore[attr-defined]
                raise self.NVMLError(pynvml.NVML_ERROR_UNINITIALIZED)
            return 70_000

    seconds = [100.0]
    fake = Going(Scenario((Gpu("GPU-a"), Gpu("GPU-b"), Gpu("GPU-c"))), lambda: seconds[0])
    one_round = nvml.open(procfs=node().procfs, library=fake, clock=lambda: seconds[0])
    list(one_round())
    seconds[0] = 110.0
    rows = [(row["gpu_uuid"], row["status"]) for table, row in one_round() if table == "gpu_sample"]
    assert rows == [("GPU-a", "ok"), ("GPU-b", "error"), ("GPU-c", "error")]


def test_a_driver_that_never_answered_is_an_error_of_the_round(node: Make) -> None:
    gpu = node(Gpu("GPU-a"), reloads=(Reload(105, 200),))
    gpu.seconds = 110.0
    with pytest.raises(SourceError, match="Driver Not Loaded"):
        gpu.round()


def test_slices_are_told_while_there_is_no_driver(node: Make) -> None:
    gpu = node(Gpu("GPU-a", slices=(Slice("MIG-1", 1),)), reloads=(RELOAD,))
    tables = gpu.rounds(3)
    assert [(row["gpu_uuid"], row["status"]) for row in tables[2]["gpu_sample"]] == [
        ("GPU-a", "error"),
        ("MIG-1", "error"),
        ("GPU-a-rest", "error"),
    ]


def test_a_device_that_stays_lost_costs_the_others_their_averages_seldom(node: Make) -> None:
    """A new session may bring the device back, and takes each other device's last sample."""
    gpu = node(Gpu("GPU-a", phases=(BUSY,)), Gpu("GPU-b", incidents=(Incident("lost", 105),)))
    tables = gpu.rounds(40)
    assert {each["gpu_sample"][-1]["status"] for each in tables[1:]} == {"lost"}
    assert len({row["gpu_uuid"] for each in tables for row in each["gpu_sample"]}) == 2
    starts = gpu.fake.calls["nvmlInit"] - 1
    assert starts == 5, "after 1, 2, 4, 8, 16 slow rounds"
    poor = [each["gpu_sample"][0]["evidence_quality"] for each in tables].count("B")
    assert poor == 1 + starts
    assert events(tables, "gpu_uuid", "event") == [("GPU-b", "lost")]


def test_profiling_keeps_two_buffers_for_a_device_whatever_happens(node: Make) -> None:
    lost = Gpu("GPU-b", incidents=(Incident("lost", 105),))
    failing = (Incident("error", 125, 145, call="nvmlGpmSampleGet", code=pynvml.NVML_ERROR_TIMEOUT),)
    gpu = node(Gpu("GPU-a", incidents=failing), lost, Gpu("GPU-c"))
    gpu.rounds(40)
    assert len(gpu.fake._samples) <= 2 * 3


def test_a_sample_that_fails_once_leaves_no_gap_in_the_average(node: Make) -> None:
    """The next average reaches back to the last sample that was taken."""
    failing = Incident("error", 115, 125, call="nvmlGpmSampleGet", code=pynvml.NVML_ERROR_TIMEOUT)
    phases = (Phase(), Phase(110.0, graphics=1.0), Phase(120.0))
    gpu = node(Gpu("GPU-a", phases=phases, incidents=(failing,)))
    ratios = [each["gpu_sample"][0].get("graphics_active_ratio") for each in gpu.rounds(4)]
    assert ratios == [None, 0.0, None, 0.5]


def test_slices_that_are_cut_anew_are_told_with_their_first_sample(node: Make) -> None:
    """Health is due every sixth round only; what exists must not lag behind its samples."""
    busy = (Phase(graphics=1.0, memory_used_bytes=9 * GIB, processes=(Process(4242),)),)
    slices = (
        Slice("MIG-1", 1, end_seconds=115, phases=busy),
        Slice("MIG-2", 2, end_seconds=115),
        Slice("MIG-3", 1, "7g.80gb", 7, 80 * GIB, start_seconds=115, phases=busy),
    )
    gpu = node(Gpu("GPU-a", slices=slices), health_every_rounds=6)
    tables = gpu.rounds(4)
    assert [sorted(str(row["gpu_uuid"]) for row in each["gpu_sample"]) for each in tables] == [
        ["GPU-a", "MIG-1", "MIG-2"],
        ["GPU-a", "MIG-1", "MIG-2"],
        ["GPU-a", "MIG-3"],
        ["GPU-a", "MIG-3"],
    ]
    told = {str(row["gpu_uuid"]): row["exists_end"] is not None for row in tables[2]["gpu"]}
    assert told == {"MIG-3": False, "MIG-1": True, "MIG-2": True}
    assert "gpu" not in tables[1]
    assert "gpu" not in tables[3]
    first, second = (each["gpu_sample"][1] for each in tables[2:])
    assert "graphics_active_ratio" not in first, "instance 1 was another slice a round ago"
    assert second["graphics_active_ratio"] == pytest.approx(1.0)


def test_a_device_that_is_cut_while_the_agent_runs_asks_again_what_was_unsupported(node: Make) -> None:
    slices = (Slice("MIG-1", 1, start_seconds=105, end_seconds=125),)
    gpu = node(Gpu("GPU-a", slices=slices, phases=(BUSY,)))
    rows = [gpu.samples()["GPU-a"] for _ in range(4)]
    assert ["kernel_active_ratio" in row for row in rows] == [True, False, False, True]
    assert all(row["status"] == "ok" for row in rows)


def test_a_round_of_eight_devices_takes_little_of_a_processor(node: Make) -> None:
    """CPU time, the fake driver's included; half of the rounds are allowed to be disturbed."""
    gpu = node(*(Gpu(f"GPU-{n}", phases=(BUSY,)) for n in range(8)))
    gpu.rounds(2)
    taken = []
    for _ in range(9):
        begun = time.thread_time()
        gpu.round()
        taken.append(time.thread_time() - begun)
    assert sorted(taken)[4] < 0.05


def test_a_new_session_for_a_lost_device_tells_nothing_of_the_others_twice(node: Make) -> None:
    """What was read until when is the driver's own memory: it outlives a session of ours."""
    phases = (Phase(processes=(Process(4242, kernel_ratio=1.0),)), Phase(101.0, processes=(Process(4242),)))
    account = (Accounted(5151, 101, 112),)
    sound = Gpu("GPU-a", generation="ampere", phases=phases, accounting=account)
    gpu = node(sound, Gpu("GPU-b", incidents=(Incident("lost", 105),)), health_every_rounds=2)
    tables = gpu.rounds(4)
    assert gpu.fake.calls["nvmlInit"] == 2
    assert [each["gpu_process_sample"][0]["kernel_active_ratio"] for each in tables] == [1.0, 0.0, 0.0, 0.0]
    assert [[row["pid_code"] for row in each.get("gpu_process_run", [])] for each in tables] == [[], [], [5151], []]


def kernel_knows(procfs: Path, **uuids: str) -> None:
    """Write what the kernel's driver says of its devices, by the bus of their address."""
    for place, (bus, uuid) in enumerate(uuids.items()):
        folder = procfs / f"driver/nvidia/gpus/0000:{bus.removeprefix('_')}:00.0"
        folder.mkdir(parents=True)
        (folder / "information").write_text(f"Model: \t\t NVIDIA H100\nGPU UUID: \t {uuid}\nDevice Minor: \t {place}\n")


LOST_AT_FIRST = (Incident("lost", end_seconds=125.0),)


def test_a_device_that_is_lost_before_the_first_round_has_rows_that_say_so(tmp_path: Path) -> None:
    """An agent that starts anew must not make an unknown device of a faulty one."""
    kernel_knows(tmp_path / "proc", _1a="GPU-a", _1b="GPU-b", _1c="GPU-c")
    gpus = (Gpu("GPU-a"), Gpu("GPU-b", incidents=LOST_AT_FIRST), Gpu("GPU-c"))
    node = Node(tmp_path / "proc", gpus)
    tables = node.rounds(4)
    found = [{row["gpu_uuid"]: row["status"] for row in each["gpu_sample"]} for each in tables]
    assert found[0] == found[1] == {"GPU-a": "ok", "GPU-b": "lost", "GPU-c": "ok"}
    assert found[3] == dict.fromkeys(("GPU-a", "GPU-b", "GPU-c"), "ok")
    assert events(tables, "gpu_uuid", "event") == [("GPU-b", "lost"), ("GPU-b", "recovered")]
    assert {row["gpu_uuid"]: row["minor_index"] for row in tables[3]["gpu"]} == {"GPU-a": 0, "GPU-b": 1, "GPU-c": 2}


def test_a_device_whose_handle_fails_from_the_start_is_lost_too(tmp_path: Path) -> None:
    """What drivers say of a device that fell off the bus is often an unknown error."""
    kernel_knows(tmp_path / "proc", _1a="GPU-a", _1b="GPU-b")
    unknown = Incident("error", call="nvmlDeviceGetHandleByIndex", code=pynvml.NVML_ERROR_UNKNOWN)
    (tables,) = Node(tmp_path / "proc", (Gpu("GPU-a"), Gpu("GPU-b", incidents=(unknown,)))).rounds(1)
    assert {row["gpu_uuid"]: row["status"] for row in tables["gpu_sample"]} == {"GPU-a": "ok", "GPU-b": "lost"}


@pytest.mark.parametrize(
    "uuids",
    [
        {"_1a": "GPU-a"},
        {"_1a": "GPU-a", "_1b": "GPU-b", "_1c": "GPU-c"},
        {"_1a": "GPU-a", "_1b": "GPU-????????-????-????-????-????????????"},
        {"_1a": "GPU-a", "x": "GPU-b"},
        {},
    ],
)
def test_where_the_kernel_does_not_say_which_device_is_lost_none_is_named(
    tmp_path: Path, uuids: dict[str, str]
) -> None:
    """A device that this process may not see is somebody's, and not lost."""
    kernel_knows(tmp_path / "proc", **uuids)
    node = Node(tmp_path / "proc", (Gpu("GPU-a"), Gpu("GPU-b", incidents=LOST_AT_FIRST)))
    tables = node.rounds(4)
    assert [len(each["gpu_sample"]) for each in tables] == [1, 1, 1, 2]
    assert events(tables, "event") == []


def test_what_is_left_of_a_cut_device_is_lost_and_silent_with_it(node: Make) -> None:
    """Else a device that is broken would be unknown by the part that nobody cut."""
    lost = Incident("lost", start_seconds=115.0, end_seconds=125.0)
    gpu = node(Gpu("GPU-a", slices=(Slice("MIG-1", 1),), incidents=(lost,)), reloads=(Reload(125, 135),))
    found = [{row["gpu_uuid"]: row["status"] for row in each["gpu_sample"]} for each in gpu.rounds(5)]
    names = ("GPU-a", "MIG-1", "GPU-a-rest")
    assert found == [dict.fromkeys(names, status) for status in ("ok", "ok", "lost", "error", "ok")]
