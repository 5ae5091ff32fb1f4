"""What AMD's compute driver says: into which partitions a GPU is cut, and which processes are on each.

Source: amdkfd; its topology numbers a device by bus, device and function, with the partition in the highest four bits.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

from collectors.node._files import as_count, as_integer, counted, listed, text
from collectors.node._limits import is_possible

_PARTITION_SHIFT: Final = 28
_BUS_MASK: Final = 0xFFFF

Place = tuple[int, int]
"""Domain of a PCI address, and its bus, device and function in one number."""


class ComputeNode(NamedTuple):
    """One partition of a device, or all of it, as the compute driver numbers it."""

    gpu_id: int
    partition: int
    memory_bytes: int | None


class Kfd:
    """The compute driver of a node."""

    def __init__(self, sysfs: Path) -> None:
        self._root = sysfs / "class/kfd/kfd"

    def nodes(self) -> dict[Place, list[ComputeNode]]:
        """Return the partitions of each device, in their order; nothing where the compute driver is not loaded.

        A node that this process's cgroup hides has no number, and is left out.
        """
        found: dict[Place, list[ComputeNode]] = {}
        for folder in listed(self._root / "topology/nodes"):
            gpu_id = counted(folder / "gpu_id")
            properties = _properties(folder / "properties")
            location = properties.get("location_id")
            if gpu_id and location is not None:
                place = (properties.get("domain", 0), location & _BUS_MASK)
                node = ComputeNode(gpu_id, location >> _PARTITION_SHIFT, _memory(folder))
                found.setdefault(place, []).append(node)
        return {place: sorted(nodes, key=lambda node: (node.partition, node.gpu_id)) for place, nodes in found.items()}

    def processes(self) -> Mapping[int, dict[int, int | None]] | None:
        """Return device memory by process id, for each compute node; None where the list cannot be read.

        A process is listed under each device that it may use: it is on one if it holds memory there or has a queue.
        """
        folder = self._root / "proc"
        try:
            processes = [path for path in folder.iterdir() if path.name.isdecimal()]
        except OSError:
            return None
        found: dict[int, dict[int, int | None]] = {}
        for process in processes:
            pid = int(process.name)
            queued = {as_integer(text(queue / "gpuid")) for queue in listed(process / "queues")}
            for path in listed(process):
                if not path.name.startswith("vram_"):
                    continue
                gpu_id = as_count(path.name.removeprefix("vram_"))
                memory = counted(path)
                if memory is not None and not is_possible("memory_used_bytes", memory):
                    memory = None
                if gpu_id is not None and (memory or gpu_id in queued):
                    found.setdefault(gpu_id, {})[pid] = memory
        return found


def _properties(path: Path) -> dict[str, int]:
    """Return a node's properties: a name and a number a line."""
    found = {}
    for line in (text(path) or "").splitlines():
        name, _, value = line.partition(" ")
        number = as_count(value.strip())
        if number is not None:
            found[name] = number
    return found


def _memory(folder: Path) -> int | None:
    """Return the size of a node's own memory."""
    sizes = [_properties(bank / "properties").get("size_in_bytes") for bank in listed(folder / "mem_banks")]
    known = [size for size in sizes if size is not None]
    total = sum(known)
    return total if known and is_possible("memory_total_bytes", total) else None
