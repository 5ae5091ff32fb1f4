"""The files of a node with eight GPUs, as its kernel shows them: something to read for every collector of a host.

It is what a machine that runs the bench rarely is: 128 processors in two NUMA nodes, eight InfiniBand ports, NFS,
Lustre and GPFS mounts, meters, and eight jobs of Slurm, each of which trains on one GPU. Reading a plain file costs
less than asking a driver: what the kernel itself spends on an answer is not in a figure that is taken here.
"""

import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from collectors.progress import VERSION

GPUS: Final = 8
PIDS: Final = tuple(range(2001, 2001 + GPUS))
"""The process of each job, which computes on the GPU of the same place."""

_PROCESSORS: Final = 128
_INTERRUPTS: Final = 1500
_SERVICES: Final = 40
_CORES: Final = 32
_DRIVES: Final = 6
_START_TICKS: Final = 4_711
_STARTED_AT: Final = 1_760_000_000
_JOBS: Final = tuple(range(1001, 1001 + GPUS))
_BOOT_ID: Final = "5f0c8a52-8f0e-4a2b-9b55-0c5f6d3b9a10"

# Whose form a kernel decides, and whose length no machine's size: they are this machine's own.
_COPIED: Final = ("meminfo", "vmstat", "loadavg", "uptime", "version", "net/snmp", "net/netstat", "net/sockstat")

_PORT_COUNTERS: Final = (
    "VL15_dropped excessive_buffer_overrun_errors link_downed link_error_recovery local_link_integrity_errors "
    "multicast_rcv_packets multicast_xmit_packets port_rcv_constraint_errors port_rcv_data port_rcv_errors "
    "port_rcv_packets port_rcv_remote_physical_errors port_rcv_switch_relay_errors port_xmit_constraint_errors "
    "port_xmit_data port_xmit_discards port_xmit_packets port_xmit_wait symbol_error unicast_rcv_packets "
    "unicast_xmit_packets"
)
_ADAPTER_COUNTERS: Final = (
    "duplicate_request implied_nak_seq_err lifespan local_ack_timeout_err np_cnp_sent np_ecn_marked_roce_packets "
    "out_of_buffer out_of_sequence packet_seq_err req_cqe_error req_cqe_flush_error req_remote_access_errors "
    "req_remote_invalid_request resp_cqe_error resp_cqe_flush_error resp_local_length_error resp_remote_access_errors "
    "rnr_nak_retry_err roce_adp_retrans roce_adp_retrans_to roce_slow_restart roce_slow_restart_cnps "
    "roce_slow_restart_trans rp_cnp_handled rp_cnp_ignored rx_atomic_requests rx_icrc_encapsulated rx_read_requests "
    "rx_write_requests"
)
_BUSY_COUNTERS: Final = frozenset(name for name in _PORT_COUNTERS.split() if name.endswith(("_data", "_packets")))

_NFS_ASKED: Final = "READ WRITE COMMIT OPEN CLOSE SETATTR GETATTR ACCESS LOOKUP READDIR SEQUENCE LAYOUTGET"
_NFS_NEVER_ASKED: Final = (
    "NULL OPEN_CONFIRM OPEN_NOATTR OPEN_DOWNGRADE FSINFO RENEW SETCLIENTID SETCLIENTID_CONFIRM LOCK LOCKT LOCKU "
    "LOOKUP_ROOT REMOVE RENAME LINK SYMLINK CREATE PATHCONF STATFS READLINK SERVER_CAPS DELEGRETURN GETACL SETACL "
    "FS_LOCATIONS RELEASE_LOCKOWNER SECINFO FSID_PRESENT EXCHANGE_ID CREATE_SESSION DESTROY_SESSION GET_LEASE_TIME "
    "RECLAIM_COMPLETE GETDEVICEINFO LAYOUTCOMMIT LAYOUTRETURN SECINFO_NO_NAME TEST_STATEID FREE_STATEID "
    "GETDEVICELIST BIND_CONN_TO_SESSION DESTROY_CLIENTID SEEK ALLOCATE DEALLOCATE LAYOUTSTATS CLONE COPY "
    "OFFLOAD_CANCEL LOOKUPP LAYOUTERROR COPY_NOTIFY GETXATTR SETXATTR LISTXATTRS REMOVEXATTR READ_PLUS"
)
_EXPORTS: Final = {"/home": "filer:/export/home", "/software": "filer:/export/software", "/data": "filer2:/data"}

