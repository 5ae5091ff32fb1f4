"""How far trainings on this node are, from the files that `collectors.progress` writes."""

import itertools
import json
import os
import stat
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import Field

from collectors._settings import CollectorSettings
from collectors.node._cgroup_names import job_of
from collectors.node._files import text
from collectors.node._sluid import JOB_MAP, Sluids, is_sluid
from collectors.progress import FOLDER, VERSION
from ledger.errors import SourceMissing
from ledger.registry import Emitted, Row, collector

_PACE_SECONDS: Final = 15.0
_MOST_FILES: Final = 2000
_LARGEST_BYTES: Final = 4096
_LONGEST_WORD: Final = 200
_MOST: Final = 2**53
_START_FIELD: Final = 19
_COUNTS: Final = ("step_count", "sample_count", "token_count")


class TrainingSettings(CollectorSettings):
    """Where trainings leave their files."""

    folder: Annotated[Path, Field(description="Folder into which trainings write how far they are")] = Path(FOLDER)


@collector(emits=("training_sample",), every_seconds=_PACE_SECONDS, settings=TrainingSettings)
def training(
    procfs: Path = Path("/proc"), settings: TrainingSettings | None = None, now: Callable[[], float] = time.time
) -> Callable[[], Emitted]:
    """Yield one row per process that trains and tells how far it is.

    A file is a row when it was written since the last round, or while its process is there: a step that takes long
    is a step not done yet. A process that ended has no further row, whatever lies in the folder: what it had counted
    at its end is told once. Where processes cannot be seen (in a container without the host's), only writing counts.

    The job is that of the process's cgroup; where that cannot be seen, the one that the file claims: any user of the
    node may write there. Files that are no such file are passed over; so are links, and all beyond the first 2,000.

    Raises: SourceMissing: nobody on this node tells how far a training is.
    """
    folder = (settings or TrainingSettings()).folder
    pace = (settings.every_seconds if settings else None) or _PACE_SECONDS
    seen: dict[str, int] = {}
    sluids = Sluids(procfs, procfs.parent / "sys/fs/cgroup", procfs.parent / JOB_MAP)

    def one_round() -> Emitted:
        if not folder.is_dir():
            raise SourceMissing(
                f"{folder} does not exist: no training tells how far it is",
                hint="call collectors.progress in the training, or set collectors.training.enabled = false",
            )
        present = {}
        recently = int((now() - 2 * pace) * 1e9)
        for name, written, content in _files(folder):
            present[name] = written
            row = _row(content)
            if row is None:
                continue
            process = _process(procfs, row)
            if process is None and written <= seen.get(name, recently):
                continue
            yield "training_sample", _told(row, sluids.job(job_of(process or ""), process or ""))
        seen.clear()
        seen.update(present)

    return one_round


def _files(folder: Path) -> Iterator[tuple[str, int, bytes]]:
    """Yield name, instant of writing in nanoseconds and content of what may be a training's file."""
    with os.scandir(folder) as entries:
        for entry in itertools.islice(entries, _MOST_FILES):
            if not entry.name.endswith(".json"):
                continue
            try:
                # A pipe would keep its reader waiting, and a link may lead anywhere.
                handle = os.open(entry.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            except OSError:
                continue
            try:
                found = os.fstat(handle)
                if not stat.S_ISREG(found.st_mode) or found.st_size > _LARGEST_BYTES:
                    continue
                content = os.read(handle, _LARGEST_BYTES)
            except OSError:
                continue
            finally:
                os.close(handle)
            yield entry.name, found.st_mtime_ns, content


def _row(content: bytes) -> dict[str, Any] | None:
    """Return what a file tells, None where it is no training's."""
    try:
        told = json.loads(content)
    except (ValueError, RecursionError):
        return None
    if not isinstance(told, dict) or told.get("v") != VERSION:
        return None
    words = {name: told.get(name) for name in ("job_id", "run", "model")}
    numbers = {name: told.get(name) for name in (*_COUNTS, "rank", "pid", "start_ticks")}
    started = told.get("started_at")
    are_words = all(isinstance(word, str) and len(word) <= _LONGEST_WORD for word in words.values())
    are_numbers = all(type(number) is int and 0 <= number <= _MOST for number in numbers.values())
    if not (are_words and are_numbers and isinstance(started, int | float)):
        return None
    try:
        return {**words, **numbers, "started_at": datetime.fromtimestamp(started, UTC)}
    except (ValueError, OverflowError, OSError):
        return None


def _process(procfs: Path, row: Row) -> str | None:
    """Return the cgroups of the process that wrote a file, None where it is not there, or another by its number."""
    told = text(procfs / str(row["pid"]) / "stat")
    words = (told or "").rpartition(")")[2].split()
    if not row["start_ticks"] or len(words) <= _START_FIELD or words[_START_FIELD] != str(row["start_ticks"]):
        return None
    return text(procfs / str(row["pid"]) / "cgroup") or ""


def _told(row: dict[str, Any], job: str) -> Row:
    """Return the row of a training whose cgroup names a job; '' where that cannot be seen."""
    # A SLUID that nobody translates joins with nothing; what the file claims may.
    is_claimed = not job or (is_sluid(job) and bool(row["job_id"]))
    return {
        "job_id": row["job_id"] if is_claimed else job,
        "run": row["run"],
        "rank_index": row["rank"],
        "started_at": row["started_at"],
        "model": row["model"] or None,
        "is_job_seen": bool(job) and not is_claimed,
        **{f"{name}_total": row[name] for name in _COUNTS},
    }
