"""How far the rows of nodes reach, against a plain reading of them."""

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger._latest import _MANY_RUNS, _ends

_ROWS = st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("xyz"), st.integers(0, 50)), max_size=40)


def _plain(rows: list[tuple[str, str, int]], *, last: bool) -> dict[tuple[str, str], int]:
    places = {(cluster, node) for cluster, node, _ in rows}
    further = max if last else min
    return {place: further(at for *there, at in rows if tuple(there) == place) for place in places}


@given(_ROWS, st.booleans(), st.booleans())
def test_ends_are_the_first_and_the_last_instant_of_each_node(
    rows: list[tuple[str, str, int]], last: bool, is_sorted: bool
) -> None:
    ordered = sorted(rows) if is_sorted else rows
    columns = {name: [row[at] for row in ordered] for at, name in enumerate(("cluster", "node", "at"))}
    frame = pl.DataFrame(columns, {"cluster": pl.String(), "node": pl.String(), "at": pl.Datetime("us", "UTC")})
    assert _ends(frame, "at", last=last) == _plain(rows, last=last)


@pytest.mark.parametrize("length", [1, 100])
def test_ends_of_many_rows_are_the_same(length: int) -> None:
    rows = [("a" if at // length % 7 else "b", f"n{at // length % 5}", at * at % 9_973) for at in range(_MANY_RUNS + 1)]
    frame = pl.DataFrame(rows, ["cluster", "node", "at"], orient="row")
    for last in (True, False):
        assert _ends(frame, "at", last=last) == _plain(rows, last=last)
