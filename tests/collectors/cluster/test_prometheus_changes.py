"""Series that change while they are told: a label that comes later, an exporter that moves, values that are none."""

import itertools
from collections.abc import Iterator
from typing import Any

import polars as pl
import pytest

from collectors.cluster.prometheus import PrometheusSettings, prometheus
from ledger.tables import GpuEvent, Job, NodeState
from tests.collectors.cluster.prometheus_server import at, open_metrics, prometheus_of, series, victoria_metrics_of

pytestmark = pytest.mark.xdist_group("prometheus")

STEPS = range(-2, 20)
OLD, NEW = {"instance": "10.9.9.9:8080"}, {"instance": "10.9.9.10:8080"}
BROKEN: tuple[float | str, ...] = ("NaN", "+Inf", 1e300, -5)

Told = Iterator[tuple[str, list[str]]]


def pod(uid: str, created: float | str, asks: float = 1) -> Told:
    """A pod that waits for six steps, and is told with its node from then on."""
    labels = OLD | {"namespace": "vision", "pod": uid, "uid": uid}
    began = at(5).timestamp() + 20
    for place, steps in (({}, range(-2, 6)), ({"node": "n1", "pod_ip": "10.1.0.1"}, range(6, 20))):
        yield series("kube_pod_info", labels | place, dict.fromkeys(steps, 1))
        asked = labels | place | {"resource": "nvidia_com_gpu", "container": "main"}
        yield series("kube_pod_container_resource_requests", asked, dict.fromkeys(steps, asks))
    yield series("kube_pod_created", labels, dict.fromkeys(STEPS, created))
    yield series("kube_pod_status_scheduled_time", labels, dict.fromkeys(range(6, 20), began))
    for phase, steps in (("Pending", range(-2, 6)), ("Running", range(6, 20))):
        yield series("kube_pod_status_phase", labels | {"phase": phase}, {step: int(step in steps) for step in STEPS})
    for team, steps in (("a", range(12, 20)), ("b", range(-2, 12))):
        yield series("kube_pod_labels", labels | {"label_team": team}, dict.fromkeys(steps, 1))


def device() -> Told:
    """One GPU that four pods have one after another; of its two Xids each is told for long after."""
    gpu = {"UUID": "GPU-0", "Hostname": "n1", "instance": "10.1.1.1:9400"}
    said = {step: 0 if step < 2 else 31 if step < 13 else 79 for step in STEPS}
    for name, steps in (("z", range(-2, 5)), ("y", range(5, 9)), ("x", range(9, 11)), ("w", range(11, 20))):
        labels = gpu | {"exported_pod": name, "exported_namespace": "other"}
        yield series("DCGM_FI_DEV_XID_ERRORS", labels, {step: said[step] for step in steps})
        yield series("DCGM_FI_DEV_FB_USED", labels, dict.fromkeys(steps, 100))


def cluster() -> Told:
    yield from pod("waited", at(-100).timestamp())
    for number, created in enumerate(BROKEN):
        yield from pod(f"broken{number}", created)
    yield from pod("less", at(-100).timestamp(), asks=-1)
    yield from device()
    yield series("kube_node_info", NEW | {"node": "n1"}, dict.fromkeys(STEPS, 1))
    for node, begun in (("n1", at(-1000).timestamp()), ("n2", "NaN")):
        yield series("kube_node_created", NEW | {"node": node}, dict.fromkeys(STEPS, begun))
    yield series("kube_node_status_capacity", NEW | {"node": "n1", "resource": "cpu"}, dict.fromkeys(STEPS, 1e300))
    # The exporter moves at the sixteenth step, and the node is cordoned then.
    ready = {"node": "n1", "condition": "Ready", "status": "true"}
    for where, steps, cordoned in ((OLD, range(-2, 16), 0), (NEW, range(16, 20), 1)):
        yield series("kube_node_status_condition", where | ready, dict.fromkeys(steps, 1))
        yield series("kube_node_spec_unschedulable", where | {"node": "n1"}, dict.fromkeys(steps, cordoned))


@pytest.fixture(scope="module", params=[prometheus_of, victoria_metrics_of], ids=["prometheus", "victoria-metrics"])
def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with request.param(tmp_path_factory.mktemp("changes") / "it", open_metrics(cluster())) as address:
        yield address


@pytest.fixture(params=[(-1, 18), (-1, 7, 18), tuple(range(-1, 19))], ids=["at once", "in two", "step by step"])
def pieces(request: pytest.FixtureRequest, url: str) -> list[Any]:
    """Return what one pull tells, or several one after another."""
    given = {"kind": "prometheus", "cluster": "c", "url": url, "delay_seconds": 0}
    ask = prometheus.open(PrometheusSettings.model_validate(given))
    stops = request.param
    return [piece for begin, end in itertools.pairwise(stops) for piece in ask(at(begin), at(end))]


def jobs(pieces: list[Any]) -> dict[str, dict[str, Any]]:
    """Return each job as it was told last."""
    return {row["job_id"]: row for piece in pieces for row in piece.frames[Job].iter_rows(named=True)}


def test_a_pod_that_was_seen_waiting_has_started_once_it_has_a_node(pieces: list[Any]) -> None:
    waited = jobs(pieces)["waited"]
    assert (waited["state"], waited["nodes"], waited["gpu_count"]) == ("RUNNING", "n1", 1)
    assert (waited["started_at"].timestamp(), waited["ended_at"]) == (at(5).timestamp() + 20, None)
    assert waited["requested_gpu_count"] == 1
    assert waited["team"] == "a", "the label that it has now"


def test_a_pod_with_a_value_that_is_none_stops_no_other(pieces: list[Any]) -> None:
    assert set(jobs(pieces)) == {"waited"}
    assert {each.where for piece in pieces for each in piece.rejected} == {"pod vision/less"}


def test_an_xid_is_one_event_whoever_has_its_device_after(pieces: list[Any]) -> None:
    told = pl.concat([piece.frames[GpuEvent] for piece in pieces if GpuEvent in piece.frames])
    assert told.select("occurred_at", "xid_code").rows() == [(at(2), 31), (at(13), 79)]


def test_a_node_is_as_the_exporter_says_that_is_there_now(pieces: list[Any]) -> None:
    assert pieces[-1].frames[NodeState].select("node", "state").rows() == [("n1", "DRAINING")]
