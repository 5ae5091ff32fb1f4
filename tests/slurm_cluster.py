"""A Slurm of two nodes on this machine: controller, accounting with its database, two node daemons, slurmrestd.

GPUs and MIG devices are plain files. Everything listens on loopback or on sockets in one folder, and ends with the
test; what a job starts lives for two minutes at most.
"""

import contextlib
import os
import secrets
import shutil
import signal
import socket
import stat
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.missing import missing
from tests.ports import free_ports

PROGRAMS: Final = ("mariadbd", "munged", "slurmdbd", "slurmctld", "slurmd", "slurmrestd", "sbatch", "sacctmgr", "munge")
_PACKAGES: Final = "slurm-wlm slurmdbd slurmrestd munge mariadb-server"
_PATIENCE_SECONDS: Final = 180.0
"""Of a busy machine: a job that is cancelled while its node starts it is killed again only half a minute later."""
_REVOKED_SECONDS: Final = 1.2
_TOKEN_PLUGIN: Final = "*/slurm-wlm/auth_jwt.so"
_GPUS: Final = 6
_NODE_LINES: Final = 4

_CONFIGURATION: Final = """\
ClusterName=tiny
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort={controller}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
SlurmUser=root
SlurmdUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
ReturnToService=2
SlurmdParameters=config_overrides
SchedulerParameters=batch_sched_delay=0,sched_interval=1,bf_interval=1,sched_min_interval=0
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={accounting}
AccountingStoragePass={folder}/munge.socket
AccountingStorageTRES=gres/gpu,gres/gpu:h100,gres/shard
GresTypes=gpu,shard,mps
JobRequeue=1
MinJobAge=300
KillWait=1
{more}NodeName=n1 NodeHostname=localhost NodeAddr=127.0.0.1 Port={first} {node}
NodeName=n2 NodeHostname=localhost NodeAddr=127.0.0.1 Port={second} {node}
NodeName=c1 NodeHostname=c1 NodeAddr=127.0.0.9 State=FUTURE CPUs=8
PartitionName=gpu Nodes=n1,n2 Default=YES MaxTime=INFINITE State=UP
PartitionName=long Nodes=n1,n2 MaxTime=INFINITE State=UP
"""
_TOKENS: Final = "AuthAltTypes=auth/jwt\nAuthAltParameters=jwt_key={folder}/jwt.key\n"


@dataclass(frozen=True)
class Layout:
    """What the two nodes have: the resources in slurm.conf and in gres.conf; and whether tokens open slurmrestd.

    `detected` is what Slurm is made to believe that it detects: type, links, device file and UUID of each device. With
    it our prolog and epilog keep the map of jobs; elsewhere nobody keeps one.
    """

    gres: str
    files: tuple[str, ...]
    has_tokens: bool = False
    detected: tuple[tuple[str, str, int, str], ...] = ()


WHOLE: Final = Layout("gpu:h100:4,shard:h100:16", ("Name=gpu Type=h100 File={device}[0-3]", "Name=shard Count=16"))
CUT: Final = Layout(
    "gpu:h100:2,gpu:3g.40gb:1,gpu:1g.10gb:2,shard:20,mps:500",
    (
        "Name=gpu Type=h100 File={device}0",
        "Name=gpu Type=3g.40gb File={cap}0",
        "Name=gpu Type=1g.10gb File={cap}[1-2]",
        "Name=gpu Type=h100 File={device}2",
        "Name=shard Count=20",
        "Name=mps Count=500",
    ),
    has_tokens=True,
)
"""Three GPUs, of which the second is cut into three MIG devices."""

DETECTED: Final = Layout(
    "gpu:h100:2,gpu:3g.40gb:2,gpu:1g.10gb:2,shard:12",
    (*(f"Name=gpu Type={kind} Count=2" for kind in ("h100", "3g.40gb", "1g.10gb")), "Name=shard Count=12"),
    detected=(
        *(("3g.40gb", "-1,0", file, f"MIG-{gpu}-0") for gpu, file in ((1, 0), (2, 4))),
        *(("1g.10gb", "0,-1", file, f"MIG-{gpu}-1") for gpu, file in ((1, 1), (2, 5))),
        ("h100", "-1,0,0,0", 3, "GPU-0"),
        ("h100", "0,0,0,-1", 2, "GPU-3"),
    ),
)
"""Four GPUs as Slurm detects them through NVML: two are cut in two, and the files of the others stand crosswise."""

