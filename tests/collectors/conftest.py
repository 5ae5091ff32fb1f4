"""A hub, an agent's settings, and an agent that reads a recorded node."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from collectors.agent import Agent
from ledger.config import Settings
from ledger.sections import AgentSettings
from tests.collectors.hub import FIXTURES, Hub


@pytest.fixture
def hub() -> Iterator[Hub]:
    made = Hub()
    made.start()
    yield made
    made.stop()


@pytest.fixture
def settings(hub: Hub, tmp_path: Path) -> Settings:
    agent = AgentSettings(
        hub=f"http://127.0.0.1:{hub.port}",
        token=SecretStr("secret"),
        cluster="lab",
        node="n1",
        spool=tmp_path / "spool.db",
        ship_every_seconds=0.1,
    )
    return Settings(agent=agent, collectors={"nvml": {"enabled": False}})


@pytest.fixture
def agent(settings: Settings) -> Iterator[Agent]:
    made = Agent(settings, procfs=FIXTURES / "proc", sysfs=FIXTURES / "sys")
    yield made
    made.close()
