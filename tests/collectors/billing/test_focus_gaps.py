"""What providers leave out of their FOCUS exports is unknown, with the reason, and never 0."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import polars as pl

from collectors.billing._format import Imported
from collectors.billing._read import read_bill
from ledger.tables import FocusCharge, Node
from queries.matching import node_resources
from tests.collectors.billing.bills import ROW, bill

GOOGLE: Mapping[str, object] = {
    **{name: value for name, value in ROW.items() if name not in {"ListCost", "Tags", "PricingQuantity"}},
    "BilledCost": 1.5,
    "EffectiveCost": 1.25,
    "ContractedCost": 1.5,
    "ProviderName": "Google Cloud",
    "InvoiceIssuerName": "Google",
    "Tags": [{"key": "team", "value": "vision"}],
    "x_Credits": [{"Amount": -0.25, "Type": "DISCOUNT", "Name": "spend"}],
    "x_Project": {"Id": "p", "Labels": [{"key": "a", "value": "b"}]},
}


def _charges(read: Imported) -> pl.DataFrame:
    assert read.format == "focus"
    return FocusCharge.validate(read.tables[FocusCharge])


def test_google_s_preview_has_no_list_cost(tmp_path: Path) -> None:
    path = tmp_path / "gcp_billing_export_focus.parquet"
    pl.DataFrame([GOOGLE, {**GOOGLE, "ListCost": None}]).write_parquet(path)
    charges = _charges(read_bill(path))
    assert charges["ListCost"].null_count() == 2
    assert charges["unknown_reason"].to_list() == ["ListCost is empty at the source"] * 2
    assert charges["EffectiveCost"].to_list() == [Decimal("1.25")] * 2
    assert [json.loads(each) for each in charges["Tags"]] == [{"team": "vision"}] * 2


def test_azure_s_zeros_that_mean_unknown_are_null(tmp_path: Path) -> None:
    reserved = {"ListCost": "0", "ContractedCost": "0", "BilledCost": "0", "ProviderName": "Microsoft"}
    marketplace = {"ContractedCost": "0", "ProviderName": "Microsoft", "PublisherName": "Databricks"}
    free = {"ListCost": "0", "ContractedCost": "0", "BilledCost": "0", "EffectiveCost": "0"}
    purchase = {"ChargeCategory": "Purchase", "EffectiveCost": "0", "ListCost": "0", "ContractedCost": "0"}
    refund = {"ChargeClass": "Correction", "BilledCost": "-1.5", "EffectiveCost": "-1.5", "ListCost": "0"}
    charges = _charges(read_bill(bill(tmp_path / "a.csv", reserved, marketplace, free, purchase, refund)))
    assert charges.select("ListCost", "ContractedCost").rows() == [
        (None, None),
        (2, None),
        (0, 0),
        (0, 0),
        (0, Decimal("1.5")),
    ]
    assert charges["unknown_reason"].to_list() == [
        "ListCost is 0 at the source for usage with a cost; ContractedCost is 0 at the source for usage with a cost",
        "ContractedCost is 0 at the source for usage with a cost",
        None,
        None,
        None,
    ]
    assert charges["HostProviderName"].to_list()[1] == "Databricks"


def test_azure_s_spelling_of_ids_does_not_part_a_node_from_its_resource(tmp_path: Path) -> None:
    name = "/subscriptions/S/resourceGroups/G/providers/Microsoft.Compute/virtualMachines/GPU-1"
    charges = _charges(read_bill(bill(tmp_path / "a.csv", {"ResourceId": name.lower(), "ProviderName": "Microsoft"})))
    node = {
        "cluster": "c",
        "node": "gpu-1",
        "exists_start": datetime(2026, 1, 1, tzinfo=UTC),
        "provider": "Microsoft",
        "provider_instance_id": f"azure://{name}",
    }
    empty = Node.create_empty()
    nodes = Node.validate(pl.DataFrame([{column: node.get(column) for column in empty.columns}], schema=empty.schema))
    links = node_resources(nodes, FocusCharge.validate(charges))
    assert links.select("node", "resource_id").rows() == [("gpu-1", name.lower())]


def test_machines_of_scale_sets_are_told_apart(tmp_path: Path) -> None:
    one, other = (
        f"/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/virtualMachineScaleSets/{each}/virtualMachines/2"
        for each in ("aks-gpu-vmss", "aks-cpu-vmss")
    )
    rows = [{"ResourceId": each, "ProviderName": "Microsoft"} for each in (one, other)]
    charges = _charges(read_bill(bill(tmp_path / "a.csv", *rows)))
    empty = Node.create_empty()
    values = {
        "cluster": "c",
        "node": "aks-gpu-vmss000002",
        "exists_start": datetime(2026, 1, 1, tzinfo=UTC),
        "provider_instance_id": f"azure://{one}",
    }
    nodes = Node.validate(pl.DataFrame([{column: values.get(column) for column in empty.columns}], schema=empty.schema))
    links = node_resources(nodes, FocusCharge.validate(charges))
    assert links["resource_id"].to_list() == [one.lower()]
