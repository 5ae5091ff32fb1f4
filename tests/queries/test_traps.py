"""The known traps of bills: each from a file of FOCUS to what the ledger makes of it, or the test that has it."""

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from collectors.billing._read import read_bill
from ledger import money
from ledger.money_sections import MoneySettings
from ledger.tables import CommitmentDay, FocusCharge, NodeResource
from queries.graph import Span
from queries.rollups.commitment_day import commitment_day
from tests.bills import MONTH, NEXT, costs, imports_of, link, node, rows
from tests.collectors.billing.bills import bill

ROOT = Path(__file__).parents[2]
PLAN = "arn:aws:savingsplans::1:savingsplan/P1"
_GAPS = "tests/collectors/billing/test_focus_gaps.py"

TESTS: Mapping[str, tuple[str, ...]] = {
    "1 measures are never mixed": (
        "tests/queries/test_traps.py::test_what_was_paid_in_advance_counts_once_in_each_measure",
        "tests/queries/rollups/test_cost_hour.py::test_commitments_amortise_to_what_was_bought_in_the_examples_of_focus",
    ),
    "2 credits and refunds are negative and may have no resource": (
        "tests/queries/test_traps.py::test_a_refund_lowers_the_cost_however_it_is_written",
        "tests/collectors/billing/test_aws_cur.py::test_what_is_no_usage_keeps_its_sign_and_is_billed_whole",
    ),
    "3 tax has no resource": (
        "tests/queries/test_traps.py::test_tax_without_resource_and_account_is_kept_apart",
        "tests/queries/rollups/test_allocation_hour.py::test_shared_cost_follows_the_declared_rule",
    ),
    "4 corrections come in a later period": (
        "tests/queries/rollups/test_cost_hour.py::test_a_correction_keeps_its_charge_hours_and_its_own_billing_period",
        "tests/app/test_invoice_pages.py::test_a_correction_is_shown_as_invoiced_and_as_incurred",
    ),
    "5 closed periods stay, open ones are restated": (
        "tests/collectors/billing/test_snapshot.py::test_a_later_snapshot_replaces_its_period_and_keeps_the_earlier",
        "tests/app/test_bill_places.py::test_a_changed_bill_of_a_closed_period_waits_until_it_is_accepted",
        "tests/app/test_invoice_pages.py::test_changes_between_snapshots_sum_to_the_change_of_the_totals",
    ),
    "6 unused rows name the commitment as resource, or nothing": (
        "tests/queries/test_traps.py::test_an_unused_commitment_is_found_by_its_id_whatever_its_resource",
    ),
    "7 a purchase may be for a year": (
        "tests/queries/rollups/test_cost_hour.py::test_what_is_no_usage_is_booked_whole_at_its_start",
    ),
    "8 Azure writes resource ids in lower case": (
        "tests/queries/rollups/test_cost_hour.py::test_resource_ids_match_in_any_case",
        f"{_GAPS}::test_azure_s_spelling_of_ids_does_not_part_a_node_from_its_resource",
    ),
    "9 split rows stand in the place of their origin": (
        "tests/collectors/billing/test_aws_cur.py::test_split_lines_stand_apart_and_are_never_summed",
        "tests/collectors/billing/test_focus_versions.py::test_a_charge_beside_its_parts_is_told",
        "tests/app/test_export.py::test_the_ratios_of_a_charge_sum_to_one",
    ),
    "10 instants without a zone, ends that are exclusive": (
        "tests/collectors/billing/test_focus.py::test_naive_instants_are_utc_and_counted",
        "tests/queries/rollups/test_cost_hour.py::test_a_charge_of_one_hour_stays_in_it",
    ),
    "11 words for nothing": (
        "tests/collectors/billing/test_focus.py::test_words_for_nothing_are_null_and_counted",
        "tests/collectors/billing/test_aws_cur.py::test_words_for_nothing_are_null_and_counted",
    ),
    "12 doubles and decimals": (
        "tests/collectors/billing/test_focus.py::test_parquet_doubles_are_read_by_their_shortest_text",
        "tests/collectors/billing/test_focus.py::test_twenty_seven_decimals_are_summed_before_they_are_rounded",
        "tests/ledger/test_money.py::test_subunits_and_tolerance",
    ),
    "13 several currencies in one account": (
        "tests/collectors/billing/test_focus.py::test_currencies_accounts_and_periods_stay_apart",
        "tests/queries/test_measures.py::test_money_is_exact_and_currencies_stay_apart",
    ),
    "14 capacity blocks are paid once": (
        "tests/collectors/billing/test_amortisation.py::test_a_block_that_two_servers_used_and_then_nobody",
        "tests/collectors/billing/test_amortisation.py::test_effective_cost_sums_to_what_was_paid",
    ),
    "15 what a provider leaves out is unknown": (
        f"{_GAPS}::test_azure_s_zeros_that_mean_unknown_are_null",
        f"{_GAPS}::test_google_s_preview_has_no_list_cost",
        "tests/collectors/billing/test_usage_only.py::test_focus_names_without_any_cost",
    ),
    "16 GpuCount is of one unit": (
        "tests/queries/test_traps.py::test_the_number_of_gpus_in_a_price_multiplies_nothing",
    ),
    "17 a year of 8,760 hours, and an unused contracted cost that is 0 or null": (
        "tests/queries/rollups/test_commitment_day.py::test_a_day_of_a_plan_that_is_used_for_three_quarters",
        "tests/queries/test_traps.py::test_an_unused_commitment_without_a_contracted_cost_is_the_same_as_with_0",
    ),
    "18 seller, host and issuer are three": (
        "tests/queries/test_traps.py::test_a_marketplace_charge_is_the_sellers_and_on_the_issuers_invoice",
        "tests/collectors/billing/test_aws_cur.py::test_marketplace_lines_name_seller_and_issuer",
    ),
}
"""Where each trap is tested; the numbers are those of the list that the project was given."""

