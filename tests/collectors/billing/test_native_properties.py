"""Native bills: cost is conserved whatever the export writes, and broken files are told, never half believed."""

import csv
import io
import json
from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from collectors.billing._read import read_bill
from collectors.billing._written_in import Evidence, Ways, plain_days, plain_numbers
from ledger.errors import InputError
from ledger.tables import FocusCharge

COMMITMENT = "/providers/Microsoft.Capacity/reservationOrders/o"
AZURE: Mapping[str, str] = {
    "BillingAccountId": "1",
    "SubscriptionId": "s",
    "Date": "2026-09-13",
    "MeterCategory": "Virtual Machines",
    "Quantity": "1",
    "CostInBillingCurrency": "0",
    "BillingCurrencyCode": "USD",
    "ChargeType": "Usage",
    "PricingModel": "OnDemand",
    "BenefitId": "",
}
COSTS = st.decimals("-1000", "1000", places=12)
PLAIN = st.tuples(st.sampled_from(["Usage", "Tax", "Credit", "Refund", "RoundingAdjustment", "Purchase"]), COSTS)
FEWER = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def _azure(path: Path, rows: list[dict[str, str]]) -> None:
    out = io.StringIO()
    writer = csv.DictWriter(out, list(AZURE))
    writer.writeheader()
    writer.writerows({**AZURE, **row} for row in rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(out.getvalue(), newline="")


@FEWER
@given(
    plain=st.lists(PLAIN, max_size=6),
    paid=st.lists(st.decimals("0.01", "1000", places=12), min_size=1, max_size=3),
    used=st.lists(st.decimals("0.01", "1000", places=12), min_size=1, max_size=4),
    unused=st.lists(st.decimals("0.01", "100", places=12), max_size=2),
    backwards=st.booleans(),
)
def test_billed_is_the_actual_and_effective_the_amortised_cost(
    tmp_path: Path,
    plain: list[tuple[str, Decimal]],
    paid: list[Decimal],
    used: list[Decimal],
    unused: list[Decimal],
    *,
    backwards: bool,
) -> None:
    ordinary = [{"ChargeType": kind, "CostInBillingCurrency": str(cost)} for kind, cost in plain]
    covered = {"PricingModel": "Reservation", "BenefitId": COMMITMENT}
    actual = [*ordinary, *({**covered, "ChargeType": "Purchase", "CostInBillingCurrency": str(each)} for each in paid)]
    actual += [{**covered, "CostInBillingCurrency": "0"} for _ in used]
    amortised = [*ordinary, *({**covered, "CostInBillingCurrency": str(each)} for each in used)]
    amortised += [{**covered, "ChargeType": "UnusedReservation", "CostInBillingCurrency": str(each)} for each in unused]
    if backwards:
        actual.reverse()
        amortised.reverse()
    _azure(tmp_path / "a/part.csv", actual)
    _azure(tmp_path / "z/part.csv", amortised)
    read = read_bill(tmp_path)
    charges = FocusCharge.validate(read.tables[FocusCharge])
    whole = sum((cost for _, cost in plain), Decimal(0))
    assert charges["BilledCost"].sum() == whole + sum(paid)
    assert charges["EffectiveCost"].sum() == whole + sum(used) + sum(unused)
    assert read.imports["control_cost"].to_list() == read.imports["billed_cost"].to_list() == [whole + sum(paid)]
    assert charges.filter(CommitmentDiscountStatus="Unused").height == len(unused)


def _ways(frame: pl.DataFrame, *, is_local: bool = True) -> Ways:
    seen = Evidence()
    for part in frame.iter_slices(2):
        seen.see(part, [name for name in frame.columns if name == "cost"], [each for each in ("day",) if each in frame])
    return seen.ways("cost.csv", {}, is_local=is_local)


def _ways_or_refusal(frame: pl.DataFrame, *, is_local: bool = True) -> Ways | InputError:
    try:
        return _ways(frame, is_local=is_local)
    except InputError as error:
        return error


@given(st.lists(st.decimals("-99999999", "99999999", places=4), min_size=1, max_size=8))
def test_numbers_of_another_place_are_the_same_numbers(numbers: list[Decimal]) -> None:
    english = [f"{each:,f}" for each in numbers]
    german = [each.translate(str.maketrans(",.", ".,")) for each in english]
    french = [each.replace(",", "\u202f").replace(".", ",") for each in english]
    swiss = [each.replace(",", "\u2019") for each in english]
    for texts in (english, german, french, swiss, [f"{each:f}" for each in numbers]):
        frame = pl.DataFrame({"cost": texts})
        plain = plain_numbers(frame, ["cost"], _ways(frame))
        assert [Decimal(each) for each in plain["cost"].to_list()] == numbers


@given(
    st.lists(st.decimals("-9999999", "9999999", places=3).map(lambda each: each.normalize()), min_size=1, max_size=6),
    st.sampled_from([",.", ".,", ".\u202f", ",\u00a0"]),
    st.booleans(),
)
def test_a_number_is_read_as_it_was_meant_or_not_at_all(numbers: list[Decimal], marks: str, is_local: bool) -> None:
    """`1.234,56` and `1,234` of any place: the number that was written, or one line that says what is not clear."""
    group, mark = marks[::-1] if marks in {".\u202f", ",\u00a0"} else marks
    written = [f"{each:,f}".replace(",", "#").replace(".", mark).replace("#", group) for each in numbers]
    frame = pl.DataFrame({"cost": written})
    # A file in English writes numbers as English does; there no doubt is left.
    is_english = (group, mark) == (",", ".") or mark == "."
    ways = _ways_or_refusal(frame, is_local=is_local or not is_english)
    if isinstance(ways, InputError):
        assert ways.message.startswith("cost.csv: found ")
        assert "\n" not in ways.message
        assert ways.hint
        return
    plain = plain_numbers(frame, ["cost"], ways)["cost"].to_list()
    assert [Decimal(each) for each in plain] == numbers


@given(st.lists(st.dates().filter(lambda day: day.year >= 1000), min_size=1, max_size=8))
def test_days_of_one_file_are_read_in_one_order(days: list[date]) -> None:
    for pattern in ("%d.%m.%Y", "%Y/%m/%d", "%Y-%m-%d", "%m/%d/%Y"):
        frame = pl.DataFrame({"day": [day.strftime(pattern) for day in days]})
        ways = _ways(frame, is_local=False)
        assert plain_days(frame, ["day"], ways)["day"].to_list() == [str(day) for day in days]


@given(
    st.lists(st.dates(min_value=date(2000, 1, 1)), min_size=1, max_size=8),
    st.sampled_from(["%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%d.%m.%Y"]),
)
def test_a_day_is_read_as_it_was_meant_or_not_at_all(days: list[date], pattern: str) -> None:
    frame = pl.DataFrame({"day": [day.strftime(pattern) for day in days]})
    ways = _ways_or_refusal(frame)
    if isinstance(ways, InputError):
        assert all(day.day <= 12 for day in days)
        assert "no day after the 12th" in ways.message
        return
    assert plain_days(frame, ["day"], ways)["day"].to_list() == [str(day) for day in days]


GOOD = {
    "azure.csv": ",".join(AZURE) + "\n" + ",".join({**AZURE, "CostInBillingCurrency": "1.5"}.values()) + "\n",
    "gcp.json": json.dumps(
        {
            "billing_account_id": "a",
            "service": {"description": "Compute Engine"},
            "usage_start_time": "2026-09-01 00:00:00 UTC",
            "usage_end_time": "2026-09-01 01:00:00 UTC",
            "cost": 1.5,
            "currency": "USD",
            "credits": [{"name": "x", "amount": -0.5, "type": "DISCOUNT"}],
            "invoice": {"month": "202609"},
        }
    ),
    "gcp.csv": (
        "billing_account_id,service.description,usage_start_time,usage_end_time,cost,currency,credits,invoice.month\n"
        "a,Vertex AI,2026-09-01 00:00:00+00:00,2026-09-01 01:00:00+00:00,1,USD,"
        "\"[{'amount': -0.5, 'type': 'X'}]\",202609\n"
    ),
    "usage.csv": "start,end,provider,sku,quantity,unit\n2026-09-01,2026-09-02,CoreWeave,H100,24,hours\n",
    "card.toml": '[[rate]]\nprovider = "p"\nsku = "s"\nunit_price = 1.5\ncurrency = "USD"\n',
    "rates.csv": "date,from_currency,to_currency,rate\n2026-09-01,USD,EUR,0.9\n",
}
PIECES = st.sampled_from(
    [b"", b'"', b",", b"\n", b"{", b"}", b"[", b"\x00", b"\xff", b"NaN", b"1e999", b"-", b"9" * 60, b"0001-01-01", b";"]
)


@pytest.mark.parametrize("name", GOOD)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_broken_file_is_told_in_words(tmp_path: Path, name: str, data: st.DataObject) -> None:
    content = bytearray(GOOD[name].encode())
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(content)))
        content[at : at + data.draw(st.integers(0, 4))] = data.draw(PIECES)
    path = tmp_path / name
    path.write_bytes(bytes(content))
    told = ""
    try:
        read = read_bill(path, defaults={"BillingCurrency": "USD"})
    except InputError as error:
        told = str(error)
    if told:
        assert str(path) in told
        return
    for schema, frame in read.tables.items():
        schema.validate(frame)
    assert all(each.expected for each in read.rejected)
