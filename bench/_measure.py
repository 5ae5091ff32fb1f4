"""What each measurement shares: a line of the table, and a child process whose time and memory are known."""

import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

_STEAL: Final = 7


@dataclass(frozen=True)
class Line:
    """One figure: what was measured, what came out, and what it should be at most."""

    what: str
    figure: str
    budget: str = ""


def child(module: str, *arguments: str, environment: dict[str, str] | None = None) -> dict[str, float]:
    """Run a module in a process of its own and return what it prints as JSON, with `seconds` and `peak_bytes`."""
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **(environment or {})},
    )
    out, _ = process.communicate()
    if process.returncode:
        raise SystemExit(f"bench: {module} ended with {process.returncode}")
    found: dict[str, float] = json.loads(out.strip().splitlines()[-1]) if out.strip() else {}
    return {"seconds": time.perf_counter() - began, **found}


def peak_bytes() -> int:
    """Return the most memory that this process has held, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def stolen_ratio(before: Sequence[int], after: Sequence[int]) -> float:
    """Return which part of a machine's processors its host gave to others between two looks at them."""
    taken = [late - early for early, late in zip(before, after, strict=True)]
    return taken[_STEAL] / sum(taken)


def processor_times() -> list[int]:
    """Return what Linux counts of all processors: user, nice, system, idle, iowait, irq, softirq, steal."""
    with Path("/proc/stat").open(encoding="ascii") as file:
        return [int(each) for each in file.readline().split()[1 : _STEAL + 2]]


def timed(function: Callable[[], object], times: int = 1) -> list[float]:
    """Return how long each of some calls took, in seconds."""
    found = []
    for _ in range(times):
        began = time.perf_counter()
        function()
        found.append(time.perf_counter() - began)
    return found


def p95(values: Sequence[float]) -> float:
    """Return the value that 95 of 100 stay below."""
    return statistics.quantiles(values, n=20)[-1]


Answered = tuple[float, float]
"""When somebody had their answer, in seconds since 1970, and how many seconds they had waited for it."""


@dataclass(frozen=True)
class Minute:
    """The answers of one minute of the clock, in seconds."""

    clock: str
    answers: int
    median_seconds: float
    p99_seconds: float
    max_seconds: float


def p99(values: Sequence[float]) -> float:
    """Return the value that 99 of 100 stay below, one that was measured."""
    return sorted(values)[int(len(values) * 0.99)]


def minutes(answered: Iterable[Answered]) -> list[Minute]:
    """Return the answers by the minute in which they came, so that a slow stretch can be told from a slow whole."""
    found: dict[int, list[float]] = {}
    for at, seconds in answered:
        found.setdefault(int(at // 60), []).append(seconds)
    return [
        Minute(
            f"{datetime.fromtimestamp(minute * 60, UTC):%H:%M}",
            len(values),
            statistics.median(values),
            p99(values),
            max(values),
        )
        for minute, values in sorted(found.items())
    ]


def table(lines: Sequence[Line]) -> str:
    """Return the figures as a Markdown table."""
    head = ["| what | measured | budget |", "|---|---|---|"]
    return "\n".join(head + [f"| {line.what} | {line.figure} | {line.budget} |" for line in lines])
