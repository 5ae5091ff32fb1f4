"""Which pod holds which device: asked of a real gRPC server on a unix socket, as the kubelet is one."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.services._privileges import seen
from collectors.fake_nvml import Gpu, Phase, Process
from collectors.node._attribution import Attribution
from collectors.node._pod_resources import Latest, _of_message, holdings, latest
from collectors.node.pod_resources import PodResourcesSettings, pod_resources
from ledger.errors import SourceError, SourceMissing
from ledger.registry import Row
from tests.collectors.node.amd_node import AmdNode, put
from tests.collectors.node.gpu_node import Node
from tests.collectors.node.kubelet import Kubelet, Response, container, serve

A, B = "GPU-0f0e4dbc-aaaa-4bbb-8ccc-000000000001", "GPU-0f0e4dbc-aaaa-4bbb-8ccc-000000000002"
SLICE = "MIG-0f0e4dbc-aaaa-4bbb-8ccc-000000000009"
UID = "11111111-2222-4333-8444-555555555555"
OTHER_UID = "99999999-2222-4333-8444-555555555555"

Door = Callable[..., dict[str, pl.DataFrame]]


@pytest.fixture
def root() -> Iterator[Path]:
    """Return a short folder: the name of a unix socket may have 107 characters."""
    folder = Path(tempfile.mkdtemp(prefix="kubelet"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def kubelet(root: Path) -> Iterator[Kubelet]:
    told = Kubelet()
    server = serve(told, root)
    yield told
    server.stop(None).wait()


def logged(root: Path, namespace: str, name: str, uid: str) -> Path:
    folder = root / "var/log/pods" / f"{namespace}_{name}_{uid}"
    folder.mkdir(parents=True)
    return folder


def opened(root: Path, **settings: Any) -> Callable[[], list[Row]]:
    one_round = pod_resources.open(root=root, procfs=root / "proc", settings=PodResourcesSettings(**settings))
    return lambda: [row for _, row in one_round()]


def held(rows: list[Row]) -> set[tuple[object, ...]]:
    return {(row["gpu_uuid"], row["job_id"], row["container"], row["replica_count"]) for row in rows}


def test_each_container_and_device_is_a_row_under_the_uid_that_a_cgroup_names(
    root: Path, kubelet: Kubelet, kept: Door
) -> None:
    logged(root, "ml", "train-0", UID)
    kubelet.pods = [
        {
            "name": "train-0",
            "namespace": "ml",
            "containers": [
                container("main", "nvidia.com/gpu", A, B),
                container("nic", "rdma/hca_shared", "mlx5_0"),
                {"name": "sidecar"},
            ],
        },
        {"name": "small", "namespace": "dev", "containers": [container("main", "nvidia.com/mig-1g.10gb", SLICE)]},
        {"name": "web", "namespace": "dev", "containers": [{"name": "web", "cpu_ids": [0]}]},
    ]
    rows = opened(root)()
    assert held(rows) == {(A, UID, "main", None), (B, UID, "main", None), (SLICE, "dev/small", "main", None)}
    frame = kept(("gpu_holder_sample", row) for row in rows)["gpu_holder_sample"]
    assert frame.filter(pl.col("gpu_uuid") == A).select(
        "namespace", "pod_name", "resource", "attribution_source", "attribution_confidence_ratio"
    ).row(0) == ("ml", "train-0", "nvidia.com/gpu", "pod_resources", 0.95)
    method, metadata = kubelet.asked[0]
    assert method == "/v1.PodResourcesLister/List"
    assert metadata["user-agent"]


def test_replicas_of_a_shared_device_are_one_row_that_counts_them(root: Path, kubelet: Kubelet) -> None:
    shared = [container("main", "nvidia.com/gpu.shared", f"{A}::1", f"{A}::3", f"{B}::0")]
    kubelet.pods = [{"name": "a", "namespace": "n", "containers": shared}]
    kubelet.pods += [{"name": "b", "namespace": "n", "containers": [container("c", "nvidia.com/gpu", f"{A}::0")]}]
    assert held(opened(root)()) == {(A, "n/a", "main", 2), (B, "n/a", "main", 1), (A, "n/b", "c", 1)}


def test_devices_that_are_named_by_their_minor_number_are_found_in_the_drivers_files(
    root: Path, kubelet: Kubelet
) -> None:
    for minor, uuid in ((0, A), (1, B)):
        folder = root / f"proc/driver/nvidia/gpus/0000:0{minor}:00.0"
        folder.mkdir(parents=True)
        (folder / "information").write_text(f"Model: \t\t NVIDIA\nGPU UUID: \t {uuid}\nDevice Minor: \t {minor}\n")
    claim = {"claim_name": "c", "claim_resources": [{"driver_name": "gpu.nvidia.com", "device_name": "gpu-1"}]}
    kubelet.pods = [
        {"name": "gke", "namespace": "n", "containers": [container("m", "nvidia.com/gpu", "nvidia0/vgpu2", "nvidia7")]},
        {"name": "claims", "namespace": "n", "containers": [{"name": "m", "dynamic_resources": [claim]}]},
    ]
    assert held(opened(root)()) == {
        (A, "n/gke", "m", 1),
        ("nvidia7", "n/gke", "m", None),
        (B, "n/claims", "m", None),
    }


def tpus(root: Path, device: str, *addresses: str) -> None:
    """Write chips, each function of the bus with a group of its own: 10, 11 and so on."""
    for index, address in enumerate(addresses):
        folder = root / "sys/bus/pci/devices" / address
        put(folder, {"vendor": "0x1ae0", "device": device, "subsystem_device": "0x0001", "numa_node": 0})
        group = root / f"sys/kernel/iommu_groups/{10 + index}"
        group.mkdir(parents=True)
        (folder / "iommu_group").symlink_to(group)


def test_tpus_are_named_by_their_file_or_by_their_slot(root: Path, kubelet: Kubelet) -> None:
    tpus(root, "0x0063", "0000:00:04.0", "0000:00:05.0")
    kubelet.pods = [{"name": "a", "namespace": "n", "containers": [container("m", "google.com/tpu", "11", "99")]}]
    assert held(opened(root)()) == {("TPU-0000:00:05.0", "n/a", "m", None), ("99", "n/a", "m", None)}


def test_a_chip_of_two_functions_is_named_by_their_slot(root: Path, kubelet: Kubelet) -> None:
    tpus(root, "0x0076", "0000:c0:02.0", "0000:c0:02.1", "0000:c0:03.0", "0000:c0:03.1")
    slots = container("m", "google.com/tpu", "0000:c0:02", "0000:c0:03")
    kubelet.pods = [{"name": "a", "namespace": "n", "containers": [slots]}]
    assert held(opened(root)()) == {("TPU-0000:c0:02.0", "n/a", "m", None), ("TPU-0000:c0:03.0", "n/a", "m", None)}


def test_older_tpus_are_named_by_their_file_in_dev(root: Path, kubelet: Kubelet) -> None:
    tpus(root, "0x005e", "0000:00:04.0")
    (root / "sys/class/accel/accel0").mkdir(parents=True)
    (root / "sys/class/accel/accel0/device").symlink_to(root / "sys/bus/pci/devices/0000:00:04.0")
    kubelet.pods = [{"name": "a", "namespace": "n", "containers": [container("m", "google.com/tpu", "accel0")]}]
    assert held(opened(root)()) == {("TPU-0000:00:04.0", "n/a", "m", None)}


def test_devices_of_a_described_kind_are_named_as_their_collector_does(root: Path, kubelet: Kubelet) -> None:
    gaudi, other = container("m", "habana.ai/gaudi", "AN12"), container("m", "acme.com/npu", "7")
    kubelet.pods = [
        {"name": "a", "namespace": "n", "containers": [gaudi]},
        {"name": "b", "namespace": "n", "containers": [other]},
    ]
    assert held(opened(root)()) == {("gaudi-AN12", "n/a", "m", None)}
    assert held(opened(root, kinds={"acme.com/npu": "acme"})()) == {("acme-7", "n/b", "m", None)}


def test_a_pod_that_has_its_predecessors_name_is_told_by_the_newer_folder(root: Path, kubelet: Kubelet) -> None:
    kubelet.pods = [{"name": "db-0", "namespace": "n", "containers": [container("m", "nvidia.com/gpu", A)]}]
    os.utime(logged(root, "n", "db-0", UID), (1, 1_000))
    os.utime(logged(root, "n", "db-0", OTHER_UID), (1, 2_000))
    logged(root, "n", "db-00", UID)
    (root / "var/log/pods/n_db-0_0123456789abcdef0123456789abcdef").mkdir()
    assert held(opened(root)()) == {(A, OTHER_UID, "m", None)}


def test_an_answer_of_many_frames_is_read_whole(root: Path, kubelet: Kubelet) -> None:
    kubelet.pods = [
        {"name": f"p{at}", "namespace": "n" * 60, "containers": [container("c", "nvidia.com/gpu", f"GPU-{at}")]}
        for at in range(4_000)
    ]
    assert len(opened(root)()) == 4_000
    assert kubelet.pods[0]["containers"][0]["cpu_ids"] == [3, 300]


def test_nothing_held_is_no_row_and_no_failure(root: Path, kubelet: Kubelet) -> None:
    assert opened(root)() == []
    assert len(kubelet.asked) == 1


@pytest.mark.parametrize("late", [False, True], ids=["at once", "behind the headers"])
def test_an_error_of_the_kubelet_is_told_in_its_words(root: Path, kubelet: Kubelet, late: bool) -> None:
    kubelet.error, kubelet.late = (grpc.StatusCode.RESOURCE_EXHAUSTED, "rejected by rate limit"), late
    with pytest.raises(SourceError, match="no whole message" if late else "rejected by rate limit"):
        opened(root)()


def test_what_is_no_message_is_refused(root: Path, kubelet: Kubelet) -> None:
    kubelet.raw = b"\x0a\x7fabc"
    with pytest.raises(SourceError, match="ends behind its message"):
        opened(root)()


def test_no_kubelet_is_missing_and_a_dead_one_a_failure(root: Path) -> None:
    with pytest.raises(SourceMissing, match="does not exist"):
        opened(root)()
    server = serve(Kubelet(), root)
    socket = root / "var/lib/kubelet/pod-resources/kubelet.sock"
    left = socket.with_name("left.sock")
    socket.rename(left)
    server.stop(None).wait()
    with pytest.raises(SourceError, match="expected the kubelet's answer"):
        holdings(left, 0.5)


def test_a_socket_that_is_roots_alone_is_missing_with_what_to_do(refused_root: Path) -> None:
    path = refused_root / "kubelet.sock"
    path.write_text("")
    path.chmod(0o555)
    with pytest.raises(SourceMissing, match="may not be opened by this user") as refused:
        holdings(path, 0.5)
    assert "as root without capabilities" in refused.value.hint


def test_a_process_that_no_cgroup_names_is_the_pods_that_holds_its_device_alone(root: Path, kubelet: Kubelet) -> None:
    logged(root, "ml", "train-0", UID)
    kubelet.pods = [
        {"name": "train-0", "namespace": "ml", "containers": [container("m", "nvidia.com/gpu", A, f"{B}::0")]},
        {"name": "other", "namespace": "ml", "containers": [container("m", "nvidia.com/gpu", f"{B}::1")]},
    ]
    folder = root / "proc/77"
    folder.mkdir(parents=True)
    (folder / "status").write_text("Name:\ttrain\nState:\tS (sleeping)\nUid:\t1\t1\t1\t1\n")
    phase = Phase(processes=(Process(77),))
    node = Node(root / "proc", (Gpu(A, phases=(phase,)), Gpu(B, phases=(phase,))), root=root)

    def told() -> dict[object, tuple[object, ...]]:
        columns = ("job_id", "attribution_source", "attribution_confidence_ratio")
        return {row["gpu_uuid"]: tuple(row[name] for name in columns) for row in node.round()["gpu_process_sample"]}

    nobody = ("", "none", None)
    assert told() == {A: nobody, B: nobody}, "nobody has asked the kubelet yet"
    opened(root)()
    assert told() == {A: (UID, "pod_resources", 0.8), B: nobody}, "two pods share a device: which one is not known"
    (folder / "cgroup").write_text(f"0::/kubepods.slice/kubepods-pod{UID.replace('-', '_')}.slice/cri.scope\n")
    assert told() == {A: (UID, "cgroup", 0.99), B: (UID, "cgroup", 0.99)}


def test_what_the_kubelet_said_is_believed_for_three_rounds(tmp_path: Path) -> None:
    (tmp_path / "7").mkdir()
    (tmp_path / "7/status").write_text("Name:\ttrain\nState:\tS\nUid:\t1\n")
    now = [100.0]
    told = Latest()
    told.keep({A: [UID]}, 190.0)
    asked = Attribution(tmp_path, pods=told, clock=lambda: now[0])
    assert asked.owner(7, 0, A).job_id == UID
    now[0] = 190.0
    assert asked.owner(7, 0, A).job_id == ""


def test_machines_do_not_share_what_their_kubelets_say(root: Path, kubelet: Kubelet, tmp_path: Path) -> None:
    kubelet.pods = [{"name": "p", "namespace": "n", "containers": [container("m", "nvidia.com/gpu", A)]}]
    opened(root)()
    assert list(latest(root).jobs(A, 0.0)) == ["n/p"]
    assert list(latest(tmp_path).jobs(A, 0.0)) == []


_WORDS = st.text(max_size=20)
_CONTAINER = st.builds(
    lambda name, resource, ids, cpus, share: {
        "name": name,
        "devices": [{"resource_name": resource, "device_ids": ids, "topology": {"nodes": cpus}}],
        "cpu_ids": cpus,
        "share": share,
    },
    _WORDS,
    _WORDS,
    st.lists(_WORDS, max_size=4),
    st.lists(st.integers(-(2**63), 2**63 - 1), max_size=4),
    st.floats(allow_nan=False),
)
_POD = st.builds(
    lambda name, namespace, containers: {"name": name, "namespace": namespace, "containers": containers},
    _WORDS,
    _WORDS,
    st.lists(_CONTAINER, max_size=3),
)


@given(st.lists(_POD, max_size=4))
def test_what_the_library_writes_is_read_back(pods: list[dict[str, Any]]) -> None:
    expected = [
        (pod["namespace"], pod["name"], each["name"], devices["resource_name"], device)
        for pod in pods
        for each in pod["containers"]
        for devices in each["devices"]
        for device in devices["device_ids"]
    ]
    assert [tuple(found) for found in _of_message(Response(pod_resources=pods).SerializeToString())] == expected


@given(st.binary(max_size=64))
def test_any_bytes_are_read_or_refused_in_words(message: bytes) -> None:
    said = None
    try:
        found = list(_of_message(message))
    except ValueError as broken:
        said, found = str(broken), []
    assert said != ""
    assert all(isinstance(word, str) for each in found for word in each)


def test_check_says_whether_the_kubelet_can_be_asked(root: Path, kubelet: Kubelet, tmp_path: Path) -> None:
    def told(at: Path) -> list[tuple[str, str]]:
        return [(each.status, each.found) for each in seen(at) if each.part == "pod resources"]

    kubelet.pods = [{"name": "p", "namespace": "n", "containers": [container("m", "nvidia.com/gpu", A, B)]}]
    ((status, found),) = told(root)
    assert (status, found.rpartition(": ")[2]) == ("ok", "the kubelet tells of 2 devices that pods hold")
    kubelet.error = (grpc.StatusCode.UNAVAILABLE, "not yet")
    ((status, found),) = told(root)
    assert status == "missing"
    assert "not yet" in found
    assert told(tmp_path) == [], "this is no node of Kubernetes"


def test_amds_plugin_names_a_device_by_its_place_and_the_job_of_its_processes_is_the_pod(
    root: Path, kubelet: Kubelet
) -> None:
    logged(root, "ml", "train-0", UID)
    node = AmdNode(root)
    node.card()
    node.compute(4101)
    node.process(700, {4101: 1 << 30})
    given = container("main", "amd.com/gpu", "0000:83:00.0")
    kubelet.pods = [{"name": "train-0", "namespace": "ml", "containers": [given]}]
    assert held(opened(root)()) == {("GPU-79ccd55167a2124a", UID, "main", None)}
    (row,) = node.round()["gpu_process_sample"]
    assert (row["job_id"], row["attribution_source"]) == (UID, "pod_resources")
