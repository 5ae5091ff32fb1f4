"""A large native bill read part by part is the bill that it is in one part."""

import csv
import gzip
import json
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from collectors.billing import _csv, _gcp_rows, _texts
from collectors.billing._format import Imported
from collectors.billing._rates import stated
from collectors.billing._read import read_bill
from ledger.errors import InputError
from ledger.money_sections import RateCard

_OCI = "lineItem/tenantId,lineItem/intervalUsageStart,lineItem/intervalUsageEnd,product/service,cost/myCost"
_GCP = "billing_account_id,service.description,sku.description,usage_start_time,usage_end_time,cost,currency"
_AZURE = "BillingAccountId,SubscriptionId,Date,MeterCategory,Quantity,CostInBillingCurrency,BillingCurrencyCode"
_ROWS = 40


def _oci(folder: Path) -> Path:
    rows = [
        [
            "t",
            f"2026-09-{1 + i % 28:02d}T00:00Z",
            f"2026-09-{1 + i % 28:02d}T01:00Z",
            "COMPUTE",
            f"{i}.1",
            "USD",
            f"{i}",
        ]
        for i in range(_ROWS)
    ]
    return _table(folder / "cost.csv", f"{_OCI},cost/currencyCode,tags/n", rows)


def _gcp_rows_of(i: int) -> list[str]:
    fee = "Commitment v1: N2 Core in Iowa for 1 year" if i == _ROWS - 1 else "N2 Core running in Iowa"
    kind = "COMMITTED_USAGE_DISCOUNT" if i % 3 else "PROMOTION"
    credit = "[]" if i == _ROWS - 1 else json.dumps([{"name": "c", "amount": f"-0.{i + 1:03d}", "type": kind}])
    hour = f"2026-09-{1 + i % 28:02d} 0"
    return ["a", "Compute Engine", fee, f"{hour}0:00:00 UTC", f"{hour}1:00:00 UTC", f"{i}.25", "USD", credit, "202609"]


def _gcp(folder: Path) -> Path:
    rows = [_gcp_rows_of(i) for i in range(_ROWS)]
    return _table(folder / "cost.csv", f"{_GCP},credits,invoice.month", rows)


def _gcp_lines(folder: Path) -> Path:
    names = f"{_GCP},credits,invoice.month".replace(".", "_").split(",")
    lines = [dict(zip(names, _gcp_rows_of(i), strict=True)) for i in range(_ROWS)]
    folder.mkdir(parents=True)
    path = folder / "cost.jsonl"
    path.write_text("".join(f"{json.dumps({**each, 'service': {}})}\n" for each in lines), encoding="utf-8")
    return path


def _azure(folder: Path) -> Path:
    names = f"{_AZURE},ChargeType,PricingModel,BenefitId"
    for view in ("actual", "amortized"):
        rows = []
        for i in range(_ROWS):
            covered = i % 4 == 0
            cost = "0" if covered and view == "actual" else f"1.234,{i:02d}"
            # Only the last row tells that the day comes first.
            day = "30/09/2026" if i == _ROWS - 1 else f"{1 + i % 12:02d}/09/2026"
            model = ["Reservation", "/r/o"] if covered else ["OnDemand", ""]
            rows.append(["1", "s", day, "Virtual Machines", "1,5", cost, "EUR", "Usage", *model])
        _table(folder / view / "part_0.csv", names, rows)
    return folder


def _usage(folder: Path) -> Path:
    rows = [
        [
            f"2026-09-{1 + i % 28:02d}",
            ("H100", "B200")[i % 2],
            "many" if i == 7 else f"{i}.5",
            "Hours",
            f"instance-{i:030d}",
        ]
        for i in range(_ROWS)
    ]
    return _table(folder / "usage.csv", "start,sku,quantity,unit,resource_id", rows)


def _oci_usage(folder: Path) -> Path:
    names = "lineItem/intervalUsageStart,lineItem/intervalUsageEnd,product/resource,usage/billedQuantity"
    days = (f"2026-09-{1 + i % 28:02d}" for i in range(_ROWS))
    rows = [[f"{day}T00:00Z", f"{day}T01:00Z", "H100", str(i), "Hours"] for i, day in enumerate(days)]
    return _table(folder / "usage.csv", f"{names},usage/consumedQuantityUnits", rows)


def _table(path: Path, names: str, rows: Sequence[Sequence[str]]) -> Path:
    path.parent.mkdir(parents=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([names.split(","), *rows])
    return path


MADE: Mapping[str, Callable[[Path], Path]] = {
    "oci": _oci,
    "gcp": _gcp,
    "gcp lines": _gcp_lines,
    "azure": _azure,
    "usage": _usage,
    "oci usage": _oci_usage,
}
CARDS = tuple(
    RateCard(provider=name, sku="H100", unit_price=Decimal("2.25"), currency="USD") for name in ("Cloud", "Oracle")
)


def _read(path: Path, sink: Callable[[pl.DataFrame], object]) -> Imported:
    defaults = {"ServiceProviderName": "Cloud"} if path.name == "usage.csv" else {}
    return read_bill(path, sink=sink, prices=lambda: stated(CARDS), defaults=defaults)


def _kept(path: Path) -> tuple[pl.DataFrame, Imported]:
    """Read a bill as the store does: each part is given away as it is made."""
    parts: list[pl.DataFrame] = []
    read = _read(path, parts.append)
    return pl.concat(parts).drop("import_id"), read


@pytest.mark.parametrize("name", MADE)
def test_parts_are_the_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    path = MADE[name](tmp_path / "bill")
    whole, one = _kept(path)
    assert whole.height + len(one.rejected) >= _ROWS
    # The sizes at which a file is read in parts are constants of the readers: here they are those of a small file.
    monkeypatch.setattr(_csv, "_LARGE_BYTES", 1)
    monkeypatch.setattr(_csv, "_BLOCK_BYTES", 700)
    monkeypatch.setattr(_csv, "_PART_ROWS", 5)
    monkeypatch.setattr(_texts, "_PART_ROWS", 5)
    monkeypatch.setattr(_gcp_rows, "_PART_ROWS", 5)
    seen: list[int] = []
    parted = _read(path, lambda frame: seen.append(frame.height))
    assert len(seen) > 2
    parts, _ = _kept(path)
    assert parts.equals(whole)
    assert parted.imports.drop("imported_at").equals(one.imports.drop("imported_at"))
    assert (parted.rejected, parted.remarks) == (one.rejected, one.remarks)


def test_a_cut_pack_keeps_nothing(tmp_path: Path) -> None:
    path = _oci(tmp_path / "bill")
    packed = gzip.compress(path.read_bytes())
    cut = tmp_path / "cost.csv.gz"
    cut.write_bytes(packed[: len(packed) // 2])
    given: list[pl.DataFrame] = []
    with pytest.raises(InputError, match="gzip stream that is cut"):
        read_bill(cut, sink=given.append)
    assert not given
