"""How long a node waits before it tries again, and who says so: the hub, or the failures so far."""

import random
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

_FIRST_SECONDS: Final = 1.0
_LONGEST_SECONDS: Final = 60.0
_LONGEST_REFUSED_SECONDS: Final = 300.0

# A hub may ask for peace, but not for ever: what it says may be wrong, or somebody else's who stands before it.
_LONGEST_ASKED_SECONDS: Final = 900.0

_LONGEST_TOLD_SECONDS: Final = 86_400.0
"""Nobody waits as long; what an answer tells beyond may be more than a clock can hold."""

# Half a minute of pauses: a hub that starts again is back by then.
_MANY_STUMBLES: Final = 5


class Patience:
    """Pauses that grow with each failure, and end with the first success."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._base = 0.0

    def longer(self, *, is_refused: bool = False, asked: float = 0.0) -> None:
        """Wait longer than the last time, at least as long as asked for, and not in step with other nodes.

        A refusal is somebody's to correct, which takes minutes; a hub that is away may be back at once.
        """
        longest = _LONGEST_REFUSED_SECONDS if is_refused else _LONGEST_SECONDS
        self._base = min(longest, max(_FIRST_SECONDS, self._base * 2))
        spread = random.uniform(0.75, 1.0)  # noqa: S311  spreads load, guards nothing
        least = min(asked, _LONGEST_ASKED_SECONDS)
        # Who is told an instant comes after it, and not all of them at that instant.
        self.seconds = max(self._base * spread, least * (2 - spread))

    def over(self) -> None:
        """Go on at the usual pace."""
        self.seconds = self._base = 0.0


def asked_seconds(retry_after: str, now: datetime) -> float:
    """Return how long an answer's `Retry-After` asks to wait: seconds or an instant; 0 where it says neither."""
    text = retry_after.strip()
    if text.isascii() and text.isdecimal():
        return min(float(text), _LONGEST_TOLD_SECONDS)
    try:
        instant = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return 0.0
    seconds = (instant.replace(tzinfo=instant.tzinfo or UTC) - now).total_seconds()
    return min(max(0.0, seconds), _LONGEST_TOLD_SECONDS)


class Stumbles:
    """How often in a row a hub has failed at a batch, each time alike; `parts_left` of it may still be tried."""

    def __init__(self) -> None:
        self.parts_left = 0
        self._seen: dict[str, tuple[str, int]] = {}

    def again(self, batch_id: str, how: str) -> None:
        """Count a failure."""
        before, count = self._seen.get(batch_id, (how, 0))
        self._seen[batch_id] = (how, count + 1 if before == how else 1)

    def over(self, batch_id: str) -> None:
        """Forget a batch that is dealt with."""
        self._seen.pop(batch_id, None)

    def are_many(self, batch_id: str) -> bool:
        """Tell whether it is time to ask whether the fault is the batch's own."""
        return self._seen.get(batch_id, ("", 0))[1] >= _MANY_STUMBLES
