"""The agent against a hub on loopback: away, back, slow, and refusing; the loop; and the process itself."""

import json
import signal
import sqlite3
import subprocess
import sys
import threading
from itertools import pairwise
from pathlib import Path
from statistics import median

import pytest
from structlog.testing import capture_logs

from collectors._spool import Spool
from collectors._standing import all_put_aside
from collectors.agent import Agent, node_collectors
from collectors.fake_nvml import FakeNvml, Gpu, Scenario
from ledger.config import Settings
from ledger.errors import ConfigError
from ledger.exposition import exposition
from ledger.registry import Row
from ledger.sections import AgentSettings
from tests.collectors.hub import FIXTURES, Hub, soon


def test_once_collects_and_ships_everything(agent: Agent, hub: Hub) -> None:
    assert agent.once() is True
    assert agent.spool.waiting() == 0
    assert hub.tokens == {"Bearer secret"}
    (batch,) = hub.batches.values()
    assert (batch.node, batch.boot_id) == ("n1", "11111111-2222-3333-4444-555555555555")
    (host,) = hub.rows("host_sample")
    assert (host["cluster"], host["node"], host["cpu_count"]) == ("lab", "n1", 2)
    assert isinstance(host["sampled_at"], int)


def test_a_hub_that_is_away_costs_no_row(agent: Agent, hub: Hub) -> None:
    hub.stop()
    assert agent.once() is False
    assert agent.once() is False
    waiting = agent.spool.waiting()
    assert waiting > 0
    hub.start()
    assert agent.once() is True
    assert agent.spool.waiting() == 0
    assert len(hub.rows("host_sample")) == 3


def test_an_answer_that_is_lost_leads_to_the_same_batch_again(agent: Agent, hub: Hub) -> None:
    hub.lose_answer = True
    assert agent.once() is False
    assert agent.once() is True
    assert hub.received[0] == hub.received[1], "the second try has the id of the first"
    assert len(hub.batches) == len(set(hub.received))
    assert len(hub.rows("host_sample")) == 2


@pytest.mark.parametrize("status", [401, 403, 404, 429, 500, 503])
def test_what_can_be_corrected_is_tried_again(agent: Agent, hub: Hub, status: int) -> None:
    hub.status = status
    assert agent.once() is False
    assert agent.spool.waiting() > 0


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_refused_batch_is_put_aside_with_its_reason(agent: Agent, hub: Hub, settings: Settings, status: int) -> None:
    hub.status = status
    assert agent.once() is True
    assert agent.spool.waiting() == 0
    lines = settings.agent.spool.with_suffix(".refused.jsonl").read_text().splitlines()
    refused = [json.loads(line) for line in lines]
    assert {(each["status"], each["reason"]) for each in refused} == {(status, '{"error": "because"}')}
    hosts = [row for each in refused for row in each["tables"].get("host_sample", [])]
    assert [row["cpu_count"] for row in hosts] == [2]
    # The hub is told of them by an event, which this one refuses too: it is told of no further.
    told = [each for each in refused if _events(each) == ["rows_refused"]]
    assert [list(each["tables"]) for each in told] == [["node_event"]]
    # A batch is one version or none; where its rows or its size are refused, each table stands for itself.
    assert (len(refused) == 1 + len(told)) == (status == 400)
    assert told[0]["tables"]["node_event"][0]["row_count"] == sum(
        len(rows) for each in refused if each not in told for rows in each["tables"].values()
    )


def _events(batch: dict[str, dict[str, list[Row]]]) -> list[object]:
    return [row["event"] for row in batch["tables"].get("node_event", [])]


def test_an_agent_without_a_token_sends_none(settings: Settings, hub: Hub) -> None:
    bare = settings.agent.model_copy(update={"token": None})
    agent = Agent(settings.model_copy(update={"agent": bare}), procfs=FIXTURES / "proc", sysfs=FIXTURES / "sys")
    assert agent.once() is True
    assert hub.tokens == {""}
    agent.close()


def test_the_loop_collects_at_a_pace_and_ends_when_told(settings: Settings, hub: Hub) -> None:
    paces = {name: {"every_seconds": 1.0} for name in node_collectors()} | {"nvml": {"enabled": False}}
    agent = Agent(settings.model_copy(update={"collectors": paces}), procfs=FIXTURES / "proc", sysfs=FIXTURES / "sys")
    stop = threading.Event()
    loop = threading.Thread(target=agent.run, args=(stop,))
    loop.start()
    soon(lambda: len(hub.rows("host_sample")) >= 4)
    stop.set()
    loop.join(60)
    assert not loop.is_alive()
    times = [row["sampled_at"] for row in hub.rows("host_sample")]
    steps = [after - before for before, after in pairwise(times)]
    # A machine that is busy delays a round; the pace is what most of them keep.
    assert 800 <= median(steps) <= 1_500, steps
    assert {row["step_seconds"] for row in hub.rows("host_sample")} == {1.0}
    assert "agent_started" in {row["event"] for row in hub.rows("node_event")}
    assert hub.rows("node")[0]["instance_type"] == "p5.48xlarge"
    told = [row for row in hub.rows("collector_run") if row["collector"] == "host" and row["is_ok"]]
    assert (told[0]["round_count"], told[0]["sampled_at"]) == (1, times[0]), "the first round is told at once"
    agent._shipper.drain(threading.Event())
    samples = hub.rows("host_sample")
    told = [row for row in hub.rows("collector_run") if row["collector"] == "host" and row["is_ok"]]
    assert sum(row["round_count"] for row in told) == sum(row["row_count"] for row in told) == len(samples)
    assert told[-1]["sampled_at"] == samples[-1]["sampled_at"], "what is left is told when the agent stops"
    agent.close()
    with sqlite3.connect(settings.agent.spool) as connection:
        assert connection.execute("SELECT count(*) FROM memory WHERE key = 'boot_id'").fetchone() == (1,)
    connection.close()


