import shutil
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import polars as pl
import pytest

from collectors.node.filesystem import filesystem
from collectors.node.nfs import nfs
from ledger.counters import delta
from ledger.errors import SourceError, SourceMissing
from ledger.registry import Row

HEAD = "device filer:/{name} mounted on {point} with fstype nfs4 statvers={layout}\n"
BODY = "\topts:\trw,vers=4.1,proto=rdma\n\tage:\t{age}\n\tbytes:\t0 0 0 0 10 20 0 0\n\tper-op statistics\n"


def rows_of(procfs: Path) -> dict[tuple[object, object], Row]:
    return {(row["mount_point"], row["operation"]): row for _, row in nfs.open(procfs=procfs)()}


def written(root: Path, *mounts: str, mountinfo: str = "") -> Path:
    (root / "self").mkdir(parents=True, exist_ok=True)
    (root / "self/mountstats").write_text("device proc mounted on /proc with fstype proc\n" + "".join(mounts))
    if mountinfo:
        (root / "self/mountinfo").write_text(mountinfo)
    return root


def one(operations: str, name: str = "a", point: str = "/a", layout: str = "1.1", age: int = 100) -> str:
    return HEAD.format(name=name, point=point, layout=layout) + BODY.format(age=age) + operations


def test_counts_bytes_and_seconds_of_an_operation(
    small_node: Path, kept: Callable[..., dict[str, pl.DataFrame]]
) -> None:
    rows = rows_of(small_node / "proc")
    assert list(rows) == [("/home dirs", "READ"), ("/home dirs", "WRITE"), ("/x", "READ")]
    assert rows["/home dirs", "READ"] == {
        "mount_point": "/home dirs",
        "operation": "READ",
        "device": "filer:/export/home dirs",
        "nfs_version": "4.2",
        "transport": None,
        "mounted_seconds": None,
        "operation_count_total": 70,
        "retransmission_count_total": 1,
        "timeout_count_total": 0,
        "error_count_total": 0,
        "sent_bytes_total": 1000,
        "received_bytes_total": 2000,
        "queue_seconds_total": 0.3,
        "round_trip_seconds_total": 1.25,
        "execute_seconds_total": 1.6,
    }
    assert kept(nfs.open(procfs=small_node / "proc")())["nfs_operation_sample"].height == 3


def test_a_kernel_without_the_ninth_number_knows_no_errors(small_node: Path) -> None:
    row = rows_of(small_node / "proc")["/home dirs", "WRITE"]
    assert row["error_count_total"] is None
    assert row["execute_seconds_total"] == 0.5


def test_a_time_counted_below_zero_is_no_measurement(small_node: Path) -> None:
    row = rows_of(small_node / "proc")["/x", "READ"]
    assert row["round_trip_seconds_total"] is None
    assert row["queue_seconds_total"] == 0.3


def test_fewer_sent_than_ended_says_nothing_of_retransmissions(tmp_path: Path) -> None:
    row = rows_of(written(tmp_path, one("\tREAD: 9 7 0 0 0 0 0 0\n")))["/a", "READ"]
    assert row["retransmission_count_total"] is None


def test_operations_that_never_happened_have_no_row_but_reads_and_writes(tmp_path: Path) -> None:
    operations = "\tNULL: 0 0 0 0 0 0 0 0\n\tREAD: 0 0 0 0 0 0 0 0\n\tCLOSE: 2 2 0 1 1 1 1 1 0\n"
    rows = rows_of(written(tmp_path, one(operations)))
    assert [operation for _, operation in rows] == ["CLOSE", "READ"]
    assert rows["/a", "READ"]["operation_count_total"] == 0
    assert (rows["/a", "READ"]["nfs_version"], rows["/a", "READ"]["transport"]) == ("4.1", "rdma")


MOUNTINFO = (
    "30 1 0:45 / /a rw - nfs4 filer:/a rw\n31 1 0:45 / /mnt/deep rw - nfs4 filer:/a/deep rw\n"
    "32 1 0:46 / /c rw - nfs4 filer:/c rw\n"
)


def test_mounts_that_share_their_counters_count_once(tmp_path: Path) -> None:
    read = "\tREAD: 5 5 0 1 1 1 1 1 0\n"
    mounts = (one(read, "a/deep", "/mnt/deep"), one(read), one(read, "c", "/c"))
    procfs = written(tmp_path, *mounts, mountinfo=MOUNTINFO)
    assert list(rows_of(procfs)) == [("/a", "READ"), ("/c", "READ")]
    (procfs / "self/mounts").write_text("filer:/a /a nfs4 rw 0 0\nfiler:/a/deep /mnt/deep nfs4 rw 0 0\n")
    by_mount = {row["mount_point"]: row for _, row in filesystem.open(procfs=procfs, statvfs=_refuses)()}
    assert by_mount["/a"]["read_bytes_total"] == 10
    assert "read_bytes_total" not in by_mount["/mnt/deep"]


