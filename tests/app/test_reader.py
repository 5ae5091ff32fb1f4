"""Batches of many agents, read in a process of its own: the same rows and answers, whatever becomes of that process."""

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from pathlib import Path
from threading import Semaphore
from typing import Any
from urllib.request import urlopen

import pytest
from starlette.responses import Response

from app.api._intake import Intake
from app.api._pace import Pace
from app.api._reader import LEAST, Read, Reader, Taken
from app.api._tokens import ANY_NODE, Caller
from app.context import Context
from collectors.wire import encode
from ledger.frames import to_frame
from ledger.store import Store
from ledger.tables import AgentToken, Batch, HostSample, RejectedRow
from tests.app.conftest import running
from tests.collectors.hub import soon
from tests.demo import DEMO_NOW, settings_of

ANYBODY = Caller("", ANY_NODE)
TAKEN = Taken(1_000_000, 1_000, 100_000)


class Watched(Reader):
    """One that counts the batches that it could read."""

    done: int = 0

    def read(self, *asked: object) -> Read:  # type: ignore[override]  what it is asked is passed on
        """Read, and count."""
        found = super().read(*asked)  # type: ignore[arg-type]  as above
        self.done += len(found.told)
        return found

    @property
    def pid(self) -> int:
        """Return the process's number."""
        assert self._process.pid is not None
        return self._process.pid


@pytest.fixture
def reader() -> Iterator[Watched]:
    made = Watched()
    made.begin().join(timeout=120)
    yield made
    made.close()


def body(node: str, batch_id: str = "", **changes: object) -> bytes:
    row = {"cluster": "c", "node": node, "boot_id": "b", "sampled_at": DEMO_NOW, "step_seconds": 10.0, **changes}
    return encode(batch_id or f"batch of {node}", node, "b", {"host_sample": [row]})


def mixed() -> list[bytes]:
    """Return what a hub may get at once: in order, mangled, out of range, out of time, twice, and for other tables."""
    good = [body(f"n{each}", load_average_count=each / 4) for each in range(40)]
    late = body("late", sampled_at=DEMO_NOW + timedelta(days=3))
    odd = [body("below", step_seconds=-1.0), body("word", step_seconds="ten"), body("strange", no_such_column=1)]
    other = encode("of another table", "n1", "b", {"cost_hour": [{"node": "n1"}]})
    return [*good[:20], b"none", late, *odd, other, body("n3"), body("n3", load_average_count=7.0), *good[20:]]


def answers(intake: Intake, bodies: list[bytes], caller: Caller = ANYBODY) -> list[tuple[int, object]]:
    async def all_at_once() -> list[Response]:
        # The first is taken alone; all others wait meanwhile and are taken together.
        return await asyncio.gather(*(intake.answer(caller, each) for each in bodies))

    with ThreadPoolExecutor(max_workers=1) as aside:
        found = aside.submit(asyncio.run, all_at_once()).result()
    return [(each.status_code, json.loads(bytes(each.body))) for each in found]


def stored(context: Context) -> tuple[object, ...]:
    refused = context.store.read(RejectedRow).select("table_name", "source", "reason", "row_json")
    return (
        sorted(context.store.read(HostSample).rows(), key=repr),
        sorted(context.store.read(Batch).select("cluster", "node", "batch_id", "row_count", "rejected_count").rows()),
        sorted(refused.rows()),
    )


def test_answers_and_rows_are_those_of_a_hub_that_reads_itself(
    empty_context: Context, tmp_path: Path, reader: Watched
) -> None:
    alone = Context(settings_of(tmp_path / "alone.duckdb"), now=lambda: DEMO_NOW)
    beside = answers(Intake(empty_context, Pace(60_000), reader), mixed())
    assert beside == answers(Intake(alone, Pace(60_000)), mixed())
    assert stored(empty_context) == stored(alone)
    alone.close()
    assert sorted({status for status, _ in beside}) == [200, 400, 422]
    assert reader.done >= 40, "what is in order is read beside, whatever stands between"


def test_a_process_that_is_killed_costs_time_alone(empty_context: Context, reader: Watched) -> None:
    intake = Intake(empty_context, Pace(60_000), reader)
    answers(intake, [body(f"a{each}") for each in range(2 * LEAST)])
    done = reader.done
    os.kill(reader.pid, signal.SIGKILL)
    for name in ("b", "c", "d"):
        told = answers(intake, [body(f"{name}{each}") for each in range(2 * LEAST)])
        assert [status for status, _ in told] == [200] * 2 * LEAST
        reader.begin().join(timeout=120)
    assert reader.done > done, "another process takes its place"
    assert empty_context.store.read(HostSample).height == 8 * LEAST


def test_a_batch_that_is_sent_again_counts_once(empty_context: Context, reader: Watched) -> None:
    intake = Intake(empty_context, Pace(60_000), reader)
    bodies = [body(f"n{each}") for each in range(2 * LEAST)]
    answers(intake, bodies)
    again = answers(intake, [*bodies, body("new")])
    assert [said["status"] for _, said in again if isinstance(said, dict)] == ["known"] * 2 * LEAST + ["kept"]
    assert empty_context.store.read(HostSample).height == 2 * LEAST + 1


