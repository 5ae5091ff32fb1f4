"""Many callers at once: one commit for all of them, one answer for each."""

import asyncio
from collections.abc import Hashable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
from starlette.responses import Response

from app.api._intake import Intake
from app.api._pace import Pace
from app.api._tokens import ANY_NODE, Caller
from app.context import Context
from collectors.wire import encode
from ledger.tables import Batch, HostSample, RejectedRow
from tests.demo import DEMO_NOW, settings_of

ANYBODY = Caller("", ANY_NODE)


class Stumbling(Pace):
    """A pace that breaks for one node, as an error of the program would."""

    def wait(self, caller: Hashable) -> int:
        """Return 0, or break."""
        assert isinstance(caller, Caller)
        if caller.node == "bad":
            raise ZeroDivisionError(caller.node)
        return super().wait(caller)


def body(node: str, batch_id: str = "") -> bytes:
    row = {"cluster": "c", "node": node, "boot_id": "b", "sampled_at": DEMO_NOW, "step_seconds": 10.0}
    return encode(batch_id or f"batch of {node}", node, "b", {"host_sample": [row]})


def answers(intake: Intake, *bodies: bytes) -> list[Response | BaseException]:
    async def all_at_once() -> list[Response | BaseException]:
        return await asyncio.gather(*(intake.answer(ANYBODY, each) for each in bodies), return_exceptions=True)

    # A browser of another test may have left a loop in this thread.
    with ThreadPoolExecutor(max_workers=1) as aside:
        return aside.submit(asyncio.run, all_at_once()).result()


def turns(context: Context) -> int:
    query = "SELECT greatest((SELECT turn_count FROM fence), max(turn_count)) FROM partition_change"
    return int(context.store.select(query).item())


def test_calls_that_wait_share_a_commit(empty_context: Context) -> None:
    before = turns(empty_context)
    found = answers(Intake(empty_context, Pace(60_000)), *(body(f"n{each}") for each in range(100)))
    assert [each.status_code for each in found if isinstance(each, Response)] == [200] * 100
    assert turns(empty_context) - before <= 2
    assert empty_context.store.read(HostSample).height == empty_context.store.read(Batch).height == 100


def test_how_long_calls_wait_is_told_until_they_are_answered(empty_context: Context) -> None:
    asked: list[float] = []

    class Asking(Pace):
        def wait(self, caller: Hashable) -> int:
            asked.append(empty_context.longest_wait())
            return super().wait(caller)

    intake = Intake(empty_context, Asking(60_000))
    assert empty_context.longest_wait() == 0
    answers(intake, *(body(f"n{each}") for each in range(3)))
    assert len(asked) == 3
    assert 0 < asked[0] <= asked[1] <= asked[2]
    assert empty_context.longest_wait() == 0


def test_a_call_that_breaks_the_program_breaks_no_other(empty_context: Context) -> None:
    found = answers(Intake(empty_context, Stumbling(60_000)), *(body(node) for node in ("a", "b", "bad", "c", "d")))
    assert isinstance(found.pop(2), ZeroDivisionError)
    assert [each.status_code for each in found if isinstance(each, Response)] == [200] * 4
    assert sorted(empty_context.store.read(HostSample)["node"]) == ["a", "b", "c", "d"]


def test_the_same_batch_in_several_calls_at_once_counts_once(empty_context: Context) -> None:
    found = answers(Intake(empty_context, Pace(60_000)), *(body("a", "same") for _ in range(20)))
    said = [bytes(each.body) for each in found if isinstance(each, Response)]
    assert sorted(b"kept" in each for each in said) == [False] * 19 + [True]
    assert empty_context.store.read(HostSample).height == 1


def test_one_commit_takes_so_many_rows_and_each_answer_is_its_own(
    empty_context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.api._intake._GROUP_ROWS", 3)
    before = turns(empty_context)
    bodies = [body(f"n{each % 8}") for each in range(10)]
    found = answers(Intake(empty_context, Pace(60_000)), *bodies[:4], b"none", *bodies[4:])
    told = [each.status_code for each in found if isinstance(each, Response)]
    assert told == [200] * 4 + [400] + [200] * 6
    assert turns(empty_context) - before >= 3
    assert empty_context.store.read(HostSample).height == 8


def test_what_waits_is_bounded(empty_context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.api._intake._MOST_BYTES", 1000)
    found = answers(Intake(empty_context, Pace(60_000)), *(body(f"n{each}") for each in range(100)))
    codes = [each.status_code for each in found if isinstance(each, Response)]
    assert set(codes) == {200, 503}
    assert empty_context.store.read(HostSample).height == codes.count(200)
    refused = next(each for each in found if isinstance(each, Response) and each.status_code == 503)
    assert refused.headers["Retry-After"] == "10"


def test_rows_wait_for_a_hub_whose_clock_went_back(tmp_path: Path) -> None:
    hub_clock = [DEMO_NOW]
    context = Context(settings_of(tmp_path / "hub.duckdb"), now=lambda: hub_clock[0])
    intake = Intake(context, Pace(60_000))
    assert [each.status_code for each in answers(intake, body("a")) if isinstance(each, Response)] == [200]
    hub_clock[0] -= timedelta(hours=2)
    (found,) = answers(intake, body("b"))
    assert isinstance(found, Response)
    assert found.status_code == 503
    assert b"its clock went back by 2:00:00" in bytes(found.body)
    assert context.store.read(RejectedRow).is_empty()
    hub_clock[0] = DEMO_NOW + timedelta(minutes=1)
    assert [each.status_code for each in answers(intake, body("b")) if isinstance(each, Response)] == [200]
    assert sorted(context.store.read(HostSample)["node"]) == ["a", "b"]
    context.close()


def test_a_node_that_is_ahead_of_a_steady_hub_is_refused_its_rows(tmp_path: Path) -> None:
    context = Context(settings_of(tmp_path / "hub.duckdb"), now=lambda: DEMO_NOW - timedelta(hours=2))
    (found,) = answers(Intake(context, Pace(60_000)), body("a"))
    assert isinstance(found, Response)
    assert found.status_code == 200
    assert context.store.read(RejectedRow).height == 1
    context.close()
