"""What the hub may read of a cluster is what its source reads, and nothing that can change or tell secrets."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from collectors.cluster._kubernetes_api import place
from collectors.cluster._kubernetes_jobs import KINDS
from collectors.cluster.kubernetes import KubernetesSettings, kubernetes
from ledger.tables import Job
from tests.collectors.cluster.api_server import KINDS as SERVED
from tests.collectors.cluster.api_server import TOKEN, serving
from tests.collectors.cluster.test_kubernetes import bare, node, owned, pod

DEPLOY = Path(__file__).parents[2] / "deploy/kubernetes"


def manifests(name: str) -> Iterator[dict[str, Any]]:
    yield from yaml.safe_load_all((DEPLOY / name).read_text())


def granted() -> set[tuple[str, str, str]]:
    (role,) = (each for each in manifests("source.yaml") if each["kind"] == "ClusterRole")
    return {
        (group, resource, verb)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def test_the_role_only_reads_and_no_secrets() -> None:
    rights = granted()
    assert {verb for _, _, verb in rights} == {"get", "list"}
    assert "*" not in {part for right in rights for part in right}
    assert not {resource for _, resource, _ in rights} & {"secrets", "configmaps", "pods/log", "pods/exec"}


def test_the_role_is_the_hubs(monkeypatch: pytest.MonkeyPatch) -> None:
    (binding,) = (each for each in manifests("source.yaml") if each["kind"] == "ClusterRoleBinding")
    (account,) = (each for each in manifests("hub.yaml") if each["kind"] == "ServiceAccount")
    (hub,) = (each for each in manifests("hub.yaml") if each["kind"] == "Deployment")
    meta = account["metadata"]
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": meta["name"], "namespace": meta["namespace"]}]
    spec = hub["spec"]["template"]["spec"]
    assert spec["serviceAccountName"] == meta["name"]
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    found = place("", None, None)
    mounts = {each["name"]: each["mountPath"] for each in spec["containers"][0]["volumeMounts"]}
    (volume,) = (each for each in spec["volumes"] if each["name"] == "account")
    paths = [each["path"] for source in volume["projected"]["sources"] for each in _items(source)]
    assert [Path(mounts["account"]) / each for each in paths] == [found.token_file, found.ca_file]


def _items(source: dict[str, Any]) -> list[dict[str, Any]]:
    return [source["serviceAccountToken"]] if "serviceAccountToken" in source else source["configMap"]["items"]


def test_with_the_role_the_source_reads_all_it_needs(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text(TOKEN)
    with serving() as api:
        api.allowed = granted()
        api.put("Node", node())
        for kind, (version, _) in SERVED.items():
            if kind not in {"Pod", "Node", "ResourceClaim", "ResourceSlice", "Workload"}:
                api.put(kind, bare(f"my-{kind.lower()}"), is_valid=False)
                api.put("Pod", owned(pod(f"{kind.lower()}-0"), kind, f"my-{kind.lower()}", version))
        settings = KubernetesSettings(kind="kubernetes", url=api.url, token_file=token)
        (pulled,) = kubernetes.open(settings)(None, datetime(2026, 11, 20, tzinfo=UTC))
    assert pulled.remarks == ()
    assert pulled.frames[Job].height == len(SERVED) - 5
    assert set(pulled.frames[Job]["job_name"].str.head(3)) == {"my-"}


def test_every_owner_that_says_what_work_it_is_may_be_read() -> None:
    readable = {resource for _, resource, _ in granted()}
    others = {"SeldonDeployment", "SparkApplication"}
    assert {f"{kind.lower()}s" for kind in KINDS if kind not in others} <= readable
