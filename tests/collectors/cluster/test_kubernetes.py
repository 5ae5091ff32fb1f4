"""Pods, nodes and owners, asked for over HTTP of a server that answers as Kubernetes does."""

import json
import ssl
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from collectors.cluster._kubernetes_api import place
from collectors.cluster._source import Pulled
from collectors.cluster.kubernetes import KubernetesSettings, kubernetes
from ledger.errors import ConfigError, SourceError
from ledger.tables import Job, Node, NodeState
from tests.collectors.cluster.api_server import TOKEN, ApiServer, Object, serving

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
CREATED = "2026-11-20T08:00:00Z"
BOUND = "2026-11-20T08:05:00Z"


@pytest.fixture
def api() -> Iterator[ApiServer]:
    with serving() as server:
        yield server


@pytest.fixture
def token(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text(f"{TOKEN}\n")
    return path


def pull(api: ApiServer, token: Path, **settings: Any) -> Pulled:
    given = {"kind": "kubernetes", "cluster": "alpha", "url": api.url, "token_file": token, **settings}
    (pulled,) = kubernetes.open(KubernetesSettings(**given))(None, NOW)
    for schema, frame in pulled.frames.items():
        schema.validate(frame)
    return pulled


def one(pulled: Pulled, schema: Any) -> dict[str, Any]:
    (row,) = pulled.frames[schema].to_dicts()
    return row


def pod(name: str = "train-0", **changes: Any) -> Object:
    """Return a pod that runs on gpu-1 and asks for two GPUs."""
    asked = changes.pop(
        "resources",
        {"limits": {"nvidia.com/gpu": "2"}, "requests": {"nvidia.com/gpu": "2", "cpu": "8", "memory": "64Gi"}},
    )
    meta = {
        "name": name,
        "namespace": "vision",
        "uid": f"uid-{name}",
        "creationTimestamp": CREATED,
        **changes.pop("meta", {}),
    }
    spec: Object = {
        "containers": [{"name": "main", "image": "train:1", "resources": asked}],
        "nodeName": "gpu-1",
        "restartPolicy": "Never",
    }
    status: Object = {
        "phase": "Running",
        "startTime": BOUND,
        "qosClass": "Burstable",
        "conditions": [{"type": "PodScheduled", "status": "True", "lastProbeTime": None, "lastTransitionTime": BOUND}],
    }
    return {
        "metadata": meta,
        "spec": {**spec, **changes.pop("spec", {})},
        "status": {**status, **changes.pop("status", {})},
    }


def pending(name: str, **status: Any) -> Object:
    waiting = pod(name)
    del waiting["spec"]["nodeName"]
    return {**waiting, "status": {"phase": "Pending", "qosClass": "Burstable", **status}}


def node(name: str = "gpu-1", **changes: Any) -> Object:
    labels = {
        "topology.kubernetes.io/region": "us-east-1",
        "node.kubernetes.io/instance-type": "p5.48xlarge",
        "nvidia.com/gpu.count": "8",
        **changes.pop("labels", {}),
    }
    meta = {
        "name": name,
        "uid": f"uid-{name}",
        "creationTimestamp": "2026-11-01T00:00:00Z",
        "labels": labels,
        **changes.pop("meta", {}),
    }
    ready = {
        "type": "Ready",
        "status": "True",
        "reason": "KubeletReady",
        "message": "kubelet is posting ready status",
        "lastHeartbeatTime": CREATED,
        "lastTransitionTime": "2026-11-01T00:01:00Z",
        **changes.pop("ready", {}),
    }
    capacity = {
        "cpu": "192",
        "memory": "2097152Ki",
        "nvidia.com/gpu": "8",
        "pods": "110",
        **changes.pop("capacity", {}),
    }
    return {
        "metadata": meta,
        "spec": {"providerID": "aws:///us-east-1a/i-0abc", **changes.pop("spec", {})},
        "status": {"capacity": capacity, "allocatable": capacity, "conditions": [ready]},
    }


def owned(thing: Object, kind: str, name: str, api_version: str, *, is_controller: bool = True) -> Object:
    line = {"apiVersion": api_version, "kind": kind, "name": name, "uid": f"uid-{name}", "controller": is_controller}
    return {**thing, "metadata": {**thing["metadata"], "ownerReferences": [line]}}


def bare(name: str, namespace: str = "vision") -> Object:
    return {"metadata": {"name": name, "namespace": namespace, "uid": f"uid-{name}", "creationTimestamp": CREATED}}


def test_a_pod_is_a_job_from_the_instant_it_has_a_node(api: ApiServer, token: Path) -> None:
    api.put("Pod", pod(meta={"labels": {"team": "vision-ai", "model": "llama", "app": "trainer", "secret": "no"}}))
    row = one(pull(api, token), Job)
    assert (row["cluster"], row["job_id"], row["restart_count"]) == ("alpha", "uid-train-0", 0)
    assert row["submitted_at"] == datetime(2026, 11, 20, 8, 0, tzinfo=UTC)
    assert row["started_at"] == datetime(2026, 11, 20, 8, 5, tzinfo=UTC)
    assert (row["state"], row["ended_at"], row["exit_code"], row["pending_reason"]) == ("RUNNING", None, None, None)
    assert (row["requested_gpu_count"], row["gpu_count"], row["cpu_count"]) == (2.0, 2.0, 8)
    assert row["memory_bytes"] == 64 * 2**30
    assert (row["team"], row["model"], row["user"]) == ("vision-ai", "llama", None)
    assert (row["account"], row["partition"], row["nodes"], row["qos"]) == ("vision", "vision", "gpu-1", "Burstable")
    assert json.loads(row["labels"]) == {"app": "trainer", "pod": "train-0"}


def test_only_pods_that_ask_for_an_accelerator_are_kept_unless_all_are_wanted(api: ApiServer, token: Path) -> None:
    api.put("Pod", pod("web", resources={"requests": {"cpu": "100m"}}))
    api.put("Pod", pod("bare", resources={}))
    api.put("Pod", pod("train"))
    assert pull(api, token).frames[Job]["job_name"].to_list() == ["train"]
    everything = pull(api, token, with_cpu_pods=True).frames[Job].sort("job_name")
    assert everything["job_name"].to_list() == ["bare", "train", "web"]
    assert everything["requested_gpu_count"].to_list() == [0.0, 2.0, 0.0]


def test_owners_are_followed_to_the_one_that_nobody_owns(api: ApiServer, token: Path) -> None:
    apps, batch = "apps/v1", "batch/v1"
    api.put("Pod", owned(pod("vllm-7f-x"), "ReplicaSet", "vllm-7f", apps))
    api.put("ReplicaSet", owned({**bare("vllm-7f"), "spec": {"selector": {}}}, "Deployment", "vllm", apps))
    api.put(
        "Deployment",
        {**bare("vllm"), "spec": {"selector": {}, "template": {"spec": {"containers": [{"name": "main"}]}}}},
    )
    api.put("Pod", owned(pod("nightly-1-x"), "Job", "nightly-1", batch))
    template = {"spec": {"containers": [{"name": "main"}], "restartPolicy": "Never"}}
    api.put("Job", owned({**bare("nightly-1"), "spec": {"template": template}}, "CronJob", "nightly", batch))
    api.put(
        "CronJob",
        {**bare("nightly"), "spec": {"schedule": "0 1 * * *", "jobTemplate": {"spec": {"template": template}}}},
    )
    api.put("Pod", owned(pod("llama-worker-0"), "PyTorchJob", "llama", "kubeflow.org/v1"))
    api.put("PyTorchJob", bare("llama"))
    api.put("Pod", owned(pod("ray-worker"), "RayCluster", "rl-abc", "ray.io/v1"))
    api.put("RayCluster", owned(bare("rl-abc"), "RayJob", "rl", "ray.io/v1"))
    jobs = pull(api, token).frames[Job]
    assert dict(zip(jobs["job_id"], jobs["job_name"], strict=True)) == {
        "uid-vllm-7f-x": "vllm",
        "uid-nightly-1-x": "nightly",
        "uid-llama-worker-0": "llama",
        "uid-ray-worker": "rl",
    }
    kinds = dict(zip(jobs["job_name"], jobs["workload_kind"], strict=True))
    assert kinds == {"vllm": "", "nightly": "batch", "llama": "training", "rl": "batch"}
    labels = dict(zip(jobs["job_name"], jobs["labels"], strict=True))
    assert json.loads(labels["vllm"]) == {"owner": "Deployment/vllm", "pod": "vllm-7f-x"}


def test_owners_are_asked_for_once(api: ApiServer, token: Path) -> None:
    for index in range(5):
        api.put("Pod", owned(pod(f"llama-{index}"), "PyTorchJob", "llama", "kubeflow.org/v1"))
    api.put("PyTorchJob", bare("llama"))
    for _ in range(2):
        assert pull(api, token, labels=("once",)).frames[Job].height == 5
    assert api.asked.count("/apis/kubeflow.org/v1/namespaces/vision/pytorchjobs/llama") == 1


def test_an_owner_that_is_gone_or_another_by_its_name_or_unreadable_ends_the_chain(api: ApiServer, token: Path) -> None:
    api.put("Pod", owned(pod("a-x"), "ReplicaSet", "a", "apps/v1"))
    api.put("Pod", owned(pod("b-x"), "Job", "b", "batch/v1"))
    again = owned(bare("b"), "CronJob", "wrong", "batch/v1")
    again["metadata"]["uid"] = "another"
    api.put(
        "Job", {**again, "spec": {"template": {"spec": {"containers": [{"name": "main"}], "restartPolicy": "Never"}}}}
    )
    api.put("Pod", owned(pod("c-x"), "PyTorchJob", "c", "kubeflow.org/v1"))
    api.put("Pod", owned(pod("d-x"), "Sandbox", "d", "unknown.io/v1"))
    api.put("Pod", owned(pod("e-x"), "ReplicaSet", "not-its-maker", "apps/v1", is_controller=False))
    api.forbidden = {"pytorchjobs"}
    pulled = pull(api, token)
    assert sorted(pulled.frames[Job]["job_name"]) == ["a", "b", "c", "d", "e-x"]
    assert pulled.remarks == (
        "owners of pods may not be read and end the chain: pytorchjobs.kubeflow.org; allow them in the ClusterRole",
    )


@pytest.mark.parametrize(
    ("status", "state", "exit_code"),
    [
        ({"phase": "Succeeded"}, "COMPLETED", "0:0"),
        ({"phase": "Failed"}, "FAILED", "1:0"),
        ({"phase": "Failed", "reason": "DeadlineExceeded"}, "TIMEOUT", "1:0"),
        ({"phase": "Failed", "reason": "Evicted"}, "PREEMPTED", "1:0"),
        ({"phase": "Failed", "container": "OOMKilled"}, "OUT_OF_MEMORY", "1:0"),
    ],
)
def test_how_and_when_a_pod_ended(api: ApiServer, token: Path, status: Object, state: str, exit_code: str) -> None:
    reason = status.pop("container", "Error")
    code = int(exit_code[0])
    ends = [("2026-11-20T09:00:00Z", 0), ("2026-11-20T09:30:00Z", code)]
    image = {"image": "i", "imageID": "", "ready": False, "restartCount": 0}
    states = [{"exitCode": code, "finishedAt": at, "reason": reason if code else "Completed"} for at, code in ends]
    statuses = [{"name": f"c{index}", **image, "state": {"terminated": each}} for index, each in enumerate(states)]
    api.put("Pod", pod(status={**status, "containerStatuses": statuses}))
    row = one(pull(api, token), Job)
    assert (row["state"], row["exit_code"]) == (state, exit_code)
    assert row["ended_at"] == datetime(2026, 11, 20, 9, 30, tzinfo=UTC)
    assert row["gpu_count"] == 2.0


def test_an_evicted_pod_without_containers_ended_at_its_last_change(api: ApiServer, token: Path) -> None:
    conditions = [
        {"type": "PodScheduled", "status": "True", "lastTransitionTime": BOUND},
        {
            "type": "DisruptionTarget",
            "status": "True",
            "reason": "PreemptionByScheduler",
            "lastTransitionTime": "2026-11-20T10:00:00Z",
        },
    ]
    api.put("Pod", pod(status={"phase": "Failed", "conditions": conditions}))
    row = one(pull(api, token), Job)
    assert (row["state"], row["exit_code"]) == ("PREEMPTED", None)
    assert row["ended_at"] == datetime(2026, 11, 20, 10, 0, tzinfo=UTC)


def test_why_a_pod_waits(api: ApiServer, token: Path) -> None:
    full = "0/4 nodes are available: 4 Insufficient nvidia.com/gpu."
    unscheduled = {
        "type": "PodScheduled",
        "status": "False",
        "reason": "Unschedulable",
        "message": full,
        "lastTransitionTime": CREATED,
    }
    api.put("Pod", pending("full", conditions=[unscheduled]))
    gated = pending("gated", conditions=[{**unscheduled, "reason": "SchedulingGated", "message": "gated"}])
    gated["spec"]["schedulingGates"] = [{"name": "kueue.x-k8s.io/admission"}]
    gated["metadata"]["labels"] = {"kueue.x-k8s.io/queue-name": "research"}
    api.put("Pod", gated)
    waiting = {
        "name": "main",
        "image": "train:1",
        "imageID": "",
        "ready": False,
        "restartCount": 0,
        "state": {"waiting": {"reason": "ImagePullBackOff", "message": 'Back-off pulling image "train:1"'}},
    }
    api.put("Pod", pod("pulling", status={"phase": "Pending", "containerStatuses": [waiting]}))
    rows = {row["job_name"]: row for row in pull(api, token).frames[Job].to_dicts()}
    assert (rows["full"]["state"], rows["full"]["pending_reason"]) == ("PENDING", f"Unschedulable: {full}")
    assert (rows["full"]["started_at"], rows["full"]["gpu_count"], rows["full"]["requested_gpu_count"]) == (
        None,
        None,
        2.0,
    )
    assert rows["gated"]["pending_reason"] == "SchedulingGated: kueue.x-k8s.io/admission"
    assert (rows["gated"]["eligible_at"], rows["gated"]["account"]) == (None, "research")
    assert rows["pulling"]["state"] == "CONFIGURING"
    assert rows["pulling"]["pending_reason"] == 'ImagePullBackOff: Back-off pulling image "train:1"'
    assert rows["pulling"]["gpu_count"] == 2.0


def workload(name: str, *conditions: Object, count: int = 4) -> Object:
    container = {"name": "main", "resources": {"requests": {"nvidia.com/gpu": "8"}}}
    pods = {"name": "main", "count": count, "template": {"spec": {"containers": [container]}}}
    return {**bare(name), "spec": {"queueName": "research", "podSets": [pods]}, "status": {"conditions": conditions}}


NO_QUOTA = "couldn't assign flavors to pod set main: insufficient unused quota for nvidia.com/gpu, 8 more needed"
WAITING = {"type": "QuotaReserved", "status": "False", "reason": "Pending", "message": NO_QUOTA}
LET_IN = {"type": "Admitted", "status": "True", "reason": "Admitted", "lastTransitionTime": "2026-11-20T09:00:00Z"}


def test_what_waits_for_quota_is_a_job_until_it_is_let_in(api: ApiServer, token: Path) -> None:
    api.put("PyTorchJob", bare("llama"))
    api.put("Workload", owned(workload("pytorchjob-llama-1", WAITING), "PyTorchJob", "llama", "kubeflow.org/v1"))
    row = one(pull(api, token), Job)
    assert (row["job_id"], row["job_name"], row["account"]) == ("uid-pytorchjob-llama-1", "llama", "research")
    assert (row["state"], row["requested_gpu_count"], row["gpu_count"]) == ("PENDING", 32, None)
    assert (row["pending_reason"], row["workload_kind"]) == (f"QuotaReserved: {NO_QUOTA}", "training")
    assert (row["started_at"], row["ended_at"]) == (None, None)
    api.put("Workload", owned(workload("pytorchjob-llama-1", LET_IN), "PyTorchJob", "llama", "kubeflow.org/v1"))
    row = one(pull(api, token), Job)
    assert (row["state"], row["started_at"]) == ("ADMITTED", None)
    assert row["ended_at"] == datetime(2026, 11, 20, 9, tzinfo=UTC)


def test_pods_that_wait_themselves_wait_once(api: ApiServer, token: Path) -> None:
    api.put("Workload", owned(workload("pod-a-1", WAITING), "Pod", "a", "v1"))
    assert pull(api, token).frames[Job].is_empty()


def test_without_the_right_to_see_queues_all_else_is_told(api: ApiServer, token: Path) -> None:
    api.put("Pod", pod())
    api.put("Workload", workload("w", WAITING))
    api.forbidden = {"workloads"}
    pulled = pull(api, token)
    assert pulled.frames[Job]["job_name"].to_list() == ["train-0"]
    assert pulled.remarks == ("what waits for quota may not be read: allow workloads of Kueue in the ClusterRole",)
    api.without = {"kueue.x-k8s.io", "resource.k8s.io"}
    assert pull(api, token).remarks == ()


def test_a_node_is_what_its_labels_and_its_cloud_say(api: ApiServer, token: Path) -> None:
    api.put("Node", node())
    row = one(pull(api, token, provider="AWS"), Node)
    assert (row["node"], row["region"], row["instance_type"]) == ("gpu-1", "us-east-1", "p5.48xlarge")
    assert (row["provider"], row["provider_instance_id"]) == ("AWS", "aws:///us-east-1a/i-0abc")
    assert (row["cpu_count"], row["memory_bytes"], row["gpu_count"]) == (192, 2 * 2**30, 8)
    assert row["exists_start"] == datetime(2026, 11, 1, tzinfo=UTC)
    assert row["holder"] == "scheduler", "what no pod asks for is free, whoever knows which device it is"
    some = pull(api, token, namespaces=("vision",))
    assert one(some, Node)["holder"] is None, "a pod of another namespace may have any device"


def cordon(**more: Any) -> Object:
    taint = {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}
    return {"unschedulable": True, "taints": [taint, *more.pop("taints", [])]}


def tainted(key: str, value: str = "", **more: str) -> Object:
    taint = {"key": key, "value": value, "effect": "NoSchedule", **more}
    return node(spec={"taints": [{name: word for name, word in taint.items() if word}]})


UNREACHABLE = {"status": "Unknown", "reason": "NodeStatusUnknown", "lastTransitionTime": CREATED}
REPAIR = {"key": "repair", "value": "xid-79", "effect": "NoExecute"}
SHUTDOWN = "node.cloudprovider.kubernetes.io/shutdown"
JOINED = datetime(2026, 11, 1, 0, 1, tzinfo=UTC)
AT_EIGHT = datetime(2026, 11, 20, 8, tzinfo=UTC)


@pytest.mark.parametrize(
    ("thing", "state", "reason", "start"),
    [
        (node(), "UP", None, JOINED),
        (node(ready=UNREACHABLE), "DOWN", "NodeStatusUnknown", AT_EIGHT),
        (node(spec=cordon()), "DRAINED", "cordoned", NOW),
        (node(spec=cordon(taints=[REPAIR])), "DRAINED", "cordoned (repair=xid-79)", NOW),
        (tainted("ToBeDeletedByClusterAutoscaler", "1"), "DRAINED", "ToBeDeletedByClusterAutoscaler", NOW),
        (tainted("dedicated", "vision"), "RESERVED", "dedicated=vision", NOW),
        (tainted("nvidia.com/gpu", "present"), "UP", None, JOINED),
        (tainted(SHUTDOWN, timeAdded=CREATED), "POWERED_DOWN", "shut down by the cloud", AT_EIGHT),
    ],
)
def test_what_the_scheduler_lets_a_node_do(
    api: ApiServer, token: Path, thing: Object, state: str, reason: str | None, start: datetime
) -> None:
    api.put("Node", thing)
    row = one(pull(api, token), NodeState)
    assert (row["state"], row["reason"], row["state_start"], row["state_end"]) == (state, reason, start, None)


def test_a_cordoned_node_drains_while_a_pod_uses_its_devices(api: ApiServer, token: Path) -> None:
    api.put("Node", node(spec=cordon()))
    api.put("Pod", pod(status={"phase": "Succeeded"}))
    assert one(pull(api, token), NodeState)["state"] == "DRAINED"
    api.put("Pod", pod("still-there"))
    assert one(pull(api, token), NodeState)["state"] == "DRAINING"


def test_lists_come_in_pages_and_each_object_once(api: ApiServer, token: Path) -> None:
    for index in range(57):
        api.put("Pod", pod(f"p{index}"))
    jobs = pull(api, token, page_size=10).frames[Job]
    assert jobs["job_id"].n_unique() == jobs.height == 57
    assert api.asked.count("/api/v1/pods") == 6


def test_a_list_that_is_gone_in_the_middle_is_read_from_the_start(api: ApiServer, token: Path) -> None:
    for index in range(25):
        api.put("Pod", pod(f"p{index}"))
    api.expire_lists = 2
    assert pull(api, token, page_size=10).frames[Job].height == 25
    api.expire_lists = 100
    with pytest.raises(SourceError, match=r"pods: found 410 Gone in the middle of the list 3 times"):
        pull(api, token, page_size=10)


def test_a_busy_server_is_asked_again(api: ApiServer, token: Path) -> None:
    api.put("Pod", pod())
    api.busy = 2
    assert pull(api, token).frames[Job].height == 1
    api.busy = 50
    with pytest.raises(SourceError, match="found 429 Too Many Requests"):
        pull(api, token)


def test_namespaces_can_be_chosen(api: ApiServer, token: Path) -> None:
    api.put("Pod", pod("mine"))
    api.put("Pod", pod("theirs", meta={"namespace": "speech"}))
    assert pull(api, token, namespaces=("speech",)).frames[Job]["job_name"].to_list() == ["theirs"]
    assert "/api/v1/pods" not in api.asked


def test_a_refused_token_is_said_with_what_to_do(api: ApiServer, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong"
    wrong.write_text("expired")
    with pytest.raises(SourceError, match="found 401 Unauthorized") as caught:
        pull(api, wrong)
    assert "token_file" in caught.value.hint
    with pytest.raises(SourceError, match=r"token_file: .*No such file"):
        pull(api, tmp_path / "absent")


@pytest.mark.parametrize(
    "content", [b"", b"old-one\nnew-one\n", b"\xff\xfeold-one", "old-\xf6ne".encode(), b"old-one\x00"]
)
def test_a_file_that_holds_no_token_is_said_and_nothing_of_it_shown(
    api: ApiServer, tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "token").write_bytes(content)
    with pytest.raises(SourceError, match="expected one token and nothing else") as caught:
        pull(api, tmp_path / "token")
    assert "old" not in str(caught.value).replace(str(tmp_path), "")


def test_the_clusters_own_authority_is_needed_and_enough(tmp_path: Path, token: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "ca.crt"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    subject = ["-subj", "/CN=kubernetes", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2"]
    subprocess.run([*command, *subject, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with serving(context) as secure:
        secure.put("Pod", pod())
        assert pull(secure, token, ca_file=certificate).frames[Job].height == 1
        with pytest.raises(SourceError, match="certificate verify failed") as caught:
            pull(secure, token)
        assert "ca_file" in caught.value.hint
        with pytest.raises(SourceError, match=r"ca_file: .*key\.pem"):
            pull(secure, token, ca_file=key)


def test_a_missing_permission_is_said_in_the_servers_words(api: ApiServer, token: Path) -> None:
    api.forbidden = {"nodes"}
    with pytest.raises(SourceError, match=r'403 Forbidden \(nodes is forbidden: User "system:serviceaccount') as caught:
        pull(api, token)
    assert "ClusterRole" in caught.value.hint


def test_what_is_no_api_server_is_said(api: ApiServer, token: Path) -> None:
    api.broken["/api/v1/nodes"] = b"<html>login</html>"
    with pytest.raises(SourceError, match=r"nodes: found .*expected a list of objects"):
        pull(api, token)
    with pytest.raises(SourceError, match="expected an API server"):
        pull(api, token, url="http://127.0.0.1:9")


def test_an_object_that_cannot_be_read_is_refused_alone_and_has_not_ended(api: ApiServer, token: Path) -> None:
    api.put("Pod", pod("good"))
    api.put("Pod", pod("odd", resources={"limits": {"nvidia.com/gpu": "many"}}), is_valid=False)
    api.put("Pod", {**pod("broken"), "spec": []}, is_valid=False)
    pulled = pull(api, token)
    assert pulled.frames[Job]["job_name"].to_list() == ["good"]
    reasons = sorted(each.reason for each in pulled.rejected)
    assert reasons[1] == "found 'many', expected a quantity"
    assert "Expected `object`, got `array`" in reasons[0]
    assert set(pulled.standing) == {Node, NodeState}, "jobs are not told whole"


def test_without_an_address_it_asks_the_cluster_it_runs_in() -> None:
    pod_of = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "KUBERNETES_SERVICE_PORT": "443"}
    found = place("", None, None, pod_of)
    assert found.url == "https://10.0.0.1:443"
    assert str(found.token_file) == "/var/run/secrets/kubernetes.io/serviceaccount/token"
    assert str(found.ca_file) == "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt"
    assert place("", None, None, {**pod_of, "KUBERNETES_SERVICE_HOST": "fd00::1"}).url == "https://[fd00::1]:443"
    with pytest.raises(ConfigError, match="url: found nothing"):
        place("", None, None, {})


@pytest.mark.real_data
def test_pods_of_a_real_cluster(api: ApiServer, token: Path, shared_data: Path) -> None:
    recorded = json.loads((shared_data / "kubernetes/k8s_1_31_kubelet_pods.json").read_text())
    api.broken["/api/v1/pods"] = recorded
    pulled = pull(api, token, with_cpu_pods=True)
    jobs = pulled.frames[Job]
    # Static pods have no time of creation in the kubelet's list, from which this was recorded; in the server's they do.
    assert (len(recorded["items"]), jobs.height, len(pulled.rejected)) == (23, 19, 4)
    assert jobs.group_by("state").len().sort("state").rows() == [("COMPLETED", 1), ("FAILED", 4), ("RUNNING", 14)]
    assert jobs.filter(pl.col("ended_at").is_null() != (pl.col("state") == "RUNNING")).is_empty()
    assert jobs["requested_gpu_count"].to_list() == [0.0] * 19
    assert "e2e-cronjob-29371395" in jobs["job_name"].to_list(), "its owners are not in the recording"
