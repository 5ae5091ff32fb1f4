"""A bill that comes in parts is in the store as a whole, once, or not at all."""

from decimal import Decimal
from pathlib import Path

import polars as pl

from app.context import Context
from app.services.ingest import Files, ingest
from ledger.tables import BillImport, FocusCharge
from tests.collectors.billing.bills import ROW

_ROWS = 250_002


def _bill(path: Path, cost: str = "0.01") -> Path:
    frame = pl.DataFrame([{**ROW, "BilledCost": cost}]).select(pl.all().repeat_by(_ROWS).explode())
    frame.write_parquet(path)
    return path


def _told(context: Context, path: Path, **more: object) -> dict[str, object]:
    answer = ingest.run(context, Files.model_validate({"paths": (str(path),), **more}))
    assert isinstance(answer, dict)
    (told,) = answer["files"]
    return dict(told)


def _stored(context: Context) -> tuple[int, int, Decimal | None]:
    rows = context.store.select(
        "SELECT count(*) AS n, count(DISTINCT row_index) AS places, sum(BilledCost) AS billed FROM focus_charge"
    )
    count, places, billed = rows.row(0)
    return count, places, billed


def test_all_parts_are_stored_once(empty_context: Context, tmp_path: Path) -> None:
    path = _bill(tmp_path / "a.parquet")
    told = _told(empty_context, path)
    assert (told["rows"], told["is_unchanged"], "error" in told) == (_ROWS, False, False)
    assert _stored(empty_context) == (_ROWS, _ROWS, Decimal("2500.02"))
    versions = empty_context.store.versions("focus_charge")
    (import_id,) = empty_context.store.read(BillImport)["import_id"]
    assert versions[import_id].row_count == _ROWS
    assert "BillingPeriodStart:2026-01" in versions
    # The same bytes change nothing, under another name neither.
    assert _told(empty_context, path)["is_unchanged"] is True
    copy = path.rename(tmp_path / "b.parquet")
    assert _told(empty_context, copy)["is_unchanged"] is True
    assert _stored(empty_context) == (_ROWS, _ROWS, Decimal("2500.02"))
    assert empty_context.store.read(BillImport).height == 1


def test_a_smaller_bill_waits_with_its_charges_and_counts_when_accepted(empty_context: Context, tmp_path: Path) -> None:
    _told(empty_context, _bill(tmp_path / "a.parquet"))
    smaller = _bill(tmp_path / "a.parquet", "0.001")
    assert "error" in _told(empty_context, smaller)
    assert _stored(empty_context)[0] == 2 * _ROWS
    assert "error" not in _told(empty_context, smaller, accept=True)
    assert _stored(empty_context)[0] == 2 * _ROWS
    assert sorted(empty_context.store.read(BillImport)["status"]) == ["current", "superseded"]


def test_what_breaks_off_in_its_second_part_leaves_nothing(empty_context: Context, tmp_path: Path) -> None:
    path = _bill(tmp_path / "a.parquet")
    frame = pl.read_parquet(path).with_columns(
        # Bytes that no compression makes smaller, so that the second row group is a stretch of the file.
        ChargeDescription=pl.int_range(_ROWS, eager=True).hash(1).cast(pl.String)
    )
    frame.write_parquet(path, row_group_size=250_000, compression="uncompressed")
    content = bytearray(path.read_bytes())
    at = content.rindex(b"Cloud Inc.")  # in the pages of the last row group, before the footer
    content[at - 2_000 : at] = b"\xff" * 2_000
    path.write_bytes(bytes(content))
    told = _told(empty_context, path)
    assert "damaged Parquet" in str(told["error"])
    assert empty_context.store.read(FocusCharge).is_empty()
    assert empty_context.store.read(BillImport).is_empty()
