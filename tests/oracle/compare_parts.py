"""Minutes, hours of jobs and bottleneck mixes beside what the clock says: parts of time that must be the same time."""

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import polars as pl

from ledger.names import BOTTLENECKS, STATES
from tests.oracle.oracle_facts import Device, Run, Stretch
from tests.oracle.oracle_time import HourSums
from tests.oracle.time_frames import milliseconds

MINUTE = 60_000
Place = tuple[str, str, str]
Walked = Mapping[Place, tuple[Device, list[Stretch]]]
RunHours = Mapping[Place, Mapping[tuple[int, Run], HourSums]]

_BROKEN = ("unknown", "faulty", "orphaned")
_IDLE = ("allocated_idle", "held_idle")


def check_minutes(walked: Walked, found: pl.DataFrame) -> None:
    """Compare the nine states of each device minute, to the millisecond, and who held it if all of it was one's."""
    states: dict[tuple[Place, int], dict[str, int]] = {}
    observed: dict[tuple[Place, int], int] = {}
    holders: dict[tuple[Place, int], set[str]] = {}
    for place, (_, stretches) in walked.items():
        for each in stretches:
            at = each.start
            while at < each.end:
                minute = at - at % MINUTE
                until = min(each.end, minute + MINUTE)
                mine = states.setdefault((place, minute), dict.fromkeys(STATES, 0))
                mine[each.state] += until - at
                key = (place, minute)
                observed[key] = observed.get(key, 0) + (until - at if each.is_observed else 0)
                holders.setdefault(key, set()).add(each.job_ids)
                at = until
    rows = {(_place(row), milliseconds(row["minute_start"])): row for row in found.iter_rows(named=True)}
    assert len(rows) == found.height
    assert set(rows) == set(states), "device minutes"
    for key, expected in states.items():
        row = rows[key]
        here = {state: int(row[f"{state}_seconds"] * 1000) for state in STATES}
        assert here == expected, (key, here, expected)
        assert int(row["existed_seconds"] * 1000) == sum(expected.values()), key
        assert int(row["observed_seconds"] * 1000) == observed[key], key
        if len(holders[key]) == 1:
            assert {row["job_id"]} == holders[key], (key, row["job_id"], holders[key])


def of_runs(walked: Walked, runs: RunHours) -> dict[tuple[str, int, Run], tuple[dict[str, Fraction], int, set[str]]]:
    """Return GPU milliseconds by state of each run and hour, how many milliseconds may be rounded, and its nodes."""
    found: dict[tuple[str, int, Run], tuple[dict[str, Fraction], int, set[str]]] = {}
    for place, hours in runs.items():
        part = Fraction(walked[place][0].fraction)
        for (hour, run), sums in hours.items():
            states, rounded, nodes = found.get((place[0], hour, run), (dict.fromkeys(STATES, Fraction(0)), 0, set()))
            is_whole = sum(sums.states.values()) == sums.total
            states = {state: states[state] + sums.states[state] * part for state in STATES}
            # Each state of each stretch may be rounded by one millisecond.
            rounded += 0 if is_whole else sums.pieces * len(STATES)
            found[place[0], hour, run] = (states, rounded, nodes | {place[1]})
    return found


def check_job_hours(walked: Walked, runs: RunHours, found: pl.DataFrame) -> None:
    """Compare what each run held, left idle and used productively in each hour, over its devices."""
    expected = of_runs(walked, runs)
    rows = {_run_hour(row): row for row in found.iter_rows(named=True)}
    assert len(rows) == found.height
    assert set(rows) == set(expected), "hours of runs"
    for key, (states, rounded, nodes) in expected.items():
        row = rows[key]
        sums = (sum(states.values()), sum(states[state] for state in _IDLE), states["productive"])
        for name, value in zip(("allocated", "idle", "productive"), sums, strict=True):
            here = Fraction(row[f"gpu_{name}_seconds"]) * 1000
            assert abs(here - value) <= rounded, (key, name, here, value)
        assert row["node_count"] == len(nodes), key


def check_mixes(walked: Walked, runs: RunHours, job_hours: pl.DataFrame, found: pl.DataFrame) -> None:
    """Check that a job's bottlenecks are its allocated time: idle and throttled as the ledger says, exactly.

    What of the busy time has no evidence may be unknown as well, never less than the ledger's own.
    """
    expected = of_runs(walked, runs)
    held = {_run_hour(row): row["gpu_allocated_seconds"] for row in job_hours.iter_rows(named=True)}
    rows = {_run_hour(row): row for row in found.iter_rows(named=True)}
    assert len(rows) == found.height
    assert set(rows) == set(expected), "mixes"
    for key, (states, rounded, _) in expected.items():
        row = rows[key]
        classes = {each: row[f"{each}_seconds"] for each in BOTTLENECKS}
        assert sum(classes.values()) == row["gpu_allocated_seconds"] == held[key], (key, classes)
        idle = Fraction(classes["idle"]) * 1000
        assert abs(idle - sum(states[state] for state in _IDLE)) <= rounded, (key, idle)
        throttled = Fraction(classes["throttled"]) * 1000
        assert abs(throttled - states["throttled"]) <= rounded, (key, throttled)
        broken = sum(states[state] for state in _BROKEN)
        assert abs(Fraction(classes["unknown"]) * 1000 - broken) <= rounded, (key, classes["unknown"], broken)


def _place(row: Mapping[str, Any]) -> Place:
    return row["cluster"], row["node"], row["gpu_uuid"]


def _run_hour(row: Mapping[str, Any]) -> tuple[str, int, Run]:
    run = (row["job_id"], milliseconds(row["submitted_at"]), row["restart_count"])
    return row["cluster"], milliseconds(row["hour_start"]), run