_DEPLOY: Final = Path(__file__).parent.parent / "deploy/slurm"
_NULL_DEVICE: Final = 1

_ACCOUNTING: Final = """\
DbdHost=localhost
DbdAddr=127.0.0.1
DbdPort={accounting}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
SlurmUser=root
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageUser=root
StorageLoc=slurm_accounting
LogFile={folder}/slurmdbd.log
PidFile={folder}/slurmdbd.pid
{more}"""

_DATABASE: Final = (
    *("--no-defaults", "--user=root", "--skip-networking", "--skip-grant-tables", "--skip-log-bin"),
    *("--innodb-log-file-size=4M", "--innodb-buffer-pool-size=16M", "--innodb-flush-log-at-trx-commit=0"),
)


class SlurmCluster:
    """A Slurm that runs: its folder, its slurm.conf, the socket of slurmrestd, and its commands."""

    def __init__(self, folder: Path, layout: Layout = WHOLE) -> None:
        self.folder = folder
        self.layout = layout
        self.configuration = folder / "slurm.conf"
        (port,) = free_ports(1)
        self.rest_url = f"http://127.0.0.1:{port}" if layout.has_tokens else f"unix:{folder}/rest.socket"
        self.started: list[subprocess.Popen[bytes]] = []

    @property
    def environment(self) -> Mapping[str, str]:
        """Return the environment in which its commands find it."""
        return {**os.environ, "SLURM_CONF": str(self.configuration), "LC_ALL": "C", "TZ": "UTC"}

    def run(self, *command: str) -> str:
        """Run one of Slurm's commands and return what it prints."""
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_PATIENCE_SECONDS, check=False, env=self.environment
        )
        assert done.returncode == 0, f"{' '.join(command)}: {done.stderr or done.stdout}"
        return done.stdout.strip()

    def submit(self, *options: str, script: str = "sleep 120") -> str:
        """Submit a job and return its id."""
        where = ("--parsable", "--output=/dev/null", "--chdir=/")
        return self.run("sbatch", *where, *options, "--wrap", script).partition(";")[0]

    def token(self, seconds: int = 600) -> str:
        """Return a token as `scontrol token` prints it."""
        return self.run("scontrol", "token", "username=root", f"lifespan={seconds}")

    def state(self, job_id: str) -> str:
        """Return the state in which the controller has a job."""
        return self.run("squeue", "--noheader", "--states=all", "--format=%T", "--job", job_id).split("\n", 1)[0]

    def stop_accounting(self) -> None:
        """Kill slurmdbd; what the controller would tell it waits there."""
        self._stop("slurmdbd", signal.SIGKILL)

    def start_accounting(self) -> None:
        """Start slurmdbd again, and the controller, which else tries only after some twenty seconds."""
        _start_accounting(self)
        self._stop("slurmctld", signal.SIGTERM)
        _start_controller(self)
        self.until(lambda: self.is_idle("idle", "mixed"), "the nodes do not respond")

    def is_idle(self, *states: str) -> bool:
        """Tell whether all nodes are there and in one of the states; in each of two partitions."""
        told = self.run("sinfo", "--noheader", "--Node", "--format=%T").split()
        return len(told) == _NODE_LINES and set(told) <= set(states or ("idle",))

    def _stop(self, name: str, sign: signal.Signals) -> None:
        pid = int((self.folder / f"{name}.pid").read_text())
        daemon = next(each for each in self.started if each.pid == pid)
        daemon.send_signal(sign)
        daemon.wait(_PATIENCE_SECONDS)

    def until(self, is_so: Callable[[], bool], what: str) -> None:
        """Wait for something; fail with what it was."""
        patiently(is_so, what, self.folder)

    def until_state(self, job_id: str, *states: str) -> None:
        """Wait until a job is in one of the states."""
        self.until(lambda: self.state(job_id) in states, f"job {job_id} is not {states}")

    def start_requeued(self, job_id: str) -> None:
        """Start a job that waits because it was requeued.

        Its node refuses what was granted in the second in which it revoked the last run.
        """
        time.sleep(_REVOKED_SECONDS)
        self.run("scontrol", "update", f"JobId={job_id}", "StartTime=now")
        self.until_state(job_id, "RUNNING")

    def submit_counted(self, *options: str) -> str:
        """Submit a job whose script tells of each of its runs to `until_begun`."""
        return self.submit(*options, script=f"echo >> {self.folder}/$SLURM_JOB_ID.runs; sleep 120")

    def until_begun(self, job_id: str, runs: int) -> None:
        """Wait until a job's script runs for the nth time: one requeued before that may fail instead."""
        told = self.folder / f"{job_id}.runs"
        self.until(lambda: told.exists() and told.read_text().count("\n") >= runs, f"job {job_id}: no run {runs}")

    def clear(self) -> None:
        """Cancel what still runs, and wait until the controller and accounting know that it has ended."""
        self.run("scancel", "--user=root")
        self.until(lambda: not self.run("squeue", "--noheader"), "jobs that do not end")
        ask = ("sacct", "--allusers", "--allocations", "--duplicates", "--noheader", "--parsable2", "--format=End")
        self.until(lambda: "Unknown" not in self.run(*ask), "accounting has jobs without an end")

    def until_recorded(self, job_id: str, state: str) -> None:
        """Wait until accounting has a run of a job in a state."""
        ask = ("sacct", "--allocations", "--duplicates", "--noheader", "--parsable2", "--format=State", "--job", job_id)
        self.until(
            lambda: any(line.startswith(state) for line in self.run(*ask).splitlines()), f"job {job_id} is not {state}"
        )


