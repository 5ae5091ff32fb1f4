"""InfiniBand and RoCE ports of a node."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from collectors.node._files import as_count, counted, listed, text
from ledger.errors import SourceMissing
from ledger.registry import Emitted, Row, collector

_GIGABIT_PER_SECOND: Final = 125_000_000
_RATE: Final = re.compile(r"([0-9]{1,4}(?:\.[0-9]+)?) Gb/sec")
_FOLDERS: Final = ("counters", "counters_ext", "hw_counters")

# The files of a column, in the order in which they are believed: the port's own first, of two widths the one that got
# further, then what adapters of other makers count (bnxt_re, efa, ionic), then both versions of IP together (irdma).
_FILES: Final = {
    "transmit_bytes_total": "port_xmit_data_64|port_xmit_data tx_bytes tx_rdma_ucast_bytes ip4OutOctets+ip6OutOctets",
    "receive_bytes_total": "port_rcv_data_64|port_rcv_data rx_bytes rx_rdma_ucast_bytes ip4InOctets+ip6InOctets",
    "transmit_packet_count_total": (
        "port_xmit_packets_64|port_xmit_packets tx_pkts tx_rdma_ucast_pkts ip4OutPkts+ip6OutPkts"
    ),
    "receive_packet_count_total": (
        "port_rcv_packets_64|port_rcv_packets rx_pkts rx_rdma_ucast_pkts ip4InPkts+ip6InPkts"
    ),
    "transmit_wait_count_total": "port_xmit_wait",
    "transmit_discard_count_total": "port_xmit_discards",
    "transmit_constraint_error_count_total": "port_xmit_constraint_errors",
    "receive_error_count_total": "port_rcv_errors",
    "receive_remote_error_count_total": "port_rcv_remote_physical_errors",
    "receive_relay_error_count_total": "port_rcv_switch_relay_errors",
    "receive_constraint_error_count_total": "port_rcv_constraint_errors",
    "symbol_error_count_total": "symbol_error",
    "link_downed_count_total": "link_downed",
    "link_error_recovery_count_total": "link_error_recovery",
    "link_integrity_error_count_total": "local_link_integrity_errors",
    "buffer_overrun_error_count_total": "excessive_buffer_overrun_errors",
    "management_drop_count_total": "VL15_dropped",
    "congestion_notification_count_total": "np_cnp_sent tx_cnp_pkts cnpSent tx_rdma_cnp_pkts",
    "congestion_handled_count_total": "rp_cnp_handled rx_cnp_pkts cnpHandled rx_rdma_cnp_pkts",
    "congestion_mark_count_total": "np_ecn_marked_roce_packets rx_ecn_marked_pkts RxECNMrkd rx_rdma_ecn_pkts",
    "out_of_sequence_count_total": "out_of_sequence oos_drop_count res_oos_drop_count",
    "sequence_error_count_total": "packet_seq_err seq_err_naks_rcvd",
    "acknowledgement_timeout_count_total": (
        "local_ack_timeout_err to_retransmits tx_rdma_ack_timeout retrans_timeout_events"
    ),
    "receiver_not_ready_count_total": "rnr_nak_retry_err rnr_naks_rcvd",
    "retransmission_count_total": "roce_adp_retrans retrans_pkts tx_rdma_retx_pkts RetransSegs tcpRetransSegs",
    "slow_restart_count_total": "roce_slow_restart",
    "out_of_buffer_count_total": "out_of_buffer rx_out_of_buffer",
}
_ALTERNATIVES: Final = {
    column: [[one.split("|") for one in alternative.split("+")] for alternative in files.split()]
    for column, files in _FILES.items()
}

# The port's data counters count words of four bytes; the adapters' own count bytes.
_WORD_BYTES: Final = dict.fromkeys(("port_xmit_data_64", "port_xmit_data", "port_rcv_data_64", "port_rcv_data"), 4)

# Bits of the counters that stop at their top instead of starting again.
_BITS: Final = {
    **dict.fromkeys(("local_link_integrity_errors", "excessive_buffer_overrun_errors"), 4),
    **dict.fromkeys(("link_downed", "link_error_recovery"), 8),
    **dict.fromkeys(("port_xmit_constraint_errors", "port_rcv_constraint_errors"), 8),
    **dict.fromkeys(("symbol_error", "port_rcv_errors", "port_xmit_discards", "VL15_dropped"), 16),
    **dict.fromkeys(("port_rcv_remote_physical_errors", "port_rcv_switch_relay_errors"), 16),
    **dict.fromkeys(("port_xmit_data", "port_rcv_data", "port_xmit_packets", "port_rcv_packets"), 32),
    "port_xmit_wait": 32,
}


@collector(emits=("network_port_sample",), every_seconds=10)
def infiniband(sysfs: Path = Path("/sys")) -> Emitted:
    """Yield one row per port of an InfiniBand or RoCE adapter.

    RDMA bypasses the kernel's network devices, so these bytes are not in the Ethernet rows. Narrow counters stop at
    their top: such a value is no count any more, and `has_stopped_counter` says that there is one.

    Raises: SourceMissing: this node has no such adapter. Nulls: a counter that the adapter does not have or refuses,
    or that has stopped; the rate of a port that is down, which then shows the slowest one that it knows.
    Source: Documentation/ABI/stable/sysfs-class-infiniband; data counters count 4-byte words.
    """
    root = sysfs / "class/infiniband"
    ports = [port for device in listed(root) for port in listed(device / "ports")]
    if not ports:
        reason = "has no port" if root.is_dir() else "does not exist"
        raise SourceMissing(f"{root} {reason}", hint="set collectors.infiniband.enabled = false on this node")
    for port in ports:
        yield "network_port_sample", _row(port)


def _row(port: Path) -> Row:
    state = _word(port / "state")
    files = {path.name: path for folder in _FOLDERS for path in listed(port / folder)}
    stopped: set[str] = set()
    counters = {column: _count(files, several, stopped) for column, several in _ALTERNATIVES.items()}
    return {
        "device": port.parts[-3],
        "port": port.name,
        "link_layer": text(port / "link_layer") or "InfiniBand",
        "is_up": None if state is None else state == "ACTIVE",
        "link_state": state,
        "physical_state": _word(port / "phys_state"),
        "line_rate_bytes_per_second": None if state == "DOWN" else _rate(text(port / "rate")),
        "has_stopped_counter": bool(stopped),
        **counters,
    }


def _count(files: Mapping[str, Path], alternatives: list[list[list[str]]], stopped: set[str]) -> int | None:
    """Return the first alternative that is counted, and note a counter that has stopped."""
    for parts in alternatives:
        found = [_furthest(files, names) for names in parts]
        known = [(name, value) for name, value in found if value is not None]
        at_top = {name for name, value in known if name in _BITS and value == (1 << _BITS[name]) - 1}
        if known:
            stopped |= at_top
            whole = sum(value * _WORD_BYTES.get(name, 1) for name, value in known)
            return None if at_top else as_count(str(whole))
    return None


def _furthest(files: Mapping[str, Path], names: list[str]) -> tuple[str, int | None]:
    """Return the largest of several widths of one counter: a narrow one stops, and a wide one may be unused."""
    values = {name: counted(files[name]) for name in names if name in files}
    known = {name: value for name, value in values.items() if value is not None}
    best = max(known, key=lambda name: known[name], default="")
    return best, known.get(best)


def _word(path: Path) -> str | None:
    """Return the word of a text such as `4: ACTIVE`."""
    return (text(path) or "").partition(": ")[2] or None


def _rate(words: str | None) -> float | None:
    """Return bytes per second of a rate such as `400 Gb/sec (4X NDR)` or `2.5 Gb/sec (1X SDR)`."""
    match = _RATE.match(words or "")
    return float(match[1]) * _GIGABIT_PER_SECOND if match else None
