"""What a driver fails to say once: it is unknown in that round, and nothing else changes."""

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pynvml
import pytest

from collectors.fake_nvml import Accounted, FakeNvml, Gpu, Handle, Incident, Phase, Process, Slice
from collectors.node.nvml import nvml
from ledger.registry import Row
from tests.collectors.node import gpu_node
from tests.collectors.node.gpu_node import GIB, T0, Node, events

Make = Callable[..., Node]
BUSY = Phase(kernel=0.9, graphics=0.9, power_watts=600.0, nvlink_bytes_per_second=1e9)


@pytest.fixture
def node(small_node: Path) -> Make:
    return lambda *gpus, **options: Node(small_node / "proc", gpus, **options)


def played(monkeypatch: pytest.MonkeyPatch, driver: type[FakeNvml]) -> None:
    """Let nodes of this test have another driver."""
    monkeypatch.setattr(gpu_node, "FakeNvml", driver)


def once(call: str) -> Incident:
    return Incident("error", 115, 125, call=call, code=pynvml.NVML_ERROR_UNKNOWN)


# -- slices


@pytest.mark.parametrize(
    "call",
    [
        "nvmlDeviceGetMigMode",
        "nvmlDeviceGetMaxMigDeviceCount",
        "nvmlDeviceGetMigDeviceHandleByIndex",
        "nvmlDeviceGetAttributes_v2",
        "nvmlDeviceGetGpuInstanceId",
        "nvmlDeviceGetMemoryInfo",
    ],
)
def test_slices_are_as_they_were_while_the_driver_fails_to_say(node: Make, call: str) -> None:
    """An end of a slice that is still there would give its time, and its price, to nobody."""
    slices = (Slice("MIG-1", 1, phases=(BUSY,)), Slice("MIG-2", 2, phases=(BUSY,)))
    gpu = node(Gpu("GPU-a", slices=slices, incidents=(once(call),)))
    before, failing, after = gpu.rounds(4)[1:]
    assert failing["gpu"] == [{**row, "exists_start": failing["gpu"][0]["exists_start"]} for row in before["gpu"]]
    assert [row["gpu_uuid"] for row in after["gpu"]] == ["MIG-1", "MIG-2"]
    for tables in (before, failing, after):
        assert [row["gpu_uuid"] for row in tables["gpu_sample"]] == ["GPU-a", "MIG-1", "MIG-2"]
    assert failing["gpu_sample"][1]["graphics_active_ratio"] == pytest.approx(0.9)


