"""What a rollup says of a cluster beside what the clock says: equal, or an assertion fails."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from math import isclose
from typing import Any

import polars as pl

from ledger.names import STATES
from tests.oracle.compare_parts import (
    check_interval_minutes,
    check_job_hours,
    check_minutes,
    check_mix_minutes,
    check_mixes,
)
from tests.oracle.oracle_facts import Cluster, Device, Job, Run, Stretch
from tests.oracle.oracle_time import HourSums, device_hours, run_hours, stretches, waited
from tests.oracle.time_frames import milliseconds

Frames = Mapping[str, pl.DataFrame]
Place = tuple[str, str, str]

_IDLE = ("allocated_idle", "held_idle")


def check_estate(estate: Sequence[Cluster], found: Frames) -> None:
    """Compare the states and hours of some clusters, and what their jobs used if that was computed of these hours."""
    walked = {
        (cluster.name, device.node, device.uuid): (device, stretches(cluster, device))
        for cluster in estate
        for device in cluster.devices
    }
    check_intervals({place: each for place, (_, each) in walked.items()}, found["gpu_state_interval"])
    check_hours({place: device_hours(each) for place, (_, each) in walked.items()}, walked, found["gpu_hour"])
    of = {cluster.name: cluster for cluster in estate}
    runs = {place: run_hours(of[place[0]], device, each) for place, (device, each) in walked.items()}
    check_run_hours(runs, found["job_gpu_hour"])
    check_minutes(walked, (estate[0].start, estate[0].end), found["gpu_minute"])
    check_interval_minutes(walked, found["gpu_state_interval"])
    check_job_hours(walked, runs, found["job_hour"])
    check_mix_minutes(walked, runs, found["bottleneck_minute"])
    check_mixes(walked, runs, found["job_hour"], found["bottleneck_hour"])
    if "job_usage" in found:
        check_usage(estate, runs, walked, found["job_usage"])


def check_intervals(expected: Mapping[Place, list[Stretch]], found: pl.DataFrame) -> None:
    """Compare stretches: whatever is said of a device at any millisecond is the same on both sides."""
    mine: dict[Place, list[tuple[Any, ...]]] = {}
    for row in found.sort("cluster", "node", "gpu_uuid", "started_at").iter_rows(named=True):
        said = (
            milliseconds(row["started_at"]),
            milliseconds(row["ended_at"]),
            row["state"],
            row["job_id"],
            row["holder_count"],
            row["is_observed"],
            row["evidence_quality"],
            row["reason"] or "",
        )
        mine.setdefault((row["cluster"], row["node"], row["gpu_uuid"]), []).append(said)
    assert set(mine) == {place for place, each in expected.items() if each}, "devices"
    for place, rows in mine.items():
        ours = [
            (
                each.start,
                each.end,
                each.state,
                each.job_ids,
                each.holder_count,
                each.is_observed,
                each.quality,
                each.reason,
            )
            for each in expected[place]
        ]
        left, right = joined(rows), joined(ours)
        for one, other in zip(left, right, strict=False):
            assert one == other, (place, "rollup", one, "oracle", other)
        assert len(left) == len(right), place


def joined(rows: Sequence[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Return neighbouring stretches that say the same as one."""
    found: list[tuple[Any, ...]] = []
    for row in rows:
        if found and found[-1][1] == row[0] and found[-1][2:] == row[2:]:
            found[-1] = (found[-1][0], *row[1:])
        else:
            found.append(row)
    return found


def check_hours(
    expected: Mapping[Place, Mapping[int, HourSums]],
    walked: Mapping[Place, tuple[Device, list[Stretch]]],
    found: pl.DataFrame,
) -> None:
    """Compare the nine states of each device hour, to the millisecond."""
    rows = {(*_place(row), milliseconds(row["hour_start"])): row for row in found.iter_rows(named=True)}
    assert len(rows) == found.height
    ours = {(*place, hour): sums for place, hours in expected.items() for hour, sums in hours.items()}
    assert set(rows) == set(ours), "device hours"
    for key, sums in ours.items():
        row = rows[key]
        states = {state: int(row[f"{state}_seconds"] * 1000) for state in STATES}
        assert states == sums.states, (key, states, sums.states)
        assert int(row["existed_seconds"] * 1000) == sums.total == sum(states.values()), key
        assert isclose(row["coverage_ratio"], sums.observed / sums.total, abs_tol=1e-12), key
        assert isclose(row["allocation_coverage_ratio"], sums.told / sums.total, abs_tol=1e-12), key
        assert row["gpu_fraction"] == Decimal(walked[key[:3]][0].fraction), key


