"""What people install: units, manifests, scripts and images pass their own checkers, and do what they say."""

import os
import re
import shutil
import stat
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from ledger.config import Settings
from tests.missing import missing

ROOT = Path(__file__).parent.parent.parent
DEPLOY = ROOT / "deploy"
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
DROP_INS = sorted((DEPLOY / "systemd").glob("*.d/*.conf"))
SCRIPTS = sorted((DEPLOY / "slurm").glob("*.sh"))

# Points of a hundred, by systemd's own list; a unit without any hardening has 96. What a drop-in lets in costs some.
MOST_EXPOSED = 20
MOST_EXPOSED_WITH_A_DROP_IN = 25
KUBERNETES = "1.31"


def tool(name: str) -> str:
    """Return a checker that was installed beside Python."""
    return str(Path(sys.executable).with_name(name))


def manifests() -> Iterator[dict[str, Any]]:
    for path in sorted((DEPLOY / "kubernetes").glob("*.yaml")):
        yield from yaml.safe_load_all(path.read_text())


def pods() -> Iterator[dict[str, Any]]:
    for each in manifests():
        if each["kind"] in {"Deployment", "DaemonSet"}:
            yield each["spec"]["template"]["spec"]


def agents() -> dict[str, dict[str, Any]]:
    """Return the manifests of the agents by their names."""
    return {each["metadata"]["name"]: each for each in manifests() if each["kind"] == "DaemonSet"}


# By what items of lists are told apart; others are replaced as a whole.
_MERGED = {
    "containers": "name",
    "initContainers": "name",
    "volumes": "name",
    "env": "name",
    "volumeMounts": "mountPath",
}


def patched(whole: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """Return what `kubectl patch` makes of a manifest: a strategic merge."""
    made = dict(whole)
    for name, change in patch.items():
        if isinstance(change, dict):
            made[name] = patched(made.get(name, {}), change)
        elif name in _MERGED:
            key = _MERGED[name]
            items = {each[key]: each for each in made.get(name, ())}
            for each in change:
                if each.get("$patch") == "delete":
                    del items[each[key]]
                else:
                    items[each[key]] = patched(items.get(each[key], {}), each)
            made[name] = list(items.values())
        else:
            made[name] = change
    return made


@pytest.fixture(scope="session")
def systemd_analyze() -> str:
    found = shutil.which("systemd-analyze")
    if found is None:
        missing("no systemd-analyze on the PATH: install Debian's systemd")
    return found


def installed(unit: Path, folder: Path, *drop_ins: Path) -> Path:
    """Return a unit with drop-ins, with a program that is there: its own is not installed where the unit expects it."""
    copy = folder / unit.name
    copy.write_text(unit.read_text().replace("/opt/clusterledger/bin/clusterledger", "/bin/true"))
    for each in drop_ins:
        beside = folder / each.parent.name
        beside.mkdir(exist_ok=True)
        shutil.copy(each, beside)
    return copy


def check_unit(systemd_analyze: str, unit: Path, most: int) -> str:
    """Check a unit, and return what systemd says of its exposure."""
    verified = subprocess.run([systemd_analyze, "verify", unit], capture_output=True, text=True, check=False)
    # systemd speaks of other units of the machine as well.
    assert unit.name not in verified.stderr
    security = [systemd_analyze, "security", "--offline=true", f"--threshold={most}", unit]
    exposed = subprocess.run(
        security, capture_output=True, text=True, check=False, env={**os.environ, "LC_ALL": "C.UTF-8"}
    )
    assert exposed.returncode == 0, exposed.stdout
    return exposed.stdout


@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.stem)
def test_a_unit_is_valid_and_hardly_exposed(unit: Path, systemd_analyze: str, tmp_path: Path) -> None:
    check_unit(systemd_analyze, installed(unit, tmp_path), MOST_EXPOSED)


@pytest.mark.parametrize("drop_in", DROP_INS, ids=lambda path: path.stem)
def test_a_drop_in_is_valid_and_lets_in_little(drop_in: Path, systemd_analyze: str, tmp_path: Path) -> None:
    unit = DEPLOY / "systemd" / drop_in.parent.name.removesuffix(".d")
    alone = check_unit(systemd_analyze, installed(unit, tmp_path), MOST_EXPOSED)
    both = check_unit(systemd_analyze, installed(unit, tmp_path, drop_in), MOST_EXPOSED_WITH_A_DROP_IN)
    assert both != alone, "systemd has read it"


