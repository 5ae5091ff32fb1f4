"""Two agents of one machine under one name: the second says so, to its log and to the hub."""

import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from collectors._claim import claimed
from collectors.agent import Agent
from ledger.config import Settings
from tests.collectors.hub import FIXTURES, Hub

Start = Callable[..., Agent]


@pytest.fixture
def start(settings: Settings, tmp_path: Path) -> Iterator[Start]:
    """Start agents that end at once and hold what they hold until they are closed."""
    stop = threading.Event()
    stop.set()
    with ExitStack() as stack:

        def started(name: str, **more: object) -> Agent:
            section = settings.agent.model_copy(update={"spool": tmp_path / name, **more})
            given = settings.model_copy(update={"agent": section})
            agent = stack.enter_context(closing(Agent(given, procfs=FIXTURES / "proc", sysfs=FIXTURES / "sys")))
            agent.run(stop)
            return agent

        yield started


def told(agent: Agent, hub: Hub) -> list[str]:
    hub.batches.clear()
    assert agent._shipper.drain(threading.Event())
    return [row["event"] for row in hub.rows("node_event") if row["event"] != "agent_stopped"]


def test_a_second_agent_of_one_name_says_so(start: Start, hub: Hub) -> None:
    first = start("one.db")
    with capture_logs() as logs:
        second = start("two.db")
    assert [each["node"] for each in logs if "another agent of this machine" in each["event"]] == ["n1"]
    assert told(first, hub) == ["agent_started"]
    assert told(second, hub) == ["agent_started", "another_agent"]
    assert told(start("three.db", node="n2"), hub) == ["agent_started"]
    assert told(start("four.db", cluster="other"), hub) == ["agent_started"]

    first.close()
    assert told(start("five.db"), hub) == ["agent_started"], "a name is free when its agent ends"


def test_a_move_to_another_hub_is_no_second_agent() -> None:
    names = ("http://old:8501", "http://new:8501", "http://old:8501/")
    node = uuid.uuid4().hex
    held = [claimed(hub, "lab", node) for hub in names]
    assert [each is None for each in held] == [False, False, True]
    for each in held:
        if each is not None:
            each.close()
