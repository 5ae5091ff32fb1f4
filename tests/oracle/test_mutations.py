"""Faults put into correct inputs and outputs on purpose: each of them must turn a check red."""

import random
from collections.abc import Callable, Mapping
from datetime import timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.oracle import money_frames, time_frames
from tests.oracle.bills import bills
from tests.oracle.compare_time import check_estate
from tests.oracle.faults import LAST_UNIT, Tables, changed
from tests.oracle.generators import estates
from tests.oracle.money_frames import check_bills, check_conserved
from tests.oracle.searching import profile
from tests.oracle.time_frames import CHAIN, span_of

Mutation = Callable[[Tables, random.Random], Tables | None]
"""Changes one thing; None where there is nothing of the kind."""

EXAMPLES = 8
HOUR = pl.duration(hours=1)


def drawn(strategy: st.SearchStrategy[Any]) -> list[Any]:
    """Return some examples, the same in each run."""
    found: list[Any] = []

    @profile(EXAMPLES)
    @given(strategy)
    def collect(example: Any) -> None:
        found.append(example)

    collect()
    return found


@pytest.fixture(scope="module")
def clusters() -> list[tuple[Any, Tables, Tables]]:
    """Return clusters with their tables and what was computed of them, all of it right."""
    found = []
    for each in drawn(estates(3)):
        given_tables = time_frames.tables(each.clusters)
        computed = time_frames.computed(given_tables, span_of(each.clusters[0]), *CHAIN)
        check_estate(each.clusters, computed)
        found.append((each, given_tables, computed))
    return found


@pytest.fixture(scope="module")
def priced() -> list[tuple[Any, Tables, Tables]]:
    """Return bills with their tables and what was computed of them, all of it right."""
    found = []
    for each in drawn(bills(3)):
        given_tables = money_frames.tables(each.bills)
        computed = money_frames.computed(given_tables)
        check_bills(each.bills, computed)
        found.append((each, given_tables, computed))
    return found


def picked(rows: pl.DataFrame, where: pl.Expr, chance: random.Random) -> int | None:
    """Return the number of a row that fits, or None."""
    places = rows.select(where.fill_null(value=False).arg_true()).to_series().to_list()
    return chance.choice(places) if places else None


def one_row(table: str, where: pl.Expr, **columns: pl.Expr) -> Mutation:
    """Return a mutation of one row of a table."""

    def mutate(tables: Tables, chance: random.Random) -> Tables | None:
        place = picked(tables[table], where, chance)
        return None if place is None else tables | {table: changed(tables[table], place, **columns)}

    return mutate


def without_one(table: str, where: pl.Expr) -> Mutation:
    """Return a mutation that drops one row of a table."""

    def mutate(tables: Tables, chance: random.Random) -> Tables | None:
        place = picked(tables[table], where, chance)
        rows = tables[table]
        return None if place is None else tables | {table: rows.filter(pl.int_range(pl.len()) != place)}

    return mutate


def doubled(table: str, where: pl.Expr, *others: str, **columns: pl.Expr) -> Mutation:
    """Return a mutation that has one job's rows of a table, and of others, twice."""
    run = ("cluster", "job_id", "submitted_at", "restart_count")

    def mutate(tables: Tables, chance: random.Random) -> Tables | None:
        place = picked(tables[table], where, chance)
        if place is None:
            return None
        row = tables[table].row(place, named=True)
        mine = [pl.col(name) == row[name] for name in run]
        more = {
            name: pl.concat(
                [
                    tables[name],
                    tables[name]
                    .filter(mine)
                    .with_columns(
                        value.cast(tables[name].schema[column]).alias(column) for column, value in columns.items()
                    ),
                ]
            )
            for name in (table, *others)
        }
        return tables | more

    return mutate


def a_second_unknown(tables: Tables, chance: random.Random) -> Tables | None:
    """Call one second of one idle interval unknown."""
    rows = tables["gpu_state_interval"]
    long = (pl.col("ended_at") - pl.col("started_at")) > timedelta(seconds=1)
    idle = pl.col("state").is_in(["unallocated", "allocated_idle", "held_idle"])
    place = picked(rows, long & idle, chance)
    if place is None:
        return None
    second = rows.slice(place, 1)
    start = second["started_at"].item()
    cut = start + timedelta(seconds=1)
    first = second.with_columns(
        pl.lit("unknown").alias("state"), pl.lit(cut).cast(rows.schema["ended_at"]).alias("ended_at")
    )
    later = changed(rows, place, started_at=pl.lit(cut))
    return tables | {"gpu_state_interval": pl.concat([later, first])}


