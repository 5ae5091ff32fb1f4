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
SCRIPTS = sorted((DEPLOY / "slurm").glob("*.sh"))

# Points of a hundred, by systemd's own list; a unit without any hardening has 96.
MOST_EXPOSED = 20
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


@pytest.fixture(scope="session")
def systemd_analyze() -> str:
    found = shutil.which("systemd-analyze")
    if found is None:
        missing("no systemd-analyze on the PATH: install Debian's systemd")
    return found


@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.stem)
def test_a_unit_is_valid_and_hardly_exposed(unit: Path, systemd_analyze: str, tmp_path: Path) -> None:
    # The program is not installed where the unit expects it.
    copy = tmp_path / unit.name
    copy.write_text(unit.read_text().replace("/opt/clusterledger/bin/clusterledger", "/bin/true"))
    verified = subprocess.run([systemd_analyze, "verify", copy], capture_output=True, text=True, check=False)
    # systemd speaks of other units of the machine as well.
    assert unit.name not in verified.stderr
    security = [systemd_analyze, "security", "--offline=true", f"--threshold={MOST_EXPOSED}", copy]
    exposed = subprocess.run(security, capture_output=True, text=True, check=False)
    assert exposed.returncode == 0, exposed.stdout


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
        "Deployment",
        "Namespace",
        "PersistentVolumeClaim",
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
    assert seen == 2


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
