"""Rows of some nodes at a time: what is made of them together is what is made of each alone."""

from collections.abc import Mapping

import polars as pl

from ledger.tables.partition import Between
from queries.graph import Rollup

NODE = "node"


def evenly(nodes: pl.DataFrame, count: int) -> list[Between]:
    """Return stretches of nodes with about as many rows each, at most so many, that leave out no node that there is.

    `nodes`: each node once, in order, with its `row_count`.
    """
    before = pl.col("row_count").cum_sum() - pl.col("row_count")
    place = before * count // pl.col("row_count").sum()
    edges = nodes.filter((place != place.shift(1)).fill_null(value=False)).get_column(NODE).to_list()
    return [Between(edge) for edge in zip([None, *edges], [*edges, None], strict=True)]


def computed(rollup: Rollup, inputs: Mapping[str, pl.DataFrame], others: Mapping[str, object]) -> pl.DataFrame:
    """Return what a rollup makes of its inputs, of some nodes after others where they are more rows than it asks for.

    `others` are its settings, and its span. What it reads before and after its span is not more than it asks for.
    """
    apart = {source.parameter for source in rollup.sources if source.read.apart}
    largest = max((inputs[name] for name in apart), key=lambda frame: frame.height, default=pl.DataFrame())
    count = round(largest.height / rollup.rows_at_once)
    if count <= 1:
        return _called(rollup, inputs, others)
    nodes = largest.group_by(pl.col(NODE).cast(pl.String)).agg(pl.len().alias("row_count")).sort(NODE)
    return pl.concat(
        _called(rollup, {name: _of(frame, each) if name in apart else frame for name, frame in inputs.items()}, others)
        for each in evenly(nodes, count)
    )


def _called(rollup: Rollup, inputs: Mapping[str, pl.DataFrame], others: Mapping[str, object]) -> pl.DataFrame:
    frame: pl.DataFrame = rollup.function(**{name: each.lazy() for name, each in inputs.items()}, **others).collect()
    return frame


def _of(frame: pl.DataFrame, nodes: Between) -> pl.DataFrame:
    """Return the rows of some nodes, whose names may be codes."""
    first, end = nodes
    name = pl.col(NODE).cast(pl.String)
    return frame.filter(pl.lit(value=True) if first is None else name >= first, *([] if end is None else [name < end]))
