"""Minutes, hours and jobs: nothing of a device's time or energy is lost or counted twice on the way up."""

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from ledger.names import STATES
from tests.queries.rollups.conftest import on_clusters

HOURS = 3
STATE_COLUMNS = [f"{state}_seconds" for state in STATES]
CHAIN = ("gpu_state_interval", "gpu_minute", "gpu_hour", "job_gpu_hour")

Ledgers = Callable[..., Any]
Spans = Callable[..., Any]
Minutes = Callable[[float], datetime]

MINUTE = timedelta(minutes=1)
MILLISECOND = timedelta(milliseconds=1)
At = tuple[str, datetime]


def milliseconds(seconds: pl.Series) -> list[int]:
    """Return exact seconds as whole milliseconds."""
    return [int(each * 1000) for each in seconds]


def by_state(rows: pl.DataFrame) -> dict[str, int]:
    """Return milliseconds by state."""
    return {name: sum(milliseconds(rows[name])) for name in STATE_COLUMNS}


def by_minute(start: datetime, end: datetime) -> Iterator[tuple[datetime, int]]:
    """Yield the clock minutes of a stretch, each with its milliseconds of it."""
    at = start
    while at < end:
        minute = at.replace(second=0, microsecond=0)
        until = min(end, minute + MINUTE)
        yield minute, (until - at) // MILLISECOND
        at = until


def covered(ledger: Any, span: Any) -> Counter[At]:
    """Return how many milliseconds of each minute of a device the steps of its samples cover."""
    found: Counter[At] = Counter()
    for (uuid,), mine in ledger.get("gpu_sample").sort("sampled_at").group_by("gpu_uuid"):
        for (start, pace), (end, _) in pairwise(mine.select("sampled_at", "step_seconds").rows()):
            if end - start <= timedelta(seconds=3 * pace):
                for minute, length in by_minute(max(start, span.start), min(end, span.end)):
                    found[uuid, minute] += length
    return found


@on_clusters
def test_nine_states_sum_to_existence_and_are_the_same_in_intervals_and_hours(
    seeds: list[int], generated: Ledgers, hours: Spans
) -> None:
    every, span = generated(*seeds), hours(HOURS)
    every.chain(span, *CHAIN)
    for ledger in every.apart():
        intervals, found = ledger.get("gpu_state_interval"), ledger.get("gpu_hour")
        assert found.select(pl.sum_horizontal(STATE_COLUMNS) == pl.col("existed_seconds")).to_series().all()
        length = (pl.col("ended_at") - pl.col("started_at")).dt.total_milliseconds()
        states = dict(intervals.group_by("state").agg(length.sum()).iter_rows())
        assert by_state(found) == {f"{state}_seconds": states.get(state, 0) for state in STATES}


@on_clusters
def test_each_existing_minute_has_its_states_and_a_row_if_it_was_observed(
    seeds: list[int], generated: Ledgers, hours: Spans
) -> None:
    every, span = generated(*seeds), hours(HOURS)
    every.chain(span, *CHAIN[:2])
    for ledger in every.apart():
        existed, told, observed = Counter[At](), Counter[At](), Counter[At]()
        for gpu in ledger.get("gpu").to_dicts():
            start, end = max(gpu["exists_start"], span.start), min(gpu["exists_end"] or span.now, span.end)
            existed.update({(gpu["gpu_uuid"], minute): length for minute, length in by_minute(start, end)})
        for row in ledger.get("gpu_state_interval").to_dicts():
            assert row["state"] in STATES
            for minute, length in by_minute(row["started_at"], row["ended_at"]):
                told[row["gpu_uuid"], minute] += length
                observed[row["gpu_uuid"], minute] += length if row["is_observed"] else 0
        assert told == existed, "the nine states of a minute sum to its existence"
        rows = ledger.get("gpu_minute")
        seconds = zip(rows["gpu_uuid"], rows["minute_start"], milliseconds(rows["observed_seconds"]), strict=True)
        minutes = {(uuid, minute): length for uuid, minute, length in seconds}
        assert len(minutes) == rows.height
        assert minutes == dict(covered(ledger, span)), "a row for each minute that steps touch"
        for key, length in existed.items():
            here = minutes.get(key, 0)
            assert here == observed[key] if length == 60_000 else observed[key] <= here, key