_LUSTRE: Final = {
    "llite": (["scratch"], "read_bytes write_bytes", "read write ioctl open close mmap seek getattr statfs setxattr"),
    "osc": ([f"scratch-OST{index:04x}-osc" for index in range(8)], "read_bytes write_bytes", "req_waittime ost_read"),
    "mdc": ([f"scratch-MDT{index:04x}-mdc" for index in range(2)], "", "req_waittime mds_getattr ldlm_ibits_enqueue"),
}
_MEMORY_STAT: Final = (
    "anon file kernel kernel_stack pagetables sec_pagetables percpu sock vmalloc shmem zswap zswapped file_mapped "
    "file_dirty file_writeback swapcached anon_thp file_thp shmem_thp inactive_anon active_anon inactive_file "
    "active_file unevictable slab_reclaimable slab_unreclaimable slab workingset_refault_anon workingset_refault_file "
    "workingset_activate_anon workingset_activate_file workingset_restore_anon workingset_restore_file pgscan pgsteal "
    "pgfault pgmajfault pgrefill pgactivate pgdeactivate pglazyfree pglazyfreed thp_fault_alloc thp_collapse_alloc"
)
_SENSORS: Final = {
    "degrees C": ("Inlet Temp", "Exhaust Temp", *(f"GPU{index} Temp" for index in range(GPUS))),
    "RPM": tuple(f"Fan{index}A" for index in range(8)),
    "Watts": ("Pwr Consumption", *(f"PSU{index} Input" for index in range(6))),
}


def write(root: Path) -> None:
    """Write the node's files into a folder, which the agent takes for the node's root."""
    _host(root / "proc")
    _ports(root)
    _mounts(root)
    _lustre(root / "sys/kernel/debug/lustre")
    _meters(root)
    _numa(root / "sys/devices/system/node")
    _jobs(root)


def sections(root: Path) -> dict[str, dict[str, Any]]:
    """Return what collectors have to know of this node: where the programs are that they ask, and trainings' files."""
    return {
        "ipmi": {
            "power_command": ["cat", str(root / "opt/ipmi_power")],
            "sensor_command": ["cat", str(root / "opt/ipmi_sensors")],
        },
        "gpfs": {"tool": str(root / "opt/mmpmon")},
        "training": {"folder": str(root / "dev/shm/clusterledger")},
    }