def _refuses(point: str) -> object:
    raise OSError(5, "refused", point)


def test_one_export_mounted_twice_counts_once_where_the_kernel_lists_no_superblocks(tmp_path: Path) -> None:
    read = "\tREAD: 5 5 0 1 1 1 1 1 0\n"
    assert list(rows_of(written(tmp_path, one(read), one(read, point="/again")))) == [("/a", "READ")]


def test_a_mount_is_never_touched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hung server blocks whoever asks for its files; the collector opens none of them."""
    procfs = written(tmp_path, one("\tREAD: 5 5 0 1 1 1 1 1 0\n", point=str(tmp_path / "hung")))
    opened: list[str] = []
    real = Path.open

    def noted(path: Path, *args: Any, **options: Any) -> IO[Any]:
        opened.append(path.as_posix())
        return real(path, *args, **options)

    monkeypatch.setattr(Path, "open", noted)
    assert list(rows_of(procfs)) == [(str(tmp_path / "hung"), "READ")]
    assert opened == [f"{procfs}/self/mountinfo", f"{procfs}/self/mountstats"]


def test_counters_fall_at_a_new_mount_and_its_age_says_so(tmp_path: Path) -> None:
    before = rows_of(written(tmp_path, one("\tREAD: 50 50 0 1 1 1 1 1 0\n", age=900)))["/a", "READ"]
    after = rows_of(written(tmp_path, one("\tREAD: 5 5 0 1 1 1 1 1 0\n", age=7)))["/a", "READ"]
    assert (before["mounted_seconds"], after["mounted_seconds"]) == (900, 7)
    grown = delta(float(str(before["operation_count_total"])), 5.0, elapsed_seconds=30)
    assert (grown.kind, grown.value) == ("reset", None)


def test_an_unknown_layout_is_refused_and_stops_no_other_mount(tmp_path: Path) -> None:
    read = "\tREAD: 5 5 0 1 1 1 1 1 0\n"
    seen = []
    one_round = nfs.open(procfs=written(tmp_path, one(read, "z", "/z", "2.0"), one(read)))()
    with pytest.raises(SourceError, match=r"found /z statvers=2.0, expected 1.0 or 1.1"):
        seen.extend(row["mount_point"] for _, row in one_round)
    assert seen == ["/a"]


def test_other_lines_between_mounts_end_a_mount(tmp_path: Path) -> None:
    other = "no device mounted on /y with fstype other\n\tREAD: 999 999 0 1 1 1 1 1 0\n"
    rows = rows_of(written(tmp_path, one("\tREAD: 5 5 0 1 1 1 1 1 0\n"), other))
    assert rows["/a", "READ"]["operation_count_total"] == 5


def test_without_nfs_it_is_missing(tmp_path: Path) -> None:
    with pytest.raises(SourceMissing, match="no NFS mount"):
        rows_of(written(tmp_path))
    with pytest.raises(SourceMissing):
        rows_of(tmp_path / "absent")


@pytest.mark.real_data
def test_recorded_mounts(shared_data: Path, tmp_path: Path, kept: Callable[..., dict[str, pl.DataFrame]]) -> None:
    (tmp_path / "self").mkdir()
    shutil.copy(shared_data / "storage/nfs_mountstats.txt", tmp_path / "self/mountstats")
    rows = rows_of(tmp_path)
    assert {point for point, _ in rows} == {"/A", "/B", "/C", "/D"}
    assert (rows["/A", "READ"]["nfs_version"], rows["/B", "READ"]["nfs_version"]) == ("3", "4.0")
    assert (rows["/B", "READ"]["operation_count_total"], rows["/B", "READ"]["retransmission_count_total"]) == (9797, 0)
    assert rows["/B", "OPEN"]["round_trip_seconds_total"] == 3.449
    assert rows["/C", "GETATTR"]["mounted_seconds"] == 1084700
    assert rows["/C", "NULL"]["retransmission_count_total"] == 1
    assert kept(nfs.open(procfs=tmp_path)())["nfs_operation_sample"].height == len(rows)


@pytest.mark.real_data
def test_a_recorded_time_below_zero(recorded: Callable[[str], Path]) -> None:
    """This recording holds a queue time of 18446743919241604546 ms."""
    found = rows_of(recorded("node_exporter_proc.tar.gz") / "proc")
    times = [row[name] for row in found.values() for name in row if name.endswith("_seconds_total")]
    assert None in times
    assert all(value is None or value < 1e12 for value in times)  # type: ignore[operator]