@on_clusters
def test_joules_are_those_of_the_steps_at_every_grain(seeds: list[int], generated: Ledgers, hours: Spans) -> None:
    every, span = generated(*seeds), hours(HOURS)
    always = {"exists_start": span.start, "exists_end": None}
    every.tables["gpu"] = every.get("gpu").with_columns(**always).cast(dict(every.get("gpu").schema))
    every.chain(span, *CHAIN)
    for ledger in every.apart():
        samples = ledger.get("gpu_sample").sort("gpu_uuid", "sampled_at")
        expected = 0.0
        for _, mine in samples.group_by("gpu_uuid"):
            rows = mine.select("sampled_at", "step_seconds", "energy_joules_total").rows()
            for (start, pace, low), (end, _, high) in pairwise(rows):
                length = (end - start).total_seconds()
                inside = (min(end, span.end) - max(start, span.start)).total_seconds()
                if length <= 3 * pace and high >= low and inside > 0:
                    expected += (high - low) * inside / length
        for name in ("gpu_minute", "gpu_hour"):
            assert ledger.get(name)["energy_joules"].sum() == pytest.approx(expected, rel=1e-9)


@on_clusters
def test_over_its_jobs_a_device_has_its_held_time_and_energy_exactly(
    seeds: list[int], generated: Ledgers, hours: Spans
) -> None:
    every, span = generated(*seeds), hours(HOURS)
    every.chain(span, *CHAIN)
    for ledger in every.apart():
        held_time_and_energy_are_those_of_the_device(ledger)


def held_time_and_energy_are_those_of_the_device(ledger: Any) -> None:
    """Compare what jobs have of the devices of a cluster with what these have."""
    intervals, jobs = ledger.get("gpu_state_interval"), ledger.get("job_gpu_hour")
    held = intervals.join(ledger.get("job_gpu"), on=["cluster", "node", "gpu_uuid"], suffix="_job").filter(
        (pl.col("held_start") < pl.col("ended_at"))
        & (pl.col("held_end").is_null() | (pl.col("held_end") > pl.col("started_at")))
    )
    by_process = ledger.get("node").filter(holder="process").select("cluster", "node")
    named = intervals.filter(pl.col("holder_count") > 0, pl.col("job_id") != "").join(
        by_process, on=["cluster", "node"]
    )
    once = pl.concat([held.select(intervals.columns), named]).unique(["gpu_uuid", "started_at"])
    length = (pl.col("ended_at") - pl.col("started_at")).dt.total_milliseconds()
    states = dict(once.group_by("state").agg(length.sum()).iter_rows())
    assert by_state(jobs) == {f"{state}_seconds": states.get(state, 0) for state in STATES}
    assert jobs["share_ratio"].is_between(0, 1).all()
    alone = jobs.filter(pl.sum_horizontal(STATE_COLUMNS) == pl.col("held_seconds"))
    assert not alone.filter("is_estimated").height or jobs["is_estimated"].any()
    hourly = ledger.get("gpu_hour").select(
        "gpu_uuid", "hour_start", pl.col("energy_joules").alias("all"), "existed_seconds"
    )
    shared = jobs.group_by("gpu_uuid", "hour_start").agg(
        pl.col("energy_joules").sum(), pl.sum_horizontal(STATE_COLUMNS).sum().alias("held")
    )
    both = shared.join(hourly, on=["gpu_uuid", "hour_start"])
    assert both.height == shared.height
    assert (both["energy_joules"] <= both["all"].fill_null(0) * (1 + 1e-9) + 1e-6).all()
    whole = both.filter((pl.col("held") == pl.col("existed_seconds")) & pl.col("all").is_not_null())
    assert whole["energy_joules"].to_list() == pytest.approx(whole["all"].to_list(), rel=1e-9)


@on_clusters
def test_hours_apart_row_order_and_a_second_run_change_nothing(
    seeds: list[int], generated: Ledgers, hours: Spans
) -> None:
    ledger, span = generated(*seeds), hours(HOURS)
    ledger.chain(span, *CHAIN)
    together = {name: ledger.get(name) for name in CHAIN}
    ledger.chain(span, *CHAIN)
    assert all(ledger.get(name).equals(together[name]) for name in CHAIN)
    other = ledger.shuffled(seeds[0] % 1000)
    apart: dict[str, list[pl.DataFrame]] = {name: [] for name in CHAIN}
    for hour in range(HOURS):
        other.chain(hours(1, first=hour, now=HOURS), *CHAIN)
        for name in CHAIN:
            apart[name].append(other.get(name))
    for name, parts in apart.items():
        key = [
            each
            for each in together[name].columns
            if each in {"cluster", "gpu_uuid", "started_at", "minute_start", "hour_start", "job_id"}
        ]
        assert_frame_equal(pl.concat(parts).sort(key), together[name].sort(key), rel_tol=1e-9)


