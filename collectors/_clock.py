"""What time it is, for whoever is not handed another clock."""

import time
from datetime import UTC, datetime


def utc_now() -> datetime:
    """Return the wall clock in UTC."""
    return datetime.now(UTC)


def since_boot() -> float:
    """Return seconds since the machine started; those in which it was suspended count, which `monotonic` leaves out."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()
