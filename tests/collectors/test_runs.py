"""Rounds that go alike are told together once a minute, and nothing of them is lost."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors._runs import Runs

AT = datetime(2026, 11, 20, 12, 10, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
AWAY = "no answer"


def ran(second: float, error: str | None = None, **told: Any) -> dict[str, Any]:
    """Return one round as a row of its own."""
    row = {"collector": "host", "sampled_at": AT + timedelta(seconds=second), "is_ok": error is None, "error": error}
    row |= {"step_seconds": 10.0, "row_count": 2, "duration_seconds": 0.5, "round_count": 1}
    row |= told
    return {**row, "longest_round_seconds": row["duration_seconds"]}


def shown(rows: list[Mapping[str, Any]]) -> list[tuple[float, str | None, int]]:
    """Return of each row the second of its instant, its error and its rounds."""
    return [((row["sampled_at"] - AT).total_seconds(), row["error"], row["round_count"]) for row in rows]


def test_rounds_that_go_alike_are_a_row_a_minute_after_the_first() -> None:
    runs = Runs()
    told = [row for turn in range(19) for row in runs.add(ran(10 * turn, duration_seconds=float(turn)))]
    assert shown(told) == [(0, None, 1), (60, None, 6), (120, None, 6), (180, None, 6)]
    assert [row["row_count"] for row in told] == [2, 12, 12, 12]
    assert [row["duration_seconds"] for row in told] == [0, sum(range(1, 7)), sum(range(7, 13)), sum(range(13, 19))]
    assert [row["longest_round_seconds"] for row in told] == [0, 6, 12, 18]
    assert runs.rest() == []


def test_another_outcome_is_told_at_once_after_what_was_held() -> None:
    runs = Runs()
    outcomes = [None, None, None, AWAY, AWAY, AWAY, "other", None]
    told = [shown(runs.add(ran(10 * turn, error))) for turn, error in enumerate(outcomes)]
    assert told == [
        [(0, None, 1)], [], [], [(20, None, 2), (30, AWAY, 1)], [], [], [(50, AWAY, 2), (60, "other", 1)],
        [(70, None, 1)],
    ]  # fmt: skip


def test_a_collector_that_stays_broken_is_a_row_a_minute() -> None:
    runs = Runs()
    told = [row for turn in range(13) for row in runs.add(ran(10 * turn, AWAY, row_count=0))]
    assert shown(told) == [(0, AWAY, 1), (60, AWAY, 6), (120, AWAY, 6)]


@pytest.mark.parametrize(
    ("step", "seconds"), [(1, (0, 60, 120)), (25, (0, 50, 100)), (30, (0, 60, 120)), (60, (0, 60, 120))]
)
def test_a_row_comes_in_the_round_that_is_nearest_to_a_minute_later(step: float, seconds: tuple[float, ...]) -> None:
    runs = Runs()
    told = [row for turn in range(int(120 / step) + 1) for row in runs.add(ran(step * turn, step_seconds=float(step)))]
    assert [second for second, _, _ in shown(told)] == list(seconds)


def test_rounds_that_are_late_or_early_by_a_little_keep_the_pace() -> None:
    runs = Runs()
    late = [0.0, 0.3, -0.2, 0.1, 0.0, 0.4, -0.4]
    told = [row for turn in range(43) for row in runs.add(ran(10 * turn + late[turn % 7]))]
    assert [rounds for _, _, rounds in shown(told)] == [1, 6, 6, 6, 6, 6, 6, 6]


def test_rounds_of_two_hours_are_two_rows_and_the_pace_stays() -> None:
    runs = Runs()
    start = 50 * 60 - 35
    told = [row for turn in range(13) for row in runs.add(ran(start + 10 * turn))]
    assert shown(told) == [(start, None, 1), (start + 30, None, 3), (start + 60, None, 3), (start + 120, None, 6)]


def test_a_clock_that_jumps_or_an_agent_that_slept_begins_anew() -> None:
    runs = Runs()
    seconds = [0, 10, 20, -3000, -2990, 7000, 7010, 7300, 7310]
    told = [shown(runs.add(ran(second))) for second in seconds]
    assert told == [
        [(0, None, 1)], [], [], [(20, None, 2), (-3000, None, 1)], [], [(-2990, None, 1), (7000, None, 1)], [],
        [(7010, None, 1), (7300, None, 1)], [],
    ]  # fmt: skip
    assert shown(runs.rest()) == [(7310, None, 1)]


def test_a_collector_that_gets_another_pace_begins_anew() -> None:
    runs = Runs()
    told = [shown(runs.add(ran(second, step_seconds=step))) for second, step in ((0, 10.0), (10, 10.0), (15, 5.0))]
    assert told == [[(0, None, 1)], [], [(10, None, 1), (15, None, 1)]]


def test_each_good_round_is_told_where_its_instant_ends_a_holding() -> None:
    """By the first round that does not name a pod its device is free: `gpu_holders` reads that round's instant."""
    runs = Runs()
    outcomes = [None, None, None, AWAY, AWAY, None, None]
    given = [ran(30 * turn, error, collector="pod_resources", step_seconds=30.0) for turn, error in enumerate(outcomes)]
    missing = [{**row, "is_ok": True} for row in given]
    told = [shown(runs.add(row)) for row in missing]
    assert told == [
        [(0, None, 1)], [(30, None, 1)], [(60, None, 1)], [(90, AWAY, 1)], [], [(120, AWAY, 1), (150, None, 1)],
        [(180, None, 1)],
    ]  # fmt: skip


