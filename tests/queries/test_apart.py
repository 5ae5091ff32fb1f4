"""Hours with more rows than one call holds: some nodes at a time, and the same rows as of all together."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import chain, repeat
from pathlib import Path
from typing import Annotated, Any

import dataframely as dy
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from ledger.config import Settings
from ledger.frames import to_frame
from ledger.store import Store
from ledger.tables import AgentHour, CollectorRun, JobCgroupSample, PowerSample
from ledger.tables.partition import Between
from queries import _work
from queries._apart import computed
from queries._due import Versions
from queries._work import Asked, apart, due_of, work_of
from queries.aside import Aside
from queries.executor import run_due
from queries.graph import Input, Rollup, Span, load, rollup
from tests.demo import DEMO_NOW

NOW = datetime(2026, 11, 20, 5, 30, tzinfo=UTC)
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)

APART = [each for each in load() if any(source.read.apart for source in each.sources)]


@pytest.fixture
def store() -> Iterator[Store]:
    with Store.open("duckdb::memory:", now=lambda: NOW) as opened:
        yield opened


@pytest.fixture(scope="module")
def demo(demo_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    path = tmp_path_factory.mktemp("apart") / "ledger.duckdb"
    shutil.copyfile(demo_file, path)
    with Store.open(f"duckdb:{path}", now=lambda: DEMO_NOW) as opened:
        put_meters(opened)
        yield opened


def put(store: Store, nodes: dict[str, int], at: datetime = NOW - HOUR) -> None:
    """Tell of so many rounds on each node, within an hour."""
    row = {"cluster": "c", "collector": "nvml", "is_ok": True, "row_count": 1, "duration_seconds": 0.5}
    rows = [
        {**row, "node": node, "sampled_at": at + timedelta(seconds=place)}
        for node, count in nodes.items()
        for place in range(count)
    ]
    store.append(CollectorRun, to_frame(CollectorRun, rows), source="test")


def put_meters(store: Store) -> None:
    """Tell what simulated agents do not: what cgroups of jobs counted, and meters of whole nodes."""
    rows = [
        {
            "cluster": "c",
            "node": node,
            "boot_id": "b",
            "step_seconds": 60.0,
            "sampled_at": DEMO_NOW + (step - 50) * MINUTE,
        }
        | {"cpu_seconds_total": 1.1 * step, "read_bytes_total": 7.0 * step, "energy_joules_total": 300.3 * step}
        for node in "vwxyz"
        for step in range(20)
    ]
    for schema, more in (
        (JobCgroupSample, {"job_id": "7"}),
        (PowerSample, {"scope": "node", "power_source": "ipmi"}),
    ):
        names = schema.column_names()
        told = [{name: value for name, value in (row | more).items() if name in names} for row in rows]
        assert store.append(schema, to_frame(schema, told), source="test").rejected == 0


calls: list[list[str]] = []


@rollup(rows_at_once=12)
def agent_hour(
    runs: Annotated[dy.LazyFrame[CollectorRun], Input(apart=True)],
) -> dy.LazyFrame[AgentHour]:
    """Count rounds, and keep which nodes a call got."""
    calls.append(runs.collect().get_column("node").unique().sort().to_list())
    return runs.group_by(pl.col("sampled_at").dt.truncate("1h").alias("hour_start"), "cluster", "node").agg(  # type: ignore[return-value]
        round_count=pl.len().cast(pl.Int64),
        failed_round_count=pl.lit(0, pl.Int64),
        row_count=pl.lit(0, pl.Int64),
        duration_seconds=pl.lit(0.0),
        longest_round_seconds=pl.lit(0.0),
    )


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    calls.clear()
    monkeypatch.setattr(_work, "_ROWS_APART", 4)


def run(store: Store, **more: Any) -> int:
    return run_due(store, Settings(), rollups=[agent_hour], **more)[0].partitions


@pytest.mark.parametrize("each", APART, ids=lambda each: each.name)
def test_nodes_apart_make_the_rows_that_all_make_together(
    demo: Store, each: Rollup, monkeypatch: pytest.MonkeyPatch
) -> None:
    since = DEMO_NOW - 2 * HOUR
    kept: list[int] = []
    divided = _work.apart

    def told(*given: Any) -> list[Between | None]:
        found = divided(*given)
        kept.append(len(found))
        return found

    monkeypatch.setattr("queries.executor.apart", told)
    monkeypatch.setattr(_work, "_ROWS_APART", 10**9)
    assert run_due(demo, Settings(), since=since, everything=True, only=[each.name])[0].rows > 0
    before = demo.read(each.schema, (since, DEMO_NOW))
    assert max(kept, default=1) == 1
    kept.clear()
    monkeypatch.setattr(_work, "_ROWS_APART", 30)
    small = [replace(each, rows_at_once=1)]
    assert run_due(demo, Settings(), since=since, everything=True, rollups=small)[0].partitions > 0
    assert max(kept) > 1, "some hour has been divided"
    # Seconds are exact; a sum of floats may differ in its last digit, as its rows come in other pieces.
    assert_frame_equal(demo.read(each.schema, (since, DEMO_NOW)), before, rel_tol=1e-12, abs_tol=0)


def test_an_hour_is_divided_by_nodes_with_as_many_rows_each_as_can_be(store: Store) -> None:
    put(store, {"d": 4, "a": 2, "b": 2, "c": 4, "e": 1})
    versions = Versions(store, NOW)
    work = work_of(agent_hour, Settings(), versions)
    (part,) = due_of(work, versions, Asked(None, None, everything=False))[0]
    assert apart(work, versions, [part]) == [
        Between((None, "c")),
        Between(("c", "d")),
        Between(("d", "e")),
        Between(("e", None)),
    ]


@rollup(rows_at_once=12)
def attribution_hour(
    runs: Annotated[dy.LazyFrame[CollectorRun], Input(before=15 * MINUTE, apart=True)], span: Span
) -> dy.LazyFrame[AgentHour]:
    """Read a quarter of the hour before, too."""
    return agent_hour.function(runs=runs.filter(pl.col("sampled_at") >= span.start))  # type: ignore[no-any-return]


@rollup(rows_at_once=12)
def ahead(
    runs: Annotated[dy.LazyFrame[CollectorRun], Input(after=15 * MINUTE, apart=True)], span: Span
) -> dy.LazyFrame[AgentHour]:
    """Read a quarter of the hour after, too."""
    return agent_hour.function(runs=runs.filter(pl.col("sampled_at") < span.end))  # type: ignore[no-any-return]


def divided(store: Store, each: Rollup, now: datetime) -> list[int]:
    """Return into how many calls each due hour is divided."""
    versions = Versions(store, now)
    work = work_of(each, Settings(), versions)
    parts, _ = due_of(work, versions, Asked(None, None, everything=False))
    return [len(apart(work, versions, [part])) for part in parts]


def test_an_hour_that_has_begun_is_divided_by_what_it_reads_of_the_hour_before(store: Store) -> None:
    put(store, dict.fromkeys("abcd", 10), at=NOW - 40 * MINUTE)
    put(store, {"a": 1, "b": 1}, at=NOW - 10 * MINUTE)
    assert divided(store, attribution_hour, NOW) == [4, 4], "all are in the quarter that is read"
    assert run_due(store, Settings(), rollups=[attribution_hour])[0].rows == 6


@pytest.mark.parametrize(
    ("now", "calls_of_first"),
    [
        pytest.param(NOW - 15 * MINUTE, 2, id="all rows of the hour after are in its quarter that is over"),
        pytest.param(NOW + 30 * MINUTE, 1, id="a quarter of them are, as they come evenly"),
        pytest.param(NOW - 30 * MINUTE, 1, id="the hour after begins now: its rows are of a clock that is wrong"),
        pytest.param(NOW - 30 * MINUTE + timedelta(microseconds=1), 2, id="it has begun"),
        pytest.param(NOW - 40 * MINUTE, 1, id="it is still to come"),
    ],
)
def test_rows_of_an_hour_come_evenly_up_to_now(store: Store, now: datetime, calls_of_first: int) -> None:
    put(store, {"a": 1}, at=NOW - HOUR)
    put(store, {"a": 2, "b": 3}, at=NOW - 29 * MINUTE)
    assert divided(store, ahead, now)[0] == calls_of_first


def test_what_fits_into_a_call_is_not_divided(store: Store) -> None:
    put(store, {"a": 2, "b": 2})
    assert run(store) == 1
    assert calls == [["a", "b"]]


def test_a_call_with_more_rows_than_its_rollup_asks_for_works_through_some_nodes_after_others(store: Store) -> None:
    put(store, {"a": 2, "b": 2, "c": 5, "d": 1})
    runs = store.read(CollectorRun)
    coded = runs.with_columns(pl.col("node").cast(pl.Enum(["a", "b", "c", "d"])))
    for given in (runs, coded):
        calls.clear()
        rows = computed(replace(agent_hour, rows_at_once=5), {"runs": given}, {})
        assert calls == [["a", "b", "c"], ["d"]]
        assert rows.sort("node").get_column("round_count").to_list() == [2, 2, 5, 1]
    calls.clear()
    computed(replace(agent_hour, rows_at_once=10), {"runs": runs}, {})
    assert calls == [["a", "b", "c", "d"]]
    calls.clear()
    computed(replace(agent_hour, rows_at_once=8), {"runs": runs}, {})
    assert calls == [["a", "b", "c", "d"]], "a little more is read around each stretch"


def test_a_node_with_more_rows_than_a_call_holds_is_one_call(store: Store) -> None:
    put(store, {"a": 9})
    run(store)
    assert calls == [["a"]]
    assert store.read(AgentHour).get_column("round_count").to_list() == [9]


def test_all_nodes_of_an_hour_are_committed_as_one(store: Store) -> None:
    nodes = {"a": 3, "b": 3, "c": 3, "d": 3}
    put(store, nodes, NOW - 2 * HOUR)
    put(store, nodes)
    assert run(store) == 2
    assert sorted(calls) == sorted(2 * [["a", "b"], ["c"], ["d"]])
    rows = store.read(AgentHour)
    assert rows.group_by("hour_start").agg(pl.col("round_count").sum()).get_column("round_count").to_list() == [12, 12]
    assert {state.version_count for state in store.versions("agent_hour").values()} == {1}
    assert run(store) == 0


def test_what_some_nodes_came_to_is_not_kept_in_memory(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("queries.executor._ROWS_AT_A_COMMIT", 2)
    nodes = dict.fromkeys("abcdefg", 3)
    put(store, nodes, NOW - 3 * HOUR)
    put(store, {"a": 1}, NOW - 2 * HOUR)
    put(store, nodes)
    parts: list[int] = []
    replace_by = store.replace_by

    def stored(pieces: Any, **more: Any) -> list[str]:
        parts.append(sum(1 for _ in pieces.frames()))
        return replace_by(pieces, **more)

    monkeypatch.setattr(store, "replace_by", stored)
    assert run(store) == 3
    assert sum(each == [node] for each in calls for node in "defg") == 8, "a call for each"
    assert [count > 1 for count in parts] == [True, False, True]
    rows = store.read(AgentHour)
    assert rows.group_by("hour_start").agg(pl.col("round_count").sum())["round_count"].sort().to_list() == [1, 21, 21]
    assert run(store) == 0


def test_a_stop_between_some_nodes_and_others_leaves_nothing_half(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("queries.executor._ROWS_AT_A_COMMIT", 1)
    put(store, {"a": 3, "b": 3, "c": 3, "d": 3})
    asked = chain([False, False], repeat(object()))
    assert run(store, stop=lambda: bool(next(asked))) == 0
    assert len(calls) == 1, "of three"
    assert store.read(AgentHour).is_empty()
    assert run(store) == 1
    assert store.read(AgentHour).get_column("round_count").sum() == 12


def test_a_process_that_fails_over_some_nodes_has_those_computed_here(store: Store) -> None:
    class Failing(Aside):
        def takes(self, inputs: Any) -> bool:
            return bool(inputs)

        def compute(self, rollup: str, inputs: dict[str, pl.DataFrame], others: Any) -> None:
            assert rollup == "agent_hour"
            assert not others
            inputs.clear()

    put(store, {"a": 3, "b": 3, "c": 3})
    run(store, aside=Failing())
    assert sorted(calls) == [["a"], ["b"], ["c"]]
    assert store.read(AgentHour).get_column("round_count").to_list() == [3, 3, 3]
