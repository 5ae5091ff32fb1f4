"""Numbers in the text format that Prometheus reads: what an agent and a hub say of themselves.

Source: Prometheus documentation, "Exposition formats", text-based format 0.0.4.
"""

import os
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

_STATM: Final = Path("/proc/self/statm")
_STARTED: Final = round(time.time(), 3)
"""To the second in which the process imports its modules; the kernel counts from the boot."""

_ESCAPED: Final = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})
_ESCAPED_HELP: Final = str.maketrans({"\\": r"\\", "\n": r"\n"})


@dataclass
class Family:
    """The samples of one metric, with what they mean; a sample that is not known is left out."""

    name: str
    kind: Literal["counter", "gauge", "summary"]
    means: str
    samples: list[tuple[str, Mapping[str, str], float]] = field(default_factory=list)

    def add(self, value: float | None, suffix: str = "", **labels: str) -> "Family":
        """Add one sample; `suffix` is a summary's `_sum` or `_count`."""
        if value is not None:
            self.samples.append((suffix, labels, value))
        return self

    def lines(self) -> Iterable[str]:
        """Yield the lines of this metric; none where it has no sample."""
        if self.samples:
            yield f"# HELP {self.name} {self.means.translate(_ESCAPED_HELP)}"
            yield f"# TYPE {self.name} {self.kind}"
        for suffix, labels, value in self.samples:
            inner = ",".join(f'{name}="{text.translate(_ESCAPED)}"' for name, text in labels.items())
            yield f"{self.name}{suffix}{'{' + inner + '}' if inner else ''} {_number(value)}"


def exposition(families: Iterable[Family]) -> str:
    """Return metrics as Prometheus reads them."""
    return "".join(f"{line}\n" for family in families for line in family.lines())


def _number(value: float) -> str:
    whole = float(value)
    return str(int(whole)) if whole.is_integer() and abs(whole) < 2**53 else repr(whole)


def process_families() -> Iterator[Family]:
    """Yield what this process takes, under the names that Prometheus' own clients use."""
    pages = int(_STATM.read_text(encoding="ascii").split()[1])
    resident = pages * os.sysconf("SC_PAGE_SIZE")
    yield Family("process_resident_memory_bytes", "gauge", "Memory of the process that is resident.").add(resident)
    spent = os.times()
    total = round(spent.user + spent.system, 3)
    yield Family("process_cpu_seconds_total", "counter", "Processor time of the process.").add(total)
    yield Family("process_start_time_seconds", "gauge", "When the process started.").add(_STARTED)
