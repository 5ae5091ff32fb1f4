"""Which TPU chips a machine has, and how each is called: on the bus, in /dev, and by the device plugin for Kubernetes.

Source: PCI ids of the chips; GKE's device plugin for TPUs (google.com/tpu).
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Final, NamedTuple

from collectors.node._files import listed, numa_node_of, text

_VENDOR: Final = "0x1ae0"

# The vendor's network adapters bear the same number: a chip is what is listed here. The first two share a device.
_MODELS: Final = {
    ("0x0027", "0x004e"): "TPU v2",
    ("0x0027", "0x004f"): "TPU v3",
    ("0x005e", ""): "TPU v4",
    ("0x0063", ""): "TPU v5e",
    ("0x0062", ""): "TPU v5p",
    ("0x006f", ""): "TPU v6e",
    ("0x0076", ""): "TPU7x",
}

_OF_TWO_FUNCTIONS: Final = frozenset({"TPU7x"})
"""Models whose two halves are two functions of one slot of the bus: one chip, one price."""


class Chip(NamedTuple):
    """One chip: its name, its model, what a process opens to use it, and its NUMA node."""

    uuid: str
    model: str
    devices: tuple[str, ...]
    numa_node: int | None


def chips(sysfs: Path) -> list[Chip]:
    """Return the chips in the order of their addresses, which is the library's."""
    found: dict[str, Chip] = {}
    accelerators = {
        (path / "device").resolve().name: f"/dev/{path.name}"
        for path in listed(sysfs / "class/accel")
        if (path / "device").exists()
    }
    for folder in listed(sysfs / "bus/pci/devices"):
        model = _model(folder)
        if model is None:
            continue
        place = _slot(folder.name) if model in _OF_TWO_FUNCTIONS else folder.name
        device = accelerators.get(folder.name) or _group(folder)
        # The first function gives the chip its name.
        chip = found.get(place) or Chip(f"TPU-{folder.name}", model, (), numa_node_of(folder))
        found[place] = chip._replace(devices=(*chip.devices, device) if device else chip.devices)
    return list(found.values())


def plugin_names(found: Iterable[Chip]) -> dict[str, str]:
    """Return the chips by what the device plugin calls them: a file below /dev or /dev/vfio, or a slot of the bus."""
    names: dict[str, str] = {}
    for chip in found:
        names |= {device.rpartition("/")[2]: chip.uuid for device in chip.devices}
        names[_slot(chip.uuid.removeprefix("TPU-"))] = chip.uuid
    return names


def _model(folder: Path) -> str | None:
    """Return the model of a PCI device; None for what is no chip."""
    if text(folder / "vendor") != _VENDOR:
        return None
    kind, of = text(folder / "device") or "", text(folder / "subsystem_device") or ""
    return _MODELS.get((kind, of)) or _MODELS.get((kind, ""))


def _slot(address: str) -> str:
    """Return an address without its function."""
    return address.rpartition(".")[0]


def _group(folder: Path) -> str:
    """Return the file by which newer chips are given to a process: that of their group of the memory unit."""
    link = folder / "iommu_group"
    return f"/dev/vfio/{link.resolve().name}" if link.exists() else ""
