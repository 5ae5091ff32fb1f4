"""Every question has its header, names its parameters, and runs on an empty store."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from ledger.store import Store
from ledger.tables import CostHour, Node
from ledger.units import is_money
from queries import sql
from tests.bills import MONTH, NEXT, charge, costs, link, node, rows

QUESTIONS = sorted((Path(__file__).parents[2] / "queries" / "sql").glob("*.sql"))
VALUES = {
    "start": datetime(2026, 11, 1, tzinfo=UTC),
    "end": datetime(2026, 11, 2, tzinfo=UTC),
    "now": datetime(2026, 11, 2, tzinfo=UTC),
    "bucket": "hour",
    "restart_count": 0,
    "submitted": datetime(2026, 11, 1, tzinfo=UTC),
    "submitted_at": datetime(2026, 11, 1, tzinfo=UTC),
}


def header(text: str, word: str) -> str:
    found = re.search(rf"^-- {word}: (.+)$", text, re.MULTILINE)
    return found[1] if found else ""


@pytest.mark.parametrize("path", QUESTIONS, ids=lambda path: path.stem)
def test_a_question_says_what_it_asks_and_what_one_row_is(path: Path) -> None:
    text = sql.load(path.stem).text
    assert header(text, "question").endswith("?")
    assert header(text, "grain")
    named = set(re.findall(r"\$([a-z_]+)", text))
    told = re.sub(r"\([^)]*\)", "", header(text, "params"))
    assert named == {word for word in re.findall(r"[a-z_]+", told) if word in named or word != "none"}


@pytest.mark.parametrize("path", QUESTIONS, ids=lambda path: path.stem)
def test_a_question_about_a_stretch_says_whether_it_knows_hours_or_days(path: Path) -> None:
    question = sql.load(path.stem)
    casts = re.search(r"CAST\(\$start (\+ INTERVAL 12 HOUR )?AS DATE\)", question.text) is not None
    compares = re.search(r"hour_start >= \$start|_at >= \$start", question.text) is not None
    if question.time:
        assert question.is_by_days >= casts
        assert question.is_by_days <= (not compares)
    else:
        assert not question.asks >= {"start", "end"}


@pytest.fixture(scope="module")
def store() -> Iterator[Store]:
    with Store.open("duckdb::memory:") as opened:
        yield opened


@pytest.mark.parametrize("path", QUESTIONS, ids=lambda path: path.stem)
def test_a_question_has_an_answer_on_an_empty_store(path: Path, store: Store) -> None:
    text = sql.load(path.stem).text
    params = {name: VALUES.get(name, "") for name in re.findall(r"\$([a-z_]+)", text)}
    answer = store.select(text, **params)
    assert answer.width > 1
    floats = [name for name in answer.columns if is_money(name) and answer.schema[name].is_float()]
    assert not floats, "money is summed, never divided or averaged, in SQL"


def asked(store: Store, question: str) -> pl.DataFrame:
    """Return the answer to a question about March."""
    return store.select(sql.load(question).text, start=MONTH, end=NEXT)


def test_what_found_no_partner_is_shown_in_money() -> None:
    charges = [
        charge(0, ResourceId="i-a1"),
        charge(1, ResourceId="vol-1", ServiceName="EBS", BilledCost=Decimal(3)),
        charge(2, ResourceId="vol-1", ServiceName="EBS", BilledCost=Decimal(4), EffectiveCost=None),
        charge(3, ResourceId=None, ServiceName="NAT", BilledCost=Decimal(1)),
        charge(4, ResourceId="vol-2", ServiceName="EBS", ChargeCategory="Credit", BilledCost=Decimal(-9)),
    ]
    nodes = [node("a1"), node("b2")]
    with Store.open("duckdb::memory:", now=lambda: NEXT) as store:
        store.append(Node, rows(Node, nodes), source="test")
        hours = costs(charges, nodes=nodes, links=[link("a1")])
        store.replace(CostHour, hours, partitions=["2026-03"], state=None)
        assert asked(store, "unmatched_nodes")["node"].to_list() == ["b2"]
        rest = asked(store, "unmatched_charges").select("service_name", "resource_id", "billed_cost", "effective_cost")
        assert rest.rows() == [
            ("EBS", "vol-2", Decimal(-9), Decimal(-9)),
            ("EBS", "vol-1", Decimal(7), Decimal(3)),
        ]
