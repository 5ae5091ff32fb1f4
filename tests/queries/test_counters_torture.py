"""Counters of machines to which everything happens: what the ledger says of them is never negative nor absurd.

A machine counts; what it shows is narrow, saturated, reset, lost, or garbage; its samples come late, twice, in another
order, with a clock that jumps, from before and after a sleep. They go through the door into a store, and from there
through the rollups. Beside it a model in plain Python says what may be concluded from the rows that arrived.
"""

import itertools
import random
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ledger.counters import delta
from ledger.plain import height_of, joined
from ledger.store import Joint, Sender, Store
from ledger.tables import GpuMinute, GpuSample, NetworkHour, NetworkPortSample
from queries.graph import Span
from queries.rollups.gpu_minute import gpu_minute
from queries.rollups.network_hour import network_hour

START = datetime(2026, 11, 20, 5, tzinfo=UTC)
HOURS = 6
STEP = 10
LINE = 1_000_000
WATTS = 2_000
SENTINELS = [0x7FFFFFFFFFFFFFF0, 2**63 - 1, 0x7FFFFFF0, 2**32 - 1, 2**53, 0]
NODES = itertools.count()

ACCIDENTS = (
    "reset", "reboot", "gap", "sleep", "clock back", "clock ahead",
    "sentinel", "garbage", "missing", "frozen", "same instant",
)  # fmt: skip
DISHONEST = {"sentinel", "garbage", "clock back", "clock ahead", "same instant"}


@dataclass
class Machine:
    """A counter that grows, what it shows, and the rows that its node sends."""

    chance: random.Random
    width: int
    saturates: bool
    most: int
    true: int = 0
    shown_from: int = 0
    second: float = 0.0
    off: float = 0.0
    boot: int = 0
    rows: list[dict[str, Any]] = field(default_factory=list)

    def run(self, accidents: list[str]) -> None:
        """Live through accidents, with quiet steps between them."""
        high = 2**50 if self.width == 64 else int(2**self.width)
        self.shown_from = -self.chance.choice([0, 1000, high - 50 * self.most])
        for accident in accidents:
            for _ in range(self.chance.randrange(1, 6)):
                self._step()
            self._happen(accident)
        self._step()

    def _step(self, value: int | None = -1) -> None:
        self.second += STEP
        self.true += self.chance.randrange(self.most * STEP)
        at = START + timedelta(milliseconds=round(1000 * (self.second + self.off)))
        self.rows.append({"at": at, "boot": f"b{self.boot}", "value": self.shown() if value == -1 else value})

    def shown(self) -> int:
        """Return what the counter shows."""
        value, top = self.true - self.shown_from, int(2**self.width) - 1
        return min(value, top) if self.saturates else value & top

    def _happen(self, accident: str) -> None:
        if accident == "reset":
            self.shown_from = self.true
        elif accident == "reboot":
            self.boot, self.shown_from = self.boot + 1, self.true
        elif accident in {"gap", "sleep"}:
            away = self.chance.choice([25, 31, 500, 1000])
            self.second += away
            self.true += self.chance.randrange(self.most * away) if accident == "gap" else 0
        elif accident == "clock back":
            self.off -= self.chance.choice([3.0, 9.999, 15.0, 600.0])
        elif accident == "clock ahead":
            self.off += self.chance.choice([3.0, 25.0, 600.0])
        elif accident == "frozen":
            self._step(self.rows[-1]["value"])
        elif accident == "same instant":
            self.rows.append({**self.rows[-1], "value": self.chance.randrange(self.most)})
        else:
            odd = {"sentinel": self.chance.choice(SENTINELS), "missing": None}
            self._step(odd.get(accident, self.chance.randrange(2**53)))


