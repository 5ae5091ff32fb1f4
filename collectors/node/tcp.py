"""TCP of a node: what was sent again, refused or dropped."""

from pathlib import Path
from typing import Final

from collectors.node._files import as_count, required, text
from collectors.node._host_view import network
from ledger.errors import SourceError
from ledger.registry import Emitted, collector

_BASIC: Final = {
    "established_count": "CurrEstab",
    "active_open_count_total": "ActiveOpens",
    "passive_open_count_total": "PassiveOpens",
    "failed_open_count_total": "AttemptFails",
    "received_segment_count_total": "InSegs",
    "sent_segment_count_total": "OutSegs",
    "retransmitted_segment_count_total": "RetransSegs",
    "receive_error_count_total": "InErrs",
    "received_reset_count_total": "EstabResets",
    "sent_reset_count_total": "OutRsts",
}
_EXTENDED: Final = {
    "listen_overflow_count_total": "ListenOverflows",
    "listen_drop_count_total": "ListenDrops",
    "timeout_count_total": "TCPTimeouts",
    "retransmitted_open_count_total": "TCPSynRetrans",
    "lost_retransmission_count_total": "TCPLostRetransmit",
    "backlog_drop_count_total": "TCPBacklogDrop",
    "receive_queue_drop_count_total": "TCPRcvQDrop",
    "memory_abort_count_total": "TCPAbortOnMemory",
}


@collector(emits=("tcp_sample",), every_seconds=10)
def tcp(procfs: Path = Path("/proc")) -> Emitted:
    """Yield one row for the node's TCP over IPv4 and IPv6, of the network namespace that the agent runs in.

    In a container that sees the node's /proc it is the node's. Columns are found by the name above them: each kernel
    adds some in the middle.

    Raises: SourceMissing: there is no /proc/net/snmp. SourceError: its names and numbers do not match.
    Nulls: what this kernel does not count; all of netstat's where that file is absent.
    Source: Documentation/networking/snmp_counter.rst, RFC 4022; sent segments are without those sent again.
    """
    folder = network(procfs)
    basic = _pairs(folder / "snmp", required(folder / "snmp", "tcp"), "Tcp")
    if not basic:
        raise SourceError(f"{folder / 'snmp'}: found no lines `Tcp:`, expected names and numbers")
    extended = _pairs(folder / "netstat", text(folder / "netstat") or "", "TcpExt")
    yield (
        "tcp_sample",
        {
            **{column: basic.get(name) for column, name in _BASIC.items()},
            **{column: extended.get(name) for column, name in _EXTENDED.items()},
        },
    )


def _pairs(path: Path, content: str, kind: str) -> dict[str, int | None]:
    """Return one kind's numbers by name: the file writes a line of names above each line of numbers.

    Raises: SourceError: there are more or fewer names than numbers.
    """
    lines = [line.split()[1:] for line in content.splitlines() if line.startswith(f"{kind}:")]
    if not lines:
        return {}
    if len(lines) != 2 or len(lines[0]) != len(lines[1]):  # noqa: PLR2004  names and numbers
        found = " and ".join(str(len(line)) for line in lines)
        raise SourceError(f"{path}: found {found} words after `{kind}:`, expected as many names as numbers")
    return {name: as_count(word) for name, word in zip(*lines, strict=True)}
