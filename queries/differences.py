"""Why an invoice differs from its bill: which charges sum to the difference, said with words.

Nothing is guessed from afar: a cause is a set of charges that can be named in one way (all of a service, of a day, a
single charge) and whose sum is the difference, exactly or up to the rounding of the invoice. Several may fit: then
each is said, the narrowest first.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

import polars as pl

from ledger import money
from queries import sql

Ask = Callable[..., pl.DataFrame]
"""Returns the answer to SQL text with its parameters: the store's `select`."""

_MOST: Final = 5

_KINDS: Final = (
    "charge",
    "invoice line",
    "class",
    "category",
    "invoice",
    "service",
    "resource",
    "day",
    "service and category",
    "service and day",
    "sub-account",
    "account",
    "SKU",
    "region",
    "provider",
)
"""Of several names for the same charges, the first of these is the one that is said."""

_HOWS: Final = ("lacks", "copies", "other", "twice", "line", "snapshot")


@dataclass(frozen=True)
class Cause:
    """One set of charges that explains a difference, with what seems to have happened."""

    how: str
    kind: str
    value: str
    row_count: int
    billed_cost: Decimal
    words: str


def causes(ask: Ask, row: Mapping[str, Any]) -> list[Cause]:
    """Return what explains the difference of a row of `reconciliation`, the narrowest first; empty where nothing does.

    First what fits up to the rounding of the invoice's total, then pairs of groups that do, and only then groups
    that fit within the tolerance.
    """
    difference, currency = row["difference"], row["billing_currency"]
    if difference is None or not difference:
        return []
    asked = {
        "issuer": row["invoice_issuer"],
        "invoice": row["invoice_id"],
        "start": row["billing_period_start"],
        "currency": currency,
        "difference": money.written(difference),
    }
    rounding = money.share(money.subunit(currency), Decimal("0.5"))
    groups = _groups(ask, asked, rounding, row["tolerance"], currency)
    exact = [each for each in groups if _gap(each.billed_cost, difference) <= rounding]
    found = [*exact, *_elsewhere(ask, asked, rounding, currency)] or [*_pairs(ask, asked, rounding, currency)] or groups
    return found[:_MOST]


def _gap(amount: Decimal, difference: Decimal) -> Decimal:
    """Return by how much an amount misses a difference, whatever their signs."""
    return money.difference(amount.copy_abs(), difference.copy_abs()).copy_abs()


def _groups(ask: Ask, asked: Mapping[str, Any], rounding: Decimal, tolerance: Decimal, currency: str) -> list[Cause]:
    """Return groups whose own sum is the difference; the same charges are said once, by their narrowest name."""
    allowed = {"rounding": money.written(rounding), "allowed": money.written(max(rounding, tolerance))}
    frame = ask(sql.load("difference_causes").text, **asked, **allowed)
    rows = sorted(
        frame.iter_rows(named=True),
        key=lambda each: (_HOWS.index(each["how"]), _KINDS.index(each["kind"]), each["value"]),
    )
    first = {(each["how"], each["rows_code"], each["billed_cost"]): each for each in reversed(rows)}
    return [
        _cause(each, currency) for each in rows if first[each["how"], each["rows_code"], each["billed_cost"]] is each
    ]


def _cause(row: Mapping[str, Any], currency: str) -> Cause:
    count, amount = row["row_count"], f"{money.written(row['billed_cost'])} {currency}"
    what = _named(row["kind"], row["value"], count)
    sums = f"is {amount}" if row["kind"] == "charge" else f"{'is' if count == 1 else 'sum to'} {amount}"
    ends = {
        "lacks": "the invoice seems to leave that out",
        "twice": "the invoice seems to hold that twice",
        "copies": "the bill holds that once more than the invoice: the rows are alike in everything",
        "other": f"in the bill they belong to {_invoice(row['invoice_id'])}: this invoice seems to hold them",
    }
    return Cause(row["how"], row["kind"], row["value"], count, row["billed_cost"], f"{what} {sums}; {ends[row['how']]}")


def _named(kind: str, value: str, count: int) -> str:
    """Return how a group of charges is called."""
    if kind == "charge":
        return f"one charge ({value})"
    charges = "the one charge" if count == 1 else f"the {count} charges"
    return f"{charges} of {kind} {value}"


def _invoice(invoice_id: str) -> str:
    return f"invoice {invoice_id}" if invoice_id else "no invoice"


def _pairs(ask: Ask, asked: Mapping[str, Any], allowed: Decimal, currency: str) -> Iterator[Cause]:
    """Yield two groups that together sum to the difference."""
    frame = ask(sql.load("difference_pairs").text, **asked, allowed=money.written(allowed))
    for row in sorted(frame.iter_rows(named=True), key=lambda each: (_KINDS.index(each["kind"]), each["value"])):
        amount = f"{money.written(row['billed_cost'])} {currency}"
        what = "two charges: " if row["kind"] == "charge" else f"the {row['row_count']} charges of {row['kind']} "
        words = f"{what}{row['value']} sum to {amount}; the invoice seems to leave that out"
        yield Cause("lacks", row["kind"], row["value"], row["row_count"], row["billed_cost"], words)


def _elsewhere(ask: Ask, asked: Mapping[str, Any], allowed: Decimal, currency: str) -> Iterator[Cause]:
    """Yield lines of the invoice that differ by it alone, and other snapshots of the bill that would agree."""
    for row in ask(sql.load("difference_elsewhere").text, **asked, allowed=money.written(allowed)).iter_rows(
        named=True
    ):
        amount = f"{money.written(row['billed_cost'])} {currency}"
        if row["how"] == "line":
            words = f"line {row['value']} of the invoice differs from its {row['row_count']} charges by {amount}, alone"
        else:
            words = (
                f"import {row['value'][:12]} ({row['kind']}) of this bill has other charges by {amount}: with it the "
                "invoice would agree"
            )
        yield Cause(row["how"], row["kind"], row["value"], row["row_count"], row["billed_cost"], words)
