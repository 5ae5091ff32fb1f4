"""InfiniBand and RoCE ports of a node."""

from pathlib import Path
from typing import Final

from collectors.node._files import integer, scaled, text
from ledger.errors import SourceMissing
from ledger.registry import Emitted, Row, collector

_WORD_BYTES: Final = 4
_GIGABIT_PER_SECOND: Final = 125_000_000

_COUNTS: Final = {
    "transmit_packet_count_total": "counters/port_xmit_packets",
    "receive_packet_count_total": "counters/port_rcv_packets",
    "transmit_wait_count_total": "counters/port_xmit_wait",
    "transmit_discard_count_total": "counters/port_xmit_discards",
    "receive_error_count_total": "counters/port_rcv_errors",
    "symbol_error_count_total": "counters/symbol_error",
    "link_downed_count_total": "counters/link_downed",
    "link_error_recovery_count_total": "counters/link_error_recovery",
    "congestion_notification_count_total": "hw_counters/np_cnp_sent",
}


@collector(emits=("network_port_sample",), every_seconds=10)
def infiniband(sysfs: Path = Path("/sys")) -> Emitted:
    """Yield one row per port of an InfiniBand or RoCE adapter.

    RDMA bypasses the kernel's network devices, so these bytes are not in the Ethernet rows.

    Raises: SourceMissing: this node has no such adapter. Nulls: a counter that the adapter does not have or refuses.
    Source: Documentation/ABI/stable/sysfs-class-infiniband; data counters count 4-byte words.
    """
    root = sysfs / "class/infiniband"
    ports = sorted(root.glob("*/ports/*"))
    if not ports:
        reason = "has no port" if root.is_dir() else "does not exist"
        raise SourceMissing(f"{root} {reason}", hint="set collectors.infiniband.enabled = false on this node")
    for port in ports:
        yield "network_port_sample", _row(port)


def _row(port: Path) -> Row:
    state = (text(port / "state") or "").partition(": ")[2] or None
    return {
        "device": port.parts[-3],
        "port": port.name,
        "link_layer": text(port / "link_layer") or "InfiniBand",
        "is_up": None if state is None else state == "ACTIVE",
        "link_state": state,
        "line_rate_bytes_per_second": _rate(text(port / "rate")),
        "transmit_bytes_total": _data(port, "port_xmit_data"),
        "receive_bytes_total": _data(port, "port_rcv_data"),
        **{column: integer(port / name) for column, name in _COUNTS.items()},
    }


def _data(port: Path, name: str) -> float | None:
    """Return a data counter in bytes, from the 64-bit file where old kernels keep a 32-bit one beside it."""
    wide = integer(port / f"counters_ext/{name}_64")
    return scaled(wide if wide is not None else integer(port / f"counters/{name}"), _WORD_BYTES)


def _rate(words: str | None) -> float | None:
    """Return bytes per second of a rate such as `400 Gb/sec (4X NDR)`."""
    number, _, rest = (words or "").partition(" ")
    try:
        return float(number) * _GIGABIT_PER_SECOND if rest.startswith("Gb/sec") else None
    except ValueError:
        return None
