from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from collectors.fake_nvml import Gpu
from collectors.node.numa import numa
from ledger.errors import SourceMissing
from ledger.registry import Row
from tests.collectors.node.amd_node import put
from tests.collectors.node.gpu_node import Node

MEMINFO = "Node 0 MemTotal:       1000 kB\nNode 0 MemFree:         400 kB\nNode 0 AnonPages:       300 kB"
STAT = "numa_hit 100\nnuma_miss 3\nnuma_foreign 5\ninterleave_hit 1\nlocal_node 99\nother_node 4"


def rows_of(sysfs: Path) -> dict[object, Row]:
    return {row["numa_node_index"]: row for _, row in numa.open(sysfs=sysfs)()}


def test_each_node_has_its_memory_and_its_pages(tmp_path: Path, kept: Callable[..., dict[str, pl.DataFrame]]) -> None:
    root = tmp_path / "devices/system/node"
    put(root / "node0", {"meminfo": MEMINFO, "numastat": STAT, "cpulist": "0-3,8"})
    put(root / "node10", {"meminfo": MEMINFO.replace("Node 0", "Node 10"), "cpulist": ""})
    put(root, {"online": "0,10"})
    rows = rows_of(tmp_path)
    assert list(rows) == [0, 10]
    first = rows[0]
    assert (first["memory_total_bytes"], first["memory_free_bytes"]) == (1000 * 1024, 400 * 1024)
    assert (first["hit_page_count_total"], first["miss_page_count_total"], first["foreign_page_count_total"]) == (
        100,
        3,
        5,
    )
    assert (first["local_page_count_total"], first["remote_page_count_total"]) == (99, 4)
    assert first["cpu_count"] == 5
    alone = rows[10]
    assert (alone["cpu_count"], alone["memory_total_bytes"], alone["hit_page_count_total"]) == (0, 1000 * 1024, None)
    assert kept(numa.open(sysfs=tmp_path)())["numa_sample"].height == 2


@pytest.mark.parametrize("cpus", ["x", "5-2", "0-", "1,,y"])
def test_a_list_of_processors_that_is_none_is_null(tmp_path: Path, cpus: str) -> None:
    put(tmp_path / "devices/system/node/node0", {"cpulist": cpus, "meminfo": "nothing", "numastat": "numa_hit -3"})
    row = rows_of(tmp_path)[0]
    assert (row["cpu_count"], row["memory_total_bytes"], row["hit_page_count_total"]) == (None, None, None)


def test_a_kernel_without_numa_says_so(tmp_path: Path) -> None:
    with pytest.raises(SourceMissing, match="has no nodes"):
        rows_of(tmp_path)


@pytest.mark.parametrize(("written", "expected"), [("1", 1), ("-1", None), ("N/A", None)])
def test_an_nvidia_device_has_the_node_of_its_place_on_the_bus(
    tmp_path: Path, small_node: Path, written: str, expected: int | None
) -> None:
    put(tmp_path / "sys/bus/pci/devices/0000:1a:00.0", {"numa_node": written})
    gpu = Node(small_node / "proc", (Gpu("GPU-a"), Gpu("GPU-b")), root=tmp_path)
    assert [row["numa_node_index"] for row in gpu.round()["gpu"]] == [expected, None]


@pytest.mark.real_data
def test_a_recorded_node_is_read(recorded: Callable[[str], Path]) -> None:
    rows = rows_of(recorded("node_exporter_sys.tar.gz") / "sys")
    assert rows[0]["hit_page_count_total"] == 193460335812
    assert rows[0]["memory_total_bytes"] == 134182340 * 1024
    assert len(rows) == 3
