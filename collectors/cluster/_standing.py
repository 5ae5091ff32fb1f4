"""What has ended: a source that tells what stands now never says that something is not there any more."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import dataframely as dy
import polars as pl

from collectors.cluster._source import Pulled
from ledger.tables import Gpu, Job, JobGpu, Node, NodeState
from ledger.tables.partition import declared

Schema = type[dy.Schema]
OpenRows = Callable[[Schema, str], pl.DataFrame]
"""Returns the rows of a table that are open in the store, of the same cluster and with this word as their source; with
'' of any source."""

GONE: Final = "DELETED"
"""The state of a job that was there and is not any more, without having told how it ended."""

_AGENT: Final = "agent"
"""The source of what a node's own agent tells of it."""

_NOT_ASKED: Final = timedelta(minutes=10)
"""A source of what is so now that was not asked for longer may have missed a whole job."""

_CLOSED: Final = ("DOWN", "DRAINED", "POWERED_DOWN")
"""States of a node on which nothing begins: what holds none of its devices now held none before."""

_PLACE: Final = ["cluster", "node"]
_RUN: Final = ["cluster", "job_id", "submitted_at", "restart_count"]
_HOLDING: Final = list(declared(JobGpu).key)


@dataclass(frozen=True)
class _Ends:
    """Where a table's rows end, and what else a row says when it ended unseen."""

    start: str
    end: str
    said: Mapping[str, object]


_ENDS: Final[Mapping[Schema, _Ends]] = {
    Job: _Ends("submitted_at", "ended_at", {"state": GONE, "is_end_estimated": True}),
    JobGpu: _Ends("held_start", "held_end", {}),
    Node: _Ends("exists_start", "exists_end", {}),
    NodeState: _Ends("state_start", "state_end", {}),
}


def settled(pulled: Pulled, open_rows: OpenRows, seen_at: datetime | None) -> Mapping[Schema, pl.DataFrame]:
    """Return the frames of a pull with an end for each row of its standing tables that does not stand any more.

    What is gone ended at `seen_at`, the last instant at which the source told it: nothing is claimed beyond. A job's
    devices end with it. A node whose state is what it was keeps the instant since when it is; a new state ends the old.
    A node that is told without since when keeps that of its row. What a source of what is so now did not see is the
    state UNKNOWN of its nodes: no device was free then, for all that is known.
    """
    frames = dict(pulled.frames)
    if pulled.held_by and Job in frames:
        frames[JobGpu] = _with_ended(frames, open_rows(JobGpu, pulled.held_by))
    for schema, word in pulled.standing.items():
        told = frames.get(schema, schema.create_empty())
        before = open_rows(schema, word).filter(pl.col(_ENDS[schema].end).is_null())
        at = pl.lit(seen_at or pulled.reached_at, dtype=pl.Datetime("us", "UTC"))
        if schema is Node:
            told = _since(told, before, pulled.reached_at)
        if schema is Job:
            told = _with_reason(told, before)
        if schema is JobGpu:
            told = _corrected(told, before)
        if schema is not NodeState:
            frames[schema] = _rows(schema, told, before, at)
            continue
        unseen = _unseen(told, before, frames[Node], seen_at, pulled.reached_at) if pulled.is_of_now else told.clear()
        frames[schema] = _states(told, before, at, unseen)
    if Node in pulled.standing:
        frames.update(_with_gone(frames, open_rows))
    return frames


def _with_gone(frames: Mapping[Schema, pl.DataFrame], open_rows: OpenRows) -> dict[Schema, pl.DataFrame]:
    """Return what nodes that left take with them: their devices, and their agents' word that they exist.

    An agent that is still there tells of both again.
    """
    place = ["cluster", "node"]
    told = frames[Node]
    there = told.filter(pl.col("exists_end").is_null())
    left = told.join(there, on=place, how="anti").group_by(place).agg(pl.col("exists_end").max().alias("left"))
    if left.is_empty():
        return {}
    found: dict[Schema, pl.DataFrame] = {}
    for schema, word in ((Node, _AGENT), (Gpu, "")):
        before = open_rows(schema, word).filter(pl.col("exists_end").is_null()).join(left, on=place)
        ended = before.with_columns(pl.max_horizontal("exists_start", "left").alias("exists_end"))
        mine = frames.get(schema, schema.create_empty())
        found[schema] = pl.concat([mine, ended.select(mine.columns)])
    return found


def _with_ended(frames: Mapping[Schema, pl.DataFrame], before: pl.DataFrame) -> pl.DataFrame:
    """Return the holdings that are told, and with their end those that are open though their job is told as ended."""
    told = frames.get(JobGpu, JobGpu.create_empty())
    over = frames[Job].filter(pl.col("ended_at").is_not_null()).select(*_RUN, "ended_at")
    ended = before.filter(pl.col("held_end").is_null()).join(over, on=_RUN).join(told, on=_HOLDING, how="anti")
    ended = ended.with_columns(pl.max_horizontal("held_start", "ended_at").alias("held_end"))
    return pl.concat([told, ended.select(told.columns)])


def _since(told: pl.DataFrame, before: pl.DataFrame, at: datetime) -> pl.DataFrame:
    """Return nodes with since when they exist where that was not told.

    An agent may tell of the same node: readers take both words for one stay (`queries.rollups._stays`).
    """
    place = ["cluster", "node"]
    known = before.sort("exists_start").unique(place, keep="last").select(*place, pl.col("exists_start").alias("known"))
    since = pl.coalesce("exists_start", "known", pl.lit(at, dtype=pl.Datetime("us", "UTC")))
    return told.join(known, on=place, how="left").with_columns(since.alias("exists_start")).select(told.columns)


