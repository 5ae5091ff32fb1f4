"""Money over time, by group, and against a forecast."""

from collections.abc import Sequence
from typing import Final

import polars as pl
from plotly import graph_objects as go

from app.charts._base import figure, largest, pivot
from app.lengths import lengths
from app.theme import ACCENT, CATEGORICAL, OTHER_COLOUR, STATE_COLOURS, STATE_WORDS

_LABELLED_DAYS: Final = 16

# What means waste or use has its colour wherever it is drawn; the others take turns.
_OWN_COLOURS: Final[dict[str, str]] = {
    **{str(state): colour for state, colour in STATE_COLOURS.items()},
    "idle": STATE_COLOURS["unallocated"],
    "commitment, used": STATE_COLOURS["productive"],
    "commitment, unused": STATE_COLOURS["held_idle"],
    "other": OTHER_COLOUR,
}


def stacked(frame: pl.DataFrame, currency: str, *, most: int = 9, by_month: bool = False) -> go.Figure:
    """Stack a cost in one currency by day and group; small groups are drawn as `other`.

    Shape: rows of `day`, `name`, `billing_currency`, `cost`; of months their first days. Negative parts (credits) lie
    below the axis. A name has one colour, in whichever currency it is drawn.
    """
    mine = _drawn(frame, currency, most)
    series = pivot(mine, "day", "name", "cost")
    colours = _colours(frame, most)
    told = "%B %Y" if by_month else "%a %-d %b"
    traces = [
        go.Bar(
            x=series[name][0],
            y=series[name][1],
            name=name,
            marker={"color": colours[name]},
            hovertemplate=f"%{{x|{told}}}<br>{name}: %{{y:,.2f}} {currency}<extra></extra>",
        )
        for name in _names(mine)
    ]
    months: dict[str, object] = {"tickformat": "%b %Y", "dtick": "M1"}
    axis = months if by_month else _days(mine["day"].n_unique())
    return figure(traces, barmode="relative", yaxis={"title": {"text": currency}}, xaxis=axis)


def _drawn(frame: pl.DataFrame, currency: str, most: int) -> pl.DataFrame:
    return largest(frame.filter(pl.col("billing_currency") == currency), "name", "cost", most)


def _names(rows: pl.DataFrame) -> list[str]:
    """Return the names of rows, the largest first and `other` last."""
    sums = rows.group_by("name").agg(pl.col("cost").cast(pl.Float64).sum())
    return sums.sort(pl.col("name") == "other", "cost", "name", descending=[False, True, False])["name"].to_list()


def _colours(frame: pl.DataFrame, most: int) -> dict[str, str]:
    """Return the colour of each name that is drawn in any currency: those of the largest one take turns first."""
    sums = frame.group_by("billing_currency").agg(pl.col("cost").cast(pl.Float64).sum().abs())
    currencies = sums.sort("cost", "billing_currency", descending=[True, False])["billing_currency"]
    charts = [_names(_drawn(frame, currency, most)) for currency in currencies]
    turns: dict[str, str] = {}
    for name in dict.fromkeys(name for chart in charts for name in chart if name not in _OWN_COLOURS):
        beside = [each for chart in charts if name in chart for each in chart]
        taken = [_OWN_COLOURS.get(each) or turns.get(each, "") for each in beside]
        turns[name] = _free(taken, list(turns.values()))
    return {**_OWN_COLOURS, **turns}


def _free(beside: Sequence[str], taken: Sequence[str]) -> str:
    """Return the colour that stands least often beside a name, of those the one that is taken least often."""
    return min(CATEGORICAL, key=lambda colour: (beside.count(colour), taken.count(colour)))


def _days(number: int) -> dict[str, object]:
    """Label each day while there is room for it."""
    return {"tickformat": "%-d %b", "dtick": 86_400_000} if number <= _LABELLED_DAYS else {"tickformat": "%-d %b"}