@on_clusters
def test_another_job_on_its_own_device_takes_nothing_from_the_others(
    seeds: list[int], generated: Ledgers, hours: Spans, minute: Minutes
) -> None:
    ledger, span = generated(*seeds), hours(HOURS)
    ledger.tables["job_gpu"] = ledger.get("job_gpu").filter(pl.col("gpu_uuid") != "G1")
    before = ledger.chain(span, *CHAIN)
    for cluster in ledger.get("node")["cluster"].unique():
        run = {"cluster": cluster, "job_id": "77", "submitted_at": minute(-20), "restart_count": 0}
        held = {"node": "n1", "gpu_uuid": "G1", "held_start": minute(3), "held_end": minute(100)}
        ledger.add("job", [{**run, "state": "RUNNING", "source": "simulation", "started_at": minute(-20)}])
        ledger.add("job_gpu", [{**run, **held}])
    after = ledger.chain(span, *CHAIN)
    # Where no scheduler runs, processes held the device until now.
    others = pl.col("gpu_uuid") != "G1"
    assert_frame_equal(after.filter(others), before.filter(others))


def device(ledger: Any, minute: Minutes, **more: object) -> None:
    """Add one whole device of a node with a scheduler."""
    place = {"cluster": "c", "node": "n", "exists_start": minute(-600)}
    ledger.add("node", [{**place, "holder": "scheduler"}])
    ledger.add("gpu", [{**place, "gpu_uuid": "G", "parent_gpu_uuid": "", "gpu_fraction": Decimal(1), **more}])


def test_a_node_that_joins_at_twenty_past_has_two_thirds_of_an_hour_of_unknown_time(
    ledger: Any, hours: Spans, minute: Minutes
) -> None:
    mine = ledger()
    device(mine, minute, exists_start=minute(20), gpu_model="H100")
    row = mine.chain(hours(1), *CHAIN[:3]).row(0, named=True)
    assert row["existed_seconds"] == Decimal(2400)
    assert row["unknown_seconds"] == Decimal(2400)
    assert row["coverage_ratio"] == 0
    assert row["allocation_coverage_ratio"] == 1
    assert row["evidence_quality"] == "X"
    assert row["energy_joules"] is None
    assert mine.get("gpu_state_interval")["reason"].to_list() == ["no_sample"]


def busy(ledger: Any, minute: Minutes, until: float = 60, **more: object) -> None:
    """Add samples of a busy device, one a minute."""
    place = {
        "cluster": "c",
        "node": "n",
        "gpu_uuid": "G",
        "status": "ok",
        "step_seconds": 60.0,
        "evidence_quality": "A",
    }
    values = {
        "graphics_active_ratio": 0.9,
        "sm_active_ratio": 0.8,
        "process_count": 2,
        "process_job_ids": "1,2",
        **more,
    }
    ledger.add("gpu_sample", [{**place, **values, "sampled_at": minute(at)} for at in range(int(until) + 1)])


def hold(ledger: Any, minute: Minutes, job_id: str, start: float, end: float | None, share: float | None) -> None:
    """Let a job hold the device."""
    run = {"cluster": "c", "job_id": job_id, "submitted_at": minute(-60), "restart_count": 0}
    ledger.add(
        "job", [{**run, "state": "RUNNING", "source": "simulation", "account": "lab", "started_at": minute(start)}]
    )
    times = {"held_start": minute(start), "held_end": None if end is None else minute(end)}
    ledger.add("job_gpu", [{**run, "node": "n", "gpu_uuid": "G", **times, "requested_share_ratio": share}])


def test_a_shared_device_is_divided_by_request_and_says_that_it_is_an_estimate(
    ledger: Any, hours: Spans, minute: Minutes
) -> None:
    mine = ledger()
    device(mine, minute)
    busy(mine, minute)
    hold(mine, minute, "1", 0, None, 0.75)
    hold(mine, minute, "2", 0, 30, 0.25)
    rows = {row["job_id"]: row for row in mine.chain(hours(1), *CHAIN).to_dicts()}
    assert rows["1"]["productive_seconds"] == Decimal(1350 + 1800)
    assert rows["2"]["productive_seconds"] == Decimal(450)
    assert rows["1"]["held_seconds"] == Decimal(3600)
    assert rows["2"]["share_ratio"] == pytest.approx(0.25)
    assert rows["1"]["is_estimated"]
    assert rows["2"]["team"] == "lab"


