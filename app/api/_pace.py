"""How often one caller may call: a budget that refills steadily, so that a short hurry is free and a flood is not."""

import math
import threading
import time
from collections.abc import Callable, Hashable
from typing import Final

_MOST_CALLERS: Final = 10_000
"""Callers that are remembered; only then those who have not called for a while are looked for and forgotten."""

_MINUTE_SECONDS: Final = 60.0


class Pace:
    """Calls of each caller in a minute: as many at once as a minute allows, and then one as each comes due.

    A call that is refused costs nothing.
    """

    def __init__(self, calls_per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._step = _MINUTE_SECONDS / calls_per_minute
        self._clock = clock
        self._lock = threading.Lock()
        # By caller, the instant at which the budget is whole again: it says all that there is to know.
        self._whole_at: dict[Hashable, float] = {}

    def wait(self, caller: Hashable) -> int:
        """Count a call and return 0, or return in how many whole seconds the caller may come again."""
        with self._lock:
            now = self._clock()
            whole_at = max(now, self._whole_at.get(caller, now)) + self._step
            late = whole_at - now - _MINUTE_SECONDS
            # A budget is a sum of steps: what binary fractions leave is no call too many.
            if late > self._step * 1e-6:
                return math.ceil(late)
            self._whole_at[caller] = whole_at
            if len(self._whole_at) > _MOST_CALLERS:
                self._whole_at = {each: at for each, at in self._whole_at.items() if at > now}
            return 0
