"""Minutes, hours of jobs and bottleneck mixes beside what the clock says: parts of time that must be the same time."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
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


@dataclass
class MinuteSums:
    """One minute of a device: milliseconds by state, how many of them were observed, and whose it was."""

    states: Counter[str] = field(default_factory=Counter)
    observed: int = 0
    holders: set[str] = field(default_factory=set)


def check_minutes(walked: Walked, span: tuple[int, int], found: pl.DataFrame) -> None:
    """Compare how much of each device minute was observed, to the millisecond; what nobody observed has no row.

    A step may reach out of a device's existence, and samples are not asked whether it exists: while it did, all of a
    minute, they are also what the clock saw of it.
    """
    expected = {
        (place, minute): length
        for place, (device, _) in walked.items()
        for minute, length in _covered(device, span).items()
    }
    rows = {(_place(row), milliseconds(row["minute_start"])): row for row in found.iter_rows(named=True)}
    assert len(rows) == found.height
    here = {key: int(row["observed_seconds"] * 1000) for key, row in rows.items()}
    assert set(here) == set(expected), "observed device minutes"
    assert here == expected, [(key, here[key], each) for key, each in expected.items() if here[key] != each][:3]
    for place, (_, stretches) in walked.items():
        told: Counter[int] = Counter()
        seen: Counter[int] = Counter()
        for each in stretches:
            for minute, length in _minutes(each.start, each.end):
                told[minute] += length
                seen[minute] += length if each.is_observed else 0
        for minute, length in told.items():
            of_samples = here.get((place, minute), 0)
            assert length <= MINUTE, (place, minute, "one state at a time")
            assert seen[minute] == of_samples if length == MINUTE else seen[minute] <= of_samples, (place, minute)


def _covered(device: Device, span: tuple[int, int]) -> Counter[int]:
    """Return how many milliseconds of each minute of a span the steps of a device's samples cover."""
    found: Counter[int] = Counter()
    for sample, following in pairwise(device.samples):
        pace = 10_000 if sample.pace is None else sample.pace
        if following.at - sample.at <= min(3 * pace, 300_000):
            for minute, length in _minutes(max(sample.at, span[0]), min(following.at, span[1])):
                found[minute] += length
    return found


def _minutes(start: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield the clock minutes of a stretch, each with its milliseconds of it."""
    at = start
    while at < end:
        minute = at - at % MINUTE
        until = min(end, minute + MINUTE)
        yield minute, until - at
        at = until


def check_interval_minutes(walked: Walked, found: pl.DataFrame) -> None:
    """Compare the nine states of each device minute, cut from the rollup's intervals, to the millisecond.

    Also what of it was observed, and who held it if all of it was one's.
    """
    ours = _by_minute(
        (place, each.start, each.end, each.state, each.is_observed, each.job_ids)
        for place, (_, stretches) in walked.items()
        for each in stretches
    )
    names = ("started_at", "ended_at", "state", "is_observed", "job_id")
    theirs = _by_minute(
        (_place(row), milliseconds(row[names[0]]), milliseconds(row[names[1]]), *(row[name] for name in names[2:]))
        for row in found.iter_rows(named=True)
    )
    assert set(theirs) == set(ours), "device minutes"
    for key, expected in ours.items():
        assert theirs[key] == expected, (key, theirs[key], expected)


def _by_minute(stretches: Iterable[tuple[Place, int, int, str, bool, str]]) -> dict[tuple[Place, int], MinuteSums]:
    """Return each device minute's milliseconds by state, those observed, and its holders."""
    found: dict[tuple[Place, int], MinuteSums] = {}
    for place, start, end, state, is_observed, job_ids in stretches:
        for minute, length in _minutes(start, end):
            sums = found.setdefault((place, minute), MinuteSums())
            sums.states[state] += length
            sums.observed += length if is_observed else 0
            sums.holders.add(job_ids)
    return found


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


def check_mix_minutes(walked: Walked, runs: RunHours, found: pl.DataFrame) -> None:
    """Compare the minutes in which devices were judged with the hours in which runs held them.

    The runs are the same, and the time of each device is; only how holders of one device share it is not asked here.
    """
    rows: dict[tuple[Place, int], tuple[set[Run], Fraction]] = {}
    for row in found.iter_rows(named=True):
        minute = milliseconds(row["minute_start"])
        key = (_place(row), minute - minute % (60 * MINUTE))
        holders, length = rows.get(key, (set(), Fraction(0)))
        run = (row["job_id"], milliseconds(row["submitted_at"]), row["restart_count"])
        rows[key] = (holders | {run}, length + Fraction(row["gpu_allocated_seconds"]) * 1000)
    expected: dict[tuple[Place, int], tuple[set[Run], Fraction]] = {}
    for place, hours in runs.items():
        for (hour, run), sums in hours.items():
            holders, length = expected.get((place, hour), (set(), Fraction(0)))
            mine = sum(sums.states.values()) * Fraction(walked[place][0].fraction)
            expected[place, hour] = (holders | {run}, length + mine)
    assert set(rows) == set(expected), "hours of judged devices"
    for key, (holders, length) in expected.items():
        assert rows[key][0] == holders, (key, rows[key][0], holders)
        assert rows[key][1] == length, (key, rows[key][1], length)


def _place(row: Mapping[str, Any]) -> Place:
    return row["cluster"], row["node"], row["gpu_uuid"]


def _run_hour(row: Mapping[str, Any]) -> tuple[str, int, Run]:
    run = (row["job_id"], milliseconds(row["submitted_at"]), row["restart_count"])
    return row["cluster"], milliseconds(row["hour_start"]), run
