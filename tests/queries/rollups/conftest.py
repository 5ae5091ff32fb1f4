"""A generated cluster and a way to compute rollups from it as the executor does: each input cut to its window."""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from importlib import import_module
from typing import Any, Final

import dataframely as dy
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.tables import TABLES, declared
from ledger.tables.partition import Among, Keyed, Spanning, Timed, Whole, Without
from queries.graph import Input, Rollup, Span
from tests.frames import empty, frame, validated

START = datetime(2026, 11, 20, 5, tzinfo=UTC)

TOGETHER: Final = 20
"""So many drawn clusters are computed in one call, since most of a call's time does not depend on its rows."""

CASES: Final = 8
"""So many cases that are drawn whole are computed in one call: more would be too much for Hypothesis to draw."""

Rows = list[dict[str, Any]]
Test = Callable[..., None]


def on_clusters(test: Test) -> Test:
    """Run a test on `seeds` of drawn clusters: as many as the profile has examples, several of them in one call."""
    seeds = st.lists(st.integers(0, 2**32), min_size=TOGETHER, max_size=TOGETHER, unique=True)
    examples: int = -(-settings().max_examples // TOGETHER)
    return settings(max_examples=examples)(given(seeds=seeds)(test))


def on_cases(case: st.SearchStrategy[Any], **more: st.SearchStrategy[Any]) -> Callable[[Test], Test]:
    """Return what runs a test on drawn `cases`: as many as the profile has examples, each to be a cluster of a call."""
    cases = st.lists(case, min_size=CASES, max_size=CASES)
    examples: int = -(-settings().max_examples // CASES)
    return lambda test: settings(max_examples=examples)(given(cases=cases, **more)(test))


def window(
    rows: pl.DataFrame, schema: type[dy.Schema], read: Input, span: Span, others: Callable[[str], pl.DataFrame]
) -> pl.DataFrame:
    """Return what the executor hands over of a table for a span; `others` gives the rows of any table."""
    partition = declared(schema).partition
    low, high = span.start - read.before, span.end + read.after
    if read.by:
        partition = next(each for each in declared(schema).also if each.column == read.by)
    if isinstance(partition, Timed):
        at: pl.Expr = pl.col(partition.column)
        if rows.schema[partition.column] == pl.Date:
            at = at.cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
        low = span.now - read.recent if read.recent else low
        rows = rows.filter((at >= low) & (at < high))
    elif isinstance(partition, Spanning):
        ends = pl.col(partition.end)
        rows = rows.filter((pl.col(partition.start) < high) & (ends.is_null() | (ends > low)))
    else:
        assert isinstance(partition, Whole | Keyed)
    for column, values in read.where.items():
        named: list[object] = list(values)
        if isinstance(values, Among):
            other, told, value = values
            named = others(other).filter(pl.col(told) == value).get_column(column).to_list()
        is_named = pl.col(column).is_in(named)
        rows = rows.filter(~is_named if isinstance(values, Without) else is_named)
    return rows.select(read.columns) if read.columns else rows


@dataclass
class Ledger:
    """Tables by name, and what is computed from them."""

    tables: dict[str, pl.DataFrame] = field(default_factory=dict)

    def add(self, name: str, rows: Rows) -> None:
        """Add rows to a table."""
        more = frame(TABLES[name].schema, rows)
        self.tables[name] = pl.concat([self.get(name), more])

    def get(self, name: str) -> pl.DataFrame:
        """Return a table."""
        return self.tables[name] if name in self.tables else empty(TABLES[name].schema)

    def apart(self) -> Iterator["Ledger"]:
        """Yield the rows of each cluster."""
        parts = {name: rows.partition_by("cluster", as_dict=True) for name, rows in self.tables.items()}
        for each in self.get("node")["cluster"].unique(maintain_order=True):
            yield Ledger({name: mine.get((each,), self.tables[name].clear()) for name, mine in parts.items()})

    def compute(self, name: str, span: Span, **settings: object) -> pl.DataFrame:
        """Compute a rollup for a span, check its rows against the table and keep them."""
        rollup: Rollup = getattr(import_module(f"queries.rollups.{name}"), name)
        values: dict[str, object] = {
            source.parameter: window(
                self.get(declared(source.schema).name), source.schema, source.read, span, self.get
            ).lazy()
            for source in rollup.sources
        }
        if rollup.takes_span:
            values[rollup.takes_span] = span
        values |= {parameter: settings.get(parameter, model()) for parameter, model in rollup.settings.items()}
        rows = rollup.function(**values).collect()
        self.tables[name] = validated(rollup.schema, rows)
        return rows

    def chain(self, span: Span, *names: str, **settings: object) -> pl.DataFrame:
        """Compute some rollups one after the other and return the last."""
        for name in names[:-1]:
            self.compute(name, span, **settings)
        return self.compute(names[-1], span, **settings)

    def shuffled(self, seed: int) -> "Ledger":
        """Return the same rows in another order."""
        return Ledger({name: rows.sample(fraction=1, shuffle=True, seed=seed) for name, rows in self.tables.items()})


def span_of(hours: float, first: float = 0, now: float | None = None) -> Span:
    """Return a span of hours after `START`."""
    end = START + timedelta(hours=first + hours)
    return Span(START + timedelta(hours=first), end, end if now is None else START + timedelta(hours=now))


def at(minutes: float) -> datetime:
    """Return an instant some minutes after `START`."""
    return START + timedelta(minutes=minutes)


_STATES = ("UP", "DOWN", "DRAINED", "DRAINING", "RESERVED", "QUOTA", "POWERED_DOWN", "UNKNOWN")
_JOB_STATES = ("RUNNING", "COMPLETED", "FAILED", "CANCELLED")


@dataclass
class Generator:
    """Draws a small cluster from a seed: everything on whole tenths of seconds, so that edges often meet."""

    seed: int
    cluster: str = "c"
    hours: int = 3
    rows: dict[str, Rows] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.draw = random.Random(self.seed)  # noqa: S311  seeded, not secret

    def add(self, name: str, rows: Rows) -> None:
        """Keep rows of a table."""
        self.rows.setdefault(name, []).extend({"cluster": self.cluster, **row} for row in rows)

    def when(self, low: float = -30, high: float | None = None) -> datetime:
        """Draw an instant: half of them fall on a minute, where samples and hours lie."""
        top = self.hours * 60 + 10 if high is None else high
        minutes = self.draw.uniform(low, top)
        return at(round(minutes)) if self.draw.random() < 0.5 else at(round(minutes * 600) / 600)

    def stretch(self, **names: Any) -> tuple[datetime, datetime | None]:
        """Draw an interval, sometimes without an end."""
        first, second = sorted((self.when(**names), self.when(**names)))
        if first == second:
            second = first + timedelta(seconds=37)
        return first, None if self.draw.random() < 0.3 else second

    def drawn(self) -> dict[str, Rows]:
        """Return a cluster of two nodes with four devices, one of them a slice."""
        devices = [("n1", "G1", "", 1), ("n1", "G2", "", 1), ("n2", "G3", "", 1), ("n2", "M1", "G3", "0.428571")]
        for node in ("n1", "n2"):
            holder = self.draw.choice(("scheduler", "scheduler", "scheduler", "process", None))
            self.add("node", [{"node": node, "exists_start": at(-60 * 24), "holder": holder}])
            for _ in range(self.draw.randrange(3)):
                start, end = self.stretch()
                row = {"node": node, "state_start": start, "state_end": end}
                self.add("node_state", [{**row, "state": self.draw.choice(_STATES)}])
        for number in range(self.draw.randrange(5)):
            self._job(str(number + 1), devices)
        for node, uuid, parent, fraction in devices:
            self._device(node, uuid, parent, Decimal(fraction))
        return self.rows

    def _job(self, job_id: str, devices: Sequence[tuple[str, str, str, object]]) -> None:
        submitted, started = at(-45), self.when(low=-40)
        run = {"job_id": job_id, "submitted_at": submitted, "restart_count": 0}
        job = {**run, "state": self.draw.choice(_JOB_STATES), "source": "simulation", "requested_gpu_count": 2.0}
        begun = {"started_at": self.draw.choice((started, None)), "nodes": self.draw.choice((None, "n1", "n1,n2"))}
        if begun["started_at"] and begun["nodes"]:
            count, end = self.draw.choice((None, 0.0, 0.5, 1.0, 2.0, 3.0)), self.when(low=60)
            job |= {"gpu_count": count, "ended_at": self.draw.choice((None, max(end, started)))}
        self.add("job", [{**job, **begun, "user": "u", "account": "a"}])
        for node, uuid, _, _ in devices:
            if self.draw.random() < 0.6:
                start, end = self.stretch()
                if over := job.get("ended_at"):
                    end = min(end or over, over)
                    if start >= end:
                        continue
                share = self.draw.choice((None, 0.25, 0.5, 1.0))
                row = {**run, "node": node, "gpu_uuid": uuid, "held_start": start, "held_end": end}
                self.add("job_gpu", [{**row, "requested_share_ratio": share}])

    def _device(self, node: str, uuid: str, parent: str, fraction: Decimal) -> None:
        known = self.draw.random() < 0.8
        row = {"node": node, "gpu_uuid": uuid, "parent_gpu_uuid": parent, "gpu_fraction": fraction}
        limits = {"idle_power_watts": 60.0, "power_limit_watts": 700.0, "memory_baseline_bytes": 5e8} if known else {}
        start = at(-600) if self.draw.random() < 0.6 else self.when()
        end = None if self.draw.random() < 0.7 else start + timedelta(minutes=self.draw.randrange(1, 900))
        self.add("gpu", [{**row, "exists_start": start, "exists_end": end, **limits}])
        kinds = ("xid", "xid", "lost", "recovered", "reset", "driver_reload", "remap_failed")
        for _ in range(self.draw.choice((0, 0, 1, 2))):
            event = self.draw.choice(kinds)
            named = {"event": event, "xid_code": self.draw.choice((48, 79)) if event == "xid" else 0}
            opens = event in {"xid", "lost", "remap_failed"}
            place = {"occurred_at": self.when(), "node": node, "gpu_uuid": uuid}
            self.add("gpu_event", [{**place, **named, "is_critical": opens and self.draw.random() < 0.8}])
        self.add("gpu_sample", self._samples(node, uuid))

    def _samples(self, node: str, uuid: str) -> Rows:
        """Draw a device's samples: regimes of minutes, jitter, gaps, resets, invisible processes."""
        pace = self.draw.choice((30.0, 60.0))
        rows: Rows = []
        time, energy, heat = (
            at(-30) + timedelta(seconds=self.draw.randrange(60)),
            1e6,
            {"hw": 5.0, "sw": 9.0, "brake": 0.0},
        )
        regime: dict[str, Any] = {}
        while time < at(self.hours * 60 + 10):
            if not regime or self.draw.random() < 0.1:
                regime = self._regime()
            energy = 10.0 if self.draw.random() < 0.01 else energy + regime["power_watts"] * pace
            heat[self.draw.choice(("hw", "sw", "brake"))] += self.draw.choice((0, 0, 0, 0.25, 7.125, 90))
            counters = {
                "energy_joules_total": energy,
                "hw_thermal_throttle_seconds_total": heat["hw"],
                "sw_thermal_throttle_seconds_total": heat["sw"],
                "power_brake_throttle_seconds_total": heat["brake"],
            }
            place = {"sampled_at": time, "node": node, "gpu_uuid": uuid, "step_seconds": pace}
            rows.append({**place, **regime, **counters})
            jitter = self.draw.choice((0, 0, 0, 0.1, -0.1, pace, 2 * pace, 2 * pace + 0.1, 8 * pace))
            time += timedelta(seconds=pace + (jitter if self.draw.random() < 0.3 else 0))
        return rows

    def _regime(self) -> dict[str, Any]:
        level = self.draw.choice((0.0, 0.005, 0.04, 0.05, 0.2, 0.25, 0.9))
        count = self.draw.choice((None, 0, 0, 1, 1, 2))
        jobs = None if count is None else "" if count == 0 else self.draw.choice(("", "1", "2", "1,2", "9"))
        ok = {
            "status": "ok",
            "evidence_quality": self.draw.choice(("A", "A", "B", "C", "D", "X", None)),
            "kernel_active_ratio": self.draw.choice((None, level, level)),
            "graphics_active_ratio": self.draw.choice((None, level, level)),
            "sm_active_ratio": self.draw.choice((None, level / 2, level)),
            "encoder_active_ratio": self.draw.choice((None, 0.0)),
            "decoder_active_ratio": self.draw.choice((None, None, 0.0, 0.0, 0.6)),
            "memory_used_bytes": self.draw.choice((None, 5e8, 9e9)),
            "power_watts": self.draw.choice((60.0, 65.0, 100.0, 300.0, 650.0)),
            "process_count": count,
            "process_job_ids": jobs,
            "jobless_process_count": None if count is None else count if jobs == "" else 0,
        }
        if self.draw.random() < 0.1:
            return {"status": self.draw.choice(("lost", "error", "denied")), "power_watts": 0.0}
        return ok


def drawn(*seeds: int) -> Ledger:
    """Return a cluster of each seed; the first is called `c`, the others `c1`, `c2` and so on."""
    rows: dict[str, Rows] = {}
    for index, seed in enumerate(seeds):
        for name, more in Generator(seed, f"c{index or ''}").drawn().items():
            rows.setdefault(name, []).extend(more)
    ledger = Ledger({name: frame(TABLES[name].schema, found) for name, found in rows.items()})
    for name in {"node_state", "job", "job_gpu", "gpu_event"} & set(rows):
        key = list(TABLES[name].key)
        ledger.tables[name] = ledger.get(name).unique(key, keep="first", maintain_order=True)
    return ledger


@pytest.fixture(scope="session")
def generated() -> Callable[..., Ledger]:
    """Return a function that draws a cluster from each of some seeds."""
    return drawn


@pytest.fixture(scope="session")
def ledger() -> type[Ledger]:
    """Return the class of a small ledger in memory."""
    return Ledger


@pytest.fixture(scope="session")
def hours() -> Callable[..., Span]:
    """Return a function that makes a span of hours after the first."""
    return span_of


@pytest.fixture(scope="session")
def minute() -> Callable[[float], datetime]:
    """Return a function that makes an instant some minutes after the first hour's start."""
    return at
