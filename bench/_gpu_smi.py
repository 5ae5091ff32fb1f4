"""What nvidia-smi says of the same device in the same seconds."""

import contextlib
import csv
import os
import subprocess
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import fmean
from typing import Any, Final

_MEBIBYTE: Final = 1 << 20
_MEGAHERTZ: Final = 1_000_000

QUERIED: Final = {
    "utilization.gpu": ("kernel_active_ratio", 0.01),
    "utilization.memory": ("memory_active_ratio", 0.01),
    "memory.used": ("memory_used_bytes", _MEBIBYTE),
    "memory.total": ("memory_total_bytes", _MEBIBYTE),
    "power.draw": ("power_watts", 1.0),
    "enforced.power.limit": ("power_limit_watts", 1.0),
    "temperature.gpu": ("temperature_celsius", 1.0),
    "clocks.sm": ("sm_clock_hertz", _MEGAHERTZ),
    "clocks.mem": ("memory_clock_hertz", _MEGAHERTZ),
}
"""What is asked for: our column, and what its unit is in ours."""


@contextmanager
def beside(uuid: str, pace: float) -> Iterator[list[dict[str, float | None]]]:
    """Let nvidia-smi print a line at each pace; the rows are there after the block. None where it is not installed.

    It writes to a terminal of its own: into a file it would write whole blocks, and the last one never.
    """
    rows: list[dict[str, float | None]] = []
    asked = ["nvidia-smi", f"--query-gpu={','.join(QUERIED)}", "--format=csv,noheader,nounits"]
    ours, its = os.openpty()
    said = bytearray()
    reader = threading.Thread(target=_read, args=(ours, said), daemon=True)
    reader.start()
    try:
        process = subprocess.Popen(
            [*asked, f"--id={uuid}", f"--loop-ms={round(pace * 1000)}"], stdout=its, stderr=subprocess.DEVNULL
        )
    except OSError:
        process = None
    os.close(its)
    try:
        yield rows
    finally:
        if process is not None:
            process.terminate()
            process.wait(timeout=30)
        reader.join(timeout=30)
        os.close(ours)
        rows += parsed(said.decode("utf-8", "replace").splitlines())


def _read(terminal: int, said: bytearray) -> None:
    """Read until nobody writes to the terminal any more, which Linux calls an error."""
    with contextlib.suppress(OSError):
        while chunk := os.read(terminal, 65_536):
            said += chunk


def parsed(lines: Iterable[str]) -> list[dict[str, float | None]]:
    """Return the lines in our columns and units; null for what the device does not have, a broken line left out."""
    found = []
    for words in csv.reader(lines, skipinitialspace=True):
        if len(words) == len(QUERIED):
            asked = zip(QUERIED.values(), words, strict=True)
            found.append({column: _number(word, unit) for (column, unit), word in asked})
    return found


def _number(word: str, unit: float) -> float | None:
    try:
        return float(word) * unit
    except ValueError:
        return None


@dataclass(frozen=True)
class Compared:
    """One column's mean as the collector has it, and as nvidia-smi does."""

    column: str
    ours: float | None
    theirs: float | None

    @property
    def difference(self) -> float | None:
        """Return how far ours lies above theirs, as a part of theirs."""
        return self.ours / self.theirs - 1 if self.ours is not None and self.theirs else None


def compared(samples: Sequence[Mapping[str, Any]], rows: Sequence[Mapping[str, Any]]) -> list[Compared]:
    """Return the means of all columns that both have at least once."""
    columns = [column for column, _ in QUERIED.values()]
    found = [Compared(column, mean(samples, column), mean(rows, column)) for column in columns]
    return [each for each in found if each.ours is not None and each.theirs is not None]


def mean(rows: Iterable[Mapping[str, Any]], column: str) -> float | None:
    """Return the mean of what is known; null where nothing is."""
    known = [row[column] for row in rows if row.get(column) is not None]
    return fmean(known) if known else None
