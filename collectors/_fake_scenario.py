"""What a fake driver plays: devices, their phases, and what goes wrong when."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec


@dataclass(frozen=True)
class Process:
    """One process on a device. A ratio above 1 is what a driver says of a zombie."""

    pid: int
    memory_bytes: int | None = 1 << 30
    kernel_ratio: float = 0.0
    uses: Literal["compute", "graphics", "both"] = "compute"


@dataclass(frozen=True)
class Accounted:
    """One process as the driver's account has it, from its start on; it runs until its end."""

    pid: int
    start_seconds: float
    end_seconds: float
    kernel_ratio: float = 0.5
    memory_ratio: float = 0.25
    memory_peak_bytes: int = 1 << 30


@dataclass(frozen=True)
class Phase:
    """What a device does from `start_seconds` until the next phase."""

    start_seconds: float = 0.0
    kernel: float = 0.0
    memory: float = 0.0
    encoder: float = 0.0
    decoder: float = 0.0
    jpeg: float = 0.0
    ofa: float = 0.0
    graphics: float = 0.0
    sm: float = 0.0
    occupancy: float = 0.0
    tensor: float = 0.0
    dram: float = 0.0
    tensor_double: float = 0.0
    tensor_half: float = 0.0
    tensor_integer: float = 0.0
    single: float = 0.0
    power_watts: float = 70.0
    memory_used_bytes: int = 512 << 20
    temperature_celsius: int = 35
    sm_clock_megahertz: int = 345
    hw_thermal: float = 0.0
    sw_thermal: float = 0.0
    power_brake: float = 0.0
    power_cap: float = 0.0
    pcie_transmit_bytes_per_second: float = 0.0
    pcie_receive_bytes_per_second: float = 0.0
    nvlink_bytes_per_second: float = 0.0
    processes: tuple[Process, ...] = ()

    @property
    def heat(self) -> float:
        """Return the share of time in which heat slowed the clock, whoever slowed it."""
        return self.sw_thermal + self.hw_thermal


@dataclass(frozen=True)
class Incident:
    """What goes wrong, from `start_seconds` until `end_seconds`.

    lost: every call answers GPU_IS_LOST. vanish: the device is not enumerated. error: `call` (a function's name,
    `field N`, or `metric N`) answers `code`. energy_reset, xid (its number in `code`), event (its type in `code`): at
    the start. recovery: `code` is the action. ecc_corrected, ecc_uncorrected, remapped: `code` is how many.
    """

    kind: Literal[
        "lost",
        "vanish",
        "error",
        "energy_reset",
        "xid",
        "event",
        "recovery",
        "remap_failed",
        "remap_pending",
        "remapped",
        "ecc_corrected",
        "ecc_uncorrected",
    ]
    start_seconds: float = 0.0
    end_seconds: float = float("inf")
    call: str = ""
    code: int = 0


@dataclass(frozen=True)
class Slice:
    """One MIG device while it exists."""

    uuid: str
    instance: int
    profile: str = "3g.40gb"
    compute_slices: int = 3
    memory_bytes: int = 40 << 30
    start_seconds: float = 0.0
    end_seconds: float = float("inf")
    phases: tuple[Phase, ...] = (Phase(),)


@dataclass(frozen=True)
class Gpu:
    """One device and its story."""

    uuid: str
    model: str = "NVIDIA H100 80GB HBM3"
    memory_total_bytes: int = 80 << 30
    power_limit_watts: int = 700
    sm_clock_max_megahertz: int = 1980
    generation: Literal["ampere", "hopper", "blackwell"] = "hopper"
    pcie_counter_bits: int = 64
    phases: tuple[Phase, ...] = (Phase(),)
    incidents: tuple[Incident, ...] = ()
    slices: tuple[Slice, ...] = ()
    mig_places: int = 7
    nvlink_scopes: Literal["all", "each"] = "all"
    module_power_watts: float | None = None
    memory_power_watts: float | None = None
    field_latency_microseconds: int = 20
    event_types: int = 0xFFFF
    accounting: tuple[Accounted, ...] | None = None
    minor: int | None = None
    """Number of its device file; None for its index."""


@dataclass(frozen=True)
class Reload:
    """The driver is unloaded, and loaded again: sessions end, counters begin anew."""

    start_seconds: float
    end_seconds: float
    driver_version: str = ""


@dataclass(frozen=True)
class Scenario:
    """All devices of one node."""

    gpus: tuple[Gpu, ...] = ()
    driver_version: str = "580.95.05"
    reloads: tuple[Reload, ...] = ()


def scenario(source: Mapping[str, object] | Path) -> Scenario:
    """Return a scenario from plain values or a TOML file; unknown values are refused with their place."""
    content = msgspec.toml.decode(source.read_bytes()) if isinstance(source, Path) else source
    return msgspec.convert(content, Scenario)
