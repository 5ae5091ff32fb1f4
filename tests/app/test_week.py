"""Weeks in the report's own time zone."""

from datetime import UTC, datetime, timedelta

import pytest

from app.reports import week
from ledger.errors import ConfigError, InputError


def test_a_week_begins_at_midnight_of_its_zone() -> None:
    found = week.named("2026-W47", week.zone_of("Europe/Berlin"))
    assert found.window.start == datetime(2026, 11, 15, 23, tzinfo=UTC)
    assert found.title == "16 to 22 November 2026"
    assert found.before.name == "2026-W46"


def test_the_week_in_which_clocks_change_has_an_hour_more() -> None:
    window = week.named("2026-W43", week.zone_of("Europe/Berlin")).window
    assert window.end - window.start == timedelta(hours=169)


def test_the_last_complete_week_is_over() -> None:
    zone = week.zone_of("America/New_York")
    assert week.last_complete(datetime(2026, 11, 23, 4, 59, tzinfo=UTC), zone).name == "2026-W46"
    assert week.last_complete(datetime(2026, 11, 23, 5, 0, tzinfo=UTC), zone).name == "2026-W47"


def test_iso_years_differ_from_calendar_years() -> None:
    assert week.last_complete(datetime(2027, 1, 4, 12, tzinfo=UTC), week.zone_of("UTC")).name == "2026-W53"


@pytest.mark.parametrize("name", ["2026-W54", "2026W47", "last", "2026-W00"])
def test_a_week_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="expected an ISO week"):
        week.named(name, week.zone_of("UTC"))


def test_a_zone_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"report\.time_zone: found 'Berlin'"):
        week.zone_of("Berlin")
