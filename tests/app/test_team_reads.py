"""Every read and every act under a team's scope: nothing of another team, whatever is asked."""

import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from app import data
from app.context import Context
from app.data import Scope
from ledger.errors import InputError
from ledger.tables import TABLES, AnomalyDay, ForecastCheck, SpendDay
from ledger.tables.partition import WHOLE, floor
from queries import sql
from tests.app.conftest import used
from tests.demo import DEMO_NOW, settings_of

MONTH = (DEMO_NOW - timedelta(days=31), DEMO_NOW + timedelta(days=1))
TEXTS = {name: sql.load(name).text for name in sql.names()}
ABOUT_A_TEAM = sorted(name for name, text in TEXTS.items() if "$team" in text)
ABOUT_A_JOB = sorted(name for name in ABOUT_A_TEAM if "$job_id" in TEXTS[name])
CHOICES: dict[str, tuple[str, ...]] = {
    "by": ("team", "model", "provider", "resource", "service", "bucket"),
    "measure": ("billed", "effective"),
    "estate": ("all", "scope"),
    "bucket": ("hour", "day"),
}
ONE_INVOICE: dict[str, Any] = {
    **dict.fromkeys(("account", "category", "invoice", "issuer", "name", "new", "old", "resource", "service"), ""),
    **dict.fromkeys(("holder", "import", "job", "node"), ""),
    **dict.fromkeys(("allowed", "difference", "rounding"), Decimal(1)),
    "currency": "USD",
    "sources": [],
    "submitted": DEMO_NOW,
}
"""What pages give that open one invoice, one difference or one snapshot."""


@pytest.fixture(scope="module")
def planted(demo_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Context]:
    """Return the simulated cluster, with what it has not itself.

    Of two teams it gets an unusual day, what they own, and how far forecasts were from what they cost.
    """
    path = tmp_path_factory.mktemp("planted") / "demo.duckdb"
    shutil.copyfile(demo_file, path)
    context = Context(settings_of(path), now=lambda: DEMO_NOW)
    known = context.store.read(AnomalyDay)
    day = known.filter(pl.col("day") == known["day"][-1])
    ours = [
        day.head(1).with_columns(scope=pl.lit(f"team:{team}"), team=pl.lit(team), cause_team=pl.lit(team))
        for team in ("language", "vision")
    ]
    context.store.replace(AnomalyDay, pl.concat([day, *ours]), partitions=[f"{day['day'][0]}"])
    start = floor(DEMO_NOW, "day") - timedelta(days=8)
    spent = context.store.read(SpendDay, (start, start + timedelta(days=1)))
    nobodys = spent.filter(pl.col("model") == "", pl.col("cluster") != "", pl.col("in_scope")).head(1)
    owned = [nobodys.with_columns(team=pl.lit(team), bucket=pl.lit("shared")) for team in ("language", "vision")]
    context.store.replace(SpendDay, pl.concat([spent, *owned]), partitions=[f"{start.date()}"])
    checks = context.store.read(ForecastCheck)
    theirs = [checks.head(1).with_columns(scope=pl.lit(f"team:{team}")) for team in ("language", "vision")]
    context.store.replace(ForecastCheck, pl.concat([checks, *theirs]), partitions=[WHOLE])
    yield context
    context.close()


@pytest.fixture
def at(planted: Context) -> Iterator[Context]:
    with used(planted) as found:
        yield found


@pytest.fixture(scope="module")
def teams(planted: Context) -> list[str]:
    found = planted.store.select("SELECT DISTINCT team FROM job_usage WHERE team <> '' ORDER BY team")["team"]
    assert len(found) > 2
    return found.to_list()


@pytest.fixture(scope="module")
def whose(planted: Context) -> dict[str, set[str]]:
    """Return, for each name of a user, a model or a job, the teams that have it."""
    found: dict[str, set[str]] = {}
    query = 'SELECT DISTINCT team, "user", model, job_id FROM job_usage'
    for team, *names in planted.store.select(query).iter_rows():
        for name in names:
            if name:
                found.setdefault(name, set()).add(team)
    return found


def strange(frame: pl.DataFrame, team: str, whose: dict[str, set[str]]) -> set[str]:
    """Return what of a frame belongs to other teams alone: their names, and those of their people, models and jobs."""
    found: set[str] = set()
    for name in ("team", "user", "model", "job_id"):
        if name in frame.columns:
            values = set(frame[name].cast(pl.String).drop_nulls().to_list())
            owners = {value: {value} - {""} if name == "team" else whose.get(value, set()) for value in values}
            found |= {value for value, owned_by in owners.items() if owned_by and team not in owned_by}
    return found


