"""What is computed and replaces whole partitions: cast, and held to its table; never filtered."""

from collections.abc import Sequence

import polars as pl

from ledger import _versions
from ledger._door import checks
from ledger.errors import ContractError
from ledger.tables.partition import WHOLE, Keyed, Spanning, Table, Timed, Whole, start_of
from ledger.units import is_money


def checked(table: Table, frame: pl.DataFrame, partitions: Sequence[str]) -> pl.DataFrame:
    """Return the rows in the types of their table.

    Raises: ContractError: a column is missing or does not fit, money has another type, a value is null or
    not finite, two rows have one key, or a row lies outside the partitions.
    """
    wanted = table.schema.columns()
    for name, column in wanted.items():
        if name not in frame.columns and not column.nullable:
            raise ContractError(f"{table.name}: found no column {name}, expected one")
        if name in frame.columns and is_money(name) and frame[name].dtype not in (column.dtype, pl.Null):
            raise ContractError(f"{table.name}: {name}: found {frame[name].dtype}, expected {column.dtype}")
    try:
        cast = frame.select(
            (pl.col(name) if name in frame.columns else pl.lit(None).alias(name)).cast(column.dtype)
            for name, column in wanted.items()
        )
    except pl.exceptions.PolarsError as error:
        raise ContractError(f"{table.name}: found a value that does not fit its column: {error}") from error
    cast = cast.rechunk()
    for check in checks(table.schema):
        series = cast[check.name]
        if check.is_required and series.null_count():
            raise ContractError(f"{table.name}: {check.name}: found null, expected a value in every row")
        if check.is_float and not (series.is_finite() | series.is_null()).all():
            raise ContractError(f"{table.name}: {check.name}: found NaN or infinity, expected null or a number")
    if cast.height and cast.select(pl.struct(table.key).n_unique()).item() != cast.height:
        raise ContractError(f"{table.name}: found two rows with one key, expected one")
    _refuse_strays(table, cast, partitions)
    return cast


def _refuse_strays(table: Table, frame: pl.DataFrame, partitions: Sequence[str]) -> None:
    """Refuse keys that are no partitions of the table, and rows outside those named."""
    partition = table.partition
    if isinstance(partition, (Whole, Spanning)) and list(partitions) != [WHOLE]:
        raise ContractError(f"{table.name}: found partitions {list(partitions)}, expected ['{WHOLE}']")
    if isinstance(partition, Timed):
        for key in partitions:
            try:
                start_of(key)
            except ValueError as error:
                raise ContractError(f"{table.name}: found partition {key!r}, expected one {partition.every}") from error
    if isinstance(partition, (Timed, Keyed)):
        strays = sorted(_versions.row_counts(table, frame).keys() - set(partitions))
        if strays:
            raise ContractError(f"{table.name}: found rows of partition {strays[0]}, expected only {list(partitions)[:3]}")
