"""People on pages: real websocket sessions against a hub, each with one action every few seconds."""

import asyncio
import json
import random
import statistics
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import websockets
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.Common_pb2 import StringArray
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.proto.WidgetStates_pb2 import WidgetState

from app.page import pages
from bench._measure import Answered, p95

PAGES = tuple(each.path for each in pages())

_MOST_BYTES = 64 * 1024 * 1024


@dataclass
class Session:
    """One visitor's socket, what its runs took by page, and what its browser keeps.

    `controls` are the identities of choices by their names, as far as they were seen.
    """

    socket: websockets.ClientConnection
    taken: dict[str, list[Answered]] = field(default_factory=dict)
    kept: dict[str, int] = field(default_factory=dict)
    controls: dict[str, WidgetState] = field(default_factory=dict)
    runs: int = 0
    age: int = 0

    async def act(self, page: str, choices: Mapping[str, str] | None = None) -> float:
        """Open a page, or run it again with other choices, and return how long its script took to answer."""
        message = BackMsg()
        message.rerun_script.page_name = page
        for name, value in (choices or {}).items():
            message.rerun_script.widget_states.widgets.append(self._chosen(name, value))
        # As a browser does: what came in its last runs is not sent again.
        self.kept = {each: run for each, run in self.kept.items() if self.runs - run <= self.age}
        self.runs += 1
        message.rerun_script.cached_message_hashes.extend(self.kept)
        began = time.perf_counter()
        await self.socket.send(message.SerializeToString())
        while True:
            answer = ForwardMsg()
            answer.ParseFromString(await self.socket.recv())
            if answer.HasField("new_session"):
                self.age = answer.new_session.config.max_cached_message_age
            self._meet(answer)
            if answer.metadata.cacheable or answer.ref_hash:
                self.kept[answer.hash or answer.ref_hash] = self.runs
            if answer.WhichOneof("type") == "script_finished":
                break
        taken = time.perf_counter() - began
        self.taken.setdefault(page, []).append((time.time(), taken))
        return taken

    def _meet(self, answer: ForwardMsg) -> None:
        """Remember a choice that a page offers; its identity ends with its name."""
        element = answer.delta.new_element
        if element.WhichOneof("type") == "selectbox":
            identity, values = element.selectbox.id, None
        elif element.WhichOneof("type") == "button_group":
            identity, values = element.button_group.id, StringArray()
        else:
            return
        self.controls[identity.rsplit("-", 1)[-1]] = WidgetState(id=identity, string_array_value=values)

    def _chosen(self, name: str, value: str) -> WidgetState:
        """Return a choice as a browser tells it."""
        state = WidgetState()
        state.CopyFrom(self.controls[name])
        if state.WhichOneof("value") == "string_array_value":
            state.string_array_value.data.append(value)
        else:
            state.string_value = value
        return state


async def opened(address: str) -> Session:
    """Connect as a browser does."""
    url = address.replace("http://", "ws://") + "/_stcore/stream"
    return Session(await websockets.connect(url, subprotocols=["streamlit"], max_size=_MOST_BYTES))


async def first(address: str) -> float:
    """Return how long the first page takes for the first visitor."""
    session = await opened(address)
    taken = await session.act("")
    await session.socket.close()
    return taken


async def warm(address: str, times: int) -> dict[str, float]:
    """Return the median of each page's warm rerun, alone on the hub."""
    session = await opened(address)
    for page in PAGES:
        await session.act(page)
    session.taken.clear()
    for _ in range(times):
        for page in PAGES:
            await session.act(page)
    await session.socket.close()
    return {page: statistics.median(taken for _, taken in answered) for page, answered in session.taken.items()}


async def crowd(address: str, people: int, seconds: float, pace: float) -> list[Answered]:
    """Return when each action of many people was over and how long it took, one action each `pace` seconds."""
    sessions = [await opened(address) for _ in range(people)]
    chance = random.Random(7)
    for session in sessions:
        await session.act("")
        session.taken.clear()

    async def visit(session: Session, delay: float) -> None:
        await asyncio.sleep(delay)
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            began = time.perf_counter()
            await session.act(chance.choice(PAGES))
            await asyncio.sleep(max(0.0, pace - (time.perf_counter() - began)))

    await asyncio.gather(*(visit(session, index * pace / people) for index, session in enumerate(sessions)))
    for session in sessions:
        await session.socket.close()
    return [each for session in sessions for answered in session.taken.values() for each in answered]


async def measure(address: str, people: int = 20, seconds: float = 60, pace: float = 5) -> dict[str, float]:
    """Return all figures of a hub."""
    opening = await first(address)
    alone = await warm(address, 5)
    together = [taken for _, taken in await crowd(address, people, seconds, pace)]
    return {
        "first_page_seconds": opening,
        "warm_rerun_seconds": max(alone.values()),
        "crowd_median_seconds": statistics.median(together),
        "crowd_p95_seconds": p95(together),
        "crowd_actions": len(together),
        **{f"warm {page or 'overview'}": value for page, value in alone.items()},
    }


if __name__ == "__main__":
    print(json.dumps(asyncio.run(measure(sys.argv[1], seconds=10))))
