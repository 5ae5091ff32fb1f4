"""ISO weeks in the report's own time zone, as stretches of UTC."""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from app.data import Window
from ledger.errors import ConfigError, InputError

_PATTERN = re.compile(r"(\d{4})-W(\d{2})")


@dataclass(frozen=True)
class Week:
    """One ISO week in one time zone."""

    monday: date
    zone: ZoneInfo

    @property
    def name(self) -> str:
        """Its ISO name: `2026-W47`."""
        year, number, _ = self.monday.isocalendar()
        return f"{year}-W{number:02}"

    @property
    def window(self) -> Window:
        """From Monday's midnight to the next one, in UTC; 167 or 169 hours where clocks change."""
        return Window(self._midnight(self.monday), self._midnight(self.monday + timedelta(days=7)))

    @property
    def before(self) -> "Week":
        """The week before."""
        return Week(self.monday - timedelta(days=7), self.zone)

    @property
    def title(self) -> str:
        """Its days in words: `16 - 22 November 2026`."""
        sunday = self.monday + timedelta(days=6)
        start = f"{self.monday:%-d}" if self.monday.month == sunday.month else f"{self.monday:%-d %B}"
        return f"{start} to {sunday:%-d %B %Y}"

    def _midnight(self, day: date) -> datetime:
        return datetime.combine(day, time(), self.zone).astimezone(UTC)


def zone_of(name: str) -> ZoneInfo:
    """Return a time zone by name.

    Raises: ConfigError: there is none of that name.
    """
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        raise ConfigError(
            f"report.time_zone: found {name!r}, expected a name such as Europe/Berlin", hint="UTC always works"
        ) from None


def named(name: str, zone: ZoneInfo) -> Week:
    """Return a week by its ISO name.

    Raises: InputError: the name is none.
    """
    match = _PATTERN.fullmatch(name)
    try:
        if match:
            return Week(date.fromisocalendar(int(match[1]), int(match[2]), 1), zone)
    except ValueError:
        pass
    raise InputError(f"--week: found {name!r}, expected an ISO week", hint="for example 2026-W47")


def last_complete(now: datetime, zone: ZoneInfo) -> Week:
    """Return the last week that is over."""
    today = now.astimezone(zone).date()
    return Week(today - timedelta(days=today.weekday() + 7), zone)
