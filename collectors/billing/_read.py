"""From a path or URL to rows in memory: which format it is, and what is in it."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

import polars as pl

import collectors.billing as formats
from collectors.billing._above import above
from collectors.billing._encoded import HEAD_BYTES, beginning
from collectors.billing._format import BillFormat, Head, Imported, Request
from collectors.billing._source import Source, SourceFile, import_id, open_source
from collectors.billing._texts import columns_of
from ledger.errors import InputError
from ledger.registry import discover

_START_BYTES = 64 * 2**10
_SHOWN_COLUMNS = 6
_SHOWN_CHARACTERS = 40


def bill_formats() -> dict[str, BillFormat]:
    """Return every format by name."""
    return discover(formats, BillFormat)


def read_bill(
    location: str | Path,
    *,
    format: str | None = None,  # noqa: A002  the word of the command's option
    defaults: Mapping[str, str] | None = None,
    source_name: str | None = None,
    imported_at: datetime | None = None,
    sink: Callable[[pl.DataFrame], None] | None = None,
    prices: Callable[[], pl.DataFrame] | None = None,
) -> Imported:
    """Return what a file, folder, manifest or object-store URL holds; nothing is stored.

    `defaults` are values for columns that the files lack; `source_name` names the delivery where its path
    does not (bills that come under changing file names and replace each other).
    A `sink` takes the charges of a bill part by part, each of them with the import's id; they are not returned then.
    `prices` gives a frame of `price` for usage that comes without cost.
    Raises: InputError: nothing of it can be kept. Single bad rows are in `rejected`.
    """
    source = open_source(location)
    if source_name is not None:
        source = Source(source.path, source_name, source.files)
    return read_source(source, format=format, defaults=defaults, imported_at=imported_at, sink=sink, prices=prices)


def read_source(
    source: Source,
    *,
    format: str | None = None,  # noqa: A002  the word of the command's option
    defaults: Mapping[str, str] | None = None,
    imported_at: datetime | None = None,
    sink: Callable[[pl.DataFrame], None] | None = None,
    prices: Callable[[], pl.DataFrame] | None = None,
) -> Imported:
    """Return what a delivery holds; see `read_bill`."""
    known = bill_formats()
    if format is not None and format not in known:
        raise InputError(f"format: found {format!r}, expected one of {', '.join(known)}")
    source, chosen, version, copies = _opened(source, known, format)
    sha256 = source.sha256()
    request = Request(
        source=source,
        version=version,
        sha256=sha256,
        import_id=import_id(source.name, sha256),
        imported_at=imported_at or datetime.now(UTC),
        defaults=defaults or {},
        sink=sink,
        prices=prices,
    )
    imported = chosen.read(request)
    return replace(imported, remarks=(*imported.remarks, *copies)) if copies else imported


def _opened(
    source: Source, known: Mapping[str, BillFormat], wanted: str | None
) -> tuple[Source, BillFormat, str, tuple[str, ...]]:
    """Return a delivery without the copies in it, its format and version, and what is to be said of the copies.

    A file that holds the very same as another beside it is a copy, packed or not: both together would count twice.
    Raises: InputError: its files are of several formats, or one is of none.
    """
    kept: dict[tuple[PurePosixPath, bytes], SourceFile] = {}
    told: list[tuple[BillFormat, str]] = []
    copies: list[str] = []
    for file in source.files:
        content = file.content()
        key = PurePosixPath(file.name).parent, hashlib.sha256(content).digest() if source.files[1:] else b""
        if key in kept:
            copies.append(file.label)
            continue
        kept[key] = file
        told.append(_told(source, file, content, known, wanted))
        if told[-1][0].name != told[0][0].name:
            raise InputError(
                f"{file.label}: found {told[-1][0].name} beside {told[0][0].name}, expected one format in a folder",
                hint="import each file on its own",
            )
    return replace(source, files=tuple(kept.values())), *told[0], _copies(copies)


def _copies(labels: Sequence[str]) -> tuple[str, ...]:
    if not labels:
        return ()
    more = f" and {len(labels) - _SHOWN_COLUMNS} more" if len(labels) > _SHOWN_COLUMNS else ""
    return (f"left out as copies of files beside them: {', '.join(labels[:_SHOWN_COLUMNS])}{more}",)


def _told(
    source: Source, file: SourceFile, content: bytes, known: Mapping[str, BillFormat], wanted: str | None
) -> tuple[BillFormat, str]:
    """Return the format of a file and its version.

    Raises: InputError: no format, or not the wanted one, knows the columns.
    """
    is_table = not file.name.lower().endswith(".toml")
    columns = columns_of(file, content) if is_table or not content.strip() else ()
    head = Head(file.name, beginning(content, _START_BYTES), columns)
    found = {name: version for name, each in known.items() if (version := each.detect(head)) is not None}
    if wanted is not None:
        found = {wanted: found.get(wanted, "")}
    if not found:
        _tell_near(file.label, head, known, content)
    if len(found) != 1:
        several = f"what could be {' or '.join(found)}" if found else _shown(columns, content)
        raise InputError(
            f"{file.label}: found {several}, expected one of {', '.join(known)}",
            hint=f"name the format with --format, or check that {source.path} is a bill",
        )
    name, version = next(iter(found.items()))
    return known[name], version


def _tell_near(label: str, head: Head, known: Mapping[str, BillFormat], content: bytes) -> None:
    """Refuse a file that is nearly of one format in that format's words."""
    for each in known.values():
        near = each.near(head) if each.near is not None and head.columns else None
        if near is not None:
            line = above(beginning(content, HEAD_BYTES)).lines + 1
            raise InputError(f"{label}: line {line}: found {near.found}, expected {near.expected}", hint=near.hint)


def _shown(columns: tuple[str, ...], content: bytes) -> str:
    """Return the start of a file in one short line."""
    if not columns:
        return repr(content[:_SHOWN_CHARACTERS].decode(errors="replace"))
    names = (" ".join(each.split())[:_SHOWN_CHARACTERS] for each in columns[:_SHOWN_COLUMNS] if each.strip())
    return ", ".join(names) + (" ..." if len(columns) > _SHOWN_COLUMNS else "")