_ANY = pl.col("cluster").is_not_null()
_OWNER = pl.col("job_id").str.starts_with("user:")
_SECOND = pl.lit(Decimal(1), dtype=pl.Decimal(18, 3))
_UNKNOWN = {"unknown_seconds": pl.col("unknown_seconds") + _SECOND}

TIME_OUTPUTS: Mapping[str, Mutation] = {
    "an idle second of an interval called unknown": a_second_unknown,
    "an unallocated second of an hour called unknown": one_row(
        "gpu_hour",
        pl.col("unallocated_seconds") >= 1,
        unallocated_seconds=pl.col("unallocated_seconds") - _SECOND,
        **_UNKNOWN,
    ),
    "an idle second of a job called unknown": one_row(
        "job_gpu_hour",
        pl.col("held_idle_seconds") >= 1,
        held_idle_seconds=pl.col("held_idle_seconds") - _SECOND,
        **_UNKNOWN,
    ),
    "an interval an hour later": one_row(
        "gpu_state_interval",
        _ANY,
        started_at=pl.col("started_at") + HOUR,
        ended_at=pl.col("ended_at") + HOUR,
    ),
    "a minute an hour later": one_row("gpu_minute", _ANY, minute_start=pl.col("minute_start") + HOUR),
    "a minute dropped": without_one("gpu_minute", _ANY),
    "a millisecond of a minute called observed": one_row(
        "gpu_minute", _ANY, observed_seconds=pl.col("observed_seconds") + pl.lit(Decimal("0.001"))
    ),
    "a device hour an hour later": one_row("gpu_hour", _ANY, hour_start=pl.col("hour_start") + HOUR),
    "a job's hour an hour later": one_row("job_gpu_hour", _ANY, hour_start=pl.col("hour_start") + HOUR),
    "a job twice": doubled("job_gpu_hour", _ANY, restart_count=pl.col("restart_count") + 9),
    "an owner's hour dropped": without_one("job_gpu_hour", _OWNER),
    "an owner's hour given to another": one_row("job_gpu_hour", _OWNER, job_id=pl.lit("user:eve")),
    "an owner's minute dropped": without_one("bottleneck_minute", _OWNER & (pl.col("gpu_allocated_seconds") > 0)),
    "an owner's mix dropped": without_one("bottleneck_hour", _OWNER),
    "a device hour dropped": without_one("gpu_hour", _ANY),
    "a job's use doubled": one_row(
        "job_usage", pl.col("gpu_allocated_seconds") > 0, gpu_allocated_seconds=pl.col("gpu_allocated_seconds") * 2
    ),
}

TIME_INPUTS: Mapping[str, Mutation] = {
    "a job told twice": doubled(
        "job_gpu", pl.col("held_end").is_null(), "job", restart_count=pl.col("restart_count") + 9
    ),
    "all samples an hour later": lambda tables, _: (
        tables | {"gpu_sample": tables["gpu_sample"].with_columns(pl.col("sampled_at") + HOUR)}
        if tables["gpu_sample"].filter(pl.col("status") == "ok").height > 100
        else None
    ),
    "processes of other owners": lambda tables, _: (
        tables | {"gpu_process_sample": tables["gpu_process_sample"].with_columns(user=pl.lit("eve"))}
        if tables["job_gpu_hour"].filter(_OWNER).height
        else None
    ),
    "owners who nobody knows": lambda tables, _: (
        tables | {"gpu_process_sample": tables["gpu_process_sample"].filter(pl.col("job_id") != "")}
        if tables["job_gpu_hour"].filter(_OWNER).height
        else None
    ),
}

_COST = pl.col("billed_cost") != 0
_DEVICE = _COST & (pl.col("gpu_uuid") != "")
_ZERO = pl.lit(Decimal(0))

MONEY_OUTPUTS: Mapping[str, Mutation] = {
    "a cost dropped": without_one("cost_hour", _COST),
    "an allocation dropped": without_one("allocation_hour", _COST),
    "a cost an hour later": one_row("cost_hour", _COST, hour_start=pl.col("hour_start") + HOUR),
    "an allocation an hour later": one_row("allocation_hour", _COST, hour_start=pl.col("hour_start") + HOUR),
    "a credit clamped in costs": one_row("cost_hour", pl.col("billed_cost") < 0, billed_cost=_ZERO),
    "a credit clamped in allocations": one_row("allocation_hour", pl.col("billed_cost") < 0, billed_cost=_ZERO),
    "a job's allocations twice": doubled(
        "allocation_hour", _DEVICE & (pl.col("job_id") != ""), restart_count=pl.col("restart_count") + 9
    ),
    "an unknown effective cost called zero": one_row(
        "allocation_hour", pl.col("effective_cost").is_null(), effective_cost=_ZERO
    ),
    "the last of eighteen decimals changed": one_row(
        "allocation_hour", _COST, billed_cost=pl.col("billed_cost") + LAST_UNIT
    ),
}
"""Each of these breaks conservation between the two tables as well."""

