"""A Parquet file may hold a bill in other types than ours: each is read exactly, or refused by row."""

from datetime import date, datetime
from decimal import Decimal
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from pyarrow import parquet

from collectors.billing._format import Imported
from collectors.billing._read import read_bill
from ledger.tables import FocusCharge
from tests.collectors.billing.aws_bills import LINE
from tests.collectors.billing.bills import ROW


def _written(path: Path, **columns: pa.Array) -> Path:
    """Write two rows, some of their columns in a type of Arrow's, and return where."""
    texts = {name: pa.array([value] * 2) for name, value in ROW.items()}
    parquet.write_table(pa.table(texts | columns), path)
    return path


def _read(folder: Path, **columns: pa.Array) -> Imported:
    return read_bill(_written(folder / "a.parquet", **columns))


@pytest.mark.parametrize(
    "costs",
    [
        pa.array([Decimal("1.5"), Decimal("-0.0000000000000000001")], pa.decimal256(50, 20)),
        pa.array([Decimal("1.5"), Decimal("-0.0000000000000000001")], pa.decimal128(38, 27)),
        pa.array([b"1.5", b"-1e-19"], pa.binary()),
        pa.array([b"1.5", b"-1e-19"], pa.large_binary()),
        pa.array(["1.5", "-1e-19"]).dictionary_encode(),
        pa.array(["1.5", "-1e-19"], pa.string_view()),
    ],
    ids=str,
)
def test_amounts_of_any_type_are_exact(tmp_path: Path, costs: pa.Array) -> None:
    read = _read(tmp_path, BilledCost=costs)
    assert read.rejected == ()
    assert read.tables[FocusCharge]["BilledCost"].to_list() == [Decimal("1.5"), Decimal(0)]
    assert read.imports["residue_text"].to_list() == ["-0.0000000000000000001"]


@pytest.mark.parametrize(
    ("values", "told"),
    [
        (pa.array([True, False]), ["'true'", "'false'"]),
        (pa.array([[1.5], [2.5]]), ["'[1.5]'", "'[2.5]'"]),
        (pa.array([3600] * 2, pa.duration("s")), ["'PT1H'"] * 2),
        (pa.array([3600] * 2, pa.time32("s")), ["'01:00:00'"] * 2),
        (pa.array([b"\xff", b"\xfe"], pa.binary()), ["'ff'", "'fe'"]),
        (pa.array(np.array([np.nan, np.inf], "float32")), ["nothing", "'inf'"]),
        (pa.nulls(2), ["nothing"] * 2),
    ],
    ids=str,
)
def test_what_is_no_amount_is_refused_by_row(tmp_path: Path, values: pa.Array, told: list[str]) -> None:
    read = _read(tmp_path, BilledCost=values)
    assert [(each.line, each.column, each.found) for each in read.rejected] == [
        (place, "BilledCost", found) for place, found in enumerate(told, 1)
    ]
    assert all(each.record for each in read.rejected)


@pytest.mark.parametrize(
    ("tags", "read"),
    [
        (pa.array([[("team", "a"), ("x", None)], None], pa.map_(pa.string(), pa.string())), '{"team": "a", "x": null}'),
        (pa.array([{"team": "a"}, None]), '{"team": "a"}'),
        (pa.array([[{"key": "team", "value": "a"}], None]), '{"team": "a"}'),
        (pa.array(['{"team": "a"}', None], pa.json_()), '{"team": "a"}'),
    ],
    ids=str,
)
def test_tags_of_any_type_are_objects(tmp_path: Path, tags: pa.Array, read: str) -> None:
    """AWS writes them as maps, as do most."""
    assert _read(tmp_path, Tags=tags).tables[FocusCharge]["Tags"].to_list() == [read, None]


def test_maps_of_a_report_of_aws_are_read(tmp_path: Path) -> None:
    maps = {
        "resource_tags": pa.array([[("user_team", "vision")]], pa.map_(pa.string(), pa.string())),
        "product": pa.array([[("instance_type", "p5.48xlarge")]], pa.map_(pa.string(), pa.string())),
    }
    plain = {
        name: pa.array([value]) for name, value in LINE.items() if not name.startswith(("resourceTags", "product/"))
    }
    parquet.write_table(pa.table(plain | maps), tmp_path / "cur.parquet")
    read = read_bill(tmp_path / "cur.parquet")
    row = read.tables[FocusCharge].row(0, named=True)
    assert (read.version, row["Tags"]) == ("2.0", '{"team": "vision"}')
    assert "p5.48xlarge" in row["SkuPriceDetails"]


@pytest.mark.parametrize("kind", [pa.timestamp("ns", "Europe/Berlin"), pa.timestamp("ms", "+01:00")], ids=str)
def test_instants_of_another_zone_are_utc(tmp_path: Path, kind: pa.DataType) -> None:
    start = pa.array([datetime(2026, 1, 1)] * 2, pa.timestamp("us", "UTC")).cast(kind)  # noqa: DTZ001  Arrow adds the zone
    read = _read(tmp_path, ChargePeriodStart=start)
    assert read.naive_instant_count == 0
    assert read.tables[FocusCharge]["ChargePeriodStart"].dt.strftime("%H:%M %Z").to_list() == ["00:00 UTC"] * 2


def test_days_are_instants_without_a_zone(tmp_path: Path) -> None:
    read = _read(
        tmp_path, BillingPeriodStart=pa.array([date(2026, 1, 1)] * 2), BillingPeriodEnd=pa.array([date(2026, 2, 1)] * 2)
    )
    assert (read.row_count, read.naive_instant_count) == (2, 4)


def test_accounts_that_became_floats_are_whole_again(tmp_path: Path) -> None:
    read = _read(tmp_path, BillingAccountId=pa.array([123456789012.0] * 2), ResourceId=pa.array([1.5, None]))
    assert read.imports["billing_account_id"].to_list() == ["123456789012"]
    assert read.tables[FocusCharge]["ResourceId"].to_list() == ["1.5", None]


def test_wide_decimals_of_google_are_read(tmp_path: Path) -> None:
    """BigQuery exports BIGNUMERIC so."""
    wide = pa.decimal256(76, 38)
    credit = pa.list_(pa.struct([("type", pa.string()), ("amount", wide)]))
    columns = {
        "billing_account_id": pa.array(["a"]),
        "service": pa.array([{"description": "Vertex AI"}]),
        "usage_start_time": pa.array(["2026-09-01 00:00:00 UTC"]),
        "usage_end_time": pa.array(["2026-09-01 01:00:00 UTC"]),
        "cost": pa.array([Decimal("2.5")], wide),
        "currency": pa.array(["USD"]),
        "credits": pa.array([[{"type": "DISCOUNT", "amount": Decimal("-0.5")}]], credit),
        "invoice": pa.array([{"month": "202609"}]),
    }
    parquet.write_table(pa.table(columns), tmp_path / "google.parquet")
    read = read_bill(tmp_path / "google.parquet")
    assert read.rejected == ()
    assert read.tables[FocusCharge]["BilledCost"].to_list() == [Decimal(2)]


def test_a_header_that_ends_with_marks_has_columns_without_a_name(tmp_path: Path) -> None:
    frame = pl.DataFrame([ROW, ROW])
    lines = frame.write_csv().splitlines()
    (tmp_path / "a.csv").write_text("\n".join(f"{each},,," for each in lines), encoding="utf-8")
    read = read_bill(tmp_path / "a.csv")
    assert (read.row_count, read.rejected) == (2, ())
