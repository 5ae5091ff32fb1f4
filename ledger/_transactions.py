"""Writes of a store: closures that one thread runs, each as one transaction, again where somebody else came first."""

import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from typing import Final, TypeVar

import duckdb

from ledger import _turns
from ledger._access import Access
from ledger._commit import Commit
from ledger._connection import explained
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
        """Finish the writes that have begun; others are refused in words."""
        self._writer.close()

    def note_in(self, tails: Tails) -> None:
        """Say from now on which rows were committed."""
        self._tails = tails

    def run(self, work: Callable[[Commit], T], *, only_inserts: bool = False) -> T:
        """Run a closure in the writer thread as one transaction; it is repeated whole on a conflict.

        With `only_inserts` it waits for no checkpoint, as long as what it does is nothing but inserting.
        """
        if only_inserts:
            with suppress(_turns.NeedsTurnError):
                return self._writer.run(lambda: self._attempts(work, only_inserts=True))
        # Who would wait for a checkpoint waits here, and not in the thread that all writes share.
        with self._access.changing:
            return self._writer.run(lambda: self._attempts(work, only_inserts=False))

    def _attempts(self, work: Callable[[Commit], T], *, only_inserts: bool) -> T:
        for pause in (*_PAUSES_SECONDS, None):
            try:
                return self._attempt(work, only_inserts=only_inserts)
            except duckdb.Error as error:
                is_conflict = isinstance(error, duckdb.TransactionException) and "onflict" in str(error)
                if not is_conflict or pause is None:
                    self._access.recover(error)
                    raise explained(self._access.url, error) from error
                time.sleep(pause)
        raise AssertionError  # the last attempt returned or raised

    def _attempt(self, work: Callable[[Commit], T], *, only_inserts: bool) -> T:
        with self._access.writing, self._access.cursor() as cursor:
            cursor.execute("BEGIN TRANSACTION")
            turn = (_turns.following if only_inserts else _turns.take)(cursor, self._access.prefix)
            self._latest.begin(turn)
            commit = Commit(cursor, self._access.prefix, self._now(), self._latest, turn, only_inserts)
            result = work(commit)
            turn = commit.finish()
            cursor.execute("COMMIT")
            self._latest.commit(turn, commit.added, commit.rewritten, commit.recorded)
            if self._tails is not None:
                self._tails.note(commit.inserted)
            return result
