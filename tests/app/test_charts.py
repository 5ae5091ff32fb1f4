"""Charts draw what the frame says, and nothing that it does not."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import numpy as np
import polars as pl
import pytest

from app.charts import bottlenecks, lines, money, states
from app.charts._base import HEIGHT, MOST_POINTS
from app.theme import BOTTLENECK_COLOURS, STATE_COLOURS, STATE_ORDER, STATE_WORDS
from ledger.names import BOTTLENECKS, STATES

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


def test_every_state_and_class_has_a_colour_and_a_word() -> None:
    assert set(STATE_COLOURS) == set(STATE_WORDS) == set(STATE_ORDER) == set(STATES)
    assert set(BOTTLENECK_COLOURS) == set(BOTTLENECKS)
    assert len(set(STATE_COLOURS.values())) == len(STATES)


def test_states_stack_in_their_order_and_miss_nothing() -> None:
    frame = pl.DataFrame(
        {
            "at": [NOON, NOON, NOON + timedelta(hours=1)],
            "state": ["held_idle", "productive", "productive"],
            "gpu_hours": [Decimal("2.5"), Decimal(5), Decimal(8)],
        }
    )
    chart = states.over_time(frame)
    assert [trace.name for trace in chart.data] == ["Productive", "Held idle"]
    assert list(chart.data[0].y) == [5, 8]
    assert list(chart.data[1].y) == [2.5, 0]


def test_the_bar_of_shares_sums_to_one() -> None:
    chart = states.shares(pl.DataFrame({"state": ["unknown", "productive"], "gpu_hours": [1.0, 3.0]}))
    assert sum(trace.x[0] for trace in chart.data) == pytest.approx(1)
    assert states.shares(pl.DataFrame({"state": ["unknown"], "gpu_hours": [0.0]})).data == ()


def test_the_heatmap_has_a_cell_for_each_row_and_holes_elsewhere() -> None:
    frame = pl.DataFrame(
        {
            "gpu": ["n1 · 0", "n1 · 1"],
            "at": [NOON, NOON + timedelta(hours=1)],
            "state": ["productive", "held_idle"],
            "share_ratio": [1.0, 0.75],
            "job_id": ["7", "8"],
            "gpu_uuid": ["GPU-0", "GPU-1"],
        }
    )
    chart = states.heatmap(frame)
    assert chart.layout.yaxis.range == (1.5, -0.5), "the first device is on top, and no room is left around them"
    cells = chart.data[0]
    assert cells.z[0][0] == STATE_ORDER.index("productive")
    assert cells.z[0][1] == len(STATE_ORDER), "a hole is no state"
    assert cells.colorscale[-1][1] == "rgba(0,0,0,0)"
    assert cells.text[0] == ["Productive, job 7", ""]
    assert cells.text[1][1] == "Held idle 75%, job 8"


def test_small_groups_are_summed_as_other_and_credits_stay() -> None:
    frame = pl.DataFrame(
        {
            "day": [date(2026, 11, 1)] * 4, "billing_currency": ["USD"] * 4, "name": ["a", "b", "c", "credit"],
            "cost": [9.0, 2.0, 1.0, -3.0],
        }
    )  # fmt: skip
    chart = money.stacked(frame, "USD", most=1)
    assert {trace.name: trace.y[0] for trace in chart.data} == {"a": 9.0, "other": 0.0}
    whole = money.stacked(frame, "USD")
    assert sum(trace.y[0] for trace in whole.data) == 9.0


def colours(days: pl.DataFrame, currency: str) -> dict[str, str]:
    return {trace.name: trace.marker.color for trace in money.stacked(days, currency).data}


def test_a_name_has_one_colour_in_the_charts_of_all_currencies() -> None:
    """The largest team of one bill is not the largest of the other; what is idle has its colour in both."""
    costs = {"USD": {"vision": 9, "speech": 5, "idle": 2}, "EUR": {"speech": 4, "robots": 3, "vision": 1, "idle": 1}}
    days = pl.DataFrame(
        [
            {"day": NOON.date(), "billing_currency": currency, "name": name, "cost": Decimal(cost)}
            for currency, names in costs.items()
            for name, cost in names.items()
        ]
    )
    dollars, euros = colours(days, "USD"), colours(days, "EUR")
    assert list(dollars) == ["vision", "speech", "idle"]
    assert list(euros) == ["speech", "robots", "idle", "vision"]
    assert {name: euros[name] for name in dollars} == dollars
    assert len(set(euros.values())) == len(euros)
    assert dollars["idle"] == STATE_COLOURS["unallocated"]


def test_names_beside_each_other_differ_in_colour_also_where_there_are_more_than_colours() -> None:
    names = {"USD": [f"a{each}" for each in range(9)], "EUR": [f"b{each}" for each in range(7)] + ["a3", "a8"]}
    days = pl.DataFrame(
        [
            {"day": NOON.date(), "billing_currency": currency, "name": name, "cost": Decimal(100 - place)}
            for currency, among in names.items()
            for place, name in enumerate(among)
        ]
    )
    dollars, euros = colours(days, "USD"), colours(days, "EUR")
    assert all(len(set(each.values())) == 9 for each in (dollars, euros))
    assert {name: euros[name] for name in ("a3", "a8")} == {name: dollars[name] for name in ("a3", "a8")}


def test_the_forecast_band_surrounds_its_line() -> None:
    actual = pl.DataFrame({"day": [date(2026, 11, 1)], "cost": [Decimal(5)]})
    expected = pl.DataFrame(
        {
            "day": [date(2026, 11, 2)],
            "forecast_cost": [Decimal(6)],
            "lower_cost": [Decimal(4)],
            "upper_cost": [Decimal(9)],
        }
    )
    chart = money.forecast(actual, expected, "USD")
    assert list(chart.data[1].y) == [9, 4]
    assert list(chart.data[2].y) == [6]


def test_bottlenecks_are_drawn_largest_first() -> None:
    frame = pl.DataFrame({"bottleneck": ["idle", "compute_tensor", "straggler"], "gpu_hours": [1.0, 5.0, 0.0]})
    chart = bottlenecks.shares(frame)
    assert list(chart.data[0].y) == ["compute tensor", "idle"]
    over = bottlenecks.over_time(frame.with_columns(at=pl.lit(NOON)))
    assert [trace.name for trace in over.data] == ["compute tensor", "idle"]


def test_what_limited_a_long_job_is_drawn_by_day_and_nothing_is_lost() -> None:
    hours = [NOON + timedelta(hours=hour) for hour in range(24 * 9)]
    frame = pl.DataFrame({"at": hours, "bottleneck": ["idle", "compute_tensor"] * (len(hours) // 2), "gpu_hours": 0.5})
    long, short = bottlenecks.over_time(frame), bottlenecks.over_time(frame.head(24 * 7))
    assert [sum(trace.y) for trace in long.data] == [54, 54]
    assert {len(trace.x) for trace in long.data} == {10}
    assert {len(trace.x) for trace in short.data} == {24 * 7}


def test_a_gap_breaks_the_line_and_points_are_bounded() -> None:
    frame = pl.DataFrame(
        {"at": [NOON, NOON + timedelta(seconds=10), NOON + timedelta(minutes=5)], "x": [1.0, 2.0, 3.0]}
    )
    chart = lines.values(frame, {"x": "X"}, at="at", gap=timedelta(seconds=30))
    assert [None if np.isnan(y) else y for y in chart.data[0].y] == [1.0, 2.0, None, 3.0]
    many = pl.DataFrame({"at": [NOON + timedelta(seconds=second) for second in range(5000)], "x": [0.5] * 5000})
    drawn = lines.values(many, {"x": "X"}, at="at").data[0]
    assert len(drawn.x) <= MOST_POINTS + 1
    assert drawn.x[-1] == many["at"][-1].timestamp() * 1000


def test_of_many_devices_those_that_idle_longest_are_drawn() -> None:
    number = states.MOST_DEVICES + 40
    cells = pl.DataFrame(
        [
            {"gpu": f"n{index:03}", "state": state, "share_ratio": share}
            for index in range(number)
            for state, share in (("held_idle", index / number), ("productive", 1 - index / number))
        ]
    )
    drawn = states.foremost(cells)["gpu"].unique(maintain_order=True).to_list()
    assert drawn == [f"n{index:03}" for index in range(40, number)]
    few = cells.filter(pl.col("gpu") < "n050")
    assert states.foremost(few).equals(few)


@pytest.mark.parametrize(("names", "more"), [(1, 0), (6, 0), (9, 36)])
def test_a_chart_of_many_names_has_room_for_them(names: int, more: int) -> None:
    """On a phone the legend stands above in lines of two: what is drawn must not shrink to a strip."""
    days = pl.DataFrame(
        {
            "day": [NOON.date()] * names, "billing_currency": ["USD"] * names,
            "name": [f"team-{each}" for each in range(names)], "cost": [Decimal(1)] * names,
        }
    )  # fmt: skip
    assert money.stacked(days, "USD").layout.height == HEIGHT + more
