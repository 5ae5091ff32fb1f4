"""What a model costs: each unit of the estate's cost once, whatever a bill says of it besides."""

from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from typing import Any

import polars as pl
import pytest

from ledger import money
from ledger.store import Store
from ledger.tables import ManagedModelDay, ModelCostDay, SpendDay
from queries import sql
from tests.bills import MONTH, NEXT, at, rows
from tests.queries.rollups.test_forecast_day import hour, spent

DAY = date(2026, 3, 5)
PERIOD = {"billing_period_start": MONTH, "day": DAY, "provider": "Cloud", "service_name": "Models"}


def named(model: str, cost: Decimal, direction: str, tokens: int | None, **given: Any) -> dict[str, Any]:
    """Return a day of a model of a managed service, as its bill names it."""
    row = PERIOD | {
        "model": model, "token_direction": direction, "consumed_unit": "1K", "team": "", "billing_currency": "USD",
        "in_scope": True, "billed_cost": cost, "effective_cost": cost, "token_count": tokens,
    }  # fmt: skip
    return row | given


def off_node(model: str, cost: Decimal, **given: Any) -> dict[str, Any]:
    """Return an hour of the cost of a managed model, which no job held."""
    nobody = {"node": "", "cluster": "", "gpu_uuid": "", "state": "", "team": "", "job_id": "", "bucket": "unallocable"}
    return hour(at(5), cost, model=model, provider="Cloud", held_gpu_seconds=Decimal(0), **(nobody | given))


SPENT = [
    hour(at(5), Decimal(10), model="trained"),
    hour(at(5), Decimal(4), model="trained", state="held_idle", gpu_uuid="g1"),
    # What nobody held, on the same node: no model's.
    hour(at(5), Decimal(3), model="", team="", job_id="", bucket="idle", state="unallocated", gpu_uuid="g2"),
    # The bill names a model for a charge that lies on a node: the job there has the cost, and the name has none.
    off_node("chat", Decimal(8)),
    # Of this one a part lies on a node.
    off_node("partly", Decimal(5)),
    # Not of the AI estate.
    off_node("chat", Decimal(100), in_scope=False),
    hour(at(5), Decimal(50), model="trained", gpu_uuid="g3", in_scope=False),
]
NAMED = [
    named("chat", Decimal(5), "Input", 1_000),
    named("chat", Decimal(3), "Output", 200),
    named("chat", Decimal(100), "Output", 9, in_scope=False),
    named("on a node", Decimal(14), "Input", 4_000),
    named("partly", Decimal(9), "Input", 2_000),
]
ROLLED = [
    {
        "day": DAY, "billing_currency": "USD", "model": "trained", "effective_cost": Decimal(64),
        "productive_cost": Decimal(60), "idle_cost": Decimal(4), "gpu_allocated_seconds": Decimal(10_800),
        "run_count": 1, "prompt_token_count": 7, "serving_cost": Decimal(2), "is_estimated": False,
    }
]  # fmt: skip


@pytest.fixture(scope="module")
def store() -> Iterator[Store]:
    with Store.open("duckdb::memory:", now=lambda: NEXT) as opened:
        opened.replace(SpendDay, spent(SPENT).collect(), partitions=[f"{DAY}"], state=None)
        opened.replace(ManagedModelDay, rows(ManagedModelDay, NAMED), partitions=["2026-03"], state=None)
        opened.replace(ModelCostDay, rows(ModelCostDay, ROLLED), partitions=[f"{DAY}"], state=None)
        yield opened


def asked(store: Store, question: str, **given: str) -> pl.DataFrame:
    chosen = {"start": at(5), "end": at(6), "cluster": "", "team": ""} | given
    return store.select(sql.load(question).text, **chosen)


def test_no_unit_counts_twice_and_none_is_lost(store: Store) -> None:
    models, rest, days = (asked(store, name) for name in ("model_costs", "modelless_costs", "model_days"))
    assert dict(models.select("model", "effective_cost").iter_rows()) == {
        "trained": 14, "chat": 8, "partly": 5, "on a node": None,
    }  # fmt: skip
    assert rest.select("bucket", "effective_cost").rows() == [("idle", 3)]
    estate = [row["effective_cost"] for row in SPENT if row.get("in_scope", True)]
    assert money.add(*models["effective_cost"].drop_nulls(), *rest["effective_cost"]) == money.add(*estate)
    assert money.add(*days["cost"]) == money.add(*models["effective_cost"].drop_nulls())


def test_what_tokens_cost_is_productive_where_all_of_it_is_here(store: Store) -> None:
    models = asked(store, "model_costs")
    assert {row["model"]: (row["productive_cost"], row["idle_cost"]) for row in models.to_dicts()} == {
        "trained": (10, 4), "chat": (8, 0), "partly": (None, 0), "on a node": (None, None),
    }  # fmt: skip


def test_tokens_and_their_price_are_as_their_own_source_tells_them(store: Store) -> None:
    models = {row["model"]: row for row in asked(store, "model_costs").to_dicts()}
    told = ("prompt_token_count", "generated_token_count", "serving_cost", "gpu_hours")
    assert {name: tuple(row[each] for each in told) for name, row in models.items()} == {
        "trained": (7, None, 2, 2.0), "chat": (1_000, 200, 8, 0.0), "partly": (2_000, None, 9, 0.0),
        "on a node": (4_000, None, 14, 0.0),
    }  # fmt: skip
    assert models["chat"]["provider"] == "Cloud"


def test_a_cluster_has_what_its_jobs_held_and_no_managed_model(store: Store) -> None:
    (row,) = asked(store, "model_costs", cluster=str(SPENT[0]["cluster"])).to_dicts()
    assert (row["model"], row["effective_cost"], row["prompt_token_count"]) == ("trained", 14, None)
    assert asked(store, "model_costs", cluster="elsewhere").is_empty()
    assert asked(store, "modelless_costs", cluster="elsewhere").is_empty()
