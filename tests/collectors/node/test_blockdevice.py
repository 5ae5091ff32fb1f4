from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from collectors.node.blockdevice import blockdevice
from ledger.counters import delta
from ledger.errors import SourceError, SourceMissing
from ledger.registry import Row


def by_device(procfs: Path) -> dict[object, Row]:
    return {row["device"]: row for _, row in blockdevice.open(procfs=procfs)()}


def test_whole_devices_in_bytes_and_seconds(small_node: Path, kept: Callable[..., dict[str, pl.DataFrame]]) -> None:
    rows = by_device(small_node / "proc")
    assert list(rows) == ["sda", "nvme0n1", "nvme1n1"]
    assert rows["sda"] == {
        "device": "sda",
        "read_count_total": 1000,
        "read_bytes_total": 20_000 * 512,
        "read_seconds_total": 1.5,
        "write_count_total": 2000,
        "written_bytes_total": 40_000 * 512,
        "write_seconds_total": 2.5,
        "in_flight_count": 3,
        "io_seconds_total": 1.8,
    }
    assert kept(blockdevice.open(procfs=small_node / "proc")())["block_device_sample"].height == 3


def test_a_wrapped_time_is_found_again(small_node: Path, tmp_path: Path) -> None:
    before = by_device(small_node / "proc")["nvme1n1"]["read_seconds_total"]
    (tmp_path / "diskstats").write_text("259 2 nvme1n1 4 0 32 1004 8 0 64 5 0 9 14\n")
    after = by_device(tmp_path)["nvme1n1"]["read_seconds_total"]
    assert isinstance(before, float)
    assert isinstance(after, float)
    grown = delta(before, after, width=32, scale=0.001, elapsed_seconds=10)
    assert grown.kind == "wrap"
    assert grown.value == pytest.approx(1.010, abs=1e-6)


def test_without_the_file_it_is_missing(tmp_path: Path) -> None:
    with pytest.raises(SourceMissing):
        by_device(tmp_path)


def test_a_broken_line_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "diskstats").write_text("8 0 sda 1 2 x 4 5 6 7 8 9 10 11\n")
    with pytest.raises(SourceError, match="expected whole numbers"):
        by_device(tmp_path)


@pytest.mark.real_data
def test_a_recorded_node(recorded: Callable[[str], Path], kept: Callable[..., dict[str, pl.DataFrame]]) -> None:
    root = recorded("node_exporter_proc.tar.gz") / "proc"
    rows = by_device(root)
    assert list(rows) == ["sda", "mmcblk0", "vda", "nvme0n1", "sdb", "sdc"]
    assert rows["sda"]["read_bytes_total"] == 1003346126 * 512
    assert rows["vda"]["write_seconds_total"] == 2069221.364
    assert rows["sdc"]["io_seconds_total"] == 10.73
    assert kept(blockdevice.open(procfs=root)())["block_device_sample"].height == 6
