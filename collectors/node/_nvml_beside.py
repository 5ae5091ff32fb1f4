"""What is known of NVIDIA devices besides the library: where they are attached, how Slurm counts them, which there are.

Source: the driver's README, /proc/driver/nvidia.
"""

from collections.abc import Callable, Collection
from pathlib import Path
from typing import NamedTuple

from collectors.node._files import as_integer, listed, text
from collectors.node._kernel_log import Bus, bus_of
from collectors.node._slurm_devices import OfSlurm


class Known(NamedTuple):
    """One device that the kernel's driver holds, whether or not it can be reached."""

    uuid: str
    bus: Bus
    minor: int | None


class Beside(NamedTuple):
    """The other sources of one node."""

    numa_node_of: Callable[[Bus | None], int | None]
    slurm_indices_of: OfSlurm
    devices: Callable[[], list[Known]]


def devices(procfs: Path) -> list[Known]:
    """Return the devices of the kernel's driver, in the order of their addresses; those whose UUID it has told."""
    found = []
    for folder in listed(procfs / "driver/nvidia/gpus"):
        lines = (line.partition(":") for line in (text(folder / "information") or "").splitlines())
        said = {name.strip(): value.strip() for name, _, value in lines}
        uuid, bus = said.get("GPU UUID", ""), bus_of(folder.name)
        if uuid.startswith("GPU-") and "?" not in uuid and bus is not None:
            found.append(Known(uuid, bus, as_integer(said.get("Device Minor"))))
    return sorted(found, key=lambda each: each.bus)


def unreachable(there: list[Known], met: Collection[str], indices: Collection[int]) -> dict[int, Known]:
    """Return by its index each device that was never met, and of which the library says only the index.

    Both count in the order of addresses. Where they do not tell of equally many, nobody knows which is which: a
    device may be kept from this process, and is not lost for that.
    """
    missing = [each for each in there if each.uuid not in met]
    return dict(zip(sorted(indices), missing, strict=True)) if len(missing) == len(indices) else {}
