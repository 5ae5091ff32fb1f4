"""How metrics become rows: one line per metric, one `Target` per table that an exporter fills."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final, Literal

import dataframely as dy
import numpy as np
import polars as pl

from collectors.cluster._prometheus_api import Api, Grid, Series, TooMuchError, selector
from collectors.cluster._prometheus_decode import Rows, points
from ledger.frames import columns_of

Labels = Mapping[str, str]
Key = tuple[str, ...]
Matcher = tuple[str, str, str]
NodeOf = Callable[[Labels], str]

NAME: Final = "__name__"


def named(labels: Labels) -> frozenset[tuple[str, str]]:
    """Return what tells a series of a metric from others; what is computed of it has no name of a metric."""
    return frozenset((label, word) for label, word in labels.items() if label != NAME)


@dataclass(frozen=True)
class Metric:
    """One metric and the column that it fills: multiplied by `times`, divided by `per`.

    A column that begins with an underscore is for the target's `finish` alone. Labels in `without` are added up, or
    counted, by the server: a node has a series for each processor and mode. `part` is handed to the target's `key`.
    """

    name: str
    column: str
    times: float = 1.0
    per: float = 1.0
    where: tuple[Matcher, ...] = ()
    without: tuple[str, ...] = ()
    how: Literal["sum", "count", "max"] = "sum"
    part: str = ""


@dataclass(frozen=True)
class Target:
    """One table that an exporter fills.

    `key` returns from a series' labels the values of the columns in `names`, or None for a series that is left out;
    `finish` makes of the metrics' columns those of the table. `has` names a column without which a row says nothing.
    """

    exporter: str
    schema: type[dy.Schema]
    metrics: tuple[Metric, ...]
    names: tuple[str, ...] = ()
    key: Callable[[Labels, str], Key | None] = lambda labels, part: ()  # noqa: ARG005  a node's own row
    where: tuple[Matcher, ...] = ()
    finish: Callable[[pl.DataFrame], pl.DataFrame] = lambda frame: frame
    blank: Callable[[Any], Any] | None = None

    def __post_init__(self) -> None:
        """Refuse a line for a column that the table does not have."""
        known = columns_of(self.schema)
        wrong = [each.column for each in self.metrics if not each.column.startswith("_") and each.column not in known]
        if wrong:
            raise ValueError(f"{self.exporter}: {self.schema.__name__} has no column {wrong[0]}")


@dataclass(frozen=True)
class Asked:
    """One query, with the metrics that it answers: several in one where nothing but their names differs."""

    metrics: Mapping[str, Sequence[Metric]]
    query: str
    name: str = ""


def queries(target: Target, known: frozenset[str], matchers: Sequence[Matcher], window: str) -> Iterator[Asked]:
    """Yield the queries for those metrics of a target that the server has.

    `last_over_time` looks no further back than one step: a gap is no row, where a plain selector would repeat the
    last value for five minutes.
    """

    def form(each: Metric) -> tuple[object, ...]:
        return (each.where, each.without, each.how, each.name if each.without else "")

    present = sorted((each for each in target.metrics if each.name in known), key=lambda each: repr(form(each)))
    for (where, without, how, _), group in groupby(present, form):
        metrics: dict[str, list[Metric]] = {}
        for each in group:
            metrics.setdefault(each.name, []).append(each)
        names = "|".join(sorted(metrics))
        matching = [(NAME, "=~" if len(metrics) > 1 else "=", names), *where, *target.where, *matchers]  # type: ignore[misc]
        inner = f"last_over_time({selector('', matching)}[{window}])"
        query = f"{how} without ({', '.join(without)}) ({inner})" if without else inner  # type: ignore[arg-type]
        yield Asked(metrics, query, name=names if without else "")


def fill(rows: Rows, target: Target, asked: Asked, series: Sequence[Series], grid: Grid, node_of: NodeOf) -> None:
    """Put the points of a query's series into the rows of a table."""
    owners, steps, values = points(series, grid)
    if target.blank is not None:
        values = target.blank(values)
    by_metric: dict[int, tuple[Metric, list[int], list[Key]]] = {}
    for index, each in enumerate(series):
        for metric in asked.metrics.get(each.metric.get(NAME, asked.name), ()):
            node, key = node_of(each.metric), target.key(each.metric, metric.part)
            if node and key is not None:
                _, indices, keys = by_metric.setdefault(id(metric), (metric, [], []))
                indices.append(index)
                keys.append((node, *key))
    for metric, indices, keys in by_metric.values():
        places = np.full(len(series), -1, dtype=np.int64)
        places[indices] = np.arange(len(indices))
        taken = places[owners]
        is_taken = slice(None) if len(indices) == len(series) else taken >= 0
        scaled = values[is_taken]
        if metric.times != 1.0:
            scaled = scaled * metric.times
        if metric.per != 1.0:
            scaled = scaled / metric.per
        rows.add(metric.column, keys, (taken[is_taken], steps[is_taken], scaled))


def answer(api: Api, asked: Asked, grid: Grid) -> list[Series]:
    """Return a query's series over a grid, in halves where a server finds the whole too much."""
    try:
        return api.range(asked.query, grid)
    except TooMuchError:
        if grid.length <= 1:
            raise
    middle = grid.start + (grid.length // 2) * grid.step
    parts = (Grid(grid.start, middle - grid.step, grid.step), Grid(middle, grid.end, grid.step))
    return [found for part in parts for found in answer(api, asked, part)]


def fitted(frame: pl.DataFrame, schema: type[dy.Schema], remarks: list[str]) -> pl.DataFrame:
    """Return a frame in the types of its table; a value beyond what its column holds is null, and counted aloud."""
    columns, known = [], columns_of(schema)
    for series in frame:
        column = known.get(series.name)
        if column is None:
            continue
        if series.dtype != pl.Float64:
            columns.append(series)
            continue
        low, high = getattr(column, "min", None), getattr(column, "max", None)
        is_good = pl.Series(series.name, [True]).new_from_index(0, len(series))
        if low is not None:
            is_good &= series >= float(low)
        if high is not None:
            is_good &= series <= float(high)
        if isinstance(column, dy.Int64):
            is_good &= (series.round() == series) & (series.abs() < 2.0**63)
        wrong = int((~is_good).sum())
        if wrong:
            found = series.filter(~is_good)[0]
            remarks.append(f"{schema.__name__}.{series.name}: {wrong} values that it cannot hold, such as {found:g}")
            series = pl.select(pl.when(is_good).then(series).alias(series.name)).to_series()  # noqa: PLW2901  narrowed
        if isinstance(column, dy.Bool):
            series = series != 0.0  # noqa: PLW2901  as above
        elif isinstance(column, dy.Int64):
            series = series.cast(pl.Int64)  # noqa: PLW2901  as above
        columns.append(series)
    return pl.DataFrame(columns)
