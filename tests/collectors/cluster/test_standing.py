"""What a source no longer tells has ended, kept in a real store, asked as the hub asks."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from app.context import Context
from app.services._pulling import Outcome
from app.services._pulling import pull as asked
from collectors.cluster._configured import configured
from ledger.config import load
from ledger.frames import to_frame
from ledger.tables import Gpu, Job, JobGpu, Node, NodeState
from tests.collectors.cluster.api_server import TOKEN, ApiServer, serving
from tests.collectors.cluster.test_kubernetes import cordon, node, pending, pod

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
STEP = timedelta(seconds=30)
REGISTER = '[{"id":"GPU-a","count":10,"devmem":40960,"devcore":100,"type":"NVIDIA A100","health":true}]'
GIVEN = {"hami.io/vgpu-devices-allocated": "GPU-a,NVIDIA,10240,25:;"}


@dataclass
class Hub:
    """A hub with one source, whose clock goes on by a pace at each pull."""

    api: ApiServer
    token: Path
    now: datetime = NOON
    context: Context = field(init=False)

    def __post_init__(self) -> None:
        section = {"kind": "kubernetes", "cluster": "alpha", "url": self.api.url, "token_file": str(self.token)}
        settings = load(store={"url": "duckdb::memory:"}, sources={"k8s": section})
        self.context = Context(settings, now=lambda: self.now)

    def pull(self) -> Outcome:
        (source,) = configured(self.context.settings)
        outcome = asked(self.context, source)
        assert outcome.error is None
        assert outcome.rejected == 0
        self.now += STEP
        return outcome

    def rows(self, schema: Any) -> list[dict[str, Any]]:
        return self.context.store.read(schema).to_dicts()


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    monkeypatch.delenv("CLUSTERLEDGER_STORE", raising=False)
    token = tmp_path / "token"
    token.write_text(TOKEN)
    with serving() as api:
        here = Hub(api, token)
        yield here
        here.context.close()


def test_a_pod_that_is_gone_ended_when_it_was_last_seen_and_so_did_its_devices(hub: Hub) -> None:
    hub.api.put("Node", node(meta={"annotations": {"hami.io/node-nvidia-register": REGISTER}}))
    hub.api.put("Pod", pod(meta={"annotations": GIVEN}))
    hub.pull()
    hub.pull()
    ((job,), (held,), (there,)) = hub.rows(Job), hub.rows(JobGpu), hub.rows(Node)
    assert (job["state"], job["ended_at"], job["gpu_count"]) == ("RUNNING", None, 0.25)
    assert (held["gpu_uuid"], held["job_id"], held["held_end"]) == ("GPU-a", "uid-train-0", None)
    assert held["requested_share_ratio"] == 0.25
    assert there["holder"] == "scheduler"
    hub.api.drop("Pod", "train-0", "vision")
    hub.pull()
    hub.pull()
    ((job,), (held,)) = hub.rows(Job), hub.rows(JobGpu)
    assert (job["state"], job["ended_at"]) == ("DELETED", NOON + STEP)
    assert held["held_end"] == NOON + STEP


CLAIMING: dict[str, Any] = {
    "resources": {},
    "spec": {"resourceClaims": [{"name": "gpus", "resourceClaimTemplateName": "t"}]},
    "status": {"resourceClaimStatuses": [{"name": "gpus", "resourceClaimName": "c1"}]},
}


def claim() -> dict[str, Any]:
    """Return a claim of the pod that was given one GPU."""
    request = {"name": "gpus", "exactly": {"deviceClassName": "gpu.nvidia.com", "count": 1}}
    given = {"request": "gpus", "driver": "gpu.nvidia.com", "pool": "gpu-1", "device": "gpu-0"}
    users = [{"resource": "pods", "name": "train-0", "uid": "uid-train-0"}]
    return {
        "metadata": {"name": "c1", "namespace": "vision"},
        "spec": {"devices": {"requests": [request]}},
        "status": {"allocation": {"devices": {"results": [given]}}, "reservedFor": users},
    }


def offered(uuid: str = "GPU-a") -> dict[str, Any]:
    """Return what the driver of a node offers."""
    device = {"name": "gpu-0", "attributes": {"uuid": {"string": uuid}, "type": {"string": "gpu"}}}
    pool = {"name": "gpu-1", "generation": 1, "resourceSliceCount": 1}
    spec = {"driver": "gpu.nvidia.com", "nodeName": "gpu-1", "pool": pool, "devices": [device]}
    return {"metadata": {"name": "s1"}, "spec": spec}


def test_a_driver_that_is_started_anew_ends_no_job_and_no_holding(hub: Hub) -> None:
    """The kubelet takes away what a driver offers while it is away; pods go on, with what they were given."""
    for kind, thing in (("Node", node()), ("Pod", pod(**CLAIMING)), ("ResourceClaim", claim())):
        hub.api.put(kind, thing)
    hub.pull()
    ((job,), held) = hub.rows(Job), hub.rows(JobGpu)
    assert (job["state"], job["ended_at"], job["gpu_count"], held) == ("RUNNING", None, 1, [])
    hub.api.put("ResourceSlice", offered())
    hub.pull()
    before = hub.rows(Job), hub.rows(JobGpu)
    assert [(row["gpu_uuid"], row["held_end"]) for row in before[1]] == [("GPU-a", None)]
    hub.api.drop("ResourceSlice", "s1")
    hub.pull()
    assert (hub.rows(Job), hub.rows(JobGpu)) == before
    hub.api.put("ResourceSlice", offered())
    hub.pull()
    assert (hub.rows(Job), hub.rows(JobGpu)) == before
    hub.api.drop("Pod", "train-0", "vision")
    hub.api.drop("ResourceClaim", "c1", "vision")
    hub.pull()
    assert [row["held_end"] is None for row in hub.rows(JobGpu)] == [False]


def test_a_hub_that_begins_while_a_driver_is_away_ends_no_holding(hub: Hub) -> None:
    for kind, thing in (("Node", node()), ("Pod", pod(**CLAIMING)), ("ResourceClaim", claim())):
        hub.api.put(kind, thing)
    hub.api.put("ResourceSlice", offered())
    hub.pull()
    before = hub.rows(JobGpu)
    hub.api.drop("ResourceSlice", "s1")
    # Another pace makes it another source, which has seen nothing yet.
    (source,) = configured(hub.context.settings)
    anew = replace(source, settings=source.settings.model_copy(update={"every_seconds": 31.0}))
    outcome = asked(hub.context, anew)
    assert outcome.error is None
    assert hub.rows(JobGpu) == before
    assert outcome.remarks == ["1 pod has devices that no driver offers now: which they are stays as it was told"]


def test_why_a_pod_waited_is_known_while_it_runs(hub: Hub) -> None:
    full = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes are available."}
    hub.api.put("Pod", pending("train-0", conditions=[full]))
    hub.pull()
    hub.api.put("Pod", pod())
    hub.pull()
    hub.pull()
    (job,) = hub.rows(Job)
    assert (job["state"], job["pending_reason"]) == ("RUNNING", "Unschedulable: 0/1 nodes are available.")


def test_pulling_again_changes_nothing(hub: Hub) -> None:
    hub.api.put("Node", node())
    hub.api.put("Pod", pod())
    hub.pull()
    before = {schema: hub.rows(schema) for schema in (Job, Node, NodeState)}
    assert hub.pull().rows == 0
    assert {schema: hub.rows(schema) for schema in (Job, Node, NodeState)} == before


def test_states_of_a_node_follow_one_another_without_a_gap(hub: Hub) -> None:
    hub.api.put("Node", node())
    hub.pull()
    hub.api.put("Node", node(spec=cordon()))
    hub.pull()
    hub.pull()
    hub.api.put("Node", node())
    hub.pull()
    states = sorted(hub.rows(NodeState), key=lambda row: row["state_start"])
    created = datetime(2026, 11, 1, tzinfo=UTC)
    assert [(row["state"], row["state_start"], row["state_end"]) for row in states] == [
        ("UNKNOWN", created, NOON),
        ("UP", NOON, NOON + STEP),
        ("DRAINED", NOON + STEP, NOON + 2 * STEP),
        ("UP", NOON + 2 * STEP, None),
    ]


def test_a_node_that_left_has_ended_with_its_state(hub: Hub) -> None:
    hub.api.put("Node", node())
    hub.api.put("Node", node("gpu-2"))
    hub.pull()
    hub.api.drop("Node", "gpu-2")
    hub.pull()
    ends = {row["node"]: row["exists_end"] for row in hub.rows(Node)}
    assert ends == {"gpu-1": None, "gpu-2": NOON}
    assert {row["node"]: row["state_end"] for row in hub.rows(NodeState) if row["state"] == "UP"} == ends


def test_while_the_hub_was_away_nobody_knows_what_was_free(hub: Hub) -> None:
    hub.api.put("Node", node())
    unreachable = {"status": "Unknown", "lastTransitionTime": "2026-11-20T08:00:00Z"}
    hub.api.put("Node", node("gpu-2", ready=unreachable))
    hub.pull()
    hub.pull()
    hub.now += timedelta(hours=2)
    back = hub.now
    hub.pull()
    hub.pull()
    hub.api.put("Node", node(spec=cordon()))
    hub.pull()
    hub.now += timedelta(hours=2)
    hub.pull()
    states = sorted(hub.rows(NodeState), key=lambda row: (row["node"], row["state_start"]))
    assert [(row["state"], row["state_start"], row["state_end"]) for row in states] == [
        ("UNKNOWN", datetime(2026, 11, 1, tzinfo=UTC), NOON),
        ("UP", NOON, NOON + STEP),
        ("UNKNOWN", NOON + STEP, back),
        ("UP", back, back + 2 * STEP),
        ("DRAINED", back + 2 * STEP, None),
        ("UNKNOWN", datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 11, 20, 8, tzinfo=UTC)),
        ("DOWN", datetime(2026, 11, 20, 8, tzinfo=UTC), None),
    ]


def test_a_node_that_left_takes_its_devices_with_it(hub: Hub) -> None:
    hub.api.put("Node", node())
    hub.api.put("Node", node("gpu-2"))
    hub.pull()
    for name in ("gpu-1", "gpu-2"):
        place = {"cluster": "alpha", "node": name, "exists_start": NOON - STEP}
        device = {**place, "gpu_uuid": f"GPU-{name}", "parent_gpu_uuid": "", "gpu_fraction": Decimal(1)}
        hub.context.store.append(Node, to_frame(Node, [{**place, "source": "agent"}]), source="test")
        hub.context.store.append(Gpu, to_frame(Gpu, [device]), source="test")
    hub.pull()
    hub.api.drop("Node", "gpu-2")
    # The other one is made anew under its name: its devices are still there.
    hub.api.put("Node", node(meta={"creationTimestamp": "2026-11-20T11:59:00Z"}))
    hub.pull()
    assert {row["gpu_uuid"]: row["exists_end"] for row in hub.rows(Gpu)} == {
        "GPU-gpu-1": None,
        "GPU-gpu-2": NOON + STEP,
    }
    ends = {(row["node"], row["source"]): row["exists_end"] for row in hub.rows(Node) if row["exists_end"]}
    assert set(ends) == {("gpu-1", "kubernetes"), ("gpu-2", "kubernetes"), ("gpu-2", "agent")}


def test_what_others_told_does_not_end(hub: Hub) -> None:
    job = {"cluster": "alpha", "job_id": "17", "submitted_at": NOON, "restart_count": 0, "state": "RUNNING"}
    hub.context.store.append(Job, to_frame(Job, [{**job, "source": "slurm"}]), source="test")
    elsewhere = {**job, "cluster": "beta", "source": "kubernetes"}
    hub.context.store.append(Job, to_frame(Job, [elsewhere]), source="test")
    hub.pull()
    hub.pull()
    assert [row["ended_at"] for row in hub.rows(Job)] == [None, None]


def test_nothing_ends_where_the_server_refuses_or_an_object_cannot_be_read(hub: Hub) -> None:
    hub.api.put("Pod", pod())
    hub.pull()
    hub.api.forbidden = {"pods"}
    (source,) = configured(hub.context.settings)
    assert asked(hub.context, source).error is not None
    hub.api.forbidden = set()
    hub.api.put("Pod", {**pod(), "spec": []}, is_valid=False)
    outcome = asked(hub.context, source)
    assert (outcome.error, outcome.rejected) == (None, 1)
    assert [row["ended_at"] for row in hub.rows(Job)] == [None]
