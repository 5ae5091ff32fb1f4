import time
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from collectors.node.gpfs import GpfsSettings, gpfs
from ledger.counters import delta
from ledger.errors import SourceError, SourceMissing
from ledger.registry import Row
from tests.collectors.node.ended import PATIENCES, has_ended

ANSWER = (
    "_fs_io_s_ _n_ 10.0.0.1 _nn_ n1 _rc_ 0 _t_ 1066660148 _tu_ 407431 _cl_ lab.x _fs_ {name} _d_ 2 "
    "_br_ {read} _bw_ 314572800 _oc_ 10 _cc_ 16 _rdc_ 101 _wc_ 300 _dir_ 7 _iu_ 2"
)


def tool(folder: Path, *lines: str, script: str = "") -> GpfsSettings:
    """Write a monitor that answers only if it is asked for machine-readable I/O of all file systems."""
    path = folder / "mmpmon"
    text = "\n".join(lines)
    body = script or f'[ "$1" = -p ] && [ "$(cat)" = fs_io_s ] && cat <<END\n{text}\nEND\n'
    path.write_text(f"#!/bin/sh\n{body}")
    path.chmod(0o755)
    return GpfsSettings(tool=path, answer_seconds=10)


def rows_of(settings: GpfsSettings) -> dict[object, Row]:
    return {row["file_system"]: row for _, row in gpfs.open(settings=settings)()}


def test_each_file_system_has_a_row(tmp_path: Path, kept: Callable[..., dict[str, pl.DataFrame]]) -> None:
    both = (ANSWER.format(name="home", read=5), ANSWER.format(name="scratch", read=6291456))
    settings = tool(tmp_path, "_ver_ _n_ 10.0.0.1 _v_ 3", *both)
    rows = rows_of(settings)
    assert rows["scratch"] == {
        "file_system": "scratch",
        "gpfs_cluster": "lab.x",
        "disk_count": 2,
        "read_bytes_total": 6291456,
        "written_bytes_total": 314572800,
        "read_count_total": 101,
        "write_count_total": 300,
        "open_count_total": 10,
        "close_count_total": 16,
        "directory_read_count_total": 7,
        "inode_update_count_total": 2,
    }
    assert kept(gpfs.open(settings=settings)())["gpfs_sample"].height == 2


def test_counters_begin_anew_with_the_daemon(tmp_path: Path) -> None:
    first = rows_of(tool(tmp_path, ANSWER.format(name="home", read=900)))["home"]["read_bytes_total"]
    second = rows_of(tool(tmp_path, ANSWER.format(name="home", read=3)))["home"]["read_bytes_total"]
    assert (first, second) == (900, 3)
    assert delta(900, 3, elapsed_seconds=30).kind == "reset"


def test_what_a_version_does_not_count_is_null(tmp_path: Path) -> None:
    row = rows_of(tool(tmp_path, "_fs_io_s_ _rc_ 0 _fs_ home _br_ 7 _oc_"))["home"]
    assert (row["read_bytes_total"], row["open_count_total"], row["written_bytes_total"]) == (7, None, None)


def test_nothing_mounted_is_no_error_and_a_failure_is_one(tmp_path: Path) -> None:
    assert rows_of(tool(tmp_path, "_fs_io_s_ _n_ 10.0.0.1 _nn_ n1 _rc_ 1 _t_ 1 _tu_ 2 _cl_ -")) == {}
    with pytest.raises(SourceError, match="expected _rc_ 0"):
        rows_of(tool(tmp_path, "_fs_io_s_ _n_ 10.0.0.1 _nn_ n1 _rc_ 233 _t_ 1 _tu_ 2"))


def test_a_monitor_that_is_refused_says_why(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="ended with 1: must be root") as caught:
        rows_of(tool(tmp_path, script="echo must be root >&2; exit 1"))
    assert "run the agent as root" in caught.value.hint
    settings = tool(tmp_path)
    settings.tool.chmod(0o644)
    with pytest.raises(SourceError, match="Permission denied"):
        rows_of(settings)


def test_a_monitor_that_hangs_is_ended(tmp_path: Path) -> None:
    settings = tool(tmp_path, script="exec sleep 60").model_copy(update={"answer_seconds": 0.3})
    started = time.monotonic()
    with pytest.raises(SourceError, match="no answer after"):
        rows_of(settings)
    assert time.monotonic() - started < 20


def test_a_monitor_that_hangs_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    """One that waits for a dead daemon would leave a process behind in each round."""
    mark = tmp_path / "pid"
    settings = tool(tmp_path, script=f"sleep 600 & echo $! > {mark}; wait")
    for seconds in PATIENCES:
        with pytest.raises(SourceError, match="no answer after"):
            rows_of(settings.model_copy(update={"answer_seconds": seconds}))
        if mark.exists() and mark.read_text():
            break
    assert has_ended(int(mark.read_text()))


def test_words_in_another_encoding_cost_no_round(tmp_path: Path) -> None:
    (tmp_path / "said.txt").write_bytes(b"caf\xe9\n" + ANSWER.format(name="home", read=5).encode())
    assert list(rows_of(tool(tmp_path, script=f"cat >/dev/null; cat {tmp_path}/said.txt"))) == ["home"]


def test_a_monitor_that_reads_nothing_answers_all_the_same(tmp_path: Path) -> None:
    assert list(rows_of(tool(tmp_path, script=f"echo '{ANSWER.format(name='home', read=5)}'"))) == ["home"]


def test_without_the_monitor_it_is_missing(tmp_path: Path) -> None:
    with pytest.raises(SourceMissing, match="does not exist"):
        rows_of(GpfsSettings(tool=tmp_path / "mmpmon"))