def test_what_is_held_of_a_collector_that_ended_is_told_and_the_others_go_on() -> None:
    runs = Runs()
    for turn in range(3):
        for name in ("host", "tcp"):
            runs.add(ran(10 * turn, collector=name))
    (row,) = runs.rest({"host"})
    assert (row["collector"], row["round_count"]) == ("tcp", 2)
    assert runs.rest({"host"}) == []
    assert shown(runs.add(ran(30, collector="tcp"))) == [(30, None, 1)]
    assert shown(runs.rest()) == [(20, None, 2)]


ROUNDS = st.lists(
    st.tuples(
        st.sampled_from(("host", "nvml", "pod_resources")),
        st.one_of(st.just(10_000), st.integers(1, 70_000), st.integers(-100_000, 4_000_000)),
        st.sampled_from((None, None, None, None, AWAY, "other")),
        st.integers(0, 9),
        st.integers(0, 5000),
    ),
    max_size=80,
)


@given(ROUNDS, st.booleans(), st.sampled_from((10.0, 30.0)))
def test_rows_divide_the_rounds_of_a_collector_among_themselves_in_order(
    rounds: list[tuple[str, int, str | None, int, int]], is_forward: bool, step: float
) -> None:
    """Whatever the outcomes and the clock: what is told adds up to what was done, round for round."""
    runs, clock = Runs(), dict.fromkeys(("host", "nvml", "pod_resources"), 0)
    done: dict[str, list[dict[str, Any]]] = {}
    told: dict[str, list[Mapping[str, Any]]] = {}
    for name, pause, error, rows, milliseconds in rounds:
        clock[name] += max(abs(pause), 1) if is_forward else pause
        row = ran(clock[name] / 1000, error, collector=name, row_count=rows, duration_seconds=milliseconds)
        row["step_seconds"] = step
        mine = done.setdefault(name, [])
        is_alike = bool(mine) and mine[-1]["error"] == error
        mine.append(row)
        now = runs.add(row)
        told.setdefault(name, []).extend(now)
        assert is_alike or now[-1] == row, "the first round, and one with another outcome, is told at once"
    for rest in runs.rest():
        told[rest["collector"]].append(rest)
    assert runs.rest() == []
    for name, mine in done.items():
        left = iter(mine)
        for one in told[name]:
            parts = [next(left) for _ in range(one["round_count"])]
            assert {(each["is_ok"], each["error"]) for each in parts} == {(one["is_ok"], one["error"])}
            assert one["sampled_at"] == parts[-1]["sampled_at"]
            for column in ("row_count", "duration_seconds"):
                assert one[column] == sum(each[column] for each in parts)
            assert one["longest_round_seconds"] == max(each["duration_seconds"] for each in parts)
            times = [each["sampled_at"] for each in parts]
            assert times == sorted(times)
            assert times[-1] - times[0] <= MINUTE
            assert len({each.replace(minute=0, second=0, microsecond=0) for each in times}) == 1
        assert list(left) == [], "nothing is held back"
        instants = [one["sampled_at"] for one in told[name]]
        assert not is_forward or instants == sorted(set(instants))
