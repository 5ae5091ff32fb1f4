"""Intervals of states: against a reading of the ledger piece by piece in plain Python, and what must always hold."""

from bisect import bisect_right
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import cache
from importlib.util import module_from_spec, spec_from_file_location
from itertools import pairwise
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from tests.queries.rollups.conftest import on_clusters

SPAN_HOURS = 3
Row = dict[str, Any]
Ledgers = Callable[..., Any]
Spans = Callable[..., Any]
Minutes = Callable[[float], datetime]


class Oracle:
    """The ledger's rules read literally, one instant at a time."""

    def __init__(self, ledger: Any, span: Any) -> None:
        self.span = span
        names = ("gpu", "node", "node_state", "job", "job_gpu", "gpu_event")
        self.rows = {name: ledger.get(name).to_dicts() for name in names}
        self.samples: dict[str, list[Row]] = {}
        for row in ledger.get("gpu_sample").sort("sampled_at").to_dicts():
            self.samples.setdefault(row["gpu_uuid"], []).append(row)
        # The same instant is asked about many times: a stray process is looked for at each edge before an instant too.
        self.holders, self.alien = cache(self._holders), cache(self._alien)
        self.steps, self.starts = cache(self._steps), cache(self._starts)

    def edges(self, gpu: Row) -> list[datetime]:
        """Return each instant at which anything about a device may change."""
        points = {self.span.start, self.span.end}
        points |= {self.span.start + timedelta(hours=hour) for hour in range(SPAN_HOURS)}
        for name, first, last in (
            ("gpu", "exists_start", "exists_end"),
            ("node", "exists_start", "exists_end"),
            ("node_state", "state_start", "state_end"),
            ("job_gpu", "held_start", "held_end"),
            ("job", "submitted_at", "started_at"),
            ("job", "started_at", "ended_at"),
        ):
            points |= {row[edge] for row in self.rows[name] for edge in (first, last) if row[edge]}
        points |= {row["occurred_at"] for row in self.rows["gpu_event"]}
        for start, length, row in self.steps(gpu["gpu_uuid"]):
            points |= {start, start + length, start + timedelta(milliseconds=row["throttle"])}
        return sorted(point for point in points if self.span.start <= point <= self.span.end)

    def _steps(self, uuid: str) -> list[tuple[datetime, timedelta, Row]]:
        """Return the steps of a device; a longer time between samples is none."""
        found = []
        for row, after in pairwise(self.samples.get(uuid, [])):
            length = after["sampled_at"] - row["sampled_at"]
            if length <= timedelta(seconds=3 * row["step_seconds"]):
                found.append((row["sampled_at"], length, {**row, "throttle": _throttle(row, after, length)}))
        return found

    def _starts(self, uuid: str) -> list[datetime]:
        """Return when the steps of a device begin, in order."""
        return [start for start, _, _ in self.steps(uuid)]

    def sample_at(self, uuid: str, at: datetime) -> tuple[datetime, Row] | None:
        """Return the sample whose step covers an instant: no step begins before another has ended."""
        place = bisect_right(self.starts(uuid), at) - 1
        if place < 0:
            return None
        start, length, row = self.steps(uuid)[place]
        return (start, row) if at < start + length else None

    def _holders(self, uuid: str, at: datetime) -> set[str]:
        """Return the ids of the jobs that hold a device."""
        return {
            row["job_id"]
            for row in self.rows["job_gpu"]
            if row["gpu_uuid"] == uuid and row["held_start"] <= at and (row["held_end"] is None or at < row["held_end"])
        }

    def fault(self, gpu: Row, at: datetime) -> bool:
        """Tell whether a fault of the device, or of the device it is cut from, is open."""
        mine = {gpu["gpu_uuid"], gpu["parent_gpu_uuid"]} - {""}
        events = [row for row in self.rows["gpu_event"] if row["gpu_uuid"] in mine]
        ran = {row["job_id"] for row in self.rows["job"] if row["state"] in {"COMPLETED", "RUNNING", "TIMEOUT"}}
        for event in events:
            if not event["is_critical"] or event["occurred_at"] > at:
                continue
            ends = [row["occurred_at"] for row in events if row["event"] in {"recovered", "reset", "driver_reload"}]
            ends += [
                row["held_start"]
                for row in self.rows["job_gpu"]
                if row["gpu_uuid"] == gpu["gpu_uuid"] and row["job_id"] in ran
            ]
            if not any(event["occurred_at"] < end <= at for end in ends):
                return True
        return False

    def _alien(self, uuid: str, node: str, at: datetime) -> bool:
        """Tell whether a process of nobody who holds the device was seen at an instant."""
        found = self.sample_at(uuid, at)
        by_process = self.holder_of(node, at) == "process" and not self.holders(uuid, at)
        if found is None or by_process or self.held(uuid, node, at) is None:
            return False
        row = found[1]
        return bool(row["jobless_process_count"]) or bool(_ids(row) - self.holders(uuid, at))

    def stray(self, gpu: Row, at: datetime, edges: list[datetime]) -> bool:
        """Tell whether such a process has been there, at the last sample, for more than 300 seconds without a break."""
        if not self.alien(gpu["gpu_uuid"], gpu["node"], at):
            return False
        found = self.sample_at(gpu["gpu_uuid"], at)
        assert found is not None
        since = at
        for edge in reversed([each for each in edges if each <= at]):
            if not self.alien(gpu["gpu_uuid"], gpu["node"], edge):
                break
            since = edge
        return found[0] - since > timedelta(seconds=300)

    def holder_of(self, node: str, at: datetime) -> str | None:
        """Return how a node tells who holds its devices."""
        del at
        return next((row["holder"] for row in self.rows["node"] if row["node"] == node), None)

    def node_state(self, node: str, at: datetime) -> str | None:
        """Return the latest word of the scheduler on a node."""
        told = [
            row
            for row in self.rows["node_state"]
            if row["node"] == node and row["state_start"] <= at and (row["state_end"] is None or at < row["state_end"])
        ]
        return max(told, key=lambda row: (row["state_start"], row["state"]))["state"] if told else None

    def unplaced(self, node: str, at: datetime) -> bool:
        """Tell whether a run has devices on a node, and fewer are named than it has."""
        return any(
            node in self._lacking(job)(at)
            for job in self.rows["job"]
            if job["nodes"] and job["started_at"] and job["started_at"] <= at
            if job["ended_at"] is None or at < job["ended_at"]
        )

    def _lacking(self, job: Row) -> Callable[[datetime], list[str]]:
        has = job["requested_gpu_count"] if job["gpu_count"] is None else job["gpu_count"]
        own = [row for row in self.rows["job_gpu"] if row["job_id"] == job["job_id"]]
        nodes = job["nodes"].split(",")

        def at_(at: datetime) -> list[str]:
            named = {
                (row["node"], row["gpu_uuid"])
                for row in own
                if row["held_start"] <= at and (row["held_end"] is None or at < row["held_end"] + timedelta(days=7))
            }
            if len(named) >= (1 if has is None else has):
                return []
            return [node for node in nodes if node not in dict(named)] or nodes

        return at_

    def held(self, uuid: str, node: str, at: datetime) -> str | None:
        """Return job, nobody, or None where it is unknown."""
        if self.holders(uuid, at):
            return "job"
        holder = self.holder_of(node, at)
        if holder == "scheduler":
            is_known = self.node_state(node, at) != "UNKNOWN" and not self.unplaced(node, at)
            return "nobody" if is_known else None
        found = self.sample_at(uuid, at)
        if holder != "process" or found is None or found[1]["process_count"] is None:
            return None
        return "job" if found[1]["process_count"] else "nobody"