def test_a_round_that_is_asked_for_is_told_whatever_was_before(agent: Agent, hub: Hub) -> None:
    for _ in range(3):
        assert agent.once() is True
    runs = [row for row in hub.rows("collector_run") if row["collector"] == "host"]
    assert [(row["round_count"], row["row_count"]) for row in runs] == [(1, 1)] * 3
    assert [row["sampled_at"] for row in runs] == [row["sampled_at"] for row in hub.rows("host_sample")]


def test_one_hanging_collector_stops_no_other(settings: Settings, hub: Hub) -> None:
    release = threading.Event()

    class Hanging(FakeNvml):
        def _nvmlDeviceGetCount(self) -> int:  # noqa: N802
            release.wait(600)
            return 0

    sections = {"nvml": {"deadline_seconds": 0.2}, "host": {"every_seconds": 1.0}}
    offers = {"library": Hanging(Scenario(), lambda: 0.0)}
    changed = settings.model_copy(update={"collectors": sections})
    agent = Agent(changed, procfs=FIXTURES / "proc", sysfs=FIXTURES / "sys", offers=offers)
    stop = threading.Event()
    loop = threading.Thread(target=agent.run, args=(stop,))
    loop.start()
    try:
        soon(lambda: len(hub.rows("host_sample")) >= 3)
        runs = [row for row in hub.rows("collector_run") if row["collector"] == "nvml"]
        assert [(row["is_ok"], row["error"]) for row in runs] == [(False, "no end after 0.2 s")]
    finally:
        release.set()
        stop.set()
        loop.join(60)
        agent.close()


def test_a_full_disk_costs_rows_that_are_counted_later(agent: Agent, hub: Hub) -> None:
    connection = agent.spool._connection
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count = {pages}")
    for _ in range(40):
        agent._keep([each.collect_in_time() for each in agent._sources if each.name == "host"], [])
    kept = agent.spool.waiting()
    connection.execute("PRAGMA max_page_count = 100000")
    assert agent.once() is True
    (event,) = [row for row in hub.rows("node_event") if row["event"] == "rows_dropped"]
    assert event["row_count"] == 40 - sum(1 for row in hub.rows("host_sample")) + 1
    assert kept < 40 * 2


def test_a_spool_that_dropped_rows_says_so(settings: Settings, hub: Hub) -> None:
    small = settings.agent.model_copy(update={"spool_max_bytes": 4_000})
    agent = Agent(settings.model_copy(update={"agent": small}), procfs=FIXTURES / "proc", sysfs=FIXTURES / "sys")
    hub.stop()
    for _ in range(8):
        agent.once()
    hub.start()
    assert agent.once() is True
    dropped = [row["row_count"] for row in hub.rows("node_event") if row["event"] == "rows_dropped"]
    assert dropped
    assert all(count > 0 for count in dropped)
    agent.close()


def test_rows_that_a_disk_has_damaged_are_told_and_counted(settings: Settings, hub: Hub) -> None:
    hub.status = 503
    agent = Agent(settings, procfs=FIXTURES / "proc", sysfs=FIXTURES / "sys")
    agent.once()
    waiting = agent.spool.waiting()
    with agent.spool._connection as connection:
        connection.execute("UPDATE entry SET body = substr(body, 1, length(body) / 2)")
    hub.status = 200
    assert agent.once() is True
    assert agent.once() is True
    (event,) = [row for row in hub.rows("node_event") if row["event"] == "rows_damaged"]
    assert event["row_count"] == waiting
    assert "disk" in event["message"]
    shown = exposition(agent.counts.families(agent.spool, []))
    assert f"clusterledger_agent_damaged_rows_total {waiting}\n" in shown
    assert "clusterledger_agent_dropped_rows_total 0\n" in shown
    agent.close()


def test_a_spool_that_had_to_be_put_aside_is_told(settings: Settings, hub: Hub) -> None:
    settings.agent.spool.write_bytes(b"no database" * 1000)
    agent = Agent(settings, procfs=FIXTURES / "proc", sysfs=FIXTURES / "sys")
    assert agent.once() is True
    (event,) = [row for row in hub.rows("node_event") if row["event"] == "spool_damaged"]
    assert "not a database" in event["message"]
    agent.close()


