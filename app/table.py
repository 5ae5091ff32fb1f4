"""Tables on a page: exact underneath, readable on top, with downloads."""

import io
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, Literal

import polars as pl
import pyarrow as pa
import streamlit as st

from app import data
from app.format import BYTE_STEPS, UNKNOWN, binary_step
from app.theme import STATE_WORDS
from queries.measure import UnitCost

Kind = Literal[
    "text",
    "decimal",
    "money",
    "price",
    "hours",
    "percent",
    "bytes",
    "line_rate",
    "duration",
    "instant",
    "day",
    "month",
    "count",
    "state",
    "flag",
    "link",
]

_GIGABITS: Final = 8 / 10**9  # of a byte: networks are named by bits

_HALF_CENT: Final = 0.005

_MOST_HEIGHT: Final = 560

_LONG: Final = 10_000

_MOST_ROWS: Final = 1_000
"""Nobody reads on after so many, and a browser would load megabytes; the download has all."""

_BAR_WIDTH: Final = 130

RUN_WIDTH: Final = 230
"""Room for the name of a run: a table that showed shorter names keeps their width."""


@dataclass(frozen=True)
class Column:
    """How one column is shown: its heading, what kind of value it holds, what it means, and how wide a text is."""

    label: str
    kind: Kind = "text"
    help: str = ""
    width: int | None = None


def show(
    frame: pl.DataFrame,
    columns: Mapping[str, Column],
    *,
    key: str,
    file_name: str = "",
    select: bool = False,
) -> dict[str, Any] | None:
    """Show a table and offer it as CSV and Parquet; return the selected row, or None.

    What is shown is rounded for the eye; what is downloaded is exact.
    """
    present = {name: column for name, column in columns.items() if name in frame.columns}
    drawn = data.once(_shown, frame, tuple((name, column.kind) for name, column in present.items()))
    height = min(_MOST_HEIGHT, 38 + 35 * max(1, drawn.num_rows))
    config = {name: _config(column, data.once(_step, frame, name)) for name, column in present.items()}
    chosen: int | None = None
    if select:
        event: Any = st.dataframe(
            drawn,
            hide_index=True,
            column_config=config,
            key=key,
            height=height,
            placeholder=UNKNOWN,
            on_select="rerun",
            selection_mode="single-row",
        )
        picked = event.selection.rows
        chosen = picked[0] if picked and picked[0] < frame.height else None
    else:
        st.dataframe(drawn, hide_index=True, column_config=config, key=key, height=height, placeholder=UNKNOWN)
    if drawn.num_rows < frame.height:
        beyond = " All are in the download." if file_name else ""
        st.caption(f"The first {drawn.num_rows:,} of {frame.height:,} rows.{beyond}")
    if file_name:
        downloads(frame, file_name, key)
    return None if chosen is None else frame.row(chosen, named=True)


def prices(units: Iterable[UnitCost], currency: str) -> dict[str, Column]:
    """Return the columns of what so many of something cost, as `sums.with_prices` adds them."""
    return {
        each.name: Column(f"{currency} {each.title[0].lower()}{each.title[1:]}", "price", each.means) for each in units
    }


def downloads(frame: pl.DataFrame, file_name: str, key: str) -> None:
    """Offer a frame as CSV and Parquet; a file is made when it is asked for."""
    with st.container(horizontal=True, horizontal_alignment="right"):
        st.download_button(
            "CSV",
            data=lambda: frame.write_csv().encode(),
            file_name=f"{file_name}.csv",
            mime="text/csv",
            key=f"{key}-csv",
            on_click="ignore",
            type="tertiary",
            help=f"{frame.height:,} rows, exact",
        )
        st.download_button(
            "Parquet",
            data=lambda: _parquet(frame),
            file_name=f"{file_name}.parquet",
            mime="application/vnd.apache.parquet",
            key=f"{key}-parquet",
            on_click="ignore",
            type="tertiary",
            help=f"{frame.height:,} rows, exact",
        )


def _parquet(frame: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    return buffer.getvalue()


def _shown(frame: pl.DataFrame, columns: tuple[tuple[str, Kind], ...]) -> pa.Table:
    """Return what a browser gets: an Arrow table, since Streamlit would send any other by way of pandas."""
    drawn = frame.select(_drawn(frame, name, kind) for name, kind in columns).head(_MOST_ROWS)
    table = drawn.to_arrow(compat_level=pl.CompatLevel.oldest())
    return table.cast(pa.schema([(each.name, _plain(each.type)) for each in table.schema]))


def _plain(dtype: pa.DataType) -> pa.DataType:
    """Return the type that the browser's reader knows."""
    return pa.string() if pa.types.is_large_string(dtype) or pa.types.is_dictionary(dtype) else dtype


def _drawn(frame: pl.DataFrame, name: str, kind: Kind) -> pl.Expr:
    column = pl.col(name)
    dtype = frame.schema[name]
    number = column.cast(pl.Float64) if dtype.is_numeric() or dtype == pl.Null else column
    match kind:
        case "state":
            drawn = column.replace_strict(dict(STATE_WORDS), default=column)
        case "bytes":
            drawn = number / 1024.0 ** _step(frame, name)
        case "line_rate":
            drawn = number * _GIGABITS
        case "duration":
            drawn = number / 3600
        case "money":
            # What is a little less than nothing would read `-0.00`.
            drawn = pl.when(number.is_between(-_HALF_CENT, 0.0)).then(0.0).otherwise(number)
        case _:
            drawn = number if isinstance(dtype, pl.Decimal) else column
    return drawn.alias(name)


def _step(frame: pl.DataFrame, name: str) -> int:
    """Return which binary prefix suits a column: its smallest number shows, and its largest is not long."""
    if not frame.schema[name].is_numeric():
        return 0
    sizes = frame.get_column(name).cast(pl.Float64).abs()
    smallest, largest = (float(str(each or 0)) for each in (sizes.filter(sizes > 0).min(), sizes.max()))
    step = binary_step(smallest * 10)
    while largest / 1024**step >= _LONG and step < binary_step(largest):
        step += 1
    return step


@cache
def _config(column: Column, step: int) -> Any:
    label, text = column.label, column.help or None
    numbers: dict[Kind, str] = {
        "money": "%,.2f",
        "price": "%,.4f",
        "hours": "%,.1f",
        "bytes": f"%,.1f {BYTE_STEPS[step]}",
        "line_rate": "%,.10g Gb/s",
        "duration": "%,.1f h",
        "count": "%,.10g",
        "decimal": "%,.1f",
    }
    if column.kind in numbers:
        return st.column_config.NumberColumn(label, help=text, format=numbers[column.kind])
    others: dict[Kind, Callable[[], Any]] = {
        "percent": lambda: st.column_config.ProgressColumn(
            label, help=text, format="percent", min_value=0, max_value=1, width=_BAR_WIDTH
        ),
        "instant": lambda: st.column_config.DatetimeColumn(label, help=text, format="D MMM HH:mm", timezone="UTC"),
        "day": lambda: st.column_config.DateColumn(label, help=text, format="D MMM YYYY"),
        "month": lambda: st.column_config.DateColumn(label, help=text, format="MMM YYYY"),
        "flag": lambda: st.column_config.CheckboxColumn(label, help=text),
        "link": lambda: st.column_config.LinkColumn(label, help=text),
    }
    return others.get(column.kind, lambda: st.column_config.TextColumn(label, help=text, width=column.width))()
