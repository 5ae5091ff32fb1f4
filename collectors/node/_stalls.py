"""Pressure stall information in one file: the same text for a node and for a cgroup."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from collectors.node._files import as_count, text
from ledger.errors import SourceError
from ledger.registry import Row

_MICROSECONDS: Final = 1_000_000
_PERCENT: Final = 100
_AVERAGE: Final = re.compile(r"[0-9]{1,3}(\.[0-9]+)?")


def all_stalls(places: Iterable[tuple[Row, Path]]) -> Iterator[Row]:
    """Yield a row for each file that there is, behind what says of which resource and job it is.

    Raises: SourceError: one of them has another format; it costs no other its row.
    """
    broken: SourceError | None = None
    for place, path in places:
        try:
            found = stalls(path)
        except SourceError as error:
            broken = broken or error
            continue
        if found is not None:
            yield {**place, **found}
    if broken is not None:
        raise broken


def stalls(path: Path) -> Row | None:
    """Return one resource's stalls; None where the kernel keeps none.

    Raises: SourceError: a line is not `some avg10=0.00 .. total=0`.
    """
    content = text(path)
    if not content:
        return None
    found = dict(_stall(line, path) for line in content.splitlines())
    some, full = found.get("some", (None, None)), found.get("full", (None, None))
    return {
        "some_seconds_total": some[0],
        "full_seconds_total": full[0],
        "some_ratio": some[1],
        "full_ratio": full[1],
    }


def _stall(line: str, path: Path) -> tuple[str, tuple[float, float]]:
    """Return one line's kind, its total in seconds and its ten-second average as a ratio."""
    kind, *pairs = line.split()
    values = dict(pair.split("=", 1) for pair in pairs if "=" in pair)
    total, average = as_count(values.get("total")), _AVERAGE.fullmatch(values.get("avg10", ""))
    if total is None or average is None or float(average[0]) > _PERCENT:
        raise SourceError(f"{path}: found {line[:80]!r}, expected `some avg10=0.00 .. total=0`")
    return kind, (total / _MICROSECONDS, float(average[0]) / _PERCENT)
