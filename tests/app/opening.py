"""Opening a page without a browser, and reading what it shows."""

from datetime import timedelta
from decimal import Decimal

from streamlit.testing.v1 import AppTest

from app import controls
from app.context import Context
from ledger.tables.partition import floor
from tests.demo import DEMO_NOW

SCRIPT = "from app.page import pages\nnext(each for each in pages() if each.name == {name!r}).show()\n"
WINDOW = controls.window_of(controls.DEFAULT_WINDOW, DEMO_NOW)
WEEK = {"start": WINDOW.start, "end": WINDOW.end}
DAYS = {"start": floor(WINDOW.start, "day"), "end": floor(DEMO_NOW, "day") + timedelta(days=1)}


def opened(name: str, *, query: dict[str, str] | None = None, **session: object) -> AppTest:
    """Return a page that has run, without an exception."""
    test = AppTest.from_string(SCRIPT.format(name=name), default_timeout=120)
    for key, value in (query or {}).items():
        test.query_params[key] = value
    for key, item in session.items():
        test.session_state[key] = item
    test.run()
    assert not test.exception, [each.value for each in test.exception]
    return test


def metrics(test: AppTest) -> dict[str, tuple[str, str]]:
    """Return each card's number and small print by its label."""
    return {each.label: (each.value, each.delta) for each in test.metric}


def said(test: AppTest) -> str:
    """Return everything that a page shows, as one text."""
    parts = [str(each.value) for kind in ("markdown", "caption", "subheader", "info", "success", "code")
             for each in test.get(kind)]  # fmt: skip
    parts += [f"{each.label} {each.value} {each.delta}" for each in test.metric]
    parts += [each.value.to_csv() for each in test.dataframe]
    parts += [each.proto.spec for each in test.get("plotly_chart")]
    parts += [str(option) for kind in ("selectbox", "segmented_control") for each in test.get(kind)
              for option in getattr(each, "options", [])]  # fmt: skip
    return "\n".join(parts)


def money_of(context: Context, query: str, **params: object) -> dict[str, Decimal]:
    """Return amounts by currency, the largest first."""
    rows = context.store.select(query, **params)
    return dict(sorted(rows.iter_rows(), key=lambda item: -abs(item[1])))
