"""What an agent sends to the hub: one batch, msgpack in zstd, columns under the names of the tables.

`{v, batch_id, node, boot_id, tables: {name: {column: [value, ..]}}}`. Instants are milliseconds since 1970, exact
decimals are text. Columns are only ever added: a hub counts the ones that it does not know. Decoding is done under
limits, for a batch comes from elsewhere.
"""

import io
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Final

import msgspec
import zstandard

from ledger.errors import InputError
from ledger.registry import Row
from ledger.words import amount

VERSION: Final = 1
_RESEND: Final = "it was cut on the way, or no agent sent it: send it again"
_PART: Final = "send less in a batch"
# What the decoder raises: text that is no UTF-8, and lists in lists without end, are not its own errors.
MALFORMED: Final = (msgspec.MsgspecError, ValueError, OverflowError, RecursionError)
CONTENT_TYPE: Final = "application/vnd.clusterledger.batch"

# How a float of eight or of four bytes begins that is NaN or infinity: what has neither anywhere has no such float, and
# where a text or two neighbours look like it the values themselves tell. Together they would be searched ten times as
# long.
_ODD_FLOATS: Final = (re.compile(rb"\xcb[\x7f\xff][\xf0-\xff]"), re.compile(rb"\xca[\x7f\xff][\x80-\xff]"))

Value = bool | int | float | str | None
Columns = dict[str, list[Value]]


class VersionError(InputError):
    """A batch of another version: its rows may be good, and who sent it keeps them until both speak the same."""


_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]


class Batch(msgspec.Struct, frozen=True):
    """Rows of one node under one id: the hub keeps them once, however often they are sent."""

    v: int
    batch_id: _Name
    node: _Name
    boot_id: Annotated[str, msgspec.Meta(max_length=200)]
    tables: dict[_Name, Columns]

    @property
    def row_count(self) -> int:
        """Return the number of rows in all tables."""
        return sum(len(next(iter(columns.values()), [])) for columns in self.tables.values())

    @property
    def cluster(self) -> str:
        """Return the cluster of its rows; '' where they name none."""
        told = (columns["cluster"] for columns in self.tables.values() if columns.get("cluster"))
        return str(next(told, [""])[0] or "")


@dataclass(frozen=True)
class Limits:
    """What a hub accepts of one batch."""

    body_bytes: int = 8_388_608
    decoded_bytes: int = 134_217_728
    rows: int = 200_000
    tables: int = 64
    columns: int = 256


def plain(value: object) -> Value:
    """Return a row's value as it is sent: instants as milliseconds, decimals as text, no NaN or infinity."""
    # Thousands of values pass here in each round, and most of them as they are.
    if value is None or isinstance(value, (str, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, datetime):
        return round(value.timestamp() * 1000)
    if isinstance(value, Decimal):
        return format(value, "f")
    raise TypeError(f"found {type(value).__name__}, expected a plain value, an instant or a decimal")


def columns_of(rows: Iterable[Row]) -> Columns:
    """Return rows as columns; a value that a row does not have is null."""
    listed = list(rows)
    names = dict.fromkeys(name for row in listed for name in row)
    return {name: [plain(row.get(name)) for row in listed] for name in names}


def encode(batch_id: str, node: str, boot_id: str, tables: Mapping[str, Iterable[Row]]) -> bytes:
    """Return the body of one batch."""
    columns = {name: columns_of(rows) for name, rows in tables.items()}
    batch = Batch(VERSION, batch_id, node, boot_id, {name: each for name, each in columns.items() if each})
    return zstandard.ZstdCompressor(level=3).compress(msgspec.msgpack.encode(batch))


def decode(body: bytes, limits: Limits = Limits()) -> Batch:
    """Return the batch of a body.

    Raises: InputError: it is too large, mangled, or its columns do not fit together; VersionError: another version.
    """
    if len(body) > limits.body_bytes:
        raise InputError(f"batch: found {len(body)} bytes, expected at most {limits.body_bytes}")
    content = decompressed(body, limits.decoded_bytes)
    try:
        batch = msgspec.msgpack.decode(content, type=Batch)
    except msgspec.ValidationError as error:
        _refuse_other_version(content)
        raise InputError(f"batch: {error}", hint="agent and hub must speak the same version") from None
    except MALFORMED as error:
        raise InputError(f"batch: {_line(error)}, expected msgpack in zstd", hint=_RESEND) from None
    if batch.v != VERSION:
        _refuse_other_version(content)
    _check(batch, limits, has_odd_floats=any(each.search(content) for each in _ODD_FLOATS))
    return batch


def _line(error: Exception) -> str:
    return f"{error}".partition("\n")[0][:200]


class _Version(msgspec.Struct):
    """The one thing that stands in a batch of every version."""

    v: int


def _refuse_other_version(content: bytes) -> None:
    """Refuse what another release made, however it looks.

    Raises: VersionError: it says so.
    """
    try:
        found = msgspec.msgpack.decode(content, type=_Version).v
    except MALFORMED:
        return
    if found != VERSION:
        message = f"batch: found version {found}, expected {VERSION}"
        raise VersionError(message, hint="update the older of agent and hub; the agent keeps its rows until then")


def decompressed(body: bytes, most: int) -> bytes:
    """Return the content; a small body that would unfold beyond the limit is refused before it does.

    Raises: InputError: it is cut, mangled or too large.
    """
    try:
        unpacker = zstandard.ZstdDecompressor(max_window_size=1 << 27)
        # What stands behind the first frame is part of the body, and refused as such.
        with unpacker.stream_reader(io.BytesIO(body), read_across_frames=True) as reader:
            content = reader.read(most + 1)
    except zstandard.ZstdError as error:
        raise InputError(f"batch: {error}, expected msgpack in zstd", hint=_RESEND) from None
    if len(content) > most:
        found = f"batch: found more than {most} bytes when decompressed, expected at most that"
        raise InputError(found, hint=_PART)
    return content


def _check(batch: Batch, limits: Limits, *, has_odd_floats: bool) -> None:
    """Refuse a batch whose shape is wrong; `has_odd_floats`: there may be NaN or infinity in it.

    Raises: InputError: too many tables, columns or rows, columns of unequal length, NaN or infinity.
    """
    if len(batch.tables) > limits.tables:
        raise InputError(
            f"batch: found {amount(len(batch.tables), 'table')}, expected at most {limits.tables}", hint=_PART
        )
    for table, columns in batch.tables.items():
        if len(columns) > limits.columns:
            found = f"batch: {table}: found {amount(len(columns), 'column')}, expected at most {limits.columns}"
            raise InputError(found, hint=_PART)
        heights = {len(values) for values in columns.values()}
        if len(heights) > 1:
            raise InputError(
                f"batch: {table}: found columns of {sorted(heights)} rows, expected one length", hint=_RESEND
            )
        for name, values in columns.items() if has_odd_floats else ():
            if not all(math.isfinite(value) for value in values if isinstance(value, float)):
                found = f"batch: {table}.{name}: found NaN or infinity, expected null"
                raise InputError(found, hint="send null for what was not measured")
    if batch.row_count > limits.rows:
        raise InputError(f"batch: found {amount(batch.row_count, 'row')}, expected at most {limits.rows}", hint=_PART)
