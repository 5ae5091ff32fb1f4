"""What page runs and jobs have left in cycles is taken away, and whoever waits for an answer hardly waits for that.

A collection looks at each object that is alive, and nothing else of this process runs meanwhile: of a hub's caches it
takes a third of a second. What has stayed alive is therefore set aside, and looked at again from time to time.
"""

import gc
import time
from collections.abc import Callable
from typing import Final

_SPENT_SECONDS: Final = 1.0
"""Collections may take so long in all before what is alive is set aside anew, which takes about a third of it."""


class Garbage:
    """Collects what nobody can reach; what is set aside waits until collections have become slow again."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._spent = 0.0

    def collect(self) -> None:
        """Take away what became garbage since the last call, and after slow ones all that there is."""
        began = self._clock()
        gc.collect()
        self._spent += self._clock() - began
        if self._spent >= _SPENT_SECONDS:
            gc.unfreeze()
            gc.collect()
            gc.freeze()
            self._spent = 0.0