MONEY_INPUTS: Mapping[str, Mutation] = {
    "a charge dropped": without_one("focus_charge", (pl.col("BilledCost") != 0) & (pl.col("import_id") == "now")),
    "a charge an hour later": one_row(
        "focus_charge",
        (pl.col("BilledCost") != 0) & (pl.col("import_id") == "now") & (pl.col("ChargeCategory") == "Usage"),
        ChargePeriodStart=pl.col("ChargePeriodStart") + HOUR,
        ChargePeriodEnd=pl.col("ChargePeriodEnd") + HOUR,
    ),
    "a credit clamped": one_row(
        "focus_charge", (pl.col("BilledCost") < 0) & (pl.col("import_id") == "now"), BilledCost=_ZERO
    ),
    "a superseded import counted": one_row(
        "bill_import",
        (pl.col("status") == "superseded") & (pl.col("billed_cost") != 0),
        status=pl.lit("current"),
    ),
}


def reds(
    cases: list[tuple[Any, Tables, Tables]], mutate: Mutation, check: Callable[[Any, Tables, Tables], None]
) -> tuple[int, int]:
    """Return to how many cases a mutation applies, and in how many of them the check is red."""
    applied = red = 0
    for seed, (example, given_tables, computed) in enumerate(cases):
        mutated = mutate(given_tables | computed, random.Random(seed))  # noqa: S311  seeded, not secret
        if mutated is None:
            continue
        applied += 1
        try:
            check(example, mutated, computed)
        except AssertionError:
            red += 1
    return applied, red


@pytest.mark.parametrize("name", TIME_OUTPUTS)
def test_a_fault_in_device_time_turns_the_comparison_red(name: str, clusters: list[Any]) -> None:
    applied, red = reds(clusters, TIME_OUTPUTS[name], lambda each, mutated, _: check_estate(each.clusters, mutated))
    assert applied == red > 0


@pytest.mark.parametrize("name", TIME_INPUTS)
def test_a_fault_in_what_is_told_of_devices_turns_the_comparison_red(name: str, clusters: list[Any]) -> None:
    def check(each: Any, mutated: Tables, _: Tables) -> None:
        check_estate(each.clusters, time_frames.computed(mutated, span_of(each.clusters[0]), *CHAIN))

    applied, red = reds(clusters, TIME_INPUTS[name], check)
    assert applied == red > 0


@pytest.mark.parametrize("name", MONEY_OUTPUTS)
def test_a_fault_in_costs_turns_both_the_comparison_and_conservation_red(name: str, priced: list[Any]) -> None:
    mutate = MONEY_OUTPUTS[name]
    compared = reds(priced, mutate, lambda each, mutated, _: check_bills(each.bills, mutated))
    assert compared[0] == compared[1] > 0
    kept = reds(
        priced, mutate, lambda _, mutated, __: check_conserved(mutated["cost_hour"], mutated["allocation_hour"])
    )
    assert kept == compared


@pytest.mark.parametrize("name", MONEY_INPUTS)
def test_a_fault_in_a_bill_turns_the_comparison_red(name: str, priced: list[Any]) -> None:
    def check(each: Any, mutated: Tables, _: Tables) -> None:
        check_bills(each.bills, money_frames.computed(mutated))

    applied, red = reds(priced, MONEY_INPUTS[name], check)
    assert applied == red > 0


@pytest.mark.parametrize(
    "name", ["an allocation dropped", "a credit clamped in allocations", "a job's allocations twice"]
)
def test_a_fault_in_allocations_turns_the_ledgers_own_reconciliation_red(name: str, priced: list[Any]) -> None:
    def differing(tables: Tables) -> int:
        # Without invoices, some of which differ anyway: each bill agrees with itself, and with its allocations.
        alone = tables | {"invoice": tables["invoice"].clear()}
        found = money_frames.reconciled(alone, tables["allocation_hour"])
        return found.filter(pl.col("status") != "matches_export").height

    def check(_: Any, mutated: Tables, __: Tables) -> None:
        assert differing(mutated) == 0

    assert all(differing(given_tables | computed) == 0 for _, given_tables, computed in priced)
    applied, red = reds(priced, MONEY_OUTPUTS[name], check)
    assert applied == red > 0
