"""How much a pod asks for, and what it was given, by each way of asking."""

from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given as drawn
from hypothesis import strategies as st

from collectors.cluster._kubernetes_claims import Claim, Slice
from collectors.cluster._kubernetes_devices import Claims, Given, Offer, claims, given, offer, requested, slice_share
from collectors.cluster._kubernetes_objects import Node, Pod
from collectors.cluster._kubernetes_requests import quantity, requests

GIB = 2**30


def pod(asked: dict[str, str] | None = None, **more: Any) -> Pod:
    main = {"name": "main", "resources": {"limits": asked or {}}}
    thing = {
        "metadata": {"name": "p", "namespace": "n", "uid": "u1", "annotations": more.pop("annotations", {})},
        "spec": {"containers": [main], **more.pop("spec", {})},
        "status": more.pop("status", {}),
    }
    return msgspec.convert(thing, Pod)


def node(labels: dict[str, str] | None = None, annotations: dict[str, str] | None = None, **capacity: str) -> Node:
    named = {name.replace("__", "/").replace("_", "."): value for name, value in capacity.items()}
    meta = {"name": "gpu-1", "labels": labels or {}, "annotations": annotations or {}}
    return msgspec.convert({"metadata": meta, "spec": {}, "status": {"capacity": named}}, Node)


def count(asked: Pod, at: Offer | None = None, *others: Offer, known: Claims | None = None) -> float | None:
    return requested(asked, at, [*([at] if at else []), *others], known or Claims())


@pytest.mark.parametrize(
    ("text", "value"),
    [("8", "8"), ("500m", "0.5"), ("64Gi", 64 * GIB), ("1e3", "1000"), ("1E", "1e18"), ("2k", "2000"), ("0.5", "0.5")],
)
def test_quantities(text: str, value: str) -> None:
    assert quantity(text) == Decimal(value)


@drawn(st.text(max_size=20).filter(lambda text: not text[:1].isdecimal() and text[:1] not in {"+", "-", "."}))
def test_what_is_no_quantity_is_an_error_and_nothing_else(text: str) -> None:
    with pytest.raises(ValueError, match="expected a quantity"):
        quantity(text)


@pytest.mark.parametrize("text", ["1..2", "1e", ".", "1 Gi", "1Q", "+-1", "0x10"])
def test_what_only_looks_like_a_quantity_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match="expected a quantity"):
        quantity(text)


def test_containers_count_together_and_init_containers_by_the_largest() -> None:
    def container(gpus: str, **more: str) -> dict[str, Any]:
        return {"resources": {"requests": {"nvidia.com/gpu": gpus}}, **more}

    both = [container("1"), container("2")]
    assert requests(pod(spec={"containers": both})) == {"nvidia.com/gpu": 3}
    assert requests(pod(spec={"containers": both, "initContainers": [container("8")]})) == {"nvidia.com/gpu": 8}
    beside = container("2", restartPolicy="Always")
    # The sidecar runs beside the containers, and beside the init container that comes after it.
    assert requests(pod(spec={"containers": both, "initContainers": [beside, container("2")]})) == {"nvidia.com/gpu": 5}
    assert requests(pod(spec={"containers": both, "initContainers": [beside, container("4")]})) == {"nvidia.com/gpu": 6}


@pytest.mark.parametrize("name", ["nvidia.com/gpu", "amd.com/gpu", "google.com/tpu"])
def test_whole_devices(name: str) -> None:
    assert count(pod({name: "4"})) == 4
    assert count(pod({"cpu": "4", "rdma/hca": "1"})) == 0


@pytest.mark.parametrize(
    ("profile", "mebibytes", "share"),
    [
        ("3g.40gb", None, 1 / 2),
        ("1g.10gb", None, 1 / 7),
        ("2g.20gb", 81559, 2 / 7),
        ("1g.20gb", 81559, 1 / 4),
        ("4g.40gb", None, 4 / 7),
        ("7g.80gb", None, 1),
        ("2g.12gb", None, 1 / 2),
        ("1c.3g.40gb", None, 1 / 6),
        ("tensor", None, None),
    ],
)
def test_a_slice_is_the_larger_of_its_compute_and_memory(
    profile: str, mebibytes: float | None, share: float | None
) -> None:
    assert slice_share(profile, mebibytes) == (None if share is None else pytest.approx(share))


