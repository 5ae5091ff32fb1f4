"""The lines of the weekly mail, in the words that it shows."""

from collections.abc import Collection
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from app import format as written
from app import sums
from queries.display import MARK
from queries.measure import Amount


@dataclass(frozen=True)
class Card:
    """One of the numbers that open the mail; `beside` holds its other currencies."""

    label: str
    value: str
    beside: str
    detail: str
    is_bad: bool = False


@dataclass(frozen=True)
class Part:
    """One of the three parts of idle cost, or orphaned time beside them."""

    state: str
    word: str
    meaning: str
    cost: str
    gpu_hours: str
    change: str


@dataclass(frozen=True)
class ModelLine:
    """One model's week."""

    model: str
    cost: str
    productive: str
    change: str


@dataclass(frozen=True)
class Action:
    """One thing to change, with who can and what it saves."""

    finding_id: str
    title: str
    team: str
    owner: str
    frees: str
    cash: str
    directive: str
    may_be_wrong: str


def card(
    of: Amount,
    totals: dict[str, Decimal],
    main: str,
    detail: str,
    *,
    is_bad: bool = False,
    billed: str = "",
    marked: Collection[str] = (),
) -> Card:
    """Return a card with the main currency first, so that cards agree; a converted amount with what was `billed`."""
    value, others = sums.headline(totals, main)
    mark = f"{MARK} " if totals and (main if main in totals else next(iter(totals))) in marked else ""
    beside = [f"and {others}" if others else "", f"billed {billed}" if mark and billed else ""]
    return Card(of.title, f"{mark}{value}", ", ".join(each for each in beside if each), detail, is_bad)


def changes(now: dict[str, Decimal], before: dict[str, Decimal]) -> str:
    """Write the changes of several currencies beside each other."""
    return ", ".join(
        sums.change(amount, before.get(currency)) + (f" {currency}" if len(now) > 1 else "")
        for currency, amount in now.items()
    )


def action(row: dict[str, Any], marked: Collection[str]) -> Action:
    """Return a finding as a line of the mail; `marked` are currencies to which amounts were converted."""
    currency, hours = row["billing_currency"], row["freed_gpu_hours_month"]
    frees, cash = (
        sums.shown({currency: row[name]}, marked=marked) if currency and row[name] is not None else ""
        for name in ("saving_effective_month", "saving_cash_month")
    )
    return Action(
        finding_id=row["finding_id"],
        title=row["title"],
        team=row["team"],
        owner=row["owner"] or row["team"],
        frees=frees or (f"{written.count(round(hours))} GPU-h" if hours is not None else written.UNKNOWN),
        cash=cash or written.UNKNOWN,
        directive=row["directive"],
        may_be_wrong=row["may_be_wrong"],
    )
