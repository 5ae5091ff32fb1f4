"""Managed services stand in the same ledger, with the model that their bill names."""

from datetime import timedelta
from pathlib import Path

from app.context import Context
from app.services import named
from tests.app.conftest import used
from tests.app.opening import opened, said
from tests.demo import DEMO_NOW

HEADER = (
    "BillingAccountId,SubscriptionId,Date,MeterCategory,ServiceFamily,MeterName,Quantity,UnitOfMeasure,"
    "CostInBillingCurrency,BillingCurrencyCode,ChargeType,Tags\n"
)


def test_tokens_of_a_managed_service_are_on_the_page_of_models(empty_context: Context, tmp_path: Path) -> None:
    day = (DEMO_NOW - timedelta(days=2)).date()
    rows = [
        f"1,s,{day},Azure OpenAI,AI + Machine Learning,{meter},{quantity},1K,{cost},USD,Usage,"
        for meter, quantity, cost in (
            ("gpt 4o 0513 Input global Tokens", 1000, 5),
            ("gpt 4o 0513 Output global Tokens", 200, 3),
        )
    ]
    path = tmp_path / "azure.csv"
    path.write_text(HEADER + "\n".join(rows) + "\n")
    ingest = named("ingest")
    told = ingest.run(empty_context, ingest.asked({"paths": [str(path)]}))
    assert [each["rows"] for each in told["files"]] == [2]
    with used(empty_context):
        page = opened("models", query={"window": "7d"})
    (table,) = page.dataframe
    assert table.value[["model", "token_direction", "unit"]].to_numpy().tolist() == [
        ["gpt-4o-0513", "Input", "1K"],
        ["gpt-4o-0513", "Output", "1K"],
    ]
    assert [float(each) for each in table.value["effective_cost"]] == [5, 3]
    assert "Models of managed services" in said(page)