def test_slices_are_parts_of_a_device() -> None:
    assert count(pod({"nvidia.com/mig-3g.40gb": "2", "nvidia.com/mig-1g.10gb": "1"})) == pytest.approx(1 + 1 / 7)
    labels = {"nvidia.com/gpu.memory": "81559"}
    assert count(pod({"nvidia.com/mig-1g.20gb": "1"}), offer(node(labels), Claims())) == pytest.approx(1 / 4)


def test_where_every_device_is_cut_alike_one_gpu_is_a_slice() -> None:
    labels = {"nvidia.com/gpu.product": "NVIDIA-A100-SXM4-80GB-MIG-1g.10gb", "nvidia.com/gpu.count": "7"}
    cut = offer(node(labels, nvidia_com__gpu="7"), Claims())
    assert cut.gpu_count is None, "how many devices seven slices are cut from is not said"
    assert count(pod({"nvidia.com/gpu": "2"}), cut) == pytest.approx(2 / 7)


def test_time_slices_are_parts_of_a_device() -> None:
    shared = offer(node({"nvidia.com/gpu.replicas": "4", "nvidia.com/gpu.count": "2"}, nvidia_com__gpu="8"), Claims())
    assert shared.gpu_count == 2
    assert count(pod({"nvidia.com/gpu": "1"}), shared) == 1 / 4
    assert count(pod({"nvidia.com/gpu.shared": "2"}), shared) == 1 / 2
    waiting = pod({"nvidia.com/gpu.shared": "1"})
    assert count(waiting, None, shared) == 1 / 4
    other = offer(node({"nvidia.com/gpu.replicas": "10", "nvidia.com/gpu.count": "8"}), Claims())
    assert count(waiting, None, shared, other) is None, "it depends on the node"


REGISTERED = {
    "json": '[{"id":"GPU-a","count":10,"devmem":40960,"devcore":100,"type":"NVIDIA A100","health":true},'
    '{"id":"GPU-b","index":1,"count":10,"devmem":40960,"devcore":100,"type":"NVIDIA A100","health":true}]',
    "words": "GPU-a,10,40960,100,NVIDIA-NVIDIA A100,0,true:GPU-b,10,40960,100,NVIDIA-NVIDIA A100,0,true:",
}


@pytest.mark.parametrize("written", REGISTERED.values(), ids=REGISTERED)
def test_hami_names_devices_and_their_parts(written: str) -> None:
    at = offer(node(annotations={"hami.io/node-nvidia-register": written}, nvidia_com__gpu="20"), Claims())
    assert at.gpu_count == 2
    note = {"hami.io/vgpu-devices-allocated": "GPU-a,NVIDIA,10240,30:GPU-b,NVIDIA,40960,0:;"}
    asked = pod({"nvidia.com/gpu": "2", "nvidia.com/gpumem": "10240", "nvidia.com/gpucores": "30"}, annotations=note)
    assert given(asked, at, Claims()) == [Given("GPU-a", 0.3), Given("GPU-b", None)]
    assert count(asked, at) == pytest.approx(0.6)
    assert count(pod({"nvidia.com/gpu": "1", "nvidia.com/gpumem-percentage": "50"}), at) == 0.5
    assert count(pod({"nvidia.com/gpu": "1", "nvidia.com/gpumem": "10240"}), None) is None


@pytest.mark.parametrize("note", [";", "", ";;", "GPU-a", "GPU-a[0-1],NVIDIA,10240,0:;", "a,b,c:;"])
def test_a_note_without_a_device_gives_none(note: str) -> None:
    annotated = pod({"nvidia.com/gpu": "1"}, annotations={"hami.io/vgpu-devices-allocated": note})
    assert given(annotated, Offer(), Claims()) == []


@pytest.mark.parametrize("written", ["[", "[1]", "x", "a,b,c:", '[{"id":"GPU-a"}]', '[{"id":"GPU-a","devmem":0}]'])
def test_a_register_that_cannot_be_read_says_nothing(written: str) -> None:
    at = offer(node(annotations={"hami.io/node-nvidia-register": written}), Claims())
    assert (at.gpu_count, dict(at.memory)) == (None, {})


def attributes(form: str, **words: str) -> dict[str, Any]:
    said = {name: {"string": word} for name, word in words.items()}
    return {"basic": {"attributes": said}} if form == "v1beta1" else {"attributes": said}


