"""A program that a collector asks: it has a deadline, and one that cannot even be ended holds nobody up."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Sequence
from typing import ClassVar, Final, NamedTuple

from ledger.errors import SourceError

_LONGEST_ANSWER: Final = 4 << 20
_ENDING_SECONDS: Final = 0.2


class Answer(NamedTuple):
    """What a program printed, and how it ended."""

    text: str
    error: str
    code: int


class Command:
    """One program with its arguments and what it is given to read, asked again in each round.

    A program that waits for hardware which does not answer may not end even when it is killed: it is left alone then,
    and no other is started beside it before it ends.
    """

    # A collector that failed is opened anew, and must not forget what it left behind.
    _stuck: ClassVar[dict[tuple[str, ...], "subprocess.Popen[bytes]"]] = {}

    def __init__(self, arguments: Sequence[str], seconds: float, given: str = "") -> None:
        self._arguments = tuple(arguments)
        self._seconds = seconds
        self._given = given.encode()

    @property
    def name(self) -> str:
        """Return the program with its arguments, as a person would type it."""
        return " ".join(self._arguments)

    def answer(self) -> Answer:
        """Return what the program prints.

        Raises: FileNotFoundError: it is not installed. SourceError: it may not be run, or does not end in time.
        """
        stuck = self._stuck.pop(self._arguments, None)
        if stuck is not None and stuck.poll() is None:
            self._stuck[self._arguments] = stuck
            raise SourceError(f"{self.name}: the last one was killed and has not ended yet")
        try:
            process = subprocess.Popen(  # noqa: S603  the operator's own words, no shell
                self._arguments,
                stdin=subprocess.PIPE if self._given else subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
                env={**os.environ, "LC_ALL": "C"},
            )
        except FileNotFoundError:
            raise
        except OSError as error:
            raise SourceError(f"{self.name}: {error.strerror}, expected a program that may be run") from error
        try:
            printed, said = process.communicate(self._given or None, timeout=self._seconds)
        except subprocess.TimeoutExpired:
            self._end(process)
            raise SourceError(f"{self.name}: no answer after {self._seconds:g} s") from None
        if len(printed) > _LONGEST_ANSWER:
            raise SourceError(f"{self.name}: found {len(printed)} bytes, expected {_LONGEST_ANSWER} at most")
        return Answer(printed.decode("utf-8", "replace"), said.decode("utf-8", "replace").strip(), process.returncode)

    def _end(self, process: "subprocess.Popen[bytes]") -> None:
        """Kill a program and what it started; remember it if it does not end."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        try:
            process.wait(_ENDING_SECONDS)
        except subprocess.TimeoutExpired:
            self._stuck[self._arguments] = process
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                # What it did not read is lost with it.
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
