"""Allocations as FOCUS rows, for tools that read bills."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Annotated

import polars as pl
import pyarrow.parquet as pq
from pydantic import AwareDatetime, Field

from app.context import Context
from app.services._by_rules import ByRules
from app.services._focus import COST_COLUMNS, focus
from app.services._focus_version import Version, in_version
from app.services._service import Progress, service
from ledger.errors import InputError
from ledger.tables import AllocationHour, CostHour
from ledger.tables.partition import after, floor, start_of
from queries import other_rules, sql

_WORDS = ("billing_accounts", "service_categories")
_SUFFIXES = (".csv", ".parquet")


class Target(ByRules):
    """Which hours are exported, and where to."""

    out: Annotated[Path, Field(description="File to write: .csv or .parquet")]
    since: Annotated[AwareDatetime | None, Field(description="Leave out hours before")] = None
    until: Annotated[AwareDatetime | None, Field(description="Leave out hours from then on")] = None
    version: Annotated[
        Version, Field(description="FOCUS version: 1.4 says what is unknown, 1.2 is whole for its public validator")
    ] = "1.4"


@service(writes="out")
def export(context: Context, params: Target, progress: Progress) -> dict[str, object]:
    """Write one FOCUS row per allocation and hour, and return how many there are.

    The file appears under its name when it is whole. Columns of ours start with `x_`.
    """
    if params.out.suffix not in _SUFFIXES:
        raise InputError(f"{params.out}: found the suffix {params.out.suffix!r}, expected .csv or .parquet")
    draft = params.out.with_name(f"{params.out.name}.partial")
    try:
        days = list(_days(context, params))
        words = _words(context)

        def frames() -> Iterator[pl.DataFrame]:
            for index, start in enumerate(days):
                progress("export", index / len(days))
                yield in_version(_day(context, params, start, words), params.version)

        write = _write_csv if params.out.suffix == ".csv" else _write_parquet
        rows = write(draft, frames(), in_version(_nothing(words), params.version))
        draft.replace(params.out)
    except OSError as error:
        raise InputError(f"{params.out}: {error.strerror}", hint="choose another place") from None
    finally:
        draft.unlink(missing_ok=True)
    return {"path": str(params.out), "rows": rows}


def _days(context: Context, params: Target) -> Iterator[datetime]:
    """Yield the days that have allocations: a year is never in memory at once."""
    hours = [start_of(key) for key in context.store.versions("allocation_hour") if ":" not in key]
    for day in sorted({floor(each, "day") for each in hours}):
        if (params.since is None or after(day, "day") > params.since) and (params.until is None or day < params.until):
            yield day


def _day(context: Context, params: Target, start: datetime, words: tuple[pl.DataFrame, pl.DataFrame]) -> pl.DataFrame:
    end = after(start, "day")
    window = (max(start, params.since or start), min(end, params.until or end))
    rules = params.rules(context.settings.money)
    if rules == context.settings.money:
        allocations = context.store.read(AllocationHour, window)
    else:
        allocations = other_rules.allocations(context.store.read, rules, rules.split_rule, window, context.now())
    costs = context.store.read(CostHour, window, by="hour_start", columns=COST_COLUMNS)
    return focus(allocations, costs, *words)


def _words(context: Context) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return what accounts and services are called."""
    accounts, services = (context.store.select(sql.load(name).text) for name in _WORDS)
    return accounts, services


def _nothing(words: tuple[pl.DataFrame, pl.DataFrame]) -> pl.DataFrame:
    """Return an export without a row, which says its columns."""
    return focus(AllocationHour.create_empty(), CostHour.create_empty(), *words)


def _write_csv(path: Path, frames: Iterator[pl.DataFrame], nothing: pl.DataFrame) -> int:
    rows = 0
    with path.open("wb") as file:
        for index, frame in enumerate(frames):
            frame.write_csv(file, include_header=index == 0, datetime_format="%Y-%m-%dT%H:%M:%SZ")
            rows += frame.height
        if not rows:
            nothing.write_csv(file)
    return rows


def _write_parquet(path: Path, frames: Iterator[pl.DataFrame], nothing: pl.DataFrame) -> int:
    rows = 0
    schema = nothing.to_arrow().schema
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for frame in frames:
            writer.write_table(frame.to_arrow().cast(schema))
            rows += frame.height
    return rows