def bars(names: Sequence[str], parts: Sequence[tuple[str, str, Sequence[float]]], currency: str) -> go.Figure:
    """Draw one horizontal bar a name, stacked from parts of (label, colour, values); the first name is on top."""
    traces = [
        go.Bar(
            x=list(values),
            y=list(names),
            orientation="h",
            name=label,
            marker={"color": colour},
            hovertemplate=f"<b>%{{y}}</b><br>{label}: %{{x:,.2f}} {currency}<extra></extra>",
        )
        for label, colour, values in parts
    ]
    chart = figure(traces, height=70 + 30 * len(names), barmode="relative", xaxis={"title": {"text": currency}})
    chart.update_yaxes(autorange="reversed", showgrid=False)
    return chart


def by_model(frame: pl.DataFrame, currency: str, *, most: int, rest: str = "other") -> go.Figure:
    """Draw the first models in one currency that cost anything, productive and idle; `rest` names what is neither.

    Shape: rows of `model`, `billing_currency`, `effective_cost`, `productive_cost`, `idle_cost`, the dearest first.
    """
    costs = pl.col("effective_cost", "productive_cost", "idle_cost").cast(pl.Float64)
    mine = (pl.col("billing_currency") == currency) & (pl.col("effective_cost") > 0)
    top = frame.filter(mine).head(most).with_columns(costs)
    productive, idle = top["productive_cost"].fill_null(0), top["idle_cost"].fill_null(0)
    parts = [
        ("productive", STATE_COLOURS["productive"], productive.to_list()),
        (rest, STATE_COLOURS["underused"], (top["effective_cost"] - productive - idle).to_list()),
        ("idle", STATE_COLOURS["held_idle"], idle.to_list()),
    ]
    return bars(top["model"].to_list(), parts, currency)


def by_state(frame: pl.DataFrame, currency: str) -> go.Figure:
    """Draw what each state cost in one currency, the dearest on top.

    Shape: rows of `state`, `billing_currency`, `effective_cost`.
    """
    mine = frame.filter(pl.col("billing_currency") == currency)
    mine = mine.sort("effective_cost", descending=True, nulls_last=True)
    states = mine["state"].to_list()
    costs = lengths(mine["effective_cost"])
    return ranked([STATE_WORDS[each] for each in states], costs, [STATE_COLOURS[each] for each in states], currency)


def ranked(names: Sequence[str], values: Sequence[float | None], colours: Sequence[str], currency: str) -> go.Figure:
    """Draw one horizontal bar a name in its own colour; the first name is on top."""
    bar = go.Bar(
        x=list(values),
        y=list(names),
        orientation="h",
        marker={"color": list(colours)},
        hovertemplate=f"<b>%{{y}}</b>: %{{x:,.2f}} {currency}<extra></extra>",
    )
    chart = figure([bar], height=70 + 30 * len(names), legend=False, xaxis={"title": {"text": currency}})
    chart.update_yaxes(autorange="reversed", showgrid=False)
    return chart


def forecast(actual: pl.DataFrame, expected: pl.DataFrame, currency: str) -> go.Figure:
    """Draw the days so far, and the days to come with their interval.

    Shape: `actual` has `day`, `cost`; `expected` has `day`, `forecast_cost`, `lower_cost`, `upper_cost`.
    """
    days = expected["day"].to_list()
    band = go.Scatter(
        x=days + days[::-1],
        y=[*lengths(expected["upper_cost"]), *lengths(expected["lower_cost"])[::-1]],
        fill="toself",
        fillcolor="rgba(26, 127, 142, 0.16)",
        line={"width": 0},
        name="interval",
        hoverinfo="skip",
    )
    line = go.Scatter(
        x=days,
        y=lengths(expected["forecast_cost"]),
        mode="lines",
        line={"color": ACCENT, "dash": "dot", "width": 2},
        name="forecast",
        hovertemplate=f"%{{x|%a %-d %b}}<br>forecast %{{y:,.0f}} {currency}<extra></extra>",
    )
    past = go.Bar(
        x=actual["day"].to_list(),
        y=lengths(actual["cost"]),
        marker={"color": ACCENT},
        name="so far",
        hovertemplate=f"%{{x|%a %-d %b}}<br>%{{y:,.2f}} {currency}<extra></extra>",
    )
    return figure([past, band, line], yaxis={"title": {"text": f"{currency} a day"}})
