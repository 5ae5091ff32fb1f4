"""How results reach the terminal."""

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from app.services._plain import dumps

_MOST_CELL = 60


def as_json(value: object) -> None:
    """Print one JSON document."""
    print(dumps(value, indent=2))


def as_table(columns: Sequence[str], rows: Sequence[Sequence[Any]], *, cut: bool = True) -> None:
    """Print aligned columns, numbers to the right; `cut` shortens long texts."""
    cells = [[_cell(value, cut=cut) for value in row] for row in rows]
    widths = [max(len(name), *(len(row[index]) for row in cells), 0) for index, name in enumerate(columns)]
    right = [bool(rows) and all(_is_number(row[index]) for row in rows) for index in range(len(columns))]
    lines = [list(columns), ["-" * width for width in widths], *cells]
    for line in lines:
        parts = [
            text.rjust(width) if is_right else text.ljust(width)
            for text, width, is_right in zip(line, widths, right, strict=True)
        ]
        print("  ".join(parts).rstrip())


def as_records(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], *, cut: bool = True) -> None:
    """Print some columns of objects."""
    as_table(columns, [[row.get(name) for name in columns] for row in rows], cut=cut)


def show(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], *, json: bool, cut: bool = True) -> None:
    """Print objects: all they hold as one JSON document, or some columns of them for the eye."""
    if json:
        as_json(rows)
    else:
        as_records(rows, columns, cut=cut)


def complain(message: str, hint: str = "") -> None:
    """Say what went wrong, a line for each problem, on stderr."""
    for line in message.splitlines() or [""]:
        print(f"error: {line}", file=sys.stderr)
    if hint:
        print(f"  hint: {hint}", file=sys.stderr)


def remark(text: str) -> None:
    """Say something that is no data, on stderr."""
    print(text, file=sys.stderr)


def _cell(value: object, *, cut: bool) -> str:
    if value is None:
        return ""
    text = str(value).replace("\n", " ")
    return text if not cut or len(text) <= _MOST_CELL else f"{text[: _MOST_CELL - 1]}…"


def _is_number(value: object) -> bool:
    if value is None or isinstance(value, int | float):
        return True
    return isinstance(value, str) and value.lstrip("-").replace(".", "", 1).isdecimal()
