"""TPUs: chips in a tree, and a real gRPC server in place of a program's library."""

import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors.node import _protobuf
from collectors.node.tpu import TpuSettings, tpu
from ledger.errors import SourceError, SourceMissing
from ledger.registry import Row
from tests.collectors.node.amd_node import put
from tests.collectors.node.libtpu import DUTY_CYCLE, MEMORY_TOTAL, MEMORY_USED, Libtpu, response

GIB = 1 << 30


@pytest.fixture
def library() -> Iterator[Libtpu]:
    served = Libtpu()
    server = served.start()
    yield served
    server.stop(None).wait()


def chips(root: Path, count: int, device: str = "0x0063") -> None:
    """Write chips that are given away by groups, and the vendor's network adapter beside them."""
    for index in range(count):
        folder = root / f"sys/bus/pci/devices/0000:00:0{index + 4}.0"
        put(folder, {"vendor": "0x1ae0", "device": device, "subsystem_device": "0x0001", "numa_node": index // 2})
        group = root / f"sys/kernel/iommu_groups/{index}"
        group.mkdir(parents=True, exist_ok=True)
        (folder / "iommu_group").symlink_to(group)
    put(root / "sys/bus/pci/devices/0000:00:03.0", {"vendor": "0x1ae0", "device": "0x0042"})


def process(root: Path, pid: int, *targets: str, job: int | None = None) -> None:
    cgroup = f"0::/system.slice/slurmstepd.scope/job_{job}/step_0" if job else "0::/user.slice"
    put(root / f"proc/{pid}", {"status": "Name:\tpython\nState:\tS\nUid:\t0\t0", "cgroup": cgroup})
    (root / f"proc/{pid}/fd").mkdir()
    for number, target in enumerate(targets):
        (root / f"proc/{pid}/fd/{number}").symlink_to(target)


def tables_of(root: Path, *ports: int) -> dict[str, list[dict[str, Any]]]:
    settings = TpuSettings(ports=ports or (9,))
    tables: dict[str, list[dict[str, Any]]] = {}
    for table, row in tpu.open(sysfs=root / "sys", procfs=root / "proc", settings=settings)():
        tables.setdefault(table, []).append(dict(row))
    return tables


def test_a_running_program_tells_of_its_chips(
    tmp_path: Path, library: Libtpu, kept: Callable[..., dict[str, pl.DataFrame]]
) -> None:
    chips(tmp_path, 2)
    process(tmp_path, 500, "/dev/vfio/0", "/dev/vfio/1", job=9)
    process(tmp_path, 501, "/dev/null")
    library.values = {
        DUTY_CYCLE: {1: 12.5, 0: 100.0},
        MEMORY_USED: {0: 3 * GIB, 1: 0},
        MEMORY_TOTAL: {0: 16 * GIB, 1: 16 * GIB},
    }
    tables = tables_of(tmp_path, library.port)
    first, second = tables["gpu_sample"]
    assert (first["gpu_uuid"], first["status"], first["evidence_quality"]) == ("TPU-0000:00:04.0", "ok", "C")
    assert (first["kernel_active_ratio"], second["kernel_active_ratio"]) == (1.0, 0.125)
    assert (first["memory_used_bytes"], second["memory_used_bytes"]) == (3 * GIB, 0)
    assert (first["process_count"], first["process_job_ids"], first["jobless_process_count"]) == (1, "9", 0)
    assert [row["pid_code"] for row in tables["gpu_process_sample"]] == [500, 500]
    assert [(row["gpu_model"], row["memory_total_bytes"], row["numa_node_index"]) for row in tables["gpu"]] == [
        ("TPU v5e", 16 * GIB, 0),
        ("TPU v5e", 16 * GIB, 0),
    ]
    settings = TpuSettings(ports=(library.port,))
    rows = tpu.open(sysfs=tmp_path / "sys", procfs=tmp_path / "proc", settings=settings)()
    assert kept(rows)["gpu_sample"].height == 2


def test_without_a_program_a_chip_is_there_without_values(tmp_path: Path) -> None:
    chips(tmp_path, 1)
    process(tmp_path, 501, "/dev/null")
    (sample,) = tables_of(tmp_path)["gpu_sample"]
    assert (sample["status"], sample["evidence_quality"], sample["process_count"]) == ("ok", "X", 0)
    assert "kernel_active_ratio" not in sample


def test_files_that_are_hidden_are_no_proof_of_idleness(refused_root: Path) -> None:
    chips(refused_root, 1)
    process(refused_root, 500)
    (refused_root / "proc/500/fd").chmod(0)
    (sample,) = tables_of(refused_root)["gpu_sample"]
    assert "process_count" not in sample


def test_a_chip_of_two_devices_is_one_chip(tmp_path: Path, library: Libtpu) -> None:
    chips(tmp_path, 2, device="0x0076")
    library.values = {
        DUTY_CYCLE: {0: 40.0, 1: 60.0, 2: 0.0, 3: 10.0},
        MEMORY_USED: {0: 1 * GIB, 1: 2 * GIB, 2: 0, 3: 0},
        MEMORY_TOTAL: dict.fromkeys(range(4), 96 * GIB),
    }
    tables = tables_of(tmp_path, library.port)
    assert [sample["kernel_active_ratio"] for sample in tables["gpu_sample"]] == [0.5, 0.05]
    assert [sample["memory_used_bytes"] for sample in tables["gpu_sample"]] == [3 * GIB, 0]
    assert [row["gpu_model"] for row in tables["gpu"]] == ["TPU7x", "TPU7x"]


def test_a_chip_whose_halves_are_two_functions_of_the_bus_is_one_chip(tmp_path: Path, library: Libtpu) -> None:
    for group, address in enumerate(("0000:c0:02.0", "0000:c0:02.1", "0000:c0:03.0", "0000:c0:03.1")):
        folder = tmp_path / "sys/bus/pci/devices" / address
        put(folder, {"vendor": "0x1ae0", "device": "0x0076", "subsystem_device": "0x0001", "numa_node": 1})
        (tmp_path / f"sys/kernel/iommu_groups/{group}").mkdir(parents=True)
        (folder / "iommu_group").symlink_to(tmp_path / f"sys/kernel/iommu_groups/{group}")
    process(tmp_path, 500, "/dev/vfio/0", "/dev/vfio/1", job=9)
    process(tmp_path, 501, "/dev/vfio/3", job=10)
    library.values = {
        DUTY_CYCLE: {0: 40.0, 1: 60.0, 2: 0.0, 3: 10.0},
        MEMORY_USED: {0: 1 * GIB, 1: 2 * GIB, 2: 0, 3: 0},
        MEMORY_TOTAL: dict.fromkeys(range(4), 96 * GIB),
    }
    tables = tables_of(tmp_path, library.port)
    assert [row["gpu_uuid"] for row in tables["gpu"]] == ["TPU-0000:c0:02.0", "TPU-0000:c0:03.0"]
    assert [row["memory_total_bytes"] for row in tables["gpu"]] == [192 * GIB] * 2
    assert [row["kernel_active_ratio"] for row in tables["gpu_sample"]] == [0.5, 0.05]
    assert [row["process_job_ids"] for row in tables["gpu_sample"]] == ["9", "10"]
    assert [(row["gpu_uuid"], row["pid_code"]) for row in tables["gpu_process_sample"]] == [
        ("TPU-0000:c0:02.0", 500),
        ("TPU-0000:c0:03.0", 501),
    ]


def test_several_programs_tell_of_their_own_chips(tmp_path: Path, library: Libtpu) -> None:
    chips(tmp_path, 2)
    other = Libtpu(values={DUTY_CYCLE: {1: 30.0}, MEMORY_USED: {1: 5}, MEMORY_TOTAL: {1: 10}})
    server = other.start()
    library.values = {DUTY_CYCLE: {0: 20.0}, MEMORY_USED: {0: 7}, MEMORY_TOTAL: {0: 10}}
    try:
        samples = tables_of(tmp_path, library.port, other.port, 9)["gpu_sample"]
    finally:
        server.stop(None).wait()
    assert [(each["kernel_active_ratio"], each["memory_used_bytes"]) for each in samples] == [(0.2, 7), (0.3, 5)]


def test_devices_that_cannot_be_these_chips_are_refused(tmp_path: Path, library: Libtpu) -> None:
    chips(tmp_path, 2)
    library.values = {DUTY_CYCLE: {0: 1.0, 5: 2.0, 6: 3.0}, MEMORY_USED: {}, MEMORY_TOTAL: {}}
    rows: list[tuple[str, Row]] = []
    settings = TpuSettings(ports=(library.port,))
    with pytest.raises(SourceError, match="found 3 devices, expected a multiple of 2 chips"):
        rows.extend(tpu.open(sysfs=tmp_path / "sys", procfs=tmp_path / "proc", settings=settings)())
    assert [row["evidence_quality"] for table, row in rows if table == "gpu_sample"] == ["X", "X"]


def test_a_metric_that_the_library_does_not_know_costs_no_other(tmp_path: Path, library: Libtpu) -> None:
    chips(tmp_path, 1)
    library.values = {MEMORY_USED: {0: 7}, MEMORY_TOTAL: {0: 10}}
    rows: list[tuple[str, Row]] = []
    settings = TpuSettings(ports=(library.port,))
    with pytest.raises(SourceError, match="no metric tpu"):
        rows.extend(tpu.open(sysfs=tmp_path / "sys", procfs=tmp_path / "proc", settings=settings)())
    (sample,) = (row for table, row in rows if table == "gpu_sample")
    assert (sample["memory_used_bytes"], sample["kernel_active_ratio"]) == (7.0, None)


@pytest.mark.parametrize("nasty", [b"\x0a\x05ab", b"\xff" * 12, response({0: float("nan")}), response({0: 140.0}), b""])
def test_garbage_of_a_library_is_refused_in_words_or_null(
    tmp_path: Path, library: Libtpu, nasty: bytes, kept: Callable[..., dict[str, pl.DataFrame]]
) -> None:
    chips(tmp_path, 1)
    library.values = dict.fromkeys((DUTY_CYCLE, MEMORY_USED, MEMORY_TOTAL), nasty)
    rows: list[tuple[str, Row]] = []
    settings = TpuSettings(ports=(library.port,))
    try:
        rows.extend(tpu.open(sysfs=tmp_path / "sys", procfs=tmp_path / "proc", settings=settings)())
    except SourceError as error:
        assert "expected MetricResponse" in error.message  # noqa: PT017  it may end in words, or without any
    assert kept(rows)["gpu_sample"]["kernel_active_ratio"].to_list() == [None]


def test_a_chip_that_vanishes_is_lost(tmp_path: Path) -> None:
    chips(tmp_path, 2)
    one_round = tpu.open(sysfs=tmp_path / "sys", procfs=tmp_path / "proc", settings=TpuSettings(ports=(9,)))
    list(one_round())
    (tmp_path / "sys/bus/pci/devices/0000:00:04.0/vendor").unlink()
    rows = list(one_round())
    assert [row["event"] for table, row in rows if table == "gpu_event"] == ["lost"]
    assert [row["status"] for table, row in rows if table == "gpu_sample"] == ["ok", "lost"]


def test_a_service_that_hangs_is_given_up(tmp_path: Path) -> None:
    chips(tmp_path, 1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        settings = TpuSettings(ports=(silent.getsockname()[1],), answer_seconds=0.2)
        started = time.monotonic()
        with pytest.raises(SourceError):
            list(tpu.open(sysfs=tmp_path / "sys", procfs=tmp_path / "proc", settings=settings)())
        assert time.monotonic() - started < 60


def test_a_machine_without_a_tpu_says_so(tmp_path: Path) -> None:
    chips(tmp_path, 0)
    with pytest.raises(SourceMissing, match="has no TPU"):
        tables_of(tmp_path)


@given(st.dictionaries(st.integers(0, 1000), st.integers(0, 2**62) | st.floats(allow_nan=False, width=64), max_size=9))
def test_what_is_encoded_is_read_again(values: dict[int, float]) -> None:
    metric = _protobuf.messages(_protobuf.fields(response(values)), 1)[0]
    points = [_protobuf.fields(point) for point in _protobuf.messages(_protobuf.fields(metric), 3)]
    gauges = [_protobuf.fields(_protobuf.messages(point, 3)[0]) for point in points]
    read = [_protobuf.whole(gauge, 2) if 2 in gauge else _protobuf.real(gauge, 1) for gauge in gauges]
    assert read == list(values.values())


@given(st.binary(max_size=60))
def test_any_bytes_are_a_message_or_refused(message: bytes) -> None:
    try:
        found = _protobuf.fields(message)
    except ValueError as error:
        assert str(error).startswith("a ")  # noqa: PT017  any bytes, so either may come
    else:
        assert all(isinstance(value, int | bytes) for values in found.values() for value in values)


def test_a_program_elsewhere_is_asked_where_it_answers(tmp_path: Path) -> None:
    chips(tmp_path, 1)
    other = Libtpu(values={DUTY_CYCLE: {0: 40.0}, MEMORY_USED: {0: 1}, MEMORY_TOTAL: {0: 2}}, host="127.0.0.9")
    server = other.start()
    try:
        settings = TpuSettings(ports=(other.port,), hosts=("127.0.0.1", "127.0.0.9"))
        rows = list(tpu.open(sysfs=tmp_path / "sys", procfs=tmp_path / "proc", settings=settings)())
    finally:
        server.stop(None).wait()
    assert next(row for name, row in rows if name == "gpu_sample")["kernel_active_ratio"] == 0.4