def variants(text: str, at: Context, run: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the parameters of a question: those that a page gives, each choice once."""
    asked = set(re.findall(r"\$([a-z_]+)", text))
    fixed = {**ONE_INVOICE, "start": MONTH[0], "end": MONTH[1], "now": DEMO_NOW, "cluster": "", "team": "", **run}
    base = {name: fixed[name] for name in asked if name in fixed}
    chosen = {name: CHOICES[name] for name in asked if name in CHOICES}
    assert asked == set(base) | set(chosen), "a new parameter: say what pages give for it"
    first = {name: options[0] for name, options in chosen.items()}
    yield {**base, **first}
    for name, options in chosen.items():
        yield from ({**base, **first, name: option} for option in options[1:])


def a_run(at: Context, *, of_team: str) -> dict[str, Any]:
    query = (
        "SELECT job_id, submitted_at, restart_count, cluster FROM job_usage "
        "WHERE team = $team AND gpu_allocated_seconds > 0 ORDER BY started_at DESC LIMIT 1"
    )
    return dict(at.store.select(query, team=of_team).row(0, named=True))


@pytest.mark.parametrize("question", ABOUT_A_TEAM)
def test_an_answer_tells_a_team_of_itself_only(
    question: str, at: Context, teams: list[str], whose: dict[str, set[str]]
) -> None:
    rows = 0
    for team in teams:
        for params in variants(TEXTS[question], at, a_run(at, of_team=team)):
            for claimed in ("", *teams):
                given = {**params, "team": claimed}
                frame = data.answer(question, scope=Scope("team", team), **given)
                assert strange(frame, team, whose) == set(), (question, params)
                rows += frame.height
    everything = sum(
        data.answer(question, scope=Scope(), **params).height
        for team in teams
        for params in variants(TEXTS[question], at, a_run(at, of_team=team))
    )
    assert rows > 0 or everything == 0, "or it proves nothing"


@pytest.mark.parametrize("question", ABOUT_A_JOB)
def test_an_answer_about_another_teams_job_is_empty(question: str, at: Context, teams: list[str]) -> None:
    for other in teams[1:]:
        for params in variants(TEXTS[question], at, a_run(at, of_team=other)):
            assert data.answer(question, scope=Scope("team", teams[0]), **params).is_empty()


@pytest.mark.parametrize("question", sorted(set(TEXTS) - set(ABOUT_A_TEAM)))
def test_a_question_about_everybody_is_refused(question: str, at: Context) -> None:
    ((params),) = list(variants(TEXTS[question], at, {}))[:1]
    if question == "freshness":
        assert data.answer(question, scope=Scope("team", "vision"), **params).height == 1
        return
    with pytest.raises(InputError, match=f"{question}: it tells of all teams"):
        data.answer(question, scope=Scope("team", "vision"), **params)


@pytest.mark.parametrize("name", sorted(TABLES))
def test_rows_of_a_table_are_the_teams_own(
    name: str, at: Context, teams: list[str], whose: dict[str, set[str]]
) -> None:
    schema = TABLES[name].schema
    for team in teams:
        scope = Scope("team", team)
        frame = data.rows(schema, scope=scope)
        assert strange(frame, team, whose) == set()
        if "team" in frame.columns and name not in data.OPEN_TO_TEAMS:
            assert set(frame["team"]) <= {team}
            for other in set(teams) - {team}:
                assert data.rows(schema, scope=scope, where={"team": [other]}).is_empty()
                assert set(data.rows(schema, scope=scope, where={"team": [other, team]})["team"]) <= {team}
        elif name not in data.OPEN_TO_TEAMS:
            assert frame.is_empty()


def test_a_team_without_a_name_is_not_all_teams(at: Context) -> None:
    nobody = Scope("team", "")
    with pytest.raises(InputError, match="viewer: found no team"):
        data.answer("cost_days", scope=nobody, **next(variants(TEXTS["cost_days"], at, {})))
    with pytest.raises(InputError, match="viewer: found no team"):
        data.rows(TABLES["job_usage"].schema, scope=nobody)


def test_what_is_kept_for_one_viewer_is_not_shown_to_another(at: Context, teams: list[str]) -> None:
    schema = TABLES["job_usage"].schema
    everything = data.rows(schema, scope=Scope()).height
    own = [data.rows(schema, scope=Scope("team", team)).height for team in teams]
    assert data.rows(schema, scope=Scope()).height == everything
    assert [data.rows(schema, scope=Scope("team", team)).height for team in teams] == own
    assert sum(own) <= everything


def test_a_team_decides_about_its_own_findings_and_does_nothing_else(demo_copy: Context) -> None:
    found = demo_copy.store.select("SELECT finding_id, team FROM finding WHERE team <> '' ORDER BY finding_id")
    (own, team), *rest = found.iter_rows()
    foreign = next(each for each, other in rest if other != team)

    def told(scope: Scope) -> Context:
        return replace(demo_copy, viewer=lambda: scope, person=lambda: "bob@example.org", _store=demo_copy.store)

    with used(told(Scope("team", team))):
        (decided,) = data.act("findings", decide=own, decision="dismissed", reason="we know")
        assert (decided["status"], decided["decided_by"]) == ("dismissed", "bob@example.org")
        for name, params in {
            "findings": {"decide": foreign, "decision": "dismissed"},
            "incidents": {"gpu_uuid": "x"},
            "sql": {"query": "SELECT 1"},
            "tokens": {"action": "create", "node": "n"},
        }.items():
            with pytest.raises(InputError, match=f"{name}: role team may not do that"):
                data.act(name, **params)
        with pytest.raises(InputError, match="findings: role team may not do that"):
            data.act("findings")
    other = next(each for finding, each in rest if finding == foreign)
    with used(told(Scope("team", team, (team, other)))):
        # Whichever of their teams they look at: both are theirs.
        assert data.act("findings", decide=foreign, decision="dismissed")[0]["status"] == "dismissed"
        with pytest.raises(InputError, match="findings: role team may not do that"):
            data.act("findings", decide="none of them", decision="dismissed")
    for role in ("manager", "sre"):
        with used(told(Scope(role))):
            assert data.act("findings", decide=foreign, decision="dismissed")[0]["status"] == "dismissed"
            with pytest.raises(InputError, match=f"sql: role {role} may not do that"):
                data.act("sql", query="SELECT 1")
    with used(told(Scope("admin"))):
        assert data.act("sql", query="SELECT 1 AS one")
    log = demo_copy.store.select("SELECT actor FROM audit WHERE action = 'finding dismissed'")["actor"]
    assert set(log) == {"bob@example.org"}
