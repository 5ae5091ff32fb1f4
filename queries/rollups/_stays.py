"""When a node was there, said once: its agent and the scheduler each tell of it, with a start of their own."""

from typing import Final

import polars as pl

from ledger.tables import Node
from queries.rollups._spread import OPEN_END

_PLACE: Final = ["cluster", "node"]

# What a cloud and a scheduler know of a node; all else its own agent knows best.
_OF_SCHEDULER: Final = ("provider", "region", "instance_type", "provider_instance_id", "holder", "source")

_AGENT: Final = "agent"


def stays(nodes: pl.DataFrame) -> pl.DataFrame:
    """Return the stays of nodes so that those of one node do not overlap: else it would cost twice.

    Where several rows tell of a node they are cut at each of their starts and ends, with what any of them knows. Pieces
    that say the same are not joined: a link to a bill begins where a row does.

    Shape, grain: the rows of `node`, one per node and piece.
    """
    later = pl.col("exists_start").shift(-1).over(_PLACE, order_by="exists_start")
    longest = pl.col("exists_end").fill_null(OPEN_END).cum_max().over(_PLACE, order_by="exists_start")
    overlaps = (longest > later).fill_null(value=False).any().over(_PLACE)
    several = nodes.filter(overlaps)
    if several.is_empty():
        return nodes
    ended = pl.col("exists_end").fill_null(OPEN_END)
    edges = pl.concat(
        [
            several.select(*_PLACE, pl.col("exists_start").alias("since")),
            several.select(*_PLACE, ended.alias("since")),
        ]
    ).unique()
    pieces = edges.sort(*_PLACE, "since").with_columns(pl.col("since").shift(-1).over(_PLACE).alias("until"))
    told = pieces.filter(pl.col("until").is_not_null()).join(several, on=_PLACE)
    told = told.filter((pl.col("exists_start") <= pl.col("since")) & (ended >= pl.col("until")))
    known = [name for name in nodes.columns if name not in {*_PLACE, "exists_start", "exists_end"}]
    by_agent = pl.col("source").eq_missing(pl.lit(_AGENT))
    first = [
        pl.col(name)
        .sort_by(by_agent if name in _OF_SCHEDULER else ~by_agent, "exists_start", descending=[False, True])
        .drop_nulls()
        .first()
        for name in known
    ]
    joined = told.group_by(*_PLACE, "since", "until").agg(first)
    whole = joined.with_columns(
        pl.col("since").alias("exists_start"),
        pl.when(pl.col("until") < OPEN_END).then(pl.col("until")).alias("exists_end"),
    ).select(nodes.columns)
    return pl.concat([nodes.filter(~overlaps), whole]).sort(Node.primary_key())
