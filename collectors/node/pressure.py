"""Pressure stall information: the best evidence without privilege that tasks wait for a resource."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from collectors.node._stalls import stalls
from ledger.errors import SourceMissing
from ledger.registry import Emitted, Row, collector

_RESOURCES: Final = ("cpu", "io", "memory", "irq")


@collector(emits=("pressure_sample",), every_seconds=10)
def pressure(procfs: Path = Path("/proc")) -> Emitted:
    """Yield one row per resource that the kernel keeps pressure for.

    Raises: SourceMissing: the kernel keeps none (before 4.20, or switched off).
    Nulls: `full` of the processor before Linux 5.13, `some` of interrupts.
    Source: Documentation/accounting/psi.rst; totals are microseconds, averages are percent.
    """
    root = procfs / "pressure"
    rows = [("pressure_sample", row) for row in _rows(root)]
    if not rows:
        raise SourceMissing(
            f"{root} has no pressure information",
            hint="boot with psi=1, or set collectors.pressure.enabled = false on this node",
        )
    yield from rows


def _rows(root: Path) -> Iterator[Row]:
    for resource in _RESOURCES:
        found = stalls(root / resource)
        if found is not None:
            yield {"resource": resource, "job_id": "", **found}
