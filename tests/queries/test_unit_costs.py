"""What idled between runs goes to who held the node that day, exactly; samples cost what the runs that told them do."""

from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger import money
from ledger.store import Store
from ledger.tables import SpendDay, TrainingDay
from queries import measure, sql
from queries.measures import per_unit
from queries.unit_costs import between_runs, owners
from tests.bills import HOUR, MONTH, NEXT, at, rows
from tests.queries.rollups.test_forecast_day import hour, spent

UNIT = Decimal(1).scaleb(-18)
PLACE = {"day": date(2026, 3, 5), "cluster": "c", "node": "n"}


def unheld(*rows: tuple[str, str, Decimal]) -> pl.DataFrame:
    return pl.DataFrame(
        [
            PLACE | {"node": node, "billing_currency": code, "effective_cost": cost, "held_gpu_seconds": Decimal(3600)}
            for node, code, cost in rows
        ],
        schema_overrides={"effective_cost": money.MONEY, "held_gpu_seconds": money.MONEY},
    )


def held(*rows: tuple[str, str, int]) -> pl.DataFrame:
    return pl.DataFrame(
        [PLACE | {"node": node, "name": name, "team": name, "held_gpu_seconds": Decimal(s)} for node, name, s in rows],
        schema={
            "day": pl.Date,
            "cluster": pl.String,
            "node": pl.String,
            "name": pl.String,
            "team": pl.String,
            "held_gpu_seconds": pl.Decimal(28, 9),
        },
    )


def test_idle_time_goes_to_who_held_the_node_in_proportion() -> None:
    idle = between_runs(
        unheld(("n", "USD", Decimal(8)), ("m", "USD", Decimal(3)), ("m", "EUR", Decimal(1))),
        held(("n", "red", 300), ("n", "blue", 100)),
    )
    found = {(row["name"], row["billing_currency"]): row["effective_cost"] for row in idle.to_dicts()}
    assert found == {("red", "USD"): 6, ("blue", "USD"): 2, ("nobody", "USD"): 3, ("nobody", "EUR"): 1}


@given(
    st.lists(st.tuples(st.sampled_from("nm"), st.sampled_from(["USD", "JPY"]), st.integers(-(10**30), 10**30)),
             unique_by=lambda row: row[:2]),
    st.lists(st.tuples(st.sampled_from("nm"), st.sampled_from(["red", "blue", "green"]), st.integers(0, 10**6)),
             unique_by=lambda row: row[:2]),
)  # fmt: skip
def test_no_total_changes(costs: list[tuple[str, str, int]], holders: list[tuple[str, str, int]]) -> None:
    idle = unheld(*((node, code, units * UNIT) for node, code, units in costs)) if costs else unheld(("n", "USD", UNIT))
    found = between_runs(idle, held(*holders))
    for code in ("USD", "JPY"):
        whole, parts = (each.filter(pl.col("billing_currency") == code) for each in (idle, found))
        for column in ("effective_cost", "held_gpu_seconds"):
            assert money.add(*whole[column]) == money.add(*parts[column])


def test_runs_and_what_idled_between_them_are_rows_apart() -> None:
    runs = pl.DataFrame(
        {
            "name": ["red"],
            "team": ["red"],
            "billing_currency": ["USD"],
            "effective_cost": [Decimal(9)],
            "productive_cost": [Decimal(5)],
            "idle_cost": [Decimal(1)],
            "held_gpu_seconds": [Decimal(7200)],
            "productive_gpu_seconds": [Decimal(3600)],
            "run_count": [3],
            "has_estimate": [False],
        },
        schema_overrides={
            **dict.fromkeys(("effective_cost", "productive_cost", "idle_cost"), money.MONEY),
            **dict.fromkeys(("held_gpu_seconds", "productive_gpu_seconds"), pl.Decimal(38, 9)),
        },
    )
    found = owners(runs, between_runs(unheld(("n", "USD", Decimal(8))), held(("n", "red", 1))))
    assert found.select("name", "kind", "effective_cost", "gpu_hours").rows() == [
        ("red", "runs", 9, 2.0),
        ("red", "between runs", 8, 1.0),
    ]
    assert found["productive_cost"].to_list() == [5, None]


def advanced(job: str, samples: int | None, tokens: int | None, day: int = 5, **given_: Any) -> dict[str, Any]:
    row = {"day": date(2026, 3, day), "cluster": "c", "node": "a1", "job_id": job, "submitted_at": MONTH, "model": "m"}
    return row | {"trained_sample_count": samples, "trained_token_count": tokens} | given_


SPENT = [
    # A run over two nodes, of which one tells; it restarts in another hour, and is named anew.
    hour(at(5), Decimal(6), job_id="j1", submitted_at=MONTH),
    hour(at(5), Decimal(4), job_id="j1", submitted_at=MONTH, node="b2"),
    hour(at(5) + HOUR, Decimal(2), job_id="j1", submitted_at=MONTH, restart_count=1, model="n"),
    # It stood still for a day, and on another nobody was told.
    hour(at(6), Decimal(8), job_id="j1", submitted_at=MONTH),
    hour(at(7), Decimal(1000), job_id="j1", submitted_at=MONTH),
    # One that tells nothing, one that counts tokens alone, one of the same id that was submitted later.
    hour(at(5), Decimal(100), job_id="j2", submitted_at=MONTH),
    hour(at(5), Decimal(5), job_id="j3", submitted_at=MONTH, user="ada"),
    hour(at(8), Decimal(3), job_id="j1", submitted_at=at(8), team="blue"),
]

