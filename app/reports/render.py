"""The weekly report as text and as HTML that mail programs can show."""

from collections.abc import Mapping
from functools import cache
from importlib import resources

import css_inline
from jinja2 import BaseLoader, Environment, StrictUndefined

from app import format as written
from app.reports.weekly import Weekly
from app.theme import MAIL, STATE_COLOURS

_TONES = {"green": "#14806a", "orange": "#b9771c", "red": "#b23a4b", "gray": "#8a94a0"}


def text(weekly: Weekly) -> str:
    """Return the report as plain text."""
    body = _environment(is_html=False).from_string(_template("weekly.txt.jinja")).render(_facts(weekly))
    return f"{body.strip()}\n"


def html(weekly: Weekly, pictures: Mapping[str, str]) -> str:
    """Return the report as HTML with its styles inlined; `pictures` are the addresses of its charts."""
    body = (
        _environment(is_html=True)
        .from_string(_template("weekly.html.jinja"))
        .render({**_facts(weekly), "pictures": pictures})
    )
    return css_inline.CSSInliner(load_remote_stylesheets=False, keep_at_rules=True).inline(body)


def _facts(weekly: Weekly) -> dict[str, object]:
    return {
        "weekly": weekly,
        "colours": MAIL,
        "state_colours": STATE_COLOURS,
        "tones": _TONES,
        "footer": (
            f"Made {written.instant(weekly.made_at)} from effective (amortised) cost. Idle is unallocated, "
            f"allocated idle and held idle time; unknown time is never idle. Currencies are never added. {weekly.rules}"
            f"{f' {weekly.conversion}' if weekly.conversion else ''}"
        ),
    }


def _suffix(change: str) -> str:
    return f", {change}" if change and change != written.UNKNOWN else ""


@cache
def _environment(*, is_html: bool) -> Environment:
    # Plain text is not read by a browser: escaping would show `&amp;` to people.
    environment = Environment(
        loader=BaseLoader(),
        autoescape=is_html,  # noqa: S701
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["suffix"] = _suffix
    return environment


@cache
def _template(name: str) -> str:
    return resources.files("app.reports").joinpath("templates", name).read_text(encoding="utf-8")
