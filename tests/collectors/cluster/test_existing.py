"""Inventory that is told again and again is one row, since when the ledger first knew it."""

from datetime import UTC, datetime, timedelta

import polars as pl

from collectors.cluster._existing import begun, superseded

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
SCHEMA = {
    "gpu_uuid": pl.String,
    "exists_start": pl.Datetime("us", "UTC"),
    "exists_end": pl.Datetime("us", "UTC"),
    "gpu_model": pl.String,
}


def rows(*given: tuple[str, datetime, datetime | None, str | None]) -> pl.DataFrame:
    return pl.DataFrame(given, schema=SCHEMA, orient="row")


def after(told: pl.DataFrame, before: pl.DataFrame) -> list[tuple[object, ...]]:
    return begun(told, before, ["gpu_uuid"]).rows()


def test_what_is_told_again_keeps_its_start_and_what_is_not_told_now() -> None:
    before = rows(("a", NOON, None, "H100"))
    assert after(rows(("a", NOON + HOUR, None, None)), before) == [("a", NOON, None, "H100")]
    assert after(rows(("a", NOON + HOUR, None, "H200")), before) == [("a", NOON, None, "H200")]


def test_what_was_not_known_begins_when_it_is_told() -> None:
    told = rows(("b", NOON + HOUR, None, "H100"))
    assert after(told, rows(("a", NOON, None, "H100"))) == told.rows()
    assert after(told, rows()) == told.rows()


def test_a_time_before_what_is_known_ends_where_that_begins() -> None:
    before = rows(("a", NOON, None, "H100"))
    assert after(rows(("a", NOON - HOUR, None, None)), before) == [("a", NOON - HOUR, NOON, None)]


def test_an_end_that_is_told_ends_what_is_known() -> None:
    before = rows(("a", NOON, None, "H100"))
    assert after(rows(("a", NOON + HOUR, NOON + 2 * HOUR, None)), before) == [("a", NOON, NOON + 2 * HOUR, "H100")]


def test_a_row_that_starts_where_it_ends_only_ends_what_is_open() -> None:
    before = rows(("a", NOON, None, "H100"))
    gone = rows(("a", NOON + HOUR, NOON + HOUR, None), ("b", NOON + HOUR, NOON + HOUR, None))
    assert after(gone, before) == [("a", NOON, NOON + HOUR, "H100")]
    assert after(gone, rows()) == []
    # What came back after it was gone is not ended by what is told of the time before.
    assert after(gone, rows(("a", NOON + 2 * HOUR, None, "H100"))) == []


DEVICES = {
    "cluster": pl.String,
    "node": pl.String,
    "gpu_uuid": pl.String,
    "parent_gpu_uuid": pl.String,
    "exists_start": pl.Datetime("us", "UTC"),
    "exists_end": pl.Datetime("us", "UTC"),
}


def devices(at: datetime, *given: tuple[str, str]) -> pl.DataFrame:
    return pl.DataFrame([("c", "n", *each, at, None) for each in given], schema=DEVICES, orient="row")


def ended(told: pl.DataFrame, before: pl.DataFrame) -> list[tuple[object, ...]]:
    return superseded(told, before).select("gpu_uuid", "exists_start", "exists_end").rows()


def test_a_device_that_is_cut_ends_with_its_first_slice_and_slices_end_when_it_is_whole_again() -> None:
    whole, other = devices(NOON, ("a", ""), ("b", "")), ("b", "")
    cut = devices(NOON + HOUR, ("a-gi-1", "a"), ("a-rest", "a"), other)
    assert ended(cut, whole) == [("a", NOON, NOON + HOUR)]
    again = devices(NOON + 2 * HOUR, ("a", ""), other)
    assert sorted(ended(again, cut)) == [
        ("a-gi-1", NOON + HOUR, NOON + 2 * HOUR),
        ("a-rest", NOON + HOUR, NOON + 2 * HOUR),
    ]
    assert ended(cut, cut) == []
    assert ended(devices(NOON, other), whole) == []
