"""Exchange rates by day: a table of date, currencies and rate, or the table of the European Central Bank."""

import re
from typing import Final

import polars as pl

from collectors.billing._cells import Cells
from collectors.billing._charges import import_frame
from collectors.billing._format import BillFormat, Head, Imported, Rejected, Request
from collectors.billing._texts import read_texts
from ledger.errors import InputError
from ledger.tables import ExchangeRate, declared

_CODE: Final = re.compile(r"[A-Za-z]{3}")
_PLAIN: Final = frozenset({"from_currency", "to_currency", "rate"})
_BASE: Final = "EUR"
_KEY: Final = ("rate_date", "from_currency", "to_currency")
_LEAST_CODES: Final = 2


def _layout(head: Head) -> str | None:
    """Return plain, or ecb where the columns are a date and currencies, whose rates are for one euro."""
    if head.folded >= _PLAIN and head.folded & {"date", "day", "rate_date"}:
        return "plain"
    names = [each.strip() for each in head.columns if each.strip()]
    codes = [each for each in names if _CODE.fullmatch(each) and each.isupper()]
    is_ecb = names[:1] == ["Date"] and len(codes) == len(names) - 1 >= _LEAST_CODES
    return "ecb" if is_ecb else None


def _read(request: Request) -> Imported:
    """Return the rates of all files; one that stands twice is refused the second time."""
    frames: list[pl.DataFrame] = []
    rejected: list[Rejected] = []
    for file in request.source.files:
        texts = read_texts(file, file.content())
        # The bank ends each line with a comma.
        texts.frame.drop_in_place("") if "" in texts.frame.columns else None
        cells = Cells(texts, declared(ExchangeRate).name)
        frames.append(_ecb(cells) if request.version == "ecb" else _plain(cells))
        rejected.extend(cells.rejected())
    rates = pl.concat(frames).with_columns(pl.lit(request.source.name).alias("source"))
    if rates.is_empty() and not rejected:
        raise InputError(f"{request.source.path}: found a header and no rows, expected exchange rates")
    return Imported(
        path=request.source.path,
        format=exchange_rates.name,
        version=request.version,
        source_name=request.source.name,
        sha256=request.sha256,
        import_id=request.import_id,
        tables={ExchangeRate: ExchangeRate.cast(rates.unique(_KEY, keep="first", maintain_order=True))},
        imports=import_frame([]),
        rejected=tuple(rejected),
    )


def _plain(cells: Cells) -> pl.DataFrame:
    day = next(name for name in ("date", "day", "rate_date") if cells.has(name))
    frame = pl.DataFrame(
        {
            "rate_date": cells.instant(day, is_needed=True).dt.date(),
            "from_currency": cells.text("from_currency").str.to_uppercase(),
            "to_currency": cells.text("to_currency").str.to_uppercase(),
            "unit_price": cells.amount("rate", is_needed=True).amounts,
        }
    )
    wrong = [
        (name, ~pl.col(name).str.contains(r"^[A-Z]{3}$").fill_null(value=False), "three letters of ISO 4217")
        for name in ("from_currency", "to_currency")
    ]
    wrong += [
        ("rate", pl.col("unit_price") <= 0, "more than 0"),
        ("to_currency", pl.col("from_currency") == pl.col("to_currency"), "another currency"),
        (day, ~pl.struct(_KEY).is_first_distinct(), "each rate once"),
    ]
    for name, is_wrong, expected in wrong:
        for index in frame.select(pl.arg_where(is_wrong)).to_series().to_list():
            cells.refuse(index, name, cells.text(name)[index], expected)
    return cells.kept(frame)


def _ecb(cells: Cells) -> pl.DataFrame:
    """Return what one euro bought; a currency without a rate on a day has none."""
    codes = [name for name in cells.texts.frame.columns if name != "Date"]
    wide = pl.DataFrame(
        [
            cells.instant("Date", is_needed=True).dt.date().alias("rate_date"),
            *(cells.amount(code).amounts.alias(code) for code in codes),
        ]
    )
    return (
        cells.kept(wide)
        .unpivot(codes, index="rate_date", variable_name="to_currency", value_name="unit_price")
        .filter(pl.col("unit_price") > 0)
        .select("rate_date", pl.lit(_BASE).alias("from_currency"), "to_currency", "unit_price")
    )


exchange_rates: Final = BillFormat(name="exchange_rates", detect=_layout, read=_read, module=__name__)
