"""Azure cost exports: one cost from two views, whatever agreement, language or spelling wrote them."""

import csv
import io
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from collectors.billing._delivery import Place
from collectors.billing._format import Imported
from collectors.billing._read import read_bill, read_source
from collectors.billing._snapshot import decide
from ledger.errors import InputError
from ledger.tables import BillImport, FocusCharge

PLAN = "/providers/Microsoft.BillingBenefits/savingsPlanOrders/p/savingsPlans/s"
RESERVATION = "/providers/Microsoft.Capacity/reservationOrders/o/reservations/r"
MACHINE = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/virtualMachines/gpu-1"

ROW: Mapping[str, str] = {
    "BillingAccountId": "8611537",
    "BillingPeriodStartDate": "09/01/2026",
    "BillingPeriodEndDate": "09/30/2026",
    "SubscriptionId": "s",
    "Date": "09/13/2026",
    "ProductName": "Virtual Machines NDv5 - ND96isr - US East 2",
    "MeterCategory": "Virtual Machines",
    "MeterName": "ND96isr H100 v5",
    "ServiceFamily": "Compute",
    "ConsumedService": "Microsoft.Compute",
    "Quantity": "24",
    "UnitOfMeasure": "1 Hour",
    "UnitPrice": "98.32",
    "CostInBillingCurrency": "2359.68",
    "BillingCurrencyCode": "USD",
    "ResourceLocation": "US East 2",
    "ResourceId": MACHINE,
    "Tags": '"team": "vision","env": "prod"',
    "AdditionalInfo": '{"ServiceType":"Standard_ND96isr_H100_v5","VCPUs":96}',
    "ChargeType": "Usage",
    "Frequency": "UsageBased",
    "PricingModel": "OnDemand",
    "PublisherType": "Azure",
    "PublisherName": "Microsoft",
    "BenefitId": "",
    "BenefitName": "",
}

COVERED = {"PricingModel": "Reservation", "BenefitId": RESERVATION, "BenefitName": "H100, 3 years"}
PURCHASE = {**COVERED, "ChargeType": "Purchase", "Frequency": "Recurring", "CostInBillingCurrency": "36000"}


