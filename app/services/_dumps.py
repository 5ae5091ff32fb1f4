"""Which format of scheduler dump a file is."""

from pathlib import Path

import collectors.dumps as readers
from collectors.dumps._dump import JobDump
from ledger.errors import InputError
from ledger.registry import discover

_HEAD_BYTES = 65_536


def formats() -> dict[str, JobDump]:
    """Return every format by name."""
    return discover(readers, JobDump)


def local(path: str) -> Path:
    """Return a path of this machine."""
    return Path(path).expanduser()


def detected(path: str, wanted: str) -> JobDump | None:
    """Return the format of a file, the wanted one where one is named; None for what is no dump.

    Raises: InputError: the file is not there, or cannot be read.
    """
    known = formats()
    if wanted:
        return known.get(wanted)
    file = local(path)
    if "://" in path or file.is_dir():
        return None
    try:
        with file.open("rb") as stream:
            head = stream.read(_HEAD_BYTES)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}, expected a file that can be read", hint="check the path") from None
    return next((each for each in known.values() if each.detect(file, head)), None)
