"""What a GPU and its node do while a job is in one phase: numbers per kind of work.

The numbers are chosen well inside the classes that they stand for, so that noise does not move them over a threshold.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_COUNTED: Final = 0.03


@dataclass(frozen=True)
class Activity:
    """Rates of one device, and what it asks of its node; ratios are 0..1."""

    graphics: float = 0.0
    sm: float = 0.0
    occupancy: float = 0.0
    tensor: float = 0.0
    dram: float = 0.0
    memory: float = 0.0
    """Device memory in use above the baseline, as a share of the whole."""
    power: float = 0.0
    """Share of the way from idle power to the limit."""
    clock: float = 0.0
    capped: float = 0.0
    pcie: float = 2e6
    nvlink: float = 0.0
    """Share of the NVLink rate, per direction."""
    cpu: float = 0.02
    """Share of the processors that belong to the device."""
    iowait: float = 0.0
    pressure_cpu: float = 0.0
    pressure_io: float = 0.0
    pressure_memory: float = 0.0
    network: float = 0.0
    """Share of the fast ports' line rate that belongs to the device."""
    wait: float = 0.0
    """Ticks without credit, each second."""
    read: float = 0.0
    written: float = 1e4

    @property
    def is_idle(self) -> bool:
        """Tell whether the ledger would call it idle, by profiling or by duty cycle and power."""
        return self.graphics < 0.01  # noqa: PLR2004  far from the 5 % of the ledger, and no profile lies between

    def state(self, quality: str) -> str:
        """Return the state of a held device with a process of its holder on it."""
        if self.is_idle:
            return "held_idle"
        # Without profiling the ledger judges by the power proxy alone.
        share = self.sm if quality == "A" else self.power
        return "underused" if share < 0.25 else "productive"  # noqa: PLR2004  the ledger's own threshold


def duty_cycle(graphics: Floats) -> Floats:
    """Return the share of time that the driver counts as busy: a little more than the engine works."""
    return np.minimum(graphics + _COUNTED, 1.0)


def _run(**values: float) -> Activity:
    return replace(Activity(memory=0.70, clock=1.0, occupancy=0.25, pcie=4e8, cpu=0.15, read=8e6), **values)


# With no kernel running, power stays within a tenth of idle power: a duty cycle alone must be able to call it idle.
LOADED: Final = Activity(memory=0.60, clock=0.45, power=0.005)
EMPTY: Final = Activity()
CHECKPOINT: Final = Activity(memory=0.70, clock=1.0, power=0.005, written=9e8, iowait=0.05, pcie=1e9, cpu=0.1)

PROFILES: Final[dict[str, Activity]] = {
    "compute_tensor": _run(graphics=0.97, sm=0.85, tensor=0.46, dram=0.42, power=0.86, nvlink=0.20, network=0.12),
    "compute_other": _run(graphics=0.95, sm=0.82, tensor=0.02, dram=0.30, power=0.68, occupancy=0.45),
    "dram_bound": _run(graphics=0.95, sm=0.60, tensor=0.12, dram=0.74, power=0.62),
    "communication": _run(
        graphics=0.98, sm=0.34, tensor=0.07, dram=0.14, power=0.37, nvlink=0.70, network=0.74, wait=9e5
    ),
    "input_storage": _run(
        graphics=0.38, sm=0.31, tensor=0.10, dram=0.15, power=0.34, pressure_io=0.42, iowait=0.25, read=4e8
    ),
    "input_cpu": _run(graphics=0.42, sm=0.33, tensor=0.11, dram=0.14, power=0.34, pressure_cpu=0.38, cpu=0.97),
    "host_memory": _run(graphics=0.55, sm=0.36, tensor=0.10, dram=0.20, power=0.38, pressure_memory=0.22, cpu=0.4),
    "launch_bound": _run(graphics=0.66, sm=0.14, tensor=0.03, dram=0.08, power=0.17, occupancy=0.06, memory=0.22),
    # Always a kernel, never a large one: a slice would do. It waits for nobody, whoever else is on the node.
    "small": _run(graphics=0.92, sm=0.16, tensor=0.04, dram=0.10, power=0.19, occupancy=0.06, memory=0.16),
    "power_capped": _run(graphics=0.98, sm=0.90, tensor=0.26, dram=0.48, power=0.99, clock=0.80, capped=0.80),
    "interactive": _run(graphics=0.45, sm=0.30, tensor=0.10, dram=0.20, power=0.34, memory=0.30, cpu=0.3),
    "serving": _run(graphics=0.80, sm=0.56, tensor=0.16, dram=0.50, power=0.60, memory=0.82, cpu=0.2),
}


@lru_cache
def served(level: float) -> Activity:
    """Return what a model server does at a level of load; at 0 it waits with its weights loaded."""
    full = PROFILES["serving"]
    if level <= 0:
        return replace(LOADED, memory=full.memory)
    scaled = {name: getattr(full, name) * level for name in ("graphics", "sm", "tensor", "dram", "pcie", "cpu", "read")}
    return replace(full, **scaled, power=0.10 + 0.50 * level)


@lru_cache(maxsize=1024)
def scaled(activity: Activity, factor: float) -> Activity:
    """Return the same work done a little weaker, so that no two jobs look alike."""
    names = ("sm", "tensor", "dram", "power", "memory")
    return replace(activity, **{name: getattr(activity, name) * factor for name in names})


def slowed(activity: Activity) -> Activity:
    """Return what a straggler does while its peers wait for it: less power, fewer SMs, the same duty cycle."""
    names = ("sm", "tensor", "dram", "power")
    slower = {name: getattr(activity, name) * 0.72 for name in names}
    return replace(activity, **slower, clock=activity.clock * 0.75)


class Activities:
    """The activities that a plan uses, each once, and their columns as arrays."""

    def __init__(self) -> None:
        self._indices: dict[Activity, int] = {}

    def index(self, activity: Activity) -> int:
        """Return an activity's place, adding it where it is new."""
        return self._indices.setdefault(activity, len(self._indices))

    def at(self, index: int) -> Activity:
        """Return the activity at a place."""
        return self.all()[index]

    def all(self) -> Sequence[Activity]:
        """Return all activities by their place."""
        return tuple(self._indices)

    def columns(self) -> dict[str, Floats]:
        """Return each number of all activities as an array."""
        every = self.all()
        return {each.name: np.array([getattr(one, each.name) for one in every]) for each in fields(Activity)}
