"""What nodes asked of network file systems: each operation once, and nothing over a remount, a gap or a reboot."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from hypothesis import strategies as st

from ledger.tables import GpfsSample, LustreOperationSample, NfsOperationSample, StorageHour
from queries.graph import Span
from queries.rollups.storage_hour import storage_hour
from tests.frames import frame, validated
from tests.queries.rollups.conftest import on_cases

HOUR = datetime(2026, 11, 20, 5, tzinfo=UTC)

Rows = Sequence[dict[str, Any]]


def at(seconds: float, **more: Any) -> dict[str, Any]:
    place = {"cluster": "c", "node": "n", "boot_id": "b", "step_seconds": 30.0}
    return {**place, "sampled_at": HOUR + timedelta(seconds=seconds), **more}


def nfs(seconds: float, operation: str, count: float, **more: Any) -> dict[str, Any]:
    mount = {"mount_point": "/home", "device": "nas:/home", "mounted_seconds": 1000.0 + seconds}
    return at(seconds, operation=operation, operation_count_total=count, **{**mount, **more})


def lustre(seconds: float, operation: str, count: float, **more: Any) -> dict[str, Any]:
    mount = {"component": "llite", "target": "scratch", "instance": "ffff1", "counters_start": HOUR}
    return at(seconds, operation=operation, operation_count_total=count, **{**mount, **more})


def hours(
    exports: Rows = (), clients: Rows = (), systems: Rows = (), count: int = 1, start: datetime = HOUR
) -> pl.DataFrame:
    end = start + timedelta(hours=count)
    inputs = (frame(NfsOperationSample, exports), frame(LustreOperationSample, clients), frame(GpfsSample, systems))
    return validated(
        StorageHour, storage_hour.function(*(each.lazy() for each in inputs), Span(start, end, end)).collect()
    )


def test_operations_of_nfs_are_reads_writes_and_the_rest() -> None:
    rows = [
        nfs(0, "READ", 10, received_bytes_total=1000.0, sent_bytes_total=50.0, execute_seconds_total=1.0),
        nfs(30, "READ", 14, received_bytes_total=5000.0, sent_bytes_total=90.0, execute_seconds_total=3.0),
        nfs(0, "WRITE", 5, received_bytes_total=0.0, sent_bytes_total=0.0, retransmission_count_total=0.0),
        nfs(30, "WRITE", 6, received_bytes_total=9.0, sent_bytes_total=700.0, retransmission_count_total=2.0),
        nfs(0, "GETATTR", 100, execute_seconds_total=1.0, queue_seconds_total=0.5, error_count_total=1.0),
        nfs(30, "GETATTR", 160, execute_seconds_total=8.0, queue_seconds_total=4.5, error_count_total=4.0),
        nfs(0, "LOOKUP", 1, execute_seconds_total=0.0, timeout_count_total=3.0),
        nfs(30, "LOOKUP", 2, execute_seconds_total=0.25, timeout_count_total=4.0),
    ]
    (row,) = hours(rows).to_dicts()
    assert (row["filesystem_type"], row["file_system"], row["mount_point"]) == ("nfs", "nas:/home", "/home")
    assert (row["read_count"], row["write_count"], row["metadata_count"]) == (4, 1, 61)
    assert (row["read_bytes"], row["written_bytes"]) == (4000.0, 700.0)
    assert (row["read_operation_seconds"], row["write_operation_seconds"]) == (2.0, None)
    assert (row["metadata_operation_seconds"], row["queue_seconds"]) == (7.25, 4.0)
    assert (row["error_count"], row["retransmission_count"], row["timeout_count"]) == (3, 2, 1)
    assert (row["longest_operation"], row["observed_seconds"]) == ("GETATTR", Decimal(30))


def test_a_remount_adds_nothing_even_where_its_counters_are_already_higher() -> None:
    rows = [nfs(0, "READ", 10), nfs(30, "READ", 500, mounted_seconds=20.0), nfs(60, "READ", 505, mounted_seconds=50.0)]
    assert hours(rows)["read_count"].to_list() == [5]
    cleared = HOUR + timedelta(seconds=20)
    rows = [lustre(0, "open", 1), lustre(30, "open", 50, counters_start=cleared)]
    rows += [lustre(60, "open", 52, counters_start=cleared)]
    assert hours((), rows)["metadata_count"].to_list() == [2]


def test_lustre_counts_a_read_once_though_two_lines_tell_of_it() -> None:
    rows = [
        lustre(0, "read_bytes", 4, bytes_total=1000.0),
        lustre(30, "read_bytes", 8, bytes_total=9000.0),
        lustre(0, "read", 4, operation_seconds_total=1.0),
        lustre(30, "read", 8, operation_seconds_total=1.5),
        lustre(0, "open", 1, operation_seconds_total=0.0),
        lustre(30, "open", 3, operation_seconds_total=0.25),
        lustre(0, "mmap", 1),
        lustre(30, "mmap", 1000),
        lustre(0, "read_bytes", 1, bytes_total=0.0, component="osc", target="scratch-OST0000"),
        lustre(30, "read_bytes", 8, bytes_total=9e9, component="osc", target="scratch-OST0000"),
    ]
    (row,) = hours((), rows).to_dicts()
    assert (row["filesystem_type"], row["file_system"], row["mount_point"]) == ("lustre", "scratch", "")
    assert (row["read_count"], row["read_bytes"], row["read_operation_seconds"]) == (4, 8000.0, 0.5)
    assert (row["metadata_count"], row["longest_operation"], row["error_count"]) == (2, "read", None)
    assert (row["write_count"], row["written_bytes"]) == (None, None)


def test_gpfs_has_calls_and_bytes_and_no_times() -> None:
    place = {"file_system": "fs1", "gpfs_cluster": "g"}
    before = at(0, **place, read_count_total=1.0, read_bytes_total=0.0, open_count_total=5.0, close_count_total=5.0)
    after = at(30, **place, read_count_total=3.0, read_bytes_total=8.0, open_count_total=9.0, close_count_total=6.0)
    (row,) = hours((), (), [before, after]).to_dicts()
    assert (row["filesystem_type"], row["file_system"]) == ("gpfs", "fs1")
    assert (row["read_count"], row["read_bytes"], row["metadata_count"]) == (2, 8.0, 5)
    assert (row["write_count"], row["read_operation_seconds"], row["longest_operation"]) == (None, None, None)


def test_a_gap_and_a_reboot_add_nothing() -> None:
    rows = [
        nfs(0, "READ", 1),
        nfs(600, "READ", 900),
        nfs(630, "READ", 950, boot_id="x"),
        nfs(660, "READ", 951, boot_id="x"),
    ]
    assert hours(rows)["read_count"].to_list() == [1]
    assert hours(rows[:2]).is_empty()


GROWTH = st.lists(
    st.tuples(
        st.integers(1, 300),
        st.dictionaries(st.sampled_from(["READ", "WRITE", "GETATTR", "OPEN"]), st.integers(0, 50), min_size=1),
    ),
    min_size=1,
    max_size=25,
)


def grown_in(cluster: str, growth: list[Any]) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """Return what the counters of a cluster tell, and what was counted within steps."""
    clock, counters, rows = 0, dict.fromkeys(("READ", "WRITE", "GETATTR", "OPEN"), 7), []
    expected = dict.fromkeys(counters, 0)
    for step, (wait, grown) in enumerate(growth):
        clock += wait
        for name in counters:
            counters[name] += grown.get(name, 0)
            seconds = counters[name] * 0.5
            rows.append(nfs(clock, name, float(counters[name]), execute_seconds_total=seconds, cluster=cluster))
            if step and wait <= 90:
                expected[name] += grown.get(name, 0)
    return rows, expected


@on_cases(GROWTH, random=st.randoms(use_true_random=False))
def test_each_operation_counts_once_however_hours_are_cut(cases: list[list[Any]], random: Any) -> None:
    of_clusters = {f"c{place}": grown_in(f"c{place}", growth) for place, growth in enumerate(cases)}
    rows = [row for own, _ in of_clusters.values() for row in own]
    last = (max(row["sampled_at"] for row in rows) - HOUR) // timedelta(hours=1) + 1
    whole = hours(rows, count=last)
    random.shuffle(rows)
    assert hours(rows, count=last).equals(whole)
    apart = []
    for place in range(last):
        start = HOUR + timedelta(hours=place)
        near = [each for each in rows if start - timedelta(minutes=15) <= each["sampled_at"]]
        apart.append(hours([each for each in near if each["sampled_at"] < start + timedelta(hours=1)], start=start))
    assert pl.concat(apart).equals(whole)
    for cluster, (_, expected) in of_clusters.items():
        own = whole.filter(cluster=cluster)
        sums = {name: own[name].sum() for name in ("read_count", "write_count", "metadata_count")}
        rest = expected["GETATTR"] + expected["OPEN"]
        assert sums == {"read_count": expected["READ"], "write_count": expected["WRITE"], "metadata_count": rest}
        assert own["metadata_operation_seconds"].sum() == pytest.approx(rest * 0.5)
