"""Rate cards: what was agreed with a provider, dated; a TOML file of `[[rate]]` tables, or a CSV table."""

from typing import Final

import polars as pl

from collectors.billing._cells import Cells
from collectors.billing._charges import import_frame
from collectors.billing._format import BillFormat, Head, Imported, Rejected, Request
from collectors.billing._rates import RATE_CARD
from collectors.billing._toml import has_tables, stated_texts
from ledger.errors import InputError
from ledger.tables import Price, declared

_COLUMNS: Final = ("provider", "sku", "unit_price", "currency", "unit", "region", "valid_from")
_NEEDED: Final = ("provider", "sku", "unit_price")
_TABLE: Final = "rate"
_ALWAYS: Final = "2000-01-01"
_KEY: Final = ("provider", "region", "instance_type", "price_category", "billing_currency", "valid_start")


def _kind(head: Head) -> str | None:
    """Return toml or csv where the file is a rate card."""
    if set(_NEEDED) <= head.folded:
        return "csv"
    return "toml" if has_tables(head, _TABLE) else None


def _read(request: Request) -> Imported:
    """Return the rates as prices; a rate that stands twice is refused the second time."""
    frames: list[pl.DataFrame] = []
    rejected: list[Rejected] = []
    for file in request.source.files:
        cells = Cells(stated_texts(file, _TABLE, _COLUMNS), declared(Price).name)
        frames.append(_rates(cells, request))
        rejected.extend(cells.rejected())
    rates = pl.concat(frames).unique(_KEY, keep="first", maintain_order=True)
    if rates.is_empty() and not rejected:
        raise InputError(f"{request.source.path}: found no rate, expected one or more")
    return Imported(
        path=request.source.path,
        format=rate_card.name,
        version=request.version,
        source_name=request.source.name,
        sha256=request.sha256,
        import_id=request.import_id,
        tables={Price: Price.cast(rates)},
        imports=import_frame([]),
        rejected=tuple(rejected),
    )


def _rates(cells: Cells, request: Request) -> pl.DataFrame:
    """Return the good rates of one file."""
    stated = {name.casefold(): value for name, value in request.defaults.items()}
    columns = {
        "provider": cells.text("provider", stated.get("serviceprovidername")),
        "region": cells.text("region").fill_null(""),
        "instance_type": cells.text("sku"),
        "price_category": pl.repeat(RATE_CARD, cells.height, dtype=pl.String, eager=True),
        "billing_currency": cells.text("currency", stated.get("billingcurrency")).str.to_uppercase(),
        "valid_start": cells.instant("valid_from", default=_ALWAYS),
        "unit_price": cells.amount("unit_price", is_needed=True).amounts,
        "pricing_unit": cells.text("unit").fill_null("Hours"),
    }
    for name, own in (("provider", "provider"), ("instance_type", "sku"), ("billing_currency", "currency")):
        cells.need(own, columns[name], "a value for every rate")
    frame = pl.DataFrame([column.alias(name) for name, column in columns.items()]).with_columns(
        pl.col("valid_start").fill_null(pl.lit(_ALWAYS).str.to_datetime("%Y-%m-%d", time_zone="UTC"))
    )
    wrong = (
        ("unit_price", pl.col("unit_price") < 0, "0 or more"),
        ("currency", ~pl.col("billing_currency").str.contains(r"^[A-Z]{3}$"), "three letters of ISO 4217"),
        ("sku", ~pl.struct(_KEY).is_first_distinct(), "each rate once"),
    )
    for own, is_wrong, expected in wrong:
        for index in frame.select(pl.arg_where(is_wrong)).to_series().to_list():
            cells.refuse(index, own, cells.text(own)[index], expected)
    frame = frame.with_columns(pl.lit(request.source.name).alias("source"))
    absent = [name for name in Price.column_names() if name not in frame.columns]
    return cells.kept(frame.with_columns(pl.lit(None).alias(name) for name in absent).select(Price.column_names()))


rate_card: Final = BillFormat(name="rate_card", detect=_kind, read=_read, module=__name__)