def test_the_node_says_how_many_gpus_it_has_once_they_are_known(settings: Settings, hub: Hub) -> None:
    fake = FakeNvml(Scenario((Gpu("GPU-a"), Gpu("GPU-b"))), lambda: 1.0)
    changed = settings.model_copy(update={"collectors": {}})
    agent = Agent(changed, procfs=FIXTURES / "proc", sysfs=FIXTURES / "sys", offers={"library": fake})
    by_name = {source.name: source for source in agent._sources}
    for name in ("host", "nvml", "host"):
        agent._keep([by_name[name].collect_in_time()], [])
    agent.once()
    rows = hub.rows("node")
    assert [row["gpu_count"] for row in rows] == [None, 2]
    assert len({row["exists_start"] for row in rows}) == 1, "it is one node that learned more"
    agent.close()


def test_what_the_network_should_be_ends_with_its_configuration(settings: Settings, hub: Hub) -> None:
    for count in (8, None):
        told = settings.model_copy(update={"agent": settings.agent.model_copy(update={"expected_port_count": count})})
        started = Agent(told, procfs=FIXTURES / "proc", sysfs=FIXTURES / "sys")
        started.once()
        started.close()
        assert [row["expected_port_count"] for row in hub.rows("node")][-1] == count


def test_without_a_hub_there_is_no_agent(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"agent\.hub"):
        Agent(Settings(agent=AgentSettings(spool=tmp_path / "spool.db")), procfs=FIXTURES / "proc")


PROGRAM = """
import sys
from pathlib import Path
from ledger.config import Settings
from ledger.sections import AgentSettings
from ledger.log import configure
from collectors.agent import run_agent
configure()
agent = AgentSettings(hub=sys.argv[1], spool=Path(sys.argv[2]), node="n1", ship_every_seconds=0.1)
heavy = {"polars", "dataframely", "duckdb", "pyarrow", "httpx2", "rich", "greenlet", "ledger.tables"} & set(sys.modules)
assert not heavy, heavy
print("ready", flush=True)
code = run_agent(Settings(agent=agent), procfs=Path(sys.argv[3]) / "proc", sysfs=Path(sys.argv[3]) / "sys")
heavy = {"polars", "dataframely", "duckdb", "pyarrow", "httpx2", "rich", "greenlet", "ledger.tables"} & set(sys.modules)
assert not heavy, heavy
sys.exit(code)
"""


def test_the_process_is_light_and_ends_cleanly_on_sigterm(hub: Hub, tmp_path: Path) -> None:
    arguments = [f"http://127.0.0.1:{hub.port}", str(tmp_path / "spool.db"), str(FIXTURES)]
    process = subprocess.Popen([sys.executable, "-c", PROGRAM, *arguments], stdout=subprocess.PIPE)
    try:
        soon(lambda: hub.rows("host_sample"), seconds=60)
        resident = next(
            int(line.split()[1])
            for line in Path(f"/proc/{process.pid}/status").read_text().splitlines()
            if line.startswith("VmRSS")
        )
        assert resident < 120_000, "kB; the budget is 60 MB, twice that is a mistake"
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.communicate()
    spool = Spool(tmp_path / "spool.db", 1 << 20)
    waiting = spool.seal()
    spool.close()
    stopped = [*(waiting.tables.get("node_event", []) if waiting else []), *hub.rows("node_event")]
    assert "agent_stopped" in {row["event"] for row in stopped}


def test_rows_that_the_hub_rejects_are_said(agent: Agent, hub: Hub) -> None:
    hub.told = {"host_sample": {"rows": 0, "duplicates": 0, "rejected": 1}}
    with capture_logs() as said:
        assert agent.once() is True
    assert [each["rejected_count"] for each in said if each["event"] == "all rows are shipped"] == [1]
    rejected = [each for each in said if each["event"].startswith("hub rejected rows")]
    assert [(each["table"], each["row_count"]) for each in rejected] == [("host_sample", 1)]


def test_a_single_round_says_what_the_hub_has(agent: Agent, hub: Hub) -> None:
    with capture_logs() as said:
        assert agent.once() is True
    (told,) = [each for each in said if each["event"] == "all rows are shipped"]
    assert told["rejected_count"] == 0
    assert told["row_count"] == sum(batch.row_count for batch in hub.batches.values()) > 0


def test_rows_that_the_hub_never_takes_are_told_to_it_and_to_check(agent: Agent, hub: Hub, settings: Settings) -> None:
    hub.refuses = "host_sample"
    assert agent.once() is True
    (event,) = [each for each in hub.rows("node_event") if each["event"] == "rows_refused"]
    (aside,) = all_put_aside(settings.agent.spool)
    assert event["row_count"] == aside.row_count > 0
    assert "clusterledger check" in event["message"]
    assert agent.once() is True
    assert len([each for each in hub.rows("node_event") if each["event"] == "rows_refused"]) == 2


def test_an_event_that_the_hub_refuses_makes_no_other_event(agent: Agent, hub: Hub, settings: Settings) -> None:
    hub.status = 422
    assert agent.once() is True
    refused = all_put_aside(settings.agent.spool)
    assert sum(each.row_count for each in refused) > 0
    assert agent.counts.refused_rows == 0
    assert agent.spool.waiting() == 0
