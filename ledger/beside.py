"""Work in a process of this program's own: it holds neither the interpreter nor the threads of who waits for it."""

import contextlib
import importlib
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any, Final

from ledger import memory

_PATIENCE_SECONDS: Final = 5.0

ENDED: Final = (OSError, EOFError, pickle.UnpicklingError)
"""What a call raises where the process ended over it."""


class Beside:
    """One process for one function of this program; it begins with the first call and ends with this one.

    The function takes one argument; it stands at the top of its module.
    """

    def __init__(self, function: Callable[[Any], object], *, nice: int = 0) -> None:
        self._arguments = (function.__module__, function.__qualname__, str(nice))
        self._turn = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self.is_closed = False

    @property
    def pid(self) -> int | None:
        """Return the process's id; None where none runs."""
        return self._process.pid if self._process is not None else None

    def call(self, asked: object) -> Any:
        """Return the answer to a call; calls take turns.

        Raises: OSError, EOFError, pickle.UnpicklingError: the process ended over it, or is closed; the next call
        begins another.
        """
        with self._turn:
            try:
                return self._answer(asked)
            except ENDED:
                self._end()
                raise

    def close(self) -> None:
        """End the process, after the call that it works on."""
        self.is_closed = True
        with self._turn:
            self._end()

    def _answer(self, asked: object) -> Any:
        if self._process is None and not self.is_closed:
            # In a group of its own: what interrupts a hub on a terminal asks this one, and the hub ends the other.
            self._process = subprocess.Popen(  # noqa: S603  this program, with our own words
                [sys.executable, "-P", "-m", __name__, *self._arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                # What it fails with, the same work says here.
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        if self._process is None or self._process.stdin is None or self._process.stdout is None:
            raise EOFError
        pickle.dump(asked, self._process.stdin, protocol=pickle.HIGHEST_PROTOCOL)
        self._process.stdin.flush()
        return pickle.load(self._process.stdout)  # noqa: S301  our own process says it

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            process.communicate(timeout=_PATIENCE_SECONDS)
        if process.poll() is None:
            process.kill()
            process.wait()


def serve(module: str, function: str, nice: str) -> None:
    """Answer calls until nobody can make another."""
    memory.settle()
    os.nice(int(nice))
    work = getattr(importlib.import_module(module), function)
    calls, answers = sys.stdin.buffer, sys.stdout.buffer
    with contextlib.suppress(EOFError, BrokenPipeError):
        while True:
            pickle.dump(work(pickle.load(calls)), answers, protocol=pickle.HIGHEST_PROTOCOL)  # noqa: S301  as above
            answers.flush()


if __name__ == "__main__":
    serve(*sys.argv[1:])
