"""One round of all collectors: what it prints, and what is said of a wrong configuration."""

import json
import os
from datetime import datetime, timedelta
from typing import Any

import pytest

from collectors.agent import node_collectors, run_collectors
from collectors.fake_nvml import FakeNvml, Gpu, Scenario, Slice
from ledger.config import Settings
from ledger.errors import ConfigError
from ledger.sections import AgentSettings
from tests.collectors.hub import FIXTURES


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


def test_a_node_says_what_its_network_should_be_as_it_is_configured() -> None:
    wanted = {"expected_port_count": 8, "expected_line_rate_bytes_per_second": 5e10}
    roots = {"procfs": FIXTURES / "proc", "sysfs": FIXTURES / "sys"}
    asked = run_collectors(**roots, settings=Settings(agent=AgentSettings(**wanted)))
    assert {name: asked.tables["node"][0][name] for name in wanted} == wanted
    assert run_collectors(**roots, settings=Settings()).tables["node"][0]["expected_port_count"] is None


@pytest.mark.parametrize(
    ("sections", "names", "words"),
    [
        ({}, ["hosst"], "collectors.hosst: found no such collector"),
        ({"gpu": {}}, None, "collectors.gpu: found no such collector"),
        ({"host": {"every": 3}}, None, "collectors.host.every: found an unknown key"),
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
