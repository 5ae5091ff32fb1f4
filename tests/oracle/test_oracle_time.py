"""Rollups of GPU time against the ledger read literally, on drawn clusters.

Several clusters are computed in one call, since most of a call's time does not depend on its rows. Each of them is a
case of its own, with another name, and is compared whole.
"""

from collections import Counter
from datetime import datetime

import polars as pl
from hypothesis import given

from ledger.config import Settings
from ledger.store import Store
from ledger.tables import TABLES
from queries.executor import run_due
from tests.oracle import generators
from tests.oracle.compare_time import check_estate
from tests.oracle.generators import Estate, estates
from tests.oracle.searching import EXAMPLES, STORED, TOGETHER, profile
from tests.oracle.time_frames import CHAIN, computed, span_of, tables


def test_states_holders_and_jobs_are_those_of_the_clock_and_each_kind_is_drawn() -> None:
    drawn: Counter[str] = Counter()

    @profile(EXAMPLES)
    @given(estates(TOGETHER))
    def compare(estate: Estate) -> None:
        drawn.update({"case": len(estate.clusters), **dict.fromkeys(estate.kinds, 1)})
        check_estate(estate.clusters, computed(tables(estate.clusters), span_of(estate.clusters[0]), *CHAIN))

    compare()
    assert drawn["case"] >= EXAMPLES * TOGETHER
    assert generators.KINDS - set(drawn) == set()


def test_the_same_is_true_of_what_the_executor_keeps_in_a_store() -> None:
    @profile(STORED)
    @given(estates(2))
    def compare(estate: Estate) -> None:
        check_estate(estate.clusters, _kept(estate))

    compare()


def _kept(estate: Estate) -> dict[str, pl.DataFrame]:
    """Return what a store has of the drawn hours after the executor ran over what was appended."""
    span = span_of(estate.clusters[0])
    window: tuple[datetime, datetime] = (span.start, span.end)
    with Store.open("duckdb::memory:", now=lambda: span.now) as store:
        for name, rows in tables(estate.clusters).items():
            written = store.append(TABLES[name].schema, rows, source="oracle")
            assert not written.rejected, (name, written)
        ran = run_due(store, Settings(), since=span.start, until=span.end, only=CHAIN[:-1])
        assert sorted(each.rollup for each in ran) == sorted(CHAIN[:-1])
        return {name: store.read(TABLES[name].schema, window) for name in CHAIN[:-1]}
