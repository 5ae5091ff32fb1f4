"""Statements: sums that are those of the ledger, one team's rows, files that say the same, and a PDF that opens."""

import re
import zlib
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from app.context import Context
from app.data import Scope
from app.services import named
from app.services.statement import of
from ledger import money
from ledger.errors import InputError
from queries import other_rules
from tests.app.conftest import Command, used
from tests.app.opening import opened, said
from tests.demo import settings_of

MONTH = "2026-11"


def written(context: Context, **params: Any) -> Any:
    service = named("statement")
    return service.run(context, service.asked({"team": "vision", "month": MONTH, **params}))


def test_a_statement_is_what_the_allocations_of_the_team_sum_to(demo_context: Context, tmp_path: Path) -> None:
    found = written(demo_context, out=tmp_path / "s.parquet")
    query = (
        "SELECT billing_currency, sum(effective_cost), sum(billed_cost) FROM allocation_hour WHERE team = 'vision' "
        "AND in_scope AND hour_start >= '2026-11-01' AND hour_start < '2026-12-01' GROUP BY ALL"
    )
    rows = demo_context.store.select(query).rows()
    assert rows
    for currency, effective, billed in rows:
        assert found["effective_cost"][currency] == effective
        assert found["billed_cost"][currency] == billed
    frame = pl.read_parquet(tmp_path / "s.parquet")
    charges, models, users, runs = (
        money.summed(frame.filter(pl.col("section") == name), by=["billing_currency"], columns=["effective_cost"])
        for name in ("charges", "models", "users", "runs")
    )
    held = frame.filter((pl.col("section") == "charges") & (pl.col("name") == "held"))
    of_jobs = dict(money.summed(held, by=["billing_currency"], columns=["effective_cost"]).iter_rows())
    for each in (models, users, runs):
        assert dict(each.iter_rows()) == of_jobs
    assert dict(charges.iter_rows()) == found["effective_cost"]
    assert frame["effective_cost"].dtype == pl.Decimal(38, 18)
    assert frame["run_count"].drop_nulls().min() == 1


def test_csv_and_parquet_say_the_same(demo_context: Context, tmp_path: Path) -> None:
    for suffix in ("csv", "parquet"):
        written(demo_context, out=tmp_path / f"s.{suffix}")
    text = pl.read_csv(tmp_path / "s.csv", infer_schema=False)
    exact = pl.read_parquet(tmp_path / "s.parquet")
    assert text.columns == exact.columns
    assert [Decimal(each) for each in text["effective_cost"].drop_nulls()] == exact[
        "effective_cost"
    ].drop_nulls().to_list()


def test_the_pdf_opens_with_who_is_charged_and_what(demo_context: Context, tmp_path: Path) -> None:
    written(demo_context, out=tmp_path / "s.pdf")
    content = (tmp_path / "s.pdf").read_bytes()
    assert content.startswith(b"%PDF-")
    assert content.rstrip().endswith(b"%%EOF")
    assert b"/Count" in content
    streams = [zlib.decompress(each) for each in re.findall(rb"stream\r?\n(.*?)\r?\nendstream", content, re.DOTALL)
               if each[:1] == b"x"]  # fmt: skip
    assert any(b"Tj" in each or b"TJ" in each for each in streams)