def _export(path: Path, *rows: Mapping[str, str], without: tuple[str, ...] = (), mark: str = ",") -> Path:
    names = [each for each in ROW if each not in without]
    names += dict.fromkeys(each for row in rows for each in row if each not in ROW)
    out = io.StringIO()
    writer = csv.DictWriter(out, names, extrasaction="ignore", restval="", delimiter=mark)
    writer.writeheader()
    writer.writerows({**ROW, **row} for row in rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\ufeff" + out.getvalue(), encoding="utf-8", newline="")
    return path


def _charges(read: Imported) -> pl.DataFrame:
    assert read.format == "azure_cost"
    BillImport.validate(read.imports)
    return FocusCharge.validate(read.tables[FocusCharge])


def _both(folder: Path) -> Path:
    """Write a month in both views: a machine on demand, one under a reservation, one unused hour, tax and a refund."""
    others = ({}, {"ChargeType": "Tax", "CostInBillingCurrency": "12.5"}, {"CostInBillingCurrency": "-1.25"})
    given_back = {**COVERED, "ChargeType": "Refund", "Frequency": "OneTime", "CostInBillingCurrency": "-100"}
    _export(folder / "actual/part_0.csv", *others, PURCHASE, given_back, {**COVERED, "CostInBillingCurrency": "0"})
    unused = {**COVERED, "ChargeType": "UnusedReservation", "Quantity": "1", "CostInBillingCurrency": "41.1"}
    amortised = {**COVERED, "CostInBillingCurrency": "986.3"}
    _export(folder / "amortized/part_0.csv", *others, amortised, unused, given_back)
    return folder


def test_two_views_of_one_cost_are_one_cost(tmp_path: Path) -> None:
    read = read_bill(_both(tmp_path))
    charges = _charges(read)
    assert read.version == "ea actual and amortised"
    (unit,) = read.imports.iter_rows(named=True)
    ordinary = Decimal("2359.68") + Decimal("12.5") - Decimal("1.25")
    assert unit["billed_cost"] == unit["control_cost"] == ordinary + 36000 - 100
    assert unit["effective_cost"] == ordinary + Decimal("986.3") + Decimal("41.1")
    status = charges.group_by("CommitmentDiscountStatus", "ChargeCategory").agg(
        pl.col("BilledCost").sum(), pl.col("EffectiveCost").sum()
    )
    found = {tuple(row[:2]): tuple(row[2:]) for row in status.iter_rows()}
    assert found["Used", "Usage"] == (0, Decimal("986.3"))
    assert found["Unused", "Usage"] == (0, Decimal("41.1"))
    assert found[None, "Purchase"] == (35900, 0)
    assert not read.remarks


def test_views_that_disagree_are_told(tmp_path: Path) -> None:
    folder = _both(tmp_path)
    _export(folder / "actual/part_1.csv", {"CostInBillingCurrency": "7"})
    read = read_bill(folder)
    assert read.imports["control_cost"][0] - read.imports["billed_cost"][0] == 7
    assert any("the source's own total is 38277.93" in each for each in read.remarks)


def test_one_view_beside_the_other_waits(tmp_path: Path) -> None:
    folder = _both(tmp_path / "both")
    actual = read_bill(folder / "actual/part_0.csv", source_name="actual")
    amortised = read_bill(folder / "amortized/part_0.csv", source_name="amortized")
    assert [each.version for each in (actual, amortised)] == ["ea actual", "ea amortised"]
    first = decide(BillImport.create_empty(), actual.imports).imports
    second = decide(first, amortised.imports)
    assert set(second.imports["status"]) == {"current", "waiting"}
    assert "found the amortised view of a cost that actual delivers as actual" in second.reasons[0]
    accepted = decide(first, amortised.imports, accept=True).imports
    assert dict(accepted.select("source_name", "status").iter_rows()) == {
        "actual": "superseded",
        "amortized": "current",
    }
    whole = decide(first, read_bill(folder).imports).imports
    assert dict(whole.select("version", "status").iter_rows()) == {
        "ea actual": "superseded",
        "ea actual and amortised": "current",
    }


def test_one_view_alone_says_what_it_cannot_know(tmp_path: Path) -> None:
    folder = _both(tmp_path)
    actual = read_bill(folder / "actual/part_0.csv")
    covered = _charges(actual).filter(CommitmentDiscountStatus="Used").row(0, named=True)
    assert covered["EffectiveCost"] is None
    assert "EffectiveCost is empty at the source" in covered["unknown_reason"]
    assert actual.remarks[0].startswith("actual cost alone: what usage under reservations")
    amortised = read_bill(folder / "amortized/part_0.csv")
    assert amortised.remarks[0].startswith("amortised cost alone: what was paid for reservations")
    assert amortised.imports["billed_cost"][0] == Decimal("2270.93")
    # A refund of a commitment is cash only.
    assert amortised.imports["effective_cost"][0] == Decimal("2370.93") + Decimal("986.3") + Decimal("41.1")


def test_a_file_of_both_views_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected one view of a cost"):
        read_bill(_export(tmp_path / "cost.csv", PURCHASE, COVERED))


def test_of_two_runs_of_one_export_the_latest_counts(tmp_path: Path) -> None:
    _export(tmp_path / "costs/20260901-20260930/202609130400/a/part_0.csv", {"CostInBillingCurrency": "5"})
    _export(tmp_path / "costs/20260901-20260930/202609140400/b/part_0.csv", {"CostInBillingCurrency": "7"})
    read = read_bill(tmp_path)
    assert _charges(read)["BilledCost"].to_list() == [7]
    assert "the latest of 2 runs was taken" in read.remarks[0]
    _export(tmp_path / "old/20260901-20260930/guid-1/part_0.csv", {})
    _export(tmp_path / "old/20260901-20260930/guid-2/part_0.csv", {})
    with pytest.raises(InputError, match="found 2 runs of one export"):
        read_bill(tmp_path / "old")


def test_what_a_charge_is(tmp_path: Path) -> None:
    plan = {"PricingModel": "SavingsPlan", "BenefitId": PLAN, "CostInBillingCurrency": "0"}
    rows = (
        {},
        {"PricingModel": "Spot"},
        {"ChargeType": "RoundingAdjustment", "CostInBillingCurrency": "0.01"},
        {"ChargeType": "Refund", "CostInBillingCurrency": "-3"},
        plan,
        {
            "PublisherType": "Marketplace",
            "PublisherName": "Databricks",
            "ChargeType": "Purchase",
            "Frequency": "OneTime",
        },
        {"ChargeType": "Credit", "CostInBillingCurrency": "-4"},
    )
    charges = _charges(read_bill(_export(tmp_path / "cost.csv", *rows)))
    wanted = ("ChargeCategory", "ChargeClass", "PricingCategory", "CommitmentDiscountType", "HostProviderName")
    assert charges.select(wanted).rows() == [
        ("Usage", None, "Standard", None, "Microsoft"),
        ("Usage", None, "Dynamic", None, "Microsoft"),
        ("Adjustment", None, "Standard", None, "Microsoft"),
        ("Purchase", "Correction", "Standard", None, "Microsoft"),
        ("Usage", None, "Committed", "Savings Plan", "Microsoft"),
        ("Purchase", None, "Standard", None, "Databricks"),
        ("Credit", None, "Standard", None, "Microsoft"),
    ]
    first = charges.row(0, named=True)
    assert first["ChargePeriodStart"] == datetime(2026, 9, 13, tzinfo=UTC)
    assert first["ChargePeriodEnd"] == datetime(2026, 9, 14, tzinfo=UTC)
    assert first["BillingPeriodEnd"] == datetime(2026, 10, 1, tzinfo=UTC)
    assert first["RegionId"] == "eastus2"
    assert json.loads(first["SkuPriceDetails"]) == {"InstanceType": "Standard_ND96isr_H100_v5"}
    assert json.loads(first["Tags"]) == {"team": "vision", "env": "prod"}
    assert charges["BilledCost"].sum() == 3 * Decimal("2359.68") + Decimal("0.01") - 7


def test_zeros_that_mean_unknown_are_null(tmp_path: Path) -> None:
    row = {"PaygCostInBillingCurrency": "0", "UnitPrice": "0", "PayGPrice": "0"}
    charge = _charges(read_bill(_export(tmp_path / "cost.csv", row))).row(0, named=True)
    assert charge["ListCost"] is None
    assert "ListCost is 0 at the source for usage with a cost" in charge["unknown_reason"]
    assert (charge["ContractedUnitPrice"], charge["ListUnitPrice"]) == (None, None)


@pytest.mark.parametrize(
    ("day", "cost", "mark"),
    [
        ("13.09.2026", "2.359,68", ";"),
        ("13/09/2026", "2359,68", ";"),
        ("2026/9/13", "2,359.68", ","),
        ("2026年9月13日", "2359.68", ","),
    ],
)
def test_days_and_numbers_of_any_place(tmp_path: Path, day: str, cost: str, mark: str) -> None:
    row = {"Date": day, "CostInBillingCurrency": cost, "BillingPeriodStartDate": "", "BillingPeriodEndDate": ""}
    row["UnitPrice"] = "98.32" if cost.endswith(".68") else "98,32"
    charge = _charges(read_bill(_export(tmp_path / "cost.csv", row, mark=mark))).row(0, named=True)
    assert charge["BilledCost"] == Decimal("2359.68")
    assert charge["ChargePeriodStart"] == datetime(2026, 9, 13, tzinfo=UTC)
    assert charge["BillingPeriodStart"] == datetime(2026, 9, 1, tzinfo=UTC)


def test_headers_of_another_language(tmp_path: Path) -> None:
    path = tmp_path / "kosten.csv"
    path.write_text(
        "Abonnement-ID;Datum;Verbrauchseinheitenkategorie;Menge;Kosten;Währung\n"
        "s;13.09.2026;Virtual Machines;1,5;10,25;EUR\n",
        encoding="utf-8",
    )
    charge = _charges(read_bill(path)).row(0, named=True)
    assert (charge["BilledCost"], charge["BillingCurrency"], charge["BillingAccountId"]) == (
        Decimal("10.25"),
        "EUR",
        "s",
    )
    assert charge["ConsumedQuantity"] == Decimal("1.5")


def test_bad_rows_are_named_in_the_file_s_own_words(tmp_path: Path) -> None:
    path = _export(
        tmp_path / "cost.csv", {}, {"CostInBillingCurrency": "much"}, {"Date": "tomorrow"}, {"BillingCurrencyCode": ""}
    )
    read = read_bill(path)
    assert _charges(read).height == 1
    assert [each.reason.removeprefix(f"{path}: ") for each in read.rejected] == [
        "line 3, column CostInBillingCurrency: found 'much', expected a decimal number such as -12.50",
        "line 4, column Date: found 'tomorrow', expected an instant such as 2026-01-01T00:00:00Z",
        "line 5, column BillingCurrencyCode: found nothing, expected a value in every row",
    ]
    no_currency = _export(tmp_path / "bare.csv", {}, without=("BillingCurrencyCode",))
    with pytest.raises(InputError, match="found no column BillingCurrency"):
        read_bill(no_currency)
    assert _charges(read_bill(no_currency, defaults={"BillingCurrency": "EUR"}))["BillingCurrency"].to_list() == ["EUR"]


def test_tags_that_are_cut_keep_their_whole_pairs(tmp_path: Path) -> None:
    rows = ({"Tags": '{"team": "vision","env": "pr'}, {"Tags": "nonsense"})
    read = read_bill(_export(tmp_path / "cost.csv", *rows))
    assert _charges(read)["Tags"].to_list() == ['{"team": "vision"}', None]
    assert "1 cell of Tags left out: no JSON object" in read.remarks


def test_a_machine_of_a_scale_set_has_an_id_of_its_own(tmp_path: Path) -> None:
    scale_set = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/virtualMachineScaleSets/aks-gpu-vmss"
    row = {"ResourceId": scale_set, "AdditionalInfo": '{"VMName": "aks-gpu-vmss_12"}'}
    charge = _charges(read_bill(_export(tmp_path / "cost.csv", row))).row(0, named=True)
    assert charge["ResourceId"] == f"{scale_set}/virtualMachines/12"
    assert charge["ResourceName"] == "aks-gpu-vmss_12"


def test_unused_capacity_is_unused(tmp_path: Path) -> None:
    held = '{"VMCapacityReservationId": "c-1", "UsageType": "ComputeCR"}'
    empty = "/subscriptions/s/providers/Microsoft.Compute/capacityReservationGroups/g/capacityReservations/c"
    rows = ({"AdditionalInfo": held}, {"AdditionalInfo": held, "ResourceId": empty})
    charges = _charges(read_bill(_export(tmp_path / "cost.csv", *rows)))
    assert charges.select("CapacityReservationId", "CapacityReservationStatus").rows() == [
        ("c-1", "Used"),
        ("c-1", "Unused"),
    ]


@pytest.mark.parametrize(
    ("meter", "said"),
    [
        ("gpt 4o 0513 Input global Tokens", {"ModelId": "gpt-4o-0513", "TokenDirection": "Input"}),
        ("gpt-4o-mini-0718-Outp-glbl Tokens", {"ModelId": "gpt-4o-mini-0718", "TokenDirection": "Output"}),
        (
            "gpt 4.1 cached Inp glbl Tokens",
            {"ModelId": "gpt-4.1", "TokenDirection": "Input", "TokenCacheAction": "Read"},
        ),
        ("text-embedding-ada-002 Tokens", {"ModelId": "text-embedding-ada-002"}),
        ("Standard S1 Text Records", {}),
    ],
)
def test_token_meters_name_their_model(tmp_path: Path, meter: str, said: dict[str, str]) -> None:
    row = {
        "MeterCategory": "Azure OpenAI",
        "MeterName": meter,
        "ProductName": "",
        "ServiceFamily": "AI + Machine Learning",
        "UnitOfMeasure": "1K",
        "AdditionalInfo": "",
    }
    charge = _charges(read_bill(_export(tmp_path / "cost.csv", row))).row(0, named=True)
    assert json.loads(charge["SkuPriceDetails"] or "{}") == said
    assert charge["ServiceCategory"] == "AI and Machine Learning"
    assert charge["PricingUnit"] == "1K"


def test_a_currency_that_is_none_is_asked_for(tmp_path: Path) -> None:
    path = _export(tmp_path / "cost.csv", {"BillingCurrencyCode": "MC"})
    with pytest.raises(InputError, match=r"column BillingCurrencyCode: found 'MC', expected three letters") as caught:
        read_bill(path)
    assert caught.value.hint == 'state it: [money.bill_defaults] BillingCurrency = "EUR"'
    read = read_bill(path, defaults={"BillingCurrency": "EUR"})
    assert _charges(read)["BillingCurrency"].to_list() == ["EUR"]
    assert "'MC' is no currency: the stated EUR is taken" in read.remarks


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("name", "version", "rows", "billed", "effective"),
    [
        ("azure_v1_costreport.csv", "payg actual", 3, "0.00011016", "0.00011016"),
        ("azure_v2.csv", "ea actual", 5, "19.998413754", "19.998413754"),
        ("ea_actual_cost_small.csv", "ea actual", 11, "8.5450077867419368", "5.2950077867419368"),
        ("ea_export_2023-09.csv", "ea actual", 27, "1.26136926505726", "1.26136926505726"),
        ("opencost/headersets_Enterprise.csv", "ea actual", 1, "0", None),
        ("opencost/headersets_EnterpriseCamel.csv", "mca actual", 1, "0.012", "0.012"),
        ("opencost/headersets_PayAsYouGo.csv", "payg actual", 1, "0.075", "0.075"),
        ("opencost/values_Template.csv", "ea actual", 87, "16.393506212224391", "16.393506212224391"),
        ("opencost/values_VirtualMachine.csv", "ea actual", 1, "4", "4"),
    ],
)
def test_real_exports(
    shared_data: Path, name: str, version: str, rows: int, billed: str, effective: str | None
) -> None:
    path = shared_data / "billing/azure" / name
    read = read_bill(path, defaults={"BillingCurrency": "USD"})
    charges = _charges(read)
    assert (read.version, charges.height, read.rejected) == (version, rows, ())
    costs = [
        Decimal(each)
        for row in csv.DictReader(io.StringIO(path.read_text("utf-8-sig")))
        for key, each in row.items()
        if key.lower() in {"cost", "costinbillingcurrency", "pretaxcost"}
    ]
    assert charges["BilledCost"].sum() == sum(costs) == Decimal(billed)
    assert charges["EffectiveCost"].sum() == Decimal(effective or 0)
    assert (charges["EffectiveCost"].null_count() == rows) is (effective is None)


