"""After a change the hub asks again what pages asked, once for all of them, and shows nothing old for it."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from app import context as contexts
from app import data
from app.again import Asked
from app.context import Context
from app.jobs import Job
from app.scheduler import Scheduler
from ledger.config import Settings, load
from ledger.errors import InputError
from ledger.frames import to_frame
from ledger.tables import Node

AT = datetime(2026, 11, 1, tzinfo=UTC)


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> Iterator[Context]:
    monkeypatch.delenv("CLUSTERLEDGER_STORE", raising=False)
    # What pages of another test asked, of another store, is nobody's question here.
    monkeypatch.setattr(data, "_ASKED", Asked())
    found = Context(load(store={"url": "duckdb::memory:"}))
    contexts.use(found)
    yield found
    contexts.use(None)
    found.close()


def add(here: Context, *names: str) -> None:
    rows = [{"cluster": "c", "node": name, "exists_start": AT} for name in names]
    here.store.append(Node, to_frame(Node, rows), source="test")
    here.changed({"node"})


def never() -> bool:
    return False


def test_after_a_change_a_page_finds_what_was_made_of_the_new_rows(here: Context) -> None:
    add(here, "n1")
    made: list[int] = []

    def names(frame: pl.DataFrame) -> pl.DataFrame:
        made.append(frame.height)
        return frame.select("node")

    def shown() -> list[str]:
        return data.once(pl.DataFrame.to_series, data.once(names, data.rows(Node, scope=data.Scope()))).to_list()

    assert shown() == ["n1"]
    add(here, "n2")
    data.again(never)
    assert made == [1, 2]
    assert shown() == ["n1", "n2"]
    assert made == [1, 2], "the page made nothing itself"


def test_what_is_kept_is_made_again_before_a_page_asks_and_what_is_only_made_is_not(here: Context) -> None:
    add(here, "n1")
    made: list[str] = []

    def counted(name: str) -> int:
        made.append(name)
        return data.rows(Node, scope=data.Scope()).height

    def shown() -> tuple[int, int]:
        return (
            data.kept("one", ["node"], lambda: counted("kept"), scope=data.Scope(), team="t"),
            data.made("two", ["node"], lambda: counted("made"), scope=data.Scope(), team="t"),
        )

    assert shown() == (1, 1)
    add(here, "n2")
    data.again(never)
    assert made == ["kept", "made", "kept"]
    assert shown() == (2, 2)
    assert made == ["kept", "made", "kept", "made"]


def test_a_change_that_changes_no_row_keeps_what_was_made(here: Context) -> None:
    add(here, "n1")
    first = data.rows(Node, scope=data.Scope())
    here.changed({"node"})
    assert data.rows(Node, scope=data.Scope()) is first


def test_what_nobody_reads_any_more_is_not_asked_for() -> None:
    clock = [1000.0]
    asked, frame, calls = Asked(lambda: clock[0]), pl.DataFrame({"x": [1]}), []

    def ask() -> pl.DataFrame:
        calls.append(clock[0])
        return asked.read("key", frame, ask)

    ask()
    for minute in range(1, 8):
        clock[0] = 1000.0 + 60 * minute
        asked.again(never)
    assert calls == [1000.0 + 60 * minute for minute in range(6)], "asking again is no reading"


def test_what_may_not_be_asked_any_more_is_forgotten() -> None:
    asked, calls = Asked(), []

    def refused() -> pl.DataFrame:
        calls.append(1)
        raise InputError("no")

    asked.read("key", pl.DataFrame({"x": [1]}), refused)
    assert asked.again(never) == 0
    assert asked.again(never) == 0
    assert calls == [1]


def test_it_ends_when_the_hub_does() -> None:
    asked, frame = Asked(), pl.DataFrame({"x": [1]})
    asked.read("key", frame, lambda: pytest.fail("asked after the stop"))
    assert asked.again(lambda: True) == 0


def test_the_scheduler_asks_after_its_jobs(here: Context) -> None:
    add(here, "n1")
    made: list[int] = []

    def height(frame: pl.DataFrame) -> int:
        made.append(frame.height)
        return frame.height

    def every_tick(settings: Settings, now: datetime) -> datetime:
        del settings
        return now - timedelta(microseconds=now.microsecond)

    def job(context: Context, due_at: datetime) -> str:
        del due_at
        add(context, "n2")
        return "done"

    assert data.once(height, data.rows(Node, scope=data.Scope())) == 1
    scheduler = Scheduler(here, (Job("adds", every_tick, job),))
    scheduler.tick()
    assert made == [1, 2]
