"""Usage in a currency without a rate: it has no cost, and the page Data health says why."""

from datetime import timedelta
from decimal import Decimal
from pathlib import Path

from app.context import Context
from app.services import named
from tests.app.conftest import used
from tests.app.opening import opened, said
from tests.demo import DEMO_NOW

CARD = 'provider = "CoreWeave"\ncurrency = "USD"\n[[rate]]\nsku = "H100_SXM"\nunit_price = 2.5\n'


def ingested(
    context: Context, folder: Path, currencies: tuple[str, ...], skus: tuple[str, ...] = ("H100_SXM",)
) -> None:
    """Import a rate card in dollars, and ten hours of usage in each of some currencies."""
    day = (DEMO_NOW - timedelta(days=2)).date()
    (folder / "card.toml").write_text(CARD)
    lines = [f"{day},CoreWeave,{sku},10,hours,{code}\n" for code in currencies for sku in skus]
    (folder / "usage.csv").write_text("start,provider,sku,quantity,unit,BillingCurrency\n" + "".join(lines))
    for service, asked in (
        ("ingest", {"paths": [str(folder / "card.toml")]}),
        ("ingest", {"paths": [str(folder / "usage.csv")]}),
        ("rollup", {}),
    ):
        named(service).run(context, named(service).asked(asked))


def test_data_health_names_usage_without_a_price_and_why(empty_context: Context, tmp_path: Path) -> None:
    ingested(empty_context, tmp_path, ("USD", "EUR"))
    with used(empty_context):
        page = opened("data_health", query={"window": "7d"})
    assert "Usage without a price" in said(page)
    (row,) = next(each.value for each in page.dataframe if "sku" in each.value).to_dict("records")
    assert (row["provider"], row["sku"], row["billing_currency"], float(row["quantity"])) == (
        "CoreWeave",
        "H100_SXM",
        "EUR",
        10,
    )
    assert row["reason"].startswith("EffectiveCost: no rate in EUR is known for the SKU, only in USD")
    costs = "SELECT billing_currency, sum(effective_cost) FROM cost_hour GROUP BY ALL ORDER BY ALL"
    assert empty_context.store.select(costs).rows() == [("EUR", None), ("USD", Decimal(25))]


def test_a_day_of_which_a_part_has_no_price_is_known_to_be_so(empty_context: Context, tmp_path: Path) -> None:
    """Of two kinds of usage one has a rate: what the day cost is more than that, and no unusually cheap day."""
    ingested(empty_context, tmp_path, ("USD",), skus=("H100_SXM", "B200_SXM"))
    query = "SELECT DISTINCT effective_cost, has_unstated_charge FROM {} WHERE effective_cost > 0"
    assert empty_context.store.select(query.format("spend_day")).rows() == [(Decimal(25), True)]
    with used(empty_context):
        page = opened("budget")
    assert "Of the last 30 days, 1 day cannot be judged: what some usage cost is not known" in said(page)


def test_where_all_usage_has_a_price_no_day_is_unjudged(empty_context: Context, tmp_path: Path) -> None:
    ingested(empty_context, tmp_path, ("USD",))
    with used(empty_context):
        page = opened("budget")
    assert "cannot be judged" not in said(page)


def test_where_all_usage_has_a_price_nothing_is_said(empty_context: Context, tmp_path: Path) -> None:
    ingested(empty_context, tmp_path, ("USD",))
    with used(empty_context):
        page = opened("data_health", query={"window": "7d"})
    assert "Usage without a price" not in said(page)
