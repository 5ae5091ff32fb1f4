"""Money: the only place that reads, splits, sums and converts amounts, and none of it in floats.

An amount at rest is Decimal(38, 18); inside, arithmetic is on whole units of 1e-18. `parse` does the only
rounding. Polars wraps in silence where its Decimals and Int128s overflow in `group_by` and `over`, so
grouped sums come from `summed` and splits from `apportion`, which cannot wrap or refuse loudly.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Context, Decimal
from fractions import Fraction
from typing import Final

import polars as pl

from ledger._amount import (
    EXACT,
    LARGEST,
    MONEY,
    ROUNDING,
    UNIT,
    MoneyError,
    Parsed,
    add,
    at_rest,
    difference,
    parse,
    share,
)
from ledger.expressions import total as sum_or_null
from ledger.tables.columns import MONEY_PRECISION, MONEY_SCALE

__all__ = [
    "LARGEST",
    "MONEY",
    "UNIT",
    "Apportioned",
    "MoneyError",
    "Parsed",
    "ParsedColumn",
    "add",
    "apportion",
    "at_rest",
    "convert",
    "difference",
    "from_units",
    "parse",
    "parse_column",
    "priced",
    "rounded",
    "share",
    "spread",
    "subunit",
    "summed",
    "to_units",
    "tolerance",
    "total",
    "written",
]

_PLAIN: Final = r"^[+-]?(?:[0-9]{1,20}(?:\.[0-9]{0,18})?|\.[0-9]{1,18})$"

# A small number as programs write it, 5.0792E-5: one digit, more digits, how far the point stands to the left.
_SMALL: Final = r"^(?P<sign>[+-]?)(?P<first>[0-9])(?:\.(?P<more>[0-9]*))?[eE]-0*(?P<left>[1-9][0-9]?)$"
_ZEROS: Final = "0" * 99

# Beyond this a sum might leave Decimal(38, 18), or wrap around the 128 bits behind it.
_SAFE_SUM: Final = 0.999e20

_DECIMAL_DIGITS: Final[tuple[tuple[int, frozenset[str]], ...]] = (
    (0, frozenset("BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF".split())),  # noqa: SIM905
    (3, frozenset({"BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"})),
    (4, frozenset({"CLF", "UYW"})),
)


@dataclass(frozen=True)
class ParsedColumn:
    """Amounts of a column of texts, row by row.

    Nulls: `amounts` is null where the text is null or is no amount; `refused` tells the two apart.
    `residues` has only the rows where rounding took something away.
    """

    amounts: pl.Series
    residues: dict[int, Decimal]
    refused: dict[int, str]


@dataclass(frozen=True)
class Apportioned:
    """Amounts split over leaves, and the amounts that found none.

    `parts` has one row per leaf whose group has an amount; `unplaced` has the rows of the amounts whose
    group has no leaf, or only leaves of weight 0. Per column, known parts and unplaced sum to the whole.
    """

    parts: pl.DataFrame
    unplaced: pl.DataFrame


def parse_column(texts: pl.Series) -> ParsedColumn:
    """Return the amounts of a column of texts; texts of up to 18 decimals take Polars' exact parser.

    Nulls: null texts stay null; what is no amount is null and named in `refused`.
    """
    stripped = _written_out(texts.cast(pl.String).str.strip_chars())
    plain = stripped.str.contains(_PLAIN)
    amounts = pl.select(pl.when(plain).then(stripped)).to_series().cast(MONEY)
    others = pl.select(pl.arg_where(~plain.fill_null(value=True))).to_series()
    residues: dict[int, Decimal] = {}
    refused: dict[int, str] = {}
    found: list[Decimal | None] = []
    for index, each in zip(others.to_list(), stripped.gather(others).to_list(), strict=True):
        try:
            parsed = parse(each)
        except MoneyError as error:
            refused[index] = error.message
            found.append(None)
            continue
        found.append(parsed.amount)
        if parsed.residue:
            residues[index] = parsed.residue
    if found:
        amounts = amounts.scatter(others, pl.Series(found, dtype=MONEY))
    return ParsedColumn(amounts.alias(texts.name), residues, refused)


def _written_out(texts: pl.Series) -> pl.Series:
    """Return small numbers that are written with an exponent as plain decimals, digit by digit; others as they are."""
    if not texts.str.contains(_SMALL).any():
        return texts
    parts = texts.str.extract_groups(_SMALL).struct
    zeros = pl.lit(_ZEROS).str.slice(0, pl.col("left").cast(pl.Int64) - 1)
    written_out = pl.concat_str("sign", pl.lit("0."), zeros, "first", pl.col("more").fill_null(""))
    return parts.unnest().with_columns(text=texts).select(pl.coalesce(written_out, "text")).to_series()


def total(amounts: pl.Series) -> Decimal | None:
    """Return the exact sum of the known amounts; null where none is known.

    Raises: MoneyError: the sum does not fit Decimal(38, 18).
    """
    known = amounts.cast(MONEY).drop_nulls()
    if known.is_empty():
        return None
    try:
        value = known.sum()
    except pl.exceptions.ComputeError as error:
        raise MoneyError(f"{amounts.name}: the sum of {len(known)} amounts has more than 20 digits") from error
    return Decimal(value)


def summed(frame: pl.DataFrame, *, by: Sequence[str], columns: Sequence[str]) -> pl.DataFrame:
    """Return the exact sums of money columns, one row per group of `by`, in the order of the groups.

    Null parts of the key compare equal. Nulls: a sum is null where no amount of the group is known.
    Raises: MoneyError: a sum does not fit; Polars itself would wrap around in silence.
    """
    guards = [pl.col(each).cast(pl.Float64).abs().sum().alias(f"#{each}") for each in columns]
    sums = [sum_or_null(each).cast(MONEY).alias(each) for each in columns]
    groups = frame.group_by(by, maintain_order=True) if by else frame.with_columns(_=0).group_by("_")
    grouped = groups.agg(*sums, *guards)
    for each in columns:
        largest = grouped[f"#{each}"].max()
        if isinstance(largest, float) and largest >= _SAFE_SUM:
            raise MoneyError(f"{each}: the amounts of a group sum to {largest:g}, expected at most 20 digits")
    return grouped.select(*by, *columns)


def apportion(
    amounts: pl.DataFrame,
    leaves: pl.DataFrame,
    *,
    by: Sequence[str],
    weight: str,
    tie: Sequence[str],
    columns: Sequence[str],
) -> Apportioned:
    """Split each group's amounts over its leaves by whole-number weights, exactly.

    `q, r = divmod(units, W); part = q*w + r*w // W` on whole units of 1e-18, on the magnitude of a negative
    amount; the small rest goes to the largest share, among equals to the first by `tie`.

    Shape, grain: `amounts` has one row per key `by`; `parts` one row per leaf, with the leaf's columns and
    `columns`. Null parts of the key compare equal. Nulls: a null amount gives null parts.
    Raises: MoneyError: two amounts have one key, or a weight is null, negative, or sums past 2**63.
    """
    if amounts.select(by).is_duplicated().any():
        raise MoneyError(f"amounts: found two rows of one key ({', '.join(by)}), expected one")
    if leaves[weight].null_count() or (leaves[weight] < 0).any():
        raise MoneyError(f"{weight}: found a null or negative weight, expected whole numbers from 0")
    numbered = amounts.select(*by, *columns).with_row_index("#group")
    placed = (
        leaves.drop([each for each in columns if each in leaves.columns])
        .with_row_index("#leaf")
        .join(numbered, on=list(by), how="inner", nulls_equal=True, maintain_order="left")
        .with_columns(pl.col(weight).cast(pl.Int128).alias("#weight"))
        .with_columns(pl.col("#weight").sum().over("#group").alias("#whole"))
    )
    if placed.height and placed.select(pl.col("#whole").max() >= 2**63).item():
        raise MoneyError(f"{weight}: found a group whose weights sum past 2**63; divide them by a common factor")
    placed = placed.filter(pl.col("#whole") > 0)
    first = placed.sort(["#group", "#weight", *tie, "#leaf"], descending=[False, True, *[False] * len(tie), False])
    takes_rest = first.group_by("#group", maintain_order=True).first()["#leaf"]
    parts = placed.with_columns(pl.col("#leaf").is_in(takes_rest.implode()).alias("#takes_rest"))
    parts = parts.with_columns(*(_part(each).alias(each) for each in columns))
    unplaced = amounts.filter(~numbered["#group"].is_in(placed["#group"].unique().implode()))
    kept = [each for each in leaves.columns if each not in columns]
    return Apportioned(parts.select(*kept, *columns), unplaced)


def spread(amount: Decimal, start: int, end: int, whole: int) -> Decimal:
    """Return what [start, end) of a whole carries of an amount spread evenly over [0, whole).

    Parts that meet sum to the part of their union exactly, however the whole is cut: each is the difference
    of two running sums that are rounded down.
    """
    units = int(EXACT.scaleb(amount, MONEY_SCALE))
    part = units * end // whole - units * start // whole
    return EXACT.scaleb(Decimal(part), -MONEY_SCALE)


def priced(price: Decimal, quantity: Fraction) -> Decimal:
    """Return price times quantity, rounded half to even at 18 decimals; the quantity may be any fraction."""
    units = round(Fraction(price) * quantity * 10**MONEY_SCALE)
    return at_rest(EXACT.scaleb(Decimal(units), -MONEY_SCALE))


def to_units(column: str | pl.Expr) -> pl.Expr:
    """Return amounts as whole units of 1e-18, Int128."""
    expression = pl.col(column) if isinstance(column, str) else column
    return expression.cast(MONEY).to_physical()


def from_units(column: str | pl.Expr) -> pl.Expr:
    """Return whole units of 1e-18 as amounts; a number that does not fit raises Polars' error."""
    expression = pl.col(column) if isinstance(column, str) else column
    # A cast of Int128 to Decimal(38, 18) would multiply by 1e18: take scale 0 and give it the scale.
    return expression.cast(pl.Decimal(MONEY_PRECISION, 0)) * pl.lit(UNIT, dtype=MONEY)


