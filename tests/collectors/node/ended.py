"""Whether a program that a test started through a collector is over."""

import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

PATIENCES: Final = (0.4, 4.0, 40.0)
"""How long to wait for a program that hangs: the first is enough for it to start, unless the machine is busy."""


def has_ended(pid: int, patience_seconds: float = 30.0) -> bool:
    """Tell whether a process ends within a time; one that does not is ended here."""
    until = time.monotonic() + patience_seconds
    while time.monotonic() < until:
        try:
            status = Path(f"/proc/{pid}/status").read_text()
        except OSError:
            return True
        if "\nState:\tZ" in status:
            return True
        time.sleep(0.02)
    with suppress(ProcessLookupError):
        os.kill(pid, 9)
    return False
