import os
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from collectors.node.filesystem import FilesystemSettings, filesystem
from ledger.errors import SourceMissing
from ledger.registry import Row

SIZES = os.statvfs_result((4096, 4096, 1000, 400, 300, 50, 20, 20, 0, 255))
Rows = dict[object, Row]


def by_mount(one_round: Callable[[], object]) -> Rows:
    return {row["mount_point"]: row for _, row in one_round()}  # type: ignore[attr-defined]


def test_each_device_once_without_the_kernels_own(
    small_node: Path, kept: Callable[..., dict[str, pl.DataFrame]]
) -> None:
    one_round = filesystem.open(procfs=small_node / "proc", statvfs=lambda _: SIZES)
    rows = by_mount(one_round)
    assert list(rows) == ["/", "/etc/hosts", "/home dirs", "/mnt/one", "/mnt/two"]
    assert rows["/etc/hosts"] == {
        "device": "/dev/sda1",
        "mount_point": "/etc/hosts",
        "filesystem_type": "ext4",
        "is_read_only": True,
        "is_responding": True,
        "capacity_bytes": 4_096_000,
        "free_bytes": 400 * 4096,
        "available_bytes": 300 * 4096,
        "inode_count": 50,
        "free_inode_count": 20,
    }
    assert kept(one_round())["mount_sample"].height == 5


def test_an_export_says_what_was_read(small_node: Path) -> None:
    row = by_mount(filesystem.open(procfs=small_node / "proc", statvfs=lambda _: SIZES))["/home dirs"]
    assert (row["device"], row["filesystem_type"]) == ("filer:/export/home dirs", "nfs4")
    assert (row["read_bytes_total"], row["written_bytes_total"]) == (5000, 6000)
    assert (row["read_count_total"], row["read_seconds_total"]) == (70, 1.25)


def test_a_hung_mount_costs_one_thread_and_no_other_mount(small_node: Path) -> None:
    release, asked = threading.Event(), []

    def hangs(point: str) -> os.statvfs_result:
        if point == "/home dirs":
            asked.append(point)
            release.wait(600)
        return SIZES

    settings = FilesystemSettings(answer_seconds=0.5)
    one_round = filesystem.open(procfs=small_node / "proc", settings=settings, statvfs=hangs)
    try:
        for _ in range(3):
            rows = by_mount(one_round)
            assert rows["/home dirs"]["is_responding"] is False
            assert "capacity_bytes" not in rows["/home dirs"]
            assert rows["/"]["is_responding"] is True
        assert len(asked) == 1
    finally:
        release.set()
    settled = filesystem.open(procfs=small_node / "proc", statvfs=hangs)
    assert by_mount(settled)["/home dirs"]["is_responding"] is True


def mounted(procfs: Path, *lines: str) -> Path:
    """Write a list of mounts, each a device and a place."""
    (procfs / "self").mkdir(exist_ok=True)
    (procfs / "self/mounts").write_text("".join(f"{line} nfs4 rw 0 0\n" for line in lines))
    return procfs


def test_many_mounts_need_few_threads(tmp_path: Path) -> None:
    """A unit may have some dozens, and a node more mounts than that."""
    counts = []

    def slow(_: str) -> os.statvfs_result:
        counts.append(threading.active_count())
        time.sleep(0.015)
        return SIZES

    procfs, before = mounted(tmp_path, *(f"filer:/{index} /m{index}" for index in range(60))), threading.active_count()
    rows = by_mount(filesystem.open(procfs=procfs, statvfs=slow))
    assert [row["is_responding"] for row in rows.values()] == [True] * 60
    assert max(counts) < before + 15


def test_a_dead_server_with_many_mounts_costs_a_bounded_number_of_threads(tmp_path: Path) -> None:
    release = threading.Event()
    asked: list[str] = []

    def hangs(point: str) -> os.statvfs_result:
        asked.append(point)
        if point != "/z":
            release.wait(600)
        return SIZES

    def told(rows: Rows) -> tuple[int, int]:
        found = [row["is_responding"] for row in rows.values()]
        return found.count(False), found.count(None)

    dead = [f"dead:/{index} /x{index}" for index in range(20)]
    more = [f"dead{server}:/{index} /y{server}{index}" for server in range(5) for index in range(8)]
    settings = FilesystemSettings(answer_seconds=0.5)
    one_round = filesystem.open(procfs=mounted(tmp_path, *dead, "filer:/z /z"), settings=settings, statvfs=hangs)
    try:
        for number in (1, 2):
            rows = by_mount(one_round)
            assert told(rows) == (8, 12), "the others of this server are not asked meanwhile"
            assert rows["/z"]["is_responding"] is True, "another server's are"
            assert len(asked) == 8 + number
        mounted(tmp_path, *dead, *more, "filer:/z /z")
        assert told(by_mount(one_round)) == (32, 29)
    finally:
        release.set()
    # The threads that hung end one after the other.
    until = time.monotonic() + 60
    while told(by_mount(one_round)) != (0, 0):
        assert time.monotonic() < until


