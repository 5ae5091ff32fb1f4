"""The weekly report: its numbers, its words, its files."""

import re
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from email import message_from_bytes, policy
from functools import partial
from pathlib import Path

import polars as pl
import pytest

from app import data, sums
from app import format as written
from app.context import Context
from app.data import Scope
from app.headline import headline
from app.reports import pictures, render, week
from app.reports.lines import changes
from ledger.money import parse
from ledger.names import IDLE_STATES
from queries import measure
from queries.measures import spending
from tests.app.conftest import Command
from tests.app.weekly_mail import WEEK, reported, weekly_of
from tests.demo import DEMO_NOW, settings_of

UTC_ZONE = week.zone_of("UTC")


@pytest.mark.parametrize("team", ["", "vision"])
def test_the_mail_says_what_the_first_page_says(team: str, demo_context: Context) -> None:
    found = headline(partial(data.answered, demo_context, scope=Scope()), WEEK.window, team=team)
    assert found.spent
    assert found.idle_cost
    weekly = weekly_of(demo_context, team=team)
    for text in (render.text(weekly), render.html(weekly, {"states": "cid:a", "spend": "cid:b"})):
        for totals in (found.spent, found.idle_cost):
            for currency, amount in totals.items():
                assert written.money(amount, currency, compact=True) in text
        assert written.percent(found.idle_ratio) in text
        for state in IDLE_STATES:
            if found.state_hours.get(state):
                assert written.gpu_hours(found.state_hours[state]) in text


def test_a_months_expectation_and_its_actions_come_from_the_store(demo_context: Context) -> None:
    weekly = weekly_of(demo_context)
    best = demo_context.store.select("SELECT * FROM finding WHERE status = 'open' ORDER BY saving_effective_month DESC")
    first = best.row(0, named=True)
    text = render.text(weekly)
    assert weekly.actions[0].finding_id == first["finding_id"]
    assert first["title"] in text
    assert written.money(first["saving_effective_month"], first["billing_currency"], compact=True) in text
    assert all(line.strip() in text for line in first["directive"].splitlines())
    free = measure.amounts(best.head(3), spending.SAVING_EFFECTIVE)
    assert sums.shown(free) in weekly.lead
    assert weekly.month_end in text


def test_what_one_currency_leaves_out_is_said_beside_it(demo_context: Context) -> None:
    """The picture of days has one axis and the list of models one currency: the other is not nothing."""
    weekly = weekly_of(demo_context)
    (first, _), (other, amount) = weekly.now.spent.items()
    assert weekly.spend_beside == (
        f"In {first}. Beside it {written.money(amount, other, compact=True)}: currencies are never added."
    )
    models = weekly.now.models
    (main,) = measure.by_currency(models, "effective_cost")
    pounds = models.head(1).with_columns(
        billing_currency=pl.lit("GBP"), effective_cost=pl.lit(Decimal(7), pl.Decimal(38, 18))
    )
    assert weekly.models_beside == "", "these all cost the same money"
    both = replace(weekly, now=replace(weekly.now, models=pl.concat([models, pounds])))
    assert both.models_beside == f"In {main}. Beside it £7.00: currencies are never added."
    for text in (render.text(both), render.html(both, {"states": "cid:a", "spend": "cid:b"})):
        assert both.models_beside in text
        assert "Told by whole days in UTC." not in text
    assert both.spend_beside in render.html(both, {"spend": "cid:b"})


def test_a_week_of_another_time_zone_says_that_models_are_told_by_days_of_utc(demo_context: Context) -> None:
    weekly = weekly_of(demo_context, of=week.last_complete(DEMO_NOW, week.zone_of("Europe/Berlin")))
    assert weekly.models
    for text in (render.text(weekly), render.html(weekly, {})):
        assert "Told by whole days in UTC." in text


