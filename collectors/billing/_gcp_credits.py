"""The credits of Google's bills: which lower a charge, and which are charges of their own."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Final

import polars as pl

from collectors.billing._gcp_rows import listed
from ledger import money

KIND: Final = pl.col("cost_type").str.to_lowercase().fill_null("regular")
"""What kind of line a row is: regular, tax, adjustment, rounding_error."""

_RATE: Final = frozenset(
    {
        "COMMITTED_USAGE_DISCOUNT",
        "COMMITTED_USAGE_DISCOUNT_DOLLAR_BASE",
        "SUSTAINED_USAGE_DISCOUNT",
        "DISCOUNT",
        "RESELLER_MARGIN",
        "FREE_TIER",
        "FEE_UTILIZATION_OFFSET",
    }
)
"""Credits that are a lower rate; all others (PROMOTION, SUBSCRIPTION_BENEFIT, refunds) are money given."""

_COMMITTED: Final = {"COMMITTED_USAGE_DISCOUNT": "Usage", "COMMITTED_USAGE_DISCOUNT_DOLLAR_BASE": "Spend"}
_OFFSET: Final = "FEE_UTILIZATION_OFFSET"
_FEE: Final = r"(?i)^(?:commitment\b|committed use\b)|\bcommitment\b.*\bfor [13] years?\b|\bCUD subscription\b"


@dataclass(frozen=True)
class Credited:
    """The credits of the rows: what they lower, which are charges of their own, and which cannot be read.

    `own` has a row per credit that is a charge: the `row` it stood on, `id`, `name`, `amount`.
    """

    frame: pl.DataFrame
    own: pl.DataFrame
    unreadable: tuple[int, ...]


def credited(rows: pl.DataFrame) -> Credited:
    """Return the rows with what they are billed after rate credits, exactly, and the credits that are charges."""
    billed: list[str | None] = rows["cost"].to_list()
    kinds: list[str | None] = [None] * rows.height
    ids: list[str | None] = [None] * rows.height
    offsets = [False] * rows.height
    covered: list[str | None] = [None] * rows.height
    unreadable: list[int] = []
    own: list[dict[str, object]] = []
    texts = rows["credits"]
    read = {text: listed(text) for text in texts.drop_nulls().unique().to_list()}
    for row in pl.arg_where(texts.is_not_null(), eager=True).to_list():
        credits_of = read[texts[row]]
        if credits_of is None:
            unreadable.append(row)
            continue
        for each in credits_of:
            kind, amount = str(each.get("type") or "").upper(), _text(each.get("amount"))
            if kind not in _RATE:
                name = _text(each.get("full_name")) or _text(each.get("name"))
                own.append({"row": row, "id": _text(each.get("id")), "name": name, "amount": amount})
                continue
            billed[row] = _sum(billed[row], amount)
            offsets[row] |= kind == _OFFSET
            if kind in _COMMITTED:
                covered[row] = _sum(covered[row] or "0", _negated(amount))
                kinds[row], ids[row] = _COMMITTED[kind], _text(each.get("id")) or _text(each.get("name"))
    return Credited(
        rows.with_columns(
            pl.Series("billed", billed, dtype=pl.String),
            pl.Series("covered_by", kinds, dtype=pl.String),
            pl.Series("commitment", ids, dtype=pl.String),
            pl.Series("covered_cost", covered, dtype=pl.String),
            pl.Series("is_offset", offsets, dtype=pl.Boolean),
        ).with_columns(_fees()),
        pl.DataFrame(own, schema={"row": pl.Int64, "id": pl.String, "name": pl.String, "amount": pl.String}),
        tuple(unreadable),
    )


def is_maybe_committed() -> pl.Expr:
    """Tell which rows may be fees, or usage that a commitment covers, before their credits are taken apart."""
    is_fee = pl.col("sku_description").str.contains(_FEE).fill_null(value=False)
    return is_fee | pl.col("credits").str.contains("(?i)committed_usage_discount").fill_null(value=False)


def _fees() -> list[pl.Expr]:
    """Tell which rows are fees of committed use, and whether money or a resource was committed."""
    is_fee = (KIND == "regular") & pl.col("sku_description").str.contains(_FEE).fill_null(value=False)
    is_spend = pl.col("sku_description").str.contains("(?i)dollar").fill_null(value=False) | pl.col("is_offset")
    return [
        (is_fee & ~pl.col("is_offset")).alias("is_fee"),
        (is_fee & pl.col("is_offset")).alias("is_left"),
        pl.when(is_fee).then(pl.when(is_spend).then(pl.lit("Spend")).otherwise(pl.lit("Usage"))).alias("kind"),
    ]


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _negated(amount: str | None) -> str | None:
    return amount if amount is None or not _is_number(amount) else money.written(Decimal(amount).copy_negate())


def _sum(cost: str | None, amount: str | None) -> str | None:
    """Return the exact sum of two amounts as text; a text that is no amount is returned, to be refused."""
    for each in (cost, amount):
        if each is None or not _is_number(each):
            return each
    return money.written(money.add(Decimal(str(cost)), Decimal(str(amount))))


def _is_number(text: str) -> bool:
    try:
        money.parse(text)
    except money.MoneyError:
        return False
    return True
