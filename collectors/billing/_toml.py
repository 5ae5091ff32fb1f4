"""What people state by hand, in TOML or as a table file: read as texts, like the rows of any other format."""

import tomllib
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Final

import polars as pl

from collectors.billing._format import Head
from collectors.billing._source import SourceFile
from collectors.billing._texts import Texts, read_texts
from ledger.errors import InputError

_ENDING: Final = ".toml"


def has_tables(head: Head, table: str) -> bool:
    """Tell whether a file looks like TOML with `[[table]]` tables."""
    return head.name.lower().endswith(_ENDING) and f"[[{table}]]".encode() in head.start


def stated_texts(file: SourceFile, table: str, columns: Sequence[str]) -> Texts:
    """Return the rows of a TOML file, a `[[table]]` each, or of a table file as texts.

    Raises: InputError: the file is not what its name says.
    """
    content = file.content()
    if file.name.lower().endswith(_ENDING):
        return _toml_texts(file, content, table, columns)
    return read_texts(file, content)


def _toml_texts(file: SourceFile, content: bytes, table: str, columns: Sequence[str]) -> Texts:
    """Return the tables of a TOML file as texts; a number keeps every digit that was written.

    Keys at the top are the value of every table that does not state its own.
    """
    try:
        document = tomllib.loads(content.decode(), parse_float=Decimal)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{file.label}: found text that is no TOML ({error}), expected [[{table}]] tables") from error
    listed = document.pop(table, [])
    if not isinstance(listed, list) or not all(isinstance(each, dict) for each in listed):
        raise InputError(f"{file.label}: found [{table}], expected [[{table}]], once per {table}")
    for place, stated in [("the top", document), *((f"{table} {index}", each) for index, each in enumerate(listed, 1))]:
        strange = next((name for name in stated if name not in columns), None)
        if strange is not None:
            raise InputError(
                f"{file.label}: {place}: found {strange!r}, expected one of {', '.join(columns)}",
                hint="correct the name of the key",
            )
    rows = [{name: _written({**document, **each}, name) for name in columns} for each in listed]
    frame = pl.DataFrame(rows, schema=dict.fromkeys(columns, pl.String))
    return Texts(file.label, frame, pl.int_range(1, frame.height + 1, eager=True), (), is_line=False)


def _written(stated: Mapping[str, object], name: str) -> str | None:
    value = stated.get(name)
    return None if value is None else str(value)