def _ids(row: Row) -> set[str]:
    return set((row.get("process_job_ids") or "").split(",")) - {""}


def _throttle(row: Row, after: Row, length: timedelta) -> int:
    counters = ("hw_thermal", "sw_thermal", "power_brake")
    grown = [
        int(after[f"{name}_throttle_seconds_total"] * 1000) - int(row[f"{name}_throttle_seconds_total"] * 1000)
        for name in counters
    ]
    return min(max(0, *grown), length // timedelta(milliseconds=1))


@pytest.fixture(scope="module")
def state_of() -> Callable[..., str]:
    """Return the plain reading of the decision, from the test that walks it."""
    spec = spec_from_file_location("decision_reading", Path(__file__).with_name("test_decision.py"))
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return lambda oracle, gpu, at, edges: _state(module, oracle, gpu, at, edges)


def _state(reading: Any, oracle: Oracle, gpu: Row, at: datetime, edges: list[datetime]) -> str:
    found = oracle.sample_at(gpu["gpu_uuid"], at)
    row: Row = found[1] if found else {}
    node_state = oracle.node_state(gpu["node"], at)
    ok = row.get("status") == "ok"
    names = ("kernel_active_ratio", "graphics_active_ratio", "sm_active_ratio", *reading.ENGINES, "power_watts")
    values = {name: row.get(name) for name in names}
    values |= {"idle_power_watts": gpu["idle_power_watts"], "power_limit_watts": gpu["power_limit_watts"]}
    grade = reading.grade_of({**values, "declared": row.get("evidence_quality")}) if ok else "X"
    active = reading.active_of(grade, values) if ok else None
    held = oracle.held(gpu["gpu_uuid"], gpu["node"], at)
    visible = row.get("process_count") is not None
    by_process = oracle.holder_of(gpu["node"], at) == "process" and not oracle.holders(gpu["gpu_uuid"], at)
    own = (
        bool(row["process_count"]) if visible and by_process else bool(_ids(row) & oracle.holders(gpu["gpu_uuid"], at))
    )
    memory, baseline = row.get("memory_used_bytes"), gpu["memory_baseline_bytes"]
    gone = node_state in {"DOWN", "POWERED_DOWN"}
    return str(
        reading.state_of(
            "sample" if ok else "status" if found or gone else "nothing",
            oracle.fault(gpu, at) or row.get("status") == "lost" or node_state == "DOWN",
            node_state in {"DRAINED", "DRAINING"},
            held,
            own if visible and held is not None else None,
            oracle.stray(gpu, at, edges),
            None if memory is None or baseline is None else memory > baseline + 256 * 1024**2,
            active,
            found is not None and (at - found[0]) / timedelta(milliseconds=1) < row["throttle"],
        )
    )


@on_clusters
def test_intervals_say_what_a_literal_reading_says_at_each_instant(
    seeds: list[int], generated: Ledgers, hours: Spans, state_of: Callable[..., str]
) -> None:
    every, span = generated(*seeds), hours(SPAN_HOURS)
    every.compute("gpu_state_interval", span)
    for ledger in every.apart():
        before = Oracle(ledger, hours(SPAN_HOURS + 1, first=-1))
        compare(ledger.get("gpu_state_interval"), Oracle(ledger, span), before, state_of)


def compare(found: pl.DataFrame, oracle: Oracle, before: Oracle, state_of: Callable[..., str]) -> None:
    """Compare the intervals of a cluster with the literal reading; that of an hour more knows older strays."""
    for gpu in oracle.rows["gpu"]:
        mine = found.filter(pl.col("gpu_uuid") == gpu["gpu_uuid"]).to_dicts()
        edges = oracle.edges(gpu)
        earlier = sorted({*before.edges(gpu), *edges})
        index = 0
        for start, end in pairwise(edges):
            exists = gpu["exists_start"] <= start and (gpu["exists_end"] is None or start < gpu["exists_end"])
            if not exists:
                continue
            while mine[index]["ended_at"] <= start:
                index += 1
            assert mine[index]["started_at"] <= start
            assert end <= mine[index]["ended_at"]
            assert mine[index]["state"] == state_of(before, gpu, start, earlier), (gpu["gpu_uuid"], start, mine[index])


@on_clusters
def test_intervals_cover_existence_exactly_and_never_overlap(
    seeds: list[int], generated: Ledgers, hours: Spans
) -> None:
    ledger, span = generated(*seeds), hours(SPAN_HOURS)
    rows = ledger.compute("gpu_state_interval", span)
    for gpu in ledger.get("gpu").to_dicts():
        mine = rows.filter(cluster=gpu["cluster"], gpu_uuid=gpu["gpu_uuid"])
        start = max(gpu["exists_start"], span.start)
        end = min(gpu["exists_end"] or span.now, span.end)
        existed = max(end - start, timedelta(0))
        assert sum(mine["ended_at"] - mine["started_at"], timedelta(0)) == existed
        assert (mine["started_at"][1:] >= mine["ended_at"][:-1]).all()
        assert (
            mine["started_at"].dt.truncate("1h") == (mine["ended_at"] - timedelta(microseconds=1)).dt.truncate("1h")
        ).all()


@on_clusters
def test_hours_computed_apart_equal_hours_computed_together(seeds: list[int], generated: Ledgers, hours: Spans) -> None:
    ledger = generated(*seeds)
    together = ledger.compute("gpu_state_interval", hours(SPAN_HOURS))
    apart = [ledger.compute("gpu_state_interval", hours(1, first=hour, now=SPAN_HOURS)) for hour in range(SPAN_HOURS)]
    key = ["cluster", "gpu_uuid", "started_at"]
    assert_frame_equal(pl.concat(apart).sort(key), together.sort(key))


@on_clusters
def test_neither_the_order_of_rows_nor_a_second_run_changes_anything(
    seeds: list[int], generated: Ledgers, hours: Spans
) -> None:
    ledger, span = generated(*seeds), hours(SPAN_HOURS)
    first = ledger.compute("gpu_state_interval", span)
    assert_frame_equal(ledger.compute("gpu_state_interval", span), first)
    assert_frame_equal(ledger.shuffled(seeds[0] % 1000).compute("gpu_state_interval", span), first)


@on_clusters
def test_another_job_on_another_device_changes_no_state_of_this_one(
    seeds: list[int], generated: Ledgers, hours: Spans, minute: Minutes
) -> None:
    ledger, span = generated(*seeds), hours(SPAN_HOURS)
    others = pl.col("gpu_uuid") != "G1"
    before = ledger.compute("gpu_state_interval", span).filter(others)
    for cluster in ledger.get("node")["cluster"].unique():
        run = {"cluster": cluster, "job_id": "77", "submitted_at": minute(-20), "restart_count": 0}
        held = {"node": "n1", "gpu_uuid": "G1", "held_start": minute(3), "held_end": minute(100)}
        ledger.add("job", [{**run, "state": "RUNNING", "source": "simulation", "started_at": minute(-20)}])
        ledger.add("job_gpu", [{**run, **held}])
    assert_frame_equal(ledger.compute("gpu_state_interval", span).filter(others), before)


def test_no_device_is_free_while_a_run_has_one_that_nothing_names(
    ledger: type[Any], hours: Spans, minute: Minutes
) -> None:
    """Two devices; a run has one of them from minute 10 to 40, and is named only from minute 20 on."""
    made = ledger()
    place = {"cluster": "c", "node": "n1"}
    made.add("node", [{**place, "exists_start": minute(-60), "holder": "scheduler"}])
    for uuid in ("G1", "G2"):
        made.add(
            "gpu", [{**place, "gpu_uuid": uuid, "exists_start": minute(-60), "parent_gpu_uuid": "", "gpu_fraction": 1}]
        )
        idle = {"status": "ok", "evidence_quality": "A", "graphics_active_ratio": 0.0, "process_count": 0}
        samples = [
            {**place, "gpu_uuid": uuid, "sampled_at": minute(each), "step_seconds": 60.0, **idle}
            for each in range(-1, 62)
        ]
        made.add("gpu_sample", samples)
    run = {"cluster": "c", "job_id": "7", "submitted_at": minute(5), "restart_count": 0}
    told = {"state": "RUNNING", "source": "kubernetes", "nodes": "n1", "gpu_count": 1.0}
    made.add("job", [{**run, **told, "started_at": minute(10), "ended_at": minute(40)}])

    def states(uuid: str) -> list[tuple[str, str | None, float, float]]:
        rows = made.compute("gpu_state_interval", hours(1)).filter(pl.col("gpu_uuid") == uuid).sort("started_at")
        return [
            (
                row["state"],
                row["reason"],
                *((row[edge] - minute(0)) / timedelta(minutes=1) for edge in ("started_at", "ended_at")),
            )
            for row in rows.to_dicts()
        ]

    free = ("unallocated", "no_demand")
    unknown = ("unknown", "holder_unknown")
    assert states("G2") == [(*free, 0, 10), (*unknown, 10, 40), (*free, 40, 60)]
    made.add("job_gpu", [{**run, **place, "gpu_uuid": "G1", "held_start": minute(20), "held_end": minute(39)}])
    assert states("G2") == [(*free, 0, 10), (*unknown, 10, 20), (*free, 20, 60)]
    assert states("G1") == [(*free, 0, 10), (*unknown, 10, 20), ("allocated_idle", None, 20, 39), (*free, 39, 60)]
    made.tables["job"] = made.get("job").with_columns(gpu_count=pl.lit(2.0))
    assert states("G2") == [(*free, 0, 10), (*unknown, 10, 40), (*free, 40, 60)]
    made.tables["job"] = made.get("job").with_columns(nodes=pl.lit("n1,n2"))
    assert states("G2")[1] == (*unknown, 10, 20), "from minute 20 on what is not named is on the other node"
    made.tables["job"] = made.get("job").with_columns(gpu_count=pl.lit(0.0))
    assert states("G2") == [(*free, 0, 60)], "it has none"
