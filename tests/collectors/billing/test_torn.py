"""A quote that opens in one row and closes in another hides no row: whatever it covers is told, with its lines."""

import csv
import io
import json
import re
from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors.billing import _csv
from collectors.billing._csv import csv_parts, csv_texts
from collectors.billing._format import Imported
from collectors.billing._read import read_bill
from ledger import money
from ledger.errors import InputError
from ledger.tables import FocusCharge
from tests.collectors.billing.bills import text

_TAGS = '"{""team"": ""vision""}"'
_OPEN = _TAGS[:-1]
_TOLD = re.compile(r"closes in line (\d+)|over lines \d+ to (\d+)|over (\d+) lines")


def _lines(count: int, **changes: str) -> list[str]:
    """Return the lines of a bill, its header first; the rows cost 1, 2, 3 and so on."""
    return text([{"BilledCost": str(1 + each), **changes} for each in range(count)], end="\n").splitlines()


def _read(path: Path, lines: Sequence[str]) -> Imported:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return read_bill(path)


def _costs(read: Imported) -> list[Decimal]:
    return read.tables[FocusCharge]["BilledCost"].to_list()


@pytest.mark.parametrize("between", [0, 1, 4])
def test_rows_between_two_quotes_are_told_with_their_lines(tmp_path: Path, between: int) -> None:
    """The rows between have no quote of their own: the next quote that opens a cell closes this one."""
    lines = _lines(between + 4)
    assert lines[2].endswith(_TAGS)
    lines[2] = lines[2].replace(_TAGS, _OPEN)
    for at in range(3, 3 + between):
        lines[at] = lines[at].removesuffix(_TAGS)
    read = _read(tmp_path / "bill.csv", lines)
    (refused,) = read.rejected
    assert refused.reason == (
        f"{tmp_path}/bill.csv: line 3, column Tags: found a quote that closes in line {4 + between}, "
        f"with {between + 2} rows in its cell, expected a quote that closes in its own row"
    )
    assert _costs(read) == [Decimal(1), *map(Decimal, range(4 + between, 5 + between))]
    assert json.loads(refused.record)["BilledCost"] == "2"
    stated = read.imports.row(0, named=True)
    assert (stated["row_count"], stated["rejected_count"]) == (2, 1)


def test_a_quote_in_the_middle_of_a_row_that_closes_in_another_is_told(tmp_path: Path) -> None:
    lines = _lines(3, ServiceName='a "large" machine')
    lines[2] = lines[2].replace('"a ""large"" machine"', '"a ""large"" machine').removesuffix(_TAGS)
    read = _read(tmp_path / "bill.csv", lines)
    (refused,) = read.rejected
    assert (refused.line, refused.column) == (3, "ServiceName")
    assert refused.found == "a quote that closes in line 4, with 2 rows in its cell"
    assert _costs(read) == [Decimal(1)]


def test_a_row_that_ends_in_the_cell_that_closes_it_is_told(tmp_path: Path) -> None:
    """The quote closes where a cell of several lines opens: what is left of that is a record of its own."""
    lines = _lines(4)
    lines[2], lines[3] = lines[2].replace(_TAGS, _OPEN), lines[3].removesuffix(_TAGS)
    lines[4] = lines[4].replace("Machines", '"Mach\nines"')
    read = _read(tmp_path / "bill.csv", lines)
    assert [(each.line, each.found) for each in read.rejected] == [
        (3, "a quote that closes in line 5, with 3 rows in its cell"),
        (6, "7 cells"),
    ]
    assert _costs(read) == [Decimal(1)]


def test_a_record_of_another_width_says_which_lines_it_covers(tmp_path: Path) -> None:
    lines = _lines(5)
    lines[2] = lines[2].replace(",Cloud,", ',"Cloud,').removesuffix(_TAGS)
    lines[3] = lines[3].removesuffix(_TAGS)
    read = _read(tmp_path / "bill.csv", lines)
    (refused,) = read.rejected
    assert refused.reason.startswith(f"{tmp_path}/bill.csv: line 3: found ")
    assert "over lines 3 to 5, expected 19 as in the header" in refused.reason
    assert _costs(read) == [Decimal(1), Decimal(5)]


