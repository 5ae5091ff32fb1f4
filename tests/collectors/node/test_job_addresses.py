"""Programs in pods are found by what the kernel says of their networks."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from collectors.node._job_addresses import serving
from tests.missing import missing

TRIE = """Main:
     +-- 127.0.0.0/8 2 0 2
        |-- 127.0.0.1
           /32 host LOCAL
     +-- 10.4.0.0/24 2 0 2
        |-- 10.4.0.0
           /24 link UNICAST
{}"""
LOCAL = "        |-- {}\n           /32 host LOCAL\n"
HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
POD = "0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{}.slice/cri-containerd-x.scope\n"
FIRST, SECOND = "6b0c5f2e-aaaa-bbbb-cccc-000000000001", "6b0c5f2e-aaaa-bbbb-cccc-000000000002"
ALL4, ALL6, LOOP4, LOOP6 = "00000000", "0" * 32, "0100007F", "0" * 24 + "01000000"


def process(procfs: Path, pid: str, cgroup: str, *listening: tuple[str, int], at: tuple[str, ...] = ()) -> None:
    folder = procfs / pid
    (folder / "net").mkdir(parents=True)
    (folder / "cgroup").write_text(cgroup)
    (folder / "net/fib_trie").write_text(TRIE.format("".join(LOCAL.format(each) for each in at)))
    for name, width in (("tcp", 8), ("tcp6", 32)):
        lines = [
            f"   0: {each}:{port:04X} {'0' * width}:0000 0A 0 0\n" for each, port in listening if len(each) == width
        ]
        lines.append(f"   9: {'0' * width}:20EF {'0' * width}:9999 01 0 0\n")
        (folder / "net" / name).write_text(HEAD + "".join(lines))


@pytest.fixture
def procfs(tmp_path: Path) -> Path:
    process(tmp_path, "self", "0::/system.slice/agent.service", at=("192.168.0.9",))
    return tmp_path


def test_a_pod_answers_at_its_own_address(procfs: Path) -> None:
    process(procfs, "500", POD.format(FIRST), (ALL6, 8431), at=("10.4.0.7",))
    process(procfs, "501", POD.format(FIRST), (ALL6, 8431), at=("10.4.0.7",))
    process(procfs, "600", POD.format(SECOND), (ALL4, 8431), (ALL4, 8432), at=("10.4.0.8", "10.4.0.10"))
    process(procfs, "700", "0::/user.slice", (ALL4, 8431), at=("10.4.0.9",))
    assert serving(procfs, (8431, 8432, 8433)) == ["10.4.0.7:8431", "10.4.0.10:8431", "10.4.0.10:8432"]


@pytest.mark.parametrize("address", [LOOP4, LOOP6, "0" * 16 + "FFFF0000" + LOOP4])
def test_what_listens_on_loopback_alone_cannot_be_asked(procfs: Path, address: str) -> None:
    process(procfs, "500", POD.format(FIRST), (address, 8431), at=("10.4.0.7",))
    assert serving(procfs, (8431,)) == []


def test_pods_on_one_network_are_one_and_the_agents_own_is_none(procfs: Path) -> None:
    process(procfs, "500", POD.format(FIRST), (ALL4, 8431), at=("192.168.0.9",))
    process(procfs, "600", POD.format(SECOND), (ALL4, 8431), at=("10.4.0.8",))
    process(procfs, "601", POD.format(FIRST.replace("1", "3")), (ALL4, 8431), at=("10.4.0.8",))
    assert serving(procfs, (8431,)) == ["10.4.0.8:8431"]


def test_a_real_network_of_its_own_is_read_as_the_kernel_writes_it(tmp_path: Path) -> None:
    program = "import socket, sys; s = socket.create_server(('0.0.0.0', 8431)); print(flush=True); sys.stdin.read()"
    up = 'ip link set lo up && ip addr add 10.9.8.7/32 dev lo 2>/dev/null || exit 9; exec "$@"'
    apart = ["unshare", "--net", "/bin/sh", "-c", up, "sh", sys.executable, "-c", program]
    absent = [name for name in ("unshare", "ip") if shutil.which(name) is None]
    if absent or os.geteuid() != 0:
        missing(f"{', '.join(absent) or 'root'} is needed to make a network")
    if subprocess.run(["unshare", "--net", "true"], check=False, capture_output=True).returncode:
        pytest.skip("root may make no network here, as in a container: run the tests in a privileged one")
    with subprocess.Popen(apart, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline()
            for pid, at in (("500", str(process.pid)), ("self", "self")):
                (tmp_path / pid).mkdir()
                (tmp_path / pid / "cgroup").write_text(POD.format(FIRST))
                (tmp_path / pid / "net").symlink_to(f"/proc/{at}/net")
            assert serving(tmp_path, (8431,)) == ["10.9.8.7:8431"]
        finally:
            process.kill()
