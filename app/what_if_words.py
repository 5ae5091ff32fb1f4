"""What a page says first about the same work elsewhere, from the ways to do it."""

from decimal import Decimal
from typing import Any

import polars as pl

from app import format as written
from queries import measure


def answer(options: pl.DataFrame) -> tuple[str, bool]:
    """Say which way is the cheapest of those with a known price that nobody interrupts, and whether it is not now.

    Shape: options as `frames.options` returns them, in whatever currency they are shown.
    """
    rows = _candidates(options).filter(pl.col("month_cost").is_not_null()).to_dicts()
    if not rows:
        return "Nothing can be compared: no bill, price list or inventory says what this work costs.", False
    best = rows[0]
    costs = written.money(best["month_cost"], best["billing_currency"], compact=True)
    if best["kind"] == "now":
        others = ", of all that have a price here" if len(rows) > 1 else "; nothing else has a price here"
        return f"The cheapest way is what there is now: {costs} a month{others}.", False
    return f"Cheapest: {best['option']}, {costs} a month{_less(best, options)}.{_from(best)}", True


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
    """Write what the work costs now, in the cheapest way that nobody interrupts, and on the cheapest spot."""
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
