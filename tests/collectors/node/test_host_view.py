"""An agent in a container: the node's root is mounted in a folder, and all else that it sees is the container's."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from collectors.agent import run_collectors
from collectors.node.ethernet import ethernet
from collectors.node.filesystem import filesystem
from collectors.node.nfs import nfs
from collectors.node.tcp import tcp
from ledger.config import Settings
from ledger.registry import Row

SIZES = os.statvfs_result((4096, 4096, 1000, 400, 300, 50, 20, 20, 0, 255))
SNMP = "Tcp: OutSegs RetransSegs\nTcp: {} 7\n"
DEVICES = "Inter-|\n face |\n  eth0: {} 1 0 0 0 0 0 0 {} 1 0 0 0 0 0 0\n"
MOUNTS = """overlay / overlay ro,lowerdir=x 0 0
proc /proc proc rw 0 0
/dev/nvme0n1p2 {host} ext4 ro,relatime 0 0
tmpfs {host}/dev/shm tmpfs rw 0 0
/dev/nvme1n1 {host}/scratch xfs rw 0 0
filer:/home {host}/home nfs4 rw 0 0
filer:/hidden {host}/root nfs4 rw 0 0
tmpfs {host}/root tmpfs ro,mode=0 0 0
/dev/nvme0n1p2 /etc/hosts ext4 rw 0 0
/dev/nvme0n1p2 /var/lib/clusterledger ext4 rw 0 0
filer:/of-the-pod /models nfs4 rw 0 0
"""
STATS = (
    "device {device} mounted on {point} with fstype nfs4 statvers=1.1\n\tage:\t100\n\tbytes:\t0 0 0 0 {read} 20 0 0\n"
    "\tper-op statistics\n\tREAD: {read} 5 0 1 1 1 1 1 0\n"
)


@pytest.fixture
def host(small_node: Path, tmp_path: Path) -> Path:
    """Return the folder with a node's files; in its /proc this process is one of a container."""
    root = tmp_path / "host"
    shutil.copytree(small_node, root, symlinks=True)
    proc = root / "proc"
    shutil.rmtree(proc / "self")
    shutil.rmtree(proc / "net")
    for folder in ("self", "net", "1/net"):
        (proc / folder).mkdir(parents=True)
    for folder, moved in (("net", 1), ("1/net", 1_000_000)):
        (proc / folder / "dev").write_text(DEVICES.format(moved, moved))
        (proc / folder / "snmp").write_text(SNMP.format(moved))
    (proc / "self/mounts").write_text(MOUNTS.format(host=root))
    infos = [line.split() for line in MOUNTS.format(host=root).splitlines()]
    (proc / "self/mountinfo").write_text(
        "".join(f"{30 + n} 1 0:{40 + n} / {each[1]} rw - {each[2]} {each[0]} rw\n" for n, each in enumerate(infos))
    )
    mounted = ((f"{root}/home", "filer:/home", 10), ("/models", "filer:/of-the-pod", 99))
    (proc / "self/mountstats").write_text(
        "".join(STATS.format(point=point, device=device, read=read) for point, device, read in mounted)
    )
    return root


def mounts(host: Path, statvfs: Callable[[str], os.statvfs_result] = lambda _: SIZES) -> dict[object, Row]:
    found = filesystem.open(procfs=host / "proc", sysfs=host / "sys", statvfs=statvfs)()
    return {row["mount_point"]: row for _, row in found}


def test_mounts_are_the_nodes_under_its_names(host: Path) -> None:
    rows = mounts(host)
    assert {point: row["device"] for point, row in rows.items()} == {
        "/": "/dev/nvme0n1p2",
        "/home": "filer:/home",
        "/scratch": "/dev/nvme1n1",
    }
    assert rows["/home"]["read_bytes_total"] == 10


def test_a_mount_is_asked_where_it_is_for_this_process(host: Path) -> None:
    asked = []

    def statvfs(point: str) -> os.statvfs_result:
        asked.append(point)
        return SIZES

    assert mounts(host, statvfs)["/scratch"]["capacity_bytes"] == 4_096_000
    assert sorted(asked) == [f"{host}/", f"{host}/home", f"{host}/scratch"]


def test_that_the_view_is_read_only_is_no_word_about_the_node(host: Path) -> None:
    rows = mounts(host)
    assert (rows["/"]["is_read_only"], rows["/scratch"]["is_read_only"]) == (None, False)


def test_exports_are_the_nodes_and_not_those_of_the_pod(host: Path) -> None:
    rows = [row for _, row in nfs.open(procfs=host / "proc")()]
    assert {(row["mount_point"], row["device"]) for row in rows} == {("/home", "filer:/home")}


def test_the_network_is_the_nodes_and_not_that_of_the_pod(host: Path) -> None:
    ports = {row["device"]: row for _, row in ethernet.open(procfs=host / "proc", sysfs=host / "sys")()}
    assert ports["eth0"]["receive_bytes_total"] == 1_000_000
    ((_, row),) = tcp.open(procfs=host / "proc")()
    assert row["sent_segment_count_total"] == 1_000_000


def test_where_the_first_process_is_hidden_its_own_network_is_what_is_left(host: Path) -> None:
    shutil.rmtree(host / "proc/1")
    ((_, row),) = tcp.open(procfs=host / "proc")()
    assert row["sent_segment_count_total"] == 1


def test_one_setting_says_where_the_node_is(host: Path) -> None:
    settings = Settings.model_validate({"agent": {"root": host, "node": "n"}})
    found = run_collectors(["filesystem", "tcp", "host"], settings=settings)
    assert [run.ok for run in found.runs] == [True] * 3
    assert found.tables["tcp_sample"][0]["sent_segment_count_total"] == 1_000_000
    assert {row["mount_point"] for row in found.tables["mount_sample"]} == {"/", "/home", "/scratch"}


def test_a_mount_that_another_one_hides_is_not_asked(tmp_path: Path) -> None:
    """What lies on a mount answers in its place: the size of a hidden folder's would be told as that of the homes."""
    (tmp_path / "self").mkdir()
    lines = ("/dev/sda / ext4 rw 0 0", "filer:/home /home nfs4 rw 0 0", "tmpfs /home tmpfs ro,mode=0 0 0")
    (tmp_path / "self/mounts").write_text("\n".join(lines))
    found = filesystem.open(procfs=tmp_path, statvfs=lambda _: SIZES)()
    assert [row["mount_point"] for _, row in found] == ["/"]
