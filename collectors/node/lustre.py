"""Lustre of a node's client, by mount, target and operation."""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from collectors._settings import CollectorSettings
from collectors.node._lustre import COMPONENTS, Operation, Stats, is_mounted, stats
from ledger.errors import SourceError, SourceMissing
from ledger.registry import Emitted, Row, collector


class LustreSettings(CollectorSettings):
    """How far down it looks."""

    targets: Annotated[
        bool, Field(description="Rows for each storage and metadata target too; many where there are hundreds")
    ] = True


@collector(emits=("lustre_operation_sample",), every_seconds=30, settings=LustreSettings)
def lustre(procfs: Path = Path("/proc"), sysfs: Path = Path("/sys"), settings: LustreSettings | None = None) -> Emitted:
    """Yield one row per mount (llite) or target (osc, mdc) and operation that happened.

    A mount's bytes pass its targets again: rows of different components are never summed. A remount has another
    instance, so that its counters begin a series of their own. Levels of a target (requests under way) are no counts
    and have no row. Only counters of the kernel are read, never the mount.

    Raises: SourceMissing: no Lustre is mounted. SourceError: it is, and its counters may not be read.
    Nulls: bytes of what is timed, time of what is measured in bytes, both of what is only counted; a sum below zero.
    Source: lustre/llite/lproc_llite.c, obdclass lprocfs_stats; the unit stands in brackets in each line.
    """
    components = COMPONENTS if settings is None or settings.targets else COMPONENTS[:1]
    found = [each for component in components for each in stats(procfs, sysfs, component)]
    if not found and not is_mounted(procfs, sysfs):
        raise SourceMissing(
            f"{procfs / 'self/mounts'} has no Lustre mount",
            hint="set collectors.lustre.enabled = false on this node",
        )
    if not found:
        raise SourceError(
            f"{sysfs / 'kernel/debug/lustre'}: found no stats file that may be read, expected one for each mount",
            hint="debugfs is for root: give the agent CAP_DAC_READ_SEARCH, or run it as root",
        )
    for each in found:
        for name, operation in each.operations.items():
            if each.component == "llite" or not operation.is_level:
                yield "lustre_operation_sample", _row(each, name, operation)


def _row(each: Stats, name: str, operation: Operation) -> Row:
    return {
        "component": each.component,
        "target": each.target,
        "instance": each.instance,
        "operation": name,
        "counters_start": each.counters_start,
        "operation_count_total": operation.count,
        "bytes_total": operation.bytes,
        "operation_seconds_total": operation.seconds,
    }
