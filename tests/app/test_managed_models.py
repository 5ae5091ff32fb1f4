"""Managed services stand in the same ledger, with the model that their bill names."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from app.context import Context
from app.data import Scope
from app.services import named
from ledger import money
from tests.app.conftest import used
from tests.app.opening import opened, said
from tests.demo import DEMO_NOW, settings_of

HEADER = (
    "BillingAccountId,SubscriptionId,Date,MeterCategory,ServiceFamily,MeterName,Quantity,UnitOfMeasure,"
    "CostInBillingCurrency,BillingCurrencyCode,ChargeType,Tags\n"
)


@pytest.fixture
def billed(tmp_path: Path) -> Iterator[Context]:
    """Return a ledger with two meters of one managed model, one of them tagged as the red team's."""
    owners = [{"team": "red", "field": "tag", "value": "team=red"}]
    context = Context(settings_of(tmp_path / "l.duckdb", money={"owners": owners}), now=lambda: DEMO_NOW)
    day = (DEMO_NOW - timedelta(days=2)).date()
    rows = [
        f"1,s,{day},Azure OpenAI,AI + Machine Learning,{meter},{quantity},1K,{cost},USD,Usage,{tags}"
        for meter, quantity, cost, tags in (
            ("gpt 4o 0513 Input global Tokens", 1000, 5, '"""team"": ""red"""'),
            ("gpt 4o 0513 Output global Tokens", 200, 3, ""),
        )
    ]
    path = tmp_path / "azure.csv"
    path.write_text(HEADER + "\n".join(rows) + "\n")
    ingest, rollup = named("ingest"), named("rollup")
    told = ingest.run(context, ingest.asked({"paths": [str(path)]}))
    assert [each["rows"] for each in told["files"]] == [2]
    rollup.run(context, rollup.asked({}))
    yield context
    context.close()


def test_a_managed_model_is_a_model_with_its_cost_and_price_per_million_tokens(billed: Context) -> None:
    with used(billed):
        page = opened("models", query={"window": "7d"})
    mine, managed = (
        next(each.value for each in page.dataframe if "prompt_token_count" in each.value),
        page.dataframe[-1],
    )
    (row,) = mine.to_dict("records")
    assert (row["model"], row["provider"]) == ("gpt-4o-0513", "Microsoft")
    assert (float(row["effective_cost"]), float(row["productive_cost"]), float(row["idle_cost"])) == (8, 8, 0)
    assert (row["prompt_token_count"], row["generated_token_count"]) == (1_000_000, 200_000)
    assert (row["million_prompt_tokens_cost"], row["million_generated_tokens_cost"]) == (5, 15)
    assert row["million_tokens_cost"] == pytest.approx(20 / 3)
    table = managed.value
    assert table[["model", "token_direction", "unit", "team"]].to_numpy().tolist() == [
        ["gpt-4o-0513", "Input", "1K", "red"],
        ["gpt-4o-0513", "Output", "1K", ""],
    ]
    assert [float(each) for each in table["token_count"]] == [1_000_000, 200_000]
    assert table["million_managed_tokens_cost"].to_list() == [5, 15]
    assert "billed_cost" not in table, "what is billed is told of whole billing periods, on other pages"
    assert "Models of managed services" in said(page)


def test_a_team_sees_what_its_tags_own_and_the_ledger_holds_it_once(billed: Context) -> None:
    red = replace(billed, viewer=lambda: Scope("team", "red", ("red",)), _store=billed.store)
    with used(red):
        page = opened("models", query={"window": "7d"})
    assert [row["token_direction"] for row in page.dataframe[-1].value.to_dict("records")] == ["Input"]
    query = "SELECT sum(effective_cost) FROM {} WHERE team = 'red'"
    allocated, named_ = (
        billed.store.select(query.format(name)).item() for name in ("allocation_hour", "managed_model_day")
    )
    assert allocated == named_ == Decimal(5)
    assert billed.store.select("SELECT sum(effective_cost) FROM cost_hour").item() == Decimal(8)


def test_a_budget_of_a_managed_model_counts_its_charges_once(billed: Context) -> None:
    service = named("budgets")
    asked = {"action": "set", "scope": "model:gpt-4o-0513", "currency": "USD", "amount": "7"}
    (row,) = service.run(billed, service.asked(asked))
    # Two more of the weekday that it was charged on come in the month: the forecast counts them too.
    assert (row["spent_cost"], row["expected_cost"], row["status"]) == (Decimal(8), Decimal(24), "broken")


def test_the_focus_export_names_the_model_that_the_bill_names(billed: Context, tmp_path: Path) -> None:
    service = named("export")
    for version, tags in (("1.4", "AllocatedTags"), ("1.2", "Tags")):
        out = tmp_path / f"{version}.parquet"
        service.run(billed, service.asked({"out": out, "version": version}))
        found = pl.read_parquet(out)
        assert found["x_Model"].unique().to_list() == ["gpt-4o-0513"]
        assert {json.loads(each)["model"] for each in found[tags]} == {"gpt-4o-0513"}
        assert money.add(*found["EffectiveCost"]) == Decimal(8)


def test_the_cost_page_tells_managed_models_apart(billed: Context) -> None:
    with used(billed):
        page = opened("cost", query={"window": "7d", "by": "model"})
    table = page.dataframe[0].value
    assert [(row["name"], float(row["cost"])) for row in table.to_dict("records")] == [("gpt-4o-0513", 8)]


@pytest.mark.parametrize(("unit", "is_said"), [("model", False), ("team", True), ("run", False)])
def test_who_looks_for_tokens_of_a_team_is_told_that_nobody_knows_them(
    demo_context: Context, unit: str, *, is_said: bool
) -> None:
    with used(demo_context):
        page = opened("models", query={"window": "7d", "unit": unit})
    assert ("Whose prompts and generated tokens a model server answered is not known" in said(page)) is is_said


def test_a_team_is_told_where_its_tokens_stand(demo_context: Context) -> None:
    with used(demo_context):
        words = said(opened("models", query={"window": "7d", "unit": "run"}, team="language"))
    assert "They stand here where neither a team nor a cluster is chosen" in words
