"""What a page says first about the same work elsewhere, from the ways to do it."""

from decimal import Decimal
from typing import Any

import polars as pl

from app import format as written
from queries import measure


def answer(options: pl.DataFrame) -> tuple[str, bool]:
    """Say which sure way costs the least, and whether it is not now: nobody interrupts it, and its price is named.

    What would cost less and is not sure is said beside it. Shape: options as `frames.options` returns them, in whatever
    currency they are shown.
    """
    rows = _candidates(options).filter(pl.col("month_cost").is_not_null()).to_dicts()
    if not rows:
        return "Nothing can be compared: no bill, price list or inventory says what this work costs.", False
    best = rows[0]
    costs = written.money(best["month_cost"], best["billing_currency"], compact=True)
    if best["kind"] == "now":
        others = "" if len(rows) > 1 else "; no other sure way has a price here"
        return f"The cheapest sure way is what there is now: {costs} a month{others}.{_unsure(best, options)}", False
    said = f"Cheapest sure way: {best['option']}, {costs} a month{_less(best, options)}."
    return f"{said}{_from(best)}{_unsure(best, options)}", True


def _unsure(best: dict[str, Any], options: pl.DataFrame) -> str:
    """Say what would cost less than the cheapest sure way, and why it is not sure; '' where nothing would."""
    said: dict[str, str] = {}
    for column, why in (("is_price_assumed", "a price that nobody named"), ("may_be_interrupted", "it may be cut off")):
        rows = options.filter(pl.col(column), pl.col("month_cost").is_not_null()).head(1).to_dicts()
        if rows and rows[0]["month_cost"] < best["month_cost"]:
            costs = written.money(rows[0]["month_cost"], rows[0]["billing_currency"], compact=True)
            said.setdefault(rows[0]["option"], f"{rows[0]['option']}, {costs} a month ({why})")
    return f" Less, but not sure: {'; '.join(said.values())}." if said else ""


def _less(best: dict[str, Any], options: pl.DataFrame) -> str:
    saving, now = best["saving_month_cost"], _of_now(options)
    if saving is None or not now:
        return "; what it costs now is not known"
    less = written.money(saving, best["billing_currency"], compact=True)
    return f", {less} ({written.percent(measure.share(saving, now), 0)}) less than now"


def _from(best: dict[str, Any]) -> str:
    """Say from which use on the base of the cheapest way is worth it."""
    if best["break_even_ratio"] is None or best["kind"] not in {"owned", "committed"}:
        return ""
    use = written.percent(best["break_even_ratio"], 0)
    thing = "An owned GPU" if best["kind"] == "owned" else "A committed GPU"
    return f" {thing} costs less than one rented by the hour from {use} of hours in use."


def _of_now(options: pl.DataFrame) -> Decimal | None:
    found = options.filter(pl.col("kind") == "now")["month_cost"].to_list()
    return found[0] if found else None


def bound(work: pl.DataFrame) -> str:
    """Say what of the cost is paid in any case; '' where nothing is.

    Shape: one row of `frames.works`.
    """
    for row in work.iter_rows(named=True):
        if row["sunk_month_cost"]:
            amount = written.money(row["sunk_month_cost"], row["billing_currency"], compact=True)
            return f" Of what it costs now, {amount} a month is committed or owned: saved only when that ends."
    return ""


def heads(options: pl.DataFrame) -> tuple[str, str, str]:
    """Write what the work costs now, in the cheapest sure way, and on the cheapest spot."""
    return (
        _least(options.filter(pl.col("kind") == "now")),
        _least(_candidates(options)),
        _least(options.filter("may_be_interrupted")),
    )


def owned_from(options: pl.DataFrame) -> str:
    """Write from which share of hours in use owning costs less than renting; above 100 % it never does."""
    found = options.filter((pl.col("kind") == "owned") & pl.col("break_even_ratio").is_not_null())
    if found.is_empty():
        return written.UNKNOWN
    ratio = found["break_even_ratio"][0]
    return written.percent(ratio, 0) if ratio <= 1 else "never"


def _candidates(options: pl.DataFrame) -> pl.DataFrame:
    """Return the ways that nobody interrupts and whose price somebody names."""
    return options.filter(~pl.col("may_be_interrupted"), ~pl.col("is_price_assumed"))


def _least(options: pl.DataFrame) -> str:
    known = options.filter(pl.col("month_cost").is_not_null()).head(1).to_dicts()
    if not known:
        return written.UNKNOWN
    return written.money(known[0]["month_cost"], known[0]["billing_currency"], compact=True)
