"""Findings with their money in the display currency: the page, the first page and the mail say the same of them."""

from datetime import timedelta
from typing import Final

import polars as pl

from app.headline import Convert
from queries.display import Shown

_MONEY: Final = ("saving_cash_month", "saving_effective_month", "saving_realised_month")

_DAY: Final = "last_day_of_evidence"


def in_display_currency(found: pl.DataFrame, convert: Convert) -> tuple[pl.DataFrame, Shown, Shown]:
    """Return findings, each by the rate of the last day of its evidence; what was converted of open and other ones.

    These are apart, since what was decided long ago may be older than any rate.
    """
    last = (pl.col("evidence_end") - timedelta(microseconds=1)).dt.date()
    dated = found.with_columns(last.alias(_DAY))
    is_open = pl.col("status") == "open"
    opened, others = (convert(dated.filter(each), _MONEY, day=_DAY) for each in (is_open, ~is_open))
    return pl.concat([opened.frame, others.frame]).drop(_DAY), opened, others