def test_exports_of_both_views_in_one_place_are_one_delivery(tmp_path: Path) -> None:
    for view, run in (("actual", "a"), ("amortized", "b"), ("amortized", "c")):
        period = tmp_path / f"daily-{view}-cost/20260901-20260930"
        rows = [PURCHASE] if view == "actual" else [{**COVERED, "CostInBillingCurrency": "986.3"}]
        _export(period / run / "part_0.csv", *rows)
        (period / run / "manifest.json").write_text(json.dumps({"blobs": [{"blobName": f"{run}/part_0.csv"}]}))
    _export(tmp_path / "usage/20260901-20260930/part.csv", {})
    place = Place(str(tmp_path))
    both, alone = place.deliveries()
    assert both.name == "daily-actual-and-amortised-cost/20260901-20260930"
    assert [each.path.split("/")[2] for each in both.files] == ["a", "c"]
    assert alone.name == "usage/20260901-20260930"
    read = read_source(place.source(both, "azure", tmp_path))
    assert read.version == "ea actual and amortised"
    assert read.imports.select("billed_cost", "effective_cost").rows() == [(36000, Decimal("986.3"))]


LOCALISED = {
    "German": (
        "Abonnement-GUID (SubscriptionGuid),Ressourcengruppe (ResourceGroup),UsageDateTime (UsageDateTime),"
        "Kategorie der Verbrauchseinheit (MeterCategory),UsageQuantity (UsageQuantity),PreTaxCost (PreTaxCost)"
    ),
    "Spanish": (
        "Ubicación de los recursos (SubscriptionGuid),ResourceGroup (ResourceGroup),UsageDateTime (UsageDateTime),"
        "Categoría del medidor (MeterCategory),UsageQuantity (UsageQuantity),PreTaxCost (PreTaxCost)"
    ),
    "French": (
        "Guid d'abonnement (SubscriptionGuid),Centre de coûts (CostCenter),Date (Date),"
        "Catégorie du compteur (MeterCategory),Quantité consommée (ConsumedQuantity),Coût (Cost)"
    ),
    "Japanese": (
        "サブスクリプション GUID（SubscriptionGuid）,リソース グループ (ResourceGroup),日付 (Date),"
        "メーター カテゴリ (MeterCategory),数量 (Quantity),コスト (Cost)"
    ),
}


