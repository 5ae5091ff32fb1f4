"""What a reader of a scheduler's dump is, and the pieces that readers share."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import dataframely as dy
import polars as pl


@dataclass(frozen=True)
class Rejected:
    """One record that could not be read, with where it stood and why."""

    table_name: str
    where: str
    reason: str
    record: str


@dataclass(frozen=True)
class Dump:
    """What one file gave: frames under their tables, the records refused, and remarks for the reader.

    `naive_instant_count` counts instants that came without a zone and were taken as UTC.
    """

    format: str
    frames: Mapping[type[dy.Schema], pl.DataFrame]
    rejected: tuple[Rejected, ...] = ()
    naive_instant_count: int = 0
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class JobDump:
    """A format of scheduler dump: how it is told from others, and how it is read.

    `detect` gets the path and the first 64 KiB; `read` raises InputError when the file is not what
    `detect` took it for.
    """

    name: str
    detect: Callable[[Path, bytes], bool]
    read: Callable[[Path], Dump]
    module: str = field(default="")
