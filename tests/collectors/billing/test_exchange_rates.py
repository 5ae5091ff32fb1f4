"""Exchange rates come in as they are published, by day."""

from datetime import date
from decimal import Decimal
from pathlib import Path

import polars as pl

from collectors.billing._format import Imported
from collectors.billing._read import read_bill
from ledger.tables import ExchangeRate


def _rates(read: Imported) -> pl.DataFrame:
    assert read.format == "exchange_rates"
    return ExchangeRate.validate(read.tables[ExchangeRate])


def test_a_plain_table(tmp_path: Path) -> None:
    path = tmp_path / "rates.csv"
    path.write_text(
        "date,from_currency,to_currency,rate\n"
        "2026-09-01,usd,EUR,0.9\n2026-09-01,USD,EUR,0.8\n2026-09-02,USD,EUR,-1\n2026-09-02,USD,Euro,1\n2026-09-02,USD,USD,1\n"
    )
    read = read_bill(path)
    assert _rates(read).select("rate_date", "from_currency", "to_currency", "unit_price").rows() == [
        (date(2026, 9, 1), "USD", "EUR", Decimal("0.9"))
    ]
    assert [each.reason.removeprefix(f"{path}: ") for each in read.rejected] == [
        "line 3, column date: found '2026-09-01', expected each rate once",
        "line 4, column rate: found '-1', expected more than 0",
        "line 5, column to_currency: found 'Euro', expected three letters of ISO 4217",
        "line 6, column to_currency: found 'USD', expected another currency",
    ]


def test_the_table_of_the_european_central_bank(tmp_path: Path) -> None:
    path = tmp_path / "eurofxref-hist.csv"
    path.write_text("Date,USD,JPY,CYP,\n2026-09-02,1.1,160.5,N/A,\n2026-09-01,1.2,161,N/A,\n")
    rates = _rates(read_bill(path))
    assert rates.filter(to_currency="USD").select("rate_date", "unit_price").rows() == [
        (date(2026, 9, 2), Decimal("1.1")),
        (date(2026, 9, 1), Decimal("1.2")),
    ]
    assert rates["from_currency"].unique().to_list() == ["EUR"]
    assert rates.height == 4
