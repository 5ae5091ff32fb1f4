"""Quotients are rounded once, whatever stands beside them."""

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from ledger.expressions import divided


@given(st.lists(st.integers(0, 10**15) | st.none(), min_size=1, max_size=40), st.sampled_from([3, 7, 49, 1000, 10**6]))
def test_a_quotient_does_not_depend_on_the_number_of_rows(values: list[int | None], by: int) -> None:
    whole = pl.DataFrame({"value": values}, schema={"value": pl.Int64}).select(divided(pl.col("value"), by))
    assert whole["value"].to_list() == [None if each is None else each / by for each in values]
