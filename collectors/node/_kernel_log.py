"""The kernel's own log: what the driver writes there when a device fails.

The ring buffer is read where this process may read it; else the file that the system's logger keeps of it; else
nothing, and the driver's event queue is the only witness.
"""

import contextlib
import os
import re
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, NamedTuple

from collectors.node._files import text

_RECORD_BYTES: Final = 8192  # the kernel refuses a buffer that is too small for a record
_MOST_BYTES: Final = 1 << 20  # of a log file in one round
_MOST_RECORDS: Final = 10_000

# A longer past was told by an earlier life of the agent, or happened before anybody asked.
_BACKLOG: Final = timedelta(hours=6)

# The clock may have been set back since a line was written; what is later than this was never now.
_AHEAD: Final = timedelta(hours=1)

_LOG_FILES: Final = ("kern.log", "messages", "syslog")
_UPTIME: Final = re.compile(r"\[\s*(\d+)\.(\d{6})\]")
_WRITTEN: Final = re.compile(r"^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:?\d\d))\s")
_XID: Final = re.compile(r"NVRM: Xid \((?:PCI:)?([0-9a-fA-F:.]+)[^)]*\): (\d{1,6})(?:, (.*))?$")
_NAMED: Final = re.compile(r"NVRM: GPU at (?:PCI:)?([0-9a-fA-F:.]+): (GPU-[0-9a-f-]+)")
_LONGEST_MESSAGE: Final = 400

Bus = tuple[int, int, int]
"""Domain, bus and device of a PCI address."""


class Xid(NamedTuple):
    """One Xid as the kernel log has it."""

    at: datetime
    bus: Bus
    code: int
    message: str


def bus_of(address: str) -> Bus | None:
    """Return a PCI address in numbers: NVML and the kernel pad the same one differently."""
    try:
        domain, bus, device = address.strip().partition(".")[0].split(":")
        return int(domain, 16), int(bus, 16), int(device, 16)
    except ValueError:
        return None


@dataclass
class _File:
    """A log file that is followed: which one it is, and how far it was read."""

    path: Path
    inode: int
    offset: int


class KernelLog:
    """What the kernel has said since the last round."""

    def __init__(self, procfs: Path, devfs: Path, logs: Path, now: Callable[[], datetime]) -> None:
        self._now = now
        self._begin = now() - _BACKLOG
        self._booted_at = _booted_at(procfs)
        self._file: _File | None = None
        self._rest = ""
        self.names: dict[Bus, str] = {}
        self._ring: int | None = None
        try:
            self._ring = os.open(devfs / "kmsg", os.O_RDONLY | os.O_NONBLOCK)
            # A collector that is opened anew leaves this object behind.
            self._end_ring = weakref.finalize(self, os.close, self._ring)
            # Opening is allowed to more users than reading is.
            self._rest = _records(self._ring, 1)
        except OSError:
            self.close()
            self._file = _followed(logs)

    def close(self) -> None:
        """Stop reading the ring buffer."""
        if self._ring is not None:
            self._end_ring()
            self._ring = None

    @property
    def source(self) -> str:
        """What is read: ring buffer, the name of a log file, or '' where this process may read neither."""
        if self._ring is not None:
            return "ring buffer"
        return "" if self._file is None else str(self._file.path)

    def xids(self) -> list[Xid]:
        """Return the Xids since the last call, oldest first; UUIDs that the driver names are kept in `names`."""
        found = []
        for at, message in self.messages():
            named = _NAMED.search(message)
            if named is not None and (bus := bus_of(named[1])) is not None:
                self.names[bus] = named[2]
            match = _XID.search(message)
            if match is not None and (bus := bus_of(match[1])) is not None:
                said = f"Xid {match[2]}" + (f": {match[3]}" if match[3] else "")
                found.append(Xid(at, bus, int(match[2]), said[:_LONGEST_MESSAGE]))
        return found

    def messages(self) -> Iterator[tuple[datetime, str]]:
        """Yield what was written since the last call, oldest first, with the instant."""
        for line in self._lines():
            at, message = self._dated(line)
            if at >= self._begin:
                yield at, message

    def _lines(self) -> list[str]:
        """Return whole new lines."""
        try:
            fresh = self._read_file() if self._ring is None else _records(self._ring, _MOST_RECORDS)
        except OSError:
            return []
        *lines, self._rest = (self._rest + fresh).split("\n")
        return lines

    def _read_file(self) -> str:
        """Return what was added to the log file; a new file of its name is read from its beginning.

        Raises: OSError: it cannot be read any more.
        """
        followed = self._file
        if followed is None:
            return ""
        with followed.path.open("rb") as log:
            state = os.fstat(log.fileno())
            if state.st_ino != followed.inode or state.st_size < followed.offset:
                followed.inode, followed.offset, self._rest = state.st_ino, 0, ""
            log.seek(followed.offset)
            content = log.read(_MOST_BYTES)
            followed.offset = log.tell()
        return content.decode("utf-8", "replace")

    def _dated(self, line: str) -> tuple[datetime, str]:
        """Return when a line was written and what it says; now, where it says no instant, or one that cannot be.

        Any user may write to the system's log.
        """
        at, message, now = None, line, self._now()
        with contextlib.suppress(ValueError, OverflowError):
            at, message = self._stamped(line)
        return now if at is None or at > now + _AHEAD else at, message

    def _stamped(self, line: str) -> tuple[datetime | None, str]:
        """Return the instant that a line bears, the same whenever it is read, and what it says.

        The time since boot is added to the second of the boot: it does not move when the clock is set.

        Raises: ValueError, OverflowError: the instant cannot be.
        """
        if self._ring is not None:
            head, _, message = line.partition(";")
            stamp = head.split(",")
            if len(stamp) > 2 and stamp[2].isdecimal():  # noqa: PLR2004  priority, number, microseconds
                return self._since_boot(timedelta(microseconds=int(stamp[2]))), message
            return None, line
        uptime = _UPTIME.search(line)
        if uptime is not None:
            return self._since_boot(timedelta(seconds=int(uptime[1]), microseconds=int(uptime[2]))), line
        written = _WRITTEN.match(line)
        return (datetime.fromisoformat(written[1]).astimezone(UTC) if written else None), line

    def _since_boot(self, uptime: timedelta) -> datetime | None:
        return None if self._booted_at is None else self._booted_at + uptime


def _records(ring: int, most: int) -> str:
    """Return the records of the ring buffer that were not read yet, each a line or more.

    Raises: OSError: this process may not read it.
    """
    parts = []
    for _ in range(most):
        try:
            record = os.read(ring, _RECORD_BYTES)
        except BlockingIOError:
            break
        except BrokenPipeError:
            # Records were overwritten before they were read; the next read goes on with the oldest that is left.
            continue
        if not record:
            break
        parts.append(record)
    return b"".join(parts).decode("utf-8", "replace")


def _booted_at(procfs: Path) -> datetime | None:
    """Return the second in which the kernel was booted; None where it does not say."""
    for line in (text(procfs / "stat") or "").splitlines():
        name, _, value = line.partition(" ")
        if name == "btime" and value.strip().isdigit():
            with contextlib.suppress(ValueError, OverflowError, OSError):
                return datetime.fromtimestamp(int(value), UTC)
    return None


def _followed(logs: Path) -> _File | None:
    """Return the first log file that may be read, at its end: when its old lines were written is not sure."""
    for name in _LOG_FILES:
        path = logs / name
        try:
            with path.open("rb") as log:
                state = os.fstat(log.fileno())
        except OSError:
            continue
        return _File(path, state.st_ino, state.st_size)
    return None