def check_run_hours(expected: Mapping[Place, Mapping[tuple[int, Run], HourSums]], found: pl.DataFrame) -> None:
    """Compare what each run held of each device in each hour.

    A share of a millisecond goes to one holder whole: it may differ by one for each stretch that was divided.
    """
    rows = {(*_place(row), milliseconds(row["hour_start"]), _run(row)): row for row in found.iter_rows(named=True)}
    assert len(rows) == found.height
    ours = {(*place, *key): sums for place, hours in expected.items() for key, sums in hours.items()}
    assert set(rows) == set(ours), "runs on devices"
    sums_found: dict[Any, Fraction] = {}
    sums_ours: dict[Any, Fraction] = {}
    for key, sums in ours.items():
        row = rows[key]
        assert int(row["held_seconds"] * 1000) == sums.total, (key, row["held_seconds"], sums.total)
        assert isclose(row["coverage_ratio"], sums.observed / sums.total, abs_tol=1e-12), key
        assert row["is_estimated"] == sums.is_estimated, key
        is_whole = sum(sums.states.values()) == sums.total
        for state in STATES:
            here = Fraction(row[f"{state}_seconds"] * 1000)
            bound = 0 if is_whole else sums.pieces
            assert abs(here - sums.states[state]) <= bound, (key, state, here, sums.states[state])
            at = (*key[:4], state)
            sums_found[at] = sums_found.get(at, Fraction(0)) + here
            sums_ours[at] = sums_ours.get(at, Fraction(0)) + sums.states[state]
    assert sums_found == sums_ours, "the holders of a device share its time, no more and no less"


def check_usage(
    estate: Sequence[Cluster],
    runs: Mapping[Place, Mapping[tuple[int, Run], HourSums]],
    walked: Mapping[Place, tuple[Device, list[Stretch]]],
    found: pl.DataFrame,
) -> None:
    """Compare the sums of each run: what it held, what of it was idle, productive."""
    rows = {(row["cluster"], _run(row)): row for row in found.iter_rows(named=True)}
    assert len(rows) == found.height
    assert set(rows) == {(cluster.name, job.run) for cluster in estate for job in cluster.jobs}, "runs"
    for cluster in estate:
        for job in cluster.jobs:
            row = rows[cluster.name, job.run]
            mine = [
                (Fraction(walked[place][0].fraction), sums)
                for place, hours in runs.items()
                if place[0] == cluster.name
                for (_, run), sums in hours.items()
                if run == job.run
            ]
            expected = _used(mine) if mine else _imagined(job, cluster.now)
            bound = sum(sums.pieces for _, sums in mine) * 9 if row["is_estimated"] or _is_shared(mine) else 0
            for name, value in zip(("allocated", "idle", "productive"), expected, strict=True):
                here = row[f"gpu_{name}_seconds"]
                if value is None:
                    assert here is None, (job, name, here)
                else:
                    assert here is not None, (job, name, value)
                    assert abs(Fraction(here) * 1000 - value) <= bound, (job, name, here, value)
            queued = waited(job, cluster.now)
            here = row["queue_seconds"]
            assert here is None if queued < 0 else isclose(here, queued / 1000, abs_tol=1e-6), (job, here, queued)


def _used(mine: Sequence[tuple[Fraction, HourSums]]) -> tuple[Fraction, Fraction, Fraction]:
    """Return allocated, idle and productive GPU milliseconds of device hours."""
    return (
        sum((part * sum(sums.states.values()) for part, sums in mine), Fraction(0)),
        sum((part * sum(sums.states[state] for state in _IDLE) for part, sums in mine), Fraction(0)),
        sum((part * sums.states["productive"] for part, sums in mine), Fraction(0)),
    )


def _is_shared(mine: Sequence[tuple[Fraction, HourSums]]) -> bool:
    return any(sum(sums.states.values()) != sums.total for _, sums in mine)


def _imagined(job: Job, now: int) -> tuple[Fraction | None, Fraction | None, Fraction | None]:
    """Return what a run without measured devices used: nothing, what its mean says, or unknown."""
    zero = Fraction(0)
    if job.started is None or job.given == "0":
        return zero, zero, zero
    if job.mean is None:
        return None, None, None
    ran = ((job.ended if job.ended is not None else now) - job.started) * Fraction(job.given or 0)
    return (ran, ran, zero) if Fraction(job.mean) < Fraction(5, 100) else (ran, zero, None)


def _place(row: Mapping[str, Any]) -> Place:
    return row["cluster"], row["node"], row["gpu_uuid"]


def _run(row: Mapping[str, Any]) -> Run:
    return row["job_id"], milliseconds(row["submitted_at"]), row["restart_count"]
