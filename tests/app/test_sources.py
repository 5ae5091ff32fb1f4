"""Sources of a cluster: asked at their pace, each piece kept once, one that fails stops no other."""

import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from app.context import Context
from app.pullers import Pullers, wait_seconds
from app.services._pulling import pull
from collectors.cluster._configured import Configured, configured
from collectors.cluster._source import ClusterSource, Pull, Pulled, SourceSettings
from collectors.dumps._dump import Rejected
from ledger.config import load
from ledger.errors import ConfigError, SourceError
from ledger.tables import HostSample, RejectedRow, SourceState

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)

Asked = list[tuple[datetime | None, datetime]]


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> Iterator[Context]:
    monkeypatch.delenv("CLUSTERLEDGER_STORE", raising=False)
    context = Context(load(store={"url": "duckdb::memory:"}), now=lambda: NOW)
    yield context
    if not context.stop.is_set():
        context.close()


def rows(at: datetime, node: str = "n1") -> pl.DataFrame:
    return pl.DataFrame({"sampled_at": [at], "cluster": ["c"], "node": [node], "load_average_count": [1.5]})


def named(name: str, answers: Pull, *, every_seconds: float = 60) -> Configured:
    """Return a source that answers with a function."""
    kind = ClusterSource("hourly", ("host_sample",), every_seconds, SourceSettings, lambda _: answers)
    return Configured(name, kind, SourceSettings(kind="hourly", cluster="c"))


def hourly(asked: Asked, *, fails_at: datetime | None = None) -> Pull:
    """Return a source with a row for each hour, told hour by hour; it notes what it is asked."""

    def answers(since: datetime | None, until: datetime) -> Iterator[Pulled]:
        asked.append((since, until))
        at = (since or until - 3 * HOUR) + HOUR
        while at <= until:
            if at == fails_at:
                raise SourceError(f"http://p: no answer for {at}", hint="is it up?")
            yield Pulled({HostSample: rows(at)}, reached_at=at, remarks=("partial",))
            at += HOUR

    return answers


def stands(here: Context, name: str = "s") -> dict[str, object]:
    return here.store.read(SourceState, where={"source_name": [name]}).row(0, named=True)


def kept(here: Context) -> list[datetime]:
    return list(here.store.read(HostSample)["sampled_at"])


def test_the_next_pull_begins_where_the_last_one_ended(here: Context) -> None:
    asked: Asked = []
    first = pull(here, named("s", hourly(asked)))
    assert (first.rows, first.rejected, first.error, first.reached_at) == (3, 0, None, NOW)
    assert first.tables == {"host_sample": 3}
    later = NOW + 2 * HOUR
    second = pull(here, named("s", hourly(asked)), until=later)
    assert asked == [(None, NOW), (NOW, later)]
    assert second.rows == 2
    assert kept(here) == [NOW + index * HOUR for index in range(-2, 3)]
    row = stands(here)
    assert (row["status"], row["row_count"], row["reached_at"], row["message"]) == ("done", 2, later, "partial")
    assert (row["kind"], row["cluster"], row["failed_count"], row["answered_at"]) == ("hourly", "c", 0, NOW)


def test_what_came_before_a_failure_stays_and_is_not_asked_for_again(here: Context) -> None:
    asked: Asked = []
    failed = pull(here, named("s", hourly(asked, fails_at=NOW)))
    assert failed.rows == 2
    assert failed.error is not None
    row = stands(here)
    assert (row["status"], row["failed_count"], row["reached_at"]) == ("failed", 1, NOW - HOUR)
    assert row["message"] == f"http://p: no answer for {NOW}\n  hint: is it up?"
    assert row["answered_at"] is None
    assert pull(here, named("s", hourly(asked))).rows == 1
    assert asked[-1] == (NOW - HOUR, NOW)
    assert len(kept(here)) == 3
    assert stands(here)["failed_count"] == 0


def test_an_error_of_the_program_is_raised_and_leaves_a_trace(here: Context) -> None:
    def answers(since: datetime | None, until: datetime) -> Iterator[Pulled]:
        raise ZeroDivisionError
        yield Pulled({}, until)

    with pytest.raises(ZeroDivisionError):
        pull(here, named("s", answers))
    assert stands(here)["status"] == "failed"
    assert "see the log" in str(stands(here)["message"])


def test_a_stretch_asked_for_again_is_kept_once_and_moves_nothing_back(here: Context) -> None:
    asked: Asked = []
    pull(here, named("s", hourly(asked)))
    again = pull(here, named("s", hourly(asked)), NOW - 5 * HOUR, NOW - HOUR)
    assert asked[-1] == (NOW - 5 * HOUR, NOW - HOUR)
    assert (again.rows, again.rejected) == (2, 0)
    assert stands(here)["reached_at"] == NOW
    assert len(set(kept(here))) == len(kept(here)) == 5


