"""A viewer of one team sees that team's rows, whatever is asked."""

from dataclasses import replace

import pytest
from streamlit.testing.v1 import AppTest

from app import format as written
from app.context import Context
from app.data import Scope
from app.page import pages
from tests.app.conftest import used
from tests.app.opening import DAYS, WINDOW, metrics, money_of, opened, said

VISION = Scope(role="team", team="vision")


@pytest.fixture
def vision(demo_context: Context) -> Context:
    """Return the simulated cluster as a member of one team sees it."""
    store = demo_context.store
    return replace(demo_context, viewer=lambda: VISION, _store=store)


def foreign(context: Context) -> set[str]:
    """Return names of users, models and jobs that belong to other teams alone."""
    mine: set[str] = set()
    others: set[str] = set()
    for team, *names in context.store.select('SELECT team, "user", model, job_id FROM job_usage').iter_rows():
        (mine if team == "vision" else others).update(name for name in names if name and not name.isdigit())
    return others - mine


@pytest.mark.parametrize("name", [each.name for each in pages("team")])
@pytest.mark.parametrize("asked", ["", "language"])
def test_a_team_sees_no_other_teams_rows(name: str, asked: str, vision: Context) -> None:
    hidden = foreign(vision)
    assert len(hidden) > 8
    with used(vision):
        test = opened(name, team=asked)
    text = said(test)
    assert [each for each in sorted(hidden) if f"{each}," in text or f'"{each}"' in text or f" {each} " in text] == []
    for each in test.dataframe:
        if "team" in each.value.columns:
            assert set(each.value["team"].dropna()) <= {"vision", ""}


def test_pages_about_everybody_are_not_offered_to_a_team() -> None:
    everybody, team = ({each.name for each in pages(role)} for role in ("admin", "team"))
    assert {"data_health", "network_storage", "imports", "invoices"} <= everybody - team


@pytest.mark.parametrize(("asked", "seen"), [("", "vision"), ("language", "language"), ("research", "vision")])
def test_who_is_in_two_teams_sees_the_one_they_choose(asked: str, seen: str, vision: Context) -> None:
    both = replace(vision, viewer=lambda: Scope("team", "vision", ("vision", "language")), _store=vision.store)
    with used(both):
        test = opened("jobs", team=asked)
        choices = AppTest.from_string("from app import controls\ncontrols.draw()").run()
    tables = [each.value for each in test.dataframe if "team" in each.value.columns]
    assert tables
    for each in tables:
        assert set(each["team"].dropna()) <= {seen, ""}
    assert seen in set().union(*(set(each["team"]) for each in tables))
    assert [each.options for each in choices.sidebar.selectbox if each.label == "Team"] == [["vision", "language"]]


def test_who_is_in_one_team_has_nothing_to_choose(vision: Context) -> None:
    with used(vision):
        choices = AppTest.from_string("from app import controls\ncontrols.draw()").run()
    labels = [each.label for each in choices.sidebar.selectbox]
    assert "Window" in labels
    assert "Team" not in labels


def test_another_teams_job_is_not_opened_for_a_team(vision: Context) -> None:
    query = "SELECT job_id FROM job_usage WHERE team = 'language' AND started_at >= $start LIMIT 1"
    job = vision.store.select(query, start=WINDOW.start)["job_id"][0]
    with used(vision):
        test = opened("jobs", query={"job": job})
    assert not [each for each in test.subheader if job in each.value]


def test_a_teams_models_cost_what_its_own_jobs_held(vision: Context) -> None:
    query = (
        "SELECT billing_currency, sum(effective_cost) FROM allocation_hour WHERE team = 'vision' "
        "AND bucket = 'allocated' AND model <> 'unattributed' "
        "AND hour_start >= $start AND hour_start < $end GROUP BY ALL"
    )
    (currency, amount), *_ = money_of(vision, query, **DAYS).items()
    with used(vision):
        shown = metrics(opened("models"))
    assert shown["Allocated to models"][0] == written.money(amount, currency, compact=True)
