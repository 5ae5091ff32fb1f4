"""What time it is, for whoever is not handed another clock."""

from datetime import UTC, datetime


def utc_now() -> datetime:
    """Return the wall clock in UTC."""
    return datetime.now(UTC)
