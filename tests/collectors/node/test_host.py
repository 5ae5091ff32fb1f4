from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from collectors.node.host import host
from ledger.errors import SourceError, SourceMissing


def one(**roots: Path) -> dict[str, object]:
    ((table, row),) = host.open(**roots)()
    assert table == "host_sample"
    return dict(row)


def test_units_are_converted_and_guests_counted_once(small_node: Path) -> None:
    row = one(procfs=small_node / "proc")
    assert row == {
        "cpu_count": 2,
        "cpu_user_seconds_total": 12.0,
        "cpu_system_seconds_total": 3.3,
        "cpu_idle_seconds_total": 400.0,
        "cpu_iowait_seconds_total": 5.0,
        "cpu_steal_seconds_total": 0.3,
        "load_average_count": 1.25,
        "running_process_count": 3,
        "blocked_process_count": 1,
        "memory_total_bytes": 2**31,
        "memory_available_bytes": 2**30,
        "swap_used_bytes": 2**28,
        "uptime_seconds": 86400.5,
    }


def test_the_door_takes_it(small_node: Path, kept: Callable[..., dict[str, pl.DataFrame]]) -> None:
    assert kept(host.open(procfs=small_node / "proc")())["host_sample"].height == 1


def test_without_proc_it_is_missing(tmp_path: Path) -> None:
    with pytest.raises(SourceMissing, match="stat does not exist") as caught:
        one(procfs=tmp_path)
    assert "collectors.host.enabled = false" in caught.value.hint


def test_missing_files_give_nulls_not_zeros(tmp_path: Path) -> None:
    (tmp_path / "stat").write_text("cpu  100 0 100 100\n")
    row = one(procfs=tmp_path)
    assert row["cpu_user_seconds_total"] == 1.0
    for name in ("cpu_iowait_seconds_total", "memory_total_bytes", "swap_used_bytes", "load_average_count"):
        assert row[name] is None
    assert row["running_process_count"] is None


@pytest.mark.parametrize(("content", "words"), [("intr 1\n", "found no line `cpu`"), ("cpu a b\n", "found 'a b'")])
def test_a_broken_file_is_an_error_with_its_place(tmp_path: Path, content: str, words: str) -> None:
    (tmp_path / "stat").write_text(content)
    with pytest.raises(SourceError, match=words) as caught:
        one(procfs=tmp_path)
    assert str(tmp_path / "stat") in caught.value.message


def test_a_count_below_zero_costs_no_other(tmp_path: Path, kept: Callable[..., dict[str, pl.DataFrame]]) -> None:
    """Some kernels counted time that a hypervisor stole below zero, and say so from then on."""
    steal = 2**64 - 7
    (tmp_path / "stat").write_text(f"cpu  100 0 100 100 5 {steal} 0 {steal}\nprocs_running {2**65}\nprocs_blocked 2\n")
    (tmp_path / "meminfo").write_text(f"MemTotal: 9 kB\nMemAvailable: {2**60} kB\nSwapTotal: 5 kB\nSwapFree: 6 kB\n")
    (tmp_path / "loadavg").write_text("nan 1 2\n")
    (tmp_path / "uptime").write_text("1e300 4\n")
    row = one(procfs=tmp_path)
    assert (row["cpu_user_seconds_total"], row["cpu_iowait_seconds_total"], row["blocked_process_count"]) == (
        1,
        0.05,
        2,
    )
    for name in ("cpu_steal_seconds_total", "cpu_system_seconds_total", "running_process_count", "swap_used_bytes"):
        assert row[name] is None
    for name in ("memory_available_bytes", "load_average_count", "uptime_seconds"):
        assert row[name] is None
    assert kept(host.open(procfs=tmp_path)())["host_sample"].height == 1


@pytest.mark.real_data
def test_a_recorded_node(recorded: Callable[[str], Path], kept: Callable[..., dict[str, pl.DataFrame]]) -> None:
    root = recorded("node_exporter_proc.tar.gz")
    row = one(procfs=root / "proc")
    assert row["cpu_count"] == 8
    assert row["cpu_user_seconds_total"] == pytest.approx(3018.54 + 6.12)
    assert row["memory_total_bytes"] == 3742148 * 1024
    assert row["swap_used_bytes"] == (4194300 - 3155360) * 1024
    assert row["memory_available_bytes"] is None
    kept(host.open(procfs=root / "proc")())
