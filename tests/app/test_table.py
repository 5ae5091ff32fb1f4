"""A table goes to the browser as Arrow, in types that its reader knows."""

from datetime import UTC, date, datetime
from decimal import Decimal

import polars as pl
import pyarrow as pa

from app import sums
from app.format import BYTE_STEPS
from app.table import _shown, _step, prices
from ledger.money import MONEY
from queries.measures import per_unit

FRAME = pl.DataFrame(
    {
        "name": ["a", None],
        "kind": pl.Series(["x", "y"], dtype=pl.Enum(["x", "y"])),
        "cost": [Decimal("1.25"), None],
        "seconds": [Decimal("5400.000"), None],
        "size": [2**30, None],
        "state": ["held_idle", "unknown"],
        "at": [datetime(2026, 11, 20, tzinfo=UTC), None],
        "day": [date(2026, 11, 20), None],
    }
)
KINDS = ("text", "text", "money", "duration", "bytes", "state", "instant", "day")


def test_types_and_values_are_those_of_the_page() -> None:
    table = _shown(FRAME, tuple(zip(FRAME.columns, KINDS, strict=True)))
    assert [str(each) for each in table.schema.types] == [
        "string", "string", "double", "double", "double", "string", "timestamp[us, tz=UTC]", "date32[day]",
    ]  # fmt: skip
    assert table.to_pylist()[0] == {
        "name": "a", "kind": "x", "cost": 1.25, "seconds": 1.5, "size": 1.0, "state": "Held idle",
        "at": datetime(2026, 11, 20, tzinfo=UTC), "day": date(2026, 11, 20),
    }  # fmt: skip
    assert {name: value for name, value in table.to_pylist()[1].items() if value is not None} == {
        "kind": "y", "state": "Unknown",
    }  # fmt: skip


def test_a_table_without_rows_keeps_its_columns() -> None:
    table = _shown(FRAME.clear(), (("name", "text"), ("cost", "money")))
    assert table.num_rows == 0
    assert table.schema.types == [pa.string(), pa.float64()]


def test_a_column_of_bytes_has_the_unit_of_its_largest_number() -> None:
    frame = pl.DataFrame({"small": [2**20, None], "large": [2**50, 2**49], "none": [None, None], "text": ["a", "b"]})
    assert [BYTE_STEPS[_step(frame, name)] for name in frame.columns] == ["MiB", "PiB", "B", "B"]
    assert _shown(frame, (("large", "bytes"),)).to_pylist() == [{"large": 1.0}, {"large": 0.5}]


def test_a_line_rate_is_written_as_networks_are_named() -> None:
    frame = pl.DataFrame({"rate": [50e9, 25e9, None]})
    assert _shown(frame, (("rate", "line_rate"),)).to_pylist() == [{"rate": 400.0}, {"rate": 200.0}, {"rate": None}]


def test_a_size_is_shown_in_a_unit_that_shows_the_smallest() -> None:
    terabyte = 2**40
    mixed = pl.DataFrame({"size": [1_800 * terabyte, 2 * terabyte, None, 0]})
    assert BYTE_STEPS[_step(mixed, "size")] == "TiB"
    # What would be long is shown in a larger one.
    far = pl.DataFrame({"size": [5 * terabyte, 12]})
    assert BYTE_STEPS[_step(far, "size")] == "GiB"


def test_a_browser_gets_what_a_person_reads_and_no_more() -> None:
    many = pl.DataFrame({"name": [str(row) for row in range(35_000)]})
    assert _shown(many, (("name", "text"),)).column("name").to_pylist() == [str(row) for row in range(1_000)]


def test_what_is_a_little_less_than_nothing_has_no_sign() -> None:
    frame = pl.DataFrame({"cost": [Decimal("-0.00352"), Decimal("-0.01"), Decimal("0.004"), None]})
    shown = _shown(frame, (("cost", "money"),)).column("cost").to_pylist()
    assert [None if each is None else f"{each:.2f}" for each in shown] == ["0.00", "-0.01", "0.00", None]


def test_prices_of_units_are_columns_and_exact_in_a_download() -> None:
    rows = pl.DataFrame(
        {
            "billing_currency": ["USD", "USD", "USD"],
            "effective_cost": [Decimal(2), Decimal(5), None],
            "held_gpu_seconds": [Decimal(10_800), Decimal(0), Decimal(3_600)],
            "trained_sample_count": pl.Series([None, None, None], dtype=pl.Int64),
            "sampled_cost": pl.Series([None, None, None], dtype=MONEY),
        },
        schema_overrides={"effective_cost": MONEY, "held_gpu_seconds": pl.Decimal(28, 9)},
    )
    found = sums.with_prices(rows, (per_unit.OWNER_HOUR_COST, per_unit.SAMPLES_COST))
    assert found[per_unit.OWNER_HOUR_COST.name].to_list() == [Decimal("0.666666666666666667"), None, None]
    assert per_unit.SAMPLES_COST.name not in found.columns
    (heading,) = prices((per_unit.OWNER_HOUR_COST,), "USD").values()
    assert (heading.label, heading.kind) == ("USD per GPU-hour", "price")