def _with_reason(told: pl.DataFrame, before: pl.DataFrame) -> pl.DataFrame:
    """Return jobs with why they waited: a source that tells what is so now says it only while they wait."""
    key = list(declared(Job).key)
    waited = before.select(*key, pl.col("pending_reason").alias("waited"))
    return (
        told.join(waited, on=key, how="left").with_columns(pl.coalesce("pending_reason", "waited")).select(told.columns)
    )


def _corrected(told: pl.DataFrame, before: pl.DataFrame) -> pl.DataFrame:
    """Return holdings with those that were told of another device by mistake: they end where they began.

    A run keeps the devices that it began with. One that it is said to hold since then, and that is new, was told under
    another name before: an agent has learnt since how the scheduler counts.
    """
    stay = [*_RUN, "node", "held_start"]
    new = told.filter(pl.col("held_end").is_null()).join(before, on=_HOLDING, how="anti")
    gone = before.join(told, on=_HOLDING, how="anti")
    count = pl.len().alias("_count")
    as_many = gone.group_by(stay).agg(count).join(new.group_by(stay).agg(count), on=[*stay, "_count"])
    wrong = gone.join(as_many, on=stay, how="semi").with_columns(held_end=pl.col("held_start"))
    return pl.concat([told, wrong.select(told.columns)])


def _rows(schema: Schema, told: pl.DataFrame, before: pl.DataFrame, at: pl.Expr) -> pl.DataFrame:
    """Return what is told, and with an end what was open and is not told."""
    key, ends = list(declared(schema).key), _ENDS[schema]
    gone = before.join(told, on=key, how="anti")
    ended = gone.with_columns(
        pl.max_horizontal(ends.start, at).alias(ends.end),
        *(pl.lit(word).alias(name) for name, word in ends.said.items()),
    )
    return pl.concat([told, ended.select(told.columns)])


def _unseen(
    told: pl.DataFrame, before: pl.DataFrame, nodes: pl.DataFrame, seen_at: datetime | None, now: datetime
) -> pl.DataFrame:
    """Return the time in which nobody asked what ran on nodes, up to now, as a state of theirs that is over."""
    if seen_at is not None and now - seen_at <= _NOT_ASKED:
        return told.clear()
    utc = pl.Datetime("us", "UTC")
    since = pl.max_horizontal("exists_start", pl.lit(seen_at, dtype=utc))
    known = nodes.filter(pl.col("exists_end").is_null()).select(*_PLACE, since.alias("since"))
    was = before.select(*_PLACE, pl.col("state").alias("was")).unique(_PLACE)
    both = told.join(known, on=_PLACE).join(was, on=_PLACE, how="left")
    now_at, is_closed = pl.lit(now, dtype=utc), pl.col("state").is_in(_CLOSED)
    # On a node that is closed nothing began since it closed.
    closed_at = pl.when(pl.col("state").eq_missing(pl.col("was"))).then("since").otherwise("state_start")
    until = pl.when(is_closed).then(pl.min_horizontal(closed_at, now_at)).otherwise(now_at)
    words = {"state": pl.lit("UNKNOWN"), "reason": pl.lit("not asked")}
    unseen = both.with_columns(state_end=until).with_columns(**words, state_start=pl.col("since"))
    return unseen.filter(pl.col("state_start") < pl.col("state_end")).select(told.columns)


def _states(told: pl.DataFrame, before: pl.DataFrame, at: pl.Expr, unseen: pl.DataFrame) -> pl.DataFrame:
    """Return the states that are new and the ends of those that they replace; what goes on is not told again.

    A new state begins no earlier than the one before it: some sources know since when, others only that it is so now.
    Where nothing was seen for a while, what was known ends and what is so now begins anew.
    """
    place = _PLACE
    gaps = unseen.select(*place, pl.col("state_start").alias("gap_start"), pl.col("state_end").alias("gap_end"))
    was = before.sort("state_start").unique(place, keep="last", maintain_order=True)
    both = told.join(was.select(*place, "state_start", "state", "reason"), on=place, how="left", suffix="_before")
    both = both.join(gaps, on=place, how="left")
    same = (
        pl.col("gap_end").is_null()
        & pl.col("state").eq_missing(pl.col("state_before"))
        & pl.col("reason").eq_missing(pl.col("reason_before"))
    )
    new = both.filter(~same.fill_null(value=False)).with_columns(
        pl.max_horizontal(
            "state_start", pl.when(pl.col("state_start_before").is_not_null()).then(at), pl.col("gap_end")
        ).alias("state_start")
    )
    begun = new.select(*place, pl.col("state_start").alias("begun"))
    going = both.filter(same.fill_null(value=False)).select(*place, pl.col("state_start_before").alias("state_start"))
    over = before.join(going, on=[*place, "state_start"], how="anti").join(begun, on=place, how="left")
    over = over.join(gaps, on=place, how="left")
    until = pl.coalesce("gap_start", "begun", at)
    ended = over.with_columns(pl.max_horizontal("state_start", until).alias("state_end"))
    # What began when the old state did stands in its place.
    replaced = pl.concat([new.select(*place, "state_start"), unseen.select(*place, "state_start")])
    ended = ended.join(replaced, on=[*place, "state_start"], how="anti")
    return pl.concat([new.select(told.columns), ended.select(told.columns), unseen.select(told.columns)])
