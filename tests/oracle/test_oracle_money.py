"""Costs, allocations and reconciliation against bills read literally, charge by charge, on drawn bills.

Several bills are computed in one call, since most of a call's time does not depend on its rows. Each of them is a
case of its own, of another provider and cluster, and is compared to the last unit of 1e-18.
"""

from collections import Counter

import polars as pl
from hypothesis import given

from ledger.config import Settings
from ledger.store import Store
from ledger.tables import TABLES
from queries.executor import run_due
from tests.oracle import bills as drawing
from tests.oracle.bills import MARCH, MAY, Bills
from tests.oracle.money_frames import SETTINGS, check_bills, computed, moment, tables
from tests.oracle.searching import CI, STORED, profile

MONEY = ("cost_hour", "allocation_hour", "reconciliation")

TOGETHER = 20
EXAMPLES = 52 if CI else 4


def test_costs_allocations_and_invoices_are_those_of_the_charges_and_each_kind_is_drawn() -> None:
    drawn: Counter[str] = Counter()

    @profile(EXAMPLES)
    @given(drawing.bills(TOGETHER))
    def compare(found: Bills) -> None:
        drawn.update({"case": len(found.bills), **dict.fromkeys(found.kinds, 1)})
        check_bills(found.bills, computed(tables(found.bills)))

    compare()
    assert drawn["case"] >= EXAMPLES * TOGETHER
    assert drawing.KINDS - set(drawn) == set()


def test_the_same_is_true_of_what_the_executor_keeps_in_a_store() -> None:
    @profile(STORED)
    @given(drawing.bills(2))
    def compare(found: Bills) -> None:
        check_bills(found.bills, _kept(found))

    compare()


def _kept(found: Bills) -> dict[str, pl.DataFrame]:
    """Return what a store has after the executor ran over bills and device hours that were put into it.

    That a node has GPUs is not told here: else its hours that no bill covers would be estimated.
    """
    given_tables = tables(found.bills)
    given_tables["node"] = given_tables["node"].with_columns(pl.lit(None, dtype=pl.Int64).alias("gpu_count"))
    with Store.open("duckdb::memory:", now=lambda: moment(MAY)) as store:
        for name, rows in given_tables.items():
            schema = TABLES[name].schema
            if name in {"gpu_hour", "job_gpu_hour"}:
                hours = rows["hour_start"].unique().sort().dt.strftime("%Y-%m-%dT%H").to_list()
                store.replace(schema, rows, partitions=hours, state=None)
            else:
                written = store.append(schema, rows, source="oracle")
                assert not written.rejected, (name, written)
        ran = run_due(store, Settings(money=SETTINGS), since=moment(MARCH), until=moment(MAY), only=MONEY)
        assert [each.rollup for each in ran] == list(MONEY)
        return {name: store.read(TABLES[name].schema) for name in MONEY}
