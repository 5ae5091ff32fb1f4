"""What a reader chooses on every page: the window, the cluster and the team, kept in the URL.

They are drawn once, beside the page, so that they stay when the page changes.
"""

import re
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import polars as pl
import streamlit as st

from app import data
from app.data import Scope, Window
from ledger.tables import JobUsage, Node
from ledger.tables.partition import after, floor
from queries import sql

ALL: Final = "all"

# The tokens stand in URLs that people keep: they never change their meaning.
WINDOWS: Final[dict[str, str]] = {
    "24h": "Last 24 hours",
    "7d": "Last 7 days",
    "30d": "Last 30 days",
    "month": "This month",
    "last-month": "Last month",
    "90d": "Last 90 days",
    "365d": "Last 365 days",
}

DEFAULT_WINDOW: Final = "7d"

_PAGE: Final = "_page_before"

_HOURS: Final = re.compile(r"(\d{4}-\d\d-\d\dT\d\d)--(\d{4}-\d\d-\d\dT\d\d)")
_HOUR: Final = "%Y-%m-%dT%H"


def draw(page: str = "") -> None:
    """Draw the choices beside a page."""
    _follow(page)
    clusters = _values(Node, "cluster")
    viewer = data.viewer()
    # Who is in several teams looks at one of them; the others have all of them to choose from.
    teams = list(viewer.teams) if viewer.is_limited else [ALL, *_values(JobUsage, "team")]
    with st.sidebar:
        # A link may name its own hours, which are one more choice for as long as they are chosen.
        named = {str(st.query_params.get("window", "")), str(st.session_state.get("window", ""))}
        st.selectbox(
            "Window",
            [*WINDOWS, *sorted(each for each in named if _between(each))],
            index=list(WINDOWS).index(DEFAULT_WINDOW),
            key="window",
            bind="query-params",
            help="  \n".join(f"`{token}`: {meaning}" for token, meaning in WINDOWS.items()),
        )
        if len(clusters) > 1:
            st.selectbox("Cluster", [ALL, *clusters], key="cluster", bind="query-params")
        if len(teams) > (1 if viewer.is_limited else 2):
            st.selectbox("Team", teams, key="team", bind="query-params")


def _follow(page: str) -> None:
    """Take the hours that a link from another page names: the choice beside it would go on as it was."""
    asked = str(st.query_params.get("window", ""))
    if st.session_state.get(_PAGE, page) != page and (asked in WINDOWS or _between(asked)):
        st.session_state["window"] = asked
    st.session_state[_PAGE] = page


def token(stretch: Window) -> str:
    """Return how a stretch of whole hours is named in a URL."""
    return "--".join(f"{each:{_HOUR}}" for each in stretch)


def _between(name: str) -> Window | None:
    """Return the hours that a name stands for, None where it names none."""
    found = _HOURS.fullmatch(name)
    if found is None:
        return None
    try:
        start, end = (datetime.strptime(each, _HOUR).replace(tzinfo=UTC) for each in found.groups())
    except ValueError:
        return None
    return Window(start, end) if start < end else None


def _values(schema: type[Node] | type[JobUsage], column: str) -> list[str]:
    return data.once(_names, data.rows(schema, scope=data.viewer(), columns=(column,)), column)


def _names(frame: pl.DataFrame, column: str) -> list[str]:
    return sorted(value for value in frame[column].unique() if value)


def window() -> Window:
    """Return the chosen stretch of time, in whole hours up to the next one."""
    chosen = str(st.session_state.get("window") or DEFAULT_WINDOW)
    return _between(chosen) or window_of(chosen if chosen in WINDOWS else DEFAULT_WINDOW, data.now())


def window_of(name: str, now: datetime) -> Window:
    """Return the stretch of time that a name stands for at an instant."""
    end = after(floor(now, "hour"), "hour")
    if name == "month":
        return Window(floor(now, "month"), end)
    if name == "last-month":
        this = floor(now, "month")
        return Window(floor(this - timedelta(days=1), "month"), this)
    amount = int(name[:-1])
    return Window(end - (timedelta(hours=amount) if name.endswith("h") else timedelta(days=amount)), end)


def before(chosen: Window) -> Window:
    """Return the stretch of the same length that lies before another, to compare it with."""
    return Window(chosen.start - (chosen.end - chosen.start), chosen.start)


def days(chosen: Window) -> Window:
    """Return the whole UTC days that a stretch touches, today among them: for what is known by the day only."""
    last = floor(chosen.end - timedelta(microseconds=1), "day")
    return Window(floor(chosen.start, "day"), after(last, "day"))


def covered(question: str, stretch: Window) -> Window:
    """Return what a question answers of a stretch: all of it, or the days it touches where only days are known."""
    return days(stretch) if sql.load(question).is_by_days else stretch


def say_days(what: str = "What stands here") -> None:
    """Say which time is shown where whole days are, and these are not the window that the reader chose."""
    chosen, now = window(), data.now()
    shown = days(chosen)
    # What is still to come is in neither.
    if shown.start == chosen.start and (shown.end == chosen.end or chosen.end > now):
        return
    told, wanted = (
        f"{each.start:%-d %b %Y %H:%M} to {'now' if each.end > now else f'{each.end:%-d %b %Y %H:%M}'}"
        for each in (shown, chosen)
    )
    st.caption(f"{what} is known by whole days, UTC: {told}. The window is {wanted}.")


def bucket(chosen: Window) -> str:
    """Return how time is cut for a chart: hours up to eight days, then days."""
    return "hour" if chosen.end - chosen.start <= timedelta(days=8) else "day"


def cluster() -> str:
    """Return the chosen cluster, '' for all."""
    return _chosen("cluster")


def team() -> str:
    """Return the chosen team, '' for all; a limited viewer has only their own."""
    viewer = scope()
    return viewer.team if viewer.is_limited else _chosen("team")


def scope() -> Scope:
    """Return whose rows are read: the viewer's, of the team that they chose if they are in several."""
    return data.viewer().of(_chosen("team"))


def answer(question: str, at: Window | None = None, **params: Any) -> pl.DataFrame:
    """Return the answer to a question about what the reader chose: the window unless told, the cluster and the team.

    A question is asked with those of them that it takes, and for whole days where it knows no hours.
    """
    stretch = covered(question, at or window())
    chosen = {"start": stretch.start, "end": stretch.end, "cluster": cluster(), "team": team()}
    takes = sql.load(question).asks
    return data.answer(
        question, scope=scope(), **{**{name: chosen[name] for name in chosen if name in takes}, **params}
    )


def minute() -> datetime:
    """Return the present minute: what changes by itself is asked again as often."""
    return data.minute()


def _chosen(key: str) -> str:
    value = st.session_state.get(key)
    return "" if value in (None, ALL) else str(value)