def test_a_team_that_is_charged_nothing_is_told_who_is(demo_context: Context, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nothing of 2026-11 is charged to a team 'nobody'") as refused:
        written(demo_context, team="nobody")
    assert "vision" in refused.value.hint
    with pytest.raises(InputError, match="found the suffix"):
        written(demo_context, out=tmp_path / "s.doc")


def test_the_command_prints_totals_and_writes_a_file(demo_copy: Context, command: Command, tmp_path: Path) -> None:
    store = demo_copy.settings.store.url
    demo_copy.close()
    done = command("report", "statement", "--team", "vision", "--month", MONTH, "--out", "v.pdf", "--store", store)
    assert done.code == 0, done.err
    assert "effective_cost" in done.out
    assert (tmp_path / "v.pdf").is_file()
    refused = command("report", "statement", "--team", "nobody", "--month", MONTH, "--store", store)
    assert (refused.code, refused.out) == (2, "")
    listed = command("budget", "list", "--month", MONTH, "--store", store)
    assert listed.code == 0
    assert "team:vision" in listed.out


def test_the_page_shows_one_teams_statement(demo_context: Context) -> None:
    with used(demo_context):
        test = opened("statement", team="vision", **{"statement-month": date(2026, 11, 1)})
    text = said(test)
    assert "Team vision is charged" in text
    assert "so far" in text
    assert "Held by its jobs" in text


@pytest.mark.parametrize("by", ["user", "run"])
def test_a_row_that_is_one_run_does_not_count_runs(demo_context: Context, by: str) -> None:
    with used(demo_context):
        chosen = dict.fromkeys(("by-USD", "by-EUR"), by)
        test = opened("statement", team="vision", **{"statement-month": date(2026, 11, 1)}, **chosen)
    parts = [each.value for each in test.dataframe if "name" in each.value.columns]
    assert parts
    for each in parts:
        assert ("run_count" in each.columns) is ("run_cost" in each.columns) is (by == "user")


def test_a_member_of_a_team_gets_that_teams_statement_whatever_is_asked(demo_context: Context) -> None:
    vision = replace(demo_context, viewer=lambda: Scope("team", "vision", ("vision",)), _store=demo_context.store)
    with used(vision):
        test = opened("statement", team="language")
    assert "language" not in said(test)


def test_an_empty_ledger_says_that_nobody_is_charged(empty_context: Context) -> None:
    with used(empty_context):
        test = opened("statement")
    assert [each.value for each in test.info] == [
        "No team is charged in this month. Import its bills with `clusterledger ingest`, or choose another month."
    ]


def test_other_rules_give_another_statement_of_the_same_ledger(demo_context: Context, tmp_path: Path) -> None:
    """The rows sum to what these rules divide, and the file names them."""
    stored = written(demo_context)
    found = written(demo_context, split_rule="95_3_2", shared_cost="even", out=tmp_path / "s.parquet")
    assert (found["split_rule"], found["shared_cost"]) == ("95_3_2", "even")
    assert (stored["split_rule"], stored["shared_cost"]) == ("whole_node_to_gpu", "apart")
    frame = pl.read_parquet(tmp_path / "s.parquet").filter(pl.col("section") == "charges")
    assert "held" in set(frame["name"])
    assert any("95_3_2" in str(each) for each in frame["allocated_method_id"])
    money_ = demo_context.settings.money.model_copy(update={"split_rule": "95_3_2", "shared_cost": "even"})
    window = (datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC))
    hours = other_rules.allocations(demo_context.store.read, money_, "95_3_2", window, demo_context.now())
    mine = hours.filter((pl.col("team") == "vision") & pl.col("in_scope"))
    expected = money.summed(mine, by=["billing_currency"], columns=["effective_cost"])
    assert found["effective_cost"] == dict(expected.iter_rows())
    assert found["effective_cost"] != stored["effective_cost"]


def test_the_notes_of_a_tried_statement_name_both_rules(demo_context: Context) -> None:
    rules = other_rules.tried(demo_context.settings.money, "70_30", None)
    notes = of(demo_context, "vision", datetime(2026, 11, 1, tzinfo=UTC), rules).notes
    assert any("split rule 70_30" in each for each in notes)
    assert any("the ledger's are whole_node_to_gpu and 'apart'" in each for each in notes)
    assert any(each.startswith("Its days are those of UTC") for each in notes)


def with_rates(context: Context, *codes: str) -> Context:
    rates = [{"day": "2026-11-05", "from_currency": code, "to_currency": "CHF", "unit_price": "0.5"} for code in codes]
    path = Path(context.settings.store.url.removeprefix("duckdb:"))
    chosen = settings_of(path, money={"display_currency": "CHF", "exchange_rates": rates})
    # Another hub: what was read under other rates is not its own.
    return replace(context, settings=chosen, _store=context.store, _identity=object())


def test_a_statement_says_the_display_currency_beside_what_is_billed(demo_context: Context, tmp_path: Path) -> None:
    found = written(with_rates(demo_context, "USD", "EUR"), out=tmp_path / "s.parquet")
    plain = written(demo_context)
    assert found["effective_cost"] == plain["effective_cost"]
    assert "is converted from EUR to CHF at rates of 2026-11-05." in found["conversion"]
    assert plain["conversion"] == ""
    frame = pl.read_parquet(tmp_path / "s.parquet").filter(pl.col("section") == "charges")
    assert set(frame["display_currency"]) == {"CHF"}
    assert {str(each) for each in frame["display_rate_day"]} == {"2026-11-05"}
    for row in frame.iter_rows(named=True):
        if row["effective_cost"] is not None:
            assert row["display_effective_cost"] == money.priced(row["effective_cost"], Fraction(1, 2))
    written(with_rates(demo_context, "USD"), out=tmp_path / "s.pdf")
    with used(with_rates(demo_context, "USD", "EUR")):
        test = opened("statement", team="vision", **{"statement-month": date(2026, 11, 1)})
    assert "at rates of 2026-11-05" in said(test)


def test_a_currency_of_unknown_rate_stays_as_billed_and_is_never_added(demo_context: Context, tmp_path: Path) -> None:
    found = written(with_rates(demo_context), out=tmp_path / "s.csv")
    assert found["conversion"].startswith("No rate to CHF is known")
    frame = pl.read_csv(tmp_path / "s.csv")
    assert frame["display_effective_cost"].null_count() == frame.height
