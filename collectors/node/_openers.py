"""Who has a device file open."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from collectors.node._files import listed


def openers(procfs: Path, devices: Iterable[str]) -> Mapping[str, set[int]] | None:
    """Return the ids of the processes that have each device open.

    None where the files of other users' processes are hidden: that nobody was seen is no proof then.
    """
    found: dict[str, set[int]] = {device: set() for device in devices if device}
    if not found:
        return found
    for process in listed(procfs):
        if not process.name.isdecimal():
            continue
        try:
            files = list((process / "fd").iterdir())
        except PermissionError:
            return None
        except OSError:
            # It ended, or is the kernel's own.
            continue
        for file in files:
            try:
                target = str(file.readlink())
            except OSError:
                continue
            if target in found:
                found[target].add(int(process.name))
    return found
