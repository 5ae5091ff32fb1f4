"""What kube-state-metrics tells of pods besides the usual: whose they are, why they wait, and how they may end."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.context import Context
from app.services._pulling import pull
from collectors.cluster._configured import Configured
from collectors.cluster.prometheus import PrometheusSettings, prometheus
from ledger.config import load
from ledger.tables import Job, JobGpu, Node
from tests.collectors.cluster.prometheus_server import at, open_metrics, prometheus_of, series, victoria_metrics_of

pytestmark = pytest.mark.xdist_group("prometheus")

STEPS = range(30)
SCRAPE = {"instance": "10.9.9.9:8080"}

Told = Iterator[tuple[str, list[str]]]


def pod(uid: str, name: str, steps: range, phases: dict[str, range], **more: Any) -> Told:
    """One pod over some steps; what is false is not told, as by most of these metrics."""
    labels = SCRAPE | {"namespace": "vision", "pod": name, "uid": uid}
    place = {"node": more["node"]} if "node" in more else {}
    owner = dict(zip(("created_by_kind", "created_by_name"), more.get("owner", ("Job", name)), strict=True))
    yield series("kube_pod_info", labels | place | owner, dict.fromkeys(steps, 1))
    yield series("kube_pod_created", labels, dict.fromkeys(steps, at(steps[0] - 1).timestamp()))
    if place:
        yield series("kube_pod_status_scheduled_time", labels, dict.fromkeys(steps, at(steps[0]).timestamp()))
    for resource, count in more.get("asks", {"nvidia_com_gpu": 1}).items():
        asked = labels | {"resource": resource, "container": "main"}
        yield series("kube_pod_container_resource_requests", asked, dict.fromkeys(steps, count))
    for phase in ("Pending", "Running", "Succeeded", "Failed"):
        told = {step: int(step in phases.get(phase, ())) for step in steps}
        yield series("kube_pod_status_phase", labels | {"phase": phase}, told)
    for metric, (reason, since) in more.get("reasons", {}).items():
        words = labels | ({"reason": reason} if reason else {})
        yield series(f"kube_pod_{metric}", words, {step: 1 for step in steps if step in since})
    if "words" in more:
        yield series("kube_pod_labels", labels | more["words"], dict.fromkeys(steps, 1))


def held(uuid: str, name: str, steps: range) -> tuple[str, list[str]]:
    labels = {"UUID": uuid, "Hostname": "n1", "exported_namespace": "vision", "exported_pod": name, **SCRAPE}
    return series("DCGM_FI_DEV_FB_USED", labels, dict.fromkeys(steps, 100))


def cluster() -> Told:
    running = {"Running": STEPS}
    words = {"label_team": "vision", "label_user": "ada", "label_app_kubernetes_io_name": "web", "label_secret": "x"}
    yield from pod("web", "web-5d4f-x", STEPS, running, node="n1", owner=("ReplicaSet", "web-5d4f"), words=words)
    yield series(
        "kube_replicaset_owner",
        SCRAPE | {"namespace": "vision", "replicaset": "web-5d4f", "owner_kind": "Deployment", "owner_name": "web"},
        dict.fromkeys(STEPS, 1),
    )
    # Made anew under its name, as a training operator does.
    yield from pod("first", "train-0", range(12), {"Running": range(12)}, node="n1")
    yield from pod("second", "train-0", range(14, 30), {"Running": range(14, 30)}, node="n1")
    yield held("GPU-1", "train-0", range(12))
    yield held("GPU-2", "train-0", range(14, 30))
    # Of the one before only the device is still told: it was over before anybody asked.
    yield held("GPU-6", "late-0", range(4))
    yield from pod("late", "late-0", range(8, 30), {"Running": range(8, 30)}, node="n1")
    yield held("GPU-7", "late-0", range(8, 30))
    # Evicted: no container of it tells when it ended, and it stays there for days.
    gone = {"Running": range(8), "Failed": range(8, 30)}
    yield from pod("evicted", "big-0", STEPS, gone, node="n1", reasons={"status_reason": ("Evicted", range(8, 30))})
    yield held("GPU-3", "big-0", range(8))
    # Nowhere to go, then an image that does not come.
    late = {"status_unschedulable": ("", range(30)), "container_status_waiting_reason": ("ContainerCreating", range(3))}
    yield from pod("waits", "waits-0", STEPS, {"Pending": STEPS}, reasons=late)
    pulls = {"container_status_waiting_reason": ("ImagePullBackOff", STEPS)}
    yield from pod("pulls", "pulls-0", STEPS, {"Pending": STEPS}, node="n1", reasons=pulls)
    yield from pod("part", "part-0", STEPS, running, node="n2", asks={"nvidia_com_gpu_shared": 2})
    yield from pod("claims", "claims-0", STEPS, running, node="n1", asks={})
    yield held("GPU-4", "claims-0", STEPS)
    # The exporter was started anew in the middle, at another address, and for a moment there are two of them.
    moved = {"instance": "10.9.9.10:8080", "namespace": "vision", "pod": "web-5d4f-x", "uid": "web"}
    asked = moved | {"resource": "nvidia_com_gpu", "container": "main"}
    yield series("kube_pod_container_resource_requests", asked, dict.fromkeys(range(20, 30), 1))
    # The exporter's own name stands where no pod has the device.
    yield from pod("exporter", "dcgm-x", STEPS, running, node="n1", asks={}, owner=("DaemonSet", "dcgm"))
    idle = {"UUID": "GPU-5", "Hostname": "n1", "namespace": "vision", "pod": "dcgm-x", **SCRAPE}
    yield series("DCGM_FI_DEV_FB_USED", idle, dict.fromkeys(STEPS, 0))
    for node, count in (("n1", 8), ("n2", 32)):
        named = SCRAPE | {"node": node}
        yield series("kube_node_info", named, dict.fromkeys(STEPS, 1))
        yield series("kube_node_created", named, dict.fromkeys(STEPS, at(-100).timestamp()))
        capacity = named | {"resource": "nvidia_com_gpu"}
        yield series("kube_node_status_capacity", capacity, dict.fromkeys(STEPS, count))
    shared = {"label_nvidia_com_gpu_replicas": "4", "label_nvidia_com_gpu_count": "8"}
    yield series("kube_node_labels", SCRAPE | {"node": "n2"} | shared, dict.fromkeys(STEPS, 1))


@pytest.fixture(scope="module", params=[prometheus_of, victoria_metrics_of], ids=["prometheus", "victoria-metrics"])
def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with request.param(tmp_path_factory.mktemp("pods") / "it", open_metrics(cluster())) as address:
        yield address


@pytest.fixture(params=[(29,), (6, 9, 13, 20, 29)], ids=["at once", "in pulls"])
def here(
    request: pytest.FixtureRequest, url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Context]:
    """Return a ledger that asked once, or again and again."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CLUSTERLEDGER_STORE", raising=False)
    context = Context(load(store={"url": "duckdb::memory:"}), now=lambda: at(29))
    given = {"kind": "prometheus", "cluster": "c", "url": url, "delay_seconds": 0}
    source = Configured("p", prometheus, PrometheusSettings.model_validate(given))
    for number, stop in enumerate(request.param):
        outcome = pull(context, source, None if number else at(-1), at(stop))
        assert (outcome.error, outcome.rejected) == (None, 0)
    yield context
    context.close()