def _put(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{content}\n", encoding="utf-8")


def _put_all(folder: Path, contents: Mapping[str, object]) -> None:
    for name, content in contents.items():
        _put(folder / name, content)


def _lines(lines: Iterable[str]) -> str:
    return "\n".join(lines)


def _host(proc: Path) -> None:
    for name in _COPIED:
        (proc / name).parent.mkdir(parents=True, exist_ok=True)
        if Path("/proc", name).exists():
            shutil.copyfile(Path("/proc", name), proc / name)
    times = "8041234 120 902311 99123456 4321 0 23111 0 0 0"
    stat = [f"cpu  {times}", *(f"cpu{index} {times}" for index in range(_PROCESSORS))]
    stat += [f"intr 99887766 {' '.join(str(index * 37) for index in range(_INTERRUPTS))}", "ctxt 123456789"]
    stat += ["btime 1763000000", "processes 1234567", "procs_running 9", "procs_blocked 0"]
    _put(proc / "stat", _lines([*stat, "softirq 55 1 2 3 4 5 6 7 8 9 10"]))
    _put(proc / "1/status", "Name:\tsystemd")
    _put(proc / "sys/kernel/random/boot_id", _BOOT_ID)
    for name in ("cpu", "io", "memory"):
        _put(proc / "pressure" / name, _stalls())
    disks = [f"nvme{index}n1" for index in range(_DRIVES)]
    parts = [f"{disk}{part}" for disk in disks for part in ("", "p1", "p2")]
    numbers = "81234 120 9912345 40123 71234 99 8812345 50123 2 61234 90246 0 0 0 0 12 34"
    _put(proc / "diskstats", _lines(f" 259 {index} {name} {numbers}" for index, name in enumerate(parts)))


def _stalls() -> str:
    return _lines(f"{kind} avg10=1.25 avg60=0.80 avg300=0.40 total=123456789" for kind in ("some", "full"))


def _ports(root: Path) -> None:
    proc, classes = root / "proc", root / "sys/class"
    numbers = "912345678901 812345678 0 0 0 0 0 1234 712345678901 612345678 0 0 0 0 0 0"
    ethernet, fabric = ["eno1", "eno2"], [f"ib{index}" for index in range(GPUS)]
    names = ["lo", *ethernet, *fabric]
    head = ["Inter-|   Receive  |  Transmit", " face |bytes packets errs drop |bytes packets errs drop"]
    _put(proc / "net/dev", _lines([*head, *(f"{name}: {numbers}" for name in names)]))
    for name in names:
        kind = 772 if name == "lo" else 1 if name in ethernet else 32
        own = {"type": kind, "operstate": "up", "speed": 25_000, "carrier_down_count": 1, "mtu": 9000}
        _put_all(classes / "net" / name, {**own, "statistics/rx_missed_errors": 0})
    for index in range(GPUS):
        port = classes / f"infiniband/mlx5_{index}/ports/1"
        state = {"state": "4: ACTIVE", "phys_state": "5: LinkUp", "rate": "400 Gb/sec (4X NDR)"}
        _put_all(port, {**state, "link_layer": "InfiniBand"})
        for folder, several in (("counters", _PORT_COUNTERS), ("hw_counters", _ADAPTER_COUNTERS)):
            for name in several.split():
                _put(port / folder / name, 998_877_665_544_332 + index if name in _BUSY_COUNTERS else 0)


def _mounts(root: Path) -> None:
    """Write mounts as a container sees them, in which the node's root lies in a folder: each folder can be asked."""
    lustre = {"/scratch": "10.0.0.1@o2ib:10.0.0.2@o2ib:/scratch"}
    mounts = [("/dev/nvme0n1p2", root, "ext4"), ("proc", root / "proc", "proc"), ("sysfs", root / "sys", "sysfs")]
    mounts += [(f"/dev/nvme{index}n1p1", root / f"local{index}", "xfs") for index in range(1, 3)]
    mounts += [(device, root / point[1:], "nfs4") for point, device in _EXPORTS.items()]
    mounts += [(device, root / point[1:], "lustre") for point, device in lustre.items()]
    for _, point, _ in mounts:
        point.mkdir(parents=True, exist_ok=True)
    own = root / "proc/self"
    _put(own / "mounts", _lines(f"{device} {point} {kind} rw,relatime 0 0" for device, point, kind in mounts))
    _put(
        own / "mountinfo",
        _lines(
            f"{index + 30} 29 0:{index + 30} / {point} rw,relatime shared:1 - {kind} {device} rw"
            for index, (device, point, kind) in enumerate(mounts)
        ),
    )
    _put(own / "mountstats", _lines(_mountstats(device, root / point[1:]) for point, device in _EXPORTS.items()))


def _mountstats(device: str, point: Path) -> str:
    head = [
        f"device {device} mounted on {point} with fstype nfs4 statvers=1.1",
        "\topts:\trw,vers=4.2,rsize=1048576,wsize=1048576,namlen=255,hard,proto=tcp,timeo=600,retrans=2,sec=sys",
        "\tage:\t987654",
        "\tcaps:\tcaps=0x3ffbffff,wtmult=512,dtsize=1048576,bsize=0,namlen=255",
        f"\tevents:\t{' '.join(str(index * 1013) for index in range(27))}",
        "\tbytes:\t812345678901 712345678901 0 0 612345678901 512345678901 149498456 125084395",
        "\tRPC iostats version: 1.1  p/v: 100003/4 (nfs)",
        "\txprt:\ttcp 0 0 2 0 9 81234567 81234560 7 91234567 0 16 1234567 7654321",
        "\tper-op statistics",
    ]
    asked = [f"\t{name}: 812345 812346 0 98765432 912345678 1234 412345 498765 2" for name in _NFS_ASKED.split()]
    return _lines([*head, *asked, *(f"\t{name}: 0 0 0 0 0 0 0 0 0" for name in _NFS_NEVER_ASKED.split())])


def _lustre(folder: Path) -> None:
    head = [
        "snapshot_time             1763000000.123456789 secs.nsecs",
        "start_time                1762000000.0 secs.nsecs",
    ]
    for component, (targets, moved, timed) in _LUSTRE.items():
        lines = [f"{name:<25} 812345 samples [bytes] 4096 4194304 912345678901 99" for name in moved.split()]
        lines += [f"{name:<25} 812345 samples [usecs] 1 99999 812345678 99" for name in timed.split()]
        for target in targets:
            _put(folder / component / f"{target}-ffff9f8e12345678" / "stats", _lines([*head, *lines]))


def _meters(root: Path) -> None:
    powercap = root / "sys/class/powercap"
    for package in range(2):
        zones = {f"intel-rapl:{package}": f"package-{package}", f"intel-rapl:{package}:0": "dram"}
        for zone, name in zones.items():
            own = {"name": name, "energy_uj": 123_456_789_012, "max_energy_range_uj": 262_143_328_850}
            _put_all(powercap / zone, own)
    cores = [f"Core {index}" for index in range(_CORES)]
    chips: list[tuple[str, Sequence[str]]] = [("coretemp", [f"Package id {index}", *cores]) for index in range(2)]
    chips += [("nvme", ["Composite", "Sensor 1"])] * _DRIVES + [("mlx5", ["asic"])] * GPUS
    for index, (name, labels) in enumerate(chips):
        chip = root / f"sys/class/hwmon/hwmon{index}"
        _put(chip / "name", name)
        for number, label in enumerate(labels, 1):
            own = {"label": label, "input": 54_000, "max": 90_000, "crit": 100_000, "crit_alarm": 0}
            _put_all(chip, {f"temp{number}_{word}": content for word, content in own.items()})
    _put(root / "dev/ipmi0", "")
    _put(root / "opt/ipmi_power", "    Instantaneous power reading:                  6420 Watts")
    sensors = [(name, unit) for unit, names in _SENSORS.items() for name in names]
    lines = (f"{name:<16} | {index:02X}h | ok  |  7.1 | 640 {unit}" for index, (name, unit) in enumerate(sensors, 1))
    _put(root / "opt/ipmi_sensors", _lines(lines).replace("640 degrees", "48 degrees"))
    monitor = root / "opt/mmpmon"
    counts = "_br_ 812345678 _bw_ 4123456789 _oc_ 811 _cc_ 790 _rdc_ 51234 _wc_ 23456 _dir_ 93 _iu_ 412"
    answer = f"_fs_io_s_ _n_ 10.0.0.1 _nn_ n1 _rc_ 0 _t_ 1763000000 _tu_ 123456 _cl_ lab.x _fs_ projects _d_ 8 {counts}"
    _put(monitor, f"#!/bin/sh\necho '{answer}'")
    monitor.chmod(0o755)


def _numa(folder: Path) -> None:
    sizes = {"MemTotal": 1056_000_000, "MemFree": 640_000_000, "FilePages": 90_000_000, "AnonPages": 290_000_000}
    counted = ("numa_hit", "numa_miss", "numa_foreign", "interleave_hit", "local_node", "other_node")
    for index in range(2):
        half = _PROCESSORS // 2
        own = {
            "cpulist": f"{index * half}-{(index + 1) * half - 1}",
            "meminfo": _lines(f"Node {index} {name}:       {size} kB" for name, size in sizes.items()),
            "numastat": _lines(f"{name} 8123456789" for name in counted),
        }
        _put_all(folder / f"node{index}", own)


def _jobs(root: Path) -> None:
    """Write the cgroups of the jobs, their processes, and how far each says that its training is."""
    groups = root / "sys/fs/cgroup"
    _put(groups / "cgroup.controllers", "cpuset cpu io memory hugetlb pids rdma misc")
    for index in range(_SERVICES):
        _put(groups / f"system.slice/service{index}.service/pids.current", 4)
    for place, (job, pid) in enumerate(zip(_JOBS, PIDS, strict=True)):
        path = f"system.slice/slurmstepd.scope/job_{job}"
        for folder in (groups / path, groups / path / "step_0", groups / path / "step_0/user/task_0"):
            _put_all(folder, _usage())
        _put(groups / path / "step_0/user/task_0/cgroup.procs", pid)
        zeros = " ".join("0" for _ in range(18))
        _put_all(
            root / "proc" / str(pid),
            {
                "status": _lines([f"Name:\tpython{place}", "State:\tR (running)", "Uid:\t1000\t1000\t1000\t1000"]),
                "stat": f"{pid} (python) R {zeros} {_START_TICKS} 0 0",
                "cgroup": f"0::/{path}/step_0/user/task_0",
            },
        )
        words = {"v": VERSION, "job_id": str(job), "run": "", "model": "llama-3-8b", "rank": 0, "pid": pid}
        counts = {"step_count": 8123, "sample_count": 4_159_000, "token_count": 17_035_000_000}
        told = {**words, **counts, "start_ticks": _START_TICKS, "started_at": _STARTED_AT}
        _put(root / f"dev/shm/clusterledger/{pid}.json", json.dumps(told))


def _usage() -> dict[str, object]:
    """Return the files of one cgroup."""
    times = ("usage_usec", "user_usec", "system_usec", "nr_periods", "nr_throttled", "throttled_usec")
    io = "rbytes=912345678901 wbytes=412345678901 rios=8123456 wios=7123456 dbytes=0 dios=0"
    return {
        "cpu.stat": _lines(f"{name} 812345678" for name in times),
        "memory.stat": _lines(f"{name} 12345678901" for name in _MEMORY_STAT.split()),
        "memory.current": 98_765_432_101,
        "memory.peak": 198_765_432_101,
        "memory.max": 256_000_000_000,
        "memory.swap.current": 0,
        "memory.events": _lines(f"{name} 0" for name in ("low", "high", "max", "oom", "oom_kill")),
        "pids.current": 123,
        "io.stat": _lines(f"259:{index} {io}" for index in range(_DRIVES)),
        **{f"{name}.pressure": _stalls() for name in ("cpu", "io", "memory")},
    }
