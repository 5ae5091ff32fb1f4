"""What a Lustre client moved: the counters of its mounts and of the targets behind them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, Literal

from collectors.node._files import as_count, listed, text
from ledger.registry import Row

Component = Literal["llite", "osc", "mdc"]

COMPONENTS: Final[tuple[Component, ...]] = ("llite", "osc", "mdc")

# The last part is the address of the mount in the kernel: it differs after a remount. On a server the same folders
# hold its own connections, which end in MDT0000.
_NAME: Final = re.compile(r"^(?P<target>.+?)(?:-(?:osc|mdc))?-(?P<instance>[0-9a-f]{8,})$")

_PARTS_OF_A_SECOND: Final = {"nsec": 10**9, "usec": 10**6, "msec": 10**3, "sec": 1}
_COUNT_WORD, _UNIT_WORD, _SUM_WORD = 1, 3, 6
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Operation:
    """One line of a stats file; the sum is in bytes or seconds, or it means nothing."""

    count: int
    bytes: int | None
    seconds: float | None
    is_level: bool


@dataclass(frozen=True)
class Stats:
    """The counters of one mount (llite) or of one target (osc, mdc); `counters_start` where the version tells it."""

    component: Component
    target: str
    instance: str
    counters_start: datetime | None = None
    operations: dict[str, Operation] = field(default_factory=dict)


def is_mounted(procfs: Path, sysfs: Path) -> bool:
    """Tell whether a Lustre file system is mounted, whoever may read its counters."""
    if any(_NAME.match(path.name) for root in (procfs, sysfs) for path in listed(root / "fs/lustre/llite")):
        return True
    lines = (line.split(" ") for line in (text(procfs / "self/mounts") or "").splitlines())
    return any(words[2:3] == ["lustre"] for words in lines)


def stats(procfs: Path, sysfs: Path, component: Component) -> list[Stats]:
    """Return what can be read of one component: versions before 2.12 keep it in /proc, newer ones in debugfs."""
    found: dict[tuple[str, str], Stats] = {}
    for root in (procfs / "fs/lustre", sysfs / "kernel/debug/lustre", sysfs / "fs/lustre"):
        for folder in listed(root / component):
            match, content = _NAME.match(folder.name), text(folder / "stats")
            if match and content is not None:
                key = match["target"], match["instance"]
                found.setdefault(key, _parsed(Stats(component, *key), content))
    return list(found.values())


def traffic(procfs: Path, sysfs: Path) -> dict[str, Row]:
    """Return bytes and reads by name of the file system; nothing for one that is mounted twice."""
    found: dict[str, list[Stats]] = {}
    for each in stats(procfs, sysfs, "llite"):
        found.setdefault(each.target, []).append(each)
    return {name: _moved(several[0].operations) for name, several in found.items() if len(several) == 1}


def file_system(device: str) -> str:
    """Return the file system's name in what is mounted, such as `10.0.0.1@o2ib:/scratch/home`."""
    return device.rpartition(":/")[2].split("/")[0]


def _moved(operations: dict[str, Operation]) -> Row:
    """Return a mount's traffic; an operation that never happened has no line and counts zero."""
    none = Operation(0, 0, 0.0, is_level=False)
    read, written = operations.get("read_bytes", none), operations.get("write_bytes", none)
    timed = operations.get("read")
    return {
        "read_bytes_total": read.bytes,
        "written_bytes_total": written.bytes,
        "read_count_total": read.count if timed is None else timed.count,
        "read_seconds_total": None if timed is None else timed.seconds,
    }


def _parsed(empty: Stats, content: str) -> Stats:
    start: datetime | None = None
    operations: dict[str, Operation] = {}
    for words in (line.split() for line in content.splitlines()):
        name = words[0].rstrip(":") if words else ""
        if name == "start_time" and len(words) > 1:
            start = _instant(words[1])
        elif words[2:3] == ["samples"]:
            operations |= dict(_operation(name, words))
    return Stats(empty.component, empty.target, empty.instance, start, operations)


def _operation(name: str, words: list[str]) -> Iterator[tuple[str, Operation]]:
    """Yield what a line such as `read_bytes 24 samples [bytes] 1 9 200 4000` says; the sum may be missing."""
    count = as_count(words[_COUNT_WORD])
    if count is None:
        return
    unit = words[_UNIT_WORD].strip("[]") if len(words) > _UNIT_WORD else ""
    summed = as_count(words[_SUM_WORD]) if len(words) > _SUM_WORD else None
    parts = _PARTS_OF_A_SECOND.get(unit.removesuffix("s"))
    yield (
        name,
        Operation(
            count,
            bytes=summed if unit == "bytes" else None,
            seconds=summed / parts if summed is not None and parts else None,
            is_level=unit != "bytes" and parts is None,
        ),
    )


def _instant(word: str) -> datetime | None:
    """Return an instant of seconds and nanoseconds, in whole milliseconds."""
    whole, _, rest = word.partition(".")
    seconds, milliseconds = as_count(whole), as_count((rest + "000")[:3])
    if seconds is None or milliseconds is None:
        return None
    try:
        return _EPOCH + timedelta(seconds=seconds, milliseconds=milliseconds)
    except OverflowError:
        return None
