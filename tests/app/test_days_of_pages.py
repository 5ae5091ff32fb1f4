"""What is known by whole days is answered for whole days, and each page that shows it says so."""

import pytest

from app import controls
from app.context import Context
from queries import sql
from tests.app.conftest import used
from tests.app.opening import metrics, opened, said

HOURS = "2026-11-16T05--2026-11-17T07"
DAYS = "2026-11-16T00--2026-11-18T00"
SAID = "is known by whole days, UTC: 16 Nov 2026 00:00 to 18 Nov 2026 00:00. The window is 16 Nov 2026 05:00 to"
BY_DAYS = ("overview", "models", "commitments", "carbon", "network_storage", "data_health")
BY_HOURS = ("gpus", "jobs", "bottlenecks", "cost")


@pytest.mark.parametrize("page", BY_DAYS)
def test_a_page_that_shows_whole_days_says_which(demo_context: Context, page: str) -> None:
    with used(demo_context):
        assert SAID in said(opened(page, window=HOURS))
        assert "whole days, UTC" not in said(opened(page, window=DAYS)), "it is the window that was chosen"


@pytest.mark.parametrize("page", BY_HOURS)
def test_a_page_of_hours_has_nothing_to_say(demo_context: Context, page: str) -> None:
    with used(demo_context):
        assert "whole days, UTC" not in said(opened(page, window=HOURS))


def test_what_is_still_to_come_is_no_difference(demo_context: Context) -> None:
    """The month begins with a day and ends now: the rest of today is in neither."""
    with used(demo_context):
        assert "whole days, UTC" not in said(opened("carbon", window="month"))
        assert "16 Nov 2026 00:00 to now. The window is 16 Nov 2026 05:00 to now." in said(
            opened("carbon", window="2026-11-16T05--2026-11-18T16")
        )


@pytest.mark.parametrize("page", ["models", "commitments", "carbon"])
def test_numbers_of_days_are_those_of_the_days_that_are_named(demo_context: Context, page: str) -> None:
    with used(demo_context):
        hours, days = (metrics(opened(page, window=each)) for each in (HOURS, DAYS))
    assert hours == days


@pytest.mark.parametrize("name", [each for each in sql.names() if sql.load(each).time])
def test_a_question_of_days_is_asked_about_days(name: str, demo_context: Context) -> None:
    """Which of them a question is stands in its header; nobody who asks has to know."""
    given = controls.Window(*(controls.window_of("24h", demo_context.now())))
    with used(demo_context):
        asked = controls.covered(name, given)
    whole = {asked.start.hour, asked.end.hour} == {0}
    assert whole is sql.load(name).is_by_days
    assert asked.start <= given.start < given.end <= asked.end