def test_a_mount_in_the_place_of_one_that_hangs_is_asked(tmp_path: Path) -> None:
    release = threading.Event()

    def first_hangs(_: str) -> os.statvfs_result:
        if "dead" in (tmp_path / "self/mounts").read_text():
            release.wait(600)
        return SIZES

    settings = FilesystemSettings(answer_seconds=0.5)
    one_round = filesystem.open(procfs=mounted(tmp_path, "dead:/x /x"), settings=settings, statvfs=first_hangs)
    try:
        assert by_mount(one_round)["/x"]["is_responding"] is False
        mounted(tmp_path, "filer:/x /x")
        assert by_mount(one_round)["/x"]["is_responding"] is True
    finally:
        release.set()


def test_a_mount_that_refuses_answers_without_sizes(small_node: Path) -> None:
    def stale(point: str) -> os.statvfs_result:
        raise OSError(116, "Stale file handle", point)

    row = by_mount(filesystem.open(procfs=small_node / "proc", statvfs=stale))["/"]
    assert row["is_responding"] is True
    assert "capacity_bytes" not in row


@pytest.mark.parametrize(
    ("blocks", "free", "available", "expected"),
    [
        (0, 0, 0, (None, None, None)),
        (1000, 400, 2**64 - 20, (4_096_000, 400 * 4096, None)),
        (2**64 - 1, 2**64 - 1, 2**64 - 1, (None, None, None)),
        (2**51 - 1, 5, 0, ((2**51 - 1) * 4096, 5 * 4096, 0)),
    ],
    ids=["unknown", "below zero", "endless", "eight exbibytes"],
)
def test_a_size_that_cannot_be_is_null_and_costs_no_row(
    small_node: Path,
    kept: Callable[..., dict[str, pl.DataFrame]],
    blocks: int,
    free: int,
    available: int,
    expected: tuple[int | None, ...],
) -> None:
    """Object stores as file systems know no end, and full network ones count what is left below zero."""
    sizes = os.statvfs_result((4096, 4096, blocks, free, available, 50, 2**64 - 1, 20, 0, 255))
    one_round = filesystem.open(procfs=small_node / "proc", statvfs=lambda _: sizes)
    row = by_mount(one_round)["/mnt/one"]
    assert tuple(row[name] for name in ("capacity_bytes", "free_bytes", "available_bytes")) == expected
    assert (row["is_responding"], row["inode_count"], row["free_inode_count"]) == (True, 50, None)
    assert kept(one_round())["mount_sample"].height == 5


def test_a_time_counted_below_zero_is_no_measurement(small_node: Path, tmp_path: Path) -> None:
    shutil.copytree(small_node / "proc/self", tmp_path / "self")
    (tmp_path / "self/mounts").write_text("other:/x /x nfs rw 0 0\n")
    row = by_mount(filesystem.open(procfs=tmp_path, statvfs=lambda _: SIZES))["/x"]
    assert row["read_count_total"] == 70
    assert row["read_seconds_total"] is None


def test_without_the_list_it_is_missing(tmp_path: Path) -> None:
    with pytest.raises(SourceMissing):
        by_mount(filesystem.open(procfs=tmp_path))


@pytest.mark.real_data
def test_recorded_nfs_counters(shared_data: Path, tmp_path: Path) -> None:
    (tmp_path / "self").mkdir()
    shutil.copy(shared_data / "storage/nfs_mountstats.txt", tmp_path / "self/mountstats")
    (tmp_path / "self/mounts").write_text("1.2.3.4:/storage/NFS /A nfs rw 0 0\n2.2.2.2:/nfsdata/ /B nfs4 ro 0 0\n")
    rows = by_mount(filesystem.open(procfs=tmp_path, statvfs=lambda _: SIZES))
    text = (shared_data / "storage/nfs_mountstats.txt").read_text()
    for point in ("/A", "/B"):
        block = text.split(f" mounted on {point} ")[1].split("\ndevice ")[0]
        read = next(line.split() for line in block.splitlines() if line.strip().startswith("READ:"))
        moved = next(line.split() for line in block.splitlines() if line.strip().startswith("bytes:"))
        assert rows[point]["read_count_total"] == int(read[1])
        assert rows[point]["read_seconds_total"] == int(read[7]) / 1000
        assert rows[point]["read_bytes_total"] == int(moved[5])
