"""Allocations as FOCUS rows, for tools that read bills."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated

import polars as pl
import pyarrow.parquet as pq
from pydantic import AwareDatetime, Field

from app.context import Context
from app.services._service import Params, Progress, service
from ledger.errors import InputError
from ledger.tables import AllocationHour
from ledger.tables.partition import after, floor, start_of

_SUFFIXES = (".csv", ".parquet")


class Target(Params):
    """Which hours are exported, and where to."""

    out: Annotated[Path, Field(description="File to write: .csv or .parquet")]
    since: Annotated[AwareDatetime | None, Field(description="Leave out hours before")] = None
    until: Annotated[AwareDatetime | None, Field(description="Leave out hours from then on")] = None


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
        frames = (_day(context, params, start, index / len(days), progress) for index, start in enumerate(days))
        rows = _write_csv(draft, frames) if params.out.suffix == ".csv" else _write_parquet(draft, frames)
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


def _day(context: Context, params: Target, start: datetime, share: float, progress: Progress) -> pl.DataFrame:
    progress("export", share)
    end = after(start, "day")
    window = (max(start, params.since or start), min(end, params.until or end))
    return focus(context.store.read(AllocationHour, window))


def focus(frame: pl.DataFrame) -> pl.DataFrame:
    """Return allocations under FOCUS names.

    A row keeps the charge's own category, period and account, and says through the Allocated columns whose part
    it is. Nulls: effective cost where the provider does not say.
    """
    tags = pl.struct("team", "user", "job_id", "model", "bucket", "state").struct.json_encode()
    period_end = pl.col("billing_period_start").dt.offset_by("1mo")
    return frame.select(
        BilledCost="billed_cost",
        EffectiveCost="effective_cost",
        BillingAccountId="billing_account_id",
        BillingCurrency="billing_currency",
        BillingPeriodStart="billing_period_start",
        BillingPeriodEnd=period_end,
        ChargeCategory="charge_category",
        ChargeClass=_known("charge_class"),
        ChargePeriodStart="hour_start",
        ChargePeriodEnd=pl.col("hour_start") + timedelta(hours=1),
        CommitmentDiscountStatus=_known("commitment_status"),
        InvoiceId=_known("invoice_id"),
        InvoiceIssuerName="invoice_issuer",
        ServiceProviderName="provider",
        ServiceName="service_name",
        ResourceId=_known("resource_id"),
        AllocatedMethodId="allocated_method_id",
        AllocatedResourceId=_known("gpu_uuid"),
        AllocatedResourceName=_known("node"),
        AllocatedTags=tags,
        x_Cluster=_known("cluster"),
        x_Node=_known("node"),
        x_Bucket="bucket",
        x_State=_known("state"),
        x_Team=_known("team"),
        x_User=_known("user"),
        x_JobId=_known("job_id"),
        x_RestartCount="restart_count",
        x_Model=_known("model"),
        x_HeldGpuSeconds="held_gpu_seconds",
        x_IsEstimated="is_estimated",
        x_IsInScope="in_scope",
    )


def _known(column: str) -> pl.Expr:
    """Return a key's text as FOCUS has it: null where it does not apply."""
    return pl.when(pl.col(column) != "").then(pl.col(column))


def _write_csv(path: Path, frames: Iterator[pl.DataFrame]) -> int:
    rows = 0
    with path.open("wb") as file:
        for index, frame in enumerate(frames):
            frame.write_csv(file, include_header=index == 0, datetime_format="%Y-%m-%dT%H:%M:%SZ")
            rows += frame.height
        if not rows:
            focus(AllocationHour.create_empty()).write_csv(file)
    return rows


def _write_parquet(path: Path, frames: Iterator[pl.DataFrame]) -> int:
    rows = 0
    schema = focus(AllocationHour.create_empty()).to_arrow().schema
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for frame in frames:
            writer.write_table(frame.to_arrow().cast(schema))
            rows += frame.height
    return rows
