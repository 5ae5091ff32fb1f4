"""Writing, replacing, reading and the versions that follow."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import dataframely as dy
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger import _coded, _versions
from ledger.errors import ContractError, SealedError, StoreError
from ledger.frames import dtypes, to_frame
from ledger.store import RollupState, Store
from ledger.tables import (
    TABLES,
    Batch,
    CoverageDay,
    ExchangeRate,
    Finding,
    GpuProcessSample,
    GpuSample,
    Job,
    JobGpu,
    JobHour,
    Node,
    NodeState,
    declared,
)
from ledger.tables.partition import EDGE, Among, Between, Spanning, Without, partition_key

AT = datetime(2026, 11, 20, 5, 30, tzinfo=UTC)
HOUR = timedelta(hours=1)
NOW = AT + 2 * HOUR


@pytest.fixture
def store() -> Iterator[Store]:
    with Store.open("duckdb::memory:", now=lambda: NOW) as store:
        yield store


def filled(schema: type[dy.Schema], **given_values: Any) -> dict[str, Any]:
    """Return a row with the least that the table asks for."""
    least = {pl.String: "", pl.Float64: 0.0, pl.Int64: 0, pl.Boolean: False, pl.Date: AT.date()}
    row: dict[str, Any] = {}
    for name, column in schema.columns().items():
        if column.nullable:
            continue
        among = (column.metadata or {}).get("among")
        if among:
            row[name] = among[0]
        elif isinstance(column, dy.Datetime):
            row[name] = AT
        else:
            row[name] = least.get(type(column.dtype), Decimal(0))  # type: ignore[arg-type]
    return row | given_values


def frame_of(schema: type[dy.Schema], *rows: dict[str, Any]) -> pl.DataFrame:
    return to_frame(schema, [filled(schema, **row) for row in rows]).cast(dtypes(schema))  # type: ignore[arg-type]


def counts(store: Store, table: str) -> dict[str, int]:
    return {key: row.version_count for key, row in store.versions(table).items()}


def sample(node: str = "n", at: datetime = AT, **given_values: Any) -> dict[str, Any]:
    return {"node": node, "sampled_at": at, "gpu_uuid": "g", **given_values}


def test_rows_come_back_typed_in_the_tables_order(store: Store) -> None:
    rows = [sample(node) for node in ("b", "a")] + [sample("a", AT - HOUR)]
    store.append(GpuSample, frame_of(GpuSample, *rows), source="t")
    read = store.read(GpuSample, columns=["node", "sampled_at"])
    assert read.rows() == [("a", AT - HOUR), ("a", AT), ("b", AT)]
    assert read.schema["sampled_at"] == pl.Datetime("us", "UTC")
    assert store.read(GpuSample, where={"node": ["b"]}).height == 1
    assert store.read(GpuSample, where={"node": []}).height == 0
    assert store.read(GpuSample, where={"boot_id": [None, "x"]}).height == 3
    assert store.read(GpuSample, where={"node": Without(("b", "c"))}).get_column("node").unique().to_list() == ["a"]
    assert store.read(GpuSample, where={"node": Without(())}).height == 3
    for edges, found in (((None, "b"), ["a"]), (("b", "c"), ["b"]), (("b", None), ["b"]), ((None, None), ["a", "b"])):
        rows = store.read(GpuSample, where={"node": Between(edges)})
        assert rows.get_column("node").unique().sort().to_list() == found
    assert store.read(GpuSample, where={"node": Among(("node", "holder", "process"))}).is_empty()
    nodes = [{"node": node, "exists_start": AT, "holder": holder} for node, holder in (("a", "process"), ("b", None))]
    store.append(Node, frame_of(Node, *nodes), source="t")
    assert store.read(GpuSample, where={"node": Among(("node", "holder", "process"))})["node"].to_list() == ["a", "a"]
    with pytest.raises(ContractError, match='node: found no column "gpu_uuid" or holder, expected both'):
        store.read(GpuSample, where={"gpu_uuid": Among(("node", "holder", "process"))})
    assert store.read(GpuSample, ordered=False).height == 3
    with pytest.raises(ContractError, match="gpu_sample: found no column colour"):
        store.read(GpuSample, where={"colour": ["red"]})


@pytest.mark.parametrize("name", sorted(TABLES.keys() - {"partition_state", "partition_change"}))
def test_every_table_takes_a_row_once_and_gives_it_back(name: str) -> None:
    schema = TABLES[name].schema
    row = frame_of(schema, {})
    with Store.open("duckdb::memory:", now=lambda: NOW) as store:
        for rows, duplicates in ((1, 0), (0, 1), (0, 1)):
            written = store.append(schema, row, source="t")
            assert (written.rows, written.duplicates, written.rejected) == (rows, duplicates, 0)
        assert store.read(schema).equals(row)


@pytest.mark.parametrize("is_one_hash_for_all", [False, True])
def test_text_may_come_as_codes(store: Store, monkeypatch: pytest.MonkeyPatch, *, is_one_hash_for_all: bool) -> None:
    rows = [sample(at=AT + timedelta(seconds=place), gpu_uuid=f"GPU-{place % 3}") for place in range(12)]
    store.append(GpuSample, frame_of(GpuSample, *rows), source="t")
    if is_one_hash_for_all:
        monkeypatch.setattr(_coded, "_HASH", "(0 * hash({}))")
    names = ("cluster", "node", "gpu_uuid")
    window = (AT, AT + timedelta(seconds=10))
    found = store.read(GpuSample, window, columns=("sampled_at", *names), coded=names)
    assert found.schema["gpu_uuid"] == pl.Enum(["GPU-0", "GPU-1", "GPU-2"])
    assert found.with_columns(pl.col(names).cast(pl.String)).equals(
        store.read(GpuSample, window, columns=("sampled_at", *names))
    )
    nothing = store.read(GpuSample, (AT - HOUR, AT), columns=names, coded=names)
    assert (nothing.columns, nothing.height) == (list(names), 0)


def test_a_window_is_half_open(store: Store) -> None:
    rows = [sample(at=AT + step * HOUR) for step in range(3)]
    store.append(GpuSample, frame_of(GpuSample, *rows), source="t")
    window = (AT, AT + 2 * HOUR)
    assert store.read(GpuSample, window)["sampled_at"].to_list() == [AT, AT + HOUR]


def test_a_window_of_days_counts_days_that_start_in_it(store: Store) -> None:
    rows = [{"day": date(2026, 11, day)} for day in (19, 20, 21)]
    keys = ["2026-11-19", "2026-11-20", "2026-11-21"]
    store.replace(CoverageDay, frame_of(CoverageDay, *rows), partitions=keys)
    midnight = datetime(2026, 11, 20, tzinfo=UTC)
    assert store.read(CoverageDay, (midnight, midnight + 24 * HOUR))["day"].to_list() == [date(2026, 11, 20)]
    assert store.read(CoverageDay, (AT, AT + 24 * HOUR))["day"].to_list() == [date(2026, 11, 21)]


def test_a_window_keeps_intervals_that_overlap_it(store: Store) -> None:
    spans = {
        "before": (-3, -2),
        "touching": (-2, 0),
        "across": (-1, 1),
        "inside": (0, 0),
        "open": (-9, None),
        "later": (2, 3),
    }
    rows = [
        {"gpu_uuid": name, "held_start": AT + low * HOUR, "held_end": None if high is None else AT + high * HOUR}
        for name, (low, high) in spans.items()
    ]
    store.append(JobGpu, frame_of(JobGpu, *rows), source="t")
    read = store.read(JobGpu, (AT, AT + 2 * HOUR))
    assert set(read["gpu_uuid"]) == {"across", "inside", "open"}


def test_reading_by_another_grouping(store: Store) -> None:
    rows = [{"job_id": str(day), "submitted_at": AT - day * 24 * HOUR, "ended_at": AT} for day in range(3)]
    store.append(Job, frame_of(Job, *rows), source="t")
    read = store.read(Job, (AT - 36 * HOUR, AT), by="submitted_at")
    assert read["job_id"].to_list() == ["1"]


def test_our_sql_takes_named_parameters(store: Store) -> None:
    store.append(GpuSample, frame_of(GpuSample, sample("a"), sample("b")), source="t")
    found = store.select("SELECT node, sum(1) AS n FROM gpu_sample WHERE node = $node GROUP BY node", node="b")
    assert found.to_dicts() == [{"node": "b", "n": 1}]
    assert found.schema["n"] == pl.Int64
    with pytest.raises(StoreError, match="read-only"):
        store.select("DELETE FROM gpu_sample")


def test_sums_beyond_64_bits_survive(store: Store) -> None:
    big = store.select("SELECT sum(x) AS total FROM (SELECT CAST(9000000000000000000 AS BIGINT) AS x FROM range(10))")
    assert big["total"].to_list() == [90_000_000_000_000_000_000]


def test_a_sum_of_money_that_does_not_fit_raises(store: Store) -> None:
    rate = {"unit_price": Decimal(9 * 10**19)}
    rows = [rate | {"from_currency": name} for name in ("A", "B")]
    store.append(ExchangeRate, frame_of(ExchangeRate, *rows), source="t")
    with pytest.raises(StoreError, match="Overflow"):
        store.select("SELECT sum(unit_price) FROM exchange_rate")


def test_a_transaction_sees_one_snapshot(store: Store) -> None:
    with ThreadPoolExecutor(1) as elsewhere, store.transaction():
        add = elsewhere.submit(store.append, GpuSample, frame_of(GpuSample, sample()), source="t")
        assert add.result(10).rows == 1
        assert store.read(GpuSample).height == 0
        with store.transaction():
            assert store.select("SELECT count(*) AS n FROM gpu_sample")["n"].to_list() == [0]
        assert elsewhere.submit(lambda: store.read(GpuSample).height).result(10) == 1
    assert store.read(GpuSample).height == 1


def test_a_batch_counts_once_and_whole(store: Store) -> None:
    frames = {GpuSample: frame_of(GpuSample, sample()), GpuProcessSample: frame_of(GpuProcessSample, sample())}
    written = store.append_batch(frames, source="n", batch_id="b1", node="n")
    assert written is not None
    assert {name: each.rows for name, each in written.items()} == {"gpu_sample": 1, "gpu_process_sample": 1}
    assert store.append_batch(frames, source="n", batch_id="b1", node="n") is None
    assert store.read(Batch)["row_count"].to_list() == [2]
    # The same rows in another batch are duplicates, so that nothing counts twice.
    again = store.append_batch(frames, source="n", batch_id="b2", node="n")
    assert again is not None
    assert again["gpu_sample"].duplicates == 1
    assert counts(store, "gpu_sample") == {"2026-11-20T05": 1}


@pytest.mark.parametrize("writes_before", [0, 4], ids=["ends unknown", "ends known"])
def test_mending_takes_what_is_known_better_and_loses_nothing(store: Store, writes_before: int) -> None:
    def sample(minute: int, **values: Any) -> dict[str, Any]:
        return filled(GpuSample) | {"sampled_at": AT + timedelta(minutes=minute), "status": "ok", **values}

    def told(*rows: dict[str, Any], is_mending: bool) -> tuple[int, int, int]:
        frames = {GpuSample: to_frame(GpuSample, rows)}
        written = store.append_together(frames, source="test", is_mending=is_mending)["gpu_sample"]
        return written.rows, written.duplicates, written.rejected

    for minute in range(-writes_before, 0):
        told(sample(minute), is_mending=False)
    partial = sample(1, power_watts=100.0, memory_used_bytes=7.0)
    assert told(partial, is_mending=False) == (1, 0, 0)
    versions = {key: row.version_count for key, row in store.versions("gpu_sample").items()}
    better = sample(1, power_watts=300.0, kernel_active_ratio=0.5)
    assert told(better, sample(2), is_mending=True) == (2, 0, 0)
    rows = store.read(GpuSample).filter(sampled_at=AT + timedelta(minutes=1))
    assert rows.select("power_watts", "memory_used_bytes", "kernel_active_ratio").row(0) == (300.0, 7.0, 0.5)
    assert rows.height == 1
    after = {key: row.version_count for key, row in store.versions("gpu_sample").items()}
    assert all(after[key] > before for key, before in versions.items()), "what was computed of them is due"
    assert told(better, sample(2), is_mending=True) == (0, 2, 0)
    assert told(sample(2), is_mending=False) == (0, 1, 0), "it is known that this one is stored"
    assert store.read(GpuSample).height == writes_before + 2


def test_a_failing_write_changes_nothing_and_says_so(store: Store) -> None:
    with pytest.raises(ZeroDivisionError):
        store._commit(lambda commit: commit.cursor.execute("DELETE FROM fence") and 1 / 0)
    assert store.select("SELECT count(*) AS n FROM fence")["n"].to_list() == [1]
    assert store.append(GpuSample, frame_of(GpuSample, sample()), source="t").rows == 1


# Versions


def test_the_first_minutes_of_an_hour_have_a_version_of_their_own(store: Store) -> None:
    hour = AT.replace(minute=0, second=0, microsecond=0)
    last = hour + EDGE - timedelta(milliseconds=1)
    store.append(GpuSample, frame_of(GpuSample, sample(at=hour), sample(at=hour + EDGE)), source="t")
    assert counts(store, "gpu_sample") == {"2026-11-20T05": 1, "edge:2026-11-20T05": 1}
    store.append(GpuSample, frame_of(GpuSample, sample(at=hour + 2 * EDGE)), source="t")
    assert counts(store, "gpu_sample") == {"2026-11-20T05": 2, "edge:2026-11-20T05": 1}
    store.append(GpuSample, frame_of(GpuSample, sample(at=last), sample(at=hour + HOUR)), source="t")
    assert counts(store, "gpu_sample") == {
        "2026-11-20T05": 3,
        "2026-11-20T06": 1,
        "edge:2026-11-20T05": 2,
        "edge:2026-11-20T06": 1,
    }
    frames = {GpuSample: frame_of(GpuSample, sample(at=last, power_watts=77.0))}
    assert store.append_together(frames, source="t", is_mending=True)["gpu_sample"].rows == 1
    assert counts(store, "gpu_sample")["edge:2026-11-20T05"] == 3, "a row that takes another's place counts, too"


def test_each_touched_hour_gets_a_version(store: Store) -> None:
    store.append(GpuSample, frame_of(GpuSample, sample(), sample(at=AT + HOUR)), source="t")
    store.append(GpuSample, frame_of(GpuSample, sample(at=AT + 2 * HOUR), sample()), source="t")
    assert counts(store, "gpu_sample") == {"2026-11-20T05": 1, "2026-11-20T06": 1, "2026-11-20T07": 1}
    assert store.versions("gpu_sample")["2026-11-20T05"].row_count == 1
    assert list(store.versions("gpu_sample", "2026-11-20T06")) == ["2026-11-20T06", "2026-11-20T07"]


def held(start: float, end: float | None, **given_values: Any) -> pl.DataFrame:
    row = {"held_start": AT + start * HOUR, "held_end": None if end is None else AT + end * HOUR, **given_values}
    return frame_of(JobGpu, row)


def test_a_change_of_an_interval_touches_only_the_hours_that_it_changed(store: Store) -> None:
    # At 07:30 a device is held since 03:30.
    store.append(JobGpu, held(-2, None), source="t")
    assert counts(store, "job_gpu") == {f"2026-11-20T0{hour}": 1 for hour in (3, 4, 5, 6, 7)}
    # It turns out that it was given back at 06:00.
    store.append(JobGpu, held(-2, 0.5), source="t")
    assert counts(store, "job_gpu") == {f"2026-11-20T0{hour}": 1 + (hour >= 6) for hour in (3, 4, 5, 6, 7)}
    # The confidence is not watched; the share is.
    store.append(JobGpu, held(-2, 0.5, confidence_ratio=0.5), source="t")
    assert counts(store, "job_gpu")["2026-11-20T03"] == 1
    store.append(JobGpu, held(-2, 0.5, confidence_ratio=0.5, requested_share_ratio=0.5), source="t")
    assert counts(store, "job_gpu") == {f"2026-11-20T0{hour}": 2 for hour in (3, 4, 5, 6, 7)}


def test_an_interval_of_all_time_touches_no_hours_that_nobody_computes(store: Store) -> None:
    at_once = store.append(JobGpu, held(0, 7_900 * 365 * 24.0), source="t")
    assert at_once.rows == 1
    keys = sorted(counts(store, "job_gpu"))
    assert (keys[0], len(keys)) == ("2026-11-20T05", 366 * 24 + 3), "up to a year from now: it is 07:30"
    since = datetime(1, 1, 1, tzinfo=UTC)
    store.append(JobGpu, frame_of(JobGpu, {"held_start": since, "held_end": since + HOUR, "gpu_uuid": "b"}), source="t")
    assert len(counts(store, "job_gpu")) == len(keys)


def test_a_change_of_a_job_touches_its_day_of_submission_as_well(store: Store) -> None:
    store.append(Job, frame_of(Job, {"ended_at": AT}), source="t")
    assert counts(store, "job") == {"2026-11-20T05": 1, "submitted_at:2026-11-20": 1}
    store.append(Job, frame_of(Job, {"ended_at": AT, "exit_code": "1:0"}), source="t")
    assert counts(store, "job") == {"2026-11-20T05": 1, "submitted_at:2026-11-20": 2}
    assert list(store.versions("job", "2026-11-20T06")) == []


ends = st.one_of(st.none(), st.integers(0, 12))


@given(st.integers(0, 6), ends, ends, st.booleans())
def test_touched_hours_are_those_in_which_the_interval_differs(
    start: int,
    old_end: int | None,
    new_end: int | None,
    watched: bool,
) -> None:
    quarter = timedelta(minutes=30)
    midnight = AT.replace(hour=0, minute=0)
    now = midnight + 8 * quarter
    begin = midnight + start * quarter

    def row(end: int | None, state: str) -> pl.DataFrame:
        until = None if end is None else midnight + (start + end) * quarter
        return frame_of(NodeState, {"state_start": begin, "state_end": until, "state": state})

    def covered(end: int | None) -> set[datetime]:
        until = now if end is None else midnight + (start + end) * quarter
        return {midnight + step * quarter for step in range(48) if begin <= midnight + step * quarter < until}

    partition = declared(NodeState).partition
    assert isinstance(partition, Spanning)
    old, new = row(old_end, "UP"), row(new_end, "DOWN" if watched else "UP")
    touched = _versions.touched_hours(partition, old, new, declared(NodeState).key, now)
    before, after = covered(old_end), covered(new_end)
    differs = before | after if watched else before ^ after
    expected = {partition_key(at, "hour") for at in differs}
    assert expected <= touched
    # More is touched only where an interval is empty, or ends before it starts: its first hour.
    assert touched - expected <= {partition_key(begin, "hour")} | (
        {partition_key(now + step * HOUR, "hour") for step in range(6)} if begin > now else set()
    )


def test_keys_are_held_apart_however_often_and_by_whomever_rows_are_written(tmp_path: Path) -> None:
    url = f"duckdb:{tmp_path}/ledger.duckdb"
    with Store.open(url) as one, Store.open(url) as other:
        for step in range(5):
            rows = frame_of(GpuSample, sample(at=AT + timedelta(seconds=step)))
            assert one.append(GpuSample, rows, source="t").rows == 1
            assert one.append(GpuSample, rows, source="t").duplicates == 1
            assert other.append(GpuSample, rows, source="t").duplicates == 1
            early = frame_of(GpuSample, sample(at=AT - timedelta(seconds=step)), sample("m", AT - HOUR))
            assert other.append(GpuSample, early, source="t").duplicates == 1
            assert one.append(GpuSample, early, source="t").duplicates == 2
        one.backup(tmp_path / "copy.duckdb")
        one.expire(GpuSample, AT + 48 * HOUR)
        later = frame_of(GpuSample, sample(at=AT + timedelta(seconds=4)))
        one.load(tmp_path / "copy.duckdb")
        assert one.append(GpuSample, later, source="t").duplicates == 1


def test_whole_tables_have_one_version(store: Store) -> None:
    rate = frame_of(ExchangeRate, {"unit_price": Decimal(1)})
    store.append(ExchangeRate, rate, source="t")
    store.append(ExchangeRate, rate, source="t")
    assert counts(store, "exchange_rate") == {"*": 1}


def hour_row(hour: int, job_id: str = "1", **given_values: Any) -> dict[str, Any]:
    return {"hour_start": AT.replace(hour=hour, minute=0), "job_id": job_id, "submitted_at": AT, **given_values}


STATE = RollupState("i1", "c1", "s1")


def test_replacing_gives_a_version_only_where_rows_changed(store: Store) -> None:
    keys = ["2026-11-20T05", "2026-11-20T06", "2026-11-20T07"]
    rows = frame_of(JobHour, hour_row(5), hour_row(6), hour_row(6, "2"))
    changed = store.replace(JobHour, rows, partitions=keys, state=dict.fromkeys(keys, STATE))
    assert changed == keys[:2]
    assert counts(store, "job_hour") == {keys[0]: 1, keys[1]: 1, keys[2]: 0, "submitted_at:2026-11-20": 1}
    state = store.versions("job_hour")[keys[2]]
    assert (state.input_version, state.code_version, state.settings_fingerprint) == ("i1", "c1", "s1")
    assert (state.row_count, state.is_sealed) == (0, False)
    again = RollupState("i2", "c1", "s1")
    assert store.replace(JobHour, rows.reverse(), partitions=keys, state=dict.fromkeys(keys, again)) == []
    assert counts(store, "job_hour")["submitted_at:2026-11-20"] == 1
    assert store.versions("job_hour")[keys[0]].input_version == "i2"
    moved = frame_of(JobHour, hour_row(5), hour_row(6, "3"))
    assert store.replace(JobHour, moved, partitions=keys, state=None) == [keys[1]]
    assert counts(store, "job_hour") == {keys[0]: 1, keys[1]: 2, keys[2]: 0, "submitted_at:2026-11-20": 2}
    assert store.read(JobHour)["job_id"].to_list() == ["1", "3"]


def test_only_the_other_groupings_whose_rows_changed_get_a_version(store: Store) -> None:
    early = AT - 48 * HOUR
    rows = [hour_row(5), hour_row(5, "2") | {"submitted_at": early}]
    store.replace(JobHour, frame_of(JobHour, *rows), partitions=["2026-11-20T05"])
    store.replace(JobHour, frame_of(JobHour, rows[0]), partitions=["2026-11-20T05"])
    versions = counts(store, "job_hour")
    assert (versions["submitted_at:2026-11-18"], versions["submitted_at:2026-11-20"]) == (2, 1)


def test_keyed_partitions_are_replaced_apart(store: Store) -> None:
    def finding(rule: str, name: str) -> dict[str, Any]:
        return {"finding_id": name, "rule": rule}

    store.replace(Finding, frame_of(Finding, finding("a", "1"), finding("b", "2")), partitions=["a", "b"])
    store.replace(Finding, frame_of(Finding, finding("a", "3")), partitions=["a"])
    assert sorted(store.read(Finding)["finding_id"]) == ["2", "3"]
    assert counts(store, "finding") == {"a": 2, "b": 1}


def test_replacing_all_intervals_touches_what_differs(store: Store) -> None:
    store.append(JobGpu, held(-2, -1), source="t")
    kept_and_new = pl.concat([held(-2, -1), held(0, 1, gpu_uuid="g2")])
    assert store.replace(JobGpu, kept_and_new, partitions=["*"]) == ["*"]
    assert store.replace(JobGpu, kept_and_new, partitions=["*"]) == []
    assert counts(store, "job_gpu") == {f"2026-11-20T0{hour}": 1 for hour in (3, 4, 5, 6)}
    store.replace(JobGpu, held(0, 1, gpu_uuid="g2"), partitions=["*"])
    assert counts(store, "job_gpu")["2026-11-20T03"] == 2
    assert store.read(JobGpu)["gpu_uuid"].to_list() == ["g2"]


def test_rows_appended_to_a_replaced_partition_do_not_stay_when_it_is_replaced(store: Store) -> None:
    rows = frame_of(JobHour, hour_row(5))
    store.replace(JobHour, rows, partitions=["2026-11-20T05"])
    store.append(JobHour, frame_of(JobHour, hour_row(5, "9")), source="t")
    assert store.replace(JobHour, rows, partitions=["2026-11-20T05"]) == ["2026-11-20T05"]
    assert store.read(JobHour)["job_id"].to_list() == ["1"]


@pytest.mark.parametrize(
    ("rows", "partitions", "text"),
    [
        ([hour_row(5)], ["2026-11-20T06"], "found rows of partition 2026-11-20T05"),
        ([hour_row(5)], ["today"], "found partition 'today'"),
        ([hour_row(5), hour_row(5)], ["2026-11-20T05"], "found two rows with one key"),
        ([hour_row(5, energy_joules=float("nan"))], ["2026-11-20T05"], "energy_joules: found NaN"),
    ],
)
def test_rows_that_do_not_fit_are_an_error_of_who_computed_them(
    store: Store, rows: list[dict[str, Any]], partitions: list[str], text: str
) -> None:
    with pytest.raises(ContractError, match=f"job_hour: .*{text}"):
        store.replace(JobHour, frame_of(JobHour, *rows), partitions=partitions)
    assert store.read(JobHour).height == 0


def test_replacing_needs_every_column_that_must_have_a_value(store: Store) -> None:
    frame = frame_of(JobHour, hour_row(5)).drop("job_id")
    with pytest.raises(ContractError, match="job_hour: found no column job_id"):
        store.replace(JobHour, frame, partitions=["2026-11-20T05"])


def test_a_sealed_partition_is_refused_in_words(store: Store) -> None:
    rows = frame_of(JobHour, hour_row(5))
    store.replace(JobHour, rows, partitions=["2026-11-20T05"])
    store.seal("job_hour", ["2026-11-20T05", "2026-11-20T06"])
    with pytest.raises(SealedError, match="recomputing a sealed one is refused"):
        store.replace(JobHour, rows.clear(), partitions=["2026-11-20T05", "2026-11-20T07"])
    with pytest.raises(SealedError, match="2026-11-20T06"):
        store.replace(JobHour, rows.clear(), partitions=["2026-11-20T06"])
    assert store.read(JobHour).height == 1
    assert "2026-11-20T07" not in store.versions("job_hour")


def test_expired_rows_go_and_their_versions_stay(store: Store) -> None:
    rows = [sample(at=AT + step * HOUR) for step in (-2, -1, 0)]
    store.append(GpuSample, frame_of(GpuSample, *rows), source="t")
    before = counts(store, "gpu_sample")
    assert store.expire(GpuSample, AT) == 2
    assert store.read(GpuSample)["sampled_at"].to_list() == [AT]
    assert counts(store, "gpu_sample") == before
    with pytest.raises(ContractError, match="exchange_rate: found no time to expire by"):
        store.expire(ExchangeRate, AT)


def test_a_person_is_erased_everywhere(store: Store) -> None:
    rows = [{"job_id": "1", "user": "ada", "ended_at": AT}, {"job_id": "2", "user": "bob", "ended_at": AT}]
    store.append(Job, frame_of(Job, *rows), source="t")
    store.replace(JobHour, frame_of(JobHour, hour_row(5, user="ada")), partitions=["2026-11-20T05"])
    bad = to_frame(Job, [filled(Job, user="ada", job_id="3", state=None)])
    assert store.append(Job, bad, source="t").rejected == 1
    before = counts(store, "job")
    assert store.erase_user("ada") == {"job": 1, "job_hour": 1, "rejected_row": 1}
    assert sorted(store.read(Job)["user"]) == ["bob", "erased"]
    assert store.read(JobHour)["user"].to_list() == ["erased"]
    assert counts(store, "job") == {key: count + 1 for key, count in before.items()}
    assert store.erase_user("ada") == {}


# Several threads


def test_two_threads_that_replace_one_empty_partition_do_not_double_it(store: Store) -> None:
    rows = frame_of(JobHour, *(hour_row(5, str(index)) for index in range(50)))
    start = threading.Barrier(2)

    def work(mark: int) -> None:
        start.wait(60)
        store.replace(JobHour, rows.with_columns(pl.lit(f"u{mark}").alias("user")), partitions=["2026-11-20T05"])

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(work, (1, 2)))
    assert store.read(JobHour).height == 50
    assert counts(store, "job_hour")["2026-11-20T05"] == 2


def test_readers_and_a_writer_do_not_disturb_each_other(store: Store) -> None:
    def write(step: int) -> int:
        return store.append(
            GpuSample, frame_of(GpuSample, *(sample(f"n{step}-{i}") for i in range(20))), source="t"
        ).rows

    def look(_: int) -> bool:
        return store.read(GpuSample).height % 20 == 0

    with ThreadPoolExecutor(6) as pool:
        written = [pool.submit(write, step) for step in range(15)]
        whole = list(pool.map(look, range(40)))
    assert all(whole)
    assert sum(each.result() for each in written) == 300
    assert store.read(GpuSample).height == 300


def test_a_closed_store_says_so(store: Store) -> None:
    store.close()
    with pytest.raises(StoreError, match="is closed"):
        store.append(GpuSample, frame_of(GpuSample, sample()), source="t")
    with pytest.raises(StoreError, match="store duckdb::memory:"):
        store.read(GpuSample)