@pytest.mark.parametrize("fails", [False, True], ids=["kept", "failed"])
def test_the_next_group_is_read_while_one_is_committed(empty_context: Context, reader: Watched, fails: bool) -> None:
    """Of each node a batch is in both groups, of half of them the same one, and of the others a later one."""
    begun, store = Semaphore(0), empty_context.store
    in_time: list[bool] = []
    say: list[Callable[[], object]] = []
    append, read = store.append_ready, reader.read

    def noted(*asked: object) -> Read:
        begun.release()
        return read(*asked)

    def slow(*given: Any) -> object:
        if not in_time:
            say[0]()
            # The read of its own group, and that of the next.
            in_time.append(begun.acquire(timeout=60) and begun.acquire(timeout=60))
            if fails:
                raise ZeroDivisionError
        return append(*given)

    reader.read, store.append_ready = noted, slow  # type: ignore[method-assign, assignment]
    nodes = [f"n{each}" for each in range(2 * LEAST)]
    later = [body(node, f"later {node}", sampled_at=DEMO_NOW + timedelta(seconds=10)) for node in nodes]
    second = [later[at] if at % 2 else body(node) for at, node in enumerate(nodes)]

    async def waves() -> list[Response]:
        intake = Intake(empty_context, Pace(60_000), reader)
        first = asyncio.gather(*(intake.answer(ANYBODY, body(node)) for node in nodes))
        # The first call is a group by itself; of all others the commit has begun.
        committing = asyncio.Event()
        say.append(partial(asyncio.get_running_loop().call_soon_threadsafe, committing.set))
        await asyncio.wait_for(committing.wait(), timeout=60)
        after = asyncio.gather(*(intake.answer(ANYBODY, each) for each in second))
        return [*await first, *await after]

    with ThreadPoolExecutor(max_workers=1) as aside:
        told = aside.submit(asyncio.run, waves()).result()
    assert in_time == [True]
    said = [json.loads(bytes(each.body))["status"] for each in told]
    assert said == ["kept"] * 2 * LEAST + ["known", "kept"] * LEAST
    assert store.read(HostSample).height == 3 * LEAST
    assert empty_context.longest_wait() == 0


def test_nodes_that_were_copied_may_give_their_batches_one_id(empty_context: Context, reader: Watched) -> None:
    intake = Intake(empty_context, Pace(60_000), reader)
    bodies = [body(f"n{each}", "the same") for each in range(2 * LEAST)]
    for status in ("kept", "known"):
        told = answers(intake, bodies)
        assert [said["status"] for _, said in told if isinstance(said, dict)] == [status] * 2 * LEAST
    assert empty_context.store.read(HostSample).height == 2 * LEAST
    assert reader.done


def test_who_calls_too_often_is_told_so_and_the_others_are_kept(empty_context: Context, reader: Watched) -> None:
    intake = Intake(empty_context, Pace(2), reader)
    flood = [body("eager", f"eager {each}", load_average_count=each) for each in range(5)]
    told = answers(intake, [*flood[:1], *(body(f"n{each}") for each in range(2 * LEAST)), *flood[1:]])
    assert [status for status, _ in told].count(429) == 3
    nodes = empty_context.store.read(HostSample)["node"].to_list()
    assert sorted(set(nodes)) == sorted({"eager", *(f"n{each}" for each in range(2 * LEAST))})
    assert reader.done >= 2 * LEAST


def test_a_token_of_another_node_is_refused_as_everywhere(empty_context: Context, reader: Watched) -> None:
    bodies = [body(f"n{each}") for each in range(2 * LEAST)]
    told = answers(Intake(empty_context, Pace(60_000), reader), bodies, Caller("c", "n5"))
    assert [status for status, _ in told].count(403) == 2 * LEAST - 1
    assert empty_context.store.read(HostSample)["node"].to_list() == ["n5"]


def test_more_rows_than_one_commit_takes_are_left_to_the_hub(reader: Watched) -> None:
    bodies = [body(f"n{each}") for each in range(LEAST)]
    callers = [ANYBODY] * LEAST
    assert len(reader.read(bodies, callers, TAKEN, DEMO_NOW).told) == LEAST
    assert reader.read(bodies, callers, TAKEN._replace(all_rows=LEAST - 1), DEMO_NOW) == Read()
    reader.close()
    assert reader.read(bodies, callers, TAKEN, DEMO_NOW) == Read()


def _read_beside(hub: int) -> list[int]:
    """Return the processes of a hub that read batches."""
    found = []
    for each in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            command = (each / "cmdline").read_bytes().split(b"\0")
            parent = (each / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()[1]
            if b"app.api._reader" in command and int(parent) == hub:
                found.append(int(each.name))
    return found


@pytest.mark.parametrize(("nodes", "count"), [(299, 0), (300, 1)])
def test_a_hub_that_knows_many_nodes_begins_to_read_beside_before_they_come(
    tmp_path: Path, nodes: int, count: int
) -> None:
    tokens = [
        {"token_sha256": f"{each:064x}", "node": f"n{min(each, nodes - 1)}", "cluster": "c", "created_at": DEMO_NOW}
        for each in range(nodes + 5)
    ]
    with Store.open(f"duckdb:{tmp_path / 'clusterledger.duckdb'}") as store:
        store.append(AgentToken, to_frame(AgentToken, tokens), source="test")
    with running(tmp_path) as hub:
        with urlopen(f"{hub.url}/api/v1/health") as answer:  # noqa: S310  the hub on loopback
            assert answer.status == 200
        soon(lambda: len(_read_beside(hub.process.pid)) >= count)
        assert len(_read_beside(hub.process.pid)) == count
