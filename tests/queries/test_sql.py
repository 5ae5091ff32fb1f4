"""Every question has its header, names its parameters, and runs on an empty store."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ledger.store import Store
from ledger.units import is_money

QUESTIONS = sorted((Path(__file__).parents[2] / "queries" / "sql").glob("*.sql"))
VALUES = {
    "start": datetime(2026, 11, 1, tzinfo=UTC),
    "end": datetime(2026, 11, 2, tzinfo=UTC),
    "now": datetime(2026, 11, 2, tzinfo=UTC),
    "bucket": "hour",
    "restart_count": 0,
    "submitted_at": datetime(2026, 11, 1, tzinfo=UTC),
}


def header(text: str, word: str) -> str:
    found = re.search(rf"^-- {word}: (.+)$", text, re.MULTILINE)
    return found[1] if found else ""


@pytest.mark.parametrize("path", QUESTIONS, ids=lambda path: path.stem)
def test_a_question_says_what_it_asks_and_what_one_row_is(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert header(text, "question").endswith("?")
    assert header(text, "grain")
    named = set(re.findall(r"\$([a-z_]+)", text))
    told = re.sub(r"\([^)]*\)", "", header(text, "params"))
    assert named == {word for word in re.findall(r"[a-z_]+", told) if word in named or word != "none"}


@pytest.fixture(scope="module")
def store() -> Iterator[Store]:
    with Store.open("duckdb::memory:") as opened:
        yield opened


@pytest.mark.parametrize("path", QUESTIONS, ids=lambda path: path.stem)
def test_a_question_has_an_answer_on_an_empty_store(path: Path, store: Store) -> None:
    text = path.read_text(encoding="utf-8")
    params = {name: VALUES.get(name, "") for name in re.findall(r"\$([a-z_]+)", text)}
    answer = store.select(text, **params)
    assert answer.width > 1
    floats = [name for name in answer.columns if is_money(name) and answer.schema[name].is_float()]
    assert not floats, "money is summed, never divided or averaged, in SQL"
