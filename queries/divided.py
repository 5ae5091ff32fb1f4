"""The ledger as other rules divide it: a small store of its own, made for some days and asked like the real one."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Final

import dataframely as dy
import polars as pl

from ledger.money_sections import MoneySettings
from ledger.store import Store
from ledger.tables import (
    TABLES,
    AllocationHour,
    JobGpuHour,
    ModelCostDay,
    ServingSample,
    SpendDay,
    TrainingDay,
    declared,
)
from ledger.tables.partition import after, floor
from queries import other_rules, sql
from queries.graph import Span
from queries.rollups.model_cost_day import model_cost_day
from queries.rollups.spend_day import spend_day

Answer = Callable[..., pl.DataFrame]
"""Asks a question of `queries/sql` with its parameters."""

Window = tuple[datetime, datetime]

_DIVIDED: Final[tuple[type[dy.Schema], ...]] = (AllocationHour, SpendDay, ModelCostDay)
"""What rules of division change; all else is as it is stored."""


@contextmanager
def divided(
    store: Store,
    rules: MoneySettings,
    windows: Sequence[Window],
    now: datetime,
    progress: Callable[[float], object] | None = None,
) -> Iterator[Answer]:
    """Give what answers questions about some windows as if these rules were the stored ones; totals are the same.

    Nothing is stored: what was computed is gone when the block ends. Tokens and samples are not told.
    `progress` is called with the share of the days that are computed.
    """
    with Store.open("duckdb::memory:", now=lambda: now) as made:
        days = _days(windows)
        for index, start in enumerate(days, start=1):
            _fill(made, store, rules, start, now)
            if progress is not None:
                progress(index / len(days))
        changed = {declared(schema).name for schema in _DIVIDED}
        copied = set(changed)

        def answer(question: str, **asked: object) -> pl.DataFrame:
            asks = sql.load(question)
            if not asks.tables & changed:
                return store.select(asks.text, **asked)
            for name in asks.tables - copied:
                made.append(TABLES[name].schema, store.read(TABLES[name].schema), source=name)
                copied.add(name)
            return made.select(asks.text, **asked)

        yield answer


def _days(windows: Sequence[Window]) -> list[datetime]:
    """Return the days of which an hour lies in one of the windows."""
    found = set()
    for low, high in windows:
        day = floor(low, "day")
        while day < high:
            found.add(day)
            day = after(day, "day")
    return sorted(found)


def _fill(made: Store, store: Store, rules: MoneySettings, start: datetime, now: datetime) -> None:
    """Divide one day: a month is never in memory at once."""
    span = Span(start, after(start, "day"), now)
    window = (span.start, span.end)
    hours = other_rules.allocations(store.read, rules, rules.split_rule, window, now)
    held = store.read(JobGpuHour, window)
    spent: dy.LazyFrame[SpendDay] = spend_day.function(hours.lazy(), span)
    models: dy.LazyFrame[ModelCostDay] = model_cost_day.function(
        allocations=hours.lazy(),
        job_hours=held.lazy(),
        serving=ServingSample.create_empty(lazy=True),
        training=TrainingDay.create_empty(lazy=True),
        span=span,
    )
    for schema, frame in ((AllocationHour, hours), (SpendDay, spent.collect()), (ModelCostDay, models.collect())):
        made.append(schema, frame, source=str(start))
