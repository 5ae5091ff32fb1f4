"""At which instant a round counts: none is handed out twice, even where a clock that was set back shows it again."""

from datetime import datetime, timedelta
from typing import Final, Protocol

_TURNS: Final = 4
"""So many times may the same hour pass before two rounds in it can have one instant; each moves one by so few ms."""

_KEY: Final = "turn"


class _Memory(Protocol):
    def recall(self, key: str) -> str | None: ...

    def remember(self, key: str, value: str | None) -> None: ...


class Instants:
    """Instants in whole milliseconds, as they are sent: rows of one instant and device are one row in the ledger.

    Where a clock is set back, what it shows was shown before; and what an agent before this one was shown, nobody
    remembers. So each of these begins a turn, and a turn has every fourth millisecond for itself: an instant is the
    next one of its turn, at most three milliseconds late.
    """

    def __init__(self, memory: _Memory) -> None:
        self._memory = memory
        self._begun: int | None = None
        self._newest = 0
        self._of: dict[str, tuple[int, datetime]] = {}

    def of(self, collector: str, started_at: datetime) -> datetime:
        """Return the instant of a collector's round."""
        if self._begun is None:
            told = self._memory.recall(_KEY)
            self._begun = 0 if told is None else int(told) + 1
            self._tell(self._begun)
        turn, last = self._of.get(collector, (self._begun, None))
        if last is not None and whole_milliseconds(started_at) <= last:
            turn += 1
            if turn > self._newest:
                self._tell(turn)
        at = _next(started_at, turn)
        self._of[collector] = turn, at
        return at

    def _tell(self, turn: int) -> None:
        self._newest = turn
        self._memory.remember(_KEY, str(turn))


def _next(at: datetime, turn: int) -> datetime:
    """Return the first millisecond of a turn from an instant on."""
    whole = whole_milliseconds(at)
    return whole + timedelta(milliseconds=(turn - whole.microsecond // 1000) % _TURNS)


def whole_milliseconds(at: datetime) -> datetime:
    """Return an instant in whole milliseconds, as it is sent."""
    return at - timedelta(microseconds=at.microsecond % 1000)
