"""How far the rows of nodes reach, against a plain reading of them."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger._reach import _MANY_RUNS, Reach, reach
from ledger.store import Store
from ledger.tables import TABLES, HostSample

HOST = TABLES["host_sample"]
BEGIN = datetime(2026, 11, 20, tzinfo=UTC)

_Row = tuple[str, str, int]
_ROWS = st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("xyz"), st.integers(0, 50)), max_size=40)


def _frame(rows: list[_Row]) -> pl.DataFrame:
    columns = {name: [row[at] for row in rows] for at, name in enumerate(("cluster", "node", "sampled_at"))}
    return pl.DataFrame(
        columns, {"cluster": pl.String(), "node": pl.String(), "sampled_at": pl.Datetime("us", "UTC")}, strict=False
    )


def _told(reached: Reach) -> dict[tuple[str, str], tuple[int, int]]:
    """Return the first and the last instant of each node."""
    places = {(cluster, node) for cluster, node, _, _ in reached}
    ends = {place: [each for each in reached if each[:2] == place] for place in places}
    return {place: (min(each[2] for each in of), max(each[3] for each in of)) for place, of in ends.items()}


def _plain(rows: list[_Row]) -> dict[tuple[str, str], tuple[int, int]]:
    places = {(cluster, node) for cluster, node, _ in rows}
    times = {place: [at for *there, at in rows if tuple(there) == place] for place in places}
    return {place: (min(of), max(of)) for place, of in times.items()}


@given(_ROWS, st.booleans())
def test_it_is_the_first_and_the_last_instant_of_each_node(rows: list[_Row], is_sorted: bool) -> None:
    ordered = sorted(rows) if is_sorted else rows
    assert _told(reach(HOST, _frame(ordered))) == _plain(rows)


@pytest.mark.parametrize("length", [1, 100])
def test_of_many_rows_it_is_the_same(length: int) -> None:
    rows = [("a" if at // length % 7 else "b", f"n{at // length % 5}", at * at % 9_973) for at in range(_MANY_RUNS + 9)]
    assert _told(reach(HOST, _frame(rows))) == _plain(rows)


def test_a_table_without_nodes_or_time_has_none() -> None:
    assert reach(TABLES["invoice"], pl.DataFrame({"invoice_id": ["a"]})) == ()


def test_rows_without_a_key_are_left_out() -> None:
    frame = _frame([("a", "x", 3), ("a", "x", 5), ("a", "y", 4)])
    without = frame.with_columns(
        sampled_at=pl.Series([None, 5, 4], dtype=pl.Datetime("us", "UTC")), node=pl.Series(["x", "x", None])
    )
    assert list(reach(HOST, without)) == [("a", "x", 5, 5)]


@pytest.fixture
def store() -> Iterator[Store]:
    with Store.open("duckdb::memory:", now=lambda: BEGIN + timedelta(hours=1)) as opened:
        yield opened


def rows_of(node: str, *steps: int) -> pl.DataFrame:
    at = [BEGIN + timedelta(seconds=10 * step) for step in steps]
    frame = pl.DataFrame({"sampled_at": at}, schema={"sampled_at": pl.Datetime("us", "UTC")})
    texts = {"cluster": "c", "node": node, "boot_id": "b"}
    return frame.with_columns(step_seconds=pl.lit(10.0), **{name: pl.lit(text) for name, text in texts.items()})


def table_of(store: Store) -> list[tuple[str, datetime]]:
    return store.read(HostSample).select("node", "sampled_at").sort("node", "sampled_at").rows()


def test_rows_that_reach_no_further_are_looked_for_and_stored_once(store: Store) -> None:
    def keep(node: str, *steps: int) -> tuple[int, int]:
        written = store.append(HostSample, rows_of(node, *steps), source="t")
        return written.rows, written.duplicates

    # Only who writes again and again has the ends of all nodes in memory.
    assert [keep("x", step) for step in range(4)] == [(1, 0)] * 4
    assert keep("y", 7, 8) == (2, 0)
    assert keep("x", 2, 3, 4) == (1, 2)
    assert keep("y", 8) == (0, 1)
    assert keep("y", 6, 9) == (2, 0)
    assert [each for each, _ in table_of(store)] == ["x"] * 5 + ["y"] * 4
