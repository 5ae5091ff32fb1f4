"""What was computed of partitions and waits to be stored: held to its table as it comes, and not kept in memory.

An hour of a large cluster is computed for some nodes after others, and stored as one.
"""

import tempfile
from collections.abc import Iterator, Sequence
from typing import IO, Final, Self

import polars as pl

from ledger import _versions
from ledger._door import checks, is_finite
from ledger._order import arranged, has_repeats
from ledger._slices import Content, content
from ledger.errors import ContractError, StoreError
from ledger.frames import columns_of
from ledger.log import log
from ledger.tables.partition import WHOLE, Spanning, Table, Timed, Whole, start_of
from ledger.units import is_money

_NODE: Final = "node"


class Pieces:
    """All rows of some partitions, in pieces that have no node in common; of several, the last is in memory.

    What they are together, `content` says.
    """

    def __init__(self, table: Table, partitions: Sequence[str]) -> None:
        self.table = table
        self.partitions = partitions
        self.content = Content()
        self.height = 0
        self._kept: list[IO[bytes] | pl.DataFrame] = []
        self._last: pl.DataFrame | None = None
        self._nodes: set[str] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def add(self, frame: pl.DataFrame) -> None:
        """Take a piece, cast and not filtered.

        Raises: ContractError: a row does not fit its table, lies outside the partitions, or has a node or a key that
        another has.
        """
        ready = arranged(checked(self.table, frame, self.partitions), self.table.order)
        if self._last is not None:
            self._nodes |= self._nodes_of(self._last)
            self._refuse_nodes(ready)
            self._put_away(self._last)
        self._last = ready
        self.content += content(self.table, ready)
        self.height += ready.height

    def frames(self) -> Iterator[pl.DataFrame]:
        """Yield the pieces as they will be stored."""
        for kept in self._kept:
            yield kept if isinstance(kept, pl.DataFrame) else self._again(kept)
        yield self.table.schema.create_empty() if self._last is None else self._last

    def close(self) -> None:
        """Forget all rows."""
        for kept in self._kept:
            if not isinstance(kept, pl.DataFrame):
                kept.close()
        self._kept, self._last = [], None

    def _nodes_of(self, frame: pl.DataFrame) -> set[str]:
        if _NODE not in self.table.key:
            raise ContractError(f"{self.table.name}: found several pieces of a table without nodes, expected one")
        return set(frame.get_column(_NODE).unique())

    def _refuse_nodes(self, frame: pl.DataFrame) -> None:
        """Refuse rows of nodes that other pieces have rows of: of all others, keys differ."""
        both = sorted(self._nodes & self._nodes_of(frame))
        if both:
            raise ContractError(f"{self.table.name}: found rows of node {both[0]} in two pieces, expected them in one")

    def _put_away(self, frame: pl.DataFrame) -> None:
        """Write a piece into a file without a name, of which nothing stays; where that fails it stays in memory."""
        file = None
        try:
            file = tempfile.TemporaryFile()  # noqa: SIM115  open until all pieces are closed
            frame.write_ipc(file, compression="lz4", compat_level=pl.CompatLevel.newest())
            self._kept.append(file)
        except (OSError, pl.exceptions.PolarsError) as error:
            log.warning("computed rows wait in memory", table=self.table.name, message=str(error))
            if file is not None:
                file.close()
            self._kept.append(frame)

    def _again(self, file: IO[bytes]) -> pl.DataFrame:
        try:
            file.seek(0)
            return pl.read_ipc(file)
        except (OSError, pl.exceptions.PolarsError) as error:
            raise StoreError(
                f"{self.table.name}: what was computed and waited in a file cannot be read again ({error}), "
                "expected its rows",
                hint="check the disk with the folder for temporary files; the next run computes them again",
            ) from error


def checked(table: Table, frame: pl.DataFrame, partitions: Sequence[str]) -> pl.DataFrame:
    """Return the rows in the types of their table.

    Raises: ContractError: a column is missing or does not fit, money has another type, a value is null or
    not finite, two rows have one key, or a row lies outside the partitions.
    """
    cast = _cast(table, frame)
    for check in checks(table.schema):
        series = cast[check.name]
        if check.is_required and series.null_count():
            raise ContractError(f"{table.name}: {check.name}: found null, expected a value in every row")
        if check.is_float and not is_finite(series):
            raise ContractError(f"{table.name}: {check.name}: found NaN or infinity, expected null or a number")
    if has_repeats(cast, table.key):
        raise ContractError(f"{table.name}: found two rows with one key, expected one")
    _refuse_strays(table, cast, partitions)
    return cast


def _cast(table: Table, frame: pl.DataFrame) -> pl.DataFrame:
    wanted = columns_of(table.schema)
    for name, column in wanted.items():
        if name not in frame.columns and not column.nullable:
            raise ContractError(f"{table.name}: found no column {name}, expected one")
        if name in frame.columns and is_money(name) and frame[name].dtype not in (column.dtype, pl.Null):
            raise ContractError(f"{table.name}: {name}: found {frame[name].dtype}, expected {column.dtype}")
    absent = frame.with_columns(pl.lit(None).alias(name) for name in wanted if name not in frame.columns)
    try:
        return absent.select(pl.col(name).cast(column.dtype) for name, column in wanted.items()).rechunk()
    except pl.exceptions.PolarsError as error:
        raise ContractError(f"{table.name}: found a value that does not fit its column: {error}") from error


def _refuse_strays(table: Table, frame: pl.DataFrame, partitions: Sequence[str]) -> None:
    """Refuse keys that are no partitions of the table, and rows outside those named."""
    partition = table.partition
    if isinstance(partition, (Whole, Spanning)):
        if list(partitions) != [WHOLE]:
            raise ContractError(f"{table.name}: found partitions {list(partitions)}, expected ['{WHOLE}']")
        return
    if isinstance(partition, Timed):
        for key in partitions:
            try:
                start_of(key)
            except ValueError as error:
                raise ContractError(
                    f"{table.name}: found partition {key!r}, expected the key of one {partition.every}"
                ) from error
    strays = sorted(_versions.row_counts(table, frame).keys() - set(partitions))
    if strays:
        raise ContractError(
            f"{table.name}: found rows of partition {strays[0]}, expected only {', '.join(partitions[:3])}"
        )
