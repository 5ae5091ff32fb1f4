"""Pressure stall information: the best evidence without privilege that tasks wait for a resource."""

from pathlib import Path
from typing import Final

from collectors.node._stalls import all_stalls
from ledger.errors import SourceMissing
from ledger.registry import Emitted, collector

_RESOURCES: Final = ("cpu", "io", "memory", "irq")


@collector(emits=("pressure_sample",), every_seconds=10)
def pressure(procfs: Path = Path("/proc")) -> Emitted:
    """Yield one row per resource that the kernel keeps pressure for.

    Raises: SourceMissing: the kernel keeps none (before 4.20, or switched off). SourceError: one is in another format.
    Nulls: `full` of the processor before Linux 5.13, `some` of interrupts.
    Source: Documentation/accounting/psi.rst; totals are microseconds, averages are percent.
    """
    root = procfs / "pressure"
    is_kept = False
    for row in all_stalls(({"resource": resource, "job_id": ""}, root / resource) for resource in _RESOURCES):
        is_kept = True
        yield "pressure_sample", row
    if not is_kept:
        raise SourceMissing(
            f"{root} has no pressure information",
            hint="boot with psi=1, or set collectors.pressure.enabled = false on this node",
        )