def jobs(here: Context) -> dict[str, dict[str, Any]]:
    return {row["job_id"]: row for row in here.store.read(Job).iter_rows(named=True)}


def test_a_pod_is_its_outermost_owners_and_its_labels_name_whose_it_is(here: Context) -> None:
    web = jobs(here)["web"]
    assert (web["job_name"], web["user"], web["team"]) == ("web", "ada", "vision")
    told = {"pod": "web-5d4f-x", "owner": "Deployment/web", "app.kubernetes.io/name": "web"}
    assert json.loads(web["labels"]) == told, "labels that are not asked for are not kept"


def test_what_two_exporters_tell_counts_once(here: Context) -> None:
    web = jobs(here)["web"]
    assert (web["requested_gpu_count"], web["gpu_count"]) == (1, 1)


def test_pods_of_one_name_are_jobs_of_their_own(here: Context) -> None:
    found = jobs(here)
    assert (found["first"]["state"], found["first"]["ended_at"]) == ("DELETED", at(11))
    assert (found["second"]["state"], found["second"]["ended_at"]) == ("RUNNING", None)
    holdings = {(row["job_id"], row["gpu_uuid"]): row for row in here.store.read(JobGpu).iter_rows(named=True)}
    assert holdings["second", "GPU-2"]["held_end"] is None
    open_ones = {uuid for (_, uuid), row in holdings.items() if row["held_end"] is None}
    assert open_ones == {"GPU-2", "GPU-4", "GPU-7"}
    assert "GPU-6" not in {uuid for _, uuid in holdings}


def test_an_evicted_pod_holds_nothing_though_it_is_still_there(here: Context) -> None:
    evicted = jobs(here)["evicted"]
    assert (evicted["state"], evicted["ended_at"]) == ("PREEMPTED", at(7))
    (row,) = here.store.read(JobGpu).filter(job_id="evicted").iter_rows(named=True)
    assert (row["gpu_uuid"], row["held_start"], row["held_end"]) == ("GPU-3", at(0), at(7))


def test_a_pod_that_waits_says_why_and_is_on_no_node(here: Context) -> None:
    """A scrape has an address, and that is no node of a pod."""
    waits, pulls = jobs(here)["waits"], jobs(here)["pulls"]
    assert (waits["state"], waits["pending_reason"], waits["nodes"]) == ("PENDING", "Unschedulable", None)
    assert waits["started_at"] is None
    assert (pulls["state"], pulls["pending_reason"], pulls["nodes"]) == ("CONFIGURING", "ImagePullBackOff", "n1")
    assert jobs(here)["web"]["pending_reason"] is None


def test_a_time_slice_is_a_part_of_a_device(here: Context) -> None:
    assert jobs(here)["part"]["requested_gpu_count"] == 0.5
    nodes = dict(here.store.read(Node).select("node", "gpu_count").iter_rows())
    assert nodes == {"n1": 8, "n2": 8}


def test_a_pod_with_a_claim_asks_for_the_devices_that_it_has(here: Context) -> None:
    found = jobs(here)
    assert (found["claims"]["requested_gpu_count"], found["claims"]["gpu_count"]) == (1, 1)
    assert "exporter" not in found