def _open(*, cell: str = _TAGS, opened: str = _OPEN) -> list[str]:
    """Return the lines of a bill of five rows, in the second of which a quote opens that never closes."""
    lines = _lines(5)
    lines[2] = lines[2].replace(cell, opened)
    lines[2:] = [each.removesuffix(_TAGS) for each in lines[2:]]
    return lines


_HIDDEN: dict[str, dict[str, str]] = {
    "the last cell": {},
    "a cell before it, so that the row is short": {"cell": ",Cloud,", "opened": ',"Cloud,'},
}


@pytest.mark.parametrize("where", _HIDDEN)
def test_rows_behind_a_quote_that_never_closes_are_read(tmp_path: Path, where: str) -> None:
    lines = _open(**_HIDDEN[where])
    lines.insert(4, "")
    lines[5] = lines[5].replace("4", "lots", 1)
    read = _read(tmp_path / "bill.csv", lines)
    opened, wrong = read.rejected
    assert (opened.line, opened.found) == (3, "a quote that never closes (3 rows behind it read)")
    told = json.loads(opened.record)
    assert (told["BilledCost"] if isinstance(told, dict) else told[0]) == "2"
    assert "lots" not in opened.record, "only its own line"
    assert (wrong.line, wrong.column) == (6, "BilledCost")
    assert _costs(read) == [Decimal(1), Decimal(3), Decimal(5)]


@pytest.mark.parametrize("where", _HIDDEN)
@pytest.mark.parametrize("fault", [lambda each: each.rpartition(",")[0], lambda each: f"{each},", lambda _: "words"])
def test_a_quote_that_never_closes_hides_all_where_one_line_behind_it_is_no_row(
    tmp_path: Path, where: str, fault: Callable[[str], str]
) -> None:
    lines = _open(**_HIDDEN[where])
    lines[4] = fault(lines[4])
    read = _read(tmp_path / "bill.csv", lines)
    (refused,) = read.rejected
    assert refused.line == 3
    assert "over 4 lines" in refused.found or "over lines 3 to 6" in refused.found
    assert _costs(read) == [Decimal(1)]