def test_a_stretch_after_a_hole_does_not_hide_the_hole(here: Context) -> None:
    asked: Asked = []
    pull(here, named("s", hourly(asked)))
    pull(here, named("s", hourly(asked)), NOW + 3 * HOUR, NOW + 5 * HOUR)
    assert stands(here)["reached_at"] == NOW
    assert len(kept(here)) == 5


def test_refused_records_and_rows_are_kept_with_their_reason_once(here: Context) -> None:
    def answers(since: datetime | None, until: datetime) -> Iterator[Pulled]:
        del since
        bad = rows(until).with_columns(load_average_count=pl.lit(-1.0))
        refused = Rejected("job", "job 7", "state: found nothing, expected a word", "{}")
        yield Pulled({HostSample: pl.concat([rows(until - HOUR), bad])}, until, rejected=(refused,))

    first = pull(here, named("s", answers))
    assert (first.rows, first.rejected) == (1, 2)
    assert first.faults.lines() == ["job 7: state: found nothing, expected a word"]
    pull(here, named("s", answers))
    stored = here.store.read(RejectedRow)
    assert set(stored["source"]) == {"source s"}
    assert sorted(stored["table_name"]) == ["host_sample", "host_sample", "job"]
    assert stands(here)["rejected_count"] == 2


def test_nothing_is_kept_of_a_piece_that_comes_after_the_hub_has_stopped(here: Context) -> None:
    def answers(since: datetime | None, until: datetime) -> Iterator[Pulled]:
        del since
        yield Pulled({HostSample: rows(until - HOUR)}, until - HOUR)
        here.stop.set()
        yield Pulled({HostSample: rows(until)}, until)

    found = pull(here, named("s", answers))
    assert "the hub stops" in str(found.error)
    assert kept(here) == [NOW - HOUR]
    assert stands(here)["reached_at"] == NOW - HOUR
    here.close()


def test_a_restored_store_keeps_nothing_of_a_pull_from_before(here: Context, tmp_path: Path) -> None:
    asked: Asked = []
    backup = tmp_path / "early.duckdb"
    here.store.backup(backup)

    def answers(since: datetime | None, until: datetime) -> Iterator[Pulled]:
        yield Pulled({HostSample: rows(until - HOUR)}, until - HOUR)
        here.restore(backup)
        yield Pulled({HostSample: rows(until)}, until)

    found = pull(here, named("s", answers))
    assert "restored" in str(found.error)
    assert kept(here) == []
    assert here.store.read(SourceState).is_empty()
    assert pull(here, named("s", hourly(asked))).rows == 3
    assert asked == [(None, NOW)]


def until_true(condition: Callable[[], bool], seconds: float = 60) -> None:
    """Wait for something that another thread does."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


def test_the_hub_asks_each_at_its_pace_and_one_that_hangs_or_fails_stops_no_other(here: Context) -> None:
    released, hung, failed = threading.Event(), threading.Event(), []
    asked: Asked = []

    def hangs(since: datetime | None, until: datetime) -> Iterator[Pulled]:
        hung.set()
        released.wait(600)
        yield Pulled({HostSample: rows(until, "late")}, until)

    def fails(since: datetime | None, until: datetime) -> Iterator[Pulled]:
        failed.append(until)
        raise SourceError("http://p: connection refused")
        yield Pulled({}, until)

    sources = [
        named("hangs", hangs, every_seconds=0.01),
        named("fails", fails, every_seconds=0.01),
        named("good", hourly(asked), every_seconds=0.01),
    ]
    pullers = Pullers(here, sources)
    pullers.start()
    try:
        until_true(lambda: hung.is_set() and len(asked) >= 3 and len(failed) >= 2)
    finally:
        began = time.monotonic()
        pullers.stop()
        assert time.monotonic() - began < 60
        released.set()
    assert stands(here, "good")["answered_at"] == NOW
    assert int(str(stands(here, "fails")["failed_count"])) >= 1
    assert stands(here, "fails")["answered_at"] is None
    assert stands(here, "hangs")["status"] == "running"
    # What the hung one tells after the stop is not kept: it is asked for again.
    assert kept(here) == [NOW - 2 * HOUR, NOW - HOUR, NOW]


def test_waits_double_with_each_failure_up_to_a_limit_and_never_below_the_pace() -> None:
    assert [wait_seconds(30, count, 0.0) for count in range(5)] == [30, 30, 60, 120, 240]
    assert wait_seconds(30, 50, 0.0) == 900
    assert wait_seconds(30, 50, 1.0) == pytest.approx(990)
    assert wait_seconds(3600, 9, 0.0) == 3600


def test_a_wrong_section_is_told_with_its_full_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CLUSTERLEDGER_STORE", raising=False)
    with pytest.raises(ConfigError, match=r"sources\.a\.kind: found 'promethues'"):
        configured(load(sources={"a": {"kind": "promethues"}}))
    with pytest.raises(ConfigError, match=r"sources\.a\.kind: found nothing; "):
        configured(load(sources={"a": {}}))
    with pytest.raises(ConfigError, match=r"sources\.b: found no such section; expected a section"):
        configured(load(), ["b"])