def test_a_team_is_told_of_itself_only(demo_context: Context) -> None:
    text = render.text(weekly_of(demo_context, team="vision"))
    others = demo_context.store.select("SELECT DISTINCT model FROM job_usage WHERE team <> 'vision' AND model <> ''")
    mine = demo_context.store.select("SELECT DISTINCT model FROM job_usage WHERE team = 'vision'")["model"].to_list()
    hidden = [model for model in others["model"] if model not in mine]
    assert len(hidden) > 3
    assert not [model for model in hidden if model in text]


def test_names_are_escaped_in_html(demo_context: Context) -> None:
    weekly = weekly_of(demo_context, team="<b>")
    html = render.html(weekly, {"states": "cid:a"})
    assert "team &lt;b&gt;" in html
    assert "team <b>" not in html
    assert "TEAM <b>" in render.text(weekly)


def test_a_week_without_anything_says_so(empty_context: Context) -> None:
    weekly = weekly_of(empty_context)
    assert weekly.subject.endswith("nothing in the ledger")
    assert "nothing for this week" in render.text(weekly)
    assert "nothing for this week" in render.html(weekly, pictures.drawn(weekly))  # type: ignore[arg-type]  none are drawn
    assert pictures.drawn(weekly) == {}


def test_the_ledgers_first_weeks_are_compared_with_nothing(demo_context: Context) -> None:
    assert weekly_of(demo_context).has_whole_week_before
    assert weekly_of(demo_context).spent_change
    first = weekly_of(demo_context, of=WEEK.before)
    assert not first.has_whole_week_before
    assert first.spent_change == ""
    assert {part.change for part in first.parts} == {"–"}


@pytest.mark.parametrize(
    ("now", "before", "expected"),
    [
        ("112", "100", "+12 %"),
        ("88", "100", "-12 %"),
        ("100", "100", "+0 %"),
        ("2500", "100", "×25"),
        ("200000", "1", "more than ×100"),
        ("5", "0", "new"),
        ("5", None, "new"),
        (None, "5", "–"),
        ("-50", "-100", "+50 %"),
    ],
)
def test_a_change_is_written_for_people(now: str | None, before: str | None, expected: str) -> None:
    amounts = [None if each is None else parse(each).amount for each in (now, before)]
    assert sums.change(*amounts) == expected


def test_changes_of_currencies_stand_beside_each_other() -> None:
    now = {"USD": parse("110").amount, "EUR": parse("50").amount}
    assert changes(now, {"USD": parse("100").amount}) == "+10 % USD, new EUR"


def test_html_needs_nothing_from_elsewhere(demo_context: Context) -> None:
    html = render.html(weekly_of(demo_context), {"states": "cid:a", "spend": "cid:b"})
    assert set(re.findall(r'src="([^"]+)"', html)) == {"cid:a", "cid:b"}
    assert {link.split("/")[2] for link in re.findall(r'href="([^"]+)"', html)} == {"ledger.example.org"}
    assert "<script" not in html
    assert "@media" in html


def test_the_files_of_a_week_are_written(demo_context: Context, tmp_path: Path) -> None:
    found = reported(demo_context, out=str(tmp_path / "reports"))
    names = {Path(each).name for each in found["files"]}
    assert names == {f"weekly-{WEEK.name}{suffix}" for suffix in (".eml", ".html", ".txt")}
    assert found["sent"] == []
    html = (tmp_path / "reports" / f"weekly-{WEEK.name}.html").read_text(encoding="utf-8")
    assert html.count("data:image/png;base64,") == 2
    mail = message_from_bytes((tmp_path / "reports" / f"weekly-{WEEK.name}.eml").read_bytes(), policy=policy.default)
    assert found["reports"][0]["subject"] == mail["Subject"]


