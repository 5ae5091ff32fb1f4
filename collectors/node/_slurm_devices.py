"""By which index Slurm counts each GPU of this node: as gres.conf names them, or as Slurm detects them.

What `scontrol` calls IDX and a prolog SLURM_JOB_GPUS counts the devices of a node. Named by their files, they stand
type by type in the order of the lines; detected through NVML, in the order of PCI addresses, and a MIG device as its
place on its GPU were a place among the GPUs; detected without NVML, in the order of the files. The number of a device
file is the driver's minor number, which need not follow the PCI addresses.

Source: gres.conf(5), AutoDetect and File; what slurmd 22.05 makes of such files, and its gres/gpu plugin, which sorts
detected devices by file and then by the place that the library gave them.
"""

import platform
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Final, Literal, NamedTuple

from collectors._slurm_text import nodes
from collectors.node._files import text
from collectors.node._kernel_log import Bus

Order = Literal["", "device_files", "pci"]
"""What Slurm counts by: '' where nobody says."""

# Where Slurm keeps it: handed out by the controller, or in the folders of packages.
_PLACES: Final = ("run/slurm/conf", "var/spool/slurmd/conf-cache", "etc/slurm", "etc/slurm-llnl")

_FILE: Final = re.compile(r"/dev/nvidia(\d+)")
_DETECTED: Final[Mapping[str, Order]] = {"nvml": "pci"}
_UNDETECTED: Final = frozenset({"", "off"})
_CONTINUED: Final = re.compile(r"\\\r?\n")
_COMMENT: Final = re.compile(r"#.*")


class Device(NamedTuple):
    """What tells one GPU of a node from the others; where it is cut, its slices with their places on it."""

    minor: int | None
    bus: Bus | None
    is_cut: bool = False
    slices: tuple[tuple[str, int], ...] = ()


class Gres(NamedTuple):
    """What a node's gres.conf says of its GPUs: how they are detected, and the device files that it names."""

    detects: str = ""
    files: tuple[int, ...] = ()
    names_others: bool = False
    """Some devices have other files: slices, or GPUs of another make."""


OfSlurm = Callable[[Mapping[str, Device]], dict[str, int]]
"""Returns Slurm's index of each device that it counts, by the name of the device."""


def of_slurm(root: Path, order: Order = "") -> OfSlurm:
    """Return how Slurm counts the devices of this node; its gres.conf is read at each call, for it changes."""
    hosts = {platform.node(), platform.node().partition(".")[0]}
    return lambda devices: indices(devices, gres(root, hosts), order)


def gres(root: Path, hosts: Collection[str]) -> Gres:
    """Return what the gres.conf of a node says; nothing where there is none, or it may not be read.

    `hosts` are the names of this node: a line for other nodes does not count.
    """
    content = next((found for each in _PLACES if (found := text(root / each / "gres.conf"))), "")
    detects = {False: "", True: ""}
    files: dict[str, list[int]] = {}
    names_others = False
    for line in _lines(content):
        is_ours = "nodename" in line
        if is_ours and not _is_named(line["nodename"], hosts):
            continue
        detects[is_ours] = line.get("autodetect", "").lower() or detects[is_ours]
        if line.get("name", "").lower() == "gpu" and (path := line.get("file", "")):
            numbers = _numbers(path)
            files.setdefault(line.get("type", "").lower(), []).extend(numbers)
            names_others = names_others or not numbers
        names_others = names_others or "multiplefiles" in line
    by_type = tuple(number for numbers in files.values() for number in numbers)
    return Gres(detects[True] or detects[False], by_type, names_others)


def _lines(content: str) -> Iterator[dict[str, str]]:
    """Yield the words of each line by their name in small letters."""
    for line in _CONTINUED.sub(" ", content).splitlines():
        words = (word.partition("=") for word in _COMMENT.sub("", line).split())
        found = {name.lower(): value.strip('"') for name, is_set, value in words if is_set}
        if found:
            yield found


def _is_named(names: str, hosts: Collection[str]) -> bool:
    try:
        return any(each in hosts for each in nodes(names))
    except ValueError:
        return False


def _numbers(path: str) -> list[int]:
    """Return the minor numbers of device files such as /dev/nvidia[0-3]; none where one of them is another file."""
    try:
        found = [_FILE.fullmatch(each) for each in nodes(path)]
    except ValueError:
        return []
    return [int(each[1]) for each in found if each is not None] if None not in found else []


def indices(devices: Mapping[str, Device], said: Gres, order: Order = "") -> dict[str, int]:
    """Return Slurm's index of each device that it counts, by the name of the device; of slices too if it detects them.

    `order` is what an operator says, and counts more than gres.conf. Without either a device's index is the number of
    its file: that is so wherever gres.conf names the files.
    """
    files = () if said.names_others else said.files
    of_slurm = {name: each for name, each in devices.items() if not files or each.minor in files}
    if (order or _DETECTED.get(said.detects, "device_files")) == "pci":
        return _by_place(devices, of_slurm)
    minors = {name: each.minor for name, each in of_slurm.items() if each.minor is not None}
    if said.detects in _UNDETECTED:
        return {name: files.index(minor) if files else minor for name, minor in minors.items()}
    return {name: place for place, name in enumerate(sorted(minors, key=minors.__getitem__))}


def _by_place(devices: Mapping[str, Device], of_slurm: Collection[str]) -> dict[str, int]:
    """Return the indices of what Slurm detects through NVML: by place, and at one place by file."""
    buses = {name: each.bus for name, each in devices.items() if each.bus is not None}
    places: dict[str, tuple[int, int]] = {}
    for place, name in enumerate(sorted(buses, key=buses.__getitem__)):
        device = devices[name]
        file = place if device.minor is None else device.minor
        if name in of_slurm:
            parts = device.slices if device.is_cut else ((name, place),)
            places |= {part: (of_part, file) for part, of_part in parts}
    return {name: index for index, name in enumerate(sorted(places, key=places.__getitem__))}
