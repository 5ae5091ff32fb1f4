"""No instant is handed out twice, whatever the clock does, and none is far from what the clock shows."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from collectors._instants import Instants
from collectors._round import Result, Run
from collectors._stamp import Forgetful, Identity, stamped
from ledger.frames import to_frame
from ledger.store import Store
from ledger.tables import CollectorRun, HostSample

AT = datetime(2026, 11, 20, 12, tzinfo=UTC)
STEP = timedelta(seconds=10)
WALKS = st.lists(st.tuples(st.booleans(), st.integers(0, 4000), st.integers(1, 30)), min_size=1, max_size=18)


@given(WALKS, st.integers(0, 999))
def test_walks_through_one_hour_have_no_instant_in_common(walks: list[tuple[bool, int, int]], microsecond: int) -> None:
    """Each walk begins where the clock was set back to, or with an agent that was started anew, or both."""
    memory = Forgetful()
    instants, found = Instants(memory), []
    for count, (is_restart, offset, rounds) in enumerate(walks):
        instants = Instants(memory) if is_restart else instants
        start = AT + timedelta(milliseconds=offset % 8, microseconds=microsecond)
        moved = timedelta(milliseconds=4 if count < 3 else 256)
        for turn in range(rounds):
            for name in ("host", "nvml"):
                at = instants.of(name, start + turn * STEP)
                assert timedelta(milliseconds=-1) < at - (start + turn * STEP) < moved
                found.append((name, at))
    assert len(set(found)) == len(found)
    assert all(at.microsecond % 1000 == 0 for _, at in found)


def test_an_hour_may_pass_many_times() -> None:
    """A clock that starts at the same wrong time with each boot, until it is set."""
    memory, walks = Forgetful(), list[list[datetime]]()
    shown = [AT + turn * timedelta(minutes=1) for turn in range(60)]
    for _ in range(200):
        instants = Instants(memory)
        walks.append([instants.of("host", at) for at in shown])
    found = [at for walk in walks[:67] for at in walk]
    assert len(set(found)) == len(found)
    assert all(
        timedelta() <= at - was < timedelta(milliseconds=256)
        for walk in walks
        for at, was in zip(walk, shown, strict=True)
    )
    assert all(len(set(walk)) == len(walk) for walk in walks)


def test_a_clock_that_goes_on_keeps_its_turn() -> None:
    """The first turn is the one that moves instants least: who begins anew later goes on in it."""
    memory = Forgetful()
    told = []
    for hour in range(24):
        instants, start = Instants(memory), AT + timedelta(hours=hour)
        told += [(instants.of("host", start + turn * STEP), start + turn * STEP) for turn in range(5)]
    assert all(at == shown for at, shown in told)


class Counting(Forgetful):
    """A memory that counts what it is told."""

    count = 0

    def remember(self, key: str, value: str | None) -> None:
        """Keep a text."""
        self.count += 1
        super().remember(key, value)


def test_it_is_written_down_now_and_then_and_an_agent_that_is_killed_loses_nothing_of_it() -> None:
    memory = Counting()
    instants = Instants(memory)
    names = [f"collector {number}" for number in range(20)]
    found = [(name, instants.of(name, AT + turn * STEP)) for turn in range(100) for name in names]
    assert memory.count < len(names) + 100 / 3 + 1
    instants = Instants(memory)
    found += [(name, instants.of(name, AT + 99 * STEP)) for name in names]
    assert len(set(found)) == len(found)


def test_a_round_of_an_instant_that_was_shown_before_is_no_second_row_of_it() -> None:
    """A clock was set back by an hour: it shows the very instant of a round, and the ledger has both rounds."""
    memory, identity = Forgetful(), Identity("c", "n", "b")
    instants = Instants(memory)

    def told(at: datetime, load: float, instants: Instants) -> dict[str, list[dict[str, object]]]:
        run = Run("host", ok=True, rows=1, duration_seconds=0.01 * load, error=None)
        row = {"cpu_count": 2, "load_average_count": load}
        return stamped([Result(run, at, 10.0, [("host_sample", row)])], identity, memory, instants)

    rounds = [told(AT, 1.0, instants), told(AT + 360 * STEP, 2.0, instants), told(AT, 3.0, instants)]
    rounds.append(told(AT, 4.0, Instants(memory)))
    with Store.open("duckdb::memory:", now=lambda: AT + timedelta(hours=2)) as store:
        for each in rounds:
            for schema, name in ((HostSample, "host_sample"), (CollectorRun, "collector_run")):
                written = store.append(schema, to_frame(schema, each[name]), source="test")
                assert (written.rows, written.rejected) == (1, 0)
        assert sorted(store.read(HostSample)["load_average_count"]) == [1.0, 2.0, 3.0, 4.0]
