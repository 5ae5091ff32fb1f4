"""Every table says its units, its meaning and its key."""

import dataframely as dy
import polars as pl
import pytest

from ledger.tables import TABLES, Table
from ledger.tables.partition import Keyed, Spanning, Timed, partition_key, start_of
from ledger.units import is_money, unit_of

EVERY_TABLE = pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)


@EVERY_TABLE
def test_every_number_has_a_unit(table: Table) -> None:
    for name, column in table.schema.columns().items():
        if column.dtype.is_numeric() and not name.endswith("Quantity"):
            assert unit_of(name) is not None or is_money(name), name


@EVERY_TABLE
def test_every_column_and_table_says_what_it_means(table: Table) -> None:
    assert (table.schema.__doc__ or "").strip(), table.name
    for name, column in table.schema.columns().items():
        assert column.description, name
        assert (column.metadata or {}).get("kind"), name


@EVERY_TABLE
def test_keys_are_never_null(table: Table) -> None:
    assert table.key
    for name in table.key:
        assert not table.schema.columns()[name].nullable, name


@EVERY_TABLE
def test_money_is_exact_and_nothing_else_is_money(table: Table) -> None:
    for name, column in table.schema.columns().items():
        is_quantity = (column.metadata or {}).get("kind") == "quantity"
        if not is_quantity:
            assert (column.dtype == pl.Decimal(38, 18)) == is_money(name), name


@EVERY_TABLE
def test_instants_are_utc_and_named_as_such(table: Table) -> None:
    for name, column in table.schema.columns().items():
        if isinstance(column, dy.Datetime):
            assert column.dtype == pl.Datetime("us", "UTC"), name
            assert name.endswith(("_at", "_start", "_end", "_until", "_through", "_from", "Start", "End")), name


@EVERY_TABLE
def test_partitions_and_order_name_columns_of_the_table(table: Table) -> None:
    columns = table.schema.columns()
    partition = table.partition
    named = [*table.order, *(group.column for group in table.also)]
    if isinstance(partition, Timed):
        named.append(partition.column)
        assert not columns[partition.column].nullable
    elif isinstance(partition, Keyed):
        named += partition.columns
    elif isinstance(partition, Spanning):
        named += [partition.start, partition.end, *partition.watched]
        assert partition.start in table.key
        assert columns[partition.end].nullable
    assert set(named) <= set(columns)


@pytest.mark.parametrize(
    ("key", "every"),
    [("2026-11-20T05", "hour"), ("2026-11-20", "day"), ("2026-11", "month"), ("0987-01-02T00", "hour")],
)
def test_a_partition_key_reads_back(key: str, every: str) -> None:
    assert partition_key(start_of(key), every) == key  # type: ignore[arg-type]
