"""Whatever lies at a path, reading it gives rows or one clear line, never a crash."""

import gzip
import io
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors.billing._read import bill_formats, read_bill
from ledger.errors import InputError
from tests.collectors.billing.bills import ROW, bill, text

PLAIN = text([{}, {"BilledCost": "-3.25", "ChargeDescription": 'a "quoted"\nword'}, {"Tags": ""}]).encode()


def _parquet() -> bytes:
    out = io.BytesIO()
    pl.DataFrame([ROW, ROW]).with_columns(pl.col("BilledCost").cast(pl.Float64)).write_parquet(out)
    return out.getvalue()


CONTAINERS = {"a.csv": PLAIN, "a.csv.gz": gzip.compress(PLAIN), "a.parquet": _parquet()}


def _lines(path: Path) -> list[str]:
    """Read a file and return what was refused of it."""
    try:
        return [each.reason for each in read_bill(path).rejected]
    except InputError as error:
        return [error.message]


def _check(path: Path) -> None:
    for line in _lines(path):
        assert line.startswith(str(path))
        assert "\n" not in line
        assert "expected" in line


def test_every_module_is_one_format() -> None:
    assert {"billing_period", "focus", "invoice", "on_premises", "price_list"} <= set(bill_formats())


@given(st.sampled_from(sorted(CONTAINERS)), st.data())
def test_a_damaged_file_never_crashes_the_reader(
    tmp_path_factory: pytest.TempPathFactory, name: str, data: st.DataObject
) -> None:
    content = bytearray(CONTAINERS[name])
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content) - 1))
        action = data.draw(st.sampled_from(["set", "cut", "insert"]))
        if action == "set":
            content[at] = data.draw(st.integers(0, 255))
        elif action == "insert":
            content[at:at] = data.draw(st.sampled_from([b'"', b"\n", b",", b"\0", b"\xff", b"NULL", b"1e99999"]))
        else:
            del content[at : at + data.draw(st.integers(1, 50))]
        if not content:
            break
    path = tmp_path_factory.mktemp("damaged") / name
    path.write_bytes(bytes(content))
    _check(path)


@given(st.binary(max_size=300), st.sampled_from(["x.csv", "x.csv.gz", "x.parquet", "x.toml", "x"]))
def test_any_bytes_are_refused_politely(tmp_path_factory: pytest.TempPathFactory, content: bytes, name: str) -> None:
    path = tmp_path_factory.mktemp("bytes") / name
    path.write_bytes(content)
    _check(path)


def test_a_folder_of_two_formats_is_refused(tmp_path: Path) -> None:
    bill(tmp_path / "run/a.csv", {})
    (tmp_path / "run/b.csv").write_text("invoice_issuer,invoice_id,billing_period_start,billing_currency,invoiced\n")
    with pytest.raises(InputError, match="found invoice beside focus"):
        read_bill(tmp_path / "run")


def test_a_format_may_be_named(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("BilledCost,ChargePeriodStart\n1,2026-01-01\n")
    with pytest.raises(InputError, match="found BilledCost, ChargePeriodStart, expected one of"):
        read_bill(path)
    with pytest.raises(InputError, match="found no column BillingAccountId"):
        read_bill(path, format="focus")


def test_a_delivery_may_be_named(tmp_path: Path) -> None:
    first = read_bill(bill(tmp_path / "january.csv", {}), source_name="cloud")
    second = read_bill(bill(tmp_path / "january-2.csv", {}, {}), source_name="cloud")
    assert first.imports["source_name"].to_list() == second.imports["source_name"].to_list() == ["cloud"]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
@pytest.mark.parametrize("shift", [0, 1, 2])
def test_where_a_character_ends_does_not_matter(tmp_path: Path, encoding: str, shift: int) -> None:
    """The format is told by the first bytes of a file, and these may end in a character."""
    path = tmp_path / "a.csv"
    path.write_text(text([{"ServiceName": "x" * shift + "\N{EURO SIGN}" * 60_000}]), encoding=encoding, newline="")
    assert read_bill(path).row_count == 1


def test_a_copy_beside_a_file_counts_once(tmp_path: Path) -> None:
    """Somebody unpacked an export where it lay, or saved it twice."""
    path = bill(tmp_path / "run/a.csv", {})
    alone = read_bill(tmp_path / "run")
    (tmp_path / "run/a.csv.gz").write_bytes(gzip.compress(path.read_bytes()))
    (tmp_path / "run/a (1).csv").write_bytes(path.read_bytes())
    read = read_bill(tmp_path / "run")
    assert read.row_count == 1
    assert read.remarks[-1] == (
        f"left out as copies of files beside them: {tmp_path}/run/a.csv, {tmp_path}/run/a.csv.gz"
    )
    assert read.imports["billed_cost"].to_list() == alone.imports["billed_cost"].to_list()


def test_the_same_bytes_in_two_folders_are_two_files(tmp_path: Path) -> None:
    """Runs of an export have files of the same name and content: which run counts, its format says."""
    for part in ("one", "two"):
        bill(tmp_path / "run" / part / "a.csv", {})
    assert read_bill(tmp_path / "run").row_count == 2


def test_a_parquet_file_with_two_columns_of_one_name_is_refused(tmp_path: Path) -> None:
    pl.DataFrame([{**ROW, "billedcost": "9"}]).write_parquet(tmp_path / "a.parquet")
    with pytest.raises(InputError, match="found column 'billedcost' twice, expected each column once"):
        read_bill(tmp_path / "a.parquet")
