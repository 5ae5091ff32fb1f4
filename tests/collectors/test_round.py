"""One collector alone: it fails, hangs, is missing or late, and nothing else is harmed."""

import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from collectors._clock import utc_now
from collectors._round import Source
from collectors._watch import Clocks, Deadlines, clock_events
from ledger.errors import SourceMissing
from ledger.registry import Collector, Row, collector

AT = datetime(2026, 11, 20, 12, tzinfo=UTC)


def unit(name: str, round_: Callable[[], Iterator[tuple[str, Row]]], **options: Any) -> Collector:
    return Collector(name=name, emits=("host_sample",), every_seconds=1, open=lambda: round_, **options)


def test_a_collector_that_fails_keeps_what_it_had_and_is_opened_again() -> None:
    opened = []

    @collector(emits=("host_sample",), every_seconds=1)
    def fails() -> Callable[[], Iterator[tuple[str, Row]]]:
        opened.append(1)

        def one_round() -> Iterator[tuple[str, Row]]:
            yield "host_sample", {"cpu_count": 1}
            raise ZeroDivisionError("by nothing\nand more")

        return one_round

    source = Source(fails, {}, {})
    result = source.collect(lambda: AT)
    assert (result.run.ok, result.run.rows) == (False, 1)
    assert result.run.error == "ZeroDivisionError: by nothing"
    source.collect(lambda: AT)
    assert len(opened) == 2


def test_a_collector_that_hangs_is_given_up() -> None:
    release = threading.Event()

    def hangs() -> Iterator[tuple[str, Row]]:
        release.wait(20)
        yield "host_sample", {}

    source = Source(unit("hangs", hangs), {"deadline_seconds": 0.05}, {})
    result = source.collect_in_time(lambda: AT)
    release.set()
    assert (result.run.ok, result.run.error) == (False, "no end after 0.05 s")


def test_an_overdue_round_is_told_once_and_its_late_rows_are_dropped() -> None:
    source = Source(unit("slow", lambda: iter(())), {"deadline_seconds": 0.01}, {})
    deadlines = Deadlines()
    deadlines.begin(source, AT)
    time.sleep(0.03)
    assert [result.run.collector for result in deadlines.overdue()] == ["slow"]
    assert deadlines.overdue() == []
    assert deadlines.end(source) is False
    deadlines.begin(source, AT)
    assert deadlines.end(source) is True


@pytest.mark.parametrize(
    ("wall_seconds", "running_seconds", "passed_seconds", "events"),
    [
        pytest.param(11.0, 10.0, 10.0, {}, id="nothing happened"),
        pytest.param(-3590.0, 10.0, 10.0, {"clock_jump": -3600.0}, id="the clock went back"),
        pytest.param(3610.0, 10.0, 3610.0, {"suspended": 3600.0}, id="the node slept for an hour"),
        pytest.param(
            10.0, 10.0, 3610.0, {"suspended": 3600.0, "clock_jump": -3600.0}, id="it slept, and its clock stood still"
        ),
    ],
)
def test_a_clock_that_jumps_and_a_node_that_sleeps_are_events(
    wall_seconds: float, running_seconds: float, passed_seconds: float, events: dict[str, float]
) -> None:
    before = Clocks(AT, 100.0, 500.0)
    now = Clocks(AT + timedelta(seconds=wall_seconds), 100.0 + running_seconds, 500.0 + passed_seconds)
    assert {each["event"]: each["amount_seconds"] for each in clock_events(before, now)} == events


def test_the_three_clocks_go_on_together() -> None:
    before = Clocks.read(utc_now)
    time.sleep(0.05)
    now = Clocks.read(utc_now)
    assert now.passed - before.passed >= 0.05
    assert list(clock_events(before, now)) == []


def test_a_source_that_is_missing_is_no_failure() -> None:
    def missing() -> Iterator[tuple[str, Row]]:
        raise SourceMissing("there is none", hint="none")
        yield

    result = Source(unit("missing", missing), {}, {}).collect(lambda: AT)
    assert (result.run.ok, result.run.rows, result.run.error) == (True, 0, "there is none")
