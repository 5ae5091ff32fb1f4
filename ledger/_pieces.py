"""What was computed of partitions and waits to be stored: held to its table as it comes, and not kept in memory.

An hour of a large cluster is computed for some nodes after others, and stored as one.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Final, Self

import polars as pl

from ledger import _versions
from ledger._door import checks
from ledger._order import arranged, has_repeats
from ledger._slices import Content, content
from ledger.errors import ContractError, StoreError
from ledger.frames import columns_of
from ledger.log import log
from ledger.tables.partition import WHOLE, Spanning, Table, Timed, Whole, start_of
from ledger.units import is_money

_NODE: Final = "node"


class Pieces:
    """All rows of some partitions, in pieces that have no node in common; of several, one is in memory at a time.

    What they are together, `content` says.
    """

    def __init__(self, table: Table, partitions: Sequence[str]) -> None:
        self.table = table
        self.partitions = partitions
        self.content = Content()
        self.height = 0
        self._kept: list[Path | pl.DataFrame] = []
        self._last: pl.DataFrame | None = None
        self._nodes: set[str] = set()
        self._folder: TemporaryDirectory[str] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
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
        if self._last is not None:
            yield self._last

    def close(self) -> None:
        """Forget all rows."""
        self._kept, self._last = [], None
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

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
        """Write a piece into a file; where that fails it stays in memory."""
        try:
            if self._folder is None:
                self._folder = TemporaryDirectory(prefix="clusterledger-")
            path = Path(self._folder.name, f"{len(self._kept)}.arrow")
            frame.write_ipc(path, compression="lz4", compat_level=pl.CompatLevel.newest())
        except (OSError, pl.exceptions.PolarsError) as error:
            log.warning("computed rows wait in memory", table=self.table.name, message=str(error))
            self._kept.append(frame)
        else:
            self._kept.append(path)

    def _again(self, path: Path) -> pl.DataFrame:
        try:
            return pl.read_ipc(path)
        except (OSError, pl.exceptions.PolarsError) as error:
            raise StoreError(
                f"{self.table.name}: {path}: found no computed rows ({error}), expected them until they are stored",
                hint="see to it that nothing empties the folder for temporary files; what is missing is computed again",
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
        if check.is_float and not (series.is_finite() | series.is_null()).all():
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
