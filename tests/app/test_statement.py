"""Statements: sums that are those of the ledger, one team's rows, files that say the same, and a PDF that opens."""

import re
import zlib
from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from app.context import Context
from app.data import Scope
from app.services import named
from ledger import money
from ledger.errors import InputError
from tests.app.conftest import Command, used
from tests.app.opening import opened, said

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