@pytest.mark.parametrize("header", LOCALISED.values(), ids=LOCALISED)
@pytest.mark.parametrize(("day", "cost"), [("2026-09-03", "1210.25"), ("03.09.2026", '"1.210,25"')])
def test_a_localised_export_has_azures_names_in_brackets(tmp_path: Path, header: str, day: str, cost: str) -> None:
    path = tmp_path / "cost.csv"
    path.write_text(f"{header}\ns,g,{day},Virtual Machines,2,{cost}\n", encoding="utf-8")
    charge = _charges(read_bill(path, defaults={"BillingCurrency": "EUR"})).row(0, named=True)
    assert (charge["BilledCost"], charge["ConsumedQuantity"]) == (Decimal("1210.25"), 2)
    assert (charge["SubAccountId"], charge["ServiceName"]) == ("s", "Virtual Machines")
    assert charge["ChargePeriodStart"] == datetime(2026, 9, 3, tzinfo=UTC)


@pytest.mark.parametrize(
    ("language", "header"),
    [
        ("Italian", "ID sottoscrizione,Nome contatore,Categoria contatore,Data di utilizzo,Quantità,Costo,Valuta"),
        ("Japanese", "サブスクリプション ID,メーター名,使用日,数量,料金"),
        ("Korean", "구독 ID,미터 이름,사용 날짜,수량,비용"),
        ("French", "Abonnement,Compteur,Mesure,Quantité,Devise,Montant"),
    ],
)
def test_columns_of_another_language_are_told(tmp_path: Path, language: str, header: str) -> None:
    path = tmp_path / "cost.csv"
    path.write_text(f"{header}\n{','.join('1' for _ in header.split(','))}\n", encoding="utf-8")
    with pytest.raises(InputError) as told:
        read_bill(path)
    assert f"line 1: found columns that look {language} ({header.split(',', maxsplit=1)[0]}, " in told.value.message
    assert "Date or UsageDateTime" in told.value.message
    assert "English" in str(told.value.hint)
    assert "\n" not in told.value.message


