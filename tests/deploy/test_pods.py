"""Containers run as their pods run them: as nobody, without capabilities, on a root that is read-only.

No engine is needed: a mount namespace of one's own has the volumes of the manifest at their places, and whatever a pod
may not write is read-only.
"""

import json
import os
import re
import shlex
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.deploy.test_deploy import DEPLOY, ROOT, manifests
from tests.missing import missing

_PATIENCE_SECONDS = 90.0
_PROGRAMS = ("unshare", "setpriv", "mount")

# Above these the volumes of pods are mounted; a container has nothing of the host there.
_TEMPORARY = "/tmp"  # noqa: S108  a place in a namespace
_NODE = "/run/node"
"""In the place of /host, which would be made on this machine."""

_EMPTY = ("/mnt", "/run", _TEMPORARY, "/var/lib", "/var/log", "/dev/shm")  # noqa: S108  as above


def spec(kind: str) -> dict[str, Any]:
    """Return the first pod of a kind; the agents' are alike."""
    found = next(each["spec"]["template"]["spec"] for each in manifests() if each["kind"] == kind)
    return dict(found)


def image_environment(target: str) -> dict[str, str]:
    """Return what the Dockerfile sets in an image, but for its PATH."""
    text = (DEPLOY / "Dockerfile").read_text().replace("\\\n", " ")
    (stage,) = re.findall(rf"^FROM \S+ AS {target}\n(.*?)(?=^FROM |\Z)", text, re.MULTILINE | re.DOTALL)
    lines = [shlex.split(line.removeprefix("ENV ")) for line in stage.splitlines() if line.startswith("ENV ")]
    return {
        name: value for line in lines for name, _, value in (each.partition("=") for each in line) if name != "PATH"
    }


def hidden(path: Path) -> str | None:
    """Return the first folder above a path that nobody may pass."""
    return next((str(each) for each in reversed(path.parents) if not each.stat().st_mode & 0o001), None)


def script(pod: Mapping[str, Any], container: Mapping[str, Any], files: Mapping[str, Path]) -> str:
    """Return how to make the container's file system: volumes are the test's folders, or empty ones."""
    kept = {Path(each).resolve() for each in (ROOT, sys.prefix, sys.base_prefix)} | {Path(sys.prefix)}
    masks = sorted({*_EMPTY, *(found for each in kept if (found := hidden(each)))})
    lines = ["set -e", "mount -t tmpfs tmpfs /mnt", "cp -a /etc /mnt/etc", "mkdir -p /mnt/kept /mnt/volumes"]
    for index, path in enumerate(sorted(kept)):
        lines += [f"mkdir /mnt/kept/{index}", f"mount --rbind {path} /mnt/kept/{index}"]
    for name, path in files.items():
        lines += [f"mkdir /mnt/volumes/{name}", f"mount --bind {path} /mnt/volumes/{name}"]
    node = {each["name"] for each in pod["volumes"] if each.get("hostPath", {}).get("path") == "/"}
    if node:
        lines += ["mkdir /mnt/node", "mount --rbind / /mnt/node"]
    lines += [f"mount -t tmpfs -o mode=0755 tmpfs {each}" for each in masks if each != "/mnt"]
    for index, path in enumerate(sorted(kept)):
        if any(path.is_relative_to(each) for each in masks):
            lines += [f"mkdir -p {path}", f"mount --rbind /mnt/kept/{index} {path}"]
    lines.append("mount --bind /mnt/etc /etc")
    user = {**pod.get("securityContext", {}), **container["securityContext"]}["runAsUser"]
    for mounted in container["volumeMounts"]:
        place = _NODE if mounted["name"] in node else mounted["mountPath"]
        lines += [f"mkdir -p {place}", mounting(mounted["name"], place, files, node, kept, user)]
        if mounted.get("readOnly"):
            lines.append(f"mount -o remount,bind,ro {place}")
    lines += [
        "mount -o remount,bind,ro /",
        *(f"mount -o remount,bind,ro {each}" for each in masks if each != _TEMPORARY),
    ]
    lines += ["mount -o remount,bind,ro /etc", f"cd {container.get('workingDir', '/')}"]
    rights = f"--reuid={user} --regid={user} --clear-groups --no-new-privs --bounding-set=-all"
    return "\n".join([*lines, f'exec setpriv {rights} "$@"'])


def mounting(name: str, place: str, files: Mapping[str, Path], node: set[str], kept: set[Path], user: int) -> str:
    """Return how to mount one volume: the node's root, a folder of the test, or an empty one."""
    if name in node:
        return f"mount --rbind /mnt/node {place}"
    if name in files:
        return f"mount --bind /mnt/volumes/{name} {place}"
    if any(each.is_relative_to(place) for each in kept):
        # The checkout lies there: what is empty around it is a temporary file system already.
        return f"chown {user}:{user} {place}"
    return f"mount -t tmpfs -o mode=0700,uid={user},gid={user} tmpfs {place}"


