"""Ethernet ports of a node."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final

from pydantic import Field

from collectors._settings import CollectorSettings
from collectors.node._files import as_count, as_integer, counted, scaled, text
from collectors.node._host_view import network
from ledger.errors import SourceMissing
from ledger.registry import Emitted, Row, collector

_MEGABIT_PER_SECOND: Final = 125_000
_NO_SPEED: Final = 10_000_000  # ten terabits: no port is so fast
_ETHERNET: Final = 1  # ARPHRD_ETHER; IP over InfiniBand (32) would count InfiniBand's bytes again

_RECEIVE: Final = {"receive_bytes_total": 0, "receive_packet_count_total": 1, "receive_error_count_total": 2}
_TRANSMIT: Final = {"transmit_bytes_total": 8, "transmit_packet_count_total": 9, "transmit_discard_count_total": 11}

# What the list of all ports leaves out: a link that was down between two rounds, and packets that found no buffer.
_FILES: Final = {
    "link_downed_count_total": "carrier_down_count",
    "out_of_buffer_count_total": "statistics/rx_missed_errors",
}

# A container sees its own end of a pair, which the kernel calls virtual: by these names it is the way out.
_OUTWARD: Final = re.compile(r"^(eth|en[opsx])\d")

# In switchdev mode an adapter shows a port for each virtual or sub function: pf0vf3, c1pf0sf2.
_REPRESENTOR: Final = re.compile(r"^(c\d+)?pf\d+([vs]f\d+)?$")


class EthernetSettings(CollectorSettings):
    """Which ports count as the node's own."""

    devices: Annotated[tuple[str, ...], Field(description="Names of ports; empty for all physical ones")] = ()


@collector(emits=("network_port_sample",), every_seconds=10, settings=EthernetSettings)
def ethernet(
    procfs: Path = Path("/proc"), sysfs: Path = Path("/sys"), settings: EthernetSettings | None = None
) -> Emitted:
    """Yield one row per physical port.

    A bond's bytes are its members' bytes, a bridge's and a container's pass a physical port too, and so does what
    stands for a virtual function of an adapter: only physical ports are rows, so that nothing counts twice, and a
    member names its bond. Where a node has none (a container), its outward ports stand in.

    Raises: SourceMissing: no port is left. Nulls: the line rate of a port that is down.
    Source: /proc/net/dev, Documentation/ABI/testing/sysfs-class-net and -statistics; the speed is in megabits.
    """
    chosen = settings.devices if settings else ()
    counters = _counters(network(procfs) / "dev")
    root = sysfs / "class/net"
    names = sorted({*counters, *(path.name for path in root.glob("*") if path.is_dir())})
    ports = [name for name in names if (name in chosen if chosen else _is_physical(root / name))]
    if not ports and not chosen:
        ports = [name for name in names if _OUTWARD.match(name)]
    if not ports:
        raise SourceMissing(
            f"{root} has no physical Ethernet port",
            hint="name ports in collectors.ethernet.devices, or set collectors.ethernet.enabled = false",
        )
    bonds = _bonds(root)
    for name in ports:
        yield "network_port_sample", {**_row(root / name, counters.get(name, [])), "bond": bonds.get(name, "")}


def _bonds(root: Path) -> dict[str, str]:
    """Return the bond of each port that is a member of one."""
    lists = ((path.parts[-3], text(path) or "") for path in sorted(root.glob("*/bonding/slaves")))
    return {member: bond for bond, members in lists for member in members.split()}


def _row(port: Path, values: Sequence[int | None]) -> Row:
    state = text(port / "operstate")
    speed = counted(port / "speed")
    return {
        "device": port.name,
        "port": "1",
        "link_layer": "Ethernet",
        "is_up": None if state in {None, "unknown"} else state == "up",
        "link_state": state,
        # A port that is down says -1 or 4294967295, or refuses to say.
        "line_rate_bytes_per_second": scaled(speed if speed and speed < _NO_SPEED else None, _MEGABIT_PER_SECOND),
        **{column: _at(values, index) for column, index in (_RECEIVE | _TRANSMIT).items()},
        **{column: counted(port / name) for column, name in _FILES.items()},
    }


def _at(values: Sequence[int | None], index: int) -> int | None:
    return values[index] if index < len(values) else None


def _counters(path: Path) -> dict[str, list[int | None]]:
    """Return /proc/net/dev by port: eight receive and eight transmit counters."""
    found = {}
    for line in (text(path) or "").splitlines()[2:]:
        name, separator, rest = line.partition(":")
        if separator:
            found[name.strip()] = [as_count(word) for word in rest.split()]
    return found


def _is_virtual(port: Path) -> bool:
    return port.is_symlink() and "/devices/virtual/" in str(port.resolve())


def _is_physical(port: Path) -> bool:
    """Tell whether a port is hardware, or a virtual machine's only view of hardware."""
    if not port.is_dir() or as_integer(text(port / "type")) not in {None, _ETHERNET}:
        return False
    if (port / "bonding").is_dir() or (port / "bridge").is_dir():
        return False
    if _REPRESENTOR.match(text(port / "phys_port_name") or ""):
        return False
    if _is_virtual(port) or (port / "device/physfn").exists():
        # A virtual function is a pod's or a guest's, and comes and goes with it.
        return False
    master = port / "master"
    if master.is_symlink() and not _is_virtual(master):
        # Accelerated networking on Azure: the port that the guest uses counts what its function carries.
        return False
    return not re.match(r"^(lo$|veth|docker|br-|virbr|cni|cali|flannel|tun|tap|team|dummy|ifb)", port.name)