def patiently(is_so: Callable[[], bool], what: str, folder: Path) -> None:
    """Wait until something is so; fail with what it was, and with what the daemons said until then."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not is_so():
        assert time.monotonic() < deadline, f"{what}\n{_tails(folder)}"
        time.sleep(0.05)


@contextlib.contextmanager
def running(folder: Path, layout: Layout = WHOLE) -> Iterator[SlurmCluster]:
    """Start everything in a folder, and end everything."""
    absent = [name for name in PROGRAMS if shutil.which(name) is None]
    if absent:
        missing(f"{', '.join(absent)} not found; apt-get install {_PACKAGES}")
    if os.geteuid() != 0:
        missing("Slurm's daemons run as root here; run the tests as root")
    if layout.has_tokens and not any(Path("/usr/lib").glob(_TOKEN_PLUGIN)):
        missing(f"{_TOKEN_PLUGIN} not found in /usr/lib; apt-get install slurm-wlm-jwt-plugin")
    cluster = SlurmCluster(folder, layout)
    _write(folder, layout)
    try:
        for step in (_start_storage, _start_accounting, _start_control, _start_nodes):
            step(cluster)
        yield cluster
    finally:
        _end(cluster)


def _write(folder: Path, layout: Layout) -> None:
    """Write what the daemons read."""
    ports = dict(zip(("controller", "accounting", "first", "second"), free_ports(4), strict=True))
    for name in ("db", "state", "n1", "n2", "device"):
        (folder / name).mkdir()
    for index in range(_GPUS):
        (folder / "device" / f"gpu{index}").touch()
        (folder / "device" / f"cap{index}").touch()
    (folder / "jwt.key").write_bytes(secrets.token_bytes(32))
    (folder / "jwt.key").chmod(0o600)
    more = _TOKENS.format(folder=folder) if layout.has_tokens else ""
    scripts = _detected(folder, layout) if layout.detected else ""
    node = f"CPUs=16 RealMemory=1000 Gres={layout.gres} State=UNKNOWN"
    (folder / "munge.key").write_bytes(secrets.token_bytes(128))
    (folder / "munge.key").chmod(0o600)
    (folder / "slurm.conf").write_text(_CONFIGURATION.format(folder=folder, node=node, more=more + scripts, **ports))
    names = {"device": folder / "device" / "gpu", "cap": folder / "device" / "cap"}
    lines = (line.format(**names) for line in layout.files)
    (folder / "gres.conf").write_text("".join(f"NodeName=n[1-2] {line}\n" for line in lines))
    # Not used: nothing here tracks or confines by cgroup. Version 1 is the plugin that needs nothing to be there.
    (folder / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\n")
    (folder / "slurmdbd.conf").write_text(_ACCOUNTING.format(folder=folder, more=more, **ports))
    (folder / "slurmdbd.conf").chmod(0o600)


def _detected(folder: Path, layout: Layout) -> str:
    """Write what Slurm is to detect, and scripts that keep our map; return what slurm.conf says of these."""
    lines = []
    for kind, links, file, uuid in layout.detected:
        path = folder / "device" / f"gpu{file}"
        path.unlink()
        # Slurm tells a job's devices to scripts only where they are devices: this one is /dev/null by another number.
        os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(_NULL_DEVICE, 3 + file))
        lines.append(f"{kind}|16|0-15|{links}|{path}|{uuid}|nvidia_gpu_env\n")
    (folder / "fake_gpus.conf").write_text("".join(lines))
    for name in ("prolog", "epilog"):
        script = folder / f"{name}.sh"
        script.write_text(f"#!/bin/sh\nCLUSTERLEDGER_JOB_MAP={folder}/map exec {_DEPLOY}/{name}.sh\n")
        script.chmod(0o755)
    return f"Prolog={folder}/prolog.sh\nEpilog={folder}/epilog.sh\n"


def _daemon(cluster: SlurmCluster, *command: str, **extra: str) -> None:
    with (cluster.folder / f"{Path(command[0]).name}.out").open("ab") as out:
        cluster.started.append(
            subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env={**cluster.environment, **extra},
                start_new_session=True,
            )
        )


def _start_storage(cluster: SlurmCluster) -> None:
    """Start what proves who asks, the database, and accounting upon it."""
    folder = cluster.folder
    paths = {"key-file": "key", "socket": "socket", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}
    _daemon(cluster, "munged", "--foreground", "--force", *(f"--{a}={folder}/munge.{b}" for a, b in paths.items()))
    at = (f"--datadir={folder}/db", f"--socket={folder}/db.socket", f"--pid-file={folder}/db.pid")
    _daemon(cluster, "mariadbd", *_DATABASE, *at)
    sockets = [folder / "munge.socket", folder / "db.socket"]
    patiently(lambda: all(each.exists() for each in sockets), "no munged or no database", folder)


def _start_accounting(cluster: SlurmCluster) -> None:
    folder = cluster.folder
    _daemon(cluster, "slurmdbd", "-D", MYSQL_UNIX_PORT=str(folder / "db.socket"))
    ask = ("sacctmgr", "--noheader", "show", "cluster")
    patiently(lambda: _works(cluster, *ask), "no slurmdbd", folder)


def _start_control(cluster: SlurmCluster) -> None:
    cluster.run("sacctmgr", "--immediate", "add", "cluster", "tiny")
    _start_controller(cluster)


def _start_controller(cluster: SlurmCluster) -> None:
    _daemon(cluster, "slurmctld", "-D")
    patiently(lambda: _works(cluster, "scontrol", "ping", says="UP"), "no slurmctld", cluster.folder)


def _start_nodes(cluster: SlurmCluster) -> None:
    for name in ("n1", "n2"):
        _daemon(cluster, "slurmd", "-D", "-N", name)
    plugins = "openapi/v0.0.38,openapi/dbv0.0.38"
    has_tokens = cluster.layout.has_tokens
    how = ("-a", "rest_auth/jwt" if has_tokens else "rest_auth/local", "-s", plugins)
    extra = {"SLURMRESTD_SECURITY": "disable_user_check"} | ({"SLURM_JWT": "daemon"} if has_tokens else {})
    _daemon(cluster, "slurmrestd", *how, cluster.rest_url.removeprefix("http://"), **extra)
    cluster.until(cluster.is_idle, "the nodes are not idle")
    cluster.until(lambda: _listens(cluster.rest_url), "no slurmrestd")


def _listens(url: str) -> bool:
    if url.startswith("unix:"):
        return Path(url.removeprefix("unix:")).exists()
    host, _, port = url.removeprefix("http://").partition(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0


def _works(cluster: SlurmCluster, *command: str, says: str = "") -> bool:
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=_PATIENCE_SECONDS, check=False, env=cluster.environment
    )
    return done.returncode == 0 and says in done.stdout


def _end(cluster: SlurmCluster) -> None:
    """End the jobs, then the daemons, in the order that waits for none."""
    with contextlib.suppress(AssertionError, subprocess.TimeoutExpired, OSError):
        cluster.clear()
    for sign in (signal.SIGTERM, signal.SIGKILL):
        for each in reversed(cluster.started):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(each.pid, sign)
        deadline = time.monotonic() + 3
        while time.monotonic() < deadline and any(each.poll() is None for each in cluster.started):
            time.sleep(0.05)
    for each in cluster.started:
        each.wait(5)


def _tails(folder: Path) -> str:
    """Return the ends of the logs, for a failure."""
    logs = sorted([*folder.glob("*.log"), *folder.glob("*.out")])
    return "\n".join(f"== {log.name}\n" + "\n".join(log.read_text(errors="replace").splitlines()[-8:]) for log in logs)
