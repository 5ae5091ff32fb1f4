"""What waits is taken with one commit: a batch costs a hub little beside a commit, which all of a moment share.

Each call waits for the answer to its own batch. A call that comes alone is taken at once.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final
from weakref import WeakKeyDictionary

from anyio import to_thread
from starlette.responses import Response

from app.api._answers import refusal
from app.api._batch import accepted, too_often
from app.api._kept import kept, kept_as_read
from app.api._pace import Pace
from app.api._reader import LEAST, Read, Reader, Taken
from app.api._tokens import ANY_NODE, Caller
from app.context import Context
from collectors.wire import Batch

_EVERY_SECONDS: Final = 0.4
"""Pace of commits under load: one costs the same for ten batches and for a hundred. What takes longer than that is
followed by the next at once: a pause would only make those who wait more."""

_GROUP_BATCHES: Final = 400
_GROUP_BYTES: Final = 8_388_608
_GROUP_ROWS: Final = 100_000
_MOST_BYTES: Final = 67_108_864
"""What may wait; beyond it callers are told to come again."""


@dataclass
class _Call:
    caller: Caller
    body: bytes
    answered: asyncio.Future[Response]
    came_at: float = field(default_factory=time.monotonic)


@dataclass
class _Queue:
    """Calls of one event loop that wait, in the order in which they came.

    `firsts` are the first calls of the groups that were taken and are not answered yet.
    """

    calls: list[_Call] = field(default_factory=list)
    waiting_bytes: int = 0
    firsts: list[_Call] = field(default_factory=list)
    worker: asyncio.Task[None] | None = None

    def take(self) -> list[_Call]:
        """Take what fits into one group, at least one call."""
        count, size = 0, 0
        for call in self.calls[:_GROUP_BATCHES]:
            size += len(call.body)
            if count and size > _GROUP_BYTES:
                break
            count += 1
        taken, self.calls = self.calls[:count], self.calls[count:]
        self.waiting_bytes -= sum(len(call.body) for call in taken)
        self.firsts.append(taken[0])
        return taken

    def oldest(self) -> float | None:
        """Return when the first of those came that wait for their answer."""
        return min((call.came_at for call in (*self.firsts, *self.calls[:1])), default=None)


class Intake:
    """Takes the batches of all callers into one store.

    While one group is committed the next one is read: that is done in another process.
    """

    def __init__(self, context: Context, pace: Pace, reader: Reader | None = None) -> None:
        self._context = context
        self._pace = pace
        self._reader = reader
        self._oldest: float | None = None
        context.longest_wait = self.longest_wait
        # One queue in a hub; tests of an application have a loop for each call.
        self._queues: WeakKeyDictionary[asyncio.AbstractEventLoop, _Queue] = WeakKeyDictionary()

    async def answer(self, caller: Caller, body: bytes) -> Response:
        """Return the answer to a body, after the commit."""
        loop = asyncio.get_running_loop()
        queue = self._queues.setdefault(loop, _Queue())
        if queue.calls and queue.waiting_bytes + len(body) > _MOST_BYTES:
            message = f"hub: found {queue.waiting_bytes} bytes of batches that wait, expected at most {_MOST_BYTES}"
            return refusal(503, message, hint="come again in a while", exit_code=1, headers={"Retry-After": "10"})
        call = _Call(caller, body, loop.create_future())
        queue.calls.append(call)
        queue.waiting_bytes += len(body)
        if queue.worker is None:
            queue.worker = asyncio.create_task(self._work(queue))
        return await call.answered

    def longest_wait(self) -> float:
        """Return for how many seconds the call has waited that came first of those that wait; 0 for none."""
        oldest = self._oldest
        return 0.0 if oldest is None else time.monotonic() - oldest

    async def _work(self, queue: _Queue) -> None:
        """Answer calls until none waits, one group after the other; while one is committed the next may be read."""
        before: asyncio.Task[None] | None = None
        try:
            while queue.calls:
                if before is not None and not self._reads_beside(queue.calls):
                    # What could not be read meanwhile waits with all that comes meanwhile.
                    await asyncio.wait([before])
                began, count, begins = time.perf_counter(), len(queue.calls), asyncio.Event()
                before = asyncio.create_task(self._answer(queue, queue.take(), before, begins))
                await begins.wait()
                if count > 1:
                    await asyncio.sleep(max(0.0, _EVERY_SECONDS - (time.perf_counter() - began)))
                if not queue.calls:
                    await asyncio.wait([before])
        finally:
            queue.worker = None
            # Only a loop that ends leaves any.
            for call in queue.calls:
                call.answered.cancel()

    async def _answer(
        self, queue: _Queue, calls: Sequence[_Call], before: asyncio.Task[None] | None, begins: asyncio.Event
    ) -> None:
        """Read a group, and commit it after the one before; `begins` is set when that is done."""
        self._oldest = queue.oldest()
        try:
            read = await self._read(calls)
            if before is not None:
                await asyncio.wait([before])
            begins.set()
            await self._settle(calls, read)
        finally:
            begins.set()
            queue.firsts.remove(calls[0])
            self._oldest = queue.oldest()
            for call in calls:
                call.answered.cancel()

    def _reads_beside(self, calls: Sequence[_Call]) -> bool:
        return self._reader is not None and self._reader.is_ready and len(calls) >= LEAST

    async def _settle(self, calls: Sequence[_Call], read: Read) -> None:
        """Answer calls; where one brings the others down, each by itself, and that one with the error."""
        work = to_thread.run_sync(self._answers, calls, read)
        (outcome,) = await asyncio.gather(work, return_exceptions=True)
        if isinstance(outcome, BaseException) and len(calls) > 1:
            for call in calls:
                await self._settle([call], Read())
            return
        for place, call in enumerate(calls):
            # A caller may have gone away.
            if call.answered.done():
                continue
            if isinstance(outcome, BaseException):
                call.answered.set_exception(outcome)
            else:
                call.answered.set_result(outcome[place])

    async def _read(self, calls: Sequence[_Call]) -> Read:
        """Return what of calls could be read beside; nothing where that failed."""
        if self._reader is None or len(calls) < LEAST:
            return Read()
        limits = self._context.settings.hub
        work = to_thread.run_sync(
            self._reader.read,
            [call.body for call in calls],
            [call.caller for call in calls],
            Taken(limits.ingest_max_bytes, limits.ingest_max_rows, _GROUP_ROWS),
            self._context.now(),
        )
        (outcome,) = await asyncio.gather(work, return_exceptions=True)
        # What fails here fails again where the hub reads it, and is told there.
        return Read() if isinstance(outcome, BaseException) else outcome

    def _answers(self, calls: Sequence[_Call], read: Read) -> list[Response]:
        """Return the answers to calls, in their order; no more of them is unpacked at once than one commit takes.

        What agents bring after an outage is small as it comes, and hundreds of megabytes when it is unpacked.
        """
        limits = self._context.settings.hub
        answers = self._as_read(calls, read)
        group: dict[int, Batch] = {}
        rows = 0
        for place, call in enumerate(calls):
            if place in answers:
                continue
            found = accepted(call.body, call.caller, self._pace, limits)
            if isinstance(found, Response):
                answers[place] = found
                continue
            rows += found.row_count
            if group and rows > _GROUP_ROWS:
                answers |= self._kept(group)
                group, rows = {}, found.row_count
            group[place] = found
        answers |= self._kept(group)
        return [answers[place] for place in range(len(calls))]

    def _as_read(self, calls: Sequence[_Call], read: Read) -> dict[int, Response]:
        """Return the answers to batches that were read beside, by their place."""
        if not read.told:
            return {}
        # The hub notes how far its clock came, and so sees when it goes back.
        self._context.went_back()
        limits = self._context.settings.hub
        answers = {
            place: too_often(told.node, limits.ingest_calls_per_minute, seconds)
            for place, told in read.told.items()
            if calls[place].caller.node == ANY_NODE
            and (seconds := self._pace.wait(Caller(calls[place].caller.cluster, told.node)))
        }
        return answers | kept_as_read(self._context, read, answers)

    def _kept(self, group: Mapping[int, Batch]) -> dict[int, Response]:
        """Return the answers to batches, after their commit."""
        return dict(zip(group, kept(self._context, list(group.values())), strict=True)) if group else {}