@contextmanager
def contained(
    kind: str,
    target: str,
    files: Mapping[str, Path],
    *more: str,
    arguments: Sequence[str] = (),
    **environment: str,
) -> Iterator[subprocess.Popen[str]]:
    """Run the container of a pod, with the end of its arguments and some variables added.

    With other `arguments` its program does something else, in a network of its own.
    """
    absent = [each for each in _PROGRAMS if shutil.which(each) is None]
    if absent or os.geteuid() != 0:
        missing(f"{', '.join(absent) or 'root'} is needed to make a container's file system")
    if subprocess.run(["unshare", "--mount", "true"], check=False, capture_output=True).returncode:
        pytest.skip("root may mount nothing here, as in a container: run the tests in a privileged one")
    pod = spec(kind)
    (container,) = pod["containers"]
    folder = Path(sys.executable).parent
    given = image_environment(target) | {each["name"]: each["value"] for each in container["env"] if "value" in each}
    given |= {"PATH": f"{folder}:/usr/bin:/bin", **environment}
    if "CLUSTERLEDGER_AGENT__ROOT" in given:
        given["CLUSTERLEDGER_AGENT__ROOT"] = _NODE
    own = [f"{name}={value}" for name, value in given.items()]
    command = container.get("command", ["clusterledger"]) + container["args"]
    if arguments:
        command = ["clusterledger", *arguments]
    apart = ["unshare", *(["--net"] if arguments else []), "--mount", "--propagation=private"]
    made = [*apart, "/bin/sh", "-c", script(pod, container, files), "sh"]
    with subprocess.Popen(
        [*made, "env", "-i", *own, *command, *more],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=_PATIENCE_SECONDS)


@pytest.fixture
def owned(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that makes a folder of a pod's user, with files."""

    def make(name: str, user: int = 65534, **files: str) -> Path:
        path = tmp_path / name
        path.mkdir()
        for each, text in files.items():
            (path / each).write_text(text, encoding="utf-8")
        os.chown(path, user, user)
        return path

    return make


def test_the_hub_runs_in_its_pod_and_answers_its_probes(owned: Callable[..., Path]) -> None:
    (settings,) = [each["data"] for each in manifests() if each["kind"] == "ConfigMap"]
    config = owned("settings", 0)
    (config / "clusterledger.toml").write_text(settings["clusterledger.toml"], encoding="utf-8")
    data = owned("data")
    with contained("Deployment", "hub", {"settings": config, "data": data}, "--port", "0") as process:
        assert process.stdout is not None
        port = process.stdout.readline().strip().rpartition(":")[2]
        assert port.isdecimal(), process.stderr.read() if process.stderr else ""
        (container,) = spec("Deployment")["containers"]
        probes = {name: container[name]["httpGet"] for name in ("startupProbe", "readinessProbe", "livenessProbe")}
        # The kubelet asks by the pod's address, agents by the service's name, and nobody else by any other.
        for host, status in (("10.42.0.7", 200), ("clusterledger.clusterledger.svc", 200), ("example.org", 403)):
            for probe in probes.values():
                url = f"http://127.0.0.1:{port}{probe['path']}"
                answer = httpx2.get(url, headers={"Host": f"{host}:{port}"}, trust_env=False, timeout=30)
                assert answer.status_code == status, (host, answer.text)
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=_PATIENCE_SECONDS)
    assert process.returncode == 0, said
    assert (data / "ledger.duckdb").exists()
    words = [line for line in said.splitlines() if "hub stopped" not in line and "everybody who reaches" not in line]
    assert words == [], "nothing else is said: whatever cannot be written is not tried"


def test_the_agent_runs_in_its_pod_and_keeps_rows_for_a_hub_that_is_away(owned: Callable[..., Path]) -> None:
    state, tokens = owned("state"), owned("secrets", 0, n1="a-token")
    # The init container makes it.
    (state / "spool").mkdir(mode=0o700)
    os.chown(state / "spool", 65534, 65534)
    away = {"CLUSTERLEDGER_AGENT__HUB": "http://127.0.0.1:9", "CLUSTERLEDGER_AGENT__NODE": "n1"}
    spool = state / "spool" / "spool.db"

    said: list[str] = []
    with contained("DaemonSet", "agent", {"state": state, "secrets": tokens}, **away) as process:
        assert process.stderr is not None
        for line in process.stderr:
            said.append(line)
            if "hub did not take a batch" in line:
                break
        process.send_signal(signal.SIGTERM)
        said += process.communicate(timeout=_PATIENCE_SECONDS)[1].splitlines()
    assert process.returncode == 0, said
    assert any("hub did not take a batch" in line for line in said), said
    assert not any("Traceback" in line for line in said)
    with closing(sqlite3.connect(spool)) as found:
        tables = [name for (name,) in found.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        assert any(found.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in tables)


def sent_segments() -> int:
    """Return how many segments this machine has sent, this connection's among them."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname()).close()
    lines = [line.split() for line in Path("/proc/net/snmp").read_text().splitlines() if line.startswith("Tcp:")]
    return int(lines[1][lines[0].index("OutSegs")])


def test_the_agent_sees_its_nodes_network_and_mounts_and_not_its_pods(owned: Callable[..., Path]) -> None:
    state, tokens = owned("state"), owned("secrets", 0, n1="a-token")
    wanted = ("ethernet", "tcp", "filesystem", "host", "pressure")
    arguments = ["collect", "--json", *(word for name in wanted for word in ("--only", name))]
    before = sent_segments()
    with contained("DaemonSet", "agent", {"state": state, "secrets": tokens}, arguments=arguments) as process:
        out, said = process.communicate(timeout=_PATIENCE_SECONDS)
    found = json.loads(out)
    assert [run["ok"] for run in found["runs"]] == [True] * len(wanted), said
    tables = found["tables"]
    # The pod's own network has sent nothing, and has no port but its loop.
    assert tables["tcp_sample"][0]["sent_segment_count_total"] >= before > 0
    ports = {path.name for path in Path("/sys/class/net").iterdir()} - {"lo"}
    assert {row["device"] for row in tables.get("network_port_sample", [])} <= ports
    points = {row["mount_point"]: row for row in tables["mount_sample"]}
    assert not [point for point in points if point.startswith((_NODE, "/var/lib/clusterledger"))]
    here = os.statvfs("/")
    assert points["/"]["capacity_bytes"] == here.f_blocks * here.f_frsize