def test_an_export_without_its_cost_says_what_it_lacks(tmp_path: Path) -> None:
    path = _export(tmp_path / "cost.csv", {}, without=("CostInBillingCurrency",))
    with pytest.raises(InputError, match="none of them CostInBillingCurrency, Cost or PreTaxCost, expected an Azure"):
        read_bill(path)


def test_what_is_not_clear_is_refused_or_stated(tmp_path: Path) -> None:
    path = tmp_path / "cost.csv"

    def read(day: str, cost: str, **stated: str) -> Mapping[str, object]:
        path.write_text(f"{LOCALISED['German']}\ns,g,{day},Virtual Machines,2,{cost}\n", encoding="utf-8")
        return _charges(read_bill(path, defaults={"BillingCurrency": "EUR", **stated})).row(0, named=True)

    with pytest.raises(InputError, match="found 12/03/2026 and no day after the 12th"):
        read("12/03/2026", "1.5")
    assert read("12/03/2026", "1.5", azure_days="day/month/year")["ChargePeriodStart"] == datetime(
        2026, 3, 12, tzinfo=UTC
    )
    assert read("12/13/2026", "1.5", azure_days="day/month/year")["ChargePeriodStart"] == datetime(
        2026, 12, 13, tzinfo=UTC
    )
    with pytest.raises(InputError, match=r"found 1\.234 and no number that tells"):
        read("2026-09-03", "1.234")
    assert read("2026-09-03", "1.234", azure_numbers="decimal comma")["BilledCost"] == 1234
    assert read("2026-09-03", "1.234", azure_numbers="decimal point")["BilledCost"] == Decimal("1.234")
    with pytest.raises(InputError, match="expected decimal comma or decimal point"):
        read("2026-09-03", "1", azure_numbers="comma")
    path.write_text(
        f'{LOCALISED["German"]}\ns,g,2026-09-03,Virtual Machines,0.25,1\ns,g,2026-09-03,V,2,"1,5"\n', encoding="utf-8"
    )
    with pytest.raises(InputError, match=r"found numbers written as 1,5 and as 0\.25, expected one decimal mark"):
        read_bill(path, defaults={"BillingCurrency": "EUR"})


def test_a_header_in_the_middle_is_called_one(tmp_path: Path) -> None:
    read = read_bill(_export(tmp_path / "cost.csv", {}, {name: name for name in ROW}, {}))
    assert _charges(read).height == 2
    assert [each.reason.partition(": ")[2] for each in read.rejected] == [
        "line 3: found the header again, expected a row"
    ]
