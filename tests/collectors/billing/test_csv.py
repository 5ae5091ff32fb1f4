"""A large CSV some rows at a time is the whole of it, each row at its own line."""

import csv
import io
from collections.abc import Callable, Iterator

import polars as pl
import pytest

from collectors.billing._csv import csv_parts, csv_texts
from collectors.billing._encoded import utf8
from collectors.billing._typed import Texts
from ledger.errors import InputError

_ROWS = 400_000


def written(rows: Iterator[list[str]]) -> bytes:
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["id", "cost", "words"])
    writer.writerows(rows)
    return out.getvalue().encode()


def plain() -> Iterator[list[str]]:
    return ([f"row-{index}", f"{index}.25", "w" * 160] for index in range(_ROWS))


def torn() -> Iterator[list[str]]:
    """Yield rows, some of them over several lines, and some that are no rows."""
    for index, row in enumerate(plain()):
        if index % 50_001 == 7:
            yield row[:2]
        elif index % 1_000 == 3:
            yield [row[0], row[1], f'{row[2]}, "said"\nand more \N{EURO SIGN}\n']
        else:
            yield row


@pytest.mark.parametrize(("rows", "broken"), [(plain, 0), (torn, 8)])
def test_parts_are_the_whole(rows: Callable[[], Iterator[list[str]]], broken: int) -> None:
    content = written(rows())
    whole, parts = csv_texts("a.csv", content), list(csv_parts("a.csv", content))
    assert len(parts) == 3
    assert pl.concat(each.frame for each in parts).equals(whole.frame)
    assert pl.concat(each.lines for each in parts).equals(whole.lines)
    assert _broken(parts) == whole.broken
    assert len(whole.broken) == broken


def _broken(parts: list[Texts]) -> tuple[object, ...]:
    return tuple(each for part in parts for each in part.broken)


def test_a_quote_that_never_closes_takes_no_other_row_with_it() -> None:
    content = written(plain()) + b'row,1,"never closed\n'
    parts = list(csv_parts("a.csv", content))
    assert len(parts) == 3
    assert [each.found for part in parts for each in part.broken] == ["a quote that never closes"]
    assert sum(each.frame.height for each in parts) == _ROWS


def test_bytes_that_are_no_text_are_found_in_whichever_block_they_are() -> None:
    euro = "\N{EURO SIGN}".encode()
    content = euro * (40 * 2**20 // 3)
    assert utf8("a.csv", content) == content
    for at in (3 * 1000, 33 * 2**20 // 3 * 3):
        with pytest.raises(InputError, match=f"no UTF-8 text at byte {at}"):
            utf8("a.csv", content[:at] + b"\xff" + content[at:])
    with pytest.raises(InputError, match=f"no UTF-8 text at byte {len(content)}"):
        utf8("a.csv", content + euro[:1])
