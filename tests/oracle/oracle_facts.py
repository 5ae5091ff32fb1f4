"""What is told and measured of a drawn cluster, and what a clock says of it: plain records in whole milliseconds."""

from dataclasses import dataclass, field
from typing import NamedTuple

Run = tuple[str, int, int]
"""A run of a job: its id, when it was submitted, which restart."""


@dataclass(frozen=True)
class Stay:
    """A device from when it appeared to when it went."""

    start: int
    end: int | None


@dataclass(frozen=True)
class Hold:
    """A run holds a device."""

    run: Run
    start: int
    end: int | None
    share: str | None = None


@dataclass(frozen=True)
class Word:
    """What the scheduler says of a node for a time."""

    start: int
    end: int | None
    state: str


@dataclass(frozen=True)
class Event:
    """Something that happened to a device."""

    at: int
    event: str
    xid: int
    is_critical: bool


class Sample(NamedTuple):
    """What was read of a device at one instant."""

    at: int
    pace: int | None
    status: str
    quality: str | None
    kernel: str | None
    graphics: str | None
    sm: str | None
    memory: int | None
    power: str | None
    limit: str | None
    hw: int
    sw: int
    brake: int
    processes: int | None
    jobs: str | None
    jobless: int | None


class Round(NamedTuple):
    """Whose processes without a job were on a device at one instant, and for how many milliseconds each ran."""

    at: int
    pace: int
    owners: tuple[tuple[str | None, int | None], ...]


@dataclass(frozen=True)
class Job:
    """A run as the scheduler tells it."""

    run: Run
    state: str
    started: int | None
    ended: int | None
    requested: float | None
    given: str | None
    mean: str | None
    pending_reason: str | None = None


@dataclass(frozen=True)
class Device:
    """A device or slice with all that is told of it."""

    node: str
    uuid: str
    parent: str
    fraction: str
    idle_power: str | None
    limit: str | None
    baseline: int | None
    stays: tuple[Stay, ...]
    samples: tuple[Sample, ...] = field(repr=False)
    holds: tuple[Hold, ...]
    events: tuple[Event, ...]
    measured: tuple[tuple[int, str, int], ...] = ()
    """When which job's processes ran for how many milliseconds."""
    rounds: tuple[Round, ...] = field(default=(), repr=False)


@dataclass(frozen=True)
class Cluster:
    """Nodes, devices and jobs of one cluster."""

    name: str
    start: int
    end: int
    now: int
    holder: dict[str, str | None]
    words: dict[str, tuple[Word, ...]]
    devices: tuple[Device, ...]
    jobs: tuple[Job, ...]


@dataclass
class Stretch:
    """One state of a device for a time."""

    start: int
    end: int
    state: str
    reason: str
    runs: tuple[Hold, ...]
    job_ids: str
    holder_count: int | None
    is_observed: bool
    quality: str | None
    owners: tuple[str, ...] = ()
    """Users who hold the device by their processes alone."""
