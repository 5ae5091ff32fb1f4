"""Pressure stall information: the best evidence without privilege that tasks wait for a resource."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from collectors.node._files import text
from ledger.errors import SourceError, SourceMissing
from ledger.registry import Emitted, Row, collector

_RESOURCES: Final = ("cpu", "io", "memory", "irq")
_MICROSECONDS: Final = 1_000_000
_PERCENT: Final = 100


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
        content = text(root / resource)
        if not content:
            continue
        stalls = dict(_stall(line, root / resource) for line in content.splitlines())
        some, full = stalls.get("some", (None, None)), stalls.get("full", (None, None))
        yield {
            "resource": resource,
            "job_id": "",
            "some_seconds_total": some[0],
            "full_seconds_total": full[0],
            "some_ratio": some[1],
            "full_ratio": full[1],
        }


def _stall(line: str, path: Path) -> tuple[str, tuple[float, float]]:
    """Return one line's kind, its total in seconds and its ten-second average as a ratio."""
    kind, *pairs = line.split()
    values = dict(pair.split("=", 1) for pair in pairs if "=" in pair)
    try:
        return kind, (int(values["total"]) / _MICROSECONDS, float(values["avg10"]) / _PERCENT)
    except (KeyError, ValueError):
        raise SourceError(f"{path}: found {line[:80]!r}, expected `some avg10=0.00 .. total=0`") from None
