"""Managed services stand in the same ledger, with the model that their bill names."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from app.context import Context
from app.data import Scope
from app.services import named
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
    assert (row["million_prompt_tokens_cost"], row["million_generated_tokens_cost"]) == ("5.0000", "15.0000")
    assert row["million_tokens_cost"] == "6.6667"
    table = managed.value
    assert table[["model", "token_direction", "unit", "team"]].to_numpy().tolist() == [
        ["gpt-4o-0513", "Input", "1K", "red"],
        ["gpt-4o-0513", "Output", "1K", ""],
    ]
    assert [float(each) for each in table["token_count"]] == [1_000_000, 200_000]
    assert table["million_managed_tokens_cost"].to_list() == ["5.0000", "15.0000"]
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