MARCH = {
    "BillingPeriodStart": "2026-03-01T00:00:00Z",
    "BillingPeriodEnd": "2026-04-01T00:00:00Z",
    "ChargePeriodStart": "2026-03-02T00:00:00Z",
    "ChargePeriodEnd": "2026-03-02T01:00:00Z",
}


@pytest.mark.parametrize("trap", TESTS)
def test_each_trap_has_a_test(trap: str) -> None:
    for each in TESTS[trap]:
        path, name = each.split("::")
        assert re.search(rf"^def {name}\(", (ROOT / path).read_text(encoding="utf-8"), re.MULTILINE), each


def charges(path: Path, *given: Mapping[str, str]) -> pl.DataFrame:
    """Return the charges of a CSV bill of March."""
    read = read_bill(bill(path / "bill.csv", *({**MARCH, **each} for each in given)))
    assert read.rejected == ()
    return FocusCharge.validate(read.tables[FocusCharge])


def hours(found: pl.DataFrame, **given: Any) -> pl.DataFrame:
    """Return their cost hours; sums are those of the charges, in both measures."""
    made = costs(found.to_dicts(), **given)
    assert money.add(*made["billed_cost"]) == money.add(*found["BilledCost"])
    assert money.add(*made["effective_cost"].drop_nulls()) == money.add(*found["EffectiveCost"].drop_nulls())
    return made


def commitments(found: pl.DataFrame) -> pl.DataFrame:
    """Return the days of their commitments."""
    made = commitment_day.function(
        charges=found.lazy(),
        imports=imports_of(found).lazy(),
        resources=rows(NodeResource, []).lazy(),
        span=Span(MONTH, NEXT, NEXT),
        settings=MoneySettings(),
    )
    return CommitmentDay.validate(made.collect())


def plan(status: str, effective: str, **given: str) -> dict[str, str]:
    """Return an hour of a savings plan."""
    return {
        "BilledCost": "0", "EffectiveCost": effective, "ListCost": "10", "ContractedCost": "9",
        "CommitmentDiscountId": PLAN, "CommitmentDiscountStatus": status, **given,
    }  # fmt: skip


BOUGHT = {
    "ChargeCategory": "Purchase", "BilledCost": "12", "EffectiveCost": "0", "ListCost": "12", "ContractedCost": "12",
    "CommitmentDiscountId": PLAN, "CommitmentDiscountStatus": "", "ResourceId": PLAN,
    "ChargePeriodEnd": "2026-03-02T02:00:00Z",
}  # fmt: skip


def test_what_was_paid_in_advance_counts_once_in_each_measure(tmp_path: Path) -> None:
    """Cash is the purchase, cost is the use and the waste; what list prices would be is told of the use alone."""
    found = charges(tmp_path, BOUGHT, plan("Used", "6"), plan("Unused", "6", ListCost="", ContractedCost=""))
    made = hours(found)
    by = made.group_by("charge_category").agg(pl.col("billed_cost").sum(), pl.col("effective_cost").sum())
    assert sorted(by.rows()) == [("Purchase", 12, 0), ("Usage", 0, 12)]
    days = commitments(found)
    totals = [money.add(*days[name].drop_nulls()) for name in ("purchased_cost", "used_cost", "unused_cost")]
    assert totals == [12, 6, 6]
    assert money.add(*days["covered_list_cost"].drop_nulls()) == 10, "the purchase's own list cost is not usage"


