"""What cached reads are told of changes, and who comes first."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from app import context as contexts
from app.context import Context
from ledger.config import load


@pytest.mark.parametrize(("is_served", "versions"), [(True, 6), (False, 2)])
def test_what_goes_on_growing_is_read_again_once_in_a_step_by_a_hub_that_has_time(
    is_served: bool, versions: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = [1_000.0]
    monkeypatch.setattr(contexts.time, "monotonic", lambda: at[0])
    here = Context(load(store={"url": "duckdb::memory:"}))
    first = here.version({"gpu_sample"})
    seen = set()
    for _ in range(240):
        here.grown({"gpu_sample"})
        at[0] += 0.25
        if is_served:
            here.say_growth()
        seen.add(here.version({"gpu_sample"}))
        assert here.version({"job"}) == here.version({"job"})
    # The first at once, and then one in ten seconds; in thirty where only pages ask.
    assert first not in seen
    assert len(seen) == versions
    here.changed({"gpu_sample"})
    assert here.version({"gpu_sample"}) not in seen


def test_work_that_can_wait_goes_on_when_agents_have_their_answers() -> None:
    waits = [5.0, 5.0, 0.7, 0.3, 5.0]
    here = Context(load(store={"url": "duckdb::memory:"}), longest_wait=lambda: waits.pop(0))
    assert here.is_over() is False
    assert waits == [5.0]


def test_work_that_can_wait_goes_on_in_a_while_where_agents_always_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    at = [1_000.0]

    def longest_wait() -> float:
        at[0] += 0.1
        return 5.0

    monkeypatch.setattr(contexts.time, "monotonic", lambda: at[0])
    monkeypatch.setattr(contexts, "_LOOK_SECONDS", 0.0)
    here = Context(load(store={"url": "duckdb::memory:"}), longest_wait=longest_wait)
    assert here.is_over() is False
    assert at[0] >= 1_001.0


def test_work_that_can_wait_gives_way_to_pages_but_not_to_one_that_takes_long_nor_to_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    at = [1_000.0]
    monkeypatch.setattr(contexts.time, "monotonic", lambda: at[0])
    monkeypatch.setattr(contexts, "_LOOK_SECONDS", 0.0)
    here = Context(load(store={"url": "duckdb::memory:"}))

    class Ticking(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            at[0] += 0.05
            return super().wait(timeout)

    here.stop = Ticking()

    def given() -> float:
        """Return for how long work gave way."""
        before = at[0]
        with ThreadPoolExecutor(max_workers=1) as beside:
            assert beside.submit(here.is_over).result() is False
        return at[0] - before

    assert given() == 0
    with here.visit():
        assert here.is_awaited() is False, "a page waits for what it does itself"
        assert here.is_busy() is False
        with here.visit():
            assert given() == pytest.approx(1.0, abs=0.06)
        assert given() == 0, "as long as it has given way"
        at[0] += 0.6
        assert given() == 0
    for _ in range(3):
        with here.visit():
            at[0] += 1.1
            assert given() == pytest.approx(0.9, abs=0.06), "until the page is two seconds old"
            assert given() == 0
    with pytest.raises(ZeroDivisionError), here.visit():
        raise ZeroDivisionError
    assert given() == 0


def test_a_hub_that_stops_waits_for_no_agent_between_parts_of_its_work() -> None:
    here = Context(load(store={"url": "duckdb::memory:"}), longest_wait=lambda: 5.0)
    here.stop.set()
    assert here.is_over() is True


def test_a_hub_is_busy_while_an_agent_waits_or_a_job_works() -> None:
    waits = [0.0]
    here = Context(load(store={"url": "duckdb::memory:"}), longest_wait=lambda: waits[0])

    def is_busy() -> bool:
        with ThreadPoolExecutor(max_workers=1) as beside:
            return beside.submit(here.is_busy).result()

    assert is_busy() is False
    with here.work:
        assert is_busy() is True
    assert is_busy() is False
    with here.visit():
        assert is_busy() is True
    assert is_busy() is False
    waits[0] = 5.0
    assert is_busy() is True
