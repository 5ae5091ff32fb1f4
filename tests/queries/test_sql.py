"""Each question runs on an empty store, and says what it asks."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from ledger.errors import InputError
from ledger.store import Store
from queries import sql

VALUES = {
    "start": datetime(2026, 11, 1, tzinfo=UTC),
    "end": datetime(2026, 11, 20, tzinfo=UTC),
    "now": datetime(2026, 11, 20, tzinfo=UTC),
    "cluster": "",
    "team": "",
    "bucket": "hour",
    "by": "team",
    "measure": "effective",
    "estate": "in",
    "job_id": "7",
    "restart_count": 0,
}


@pytest.fixture(scope="module")
def empty() -> Iterator[Store]:
    with Store.open("duckdb::memory:") as store:
        yield store


@pytest.mark.parametrize("name", sql.names())
def test_a_question_has_a_header_and_an_answer(name: str, empty: Store) -> None:
    query = sql.load(name)
    said = {word for word in re.findall(r"[a-z_]+", query.params) if word in query.asks}
    assert query.question.endswith("?")
    assert said == query.asks, "the header names each parameter"
    assert query.tables
    answer = empty.select(query.text, **{asked: VALUES[asked] for asked in query.asks})
    assert answer.height == (1 if query.grain == "one row" else 0)


def test_a_question_that_is_none_lists_those_that_are() -> None:
    with pytest.raises(InputError, match=r"found no question nobody_asked.*\n  hint: one of agents, "):
        sql.load("nobody_asked")
