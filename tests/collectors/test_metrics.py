"""What the agent says of itself at /metrics: served where it is wanted, as Prometheus reads it."""

import os
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from collectors.agent import Agent, node_collectors
from ledger.config import Settings
from ledger.errors import ConfigError
from ledger.exposition import CONTENT_TYPE, Family, exposition
from tests.collectors.hub import FIXTURES, Hub, soon
from tests.missing import missing

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def parsed(text: str) -> Samples:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def linted(text: str) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        missing("no promtool on the PATH: install Debian's prometheus")
    done = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@pytest.fixture
def served(settings: Settings) -> Iterator[Agent]:
    wanted = settings.agent.model_copy(update={"metrics_port": 0})
    agent = Agent(settings.model_copy(update={"agent": wanted}), procfs=FIXTURES / "proc", sysfs=FIXTURES / "sys")
    yield agent
    agent.close()


def scraped(agent: Agent) -> httpx2.Response:
    assert agent.served is not None
    return httpx2.get(agent.served.address, trust_env=False)


def resident_bytes() -> int:
    """Return what the kernel says this process has in memory."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_nothing_is_served_unless_it_is_wanted(agent: Agent) -> None:
    assert agent.served is None


def test_what_is_served_is_what_happened(served: Agent, hub: Hub) -> None:
    assert served.once() is True
    before = resident_bytes()
    answer = scraped(served)
    assert (answer.status_code, answer.headers["content-type"]) == (200, CONTENT_TYPE)
    found = parsed(answer.text)
    enabled = set(node_collectors()) - {"nvml"}
    assert {dict(labels)["collector"] for name, labels in found if name.endswith("collector_rounds_total")} == enabled
    host = (("collector", "host"),)
    assert found["clusterledger_agent_collector_rounds_total", host] == 1
    assert found["clusterledger_agent_collector_rows_total", host] == 1
    assert found["clusterledger_agent_collector_failures_total", host] == 0
    assert 0 < found["clusterledger_agent_collector_round_seconds_sum", host] < 5
    assert found["clusterledger_agent_shipped_batches_total", ()] == 1
    rows = sum(len(next(iter(columns.values()))) for batch in hub.batches.values() for columns in batch.tables.values())
    assert found["clusterledger_agent_shipped_rows_total", ()] == rows
    assert found["clusterledger_agent_spool_rows", ()] == 0
    assert found["clusterledger_agent_spool_oldest_age_seconds", ()] == 0
    sizes = (before, resident_bytes())
    assert min(sizes) * 0.9 < found["process_resident_memory_bytes", ()] < max(sizes) * 1.1
    assert any(name == "clusterledger_build_info" for name, _ in found)
    linted(answer.text)


def test_what_waits_shows(served: Agent, hub: Hub) -> None:
    hub.status = 503
    served.once()
    found = parsed(scraped(served).text)
    assert found["clusterledger_agent_spool_rows", ()] == served.spool.waiting() > 0
    assert found["clusterledger_agent_spool_bytes", ()] > 100
    assert 0 <= found["clusterledger_agent_spool_oldest_age_seconds", ()] < 30
    assert found["clusterledger_agent_ship_failures_total", ()] == 1
    assert ("clusterledger_agent_last_shipped_timestamp_seconds", ()) not in found, "it never shipped"


def test_other_addresses_and_methods_are_refused(served: Agent) -> None:
    assert served.served is not None
    base = served.served.address.removesuffix("/metrics")
    assert base.startswith("http://127.0.0.1:")
    assert httpx2.get(f"{base}/", trust_env=False).status_code == 404
    assert httpx2.post(f"{base}/metrics", content=b"x", trust_env=False).status_code == 501
    assert httpx2.get(f"{base}/metrics?name=x", trust_env=False).status_code == 200


def test_callers_at_once_are_few(served: Agent) -> None:
    """A flood of scrapes must not become a flood of threads."""
    codes: list[int] = []

    def call() -> None:
        try:
            codes.append(scraped(served).status_code)
        except httpx2.HTTPError:
            codes.append(0)

    threads = [threading.Thread(target=call) for _ in range(40)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(20)
    assert set(codes) <= {0, 200}
    assert codes.count(200) >= 4
    soon(lambda: scraped(served).status_code == 200)


def test_a_port_that_is_taken_is_said(served: Agent, settings: Settings, tmp_path: Path) -> None:
    assert served.served is not None
    port = int(re.findall(r":(\d+)/", served.served.address)[0])
    taken = settings.agent.model_copy(update={"metrics_port": port, "spool": tmp_path / "other.db"})
    with pytest.raises(ConfigError, match=r"agent\.metrics_port: 127\.0\.0\.1:\d+: .*in use"):
        Agent(settings.model_copy(update={"agent": taken}), procfs=FIXTURES / "proc", sysfs=FIXTURES / "sys")


@given(
    value=st.floats(allow_nan=False, allow_infinity=False),
    label=st.text(
        st.characters(blacklist_categories=("Cs",), blacklist_characters="\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029")
    ),
)
def test_whatever_is_said_is_read_back(value: float, label: str) -> None:
    family = Family("a_thing", "gauge", 'It "means"\nsomething \\ else.').add(value, kind=label).add(None, kind="not")
    ((name, labels, found),) = [
        (sample.name, sample.labels, sample.value)
        for each in text_string_to_metric_families(exposition([family]))
        for sample in each.samples
    ]
    assert (name, labels, found) == ("a_thing", {"kind": label}, value)


def test_a_metric_without_samples_is_left_out() -> None:
    assert exposition([Family("a", "gauge", "x"), Family("b", "counter", "y").add(3)]) == (
        "# HELP b y\n# TYPE b counter\nb 3\n"
    )
