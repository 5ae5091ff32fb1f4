"""A large CSV some rows at a time is the whole of it, each row at its own line."""

import csv
import io
from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl
import pytest

from collectors.billing import _csv
from collectors.billing._csv import csv_parts, csv_texts, header
from collectors.billing._encoded import utf8
from collectors.billing._read import read_bill
from collectors.billing._short_rows import fitting_parts
from collectors.billing._source import SourceFile
from collectors.billing._texts import Everything
from collectors.billing._typed import Texts
from ledger.errors import InputError
from tests.collectors.billing.bills import text

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


ABOVE = {
    "the mark that Excel is told": "sep=;\r\n",
    "the mark in quotes": '"sep=;"\n',
    "the mark in capitals, and cells behind it": "SEP=;;;\n",
    "empty lines": "\n\r\n  \t\n",
    "an empty row of cells": ";;\n",
    "empty lines around the mark": "\n;;\nsep=;\n\n",
}


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("name", ABOVE)
def test_what_stands_above_the_header_moves_lines_and_nothing_else(
    name: str, monkeypatch: pytest.MonkeyPatch, *, large: bool
) -> None:
    """A row of another width, one of several lines and one that is open at the end: each is told with its line."""
    if large:
        monkeypatch.setattr(_csv, "_LARGE_BYTES", 1)
    rows = ["id;cost;words", "a;1;x, y, z, w", "b;2", 'c;3;"two\nlines"', 'd;4;"open']
    body = "\n".join(rows) + "\n"
    (plain,) = csv_parts("a.csv", body.encode())
    content = (ABOVE[name] + body).encode()
    (found,) = csv_parts("a.csv", content)
    more = ABOVE[name].count("\n")
    assert header(content) == (["id", "cost", "words"], ";")
    assert found.frame.equals(plain.frame)
    assert found.lines.to_list() == [2 + more, 4 + more]
    assert [each.line for each in found.broken] == [3 + more, 6 + more]
    assert found.header_line == 1 + more


def test_the_mark_that_a_file_tells_stands_before_the_one_of_most_names() -> None:
    content = b"sep=;\na,b,c;d,e,f\n1,2,3;4,5,6\n"
    assert header(content) == (["a,b,c", "d,e,f"], ";")
    assert csv_texts("a.csv", content).frame.rows() == [("1,2,3", "4,5,6")]
    assert header(content.replace(b"sep=;", b"sep=^").replace(b";", b"^")) == (["a,b,c", "d,e,f"], "^")
    assert header(content.replace(b"sep=;", b"sep=|"))[1] == ",", "a mark that is not there is not meant"


def test_a_column_that_is_named_twice_is_told_with_the_line_of_the_header() -> None:
    with pytest.raises(InputError, match="line 3: found column 'id' twice"):
        csv_texts("a.csv", b"sep=,\n\nid,cost,id\n1,2,3\n")


def test_a_bill_from_excel_is_read_and_its_faults_have_their_lines(tmp_path: Path) -> None:
    rows = [{}, {"BilledCost": "lots"}, {"Tags": ""}]
    bill = text(rows).replace(",", ";")
    path = tmp_path / "bill.csv"
    path.write_text("sep=;\r\n\r\n" + bill, newline="")
    read = read_bill(path)
    (refused,) = read.rejected
    assert refused.reason.startswith(f"{path}: line 5, column BilledCost: found 'lots'")
    assert read.row_count == 2
    path.write_text("\n\nsep=,\n" + text([{}], without=["BillingCurrency"]), newline="")
    with pytest.raises(InputError, match=f"{path}: line 4: found no column BillingCurrency"):
        read_bill(path)


def test_rows_that_all_end_before_the_header_are_read_below_other_lines() -> None:
    """Exports leave out the last cells where no row has any."""
    content = b"\nsep=;\n\na;b;c;d\n1;2\n\n3;4\n"
    ((texts, lacking),) = fitting_parts(SourceFile("a.csv", "a.csv", lambda: content), Everything())
    assert lacking == ("c", "d")
    assert texts.frame.rows(named=True) == [{"a": "1", "b": "2"}, {"a": "3", "b": "4"}]
    assert (texts.lines.to_list(), texts.header) == ([5, 7], "a.csv: line 4")


def test_bytes_that_are_no_text_are_found_in_whichever_block_they_are() -> None:
    euro = "\N{EURO SIGN}".encode()
    content = euro * (40 * 2**20 // 3)
    assert utf8("a.csv", content) == content
    for at in (3 * 1000, 33 * 2**20 // 3 * 3):
        with pytest.raises(InputError, match=f"no UTF-8 text at byte {at}"):
            utf8("a.csv", content[:at] + b"\xff" + content[at:])
    with pytest.raises(InputError, match=f"no UTF-8 text at byte {len(content)}"):
        utf8("a.csv", content + euro[:1])
