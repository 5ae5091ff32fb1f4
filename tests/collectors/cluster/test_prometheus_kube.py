"""kube-state-metrics in a real Prometheus: pods as jobs, their devices, nodes and how they stand."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.context import Context
from app.services._pulling import pull
from collectors.cluster._configured import Configured
from collectors.cluster.prometheus import PrometheusSettings, prometheus
from ledger.config import load
from ledger.frames import to_frame
from ledger.tables import Job, JobGpu, Node, NodeState
from tests.collectors.cluster.prometheus_server import at, open_metrics, prometheus_of, series

pytestmark = pytest.mark.xdist_group("prometheus")

STEPS = range(30)
CREATED = at(-100).timestamp()

Told = Iterator[tuple[str, list[str]]]


def pod(name: str, steps: range, phases: dict[str, range], **more: Any) -> Told:
    """One pod over some steps, with its phases; every other phase is told as zero."""
    labels = {"namespace": "vision", "pod": name, "uid": f"uid-{name}"}
    bound = {"node": more.get("node", "n1")}
    owner = {"created_by_kind": more.get("kind", "Job"), "created_by_name": name.rsplit("-", 1)[0]}
    yield series("kube_pod_info", labels | bound | owner, dict.fromkeys(steps, 1))
    yield series("kube_pod_created", labels, dict.fromkeys(steps, CREATED))
    for number in ("status_scheduled_time", "completion_time"):
        if number in more:
            value, since = more[number]
            yield series(f"kube_pod_{number}", labels, {step: value for step in steps if step >= since})
    for container, count in more.get("gpus", {}).items():
        resource = {"resource": more.get("resource", "nvidia_com_gpu"), "unit": "integer"}
        yield series(
            "kube_pod_container_resource_requests",
            labels | bound | resource | {"container": container},
            dict.fromkeys(steps, count),
        )
    for phase in ("Pending", "Running", "Succeeded", "Failed", "Unknown"):
        told = {step: int(step in phases.get(phase, ())) for step in steps}
        yield series("kube_pod_status_phase", labels | {"phase": phase}, told)


def cluster() -> Told:
    bound = {"status_scheduled_time": (at(-90).timestamp(), 0)}
    yield from pod("train-0", STEPS, {"Running": STEPS}, gpus={"main": 1, "side": 1}, **bound)
    done = bound | {"completion_time": (at(5).timestamp(), 5)}
    yield from pod("done-0", range(9), {"Running": range(5), "Succeeded": range(5, 9)}, gpus={"main": 1}, **done)
    yield from pod("gone-0", range(4), {"Running": range(4)}, gpus={"main": 1}, **bound)
    yield from pod("waits-0", STEPS, {"Pending": STEPS}, gpus={"main": 8}, node="")
    yield from pod("slice-0", STEPS, {"Running": STEPS}, gpus={"main": 1}, resource="nvidia_com_mig_3g_40gb", **bound)
    yield from pod("cpu-0", STEPS, {"Running": STEPS}, **bound)
    exporter = {"Hostname": "n1", "namespace": "monitoring", "pod": "dcgm-exporter-x"}
    for index, name, steps in (
        (0, "train-0", STEPS),
        (1, "train-0", STEPS),
        (2, "done-0", range(9)),
        (3, "gone-0", range(4)),
    ):
        mapped = {"UUID": f"GPU-{index}", "exported_namespace": "vision", "exported_pod": name}
        yield series("DCGM_FI_DEV_FB_USED", exporter | mapped, dict.fromkeys(steps, 100))
    yield series("DCGM_FI_DEV_FB_USED", exporter | {"UUID": "GPU-4"}, dict.fromkeys(STEPS, 0))
    for node, steps in (("n1", STEPS), ("n2", range(10))):
        labels = {"node": node}
        yield series("kube_node_info", labels | {"provider_id": f"aws:///{node}"}, dict.fromkeys(steps, 1))
        yield series("kube_node_created", labels, dict.fromkeys(steps, CREATED))
        for resource, value in {"cpu": 96, "memory": 2**40, "nvidia_com_gpu": 8}.items():
            yield series("kube_node_status_capacity", labels | {"resource": resource}, dict.fromkeys(steps, value))
        ready = {step: int(not (node == "n1" and step in range(20, 23))) for step in steps}
        condition = labels | {"condition": "Ready", "status": "true"}
        yield series("kube_node_status_condition", condition, ready)
        yield series("kube_node_spec_unschedulable", labels, {step: int(step >= 26) for step in steps})


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with prometheus_of(tmp_path_factory.mktemp("kube") / "it", open_metrics(cluster())) as address:
        yield address


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Context]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CLUSTERLEDGER_STORE", raising=False)
    context = Context(load(store={"url": "duckdb::memory:"}), now=lambda: at(29))
    yield context
    context.close()


@pytest.fixture
def source(url: str) -> Configured:
    given = {"kind": "prometheus", "cluster": "c", "url": url, "delay_seconds": 0, "history_days": 0.01}
    return Configured("p", prometheus, PrometheusSettings.model_validate(given))


def jobs(here: Context) -> dict[str, dict[str, Any]]:
    return {row["job_id"].removeprefix("uid-"): row for row in here.store.read(Job).iter_rows(named=True)}


def holdings(here: Context) -> list[tuple[object, ...]]:
    return sorted(here.store.read(JobGpu).select("gpu_uuid", "job_id", "held_start", "held_end").rows())


HELD = [
    ("GPU-0", "uid-train-0", at(-90), None),
    ("GPU-1", "uid-train-0", at(-90), None),
    ("GPU-2", "uid-done-0", at(-90), at(5)),
    ("GPU-3", "uid-gone-0", at(-90), at(3)),
]


@pytest.mark.parametrize("stops", [(29,), (2, 6, 10, 20, 29), (*range(1, 29, 4), 29)])
def test_however_it_is_cut_pods_are_jobs_that_hold_their_devices(
    here: Context, source: Configured, stops: tuple[int, ...]
) -> None:
    for stop in stops:
        outcome = pull(here, source, at(-1) if stop == stops[0] else None, at(stop))
        assert outcome.error is None
        assert outcome.rejected == 0
    found = jobs(here)
    assert set(found) == {"train-0", "done-0", "gone-0", "waits-0", "slice-0"}
    states = {name: (row["state"], row["ended_at"]) for name, row in found.items()}
    assert states == {
        "train-0": ("RUNNING", None),
        "done-0": ("COMPLETED", at(5)),
        "gone-0": ("DELETED", at(3)),
        "waits-0": ("PENDING", None),
        "slice-0": ("RUNNING", None),
    }
    train, waits = found["train-0"], found["waits-0"]
    assert (train["submitted_at"], train["started_at"], train["nodes"]) == (at(-100), at(-90), "n1")
    assert (train["requested_gpu_count"], train["gpu_count"], train["partition"]) == (2, 2, "vision")
    assert (train["job_name"], train["workload_kind"]) == ("train", "batch")
    assert (waits["requested_gpu_count"], waits["gpu_count"], waits["started_at"]) == (8, None, None)
    assert found["slice-0"]["requested_gpu_count"] == 0.5
    assert holdings(here) == HELD


def test_nodes_and_their_states_follow_each_other_without_gaps(here: Context, source: Configured) -> None:
    for stop in (*range(1, 29, 3), 29):
        pull(here, source, at(-1) if stop == 1 else None, at(stop))
    nodes = {row["node"]: row for row in here.store.read(Node).iter_rows(named=True)}
    assert set(nodes) == {"n1", "n2"}
    assert (nodes["n1"]["exists_start"], nodes["n1"]["exists_end"]) == (at(-100), None)
    assert (nodes["n1"]["cpu_count"], nodes["n1"]["gpu_count"]) == (96, 8)
    assert nodes["n1"]["provider_instance_id"] == "aws:///n1"
    assert nodes["n1"]["holder"] == "scheduler", "what no pod asks for is free"
    # It was last told at the tenth step, and five minutes are waited for more.
    assert at(9) <= nodes["n2"]["exists_end"] <= at(15)
    rows = here.store.read(NodeState).filter(node="n1").sort("state_start")
    assert [row["state"] for row in rows.iter_rows(named=True)] == ["UP", "DOWN", "UP", "DRAINING"]
    assert rows["state_end"].to_list() == [*rows["state_start"].to_list()[1:], None]


def test_a_pull_of_some_namespaces_does_not_say_what_is_free(here: Context, url: str) -> None:
    given = {"kind": "prometheus", "cluster": "c", "url": url, "delay_seconds": 0, "match": {"namespace": "vision"}}
    of_some = Configured("p", prometheus, PrometheusSettings.model_validate(given))
    pull(here, of_some, at(-1), at(20))
    assert here.store.read(Node)["holder"].drop_nulls().is_empty()


def test_beside_the_api_of_the_same_cluster_only_devices_are_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, source: Configured
) -> None:
    """The API told of the same pods and nodes, with more than metrics know of them."""
    monkeypatch.chdir(tmp_path)
    beside = {"api": {"kind": "kubernetes", "cluster": "c"}, "other": {"kind": "kubernetes", "cluster": "d"}}
    here = Context(load(store={"url": "duckdb::memory:"}, sources=beside), now=lambda: at(29))
    run = {"cluster": "c", "submitted_at": at(-100), "restart_count": 0, "source": "kubernetes", "team": "vision"}
    pods = {"train-0": None, "done-0": at(5), "gone-0": at(3)}
    rows = [{**run, "job_id": f"uid-{name}", "started_at": at(-90), "ended_at": end} for name, end in pods.items()]
    here.store.append(Job, to_frame(Job, rows), source="t")
    place = {"cluster": "c", "node": "n1", "source": "kubernetes"}
    here.store.append(Node, to_frame(Node, [{**place, "exists_start": at(-100), "holder": "scheduler"}]), source="t")
    here.store.append(NodeState, to_frame(NodeState, [{**place, "state_start": at(-100), "state": "UP"}]), source="t")
    claim = {**{name: run[name] for name in ("cluster", "submitted_at", "restart_count")}, "node": "n1"}
    claim |= {"gpu_uuid": "GPU-1", "job_id": "uid-train-0", "held_start": at(-89), "source": "scheduler"}
    here.store.append(JobGpu, to_frame(JobGpu, [claim]), source="t")
    before = {schema: here.store.read(schema) for schema in (Job, Node, NodeState)}
    for stop in (2, 6, 20, 29):
        outcome = pull(here, source, at(-1) if stop == 2 else None, at(stop))
        assert outcome.error is None
    for schema, told in before.items():
        assert here.store.read(schema).equals(told), schema
    assert holdings(here) == [HELD[0], ("GPU-1", "uid-train-0", at(-89), None), *HELD[2:]]
    here.close()


def test_what_is_told_of_an_earlier_time_reopens_nothing(here: Context, source: Configured) -> None:
    pull(here, source, at(-1), at(29))
    before = jobs(here)
    states = here.store.read(NodeState)
    pull(here, source, at(-1), at(2))
    assert jobs(here) == before
    assert holdings(here) == HELD
    assert here.store.read(NodeState).equals(states)
