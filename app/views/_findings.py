"""The findings that pages list, in the display currency where one is configured."""

import polars as pl

from app import advice, controls, data, display
from queries.display import Shown


def findings() -> tuple[pl.DataFrame, Shown, Shown]:
    """Return findings, and what was converted of the open ones and of the others."""
    found = controls.answer("findings", now=controls.minute())
    if not data.settings().money.display_currency:
        return found, Shown(found, ""), Shown(found, "")
    return advice.in_display_currency(found, display.shown)
