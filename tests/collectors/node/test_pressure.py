from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from collectors.node.pressure import pressure
from ledger.errors import SourceError, SourceMissing
from ledger.registry import Row


def by_resource(procfs: Path) -> dict[object, Row]:
    return {row["resource"]: row for _, row in pressure.open(procfs=procfs)()}


def test_microseconds_and_percent_are_converted(small_node: Path, kept: Callable[..., dict[str, pl.DataFrame]]) -> None:
    rows = by_resource(small_node / "proc")
    assert list(rows) == ["cpu", "io", "irq"]
    assert rows["cpu"] == {
        "resource": "cpu",
        "job_id": "",
        "some_seconds_total": 2.5,
        "full_seconds_total": 0.0,
        "some_ratio": 0.125,
        "full_ratio": 0.0,
    }
    assert rows["io"]["some_seconds_total"] == 9.000001
    assert rows["irq"]["some_seconds_total"] is None
    assert rows["irq"]["full_seconds_total"] == 0.000125
    assert kept(pressure.open(procfs=small_node / "proc")())["pressure_sample"].height == 3


def test_a_kernel_without_it_is_missing(tmp_path: Path) -> None:
    with pytest.raises(SourceMissing) as caught:
        by_resource(tmp_path)
    assert "psi=1" in caught.value.hint


def test_another_format_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "pressure").mkdir()
    (tmp_path / "pressure" / "io").write_text("some avg10=0.00\n")
    with pytest.raises(SourceError, match="expected `some avg10"):
        by_resource(tmp_path)


def test_a_resource_in_another_format_costs_no_other_its_row(tmp_path: Path) -> None:
    (tmp_path / "pressure").mkdir()
    (tmp_path / "pressure/cpu").write_text("some avg10=0.00\n")
    (tmp_path / "pressure/io").write_text("some avg10=25.00 total=1500000\n")
    seen: list[Row] = []
    with pytest.raises(SourceError, match="pressure/cpu"):
        seen.extend(row for _, row in pressure.open(procfs=tmp_path)())
    assert [row["resource"] for row in seen] == ["io"]


@pytest.mark.real_data
def test_a_recorded_node(recorded: Callable[[str], Path], kept: Callable[..., dict[str, pl.DataFrame]]) -> None:
    root = recorded("node_exporter_proc.tar.gz") / "proc"
    rows = by_resource(root)
    assert rows["cpu"]["some_seconds_total"] == 14.036781
    assert rows["io"]["full_seconds_total"] == 159.229614
    assert rows["io"]["some_ratio"] == pytest.approx(0.0018)
    assert kept(pressure.open(procfs=root)())["pressure_sample"].height == 4
