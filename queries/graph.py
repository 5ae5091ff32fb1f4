"""Rollups and how they are wired: a rollup's type hints are its inputs and its output."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import dataframely as dy
from pydantic import BaseModel

from ledger.errors import ConfigError


@dataclass(frozen=True)
class Input:
    """How a rollup reads one of its inputs.

    `before` and `after` widen the window (a counter's edge, a long job); `by` reads by another grouping
    that the table declares in `also`; `where` keeps rows with one of the values; `recent` is how far back
    a rollup with one whole partition reads.
    """

    before: timedelta = timedelta(0)
    after: timedelta = timedelta(0)
    by: str = ""
    columns: tuple[str, ...] = ()
    where: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    recent: timedelta | None = None


@dataclass(frozen=True)
class Span:
    """The stretch of time whose partitions are computed, half-open, and what time it is."""

    start: datetime
    end: datetime
    now: datetime


@dataclass(frozen=True)
class Source:
    """One input of a rollup: its parameter, its table, and how it is read."""

    parameter: str
    schema: type[dy.Schema]
    read: Input


@dataclass(frozen=True)
class Rollup:
    """A pure function from typed inputs to the rows of one table's partitions."""

    name: str
    schema: type[dy.Schema]
    sources: tuple[Source, ...]
    settings: Mapping[str, type[BaseModel]]
    takes_span: str
    function: Callable[..., Any]
    version: int
    module: str


def rollup(*, version: int = 1) -> Callable[[Callable[..., Any]], Rollup]:
    """Declare a rollup.

    Parameters are told apart by their types: `dy.LazyFrame[Table]` (or `Annotated` with an `Input`) is
    an input, `Span` the stretch of time, a pydantic model its settings. Raise `version` when the same
    inputs give other rows: the partitions become due.
    """

    def wrap(function: Callable[..., Any]) -> Rollup:
        hints = get_type_hints(function, include_extras=True)
        sources: list[Source] = []
        settings: dict[str, type[BaseModel]] = {}
        takes_span = ""
        for parameter in inspect.signature(function).parameters:
            hint = hints[parameter]
            read = Input()
            if get_origin(hint) is Annotated:
                hint, *extras = get_args(hint)
                read = next((each for each in extras if isinstance(each, Input)), read)
            if get_origin(hint) is dy.LazyFrame:
                sources.append(Source(parameter, get_args(hint)[0], read))
            elif hint is Span:
                takes_span = parameter
            elif isinstance(hint, type) and issubclass(hint, BaseModel):
                settings[parameter] = hint
            else:
                raise ConfigError(
                    f"{function.__module__}.{function.__name__}: parameter {parameter}: found {hint!r}, "
                    "expected dy.LazyFrame[Table], Span or a settings model"
                )
        returned = hints["return"]
        return Rollup(
            name=function.__name__,
            schema=get_args(returned)[0],
            sources=tuple(sources),
            settings=settings,
            takes_span=takes_span,
            function=function,
            version=version,
            module=function.__module__,
        )

    return wrap
