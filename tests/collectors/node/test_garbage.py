"""Whatever the kernel or a driver writes: a collector ends with its own words, and its rows are taken."""

import random
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import polars as pl
import pytest

from collectors.agent import node_collectors
from ledger.errors import ClusterLedgerError
from ledger.registry import Row

NASTY = (
    *(
        "-1",
        "18446744073709551615",
        "9223372036854775807",
        "99999999999999999999999",
        "4294967295",
        "N/A",
        "nan",
        "inf",
    ),
    *("1e300", "1_0", "\u0663", "", "\x00", "0x10", "7:", "=", "some", "a b c", "-9223372036854775808"),
)
RACK = {
    "sys/class/powercap/intel-rapl:0/name": "package-0",
    "sys/class/powercap/intel-rapl:0/energy_uj": "5000000",
    "sys/class/powercap/intel-rapl:0/max_energy_range_uj": "262143328850",
    "sys/class/hwmon/hwmon0/name": "power_meter",
    "sys/class/hwmon/hwmon0/power1_average": "412500000",
    "sys/class/hwmon/hwmon0/temp1_input": "48500",
    "sys/class/hwmon/hwmon0/fan1_input": "5400",
    "sys/cray/pm_counters/energy": "99000 J 1669650000 us",
    "sys/fs/cgroup/cgroup.controllers": "cpu io memory",
    "sys/fs/cgroup/system.slice/slurmstepd.scope/job_7/cpu.stat": "usage_usec 5\nuser_usec 4\nsystem_usec 1",
    "sys/fs/cgroup/system.slice/slurmstepd.scope/job_7/memory.stat": "anon 300\nfile 500\nshmem 200",
    "sys/fs/cgroup/system.slice/slurmstepd.scope/job_7/memory.current": "900",
    "sys/fs/cgroup/system.slice/slurmstepd.scope/job_7/io.stat": "259:0 rbytes=4096 wbytes=100 rios=1 wios=2",
    "sys/fs/cgroup/system.slice/slurmstepd.scope/job_7/io.pressure": "some avg10=25.00 total=1500000",
    "sys/kernel/debug/lustre/llite/scratch-ff47bce9ca35d800/stats": (
        "start_time 1688526476.694479379 secs.nsecs\nread_bytes 30 samples [bytes] 4096 1048576 6000000 9\n"
        "open 22 samples [usecs] 1 9 4400 99"
    ),
    "sys/devices/system/node/node0/meminfo": "Node 0 MemTotal: 1000 kB\nNode 0 MemFree: 400 kB",
    "sys/devices/system/node/node0/numastat": "numa_hit 100\nnuma_miss 3\nother_node 4",
    "sys/devices/system/node/node0/cpulist": "0-3,8",
    "sys/class/drm/card0/device/vendor": "0x1002",
    "sys/class/drm/card0/device/uevent": "PCI_SLOT_NAME=0000:83:00.0",
    "sys/class/drm/card0/device/unique_id": "79ccd55167a2124a",
    "sys/class/drm/card0/device/gpu_busy_percent": "37",
    "sys/class/drm/card0/device/mem_info_vram_used": "6750208",
    "sys/class/drm/card0/device/mem_info_vram_total": "34342961152",
    "sys/class/drm/card0/device/pp_dpm_sclk": "0: 300Mhz *\n1: 1502Mhz",
    "sys/class/drm/card0/device/numa_node": "1",
    "sys/class/drm/card0/device/ras/umc_err_count": "ue: 0\nce: 4",
    "sys/class/drm/card0/device/hwmon/hwmon1/power1_average": "36000000",
    "sys/class/drm/card0/device/hwmon/hwmon1/temp1_label": "edge",
    "sys/class/drm/card0/device/hwmon/hwmon1/temp1_input": "53000",
    "sys/class/kfd/kfd/topology/nodes/1/gpu_id": "4101",
    "sys/class/kfd/kfd/topology/nodes/1/properties": "location_id 33536\ndomain 0",
    "sys/class/kfd/kfd/proc/77/vram_4101": "5000",
    "proc/net/snmp": "Tcp: CurrEstab OutSegs RetransSegs\nTcp: 3 900 12",
    "proc/net/netstat": "TcpExt: ListenOverflows ListenDrops\nTcpExt: 3 5",
}

# What reads a device's memory and speaks to a library has tests of its own kind.
NAMES = (
    *("amd", "blockdevice", "ethernet", "filesystem", "host", "infiniband", "job_cgroup", "lustre", "nfs", "numa"),
    *("power", "pressure", "tcp"),
)


@pytest.fixture
def node(small_node: Path, tmp_path: Path) -> Path:
    root = tmp_path / "node"
    shutil.copytree(small_node, root)
    for name, text in RACK.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")
    return root


def rows_of(name: str, root: Path) -> Iterator[tuple[str, Row]]:
    unit = node_collectors()[name]
    roots = {"procfs": root / "proc", "sysfs": root / "sys"}
    if name in {"blockdevice", "host", "nfs", "pressure", "tcp"}:
        roots.pop("sysfs")
    elif name in {"infiniband", "job_cgroup", "numa", "power"}:
        roots.pop("procfs")
    with suppress(ClusterLedgerError):
        yield from unit.open(**roots)()


def spoil(path: Path, luck: random.Random) -> None:
    """Put something nasty in place of some words or numbers of a file, cut it, or write over it."""
    text = path.read_text(encoding="utf-8", errors="replace")
    kind = luck.randrange(5)
    if kind == 0:
        path.write_bytes(luck.randbytes(luck.randrange(80)))
    elif kind == 1:
        path.write_text(text[: luck.randrange(len(text) + 1)], encoding="utf-8")
    else:
        share = luck.choice((0.1, 0.5, 1.0))
        words = re.sub(r"\d+", lambda match: luck.choice(NASTY) if luck.random() < share else match[0], text)
        path.write_text(words, encoding="utf-8")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("seed", range(6))
def test_garbage_is_refused_in_words_or_left_out(
    node: Path, kept: Callable[..., dict[str, pl.DataFrame]], name: str, seed: int
) -> None:
    luck = random.Random(f"{name} {seed}")  # noqa: S311  it is to be the same each time
    files = sorted(path for path in node.rglob("*") if path.is_file())
    for path in files:
        if luck.random() < 0.7:
            spoil(path, luck)
    kept(rows_of(name, node))


@pytest.mark.parametrize("name", NAMES)
def test_folders_in_place_of_files_are_no_files(
    node: Path, kept: Callable[..., dict[str, pl.DataFrame]], name: str
) -> None:
    for path in [path for path in node.rglob("*") if path.is_file()]:
        path.unlink()
        path.mkdir()
    kept(rows_of(name, node))


@pytest.mark.parametrize("name", NAMES)
def test_the_same_node_unspoilt_is_measured(
    node: Path, kept: Callable[..., dict[str, pl.DataFrame]], name: str
) -> None:
    assert sum(frame.height for frame in kept(rows_of(name, node)).values()) > 0
