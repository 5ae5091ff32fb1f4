"""A program that a collector asks: it has a deadline, and one that cannot even be ended holds nobody up."""

import contextlib
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Sequence
from typing import IO, ClassVar, Final, NamedTuple, cast

from ledger.errors import SourceError

_LONGEST_ANSWER: Final = 4 << 20
_BLOCK: Final = 1 << 16
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
            printed, said = self._read(process)
        except subprocess.TimeoutExpired:
            self._end(process)
            raise SourceError(f"{self.name}: no answer after {self._seconds:g} s") from None
        except SourceError:
            self._end(process)
            raise
        finally:
            _close(process)
        return Answer(printed.decode("utf-8", "replace"), said.decode("utf-8", "replace").strip(), process.returncode)

    def _read(self, process: "subprocess.Popen[bytes]") -> tuple[bytes, bytes]:
        """Return what a program prints and what it says besides, once it has ended.

        Raises: TimeoutExpired: it has not ended. SourceError: it prints without an end, which would fill the memory.
        """
        until = time.monotonic() + self._seconds
        if process.stdin is not None:
            # What it is given fits into its pipe; one that does not read it may answer all the same.
            with contextlib.suppress(BrokenPipeError):
                process.stdin.write(self._given)
                process.stdin.close()
        content = {process.stdout: bytearray(), process.stderr: bytearray()}
        with selectors.DefaultSelector() as open_pipes:
            for pipe, read in content.items():
                open_pipes.register(cast("IO[bytes]", pipe), selectors.EVENT_READ, read)
            while open_pipes.get_map():
                for key, _ in open_pipes.select(max(0.0, until - time.monotonic())):
                    block = os.read(key.fd, _BLOCK)
                    key.data.extend(block)
                    if not block:
                        open_pipes.unregister(key.fileobj)
                if sum(map(len, content.values())) > _LONGEST_ANSWER:
                    raise SourceError(f"{self.name}: found more than {_LONGEST_ANSWER} bytes, expected an answer")
                if time.monotonic() >= until and open_pipes.get_map():
                    raise subprocess.TimeoutExpired(self._arguments, self._seconds)
        process.wait(max(0.0, until - time.monotonic()))
        return bytes(content[process.stdout]), bytes(content[process.stderr])

    def _end(self, process: "subprocess.Popen[bytes]") -> None:
        """Kill a program and what it started; remember it if it does not end."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        try:
            process.wait(_ENDING_SECONDS)
        except subprocess.TimeoutExpired:
            self._stuck[self._arguments] = process


def _close(process: "subprocess.Popen[bytes]") -> None:
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            # What it did not read is lost with it.
            with contextlib.suppress(BrokenPipeError):
                pipe.close()