def delivered(machine: Machine, chance: random.Random) -> Iterator[list[dict[str, Any]]]:
    """Return rows in batches as they arrive: some late, some twice."""
    rows, batches = list(machine.rows), []
    while rows:
        count = chance.randrange(1, 30)
        batches.append(rows[:count])
        rows = rows[count:]
    batches += chance.sample(batches, len(batches) // 3)
    if chance.random() < 0.5:
        chance.shuffle(batches)
    yield from batches


def known(batches: list[list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Return the rows that count, by time: of two with one instant the first that arrived."""
    first: dict[datetime, dict[str, Any]] = {}
    for each in batches:
        for row in each:
            first.setdefault(row["at"], row)
    return [first[at] for at in sorted(first)]


def steps(rows: list[dict[str, Any]], longest: int, *, by_boot: bool) -> Iterator[tuple[Any, Any, int]]:
    """Return neighbours between which a counter may be compared, and the milliseconds between them."""
    for before, after in itertools.pairwise(rows):
        elapsed = round((after["at"] - before["at"]).total_seconds() * 1000)
        same_boot = before["boot"] == after["boot"] or not by_boot
        if 0 < elapsed <= min(3 * STEP, longest) * 1000 and same_boot:
            yield before, after, elapsed


def grown(before: int | None, after: int | None, most: float) -> int | None:
    """Return what a wide counter grew by, as far as that can be believed."""
    if before is None or after is None or after < before or after - before > most:
        return None
    return after - before


@pytest.fixture(scope="module")
def store() -> Iterator[Store]:
    """Return a store for all machines; each is a node of its own."""
    with Store.open("duckdb::memory:", now=lambda: START + timedelta(days=1)) as opened:
        yield opened


def kept(store: Store, schema: Any, batches: list[list[dict[str, Any]]], more: dict[str, Any], counter: str) -> Any:
    """Return what a store has of batches of one node."""
    node = f"n{next(NODES)}"
    for number, batch in enumerate(batches):
        rows = {
            **{name: [value] * len(batch) for name, value in (more | {"node": node}).items()},
            "sampled_at": [round(each["at"].timestamp() * 1000) for each in batch],
            "boot_id": [each["boot"] for each in batch],
            counter: [each["value"] for each in batch],
        }
        frame, odd = joined(schema, [rows])
        assert not odd
        joint = Joint(schema, frame, [(0, height_of(rows))])
        assert store.append_group([Sender(f"{node}-{number}", node, node)], [joint])[0] is not None
    return store.read(schema, where={"node": [node]}).lazy()


accidents = st.lists(st.sampled_from(ACCIDENTS), min_size=1, max_size=12)
searched = settings(max_examples=20, suppress_health_check=[HealthCheck.too_slow])
SPAN = Span(START - timedelta(hours=1), START + timedelta(hours=HOURS), START + timedelta(days=1))
PORT = {
    "cluster": "c", "node": "n", "device": "d", "port": "1", "step_seconds": float(STEP), "link_layer": "InfiniBand",
    "line_rate_bytes_per_second": float(LINE),
}  # fmt: skip
GPU = {"cluster": "c", "node": "n", "gpu_uuid": "g", "parent_gpu_uuid": "", "status": "ok", "step_seconds": float(STEP)}


@searched
@given(happens=accidents, seed=st.integers(0, 10_000))
def test_a_ports_bytes_are_what_the_model_concludes(store: Store, happens: list[str], seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311  seeded, not secret
    machine = Machine(chance, width=64, saturates=False, most=LINE)
    machine.run(happens)
    batches = list(delivered(machine, chance))
    expected: dict[datetime, int] = defaultdict(int)
    seconds: dict[datetime, int] = defaultdict(int)
    for before, after, elapsed in steps(known(batches), 900, by_boot=False):
        hour = after["at"].replace(minute=0, second=0, microsecond=0)
        seconds[hour] += elapsed
        if before["boot"] == after["boot"]:
            expected[hour] += grown(before["value"], after["value"], 1.2 * LINE * elapsed / 1000) or 0
    hours = network_hour.function(kept(store, NetworkPortSample, batches, PORT, "transmit_bytes_total"), SPAN).collect()
    for row in NetworkHour.validate(hours).iter_rows(named=True):
        carried, observed = row["transmit_bytes"] or 0, row["observed_seconds"]
        assert carried == expected[row["hour_start"]]
        assert observed == Decimal(seconds[row["hour_start"]]) / 1000
        assert 0 <= carried <= 1.2 * LINE * float(observed) + 1
    if not set(happens) & DISHONEST:
        assert sum(row["transmit_bytes"] or 0 for row in hours.iter_rows(named=True)) <= machine.true


@searched
@given(happens=accidents, seed=st.integers(0, 10_000))
def test_errors_of_a_narrow_counter_are_counted_until_it_is_full(store: Store, happens: list[str], seed: int) -> None:
    """At its top a counter of 16 bits stands still: nothing is known then, and no wrap is made up far from the top."""
    chance = random.Random(seed)  # noqa: S311  seeded, not secret
    machine = Machine(chance, width=16, saturates=True, most=30)
    machine.run([each for each in happens if each not in {"sentinel", "garbage"}])
    batches = list(delivered(machine, chance))
    top = 2**16 - 1
    expected: dict[datetime, int] = defaultdict(int)
    for before, after, _ in steps(known(batches), 900, by_boot=True):
        old, new = before["value"], after["value"]
        if old is None or new is None or new >= top:
            continue
        wrapped = top - old + new + 1
        is_wrap = new < old and old >= 0.99 * top and wrapped <= 0.5 * top
        hour = after["at"].replace(minute=0, second=0, microsecond=0)
        expected[hour] += new - old if new >= old else wrapped if is_wrap else 0
    hours = network_hour.function(
        kept(store, NetworkPortSample, batches, PORT, "symbol_error_count_total"), SPAN
    ).collect()
    for row in NetworkHour.validate(hours).iter_rows(named=True):
        assert (row["symbol_error_count"] or 0) == expected[row["hour_start"]]
        assert (row["symbol_error_count"] or 0) >= 0


@searched
@given(happens=accidents, seed=st.integers(0, 10_000))
def test_a_devices_energy_is_what_the_model_concludes(store: Store, happens: list[str], seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311  seeded, not secret
    machine = Machine(chance, width=64, saturates=False, most=700)
    machine.run(happens)
    batches = list(delivered(machine, chance))
    expected, observed = 0, 0
    for before, after, elapsed in steps(known(batches), 300, by_boot=False):
        observed += elapsed
        expected += grown(before["value"], after["value"], 1.2 * WATTS * elapsed / 1000) or 0
    minutes = gpu_minute.function(kept(store, GpuSample, batches, GPU, "energy_joules_total"), SPAN).collect()
    rows = list(GpuMinute.validate(minutes).iter_rows(named=True))
    assert sum(row["energy_joules"] or 0.0 for row in rows) == pytest.approx(expected, rel=1e-6, abs=1e-3)
    assert sum(row["observed_seconds"] for row in rows) == Decimal(observed) / 1000
    for row in rows:
        most = 1.2 * WATTS * float(row["observed_seconds"])
        assert row["energy_joules"] is None or -1e-6 <= row["energy_joules"] <= most + 1e-3
    if not set(happens) & DISHONEST:
        assert sum(row["energy_joules"] or 0.0 for row in rows) <= machine.true * (1 + 1e-9)


@given(happens=accidents, seed=st.integers(0, 10_000), width=st.sampled_from([32, 64]), saturates=st.booleans())
def test_the_scalar_rules_claim_no_more_than_the_machine_counted(
    happens: list[str], seed: int, width: int, saturates: bool
) -> None:
    """With an honest counter a difference is the growth or nothing; with any, it is possible for the line."""
    chance = random.Random(seed)  # noqa: S311  seeded, not secret
    machine = Machine(chance, width=width, saturates=saturates, most=LINE)
    machine.run(happens)
    is_honest = not set(happens) & {"sentinel", "garbage", "same instant", "frozen"}
    for before, after in itertools.pairwise(machine.rows):
        elapsed = (after["at"] - before["at"]).total_seconds()
        found = delta(
            before["value"], after["value"], width=width, elapsed_seconds=elapsed, step_seconds=STEP, line_rate=LINE
        )
        assert (found.value is None) == (found.kind not in {"ok", "wrap"})
        assert found.value is None or 0 <= found.value <= 1.2 * LINE * elapsed
        assert not is_honest or found.value is None or found.value <= machine.true
