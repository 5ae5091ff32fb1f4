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


def test_a_drive_over_several_paths_counts_once(tmp_path: Path) -> None:
    """Each path counts what it carried; the drive above counts nothing before Linux 6.3, and all of it again since."""
    paths = "0 0 nvme0c0n1 5 0 40 6 1 0 8 2 0 7 8\n0 0 nvme0c1n1 3 0 24 4 1 0 8 2 0 5 6\n"
    for drive in ("259 0 nvme0n1 0 0 0 0 0 0 0 0 0 0 0\n", "259 0 nvme0n1 8 0 64 10 2 0 16 4 0 12 14\n"):
        part = "259 1 nvme0n1p1 8 0 64 10 2 0 16 4 0 12 14\n"
        (tmp_path / "diskstats").write_text(f"{paths}{drive}{part}259 3 nvme1n1 1 0 8 1 0 0 0 0 0 1 1\n")
        rows = by_device(tmp_path)
        assert list(rows) == ["nvme0c0n1", "nvme0c1n1", "nvme1n1"]
        assert rows["nvme0c0n1"]["read_bytes_total"] == 40 * 512


def test_a_count_that_cannot_be_costs_no_other(tmp_path: Path, kept: Callable[..., dict[str, pl.DataFrame]]) -> None:
    below_zero = 2**64 - 5
    lines = f"8 0 sda {below_zero} 0 {2**62} 4 5 6 7 8 -1 {below_zero} 11\n8 16 sdb 1 0 2 3 4 0 5 6 0 7 8\n"
    (tmp_path / "diskstats").write_text(lines)
    rows = by_device(tmp_path)
    for name in ("read_count_total", "read_bytes_total", "in_flight_count", "io_seconds_total"):
        assert rows["sda"][name] is None
    assert (rows["sda"]["written_bytes_total"], rows["sdb"]["read_bytes_total"]) == (7 * 512, 1024)
    assert kept(blockdevice.open(procfs=tmp_path)())["block_device_sample"].height == 2


def test_a_broken_line_costs_no_other_device_its_row(tmp_path: Path) -> None:
    (tmp_path / "diskstats").write_text("8 0 sda 1 2 x 4 5 6 7 8 9 10 11\n8 16 sdb 1 0 2 3 4 0 5 6 0 7 8\n")
    seen: list[Row] = []
    with pytest.raises(SourceError, match="sda: found '1 2 x"):
        seen.extend(row for _, row in blockdevice.open(procfs=tmp_path)())
    assert [row["device"] for row in seen] == ["sdb"]
