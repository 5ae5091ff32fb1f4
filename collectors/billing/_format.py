"""What a format of bills is, and what reading one gives."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

import dataframely as dy
import polars as pl

from collectors.billing._source import Source
from ledger.tables import Invoice, InvoiceLine


@dataclass(frozen=True)
class Head:
    """The start of a delivery's first file, from which its format is told.

    `columns` are the column names of a table, in the file's own spelling; empty where it is none.
    """

    name: str
    start: bytes
    columns: tuple[str, ...]

    @property
    def folded(self) -> frozenset[str]:
        """The column names in lower case: exports differ in nothing but that."""
        return frozenset(each.casefold() for each in self.columns)


@dataclass(frozen=True)
class Request:
    """One reading: the delivery, its version, when it happens, and what the operator adds.

    `defaults` are values for columns that the file lacks (never for empty cells), by column name. `sink` takes the
    charges part by part as they are read, so that they are never in memory together. `prices` gives the known prices
    (a frame of `price`) to what has usage without cost.
    """

    source: Source
    version: str
    sha256: str
    import_id: str
    imported_at: datetime
    defaults: Mapping[str, str] = field(default_factory=dict)
    sink: Callable[[pl.DataFrame], None] | None = None
    prices: Callable[[], pl.DataFrame] | None = None


@dataclass(frozen=True, slots=True)
class Rejected:
    """One row that was refused: where it stood, and what was found and expected there.

    `record` is the row as its file has it, as JSON; empty beyond the first thousand rows with one fault.
    """

    path: str
    line: int
    column: str
    found: str
    expected: str
    table_name: str = "focus_charge"
    is_line: bool = True
    record: str = ""

    @property
    def reason(self) -> str:
        """The refusal as one line."""
        place = "line" if self.is_line else "row"
        column = f", column {self.column}" if self.column else ""
        return f"{self.path}: {place} {self.line}{column}: found {self.found}, expected {self.expected}"


@dataclass(frozen=True)
class Imported:
    """What one delivery gave, in memory: nothing is stored yet.

    `imports` has the bill_import rows of a bill, status `current` until `collectors.billing.decide` judges
    them; it is empty for price lists, invoices and assets. `remarks` are for the person who imports.
    Charges that went into the request's sink are not in `tables`; `sunk_count` says how many they are.
    """

    path: str
    format: str
    version: str
    source_name: str
    sha256: str
    import_id: str
    tables: Mapping[type[dy.Schema], pl.DataFrame]
    imports: pl.DataFrame
    rejected: tuple[Rejected, ...] = ()
    normalised_count: int = 0
    naive_instant_count: int = 0
    remarks: tuple[str, ...] = ()
    sunk_count: int = 0

    @property
    def row_count(self) -> int:
        """How many rows were kept, over all tables, those that a sink took included; invoices count by their lines."""
        are_lines = InvoiceLine in self.tables
        counted = (frame.height for schema, frame in self.tables.items() if not (are_lines and schema is Invoice))
        return self.sunk_count + sum(counted)


@dataclass(frozen=True)
class Near:
    """What a file has that no format knows, and what one expects whose file it may be."""

    found: str
    expected: str
    hint: str


@dataclass(frozen=True)
class BillFormat:
    """One format: how it is told from others (its version, or None), and how it is read.

    `near` says of a file that no format knows what it lacks to be of this one. `read` raises InputError when nothing
    of the delivery can be kept; single bad rows are in `rejected`.
    """

    name: str
    detect: Callable[[Head], str | None]
    read: Callable[[Request], Imported]
    module: str = ""
    near: Callable[[Head], Near | None] | None = None
