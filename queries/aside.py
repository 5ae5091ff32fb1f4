"""Large calls of rollups in a process of their own, behind everybody else.

What computes millions of rows holds this process's interpreter and the threads of Polars, and who waits for an
answer of a hub waits for both. Rows go over as files of Arrow; what is to be done, over the process's own pipes.
"""

import contextlib
import os
import pickle
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any, Final, NamedTuple

import polars as pl

from ledger import memory
from ledger.log import log
from queries.graph import load

_LEAST_ROWS: Final = 100_000
"""What takes less than handing it over would."""

_NICE: Final = 19
_PATIENCE_SECONDS: Final = 5.0
_RESULT: Final = "result"


class _Asked(NamedTuple):
    """A call: which rollup, where its rows lie, and its other arguments."""

    rollup: str
    folder: str
    inputs: tuple[str, ...]
    others: Mapping[str, object]


class Aside:
    """One process for large calls; it begins with the first of them and ends with this one."""

    def __init__(self, least_rows: int = _LEAST_ROWS) -> None:
        self._least_rows = least_rows
        self._turn = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._is_closed = False

    def takes(self, inputs: Mapping[str, pl.DataFrame]) -> bool:
        """Tell whether a call is large enough."""
        return sum(frame.height for frame in inputs.values()) >= self._least_rows and not self._is_closed

    def compute(
        self, rollup: str, inputs: dict[str, pl.DataFrame], others: Mapping[str, object]
    ) -> pl.DataFrame | None:
        """Return what a rollup of this project makes of its inputs; None where that process has ended over it.

        The inputs are taken out of the mapping as they are handed over: this process does not hold them meanwhile.
        """
        names = tuple(inputs)
        try:
            with tempfile.TemporaryDirectory(prefix="clusterledger-") as folder:
                for name in names:
                    inputs.pop(name).write_ipc(Path(folder, name), compat_level=pl.CompatLevel.newest())
                memory.release()
                with self._turn:
                    self._call(_Asked(rollup, folder, names, others))
                return pl.read_ipc(Path(folder, _RESULT))
        except (OSError, EOFError, pickle.UnpicklingError, pl.exceptions.PolarsError) as error:
            log.warning("a rollup is not computed aside", rollup=rollup, message=str(error) or "its process ended")
            with self._turn:
                self._end()
            return None

    def close(self) -> None:
        """End the process, after the call that it works on."""
        self._is_closed = True
        with self._turn:
            self._end()

    def _call(self, asked: _Asked) -> None:
        """Hand a call over, and wait until it is done."""
        if self._process is None and not self._is_closed:
            # In a group of its own: what interrupts a hub on a terminal asks this one, and the hub ends the other.
            self._process = subprocess.Popen(  # noqa: S603  this program, with no argument
                [sys.executable, "-P", "-m", __name__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                # What it fails with, the same call says here.
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        if self._process is None or self._process.stdin is None or self._process.stdout is None:
            raise EOFError
        pickle.dump(asked, self._process.stdin)
        self._process.stdin.flush()
        pickle.load(self._process.stdout)  # noqa: S301  our own process says it

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            process.communicate(timeout=_PATIENCE_SECONDS)
        if process.poll() is None:
            process.kill()
            process.wait()


def serve(calls: IO[bytes], answers: IO[bytes]) -> None:
    """Answer calls until nobody can make another."""
    functions = {each.name: each.function for each in load()}
    with contextlib.suppress(EOFError, BrokenPipeError):
        while True:
            asked: _Asked = pickle.load(calls)  # noqa: S301  who has started this process says it
            _compute(functions[asked.rollup], asked)
            pickle.dump(asked.rollup, answers)
            answers.flush()
            memory.release()


def _compute(function: Callable[..., Any], asked: _Asked) -> None:
    """Compute a call into its folder."""
    inputs = {name: pl.read_ipc(Path(asked.folder, name)).lazy() for name in asked.inputs}
    frame: pl.DataFrame = function(**inputs, **asked.others).collect()
    frame.write_ipc(Path(asked.folder, _RESULT), compat_level=pl.CompatLevel.newest())


if __name__ == "__main__":
    memory.settle()
    os.nice(_NICE)
    serve(sys.stdin.buffer, sys.stdout.buffer)