def test_measured_process_time_goes_before_the_request(ledger: Any, hours: Spans, minute: Minutes) -> None:
    mine = ledger()
    device(mine, minute)
    busy(mine, minute)
    hold(mine, minute, "1", 0, None, 0.75)
    hold(mine, minute, "2", 0, None, 0.25)
    place = {"cluster": "c", "node": "n", "gpu_uuid": "G", "sampled_at": minute(5), "step_seconds": 60.0}
    used = {"1": 0.2, "2": 0.6}
    mine.add(
        "gpu_process_sample",
        [{**place, "pid_code": int(job), "job_id": job, "kernel_active_ratio": ratio} for job, ratio in used.items()],
    )
    rows = {row["job_id"]: row for row in mine.chain(hours(1), *CHAIN).to_dicts()}
    assert rows["1"]["productive_seconds"] == Decimal(900)
    assert rows["2"]["productive_seconds"] == Decimal(2700)
    assert not rows["1"]["is_estimated"]


def test_three_even_holders_of_a_time_that_three_does_not_divide_lose_no_millisecond(
    ledger: Any, hours: Spans, minute: Minutes
) -> None:
    mine = ledger()
    device(mine, minute, exists_start=minute(50), exists_end=minute(50 + 1 / 60000 * 1000))
    for job in ("1", "2", "3"):
        hold(mine, minute, job, 0, None, None)
    rows = mine.chain(hours(1), *CHAIN)
    assert milliseconds(rows.sort("job_id")["unknown_seconds"]) == [334, 333, 333]


@pytest.mark.parametrize("handover", [20, 30])
def test_of_a_device_that_was_replaced_within_a_minute_each_holder_has_the_energy_of_its_own_time(
    handover: int, ledger: Any, hours: Spans, minute: Minutes
) -> None:
    mine = ledger()
    device(mine, minute, exists_end=minute(30 + 10 / 60))
    device(mine, minute, exists_start=minute(30 + 40 / 60))
    mine.tables["node"] = mine.get("node").unique("node", keep="first")
    busy(mine, minute)
    counted = pl.int_range(pl.len()).cast(pl.Float64) * 600
    mine.tables["gpu_sample"] = mine.get("gpu_sample").with_columns(counted.alias("energy_joules_total"))
    hold(mine, minute, "1", 0, 30 + handover / 60, None)
    hold(mine, minute, "2", 30 + handover / 60, None, None)
    rows = {row["job_id"]: row for row in mine.chain(hours(1), *CHAIN).to_dicts()}
    whole = mine.get("gpu_hour").row(0, named=True)
    assert whole["existed_seconds"] == 3600 - 30
    assert whole["energy_joules"] == pytest.approx(60 * 600), "of a minute that it existed for in part, all is its own"
    assert (rows["1"]["held_seconds"], rows["2"]["held_seconds"]) == (1810, 1760)
    # The minute's joules belong to the thirty seconds in which the device was there.
    assert rows["1"]["energy_joules"] == pytest.approx(30 * 600 + 600 / 3)
    assert rows["2"]["energy_joules"] == pytest.approx(29 * 600 + 600 * 2 / 3)


def test_what_was_measured_before_a_device_was_there_is_in_no_hour(ledger: Any, hours: Spans, minute: Minutes) -> None:
    mine = ledger()
    device(mine, minute, exists_start=minute(20.5), exists_end=minute(40))
    busy(mine, minute)
    counted = pl.int_range(pl.len()).cast(pl.Float64) * 600
    mine.tables["gpu_sample"] = mine.get("gpu_sample").with_columns(counted.alias("energy_joules_total"))
    hold(mine, minute, "1", 0, None, None)
    (job,) = mine.chain(hours(1), *CHAIN).to_dicts()
    (hour,) = mine.get("gpu_hour").to_dicts()
    assert mine.get("gpu_minute").height == 60, "minutes are what samples say"
    assert hour["energy_joules"] == job["energy_joules"] == pytest.approx(20 * 600)
