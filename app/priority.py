"""Who waits goes first: the threads that compute stand back behind those that answer agents and people."""

import os
import sys
import threading
from pathlib import Path
from typing import Final

_TASKS: Final = Path("/proc/self/task")
_NICE: Final = 10


def stand_back() -> int:
    """Lower the priority of the pools of Polars and DuckDB, and return of how many threads; of none outside Linux.

    Threads of Python stay as they are: one that stands back with the interpreter's lock would hold up the others.
    """
    if sys.platform != "linux":
        return 0
    ours = {thread.native_id for thread in threading.enumerate()}
    lowered = 0
    for task in _TASKS.iterdir():
        number = int(task.name)
        # The first thread is the process: the priority of all that begin later.
        if number in ours or number == os.getpid():
            continue
        try:
            if os.getpriority(os.PRIO_PROCESS, number) < _NICE:
                os.setpriority(os.PRIO_PROCESS, number, _NICE)
                lowered += 1
        except ProcessLookupError:
            continue
    return lowered