def test_the_command_writes_the_last_whole_week(command: Command, home: Path) -> None:
    before = week.last_complete(datetime.now(UTC), week.zone_of("UTC")).name
    ended = command("report", "weekly", "--out", "reports")
    assert ended.code == 0
    after = week.last_complete(datetime.now(UTC), week.zone_of("UTC")).name
    written_files = {path.name for path in (home / "reports").iterdir()}
    assert written_files in [
        {f"weekly-{each}{suffix}" for suffix in (".eml", ".html", ".txt")} for each in (before, after)
    ]
    assert {Path(line).name for line in ended.out.splitlines()} == written_files


def test_a_report_by_other_rules_names_them_and_keeps_the_total(demo_context: Context, tmp_path: Path) -> None:
    texts = {}
    for name, asked in (("stored", {}), ("tried", {"split_rule": "70_30", "shared_cost": "proportional"})):
        reported(demo_context, week="2026-W46", out=tmp_path / name, **asked)
        texts[name] = (tmp_path / name / "weekly-2026-W46.txt").read_text(encoding="utf-8")
    assert "Cost is divided by the split rule whole_node_to_gpu, shared cost by the rule 'apart'." in texts["stored"]
    assert "Cost is divided by the split rule 70_30, shared cost by the rule 'proportional'." in texts["tried"]
    spend, idle = ({name: line(text, word) for name, text in texts.items()} for word in ("Spend", "Idle "))
    assert spend["stored"] == spend["tried"]
    assert idle["stored"] != idle["tried"]
    html = (tmp_path / "tried" / "weekly-2026-W46.html").read_text(encoding="utf-8")
    assert "the ledger's are whole_node_to_gpu" in html.replace("&#39;", "'")


def line(text: str, word: str) -> str:
    return next(each for each in text.splitlines() if each.startswith(word))


def test_the_mail_says_money_in_the_display_currency_beside_what_was_billed(
    demo_context: Context, tmp_path: Path
) -> None:
    rate = {"day": "2026-11-05", "from_currency": "USD", "to_currency": "CHF", "unit_price": "0.5"}
    money = {"display_currency": "CHF", "exchange_rates": [rate]}
    path = Path(demo_context.settings.store.url.removeprefix("duckdb:"))
    converted = replace(demo_context, settings=settings_of(path, money=money), _store=demo_context.store)
    texts = []
    for each, name in ((demo_context, "billed"), (converted, "converted")):
        reported(each, week="2026-W46", out=tmp_path / name)
        texts.append((tmp_path / name / "weekly-2026-W46.txt").read_text(encoding="utf-8"))
    shown = line(texts[1], "Spend")
    plain = headline(partial(data.answered, demo_context, scope=Scope()), week.named("2026-W46", UTC_ZONE).window).spent
    half = written.money(plain["USD"] / 2, "CHF", compact=True)
    assert f"\N{ALMOST EQUAL TO} {half}" in shown
    assert f"(billed {sums.shown(plain)})" in shown
    # A rate of euros is known of the day on which the evidence of findings ends, and of no other.
    assert "is converted from EUR, USD to CHF at rates of 2026-11-05." in texts[1]
    assert "Frees \N{ALMOST EQUAL TO} CHF" in texts[1]
    assert "\N{ALMOST EQUAL TO}" not in texts[0]
    html = (tmp_path / "converted" / "weekly-2026-W46.html").read_text(encoding="utf-8")
    assert "billed " in html
    assert "rates of 2026-11-05" in html


def test_a_currency_without_a_rate_is_told_as_billed(demo_context: Context, tmp_path: Path) -> None:
    path = Path(demo_context.settings.store.url.removeprefix("duckdb:"))
    lacking = settings_of(path, money={"display_currency": "CHF"})
    reported(replace(demo_context, settings=lacking, _store=demo_context.store), week="2026-W46", out=tmp_path)
    text = (tmp_path / "weekly-2026-W46.txt").read_text(encoding="utf-8")
    assert "No rate to CHF is known for all days in EUR, USD: shown as billed." in text
    assert "\N{ALMOST EQUAL TO}" not in text
