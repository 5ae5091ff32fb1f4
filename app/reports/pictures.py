"""Charts of a mail, as PNG: drawn without a browser, since mail shows neither SVG nor scripts."""

import io
from typing import Final

import matplotlib as mpl
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from app import format as written
from app import sums
from app.headline import Headline
from app.lengths import length
from app.reports.weekly import Weekly
from app.theme import ACCENT, MAIL, STATE_COLOURS, STATE_ORDER, STATE_WORDS
from queries import measure
from queries.measures import spending

# Twice the size at which it is shown: sharp on dense screens.
_DPI: Final = 200
_SIZE: Final = (5.2, 2.5)
# A mail is 584 points wide, and on a phone a bit more than half of it: still legible there.
_FONT_POINTS: Final = 9
_LEGEND_POINTS: Final = 8.5


def drawn(weekly: Weekly) -> dict[str, bytes]:
    """Return the report's pictures by name; none where there is nothing to draw."""
    if weekly.is_empty:
        return {}
    found = {"states": states(weekly.now)} if weekly.now.gpu_hours else {}
    return {**found, "spend": spend(weekly.now, weekly.before)} if weekly.now.spent else found


def states(found: Headline) -> bytes:
    """Return a PNG with each day's GPU-hours by state."""
    figure, axes = _axes()
    days = found.hours["at"].unique().sort().to_list()
    bottom = [0.0] * len(days)
    for state in STATE_ORDER:
        rows = {
            at: float(hours)
            for at, hours in found.hours.filter(pl.col("state") == state).select("at", "gpu_hours").iter_rows()
        }
        values = [rows.get(day, 0.0) for day in days]
        if any(values):
            axes.bar(
                range(len(days)),
                values,
                bottom=bottom,
                color=STATE_COLOURS[state],
                label=STATE_WORDS[state],
                width=0.72,
            )
            bottom = [below + value for below, value in zip(bottom, values, strict=True)]
    axes.set_ylabel("GPU-hours")
    axes.set_xticks(range(len(days)), [f"{day:%a %-d}" for day in days])
    axes.legend(
        loc="upper center",
        bbox_to_anchor=(0.5, -0.16),
        ncols=4,
        frameon=False,
        fontsize=_LEGEND_POINTS,
        handlelength=1,
        columnspacing=1,
    )
    return _png(figure)


def spend(now: Headline, before: Headline) -> bytes:
    """Return a PNG with each day's effective cost beside the same day of the week before, in the main currency."""
    figure, axes = _axes()
    currency = next(iter(now.spent), next(iter(before.spent), ""))
    columns = []
    for found in (before, now):
        mine = sums.in_currency(found.spend, currency)
        daily = measure.grouped(mine, ["day"], spending.SPEND)
        first = found.window.start.date()
        columns.append({(day - first).days: length(cost) for day, cost in daily.iter_rows() if cost is not None})
    last = max((index for column in columns for index in column), default=-1)
    labels = [
        f"{now.window.start.date().fromordinal(now.window.start.date().toordinal() + index):%a %-d}"
        for index in range(last + 1)
    ]
    for offset, column, colour, label in (
        (-0.2, columns[0], "#c3ccd6", "week before"),
        (0.2, columns[1], ACCENT, "this week"),
    ):
        axes.bar(
            [index + offset for index in range(last + 1)],
            [column.get(index, 0.0) for index in range(last + 1)],
            width=0.38,
            color=colour,
            label=label,
        )
    axes.set_ylabel(currency)
    axes.set_xticks(range(last + 1), labels)
    axes.legend(
        loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2, frameon=False, fontsize=_LEGEND_POINTS, handlelength=1
    )
    return _png(figure)


def _axes() -> tuple[Figure, Axes]:
    mpl.rcParams["font.size"] = _FONT_POINTS
    figure = Figure(figsize=_SIZE, dpi=_DPI, layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(MAIL["line"])
    axes.grid(axis="y", color=MAIL["line"], linewidth=0.5)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, colors=MAIL["muted"])
    axes.yaxis.label.set_color(MAIL["muted"])
    axes.yaxis.set_major_formatter(lambda value, _: written.large(value))
    return figure, axes


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    # Without a date inside, the same numbers give the same bytes.
    figure.savefig(buffer, format="png", facecolor="white", metadata={"Software": None})
    return buffer.getvalue()
