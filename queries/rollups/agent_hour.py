"""What the rounds of each node's collectors came to in each hour."""

from typing import Annotated, Final

import dataframely as dy
import polars as pl

from ledger.tables import AgentHour, CollectorRun
from queries.graph import Input, rollup

_COLUMNS: Final = (
    *("sampled_at", "cluster", "node", "is_ok", "row_count", "duration_seconds"),
    *("round_count", "longest_round_seconds"),
)


@rollup()
def agent_hour(
    runs: Annotated[dy.LazyFrame[CollectorRun], Input(columns=_COLUMNS, apart=True)],
) -> dy.LazyFrame[AgentHour]:
    """Add up the rounds of a node's collectors; rounds that are told together count to the hour of the last.

    Nulls: none; an hour in which no collector told of itself has no row.
    """
    rounds = pl.col("round_count").fill_null(1)
    hours = runs.group_by(pl.col("sampled_at").dt.truncate("1h").alias("hour_start"), "cluster", "node").agg(
        rounds.sum().alias("round_count"),
        rounds.filter(~pl.col("is_ok")).sum().alias("failed_round_count"),
        pl.col("row_count").sum(),
        pl.col("duration_seconds").sum(),
        # A row without it tells of one round.
        pl.coalesce("longest_round_seconds", "duration_seconds").max().alias("longest_round_seconds"),
    )
    return AgentHour.cast(hours.select(AgentHour.column_names()))