@pytest.mark.parametrize(
    "refund",
    [
        {"ChargeCategory": "Credit", "ResourceId": ""},
        {"ChargeCategory": "Adjustment", "ResourceId": "NULL", "ChargeDescription": "Refund"},
        {"ChargeClass": "Correction", "PricingQuantity": "-1"},
    ],
)
def test_a_refund_lowers_the_cost_however_it_is_written(tmp_path: Path, refund: dict[str, str]) -> None:
    found = charges(tmp_path, {}, {**refund, "BilledCost": "-0.4", "EffectiveCost": "-0.4", "ListCost": ""})
    made = hours(found)
    assert money.add(*made["billed_cost"]) == Decimal("1.1")
    assert made.filter(pl.col("billed_cost") < 0).height == 1


def test_tax_without_resource_and_account_is_kept_apart(tmp_path: Path) -> None:
    found = charges(tmp_path, {}, {"ChargeCategory": "Tax", "ResourceId": "", "ServiceName": "", "BilledCost": "0.19"})
    tax = hours(found).filter(charge_category="Tax").row(0, named=True)
    assert (tax["cost_kind"], tax["billed_cost"], tax["node"]) == ("tax", Decimal("0.19"), "")


def test_an_unused_commitment_is_found_by_its_id_whatever_its_resource(tmp_path: Path) -> None:
    made = []
    for resource in (PLAN, "", "not applicable"):
        found = charges(tmp_path, plan("Used", "6"), plan("Unused", "2.5", ResourceId=resource))
        (waste,) = hours(found).filter(commitment_status="Unused")["effective_cost"].to_list()
        made.append((waste, commitments(found)))
    assert [waste for waste, _ in made] == [Decimal("2.5")] * 3
    assert made[0][1].equals(made[1][1])
    assert made[0][1].equals(made[2][1])
    assert made[0][1]["commitment_id"].unique().to_list() == [PLAN.lower()]


def test_the_number_of_gpus_in_a_price_multiplies_nothing(tmp_path: Path) -> None:
    """Two hours of a server of eight GPUs at 98.32: 196.64, and 12.29 a GPU-hour; not eight times that."""
    server = {
        "BilledCost": "196.64", "EffectiveCost": "196.64", "ListCost": "", "ContractedCost": "", "PricingQuantity": "2",
        "ConsumedQuantity": "2", "ConsumedUnit": "Hours", "ResourceId": "i-a1", "ProviderName": "AWS",
        "ChargePeriodEnd": "2026-03-02T02:00:00Z", "SkuPriceDetails": '{"GpuCount": 8, "InstanceType": "p5.48xlarge"}',
    }  # fmt: skip
    found = charges(tmp_path, server)
    made = hours(found, nodes=[node("a1")], links=[link("a1")])
    assert made["billed_cost"].to_list() == [Decimal("98.32")] * 2
    later = datetime.fromisoformat(server["ChargePeriodEnd"]) + timedelta(hours=1)
    estimated = costs(found.to_dicts(), nodes=[node("a1")], links=[link("a1")], now=later).filter(is_estimated=True)
    assert estimated["effective_cost"].to_list() == [Decimal("98.32")], (
        "what comes is estimated at the rate of the node"
    )


def test_an_unused_commitment_without_a_contracted_cost_is_the_same_as_with_0(tmp_path: Path) -> None:
    made = [
        charges(tmp_path, plan("Unused", "6", ContractedCost=contracted, ListCost=contracted)).drop(
            "import_id", "unknown_reason"
        )
        for contracted in ("0", "", "null")
    ]
    assert made[0].select("ContractedCost", "ListCost", "EffectiveCost").row(0) == (None, None, 6)
    assert made[0].equals(made[1])
    assert made[0].equals(made[2])


def test_a_marketplace_charge_is_the_sellers_and_on_the_issuers_invoice(tmp_path: Path) -> None:
    """The service provider is what pages group by, the issuer is whose invoice it must agree with."""
    found = charges(
        tmp_path,
        {
            "ProviderName": "Databricks", "PublisherName": "Microsoft", "InvoiceIssuerName": "Carahsoft",
            "InvoiceId": "C-1",
        },
    )  # fmt: skip
    row = hours(found).row(0, named=True)
    assert (row["provider"], row["invoice_issuer"], row["invoice_id"]) == ("Databricks", "Carahsoft", "C-1")
    assert found["HostProviderName"].to_list() == ["Microsoft"]
