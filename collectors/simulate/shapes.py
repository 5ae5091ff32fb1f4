"""What a simulated estate consists of: plain descriptions, without rows.

Instants are whole epoch seconds on the ten-second grid of the samples, so that plan, samples and truth agree exactly.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final, Literal

STEP: Final = 10
"""Seconds between two samples; every edge in a plan is a multiple of it."""

SLOW_STEP: Final = 60
"""Seconds between two rounds of the slow collectors."""

Trouble = Literal["xid", "down"]
Halt = Literal["DRAINED", "RESERVED"]


def instant(second: int) -> datetime:
    """Return an epoch second as an instant."""
    return datetime.fromtimestamp(second, tz=UTC)


def on_grid(second: float) -> int:
    """Return the last instant of the sampling grid at or before a second."""
    return int(second // STEP) * STEP


@dataclass(frozen=True)
class Hardware:
    """One server model: its GPUs and what surrounds them."""

    gpu_model: str
    quality: str
    memory_bytes: int
    baseline_bytes: int
    idle_watts: float
    limit_watts: float
    clock_hertz: float
    memory_clock_hertz: float
    nvlink_bytes_per_second: int
    line_rate_bytes_per_second: int
    cpu_count: int
    host_memory_bytes: int
    instance_type: str


@dataclass(frozen=True)
class Provider:
    """Who owns the hardware and sends the bill."""

    name: str
    cluster: str
    region: str
    currency: str
    scheduler: str


@dataclass(frozen=True)
class Node:
    """One server from when it joined to when it left; a name may come back on other hardware."""

    index: int
    name: str
    provider: Provider
    hardware: Hardware
    gpu_count: int
    start: int
    end: int | None
    instance_id: str
    resource_id: str
    is_committed: bool
    account: str


@dataclass(frozen=True)
class Device:
    """One GPU, one MIG slice, or the rest of a sliced GPU that no slice fits into."""

    index: int
    node: int
    uuid: str
    gpu_index: int
    fraction: Decimal
    parent: str
    mig_profile: str
    is_shared: bool
    is_placeable: bool


@dataclass(frozen=True)
class Team:
    """People who share an account."""

    name: str
    account: str
    owner: str
    users: tuple[str, ...]


@dataclass
class Job:
    """One run of one job; `devices` is empty while it pends."""

    index: int
    cluster: str
    job_id: str
    submitted: int
    restart_count: int
    user: str
    account: str
    team: str
    model: str
    is_model_stated: bool
    kind: str
    name: str
    profile: str
    level: float
    gpus: float
    duration: int
    eligible: int
    gpu_model: str
    setup: int
    load: int
    busy: float = 1.0
    """Share of the time after loading in which it works, saving aside."""
    state: str = "PENDING"
    reason: str = ""
    started: int | None = None
    ended: int | None = None
    exit_code: str = "0:0"
    devices: tuple[int, ...] = ()


@dataclass(frozen=True)
class Fault:
    """Devices that were broken from one instant to another: one lost GPU, or a node that was down."""

    kind: Trouble
    node: int
    devices: tuple[int, ...]
    start: int
    end: int
    job: int


@dataclass(frozen=True)
class Pause:
    """A stretch in which the scheduler starts nothing on a node."""

    node: int
    start: int
    end: int
    kind: Halt
    reason: str


@dataclass(frozen=True)
class Gap:
    """A stretch in which a node's agent was silent while the node went on."""

    node: int
    start: int
    end: int


@dataclass(frozen=True)
class Orphan:
    """A process that outlived its job; `keeps_id` where its cgroup still names the dead job."""

    device: int
    job: int
    start: int
    end: int
    keeps_id: bool


@dataclass(frozen=True)
class Stretch:
    """A stretch in which devices run slower: for heat, or as the straggler of its job."""

    kind: Literal["thermal", "straggler"]
    devices: tuple[int, ...]
    start: int
    end: int


@dataclass(eq=False)
class Cluster:
    """A simulated estate: everything that rows, bills and truth are derived from."""

    seed: int
    start: int
    end: int
    providers: tuple[Provider, ...]
    nodes: tuple[Node, ...]
    devices: tuple[Device, ...]
    teams: tuple[Team, ...]
    models: tuple[str, ...]
    jobs: list[Job] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    pauses: list[Pause] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)
    orphans: list[Orphan] = field(default_factory=list)
    stretches: list[Stretch] = field(default_factory=list)

    def node_end(self, node: int) -> int:
        """Return when a node left, or the end of the plan."""
        end = self.nodes[node].end
        return self.end if end is None else end

    def hardware(self, device: int) -> Hardware:
        """Return the server model of a device."""
        return self.nodes[self.devices[device].node].hardware
