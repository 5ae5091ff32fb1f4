"""What a source of a cluster is: a service that the hub asks for what happened since it was last asked."""

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Any

import dataframely as dy
import polars as pl
from pydantic import BaseModel, ConfigDict, Field

from collectors.dumps._dump import Rejected


class SourceSettings(BaseModel):
    """What every source is told; a kind adds its own keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Annotated[str, Field(description="What it is: a module of collectors.cluster")]
    cluster: Annotated[str, Field(min_length=1, description="Cluster its rows belong to")] = "default"
    enabled: Annotated[bool, Field(description="Ask it")] = True
    every_seconds: Annotated[float | None, Field(gt=0, le=86_400, description="Pace; empty for the kind's own")] = None


@dataclass(frozen=True)
class Pulled:
    """Rows under their tables, the records refused, and the instant up to which a source is now known.

    The next pull begins at `reached_at`. Rows that come twice are one row: a source may tell again what it told.
    Of the tables in `standing` the frames hold all that stands now: what is open in the store with this word as its
    `source`, and not among them, has ended (`collectors.cluster._standing`). Holdings in the store with the word
    `held_by` as their source end with a job that the frames tell as ended. Where `is_partial`, a part of the source did
    not answer: it is asked for the same again. Where `is_of_now`, the source knows what is
    so now and nothing else: what ran while it was not asked, nobody will ever say. `since` is where the piece begins,
    if the source chose that itself.
    """

    frames: Mapping[type[dy.Schema], pl.DataFrame]
    reached_at: datetime
    rejected: tuple[Rejected, ...] = ()
    remarks: tuple[str, ...] = ()
    standing: Mapping[type[dy.Schema], str] = field(default_factory=dict)
    held_by: str = ""
    is_of_now: bool = False
    is_partial: bool = False
    since: datetime | None = None


Pull = Callable[[datetime | None, datetime], Iterator[Pulled]]
"""Asks a source for what happened from an instant (None at the first time) up to another, in pieces that are
each kept when they come."""


@dataclass(frozen=True)
class ClusterSource:
    """A kind of source: what it gives, how often it is asked, and how it is opened with its settings."""

    name: str
    emits: tuple[str, ...]
    every_seconds: float
    settings: type[SourceSettings]
    open: Callable[[Any], Pull]
    doc: str = field(default="")
    module: str = field(default="")


def cluster_source(
    *, emits: tuple[str, ...], every_seconds: float, settings: type[SourceSettings]
) -> Callable[[Callable[[Any], Pull]], ClusterSource]:
    """Declare a kind of source from the function that opens one: it gets the settings and returns the pull."""

    def wrap(function: Callable[[Any], Pull]) -> ClusterSource:
        return ClusterSource(
            name=function.__name__,
            emits=emits,
            every_seconds=every_seconds,
            settings=settings,
            open=function,
            doc=inspect.getdoc(function) or "",
            module=function.__module__,
        )

    return wrap
