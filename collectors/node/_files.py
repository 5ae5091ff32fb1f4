"""Small kernel files: what is absent, refused or no number is told apart from what is broken."""

import re
from operator import attrgetter
from pathlib import Path
from typing import Final

from ledger.errors import SourceError, SourceMissing

_ABSURD: Final = 2**63
_MOST_NODES: Final = 2**16
_COUNT: Final = re.compile(r"[0-9]{1,20}")
_WHOLE: Final = re.compile(r"-?[0-9]+")
_NAME: Final = attrgetter("name")
_OCTAL: Final = re.compile(r"\\([0-7]{3})")


def required(path: Path, collector: str) -> str:
    """Return the text of a file without which the collector has nothing to do.

    Raises: SourceMissing: the file, or what the kernel needs for it, is not there.
        SourceError: it is there and cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, NotADirectoryError):
        hint = f"set collectors.{collector}.enabled = false on this node"
        raise SourceMissing(f"{path} does not exist", hint=hint) from None
    except OSError as error:
        raise SourceError(f"{path}: {error.strerror}, expected a readable file") from error


def text(path: Path) -> str | None:
    """Return a file's text without the surrounding blanks; None where it is absent or refused."""
    try:
        # Hundreds of files are read in each round: without the layers of a text file that costs half as much.
        with path.open("rb", buffering=0) as file:
            content = file.read()
    except OSError:
        # Drivers answer EINVAL, EOPNOTSUPP or ENODEV for a value that they do not have.
        return None
    return content.decode("utf-8", "replace").replace("\r\n", "\n").replace("\r", "\n").strip()


def refused(path: Path) -> bool:
    """Tell whether a file is there and this process may not read it."""
    try:
        path.open("rb").close()
    except PermissionError:
        return True
    except OSError:
        return False
    return False


def listed(folder: Path) -> list[Path]:
    """Return what a folder holds, by name; nothing where it is absent or refused."""
    try:
        return sorted(folder.iterdir(), key=_NAME)
    except OSError:
        return []


def integer(path: Path) -> int | None:
    """Return a file's number; None where it is absent, refused or no number, such as `N/A (no PMA)`."""
    return as_integer(text(path))


def as_integer(value: str | None) -> int | None:
    """Return the number that a text is; None where it is none."""
    if value is None:
        return None
    try:
        return int(value)
    except ValueError:
        return None


def numa_node(sysfs: Path, bus: tuple[int, int, int] | None) -> int | None:
    """Return the NUMA node that a PCI device is attached to; None where the firmware names none."""
    if bus is None:
        return None
    domain, number, device = bus
    return numa_node_of(sysfs / f"bus/pci/devices/{domain:04x}:{number:02x}:{device:02x}.0")


def numa_node_of(folder: Path) -> int | None:
    """Return the NUMA node that the device of a folder is attached to; None where the firmware names none."""
    found = integer(folder / "numa_node")
    return found if found is not None and 0 <= found < _MOST_NODES else None


def counted(path: Path) -> int | None:
    """Return a file's count; None where it is absent, refused, or cannot be one."""
    return as_count(text(path))


def as_count(value: str | None) -> int | None:
    """Return the count that a text is; None where it is none.

    A count that fell below zero shows near 2^64, and so does each one of an adapter that fell off its bus.
    """
    if value is None or not _COUNT.fullmatch(value):
        return None
    number = int(value)
    return number if number < _ABSURD else None


def scaled(value: int | None, unit: float) -> float | None:
    """Return a value in a base unit; what was not read stays null."""
    return None if value is None else value * unit


def counts(words: list[str], where: str) -> list[int | None]:
    """Return words as counts; None for one that fell below zero and so shows near 2^64: it costs no other its value.

    Raises: SourceError: one of them is no whole number.
    """
    if not all(map(_WHOLE.fullmatch, words)):
        raise SourceError(f"{where}: found {' '.join(words)[:80]!r}, expected whole numbers")
    return [as_count(word) for word in words]


def unescaped(word: str) -> str:
    """Return a path as it is: the kernel writes blanks and backslashes as octal numbers."""
    return _OCTAL.sub(lambda match: chr(int(match[1], 8)), word)