def convert(amount: Decimal, rate: Decimal) -> Decimal:
    """Return an amount in another currency, for display: rounded to 18 decimals, never stored as a charge."""
    return share(amount, rate).quantize(UNIT, context=ROUNDING)


def subunit(currency: str) -> Decimal:
    """Return the smallest amount that is paid in a currency (ISO 4217); 0.01 for currencies not listed there."""
    digits = next((digits for digits, codes in _DECIMAL_DIGITS if currency.upper() in codes), 2)
    return Decimal(1).scaleb(-digits)


def written(amount: Decimal) -> str:
    """Return an amount as plain text with every digit and no trailing zeros: 5.1781585416, never 5.18E+0."""
    text = f"{amount:f}"
    if not amount:
        return "0"
    return text.rstrip("0").rstrip(".") if "." in text else text


def rounded(amount: Decimal, currency: str) -> Decimal:
    """Return an amount in whole subunits of its currency, for display."""
    return amount.quantize(subunit(currency), context=ROUNDING)


def tolerance(currency: str, row_count: int) -> Decimal:
    """Return by how much an invoice and its charges may differ: `max(100 * subunit, sqrt(rows) * 0.5 * subunit)`.

    Source: FOCUS 1.4, InvoiceDetail, reconciliation of rounded rows.
    """
    smallest = subunit(currency)
    root = Context(prec=MONEY_PRECISION).sqrt(Decimal(row_count))
    spread = ROUNDING.multiply(root, ROUNDING.multiply(smallest, Decimal("0.5")))
    return max(100 * smallest, spread).quantize(UNIT, context=ROUNDING)


def _part(column: str) -> pl.Expr:
    """Return a leaf's part of its group's amount; the rest of the division goes to the marked leaf.

    Nothing here exceeds 128 bits: q*w and the sum of parts stay within the amount, r*w below 2**126.
    """
    units = to_units(column)
    size, weight, whole = units.abs(), pl.col("#weight"), pl.col("#whole")
    share = (size // whole) * weight + (size % whole) * weight // whole
    rest = size - share.sum().over("#group")
    part = share + pl.when(pl.col("#takes_rest")).then(rest).otherwise(pl.lit(0, dtype=pl.Int128))
    return from_units(pl.when(units < 0).then(pl.lit(0, dtype=pl.Int128) - part).otherwise(part))
