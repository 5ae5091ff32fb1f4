"""What is never in memory as a whole is put into its partition part by part."""

import polars as pl
import pytest

from ledger.errors import ContractError
from ledger.store import Store
from ledger.tables import SplitCharge


def _rows(first: int, count: int, import_id: str = "a") -> pl.DataFrame:
    frame = SplitCharge.create_empty().clear(count)
    return frame.with_columns(
        import_id=pl.lit(import_id), row_index=pl.int_range(first, first + count, dtype=pl.Int64, eager=True)
    )


def test_parts_are_the_partition_and_each_gives_a_version() -> None:
    with Store.open("duckdb::memory:") as store:
        store.replace(SplitCharge, _rows(0, 2), partitions=["a"])
        first = store.versions("split_charge")["a"]
        store.extend(SplitCharge, _rows(2, 3), partitions=["a"])
        store.extend(SplitCharge, _rows(5, 0), partitions=["a"])
        assert store.read(SplitCharge).sort("row_index").equals(_rows(0, 5))
        then = store.versions("split_charge")["a"]
        assert (first.row_count, then.row_count) == (2, 5)
        assert then.version_count > first.version_count
        # Beginning again takes the place of all parts.
        store.replace(SplitCharge, _rows(0, 1), partitions=["a"])
        assert store.read(SplitCharge).height == 1


def test_rows_of_another_partition_and_two_of_one_key_are_refused() -> None:
    with Store.open("duckdb::memory:") as store:
        store.replace(SplitCharge, _rows(0, 2), partitions=["a"])
        with pytest.raises(ContractError, match="found rows of partition b"):
            store.extend(SplitCharge, _rows(2, 1, "b"), partitions=["a"])
        with pytest.raises(ContractError, match="two rows with one key"):
            store.extend(SplitCharge, pl.concat([_rows(2, 1), _rows(2, 1)]), partitions=["a"])
        assert store.read(SplitCharge).height == 2
