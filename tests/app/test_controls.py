"""The window that pages share: by name, or hours that a link names."""

from datetime import UTC, datetime

import pytest
from streamlit.testing.v1 import AppTest

from app import controls
from app.context import Context
from app.data import Window
from tests.app.conftest import used
from tests.demo import DEMO_NOW

SCRIPT = (
    "import streamlit as st\nfrom app import controls\ncontrols.draw(st.session_state.get('page', ''))\n"
    "st.write(controls.token(controls.window()))\n"
)
HOURS = Window(datetime(2026, 11, 3, 22, tzinfo=UTC), datetime(2026, 11, 4, 1, tzinfo=UTC))


def opened(context: Context, window: str) -> AppTest:
    test = AppTest.from_string(SCRIPT, default_timeout=60)
    test.query_params["window"] = window
    with used(context):
        test.run()
    assert not test.exception
    return test


def test_a_link_names_its_own_hours_which_stay_a_choice(demo_context: Context) -> None:
    named = controls.token(HOURS)
    assert named == "2026-11-03T22--2026-11-04T01"
    test = opened(demo_context, named)
    assert test.markdown[-1].value == named
    choice = next(each for each in test.selectbox if each.label == "Window")
    assert choice.value == named
    assert choice.options == [*controls.WINDOWS, named]


def test_the_hours_of_a_link_from_another_page_go_before_those_that_were_chosen(demo_context: Context) -> None:
    named = controls.token(HOURS)
    test = opened(demo_context, "30d")
    for page, shown in (("", controls.token(controls.window_of("30d", DEMO_NOW))), ("gpus", named)):
        test.query_params["window"] = named
        test.session_state["page"] = page
        with used(demo_context):
            test.run()
        assert not test.exception
        assert test.markdown[-1].value == shown, "on one page a choice goes before the address of an earlier one"
    assert next(each for each in test.selectbox if each.label == "Window").value == named


@pytest.mark.parametrize(
    "name", ["2026-11-04T01--2026-11-03T22", "2026-11-03T22--2026-11-03T22", "2026-13-03T22--2026-13-04T22", "12d", "x"]
)
def test_what_names_no_time_is_the_usual_window(demo_context: Context, name: str) -> None:
    usual = controls.window_of(controls.DEFAULT_WINDOW, DEMO_NOW)
    assert opened(demo_context, name).markdown[-1].value == controls.token(usual)


def test_a_year_is_365_days() -> None:
    year = controls.window_of("365d", DEMO_NOW)
    assert (year.end - year.start).days == 365
