import os
import tarfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from collectors.node.filesystem import filesystem
from collectors.node.lustre import LustreSettings, lustre
from ledger.counters import delta
from ledger.errors import SourceError, SourceMissing
from ledger.registry import Row

Key = tuple[object, object, object]

OLD = """snapshot_time             1504556415.123456 secs.usecs
read_bytes                24 samples [bytes] 4096 1048576 5000000
write_bytes               7 samples [bytes] 1 9 63
open                      22 samples [regs]
"""
NEW = """snapshot_time             1688603042.553844832 secs.nsecs
start_time                1688526476.694479379 secs.nsecs
elapsed_time              76565.859365453 secs.nsecs
read_bytes                30 samples [bytes] 4096 1048576 6000000 9999999999
read                      30 samples [usecs] 1 900 1500000 77
open                      22 samples [usecs] 1 9 4400 99
"""
OSC = """snapshot_time             1688603042.553844832 secs.nsecs
req_waittime              9 samples [usec] 10 90 450 3333
req_active                9 samples [reqs] 1 3 12 22
read_bytes                3 samples [bytes] 4096 4096 12288 1
"""


def rows_of(root: Path, settings: LustreSettings | None = None) -> dict[Key, Row]:
    found = lustre.open(procfs=root / "proc", sysfs=root / "sys", settings=settings)()
    return {(row["component"], row["target"], row["operation"]): row for _, row in found}


def put(root: Path, folder: str, content: str) -> None:
    path = root / folder / "stats"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)


def mounted(root: Path, *lines: str) -> None:
    (root / "proc/self").mkdir(parents=True, exist_ok=True)
    (root / "proc/self/mounts").write_text("".join(f"{line} rw 0 0\n" for line in lines))


def test_each_unit_stands_where_it_belongs(tmp_path: Path, kept: Callable[..., dict[str, pl.DataFrame]]) -> None:
    put(tmp_path, "sys/kernel/debug/lustre/llite/scratch-ff47bce9ca35d800", NEW)
    rows = rows_of(tmp_path)
    assert rows["llite", "scratch", "read_bytes"] == {
        "component": "llite",
        "target": "scratch",
        "instance": "ff47bce9ca35d800",
        "operation": "read_bytes",
        "counters_start": datetime(2023, 7, 5, 3, 7, 56, 694_000, tzinfo=UTC),
        "operation_count_total": 30,
        "bytes_total": 6_000_000,
        "operation_seconds_total": None,
    }
    opened = rows["llite", "scratch", "open"]
    assert (opened["operation_seconds_total"], opened["bytes_total"]) == (0.0044, None)
    sources = {"procfs": tmp_path / "proc", "sysfs": tmp_path / "sys"}
    assert kept(lustre.open(**sources)())["lustre_operation_sample"].height == 3


def test_an_older_version_in_proc_counts_calls_without_their_time(tmp_path: Path) -> None:
    put(tmp_path, "proc/fs/lustre/llite/scratch-ffff88081c2cb800", OLD)
    rows = rows_of(tmp_path)
    assert rows["llite", "scratch", "write_bytes"]["bytes_total"] == 63
    opened = rows["llite", "scratch", "open"]
    assert (opened["operation_count_total"], opened["operation_seconds_total"]) == (22, None)
    assert opened["counters_start"] is None


def test_targets_have_rows_and_levels_have_none(tmp_path: Path) -> None:
    put(tmp_path, "sys/kernel/debug/lustre/llite/my-fs-ff47bce9ca35d800", NEW)
    put(tmp_path, "sys/kernel/debug/lustre/osc/my-fs-OST000a-osc-ff47bce9ca35d800", OSC)
    put(tmp_path, "sys/kernel/debug/lustre/mdc/my-fs-MDT0000-mdc-ff47bce9ca35d800", OSC)
    rows = rows_of(tmp_path)
    assert rows["osc", "my-fs-OST000a", "req_waittime"]["operation_seconds_total"] == 0.00045
    assert rows["mdc", "my-fs-MDT0000", "read_bytes"]["bytes_total"] == 12288
    assert not any(operation == "req_active" for _, _, operation in rows)
    assert {component for component, _, _ in rows_of(tmp_path, LustreSettings(targets=False))} == {"llite"}


def test_a_servers_own_connections_are_no_client(tmp_path: Path) -> None:
    put(tmp_path, "proc/fs/lustre/osc/scratch-OST0000-osc-MDT0000", OSC)
    with pytest.raises(SourceMissing):
        rows_of(tmp_path)


