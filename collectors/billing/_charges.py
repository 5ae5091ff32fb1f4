"""FOCUS charges from texts, and what their source states about each account and period."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

import polars as pl

from collectors.billing._cells import Cells, tags
from collectors.billing._format import Rejected, Request
from collectors.billing._judged import judge
from ledger import billed, money
from ledger.errors import InputError
from ledger.tables import BillImport, FocusCharge
from ledger.words import amount

UNIT: Final = ("BillingAccountId", "BillingPeriodStart", "BillingCurrency")

OLDER_NAMES: Final = {"ServiceProviderName": "ProviderName", "HostProviderName": "PublisherName"}
"""Columns that had another name before FOCUS 1.3."""

_INSTANTS: Final = ("BillingPeriodStart", "BillingPeriodEnd", "ChargePeriodStart", "ChargePeriodEnd")
_COSTS: Final = ("BilledCost", "EffectiveCost", "ListCost", "ContractedCost")
_NUMBERS: Final = (
    "PricingQuantity",
    "ConsumedQuantity",
    "ListUnitPrice",
    "ContractedUnitPrice",
    "CommitmentDiscountQuantity",
)
_MADE_HERE: Final = frozenset({"import_id", "row_index", "is_derived", "unknown_reason", "Tags"})


@dataclass(frozen=True)
class UnitTotals:
    """What the source states about one account, period and currency, refused rows with a cost included."""

    billed_cost: Decimal
    effective_cost: Decimal
    residue: Decimal
    rejected_count: int

    def __add__(self, other: "UnitTotals") -> "UnitTotals":
        return UnitTotals(
            money.add(self.billed_cost, other.billed_cost),
            money.add(self.effective_cost, other.effective_cost),
            money.add(self.residue, other.residue),
            self.rejected_count + other.rejected_count,
        )


NOTHING: Final = UnitTotals(Decimal(0), Decimal(0), Decimal(0), 0)


@dataclass(frozen=True)
class Charges:
    """The charges of one file, what its rows sum to by unit, and what was refused."""

    frame: pl.DataFrame
    totals: Mapping[tuple[object, ...], UnitTotals]
    rejected: tuple[Rejected, ...]
    normalised_count: int
    naive_instant_count: int
    remarks: tuple[str, ...]


def charges_of(cells: Cells, defaults: Mapping[str, str], *, first_index: int) -> Charges:
    """Return the charges of one file, judged row by row; null costs carry the reason."""
    stated = {name.casefold(): value for name, value in defaults.items()}
    costs = {name: cells.amount(name, is_needed=name == "BilledCost") for name in _COSTS}
    columns: dict[str, pl.Series] = {name: parsed.amounts for name, parsed in costs.items()}
    for name in _INSTANTS:
        columns[name] = cells.instant(name, is_needed=True, default=stated.get(name.casefold()))
    for name in _NUMBERS:
        columns[name] = cells.amount(name).amounts
    for name in FocusCharge.column_names():
        if name not in columns and name not in _MADE_HERE:
            columns[name] = _text(cells, name, stated)
    columns["Tags"], bad_tags = tags(cells.text("Tags"))
    frame = pl.DataFrame([column.alias(name) for name, column in columns.items()])
    frame, remarks = _filled(frame)
    judge(cells, frame)
    frame = _with_unknowns(frame).with_columns(
        pl.int_range(first_index, first_index + pl.len(), dtype=pl.Int64).alias("row_index"),
        pl.lit(value=False).alias("is_derived"),
    )
    if bad_tags:
        remarks = (*remarks, f"{amount(bad_tags, 'cell')} of Tags left out: no JSON object")
    try:
        totals = _totals(frame, costs["BilledCost"].residues, costs["EffectiveCost"].residues, cells.refused)
    except money.MoneyError as error:
        raise InputError(
            f"{cells.texts.label}: {error.message}",
            hint="correct the rows with costs that cannot be, and import it again",
        ) from error
    return Charges(
        frame=cells.kept(frame),
        totals=totals,
        rejected=cells.rejected(),
        normalised_count=cells.normalised_count,
        naive_instant_count=cells.naive_instant_count,
        remarks=remarks,
    )


def facts_of(charges: pl.DataFrame) -> pl.DataFrame:
    """Return what is counted of charges: one row per unit, provider and day; those of parts may be concatenated."""
    return charges.group_by(
        *UNIT, provider="ServiceProviderName", charge_day=pl.col("ChargePeriodStart").dt.date()
    ).agg(
        pl.len().cast(pl.Int64).alias("row_count"),
        billed.usage_end().alias("usage_end"),
        billed.long_usage_end().alias("long_usage_end"),
    )


def imports_of(request: Request, format_name: str, files: Sequence[Charges], facts: pl.DataFrame) -> pl.DataFrame:
    """Return one bill_import row per account, period and currency of a delivery, from the facts of its charges.

    What cannot be told apart by unit (refused rows without an account, words read as null) stands in the
    first row; the counts of the rows sum to those of the delivery.
    """
    totals: dict[tuple[object, ...], UnitTotals] = {}
    for each in files:
        for unit, stated in each.totals.items():
            totals[unit] = totals.get(unit, NOTHING) + stated
    units = (
        facts.group_by(UNIT)
        .agg(
            pl.col("provider").unique().sort().str.join(", "),
            pl.col("row_count").sum(),
            pl.col("charge_day").n_unique().cast(pl.Int64).alias("charge_day_count"),
            pl.col("usage_end", "long_usage_end").max(),
        )
        .with_columns(
            billed.complete_through("usage_end", "long_usage_end", _delivered(request)).alias("complete_through")
        )
        .sort(UNIT)
    )
    rows = []
    rejected_count = sum(len(each.rejected) for each in files)
    known = [totals.get(tuple(row[name] for name in UNIT), NOTHING) for row in units.iter_rows(named=True)]
    elsewhere = rejected_count - sum(each.rejected_count for each in known)
    for index, (row, stated) in enumerate(zip(units.iter_rows(named=True), known, strict=True)):
        is_first = index == 0
        rows.append(
            {
                "import_id": request.import_id,
                "billing_account_id": row["BillingAccountId"],
                "billing_period_start": row["BillingPeriodStart"],
                "billing_currency": row["BillingCurrency"],
                "source_name": request.source.name,
                "path": request.source.path,
                "format": format_name,
                "version": request.version,
                "provider": row["provider"],
                "sha256": request.sha256,
                "imported_at": request.imported_at,
                "status": "current",
                "row_count": row["row_count"],
                "rejected_count": stated.rejected_count + (elsewhere if is_first else 0),
                "charge_day_count": row["charge_day_count"],
                "billed_cost": money.at_rest(stated.billed_cost),
                "effective_cost": money.at_rest(stated.effective_cost),
                "residue": _rounding(stated),
                "residue_text": money.written(stated.residue),
                "normalised_count": sum(each.normalised_count for each in files) if is_first else 0,
                "naive_instant_count": sum(each.naive_instant_count for each in files) if is_first else 0,
                "complete_through": row["complete_through"],
            }
        )
    return import_frame(rows)


def _delivered(request: Request) -> pl.Expr:
    return pl.lit(request.imported_at, dtype=pl.Datetime("us", "UTC"))


def _rounding(stated: UnitTotals) -> Decimal:
    """Return by how much the total at rest differs from the sum of the rounded rows, a whole number of 1e-18.

    The exact residue is smaller than one unit at rest for most bills, and which way a half goes may differ
    between the total and its rows: this keeps total - residue equal to what the rows sum to.
    """
    rows = money.difference(stated.billed_cost, stated.residue)
    return money.difference(money.at_rest(stated.billed_cost), rows)


def import_frame(rows: Iterable[Mapping[str, object]]) -> pl.DataFrame:
    """Return bill_import rows as a frame of that table; columns that a row leaves out are null."""
    empty = BillImport.create_empty()
    listed = [{name: row.get(name) for name in empty.columns} for row in rows]
    return pl.DataFrame(listed, schema=empty.schema)


def _text(cells: Cells, name: str, stated: Mapping[str, str]) -> pl.Series:
    older = OLDER_NAMES.get(name)
    actual = older if older is not None and not cells.has(name) and cells.has(older) else name
    default = stated.get(name.casefold())
    if default is None and older is not None:
        default = stated.get(older.casefold())
    return cells.text(actual, default).alias(name)


def _filled(frame: pl.DataFrame) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """Fill what FOCUS allows to be derived: the issuer where only a provider is named, no invoice yet."""
    issuer_is_null = frame["InvoiceIssuerName"].is_null() & frame["ServiceProviderName"].is_not_null()
    remarks = []
    if count := int(issuer_is_null.sum()):
        remarks.append(f"{amount(count, 'row')} without InvoiceIssuerName: the service provider is taken")
    filled = frame.with_columns(
        pl.coalesce("InvoiceIssuerName", "ServiceProviderName").alias("InvoiceIssuerName"),
        pl.col("InvoiceId").fill_null(""),
        pl.col("BillingCurrency").str.to_uppercase(),
    )
    return filled, tuple(remarks)


def _with_unknowns(frame: pl.DataFrame) -> pl.DataFrame:
    """Make a zero that cannot be true null, and say for each null cost why it is.

    Usage that is billed or amortised at more than nothing has a list and a contracted cost: where exports
    write 0 there (Azure for reservations and marketplace, AWS in early FOCUS files), it is unknown.
    """
    is_plain_usage = (pl.col("ChargeCategory") == "Usage") & pl.col("ChargeClass").is_null()
    has_cost = (pl.col("BilledCost") != 0) | (pl.col("EffectiveCost").fill_null(0) != 0)
    reasons = [
        pl.when(pl.col(name).is_null()).then(pl.lit(f"{name} is empty at the source"))
        for name in ("EffectiveCost", "ListCost", "ContractedCost")
    ]
    zeros = [name for name in ("ListCost", "ContractedCost") if name in frame.columns]
    for name in zeros:
        is_false = is_plain_usage & has_cost & (pl.col(name) == 0)
        reasons.append(pl.when(is_false).then(pl.lit(f"{name} is 0 at the source for usage with a cost")))
    frame = frame.with_columns(pl.concat_str(reasons, separator="; ", ignore_nulls=True).alias("unknown_reason"))
    nulled = [
        pl.when(~(is_plain_usage & has_cost & (pl.col(name) == 0)).fill_null(value=False)).then(name).alias(name)
        for name in zeros
    ]
    return frame.with_columns(
        *nulled, pl.when(pl.col("unknown_reason") != "").then("unknown_reason").alias("unknown_reason")
    )


def _totals(
    frame: pl.DataFrame,
    billed_residues: Mapping[int, Decimal],
    effective_residues: Mapping[int, Decimal],
    refused: Mapping[int, Rejected],
) -> dict[tuple[object, ...], UnitTotals]:
    """Return exact sums of the source by unit: rounded amounts plus what rounding took away."""
    sums = money.summed(frame, by=UNIT, columns=["BilledCost", "EffectiveCost"])
    totals = {
        row[:3]: UnitTotals(row[3] or Decimal(0), row[4] or Decimal(0), Decimal(0), 0) for row in sums.iter_rows()
    }
    touched = sorted({*billed_residues, *effective_residues, *refused})
    rows_of: dict[tuple[object, ...], list[int]] = {}
    for index, unit in zip(touched, frame.select(UNIT)[touched].rows(), strict=True):
        rows_of.setdefault(unit, []).append(index)
    for unit, rows in rows_of.items():
        billed = money.add(*(billed_residues[index] for index in rows if index in billed_residues))
        effective = money.add(*(effective_residues[index] for index in rows if index in effective_residues))
        totals[unit] += UnitTotals(billed, effective, billed, sum(index in refused for index in rows))
    return totals
