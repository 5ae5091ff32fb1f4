"""The one thread that writes to a store."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any, TypeVar

from ledger.errors import StoreError

T = TypeVar("T")


class Writer:
    """A queue of closures that one thread runs, each to its end, in the order in which they came."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._queue: SimpleQueue[tuple[Callable[[], Any], Future[Any]] | None] = SimpleQueue()
        self._closing = threading.Lock()
        self._is_closed = False
        self._thread = threading.Thread(target=self._work, name="ledger-writer", daemon=True)
        self._thread.start()

    def run(self, work: Callable[[], T]) -> T:
        """Return what the closure returns, or raise what it raises."""
        future: Future[T] = Future()
        with self._closing:
            if self._is_closed:
                raise StoreError(f"store {self._where}: is closed, expected to be open")
            self._queue.put((work, future))
        return future.result()

    def close(self) -> None:
        """Let what was submitted finish, then end the thread."""
        with self._closing:
            if self._is_closed:
                return
            self._is_closed = True
            self._queue.put(None)
        self._thread.join()

    def _work(self) -> None:
        while (item := self._queue.get()) is not None:
            work, future = item
            try:
                future.set_result(work())
            except BaseException as error:  # noqa: BLE001  it belongs to the caller, who waits for it
                future.set_exception(error)
            del item, work, future
