"""Which of the driver's own samples are new: each bears a stamp of the host's clock, which may be set."""

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Any, Final

_MICROSECONDS: Final = 1_000_000

# The stamps and the clock here are read one after the other.
_AHEAD: Final = timedelta(seconds=1)


class HostClock:
    """The host's clock as the rounds see it. Once it was set back, what is stamped later than now is from before."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._last: datetime | None = None
        self.times_set_back = 0

    def begin(self) -> None:
        """Begin a round."""
        at = self._now()
        if self._last is not None and at < self._last:
            self.times_set_back += 1
        self._last = at

    def latest(self) -> float:
        """Return the latest stamp, in microseconds, that a sample of now can bear."""
        return (self._now() + _AHEAD).timestamp() * _MICROSECONDS if self.times_set_back else float("inf")


class SeenUntil:
    """Until when one list of samples was read, by their own stamps: the driver's clock and the host's drift apart."""

    def __init__(self, clock: HostClock) -> None:
        self._clock = clock
        self._set_back = clock.times_set_back
        self._stamp = 0

    @property
    def stamp(self) -> int:
        """The newest stamp that was read, from which on to ask; 0 at first, and after the clock was set back."""
        if self._set_back != self._clock.times_set_back:
            self._set_back, self._stamp = self._clock.times_set_back, 0
        return self._stamp

    def fresh(self, samples: Iterable[Any]) -> list[Any]:
        """Return the samples that are new, and remember them as read."""
        since, latest = self.stamp, self._clock.latest()
        found = [sample for sample in samples if since < sample.timeStamp <= latest]
        self._stamp = max([since, *(sample.timeStamp for sample in found)])
        return found
