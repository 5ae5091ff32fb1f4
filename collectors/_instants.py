"""At which instant a round counts: none is handed out twice, even where a clock that was set back shows it again."""

import json
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

_KEY: Final = "instants"

_AHEAD_MS: Final = 30_000
"""So far ahead it is written down what is handed out: a write now and then, and what an agent that was killed would
have used next is held for used."""

_USUAL: Final = 3
"""Turns that have every fourth millisecond, and so move an instant by three at most."""

_TURNS: Final = _USUAL + 64
"""All further turns share what is left, and move an instant by a quarter of a second at most."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MS: Final = timedelta(milliseconds=1)


class _Memory(Protocol):
    def recall(self, key: str) -> str | None: ...

    def remember(self, key: str, value: str | None) -> None: ...


class Instants:
    """Instants in whole milliseconds, as they are sent: rows of one instant and device are one row in the ledger.

    Each collector goes through time in a turn, and a turn has some of the milliseconds for itself: an instant is the
    next one of the turn's own. Where a clock is set back, or an agent begins anew, the collector takes the first turn
    that has not come so far yet: how far each turn went is all that is remembered. So the same hour may pass
    sixty-seven times before two rounds of a collector in it can have one instant.
    """

    def __init__(self, memory: _Memory) -> None:
        self._memory = memory
        # By collector and turn the last millisecond that is taken, at least; and in which turn the collector is.
        self._ends: dict[str, list[int]] | None = None
        self._turns: dict[str, int] = {}
        self._kept_until = 0

    def of(self, collector: str, started_at: datetime) -> datetime:
        """Return the instant of a collector's round."""
        if self._ends is None:
            self._ends = {str(name): list(ends) for name, ends in json.loads(self._memory.recall(_KEY) or "{}").items()}
        ends = self._ends.setdefault(collector, [])
        now = (started_at - _EPOCH) // _MS
        turn = self._turns.get(collector)
        if turn is None or _next(now, turn) <= ends[turn]:
            self._turns[collector] = turn = _free(ends, now)
            self._kept_until = 0
        at = ends[turn] = _next(now, turn)
        if at > self._kept_until:
            self._keep(at + _AHEAD_MS)
        return _EPOCH + at * _MS

    def _keep(self, until: int) -> None:
        """Write down how far each turn went: those that go on, as far as they may go before this is written again."""
        kept = {name: list(ends) for name, ends in (self._ends or {}).items()}
        for name, turn in self._turns.items():
            kept[name][turn] = max(until, kept[name][turn])
        self._memory.remember(_KEY, json.dumps(kept))
        self._kept_until = until


def _free(ends: list[int], now: int) -> int:
    """Return the first turn that has not come so far; where all have, the one that stayed behind most begins anew."""
    free = next((turn for turn, end in enumerate(ends) if end < now), len(ends))
    if free == _TURNS:
        free = ends.index(min(ends))
        ends[free] = 0
    elif free == len(ends):
        ends.append(0)
    return free


def _next(at: int, turn: int) -> int:
    """Return the first millisecond of a turn from one on."""
    own, every = (turn, 4) if turn < _USUAL else (_USUAL + 4 * (turn - _USUAL), 256)
    return at + (own - at) % every


def whole_milliseconds(at: datetime) -> datetime:
    """Return an instant in whole milliseconds, as it is sent."""
    return at - timedelta(microseconds=at.microsecond % 1000)
