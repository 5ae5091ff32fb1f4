"""The agent against a real hub on loopback: away, back, slow, and refusing; and collectors that fail or hang."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from collectors._round import Source
from collectors._spool import Spool
from collectors._stamp import Forgetful, Identity, existing, stamped
from collectors._watch import Deadlines, clock_jump
from collectors.agent import Agent, node_collectors, run_collectors
from collectors.fake_nvml import FakeNvml, Gpu, Scenario, Slice
from collectors.wire import Batch, decode
from ledger.config import Settings
from ledger.errors import ConfigError, SourceMissing, StoreError
from ledger.registry import Collector, Row, collector
from ledger.sections import AgentSettings

AT = datetime(2026, 11, 20, 12, tzinfo=UTC)
FIXTURES = Path(__file__).parents[1] / "fixtures" / "node"


@dataclass
class Hub:
    """A hub that keeps each batch once, or answers what a test tells it to."""

    port: int = 0
    status: int = 200
    lose_answer: bool = False
    answer: bytes = b'{"error": "because"}'
    received: list[str] = field(default_factory=list)
    tokens: set[str] = field(default_factory=set)
    batches: dict[str, Batch] = field(default_factory=dict)
    server: ThreadingHTTPServer | None = None

    def start(self) -> None:
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                batch = decode(self.rfile.read(int(self.headers["Content-Length"])))
                hub.tokens.add(self.headers.get("Authorization", ""))
                assert self.path == "/api/v1/ingest"
                hub.received.append(batch.batch_id)
                if hub.status == 200:
                    hub.batches.setdefault(batch.batch_id, batch)
                if hub.lose_answer:
                    hub.lose_answer = False
                    self.close_connection = True
                    return
                self.send_response(hub.status)
                self.end_headers()
                self.wfile.write(hub.answer)

            def log_message(self, *_: object) -> None:
                """Keep the test's output clean."""

        self.server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self.port = self.server.server_port
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        if self.server is not None:
            self.server.shutdown()
            self.server.server_close()
            self.server = None

    def rows(self, table: str) -> list[dict[str, Any]]:
        found = []
        for batch in list(self.batches.values()):
            columns = batch.tables.get(table, {})
            found += [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
        return found


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


def soon(is_true: Callable[[], object], seconds: float = 30.0) -> None:
    """Wait until something holds, and fail if it does not."""
    until = time.monotonic() + seconds
    while not is_true():
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(0.02)


# -- one round


def test_collect_prints_what_was_promised() -> None:
    document = run_collectors(procfs=FIXTURES / "proc", sysfs=FIXTURES / "sys", settings=Settings()).document()
    assert json.loads(json.dumps(document)) == document
    assert set(document) == {"tables", "runs"}
    assert {run["collector"] for run in document["runs"]} == set(node_collectors())
    for run in document["runs"]:
        assert list(run) == ["collector", "ok", "rows", "duration_seconds", "error"]
    by_name = {run["collector"]: run for run in document["runs"]}
    assert (by_name["nvml"]["ok"], by_name["nvml"]["rows"]) == (True, 0), "what is not there is no failure"
    assert "NVML" in by_name["nvml"]["error"]
    (host,) = document["tables"]["host_sample"]
    assert host["cluster"] == "default"
    assert host["boot_id"] == "11111111-2222-3333-4444-555555555555"
    assert host["step_seconds"] == 10
    assert datetime.fromisoformat(host["sampled_at"]).utcoffset() == timedelta(0)
    assert host["sampled_at"].endswith("Z")
    assert len(document["tables"]["collector_run"]) == len(document["runs"])
    (node,) = document["tables"]["node"]
    assert (node["provider_instance_id"], node["instance_type"]) == ("i-0123456789abcdef0", "p5.48xlarge")
    assert (node["cpu_count"], node["memory_bytes"]) == (2, 2**31)


def test_only_some_collectors_can_be_run() -> None:
    found = run_collectors(["host", "pressure"], procfs=FIXTURES / "proc", settings=Settings())
    assert [run.collector for run in found.runs] == ["host", "pressure"]
    assert set(found.tables) == {"host_sample", "pressure_sample", "collector_run"}


def test_a_gpu_node_says_how_many_gpus_it_has() -> None:
    fake = FakeNvml(Scenario((Gpu("GPU-a"), Gpu("GPU-b", slices=(Slice("MIG-1", 1), Slice("MIG-2", 2))))), lambda: 1.0)
    found = run_collectors(
        procfs=FIXTURES / "proc", sysfs=FIXTURES / "sys", settings=Settings(), offers={"library": fake}
    )
    assert found.tables["node"][0]["gpu_count"] == 2
    assert {row["gpu_fraction"] for row in found.document()["tables"]["gpu"]} == {"1", "0.5"}


@pytest.mark.parametrize(
    ("sections", "names", "words"),
    [
        ({}, ["hosst"], "collectors.hosst: found no such collector"),
        ({"gpu": {}}, None, "collectors.gpu: found no such collector"),
        ({"host": {"every": 3}}, None, "collectors.host.every: found 3"),
        ({"host": {"every_seconds": 0}}, None, "collectors.host.every_seconds: found 0"),
        ({"ethernet": {"devices": 7}}, None, "collectors.ethernet.devices: found 7"),
    ],
)
def test_a_wrong_section_is_one_clear_line(
    sections: dict[str, dict[str, Any]], names: list[str] | None, words: str
) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        run_collectors(names, procfs=FIXTURES / "proc", settings=Settings(collectors=sections))
    assert caught.value.hint


def test_this_machine_itself() -> None:
    """Every collector really runs here; what this machine does not have is said."""
    found = run_collectors(settings=Settings())
    assert {run.collector for run in found.runs if not run.ok} == set()
    assert found.tables["host_sample"][0]["cpu_count"] == os.cpu_count()


def unit(name: str, round_: Callable[[], Iterator[tuple[str, Row]]], **options: Any) -> Collector:
    return Collector(name=name, emits=("host_sample",), every_seconds=1, open=lambda: round_, **options)


def test_a_collector_that_fails_keeps_what_it_had_and_is_opened_again() -> None:
    opened = []

    @collector(emits=("host_sample",), every_seconds=1)
    def fails() -> Callable[[], Iterator[tuple[str, Row]]]:
        opened.append(1)

        def one_round() -> Iterator[tuple[str, Row]]:
            yield "host_sample", {"cpu_count": 1}
            raise ZeroDivisionError("by nothing\nand more")

        return one_round

    source = Source(fails, {}, {})
    result = source.collect(lambda: AT)
    assert (result.run.ok, result.run.rows) == (False, 1)
    assert result.run.error == "ZeroDivisionError: by nothing"
    source.collect(lambda: AT)
    assert len(opened) == 2


def test_a_collector_that_hangs_is_given_up() -> None:
    release = threading.Event()

    def hangs() -> Iterator[tuple[str, Row]]:
        release.wait(20)
        yield "host_sample", {}

    source = Source(unit("hangs", hangs), {"deadline_seconds": 0.05}, {})
    result = source.collect_in_time(lambda: AT)
    release.set()
    assert (result.run.ok, result.run.error) == (False, "no end after 0.05 s")


def test_an_overdue_round_is_told_once_and_its_late_rows_are_dropped() -> None:
    source = Source(unit("slow", lambda: iter(())), {"deadline_seconds": 0.01}, {})
    deadlines = Deadlines()
    deadlines.begin(source, AT)
    time.sleep(0.03)
    assert [result.run.collector for result in deadlines.overdue()] == ["slow"]
    assert deadlines.overdue() == []
    assert deadlines.end(source) is False
    deadlines.begin(source, AT)
    assert deadlines.end(source) is True


def test_a_clock_that_jumps_back_is_an_event() -> None:
    (event,) = clock_jump(AT, 100.0, AT - timedelta(seconds=3590), 110.0)
    assert event["amount_seconds"] == -3600.0
    assert list(clock_jump(AT, 100.0, AT + timedelta(seconds=11), 110.0)) == []


# -- what exists


def test_a_device_keeps_the_instant_at_which_it_appeared() -> None:
    memory = Forgetful()
    base = {"cluster": "lab", "node": "n1", "gpu_uuid": "GPU-a", "parent_gpu_uuid": "", "exists_end": None}
    first = existing("gpu", {**base, "exists_start": AT, "idle_power_watts": 70.0}, memory)
    later = AT + timedelta(hours=5)
    second = existing("gpu", {**base, "exists_start": later, "idle_power_watts": 99.0}, memory)
    third = existing("gpu", {**base, "exists_start": later}, memory)
    assert first["exists_start"] == second["exists_start"] == third["exists_start"] == AT
    assert second["idle_power_watts"] == third["idle_power_watts"] == 70.0
    ended = existing("gpu", {**base, "exists_start": later, "exists_end": later}, memory)
    assert (ended["exists_start"], ended["exists_end"]) == (AT, later)
    assert existing("gpu", {**base, "exists_start": later}, memory)["exists_start"] == later


def test_a_device_that_was_cut_while_nobody_looked_has_ended(settings: Settings) -> None:
    """Between two runs of the agent the device was cut: it must not be counted beside its slices."""
    whole = Scenario((Gpu("GPU-a"),))
    cut = Scenario((Gpu("GPU-a", slices=(Slice("MIG-1", 1), Slice("MIG-2", 2))),))
    memory = Forgetful()
    identity = Identity("lab", "n1", "boot")
    found = []
    for played in (whole, cut, whole):
        source = Source(node_collectors()["nvml"], {}, {"procfs": FIXTURES, "library": FakeNvml(played, lambda: 1.0)})
        tables = stamped([source.collect()], identity, memory)
        found.append({row["gpu_uuid"]: row["exists_end"] is not None for row in tables["gpu"]})
    assert found == [
        {"GPU-a": False},
        {"MIG-1": False, "MIG-2": False, "GPU-a": True},
        {"GPU-a": False, "MIG-1": True, "MIG-2": True},
    ]


# -- the spool


def test_sealed_rows_keep_their_id_over_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "spool.db"
    spool = Spool(path, 1 << 20)
    spool.append({"host_sample": [{"n": 1, "sampled_at": AT}]})
    before = spool.seal()
    spool.append({"host_sample": [{"n": 2}]})
    spool.close()
    spool = Spool(path, 1 << 20)
    after = spool.seal()
    assert before is not None
    assert before == after
    spool.forget(before.batch_id)
    rest = spool.seal()
    assert rest is not None
    assert rest.batch_id != before.batch_id
    assert rest.tables == {"host_sample": [{"n": 2}]}
    spool.forget(rest.batch_id)
    assert spool.seal() is None
    spool.close()


def test_a_full_spool_drops_the_oldest_and_counts_them(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool.db", 2_000)
    noise = [os.urandom(300).hex() for _ in range(20)]
    gone = sum(spool.append({"t": [{"n": number, "noise": text}, {"n": number}]}) for number, text in enumerate(noise))
    assert gone > 0
    assert spool.waiting() == 40 - gone
    sealed = spool.seal()
    assert sealed is not None
    assert sealed.tables["t"][-1]["n"] == 19
    assert sealed.tables["t"][0]["n"] == gone // 2
    assert spool.dropped() == gone
    assert spool.dropped() == 0
    spool.close()


def test_a_damaged_spool_is_put_aside(tmp_path: Path) -> None:
    path = tmp_path / "spool.db"
    path.write_bytes(b"this is no database" * 100)
    spool = Spool(path, 1 << 20)
    assert spool.seal() is None
    assert (tmp_path / "spool.db.damaged").exists()
    spool.close()


def test_two_agents_on_one_spool_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "spool.db"
    spool = Spool(path, 1 << 20)
    with pytest.raises(StoreError, match="locked") as caught:
        Spool(path, 1 << 20)
    assert "one agent per spool" in caught.value.hint
    spool.close()


# -- shipping


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
    # A batch is one version or none; where its rows or its size are refused, each table stands for itself.
    assert (len(refused) == 1) == (status == 400)


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
    soon(lambda: len(hub.rows("host_sample")) >= 3)
    stop.set()
    loop.join(5)
    assert not loop.is_alive()
    times = [row["sampled_at"] for row in hub.rows("host_sample")]
    steps = [after - before for before, after in pairwise(times)]
    assert all(800 <= step <= 1_500 for step in steps), steps
    assert {row["step_seconds"] for row in hub.rows("host_sample")} == {1.0}
    assert "agent_started" in {row["event"] for row in hub.rows("node_event")}
    assert hub.rows("node")[0]["instance_type"] == "p5.48xlarge"
    agent.close()
    with sqlite3.connect(settings.agent.spool) as connection:
        assert connection.execute("SELECT count(*) FROM memory WHERE key = 'boot_id'").fetchone() == (1,)
    connection.close()


def test_one_hanging_collector_stops_no_other(settings: Settings, hub: Hub) -> None:
    release = threading.Event()

    class Hanging(FakeNvml):
        def _nvmlDeviceGetCount(self) -> int:  # noqa: N802
            release.wait(30)
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
        loop.join(5)
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
heavy = {"polars", "dataframely", "duckdb", "pyarrow", "ledger.tables", "ledger.store"} & set(sys.modules)
assert not heavy, heavy
print("ready", flush=True)
code = run_agent(Settings(agent=agent), procfs=Path(sys.argv[3]) / "proc", sysfs=Path(sys.argv[3]) / "sys")
heavy = {"polars", "dataframely", "duckdb", "pyarrow", "ledger.tables", "ledger.store"} & set(sys.modules)
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
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.communicate()
    spool = Spool(tmp_path / "spool.db", 1 << 20)
    waiting = spool.seal()
    spool.close()
    stopped = [*(waiting.tables.get("node_event", []) if waiting else []), *hub.rows("node_event")]
    assert "agent_stopped" in {row["event"] for row in stopped}


def test_a_source_that_is_missing_is_no_failure() -> None:
    def missing() -> Iterator[tuple[str, Row]]:
        raise SourceMissing("there is none", hint="none")
        yield

    result = Source(unit("missing", missing), {}, {}).collect(lambda: AT)
    assert (result.run.ok, result.run.rows, result.run.error) == (True, 0, "there is none")


def test_rows_that_the_hub_rejects_are_said(agent: Agent, hub: Hub) -> None:
    hub.answer = b'{"status": "kept", "tables": {"host_sample": {"rows": 0, "duplicates": 0, "rejected": 1}}}'
    with capture_logs() as said:
        assert agent.once() is True
    rejected = [each for each in said if each["event"] == "hub rejected rows"]
    assert [(each["table"], each["row_count"]) for each in rejected] == [("host_sample", 1)]