TOLD = [
    advanced("j1", 3000, None),
    advanced("j1", 1000, None, node="b2"),
    advanced("j1", 0, None, 6),
    advanced("j3", None, 2_000_000),
    advanced("j1", 500, None, 8, submitted_at=at(8)),
    advanced("", 9, 9),
]


@pytest.fixture(scope="module")
def store() -> Iterator[Store]:
    days = [f"2026-03-{day:02}" for day in range(5, 9)]
    with Store.open("duckdb::memory:", now=lambda: NEXT) as opened:
        opened.replace(SpendDay, spent(SPENT).collect(), partitions=days, state=None)
        opened.replace(TrainingDay, rows(TrainingDay, TOLD), partitions=days, state=None)
        yield opened


def asked(store: Store, by: str, team: str = "") -> pl.DataFrame:
    return store.select(sql.load("unit_costs").text, start=MONTH, end=NEXT, cluster="", team=team, by=by)


def prices(found: pl.DataFrame) -> dict[str, tuple[Decimal | None, Decimal | None]]:
    """Return what 1,000 samples and a million tokens cost, by name."""
    units = (per_unit.SAMPLES_COST, per_unit.TRAINED_TOKENS_COST)
    return {
        row["name"][0]: (samples, tokens)
        for row in found.iter_slices(n_rows=1)
        for samples, tokens in [tuple(measure.unit_costs(row, each).get("USD") for each in units)]
    }


def test_samples_cost_what_the_runs_that_told_them_cost(store: Store) -> None:
    assert prices(asked(store, "run")) == {
        "c j1 of 1 Mar 00:00": (5, None),
        "c j1 of 8 Mar 00:00": (6, None),
        "c j2 of 1 Mar 00:00": (None, None),
        "c j3 of 1 Mar 00:00": (None, Decimal("2.5")),
    }
    assert prices(asked(store, "team")) == {"red": (5, Decimal("2.5")), "blue": (6, None)}
    assert prices(asked(store, "team", "blue")) == {"blue": (6, None)}
    assert prices(asked(store, "user")).keys() == {"", "ada"}


@pytest.mark.parametrize("by", ["model", "team", "project", "user", "run"])
def test_samples_stand_once_however_their_runs_are_told_apart(store: Store, by: str) -> None:
    found = asked(store, by)
    assert (found["trained_sample_count"].sum(), found["trained_token_count"].sum()) == (4500, 2_000_000)
    assert (sum(found["sampled_cost"].drop_nulls()), sum(found["token_trained_cost"].drop_nulls())) == (23, 5)
    assert sum(found["effective_cost"]) == sum(each["effective_cost"] for each in SPENT)


def test_what_idled_between_runs_has_no_samples(store: Store) -> None:
    found = owners(asked(store, "team"), between_runs(unheld(("n", "USD", Decimal(8))), held(("n", "red", 1))))
    idle = found.filter(pl.col("kind") == "between runs")
    assert prices(idle) == {"red": (None, None)}


LONG = [
    # A run from the last day of March into April, and a team that is called otherwise from the 16th on.
    hour(at(31, 22), Decimal(5), job_id="j9", submitted_at=at(31), user="ada"),
    hour(at(31, 23), Decimal(7), job_id="j9", submitted_at=at(31), user="ada"),
    hour(NEXT, Decimal("0.000000000000000001"), job_id="j9", submitted_at=at(31), user="ada"),
    hour(NEXT + HOUR, Decimal(11), job_id="j9", submitted_at=at(31), user="ada"),
    hour(at(15), Decimal(13), job_id="k1", submitted_at=at(15), team="red"),
    hour(at(16), Decimal(17), job_id="k2", submitted_at=at(16), team="crimson"),
]


def test_a_run_over_the_end_of_a_month_costs_its_part_in_each() -> None:
    with Store.open("duckdb::memory:", now=lambda: NEXT) as store:
        for row in LONG:
            day = f"{row['hour_start']:%Y-%m-%d}"
            mine = [each for each in LONG if f"{each['hour_start']:%Y-%m-%d}" == day]
            store.replace(SpendDay, spent(mine).collect(), partitions=[day], state=None)

        def costs(start: Any, end: Any, by: str = "run") -> dict[str, tuple[Decimal, int]]:
            found = store.select(sql.load("unit_costs").text, start=start, end=end, cluster="", team="", by=by)
            told = found.select("name", "effective_cost", "run_count").rows()
            return {name: (cost, runs) for name, cost, runs in told}

        after_next = NEXT + 30 * 24 * HOUR
        name = "c j9 of 31 Mar 00:00"
        march, april, both = costs(MONTH, NEXT), costs(NEXT, after_next), costs(MONTH, after_next)
        assert march[name] == (12, 1)
        assert april == {name: (Decimal("11.000000000000000001"), 1)}
        assert both[name] == (Decimal("23.000000000000000001"), 1), "one run, and all of its cost, once"
        assert costs(MONTH, NEXT, "team") == {"crimson": (17, 1), "red": (25, 2)}, "each as it was called"
        # Of a day that nobody ran anything on there is nothing.
        assert costs(at(20), at(21), "team") == {}
