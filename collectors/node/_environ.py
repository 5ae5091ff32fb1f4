"""Environments of processes: the kernel lets a reader wait as long as the process holds its own memory map.

One that hangs in a driver may hold it for good, and is just the one that is to be told of.
"""

import threading
from pathlib import Path
from typing import Final

_LONGEST: Final = 1 << 20
_PATIENCE_SECONDS: Final = 1.0
_MOST_ASKED: Final = 2


class Environs:
    """The environments of this node's processes, each read in a thread of its own; what hangs is not asked again."""

    def __init__(self, procfs: Path) -> None:
        self._procfs = procfs
        self._asked: dict[int, threading.Thread] = {}

    def entries(self, pid: int) -> list[bytes]:
        """Return a process's environment; nothing where it may not be read, or not in time."""
        found: list[bytes] = []
        if pid not in self._asked and len(self._asked) < _MOST_ASKED:
            read = threading.Thread(target=self._read, args=(pid, found), name="environ", daemon=True)
            self._asked[pid] = read
            read.start()
            read.join(_PATIENCE_SECONDS)
        return found[:1] and found[0].split(b"\0")

    def _read(self, pid: int, found: list[bytes]) -> None:
        try:
            with (self._procfs / str(pid) / "environ").open("rb") as environ:
                found.append(environ.read(_LONGEST))
        except OSError:
            return
        finally:
            del self._asked[pid]