def slices(form: str, generation: int = 2) -> list[Slice]:
    def made(pool: str, at: int, *devices: dict[str, Any], driver: str = "gpu.nvidia.com") -> Slice:
        spec = {"driver": driver, "pool": {"name": pool, "generation": at, "resourceSliceCount": 1}, "nodeName": pool}
        return msgspec.convert({"metadata": {"name": f"{pool}-{at}"}, "spec": {**spec, "devices": devices}}, Slice)

    return [
        made(
            "gpu-1",
            generation,
            {"name": "gpu-0", **attributes(form, type="gpu", uuid="GPU-a", productName="H100")},
            {"name": "gpu-1", **attributes(form, type="gpu", uuid="GPU-b", productName="H100")},
            {"name": "gpu-2-mig-0", **attributes(form, type="mig", uuid="MIG-c", profile="3g.40gb")},
        ),
        made("gpu-1", generation - 1, {"name": "gpu-0", **attributes(form, type="gpu", uuid="GPU-old")}),
        made("gpu-1", 9, {"name": "mlx5_0", **attributes(form, uuid="NIC")}, driver="dra.net"),
    ]


def claim(form: str, *devices: str, users: tuple[str, ...] = ("u1",), **result: Any) -> Claim:
    wanted = {"deviceClassName": "gpu.nvidia.com", "count": 2}
    request = {"name": "gpus", **wanted} if form == "v1beta1" else {"name": "gpus", "exactly": wanted}
    driver = result.pop("driver", "gpu.nvidia.com")
    results = [{"request": "gpus", "driver": driver, "pool": "gpu-1", "device": each, **result} for each in devices]
    status = {
        "allocation": {"devices": {"results": results}},
        "reservedFor": [{"resource": "pods", "name": each, "uid": each} for each in users],
    }
    thing = {
        "metadata": {"name": "c1", "namespace": "n"},
        "spec": {"devices": {"requests": [request]}},
        "status": status if devices else {},
    }
    return msgspec.convert(thing, Claim)


CLAIMING: dict[str, Any] = {
    "spec": {"containers": [{"name": "main"}], "resourceClaims": [{"name": "gpus", "resourceClaimTemplateName": "t"}]},
    "status": {"resourceClaimStatuses": [{"name": "gpus", "resourceClaimName": "c1"}]},
}


@pytest.mark.parametrize("form", ["v1", "v1beta1"])
def test_a_claim_names_its_devices(form: str) -> None:
    known = claims([claim(form, "gpu-0", "gpu-2-mig-0")], slices(form))
    at = offer(node(), known)
    assert at.gpu_count == 2
    assert given(pod(**CLAIMING), at, known) == [Given("GPU-a", None), Given("MIG-c", None)]
    assert count(pod(**CLAIMING), at, known=known) == 1.5


@pytest.mark.parametrize("form", ["v1", "v1beta1"])
def test_a_claim_that_waits_says_what_it_asks_for(form: str) -> None:
    known = claims([claim(form)], slices(form))
    assert count(pod(**CLAIMING), known=known) == 2
    assert given(pod(**CLAIMING), None, known) == []


def test_pods_that_share_a_claim_have_a_part_each() -> None:
    known = claims([claim("v1", "gpu-0", users=("u1", "u2"))], slices("v1"))
    assert given(pod(**CLAIMING), None, known) == [Given("GPU-a", 0.5)]
    assert count(pod(**CLAIMING), known=known) == 0.5


def test_a_counted_resource_that_is_given_by_a_claim_names_its_device_and_counts_once() -> None:
    """The scheduler makes a claim for a pod that asks for a plain `nvidia.com/gpu`."""
    made = {"resourceClaimName": "c1", "requestMappings": [{"containerName": "main", "requestName": "gpus"}]}
    asks = pod({"nvidia.com/gpu": "1"}, status={"extendedResourceClaimStatus": made})
    known = claims([claim("v1", "gpu-0")], slices("v1"))
    assert given(asks, None, known) == [Given("GPU-a", None)]
    assert count(asks, known=known) == 1


def test_what_others_use_or_administrators_watch_or_is_no_accelerator_is_not_held() -> None:
    for other in (
        claim("v1", "gpu-0", users=("somebody",)),
        claim("v1", "gpu-0", adminAccess=True),
        claim("v1", "mlx5_0", driver="dra.net"),
        claim("v1", "no-such-device"),
    ):
        assert given(pod(**CLAIMING), None, claims([other], slices("v1"))) == []
    assert count(pod(**CLAIMING)) == 0, "the claim is not made yet"
