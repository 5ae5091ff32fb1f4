"""Training tells how far it is: two lines in a training script, and this node's agent does the rest.

    from collectors.progress import Progress

    progress = Progress(model="llama-3-8b")
    for batch in loader:
        train(batch)
        progress.add(samples=len(batch), tokens=batch.token_count)

It needs nothing but the standard library: where the package is not wanted, this one file can be copied. Whatever goes
wrong - a full disk, no such folder, a file system that hangs - costs numbers and never a training step.

The counts are kept in memory and written by a thread, every few seconds, into one small file of a folder that the
agent reads: `/dev/shm/clusterledger`, or what CLUSTERLEDGER_PROGRESS names. A file is replaced as a whole, so that a
reader never sees half of one. In a pod that folder must be the node's, mounted.
"""

import atexit
import contextlib
import json
import os
import re
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final, SupportsInt

VERSION: Final = 1
"""Of the file: a reader passes over what it does not know."""

FOLDER: Final = "/dev/shm/clusterledger"  # noqa: S108  a folder that everybody may write into, as /tmp
"""Where files lie if nothing else is said: memory, so that no disk is touched."""

_FOLDER_VARIABLE: Final = "CLUSTERLEDGER_PROGRESS"
_JOB_VARIABLES: Final = ("CLUSTERLEDGER_JOB_ID", "SLURM_JOB_ID", "POD_UID")
_RANK_VARIABLES: Final = ("RANK", "SLURM_PROCID", "OMPI_COMM_WORLD_RANK", "PMI_RANK")

_POD: Final = re.compile(r" /\S*pods/([0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12})/")

_EVERYBODY: Final = 0o1777
_KEPT_SECONDS: Final = 86_400.0
_PATIENCE_SECONDS: Final = 1.0
_START_FIELD: Final = 19
_SUFFIX: Final = ".json"


class Progress:
    """What one process of a training has done since it began; the counts of all ranks add up.

    `run` tells several trainings of one job apart. Made in one process, it counts in that process and from one thread:
    in a forked worker it does nothing.
    """

    def __init__(
        self,
        model: str = "",
        run: str = "",
        *,
        job_id: str = "",
        folder: str | os.PathLike[str] = "",
        every_seconds: float = 5.0,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self._pid = os.getpid()
        self._folder = Path(folder or environ.get(_FOLDER_VARIABLE) or FOLDER)
        self._counts = {"step_count": 0, "sample_count": 0, "token_count": 0}
        self._every_seconds = max(0.1, every_seconds)
        self._is_over = threading.Event()
        self._told = {
            "v": VERSION,
            "job_id": job_id or _first(environ, _JOB_VARIABLES) or pod_uid(_text("/proc/self/mountinfo")),
            "run": run,
            "model": model,
            "rank": _rank(environ),
            "pid": self._pid,
            "start_ticks": _start_ticks(),
            "started_at": time.time(),
        }
        self._thread = threading.Thread(target=self._write_on, name="clusterledger-progress", daemon=True)
        # A process that may start no thread trains without being counted.
        with contextlib.suppress(RuntimeError):
            self._thread.start()
            atexit.register(self.close)

    def add(self, steps: SupportsInt = 1, samples: SupportsInt = 0, tokens: SupportsInt = 0) -> None:
        """Count what was just done: one step if nothing else is said. Numbers on a device wait for that device."""
        counts = self._counts
        counts["step_count"] += _count(steps)
        counts["sample_count"] += _count(samples)
        counts["token_count"] += _count(tokens)

    def close(self) -> None:
        """Write the last counts; done by itself when the process ends in an orderly way."""
        if os.getpid() != self._pid or self._is_over.is_set():
            return
        self._is_over.set()
        atexit.unregister(self.close)
        if self._thread.is_alive():
            # A file system that hangs must not keep the process.
            self._thread.join(_PATIENCE_SECONDS)

    def __enter__(self) -> "Progress":  # noqa: PYI034  `Self` is younger than the Pythons that trainings run on
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _write_on(self) -> None:
        with contextlib.suppress(OSError):
            self._prepare()
        while not self._is_over.wait(self._every_seconds):
            self._write(is_finished=False)
        self._write(is_finished=True)

    def _prepare(self) -> None:
        """Make the folder for everybody, and take away what this user's trainings left there long ago."""
        with contextlib.suppress(FileExistsError):
            self._folder.mkdir(parents=True)
            self._folder.chmod(_EVERYBODY)
        before, me = time.time() - _KEPT_SECONDS, os.getuid()
        with os.scandir(self._folder) as entries:
            for entry in entries:
                found = entry.stat(follow_symlinks=False)
                if found.st_uid == me and found.st_mtime < before and entry.name.endswith(_SUFFIX):
                    os.unlink(entry.path)  # noqa: PTH108  an entry is no path

    def _write(self, *, is_finished: bool) -> None:
        """Put the counts into the file, or leave the file as it was."""
        text = json.dumps({**self._told, **self._counts, "is_finished": is_finished, "written_at": time.time()})
        path = self._folder / f"{self._pid}-{self._told['start_ticks']}-{id(self):x}{_SUFFIX}"
        beside = path.with_suffix(".new")
        try:
            with contextlib.suppress(FileNotFoundError):
                beside.unlink()
            handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644)
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
            beside.replace(path)
        except OSError:
            with contextlib.suppress(OSError):
                beside.unlink()


def _count(value: SupportsInt) -> int:
    """Return a number of things done; what is no such number counts nothing."""
    try:
        return max(0, int(value))
    except (TypeError, ValueError, OverflowError):
        return 0


def _first(environ: Mapping[str, str], names: tuple[str, ...]) -> str:
    return next((environ[name] for name in names if environ.get(name)), "")


def _rank(environ: Mapping[str, str]) -> int:
    word = _first(environ, _RANK_VARIABLES)
    return int(word) if word.isascii() and word.isdecimal() else 0


def _start_ticks() -> int:
    """Return when the kernel started this process, by which another process of the same number is told; 0 unknown."""
    try:
        return int(_text("/proc/self/stat").rpartition(")")[2].split()[_START_FIELD])
    except (ValueError, IndexError):
        return 0


def pod_uid(mounts: str) -> str:
    """Return the UID of the pod that mounts are of, '' outside of one: its kubelet mounts files of the pod's folder."""
    found = _POD.search(mounts)
    return found[1] if found else ""


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
