"""Whatever users and drivers write into objects costs these objects, and nothing else."""

import copy
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from collectors.cluster.kubernetes import KubernetesSettings, kubernetes
from ledger.tables import Job, Node
from tests.collectors.cluster.api_server import TOKEN, Object, serving
from tests.collectors.cluster.test_kubernetes import NOW, node, owned, pod

HAMI = "hami.io/vgpu-devices-allocated"
REGISTER = "hami.io/node-nvidia-register"

WORDS = [
    "1e99", "9" * 39 + "E", "-1", "2026-13-01T00:00:00Z", "0001-01-01T00:00:00Z", "[" * 3000, "../..", "a/b",
]  # fmt: skip
floats = st.floats(allow_nan=False, allow_infinity=False)
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    floats,
    st.text(max_size=8),
    st.sampled_from(WORDS),
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=4,
)


def places(thing: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return every place in an object."""
    keys = list(thing) if isinstance(thing, dict) else range(len(thing)) if isinstance(thing, list) else []
    return [found for key in keys for found in ((*path, key), *places(thing[key], (*path, key)))]


def spoiled(thing: Object, path: tuple[Any, ...], value: Any) -> Object:
    """Return an object with another value at one place."""
    broken = copy.deepcopy(thing)
    inner = broken
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return broken


TAINT = {"key": "k", "effect": "NoSchedule"}
POD = pod("odd", meta={"annotations": {HAMI: "GPU-a,NVIDIA,10,30:;"}, "labels": {"team": "t"}})
POD = owned(POD, "Job", "j", "batch/v1")
NODE = node("odd", meta={"annotations": {REGISTER: '[{"id":"GPU-a","devmem":100}]'}}, spec={"taints": [TAINT]})


def test_an_odd_object_costs_only_itself(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text(TOKEN)
    with serving() as api:
        whole = KubernetesSettings(kind="kubernetes", url=api.url, token_file=token)
        pull = kubernetes.open(whole)
        good_pod, good_node = pod("good"), node("gpu-1")

        @settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
        @given(st.sampled_from(places(POD)), st.sampled_from(places(NODE)), values)
        def survives(in_pod: tuple[Any, ...], in_node: tuple[Any, ...], value: Any) -> None:
            nodes, pods = [good_node, spoiled(NODE, in_node, value)], [good_pod, spoiled(POD, in_pod, value)]
            api.broken = {"/api/v1/nodes": {"metadata": {}, "items": nodes}, "/api/v1/pods": {"items": pods}}
            (pulled,) = pull(None, NOW)
            assert "uid-good" in pulled.frames[Job]["job_id"].to_list()
            assert "gpu-1" in pulled.frames[Node]["node"].to_list()
            for schema, frame in pulled.frames.items():
                kept, _ = schema.filter(frame)
                assert kept.height >= frame.height - 1

        survives()


def test_an_owner_that_leads_elsewhere_is_not_followed(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text(TOKEN)
    with serving() as api:
        api.put(
            "Pod", owned(pod("a"), "Job", "../../../../v1/namespaces/kube-system/secrets/x", "batch/v1"), is_valid=False
        )
        api.put("Pod", owned(pod("b"), "Job", "j?watch=1", "../../api/v1"), is_valid=False)
        (pulled,) = kubernetes.open(KubernetesSettings(kind="kubernetes", url=api.url, token_file=token))(None, NOW)
    assert pulled.frames[Job].height == 2
    assert not [path for path in api.asked if "secrets" in path.split("/")]
    assert [path for path in api.asked if ".." in path.split("/")] == []
