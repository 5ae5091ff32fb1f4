"""The configuration is read again while the agent runs: what did not change goes on, a bad one changes nothing."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from structlog.testing import capture_logs

from collectors._round import Source
from collectors.agent import Agent
from collectors.fake_nvml import FakeNvml, Gpu, Scenario
from ledger.config import Settings, load
from tests.collectors.hub import FIXTURES, Hub, soon


@pytest.fixture
def file(hub: Hub, tmp_path: Path) -> Path:
    path = tmp_path / "clusterledger.toml"
    path.write_text(text(hub, tmp_path), encoding="utf-8")
    return path


def text(at: Hub, folder: Path, more: str = "", **agent: object) -> str:
    values = {
        "hub": f"http://127.0.0.1:{at.port}",
        "token": "first",
        "node": "n1",
        "spool": str(folder / "spool.db"),
        "ship_every_seconds": 0.1,
        **agent,
    }
    lines = [f"{name} = {value!r}" for name, value in values.items()]
    return "\n".join(["[agent]", *lines, more, ""])


@pytest.fixture
def agent(file: Path) -> Iterator[Agent]:
    made = started(file)
    yield made
    made.close()


def started(file: Path, **offers: object) -> Agent:
    def reread() -> Settings:
        return load(file)

    return Agent(reread(), procfs=FIXTURES / "proc", sysfs=FIXTURES / "sys", reread=reread, offers=offers)


def by_name(agent: Agent) -> dict[str, Source]:
    return {source.name: source for source in agent._sources}


@contextmanager
def looping(agent: Agent) -> Iterator[None]:
    stop = threading.Event()
    loop = threading.Thread(target=agent.run, args=(stop,))
    loop.start()
    try:
        yield
    finally:
        stop.set()
        loop.join(10)
    assert not loop.is_alive()


def test_only_what_changed_is_opened_again(agent: Agent, file: Path, hub: Hub) -> None:
    before = by_name(agent)
    changed = '[collectors.ethernet]\ndevices = ["eth0"]\n[collectors.tcp]\nenabled = false\n'
    file.write_text(text(hub, file.parent, changed), encoding="utf-8")
    with capture_logs() as said:
        assert agent.reload() is True
    after = by_name(agent)
    assert set(before) - set(after) == {"tcp"}
    assert {name for name in after if after[name] is not before[name]} == {"ethernet"}
    (told,) = [each for each in said if each["event"] == "configuration was read again"]
    assert (told["opened"], told["ended"]) == (["ethernet"], ["tcp"])
    file.write_text(text(hub, file.parent), encoding="utf-8")
    assert agent.reload() is True
    assert set(by_name(agent)) == set(before)
    assert by_name(agent)["host"] is before["host"]
    assert agent.counts.reloads == 2


@pytest.mark.parametrize(
    ("more", "values", "words"),
    [
        ("[collectors.host]\nevery_seconds = 0", {}, "collectors.host.every_seconds: found 0"),
        ("[collectors.hosst]", {}, "collectors.hosst: found no such collector"),
        ("", {"ship_every_seconds": -1}, "agent.ship_every_seconds: found -1, expected more than 0"),
        ("nonsense", {}, "found text that is no TOML"),
        ("", {"hub": ""}, "agent.hub: found nothing"),
        ("", {"ca_file": "/nowhere/ca.pem"}, "agent.ca_file: found /nowhere/ca.pem: No such file"),
        ("", {"node": "n2"}, "agent.node: found n2, expected n1 while the agent runs"),
        ("", {"spool": "/var/other.db"}, "agent.spool: found /var/other.db, expected"),
        ("", {"metrics_port": 0, "metrics_address": "192.0.2.1"}, "agent.metrics_port: 192.0.2.1:0"),
    ],
)
def test_a_bad_configuration_is_refused_and_changes_nothing(
    agent: Agent, file: Path, hub: Hub, more: str, values: dict[str, Any], words: str
) -> None:
    before = (agent._settings, agent._sources, agent.served)
    file.write_text(text(hub, file.parent, more, **values), encoding="utf-8")
    with capture_logs() as said:
        assert agent.reload() is False
    (told,) = [each for each in said if each["event"] == "configuration was refused; the one before stays"]
    assert words in told["error"]
    assert (agent._settings, agent._sources, agent.served) == before
    assert agent.counts.refused_reloads == 1
    assert agent.once() is True


def test_another_hub_and_token_get_what_the_spool_holds(agent: Agent, file: Path, hub: Hub) -> None:
    hub.stop()
    other = Hub()
    other.start()
    try:
        with looping(agent):
            soon(lambda: agent.spool.waiting() > 0)
            file.write_text(text(other, file.parent, token="second"), encoding="utf-8")
            agent.ask_to_reload()
            soon(lambda: other.rows("host_sample"))
            assert other.tokens == {"Bearer second"}
            assert "agent_started" in {row["event"] for row in other.rows("node_event")}, "nothing was lost on the way"
            soon(lambda: agent.spool.waiting() == 0)
    finally:
        other.stop()


def test_a_collector_that_stays_keeps_its_session_and_its_samples(file: Path, hub: Hub) -> None:
    """GPM needs the sample of the round before: a reload must not leave a gap in it."""
    opened: list[float] = []

    class Counting(FakeNvml):
        def _nvmlInit(self) -> None:  # noqa: N802
            opened.append(time.monotonic())
            super()._nvmlInit()

    fake = Counting(Scenario((Gpu("GPU-a"),)), time.monotonic)
    pace = "[collectors.nvml]\nevery_seconds = 1.5"
    file.write_text(text(hub, file.parent, pace), encoding="utf-8")
    agent = started(file, library=fake)
    with looping(agent):
        soon(lambda: len(hub.rows("gpu_sample")) >= 2)
        file.write_text(text(hub, file.parent, f"{pace}\n[collectors.host]\nevery_seconds = 1"), encoding="utf-8")
        agent.ask_to_reload()
        soon(lambda: agent.counts.reloads == 1)
        seen = len(hub.rows("gpu_sample"))
        soon(lambda: len(hub.rows("gpu_sample")) >= seen + 2)
        soon(lambda: len(hub.rows("host_sample")) >= 3)
    rows = hub.rows("gpu_sample")
    assert len(opened) == 1
    assert rows[0].get("sm_active_ratio") is None, "nothing to compare the first one with"
    after = [row.get("sm_active_ratio") for row in rows[seen:]]
    assert any(ratio is not None for ratio in after), "the sample from before the reload is kept"
    assert {row["step_seconds"] for row in hub.rows("host_sample")} == {10.0, 1.0}
    agent.close()


def test_rounds_of_a_collector_that_ends_are_told(agent: Agent, file: Path, hub: Hub) -> None:
    def told(name: str) -> list[int]:
        agent._shipper.drain(threading.Event())
        return [row["round_count"] for row in hub.rows("collector_run") if row["collector"] == name]

    def round_of(*names: str) -> None:
        # Within four milliseconds a round has no instant of its own after the one before: they would be told apart.
        time.sleep(0.005)
        agent._keep([every[name].collect() for name in names], [])

    every = by_name(agent)
    for _ in range(4):
        round_of("host", "tcp")
    assert (told("host"), told("tcp")) == ([1], [1])
    file.write_text(text(hub, file.parent, "[collectors.tcp]\nenabled = false"), encoding="utf-8")
    assert agent.reload() is True
    # The round that it did meanwhile came after the reload.
    round_of("tcp")
    assert (told("host"), told("tcp")) == ([1], [1, 4])
    agent._keep([], [], is_last=True)
    assert (told("host"), told("tcp")) == ([1, 3], [1, 4])


def test_metrics_can_be_switched_on_and_off(agent: Agent, file: Path, hub: Hub) -> None:
    file.write_text(text(hub, file.parent, metrics_port=0), encoding="utf-8")
    assert agent.reload() is True
    assert agent.served is not None
    address = agent.served.address
    assert "reloads_total" in httpx2.get(address, trust_env=False).text
    same = agent.served
    assert agent.reload() is True
    assert agent.served is same
    file.write_text(text(hub, file.parent), encoding="utf-8")
    assert agent.reload() is True
    assert agent.served is None
    with pytest.raises(httpx2.ConnectError):
        httpx2.get(address, trust_env=False)


def test_a_hangup_signal_reads_the_file_again_and_ends_nothing(file: Path, hub: Hub, tmp_path: Path) -> None:
    program = "from app.cli import main; main()"
    outside = {name: value for name, value in os.environ.items() if not name.startswith("CLUSTERLEDGER_")}
    environment = {**outside, "PYTHONPATH": str(Path(__file__).parents[2])}
    log = (tmp_path / "log").open("wb")
    process = subprocess.Popen(
        [sys.executable, "-c", program, "--config", str(file), "agent"], env=environment, stderr=log, cwd=tmp_path
    )
    try:
        soon(lambda: hub.rows("host_sample"), seconds=60)
        file.write_text(text(hub, file.parent, "[collectors.host]\nevery_seconds = 0"), encoding="utf-8")
        process.send_signal(signal.SIGHUP)
        soon(lambda: b"configuration was refused" in (tmp_path / "log").read_bytes())
        file.write_text(
            text(hub, file.parent, "[collectors.host]\nevery_seconds = 1", token="second"), encoding="utf-8"
        )
        process.send_signal(signal.SIGHUP)
        soon(lambda: "Bearer second" in hub.tokens)
        soon(lambda: 1.0 in {row["step_seconds"] for row in hub.rows("host_sample")})
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()
        log.close()
    assert b"collectors.host.every_seconds: found 0" in (tmp_path / "log").read_bytes()
