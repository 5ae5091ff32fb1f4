"""Rows as their file has them: what a person looks for in the file who is told that a row of it was refused."""

import json
import math
from collections.abc import Collection, Mapping, Sequence
from typing import Final

import polars as pl

from collectors.billing._typed import Texts
from ledger.errors import InputError

WHOLE_ROWS: Final = 1_000
"""So many refused rows with one fault are kept whole of each part of a file: a file may be wrong in every row."""

_SHOWN_CHARACTERS: Final = 4_000
_AROUND: Final = "\ufeff \t"


def as_json(row: Mapping[str, object] | Sequence[object]) -> str:
    """Return a row as JSON: its cells by column, or one after the other where they fit no columns."""
    cells = {name: _shown(each) for name, each in row.items()} if isinstance(row, Mapping) else [*map(_shown, row)]
    return json.dumps(cells, ensure_ascii=False, default=str)


def rows_as_json(texts: Texts, lines: Collection[int]) -> dict[int, str]:
    """Return the rows that begin at some lines of a file, as JSON."""
    own = texts.file
    at = own.lines.is_in(list(lines)).arg_true()
    rows = own.frame[at.to_list()].iter_rows(named=True)
    return {line: as_json(row) for line, row in zip(own.lines.gather(at).to_list(), rows, strict=True)}


def headers_again(texts: Texts) -> frozenset[int]:
    """Return the lines that say the header again, as in files that somebody joined.

    Raises: InputError: one says it in another order, or with other columns: what follows stands in wrong columns.
    """
    frame = texts.file.frame
    names = [_folded(each) for each in frame.columns]
    if not names or frame.dtypes[0] != pl.String:
        return frozenset()
    said = frame[:, 0].str.strip_chars(_AROUND).str.to_lowercase().is_in(names)
    again = []
    for index in said.arg_true().to_list():
        row = [_folded(each) for each in frame.row(index)]
        line = int(texts.file.lines[index])
        if row == names:
            again.append(line)
        elif 2 * len(set(row) & set(names)) > len(names):
            raise InputError(
                f"{texts.label}: line {line}: found a header with other columns than the first, expected one layout",
                hint="import the files that were joined here one by one",
            )
    return frozenset(again)


def _folded(cell: object) -> str:
    return str(cell).strip(_AROUND).casefold()


def _shown(cell: object) -> object:
    if isinstance(cell, str) and len(cell) > _SHOWN_CHARACTERS:
        return f"{cell[:_SHOWN_CHARACTERS]}..."
    return str(cell) if isinstance(cell, float) and not math.isfinite(cell) else cell
