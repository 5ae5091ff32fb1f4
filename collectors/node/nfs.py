"""NFS of a node's client, by mount and operation."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from collectors.node._mountstats import Export, exports, seconds
from ledger.errors import SourceError, SourceMissing
from ledger.registry import Emitted, Row, collector

# The order of the eight numbers that every kernel writes, and of the ninth since Linux 5.3.
_OPERATIONS, _TRANSMISSIONS, _TIMEOUTS, _SENT, _RECEIVED, _QUEUE, _ROUND_TRIP, _EXECUTE, _ERRORS = range(9)

_LAYOUTS: Final = ("1.0", "1.1")

# Reads and writes have a row from the start, others once they happened: a mount has up to 75 operations.
_ALWAYS: Final = frozenset({"READ", "WRITE"})


@collector(emits=("nfs_operation_sample",), every_seconds=30)
def nfs(procfs: Path = Path("/proc")) -> Emitted:
    """Yield one row per NFS mount and operation that was asked of its server.

    Only counters of the kernel are read, never the mount: a server that does not answer blocks nothing here.
    Mounts of one file system share their counters and are one row. An operation ends when its answer arrived; what
    was sent more often than that was retransmitted.

    Raises: SourceMissing: no NFS is mounted. SourceError: the kernel writes a layout that is not known here.
    Nulls: a time that was counted below zero; retransmissions where fewer were sent than ended; errors before 5.3.
    Source: net/sunrpc/stats.c; times are milliseconds, bytes include the headers of RPC.
    """
    found = exports(procfs)
    if not found:
        raise SourceMissing(
            f"{procfs / 'self/mountstats'} has no NFS mount",
            hint="set collectors.nfs.enabled = false on this node",
        )
    for export in found:
        if export.layout in _LAYOUTS:
            for operation, values in sorted(export.operations.items()):
                if operation in _ALWAYS or _at(values, _OPERATIONS):
                    yield "nfs_operation_sample", _row(export, operation, values)
    unknown = [f"{export.mount_point} statvers={export.layout}" for export in found if export.layout not in _LAYOUTS]
    if unknown:
        raise SourceError(f"{procfs / 'self/mountstats'}: found {unknown[0]}, expected {' or '.join(_LAYOUTS)}")


def _row(export: Export, operation: str, values: Sequence[int | None]) -> Row:
    return {
        "mount_point": export.mount_point,
        "operation": operation,
        "device": export.device,
        "nfs_version": _version(export.options),
        "transport": export.options.get("proto"),
        "mounted_seconds": export.age_seconds,
        "operation_count_total": _at(values, _OPERATIONS),
        "retransmission_count_total": _more(_at(values, _TRANSMISSIONS), _at(values, _OPERATIONS)),
        "timeout_count_total": _at(values, _TIMEOUTS),
        "error_count_total": _at(values, _ERRORS),
        "sent_bytes_total": _at(values, _SENT),
        "received_bytes_total": _at(values, _RECEIVED),
        "queue_seconds_total": seconds(_at(values, _QUEUE)),
        "round_trip_seconds_total": seconds(_at(values, _ROUND_TRIP)),
        "execute_seconds_total": seconds(_at(values, _EXECUTE)),
    }


def _version(options: dict[str, str]) -> str | None:
    """Return the protocol's version: older kernels write the minor one apart."""
    major, minor = options.get("vers"), options.get("minorversion")
    return f"{major}.{minor}" if major == "4" and minor else major


def _at(values: Sequence[int | None], index: int) -> int | None:
    return values[index] if index < len(values) else None


def _more(sent: int | None, ended: int | None) -> int | None:
    """Return how many were sent again; old kernels count none for a task that failed before it was sent."""
    return None if sent is None or ended is None or sent < ended else sent - ended