def test_one_slice_without_its_name_ends_none(node: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    class Nameless(FakeNvml):
        def _nvmlDeviceGetUUID(self, handle: Handle) -> str:  # noqa: N802
            if handle.part == 1 and 115 <= self._clock() < 125:
                raise self.NVMLError(pynvml.NVML_ERROR_UNKNOWN)
            return super()._nvmlDeviceGetUUID(handle)

    played(monkeypatch, Nameless)
    gpu = node(Gpu("GPU-a", slices=(Slice("MIG-1", 1), Slice("MIG-2", 2))))
    for tables in gpu.rounds(4):
        assert [row["gpu_uuid"] for row in tables["gpu_sample"]] == ["GPU-a", "MIG-1", "MIG-2"]
        assert [(row["gpu_uuid"], row["exists_end"]) for row in tables["gpu"]] == [("MIG-1", None), ("MIG-2", None)]


def test_a_driver_that_never_tells_sizes_tells_of_slices_that_are_cut_anew(node: Make) -> None:
    slices = (Slice("MIG-1", 1, end_seconds=115), Slice("MIG-2", 2, start_seconds=115))
    calls = ("nvmlDeviceGetAttributes_v2", "nvmlDeviceGetGpuInstanceId")
    never = tuple(Incident("error", call=call, code=pynvml.NVML_ERROR_UNKNOWN) for call in calls)
    gpu = node(Gpu("GPU-a", slices=slices, incidents=never))
    told = [[row["gpu_uuid"] for row in each["gpu_sample"]] for each in gpu.rounds(4)]
    assert told == [["GPU-a", "MIG-1", "GPU-a-rest"]] * 2 + [["GPU-a", "MIG-2", "GPU-a-rest"]] * 2


def test_a_slice_whose_instance_was_not_told_at_first_has_its_profiling_later(node: Make) -> None:
    failing = Incident("error", 0, 105, call="nvmlDeviceGetGpuInstanceId", code=pynvml.NVML_ERROR_UNKNOWN)
    gpu = node(Gpu("GPU-a", slices=(Slice("MIG-1", 1, phases=(BUSY,)),), incidents=(failing,)))
    assert gpu.rounds(3)[2]["gpu_sample"][1]["evidence_quality"] == "A"


def test_processes_of_slices_that_ended_are_forgotten(tmp_path: Path) -> None:
    """A service on a slice starts thousands of processes in its life, and the driver keeps no account of slices."""
    pids = range(10_000, 10_040)
    for pid in pids:
        (tmp_path / f"proc/{pid}").mkdir(parents=True)
        (tmp_path / f"proc/{pid}/status").write_text("Name:\tserve\nState:\tR (running)\n")
    phases = tuple(Phase(10.0 * place, processes=(Process(pid),)) for place, pid in enumerate(pids))
    gpu = Node(tmp_path / "proc", (Gpu("GPU-a", slices=(Slice("MIG-1", 1, phases=phases),)),))
    told = [row["pid_code"] for each in gpu.rounds(20) for row in each["gpu_process_sample"]]
    assert told == list(pids[10:30])
    (card,) = gpu.one_round.__self__._cards.values()  # type: ignore[attr-defined]
    assert len(card._slices["MIG-1"]._processes.owners) <= 1


# -- links


@pytest.mark.parametrize("link", [0, 3, 17])
def test_bytes_of_all_links_are_unknown_while_one_of_them_is(
    node: Make, monkeypatch: pytest.MonkeyPatch, link: int
) -> None:
    """A sum without one link falls, which is a reset, and then grows by all that the link ever carried."""

    class OneLinkFails(FakeNvml):
        def _refused(self, handle: Handle, field: int, scope: int) -> int | None:
            if (field, scope) == (138, link) and 115 <= self._clock() < 125:
                return int(pynvml.NVML_ERROR_UNKNOWN)
            return super()._refused(handle, field, scope)

    played(monkeypatch, OneLinkFails)
    gpu = node(Gpu("GPU-a", nvlink_scopes="each", phases=(BUSY,)))
    tables = gpu.rounds(5)[1:]
    sent = [each["gpu_sample"][0].get("nvlink_transmit_bytes_total") for each in tables]
    received = [each["gpu_sample"][0].get("nvlink_receive_bytes_total") for each in tables]
    assert [value is None for value in sent] == [False, True, False, False]
    assert None not in received
    assert events(tables, "event") == []


def test_links_that_are_not_told_end_the_count_and_no_failure_shortens_it(
    node: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Twelve(FakeNvml):
        def _nvmlDeviceGetNvLinkState(self, handle: Handle, link: int) -> int:  # noqa: N802
            if link >= 12:
                raise self.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
            if link == 5 and 115 <= self._clock() < 125:
                raise self.NVMLError(pynvml.NVML_ERROR_UNKNOWN)
            return super()._nvmlDeviceGetNvLinkState(handle, link)

    played(monkeypatch, Twelve)
    told = [each["gpu_health_sample"][0]["nvlink_active_count"] for each in node(Gpu("GPU-a")).rounds(4)]
    assert told == [12, 12, None, 12]


# -- devices


def test_a_device_whose_name_was_not_told_is_listed_all_the_same(node: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    class Nameless(FakeNvml):
        def _nvmlDeviceGetUUID(self, handle: Handle) -> str:  # noqa: N802
            if handle.gpu == 0 and 115 <= self._clock() < 125:
                raise self.NVMLError(pynvml.NVML_ERROR_UNKNOWN)
            return super()._nvmlDeviceGetUUID(handle)

    played(monkeypatch, Nameless)
    rows = [{row["gpu_uuid"]: row for row in each["gpu_sample"]} for each in node(Gpu("GPU-a"), Gpu("GPU-b")).rounds(3)]
    assert [row["GPU-a"].get("status_reason") for row in rows] == [None, None, "the driver fails to tell its UUID"]
    assert [row["GPU-b"]["status"] for row in rows] == ["ok"] * 3


def test_what_one_model_does_not_have_is_asked_of_the_others(node: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """A display's GPU beside those that are cut."""

    class Mixed(FakeNvml):
        def _nvmlDeviceGetMigMode(self, handle: Handle) -> tuple[int, int]:  # noqa: N802
            if handle.gpu == 0:
                raise self.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
            return super()._nvmlDeviceGetMigMode(handle)

        def _nvmlDeviceGetMinorNumber(self, handle: Handle) -> int:  # noqa: N802
            if handle.gpu == 0:
                raise self.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
            return super()._nvmlDeviceGetMinorNumber(handle)

    played(monkeypatch, Mixed)
    tables = node(Gpu("GPU-a"), Gpu("GPU-b"), Gpu("GPU-c", slices=(Slice("MIG-1", 1),))).round()
    assert {row["gpu_uuid"]: row["minor_index"] for row in tables["gpu"]} == {
        "GPU-a": None,
        "GPU-b": 1,
        "MIG-1": 2,
        "GPU-c-rest": 2,
    }


def test_where_a_device_is_was_not_told_at_first_and_is_later(node: Make) -> None:
    """Without its address an Xid of the kernel's log is nobody's, without its number the prolog's map."""
    calls = ("nvmlDeviceGetPciInfo", "nvmlDeviceGetMinorNumber")
    failing = tuple(Incident("error", 0, 105, call=call, code=pynvml.NVML_ERROR_UNKNOWN) for call in calls)
    tables = node(Gpu("GPU-a", incidents=failing)).rounds(2)
    assert [each["gpu"][0]["minor_index"] for each in tables] == [None, 0]
    assert [each["gpu_health_sample"][0]["pci_bus_id"] for each in tables] == [None, "00000000:1A:00.0"]


def test_profiling_is_not_compared_over_a_loss(node: Make) -> None:
    """What the device counts begins anew where it was reset meanwhile."""
    gpu = node(Gpu("GPU-a", phases=(BUSY,), incidents=(Incident("lost", 115, 125),)), health_every_rounds=99)
    rows = [each["gpu_sample"][0] for each in gpu.rounds(5)]
    assert [row["status"] for row in rows] == ["ok", "ok", "lost", "ok", "ok"]
    assert [row["evidence_quality"] for row in rows] == ["B", "A", "X", "B", "A"]
    assert len(gpu.fake._samples) <= 2


# -- values that cannot be


def test_a_value_that_cannot_be_costs_no_other(
    node: Make, monkeypatch: pytest.MonkeyPatch, kept: Callable[..., dict[str, pl.DataFrame]]
) -> None:
    """All bits set is how a driver says that it has no value; the door would refuse the whole row."""

    class AllBits(FakeNvml):
        def _nvmlDeviceGetPowerUsage(self, handle: Handle) -> int:  # noqa: ARG002, N802
            return 2**32 - 1

        def _nvmlDeviceGetTotalEnergyConsumption(self, handle: Handle) -> int:  # noqa: ARG002, N802
            return 2**64 - 1

        def _nvmlDeviceGetTemperature(self, handle: Handle, sensor: int) -> int:  # noqa: ARG002, N802
            return 2**32 - 1

        def _nvmlDeviceGetClockInfo(self, handle: Handle, kind: int) -> int:  # noqa: ARG002, N802
            return 2**32 - 1

        def _nvmlDeviceGetMemoryInfo(self, handle: Handle, version: int | None = None) -> Any:  # noqa: N802
            found = super()._nvmlDeviceGetMemoryInfo(handle, version)
            found.used = 2**64 - 1
            return found

        def _field(self, handle: Handle, field: int, scope: int) -> float | None:
            return super()._field(handle, field, scope) and 2**64 - 1

    played(monkeypatch, AllBits)
    phase = Phase(kernel=0.5, processes=(Process(4242, 2**64 - 2),))
    gpu = node(Gpu("GPU-a", phases=(phase,), module_power_watts=900.0, memory_power_watts=90.0))
    tables = gpu.round()
    found = kept((name, row) for name, rows in tables.items() for row in rows)
    sample: Row = found["gpu_sample"].row(0, named=True)
    assert (sample["kernel_active_ratio"], sample["memory_total_bytes"]) == (0.5, 80 * GIB)
    assert [name for name, value in sample.items() if isinstance(value, int | float) and value > 2**40] == []
    assert sample["energy_joules_total"] is None
    assert found["gpu_process_sample"]["memory_used_bytes"].to_list() == [None]
    assert found["gpu_health_sample"].height == 1


def test_an_account_with_an_instant_that_cannot_be_costs_no_other_row(
    node: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Absurd(FakeNvml):
        def _nvmlDeviceGetAccountingStats(self, handle: Handle, pid: int) -> Any:  # noqa: N802
            found = super()._nvmlDeviceGetAccountingStats(handle, pid)
            found.startTime = 2**64 - 1 if pid == 5151 else found.startTime
            return found

    played(monkeypatch, Absurd)
    accounts = (Accounted(5151, 110, 118), Accounted(5252, 110, 118))
    tables = node(Gpu("GPU-a", accounting=accounts), Gpu("GPU-b")).rounds(3)
    ended = [row["pid_code"] for each in tables for row in each.get("gpu_process_run", [])]
    assert ended == [5252]
    assert [len(each["gpu_sample"]) for each in tables] == [2, 2, 2]


# -- the clock


@pytest.mark.parametrize("hours", [-1.0, 1.0])
def test_activity_is_told_on_when_the_clock_is_set(node: Make, monkeypatch: pytest.MonkeyPatch, hours: float) -> None:
    """The driver stamps its samples by the host's clock: after it was set back, none would be newer for an hour."""

    def wall(seconds: float) -> datetime:
        return T0 + timedelta(seconds=seconds, hours=hours if seconds >= 125 else 0)

    class Stamped(FakeNvml):
        def _moments(self, since: int) -> list[tuple[int, float]]:
            moments = [self._clock() - back for back in range(15, -1, -1)]
            return [(stamp, at) for at in moments if (stamp := round(wall(at).timestamp() * 1e6)) > since]

    played(monkeypatch, Stamped)
    phases = (Phase(kernel=0.9, processes=(Process(4242, kernel_ratio=0.5),)),)
    gpu = node(Gpu("GPU-a", generation="ampere", phases=phases))
    gpu.one_round = nvml.open(
        procfs=gpu.procfs, library=gpu.fake, clock=lambda: gpu.seconds, now=lambda: wall(gpu.seconds)
    )
    tables = gpu.rounds(6)
    assert [each["gpu_sample"][0]["evidence_quality"] for each in tables] == ["B"] * 6
    assert [each["gpu_process_sample"][0]["kernel_active_ratio"] for each in tables] == [0.5] * 6
