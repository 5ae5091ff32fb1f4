"""What idled between runs goes to who held the node that day, exactly, and to nobody where nobody did."""

from datetime import date
from decimal import Decimal

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from ledger import money
from queries.unit_costs import between_runs, owners

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