def test_a_large_file_has_the_rows_behind_a_quote_in_its_last_part(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = _lines(400)
    lines[380] = lines[380].replace(",Cloud,", ',"Cloud,')
    lines[380:] = [each.removesuffix(_TAGS) for each in lines[380:]]
    content = ("\n".join(lines) + "\n").encode()
    whole = csv_texts("a.csv", content)
    assert (whole.frame.height, [each.line for each in whole.broken]) == (399, [381])
    monkeypatch.setattr(_csv, "_LARGE_BYTES", 1)
    monkeypatch.setattr(_csv, "_BLOCK_BYTES", 16384)
    monkeypatch.setattr(_csv, "_PART_ROWS", 50)
    parts = list(csv_parts("a.csv", content))
    assert len(parts) > 2
    assert pl.concat([each.frame for each in parts]).equals(whole.frame)
    assert pl.concat([each.lines for each in parts]).equals(whole.lines)


def test_a_large_file_names_the_line_at_which_a_quote_does_not_close(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_csv, "_BLOCK_BYTES", 2**20)
    lines = _lines(9_000, ServiceName="x" * 400)
    lines[4_321:] = [each.removesuffix(_TAGS) for each in lines[4_321:]]
    lines[4_320] = lines[4_320].replace(_TAGS, _OPEN)
    path = tmp_path / "bill.csv"
    path.write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(InputError) as caught:
        read_bill(path)
    assert caught.value.message == (
        f"{path}: line 4321: found a quote that does not close within 1 MiB, expected one that closes in its own row"
    )


def test_a_large_file_is_judged_in_each_of_its_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = _lines(400)
    for at in (7, 150, 390):
        lines[at] = lines[at].replace(_TAGS, _OPEN)
    content = ("\n".join(lines) + "\n").encode()
    whole = csv_texts("a.csv", content)
    assert [each.line for each in whole.broken] == [8, 151, 391]
    monkeypatch.setattr(_csv, "_LARGE_BYTES", 1)
    monkeypatch.setattr(_csv, "_BLOCK_BYTES", 4096)
    monkeypatch.setattr(_csv, "_PART_ROWS", 50)
    parts = list(csv_parts("a.csv", content))
    assert len(parts) > 2
    assert [each for part in parts for each in part.broken] == list(whole.broken)
    assert sum(part.frame.height for part in parts) == whole.frame.height == 400 - 6


PROSE = (
    "two\nlines",
    "first, second, third,\nfourth",
    'he said: "no,\nnever"\n',
    "\n\n\n",
    json.dumps({"of": ["a", "b", {"c": 1, "d": None}], "x": {str(n): n for n in range(30)}}, indent=1),
    json.dumps([{"key": f"k{n}", "value": "v, w"} for n in range(40)], indent=2),
    "\n".join(json.dumps({str(n): "" for n in range(5)}) for _ in range(20)),
)


@pytest.mark.parametrize("column", ["ResourceId", "ServiceName", "Tags", "Notes"])
@pytest.mark.parametrize("prose", PROSE)
def test_a_cell_of_several_lines_is_no_torn_row(tmp_path: Path, column: str, prose: str) -> None:
    path = tmp_path / "bill.csv"
    path.write_text(text([{}, {column: prose}, {}]), encoding="utf-8", newline="")
    read = read_bill(path)
    assert read.rejected == ()
    assert read.tables[FocusCharge].height == 3


_CELLS = st.sampled_from(["plain", "a, b", 'a "b" c', "two\nlines", "", '{"a": "b"}', '{"a": "b, c", "d": "e"}'])
_ROWS = st.lists(st.tuples(_CELLS, _CELLS, _CELLS), min_size=2, max_size=12)


def _covered(read: Imported) -> set[int]:
    """Return the lines that refusals name."""
    lines: set[int] = set()
    for each in read.rejected:
        found = _TOLD.search(each.reason)
        last, to, over = found.groups() if found else (None, None, None)
        end = int(last or to or each.line + int(over or 1) - 1)
        lines |= set(range(each.line, end + 1))
    return lines


@given(_ROWS, st.data())
def test_one_quote_too_many_or_too_few_hides_no_row(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str, str]], data: st.DataObject
) -> None:
    named = [{"ResourceId": a, "ServiceName": b, "Tags": c, "BilledCost": "1"} for a, b, c in rows]
    whole = text(named, end="\n")
    header, _, body = whole.partition("\n")
    quotes = [index for index, each in enumerate(body) if each == '"']
    if len(quotes) > 0 and data.draw(st.booleans()):
        at = data.draw(st.sampled_from(quotes))
        damaged = body[:at] + body[at + 1 :]
    else:
        at = data.draw(st.integers(0, len(body) - 1))
        damaged = f'{body[:at]}"{body[at:]}'
    path = tmp_path_factory.mktemp("torn") / "bill.csv"
    path.write_text(f"{header}\n{damaged}", encoding="utf-8", newline="")
    read = read_bill(path)
    covered = _covered(read)
    starts = _starts(whole)
    told = sum(bool(covered & set(range(start, end))) for start, end in zip(starts, [*starts[1:], 10**6], strict=True))
    assert read.tables[FocusCharge].height + told >= len(rows)
    assert money.total(read.tables[FocusCharge]["BilledCost"]) in {None, Decimal(read.tables[FocusCharge].height)}


def _starts(whole: str) -> list[int]:
    """Return the line at which each row starts."""
    reader = csv.reader(io.StringIO(whole, newline=""))
    next(reader)
    starts = []
    start = reader.line_num + 1
    for _ in reader:
        starts.append(start)
        start = reader.line_num + 1
    return starts