def test_the_kernels_log_costs_one_capability_and_no_other(systemd_analyze: str, tmp_path: Path) -> None:
    (drop_in,) = (each for each in DROP_INS if each.stem == "kernel-log")
    unit = DEPLOY / "systemd" / "clusterledger-agent.service"
    said = check_unit(systemd_analyze, installed(unit, tmp_path, drop_in), MOST_EXPOSED_WITH_A_DROP_IN)
    given = {
        word for line in said.splitlines() if line.startswith("\u2717") for word in re.findall(r"~(CAP_\w+)", line)
    }
    assert given == {"CAP_SYSLOG"}


def test_scripts_are_clean() -> None:
    done = subprocess.run([tool("shellcheck"), *SCRIPTS], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert all(os.access(each, os.X_OK) for each in SCRIPTS)


def test_the_images_are_clean_and_name_what_is_there() -> None:
    done = subprocess.run([tool("hadolint"), DEPLOY / "Dockerfile"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    copied = [line.split()[1:-1] for line in (DEPLOY / "Dockerfile").read_text().splitlines() if "COPY" in line[:4]]
    named = {word for words in copied for word in words if not word.startswith(("-", "/"))}
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert named >= set(packages["packages"]), "every package is in the image"
    assert not [word for word in named if not (ROOT / word).exists()]
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert kept == named, "what is copied is not left out of what docker is given, and nothing else is"


def test_manifests_are_valid() -> None:
    kinds = []
    for each in manifests():
        kubernetes_validate.validate(each, KUBERNETES, strict=True)
        kinds.append(each["kind"])
    assert sorted(kinds) == [
        "ClusterRole",
        "ClusterRoleBinding",
        "ConfigMap",
        "DaemonSet",
        "DaemonSet",
        "Deployment",
        "Namespace",
        "PersistentVolumeClaim",
        "ResourceQuota",
        "ResourceQuota",
        "Service",
        "ServiceAccount",
    ]


def test_pods_run_as_nobody_and_write_nothing_but_their_data() -> None:
    seen = 0
    for pod in pods():
        assert not pod["automountServiceAccountToken"]
        for container in pod["containers"]:
            context = {**pod.get("securityContext", {}), **container["securityContext"]}
            assert context["runAsNonRoot"]
            assert context["runAsUser"] > 0
            assert not context["allowPrivilegeEscalation"]
            assert context["readOnlyRootFilesystem"]
            assert context["capabilities"] == {"drop": ["ALL"]}
            assert "privileged" not in context
            assert container["resources"]["limits"]["memory"]
            seen += 1
    assert seen == 3


def test_each_node_has_one_agent_and_all_are_alike() -> None:
    found = agents()
    of_nvidia, others = (found[name]["spec"] for name in ("clusterledger-agent", "clusterledger-agent-other"))
    assert of_nvidia["selector"] != others["selector"], "each counts its own pods"
    pods = [dict(each["template"]["spec"]) for each in (of_nvidia, others)]
    assert pods[0].pop("nodeSelector") == {"nvidia.com/gpu.present": "true"}
    (term,) = pods[1].pop("affinity")["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"][
        "nodeSelectorTerms"
    ]
    assert term["matchExpressions"] == [
        {"key": "nvidia.com/gpu.present", "operator": "NotIn", "values": ["true"]},
        {"key": "kubernetes.io/os", "operator": "In", "values": ["linux"]},
    ]
    assert pods[0].pop("runtimeClassName") == "nvidia"
    assert pods[0] == pods[1]


@pytest.mark.parametrize("name", ["clusterledger-agent", "clusterledger-agent-other"])
def test_an_agent_that_is_root_sees_little_of_its_node_and_may_do_nothing_else(name: str) -> None:
    patch = yaml.safe_load((DEPLOY / "kubernetes/patch/agent-root.yaml").read_text())
    whole = patched(agents()[name], patch)
    kubernetes_validate.validate(whole, KUBERNETES, strict=True)
    pod = whole["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert (container["securityContext"]["runAsUser"], pod["securityContext"]) == (0, {"supplementalGroups": [4]})
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert not container["securityContext"]["allowPrivilegeEscalation"]
    (spool,) = (each for each in pod["initContainers"] if each["name"] == "spool")
    assert "chown -R 0:0 /var/lib/clusterledger/spool" in spool["command"][-1], "it has no capability to open another's"
    paths = {each["name"]: each["hostPath"]["path"] for each in pod["volumes"] if "hostPath" in each}
    mounts = {each["mountPath"]: each for each in container["volumeMounts"]}
    seen = {place: paths[each["name"]] for place, each in mounts.items() if place.startswith("/host")}
    folders = ("/proc", "/sys", "/var/log", "/var/lib/kubelet/pod-resources")
    assert seen == {f"/host{folder}": folder for folder in folders}
    assert all(mounts[place]["readOnly"] for place in seen)
    assert {each["name"] for each in container["volumeMounts"]} == {each["name"] for each in pod["volumes"]}
    off = [each["name"] for each in container["env"] if each.get("value") == "false"]
    assert off == ["CLUSTERLEDGER_COLLECTORS__FILESYSTEM__ENABLED"], "it would tell the container's own file systems"


def variables() -> Iterator[str]:
    """Yield every setting that something to install sets by its variable."""
    for pod in pods():
        for container in pod["containers"]:
            yield from (each["name"] for each in container.get("env", ()))
    for unit in UNITS:
        for line in unit.read_text().splitlines():
            if line.startswith("Environment="):
                yield line.removeprefix("Environment=").split("=")[0]


def test_what_is_set_is_a_setting() -> None:
    known = {
        "HOME",
        "CLUSTERLEDGER_SECRETS",
        "CLUSTERLEDGER_STORE",
        "NVIDIA_VISIBLE_DEVICES",
        "NVIDIA_DRIVER_CAPABILITIES",
    }
    checked = 0
    for name in variables():
        if name in known:
            continue
        section, key = name.removeprefix("CLUSTERLEDGER_").lower().split("__")
        assert key in type(getattr(Settings(), section)).model_fields, name
        checked += 1
    assert checked


@pytest.fixture
def job_map(tmp_path: Path) -> Path:
    return tmp_path / "map"


def run(script: str, job_map: Path, **environment: str) -> None:
    given: Mapping[str, str] = {"PATH": os.environ["PATH"], "CLUSTERLEDGER_JOB_MAP": str(job_map), **environment}
    subprocess.run([DEPLOY / "slurm" / script], env=given, check=True, timeout=120)


def mapped(job_map: Path) -> dict[str, list[str]]:
    return {path.name: path.read_text().splitlines() for path in job_map.glob("[!.]*")}


def test_a_job_is_in_the_map_while_it_runs(job_map: Path) -> None:
    run("prolog.sh", job_map, SLURM_JOB_ID="17", SLURM_JOB_UID="1000", SLURM_JOB_GPUS="0,3")
    run("prolog.sh", job_map, SLURM_JOB_ID="170", SLURM_JOB_UID="1001", SLURM_JOB_GPUS="3")
    assert mapped(job_map) == {"0": ["17 1000"], "3": ["17 1000", "170 1001"]}
    run("epilog.sh", job_map, SLURM_JOB_ID="17")
    assert mapped(job_map) == {"3": ["170 1001"]}, "a job whose id begins the same stays"
    run("epilog.sh", job_map, SLURM_JOB_ID="170")
    assert mapped(job_map) == {}


def test_a_device_is_in_the_map_by_its_uuid_where_slurm_tells_it(job_map: Path) -> None:
    job = {"SLURM_JOB_ID": "17", "SLURM_JOB_UID": "1000"}
    # Slices have always been named so, whole devices beside them only since 25.11, and before that by their index.
    run("prolog.sh", job_map, **job, SLURM_JOB_GPUS="0,2", CUDA_VISIBLE_DEVICES="0,MIG-5f-1")
    run("prolog.sh", job_map, **job, SLURM_JOB_GPUS="3", CUDA_VISIBLE_DEVICES="MIG-GPU-0b/1/0")
    run("prolog.sh", job_map, **job, SLURM_JOB_GPUS="1,4", CUDA_VISIBLE_DEVICES="GPU-1a,GPU-4a")
    run("prolog.sh", job_map, **job, CUDA_VISIBLE_DEVICES="GPU-5a")
    run("prolog.sh", job_map, **job, SLURM_JOB_GPUS="6", ROCR_VISIBLE_DEVICES="GPU-00ff")
    names = ["0", "MIG-5f-1", "MIG-GPU-0b_1_0", "GPU-1a", "GPU-4a", "GPU-5a", "GPU-00ff"]
    assert mapped(job_map) == {name: ["17 1000"] for name in names}
    run("epilog.sh", job_map, SLURM_JOB_ID="17")
    assert mapped(job_map) == {}


def test_the_sluid_of_a_job_is_in_the_map_while_it_runs_also_without_a_device(job_map: Path) -> None:
    job = {"SLURM_JOB_ID": "17", "SLURM_JOB_UID": "1000"}
    run("prolog.sh", job_map, **job, SLURM_JOB_SLUID="s5K1KKYAYG5D00")
    assert mapped(job_map) == {"s5K1KKYAYG5D00": ["17 1000"]}
    run("epilog.sh", job_map, SLURM_JOB_ID="17")
    assert mapped(job_map) == {}


@pytest.mark.parametrize("name", ["../../etc/passwd", "MIG-../x", ".lock", "GPU-a b*", "MIG-$(id)", "NoDevFiles", ""])
def test_what_is_no_name_of_a_device_writes_nothing_outside(job_map: Path, name: str) -> None:
    run("prolog.sh", job_map, SLURM_JOB_ID="17", CUDA_VISIBLE_DEVICES=name, SLURM_JOB_SLUID=name)
    found = {path.name for path in job_map.iterdir()} if job_map.exists() else set()
    assert found <= {".lock", "MIG-.._x", "GPU-a", "NoDevFiles"}
    assert not (job_map / ".lock").exists() or (job_map / ".lock").read_text() == ""


def test_nothing_fails_without_a_device_a_job_or_a_place_to_write(job_map: Path) -> None:
    run("prolog.sh", job_map, SLURM_JOB_ID="17")
    run("prolog.sh", job_map, SLURM_JOB_GPUS="0")
    run("prolog.sh", Path("/proc/no/place"), SLURM_JOB_ID="17", SLURM_JOB_GPUS="0")
    run("epilog.sh", job_map, SLURM_JOB_ID="17")
    run("epilog.sh", job_map)
    run("prolog.sh", job_map, SLURM_JOB_ID="17", SLURM_JOB_GPUS="../../etc/passwd,0")
    assert {path.name for path in job_map.iterdir()} == {"0", ".lock"}


def test_a_full_disk_takes_no_other_job_out_of_the_map(job_map: Path) -> None:
    for job in ("17", "18"):
        run("prolog.sh", job_map, SLURM_JOB_ID=job, SLURM_JOB_UID="1000", SLURM_JOB_GPUS="0")
    (job_map / ".new").symlink_to("/dev/full")
    run("epilog.sh", job_map, SLURM_JOB_ID="17")
    assert mapped(job_map) == {"0": ["17 1000", "18 1000"]}, "a ghost is less than a job that is not known"
    (job_map / ".new").unlink()
    run("epilog.sh", job_map, SLURM_JOB_ID="17")
    assert mapped(job_map) == {"0": ["18 1000"]}


def test_jobs_that_begin_and_end_at_once_lose_no_line(job_map: Path) -> None:
    def job(number: int) -> None:
        run("prolog.sh", job_map, SLURM_JOB_ID=str(number), SLURM_JOB_UID="1", SLURM_JOB_GPUS="0")
        if number % 2:
            run("epilog.sh", job_map, SLURM_JOB_ID=str(number))

    threads = [threading.Thread(target=job, args=(number,)) for number in range(1, 17)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert sorted(mapped(job_map)["0"]) == sorted(f"{number} 1" for number in range(2, 17, 2))


def test_a_user_that_is_made_at_the_start_may_read_the_hubs_settings() -> None:
    unit = (DEPLOY / "systemd" / "clusterledger-hub.service").read_text(encoding="utf-8")
    assert "DynamicUser=yes" in unit
    (mode,) = re.findall(r"install .*-m (\d+) clusterledger\.toml", unit)
    assert int(mode, 8) & stat.S_IROTH


def test_tokens_of_nodes_are_made_where_the_hubs_store_is() -> None:
    text = (DEPLOY / "kubernetes" / "agent.yaml").read_text(encoding="utf-8")
    assert 'hub="kubectl -n clusterledger exec deploy/clusterledger --"' in text
    assert re.findall(r"(\S*) *clusterledger token create", text) == ["$hub"]
