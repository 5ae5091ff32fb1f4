"""Writes of a store: closures that one thread runs, each as one transaction, again where somebody else came first."""

import time
from collections.abc import Callable
from datetime import datetime
from typing import Final, TypeVar

import duckdb

from ledger._access import Access
from ledger._commit import Commit
from ledger._connection import explained, fetch_row
from ledger._ddl import FENCE
from ledger._latest import Latest
from ledger._tails import Tails
from ledger._writer import Writer

T = TypeVar("T")

# A conflict means that somebody else committed meanwhile: soon again, then with patience.
_PAUSES_SECONDS: Final = (0.001, 0.002, 0.01, 0.05, 0.1, 0.2, 0.5, 1.0)


class Transactions:
    """The one way to write into a store."""

    def __init__(self, access: Access, now: Callable[[], datetime]) -> None:
        self._access = access
        self._now = now
        self._latest = Latest()
        self._tails: Tails | None = None
        self._writer = Writer(access.url)

    def close(self) -> None:
        """Finish the writes that were submitted."""
        self._writer.close()

    def note_in(self, tails: Tails) -> None:
        """Say from now on which rows were committed."""
        self._tails = tails

    def run(self, work: Callable[[Commit], T]) -> T:
        """Run a closure in the writer thread as one transaction; it is repeated whole on a conflict."""
        return self._writer.run(lambda: self._attempts(work))

    def _attempts(self, work: Callable[[Commit], T]) -> T:
        for pause in (*_PAUSES_SECONDS, None):
            try:
                return self._attempt(work)
            except duckdb.Error as error:
                is_conflict = isinstance(error, duckdb.TransactionException) and "onflict" in str(error)
                if not is_conflict or pause is None:
                    self._access.recover(error)
                    raise explained(self._access.url, error) from error
                time.sleep(pause)
        raise AssertionError  # the last attempt returned or raised

    def _attempt(self, work: Callable[[Commit], T]) -> T:
        fence = f"{self._access.prefix}{FENCE}"
        with self._access.cursor() as cursor:
            cursor.execute("BEGIN TRANSACTION")
            # Without this row two writers of one empty partition would both commit.
            cursor.execute(f"UPDATE {fence} SET turn_count = turn_count + 1")
            (turn,) = fetch_row(cursor, f"SELECT turn_count FROM {fence}")
            self._latest.begin(int(str(turn)))
            commit = Commit(cursor, self._access.prefix, self._now(), self._latest)
            result = work(commit)
            commit.finish()
            cursor.execute("COMMIT")
            self._latest.commit(int(str(turn)), commit.added, commit.rewritten, commit.recorded)
            if self._tails is not None:
                self._tails.note(commit.inserted)
            return result