def test_a_remount_is_another_instance_and_a_cleared_counter_a_reset(tmp_path: Path) -> None:
    put(tmp_path, "proc/fs/lustre/llite/scratch-ffff88081c2cb800", OLD)
    before = rows_of(tmp_path)["llite", "scratch", "read_bytes"]
    (tmp_path / "proc/fs/lustre/llite/scratch-ffff88081c2cb800").rename(
        tmp_path / "proc/fs/lustre/llite/scratch-ffff880999999999"
    )
    after = rows_of(tmp_path)["llite", "scratch", "read_bytes"]
    assert before["instance"] != after["instance"]
    put(tmp_path, "proc/fs/lustre/llite/scratch-ffff880999999999", OLD.replace("5000000", "10"))
    cleared = rows_of(tmp_path)["llite", "scratch", "read_bytes"]["bytes_total"]
    assert cleared == 10
    assert delta(5_000_000, 10, elapsed_seconds=30).kind == "reset"


def test_a_sum_below_zero_and_a_broken_line_are_no_measurement(tmp_path: Path) -> None:
    broken = "read_bytes 5 samples [bytes] 1 2 -77\nwrite_bytes x samples [bytes] 1 2 3\nioctl 4 samples\n\n"
    put(tmp_path, "proc/fs/lustre/llite/scratch-ffff88081c2cb800", broken)
    rows = rows_of(tmp_path)
    assert rows["llite", "scratch", "read_bytes"]["bytes_total"] is None
    assert rows["llite", "scratch", "ioctl"]["operation_count_total"] == 4
    assert ("llite", "scratch", "write_bytes") not in rows


def test_mounted_and_not_readable_is_not_the_same_as_missing(refused_root: Path) -> None:
    put(refused_root, "sys/kernel/debug/lustre/llite/scratch-ff47bce9ca35d800", NEW)
    (refused_root / "sys/kernel/debug").chmod(0)
    mounted(refused_root, "10.0.0.1@o2ib:/scratch /scratch lustre")
    with pytest.raises(SourceError, match="found no stats file that may be read") as caught:
        rows_of(refused_root)
    assert "CAP_DAC_READ_SEARCH" in caught.value.hint


def test_without_lustre_it_is_missing(tmp_path: Path) -> None:
    mounted(tmp_path, "/dev/sda1 / ext4")
    with pytest.raises(SourceMissing, match="no Lustre mount"):
        rows_of(tmp_path)


def mount_rows(root: Path) -> dict[object, Row]:
    def refuses(point: str) -> os.statvfs_result:
        raise OSError(5, "refused", point)

    found = filesystem.open(procfs=root / "proc", sysfs=root / "sys", statvfs=refuses)()
    return {row["mount_point"]: row for _, row in found}


def test_a_mount_says_what_was_read(tmp_path: Path) -> None:
    put(tmp_path, "sys/kernel/debug/lustre/llite/scratch-ff47bce9ca35d800", NEW)
    mounted(tmp_path, "10.0.0.1@o2ib:10.0.0.2@o2ib:/scratch/home /home lustre", "/dev/sda1 / ext4")
    row = mount_rows(tmp_path)["/home"]
    assert (row["read_bytes_total"], row["written_bytes_total"]) == (6_000_000, 0)
    assert (row["read_count_total"], row["read_seconds_total"]) == (30, 1.5)
    assert "read_bytes_total" not in mount_rows(tmp_path)["/"]


def test_a_file_system_that_is_mounted_twice_is_not_counted_twice(tmp_path: Path) -> None:
    put(tmp_path, "sys/kernel/debug/lustre/llite/scratch-ff47bce9ca35d800", NEW)
    put(tmp_path, "sys/kernel/debug/lustre/llite/scratch-ff47bce9ca35d811", NEW)
    mounted(tmp_path, "10.0.0.1@o2ib:/scratch /scratch lustre", "10.0.0.1@o2ib:/scratch/home /home lustre")
    assert not any("read_bytes_total" in row for row in mount_rows(tmp_path).values())


@pytest.mark.real_data
def test_a_recorded_client(shared_data: Path, tmp_path: Path, kept: Callable[..., dict[str, pl.DataFrame]]) -> None:
    """The recording is what `lctl get_param` prints: the file's text after its name."""
    text = (shared_data / "storage/lctl_llite_client.txt").read_text()
    _, _, stats = text.partition("llite.ai400x2-ff47bce9ca35d800.stats=\n")
    put(tmp_path, "sys/kernel/debug/lustre/llite/ai400x2-ff47bce9ca35d800", stats)
    rows = rows_of(tmp_path)
    assert rows["llite", "ai400x2", "open"]["operation_count_total"] == 35955554
    assert rows["llite", "ai400x2", "open"]["operation_seconds_total"] == 3393.651645
    assert rows["llite", "ai400x2", "ioctl"]["operation_seconds_total"] is None
    sources = {"procfs": tmp_path / "proc", "sysfs": tmp_path / "sys"}
    assert kept(lustre.open(**sources)())["lustre_operation_sample"].height == len(rows) == 14


@pytest.mark.real_data
def test_a_recorded_server_is_no_client(shared_data: Path, tmp_path: Path) -> None:
    with tarfile.open(shared_data / "storage/telegraf_lustre_2.12_proc_sys.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    with pytest.raises(SourceMissing):
        rows_of(tmp_path)
