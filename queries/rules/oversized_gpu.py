"""Whole devices whose jobs would fit on a slice of one."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from typing import Annotated, Any, Final

import dataframely as dy
import polars as pl
from pydantic import Field

from ledger import money
from ledger.names import HELD_IDLE_STATES, STATES
from ledger.tables import (
    AllocationHour,
    Asset,
    BottleneckHour,
    Finding,
    FindingDecision,
    FocusCharge,
    Gpu,
    JobGpuHour,
)
from queries.graph import Input, Span
from queries.rule import rule
from queries.rules import _advice as advice
from queries.rules._advice import JOB, LONGEST_WINDOW, PEOPLE, Claim

_NAME: Final = "oversized_gpu"
_DEVICE: Final = ("cluster", "node", "gpu_uuid")
_SUBJECT: Final = (*PEOPLE, "gpu_model")
_STARVED: Final = ("input_storage", "input_cpu", "host_memory", "communication", "straggler", "throttled")
_LEDGERS: Final = ("idle", "unknown")

_GIB: Final = 1024**3
_SLICEABLE: Final = ("A100", "H100", "H200", "B200", "B300", "GH200", "GB200")
"""Models that can be cut into seven compute and eight memory slices."""


@dataclass(frozen=True)
class Slice:
    """A MIG profile: its part of the compute slices and of the memory."""

    compute_count: int
    memory_count: int

    @property
    def compute(self) -> Fraction:
        """Return its part of the multiprocessors."""
        return Fraction(self.compute_count, 7)

    @property
    def memory(self) -> Fraction:
        """Return its part of the memory."""
        return Fraction(self.memory_count, 8)

    @property
    def fraction(self) -> Fraction:
        """Return its part of the device, as the ledger counts it: the larger of both."""
        return max(self.compute, self.memory)

    def profile(self, memory_bytes: float) -> str:
        """Return its name on a device of this size, such as 3g.40gb."""
        # Drivers name memory in whole gigabytes of what is left for slices; the model's own name is the round number.
        return f"{self.compute_count}g.{round(float(self.memory) * memory_bytes / _GIB)}gb"


SLICES: Final = (Slice(1, 1), Slice(2, 2), Slice(3, 4))
"""From the smallest; above 3g nothing is left to share with."""


class OversizedGpu(advice.Advice):
    """When a smaller device is worth advice."""

    idle_from_ratio: Annotated[
        float, Field(gt=0, le=1, description="Hours that are idle from this share on are left to `idle_gpu`")
    ] = 0.9
    margin_ratio: Annotated[
        float, Field(ge=0.1, le=2, description="Headroom above the 99th percentile of activity and the peak of memory")
    ] = 0.3
    starved_below_ratio: Annotated[
        float, Field(gt=0, le=1, description="No advice when at least this share of the busy time waited for something")
    ] = 0.25
    used_from_gpu_hours: Annotated[
        float, Field(ge=1, description="GPU-hours in the window, from which it is worth telling")
    ] = 24.0


@rule
def oversized_gpu(
    held: Annotated[
        dy.LazyFrame[JobGpuHour],
        Input(recent=LONGEST_WINDOW, columns=(*advice.HELD_COLUMNS, "sm_active_ratio", "memory_used_bytes")),
    ],
    allocations: Annotated[
        dy.LazyFrame[AllocationHour],
        Input(recent=LONGEST_WINDOW, columns=advice.PRICE_COLUMNS, where={"bucket": ("allocated",)}),
    ],
    mix: Annotated[
        dy.LazyFrame[BottleneckHour],
        Input(
            recent=LONGEST_WINDOW,
            columns=(
                *("hour_start", *JOB, "gpu_allocated_seconds"),
                *(f"{name}_seconds" for name in (*_STARVED, *_LEDGERS)),
            ),
        ),
    ],
    gpus: Annotated[
        dy.LazyFrame[Gpu], Input(recent=LONGEST_WINDOW, columns=(*_DEVICE, "gpu_model", "memory_total_bytes"))
    ],
    purchases: Annotated[
        dy.LazyFrame[FocusCharge], Input(columns=advice.PURCHASE_COLUMNS, where={"ChargeCategory": ("Purchase",)})
    ],
    assets: Annotated[dy.LazyFrame[Asset], Input(columns=advice.ASSET_COLUMNS)],
    earlier: dy.LazyFrame[Finding],
    decisions: dy.LazyFrame[FindingDecision],
    span: Span,
    settings: OversizedGpu,
) -> dy.LazyFrame[Finding]:
    """Find people whose jobs hold one whole device each and use no more than a slice of it.

    Looks for: jobs with one device whose 99th percentile of SM activity and whose peak of device memory, both with the
    margin, fit a MIG profile of at most three sevenths; 24 GPU-hours of a person's such jobs in the window.
    Saving: the part of the device that the profile leaves free, of the cost of the hours in which the device was not
    idle: idle hours belong to the rule `idle_gpu`, so that no saving is claimed twice.
    May be wrong: activity is a mean over an hour, so that short bursts are hidden; a slice has no direct way to other
    devices; a job that starves for input looks small, so nothing is said where a quarter of its busy time waited.
    Do: cut a device of one node into slices, ask for a slice, and compare the run time of one job before all move.
    """
    start, end = advice.window(span, settings)
    rows = _small(_used_hours(held.collect(), gpus.collect(), settings), settings)
    priced = advice.prices(allocations.collect(), purchases.collect(), assets.collect())
    mine = rows.filter(pl.col("hour_start").is_between(start, end, closed="left"))
    fitting = _fitting(rows, mine, _starved(mine, mix.collect()), start, settings)
    cost = advice.costs(mine.filter("is_used"), priced, _SUBJECT)
    claims = [_claim(row, cost.get(tuple(row[name] for name in _SUBJECT), {}), start, end, settings) for row in fitting]
    decided = decisions.collect()
    known = earlier.collect()
    since = _since(rows.filter("is_used"), priced, advice.applied_at(decided, end), end, known)
    return Finding.cast(advice.findings(_NAME, claims, known, decided, since, span.now))


def _used_hours(held: pl.DataFrame, gpus: pl.DataFrame, settings: OversizedGpu) -> pl.DataFrame:
    """Return the hours of jobs that hold exactly one whole device that can be cut, and whether it was used in them."""
    idle = pl.sum_horizontal(f"{state}_seconds" for state in HELD_IDLE_STATES).cast(pl.Float64)
    total = pl.sum_horizontal(f"{state}_seconds" for state in STATES)
    known = gpus.unique(_DEVICE, keep="any", maintain_order=True)
    return (
        held.filter((pl.col("job_id") != "") & pl.col("user").is_not_null())
        .with_columns(device_count=pl.struct("node", "gpu_uuid").n_unique().over(JOB))
        .filter((pl.col("device_count") == 1) & (pl.col("gpu_fraction") == 1))
        .join(known, on=_DEVICE, how="inner")
        .filter(pl.col("gpu_model").str.contains("|".join(_SLICEABLE)) & pl.col("memory_total_bytes").is_not_null())
        .with_columns(total=total, total_ms=(total * 1000).cast(pl.Int64))
        .with_columns(
            is_used=(pl.col("total") > 0) & (idle < settings.idle_from_ratio * pl.col("total").cast(pl.Float64))
        )
    )


def _small(rows: pl.DataFrame, settings: OversizedGpu) -> pl.DataFrame:
    """Keep jobs that each fit the largest slice with headroom: a person's large jobs say nothing of the small ones."""
    largest, headroom = SLICES[-1], 1 + settings.margin_ratio
    need = (
        rows.filter("is_used")
        .group_by(JOB)
        .agg(
            pl.col("sm_active_ratio").quantile(0.99, "higher").alias("activity"),
            (pl.col("memory_used_bytes") / pl.col("memory_total_bytes")).max().alias("memory"),
        )
    )
    fits = (pl.col("activity") * headroom <= float(largest.compute)) & (
        pl.col("memory") * headroom <= float(largest.memory)
    )
    return rows.join(need.filter(fits), on=JOB, how="semi")


def _starved(rows: pl.DataFrame, mix: pl.DataFrame) -> pl.DataFrame:
    """Return per subject the share of the busy time that waited for input, memory, other devices or cooling."""
    subjects = rows.select(*JOB, "hour_start", *(name for name in _SUBJECT if name not in JOB)).unique()
    waited = pl.sum_horizontal(pl.col(f"{name}_seconds").cast(pl.Float64) for name in _STARVED)
    idle = pl.sum_horizontal(pl.col(f"{name}_seconds").cast(pl.Float64) for name in _LEDGERS)
    sums = mix.join(subjects, on=[*JOB, "hour_start"]).group_by(_SUBJECT)
    busy = sums.agg(waited=waited.sum(), busy=(pl.col("gpu_allocated_seconds").cast(pl.Float64) - idle).sum())
    return busy.with_columns(starved_ratio=pl.when(pl.col("busy") > 0).then(pl.col("waited") / pl.col("busy")))


def _fitting(
    known: pl.DataFrame, rows: pl.DataFrame, starved: pl.DataFrame, start: datetime, settings: OversizedGpu
) -> list[dict[str, Any]]:
    """Return the subjects with enough evidence that fit a slice, with the smallest one that they fit."""
    used = rows.filter("is_used")
    seen = advice.spans_window(advice.coverage(rows, _SUBJECT), known, _SUBJECT, start, settings)
    need = used.group_by(_SUBJECT).agg(
        pl.col("sm_active_ratio").quantile(0.99, "higher").alias("activity"),
        (pl.col("sm_active_ratio").is_not_null().mean() >= settings.coverage_from_ratio).alias("is_profiled"),
        pl.col("memory_used_bytes").max().alias("memory_used"),
        pl.col("memory_total_bytes").min().alias("memory_total"),
        pl.col("total_ms").sum(),
        pl.struct(JOB).n_unique().alias("job_count"),
    )
    facts = seen.join(need, on=_SUBJECT).join(starved, on=_SUBJECT)
    # Without evidence of what limits the busy time nobody knows whether the device is too large or starved.
    enough = facts.filter(
        pl.col("is_profiled")
        & (pl.col("starved_ratio") < settings.starved_below_ratio)
        & (pl.col("total_ms") >= settings.used_from_gpu_hours * 3_600_000)
    )
    found = []
    for row in enough.sort(_SUBJECT).to_dicts():
        smallest = _smallest(row, settings.margin_ratio)
        if smallest is not None:
            found.append({**row, "slice": smallest})
    return found


def _smallest(row: Mapping[str, Any], margin: float) -> Slice | None:
    """Return the smallest profile that holds activity and memory with headroom; None if there is none."""
    if row["activity"] is None or row["memory_used"] is None:
        return None
    activity = row["activity"] * (1 + margin)
    memory = row["memory_used"] * (1 + margin) / row["memory_total"]
    return next((each for each in SLICES if activity <= each.compute and memory <= each.memory), None)


def _claim(
    row: Mapping[str, Any], cost: Mapping[str, Any], start: datetime, end: datetime, settings: OversizedGpu
) -> Claim:
    """Return one claim: what the profile leaves free of the hours in which the device was used."""
    part: Slice = row["slice"]
    free = 1 - part.fraction
    kind, profile = row["workload_kind"] or "other", part.profile(row["memory_total"])
    is_estimated = row["is_estimated"] or bool(cost.get("is_estimated"))
    return Claim(
        subject=_subject(row),
        people={name: row[name] for name in PEOPLE},
        title=f"{row['user']}: {kind} jobs on {row['gpu_model']} fit a {profile} slice",
        hours=Fraction(row["total_ms"], 3_600_000) * free,
        currency=cost.get("billing_currency"),
        cash=_freed(cost.get("cash"), free),
        effective=_freed(cost.get("effective_cost"), free),
        cash_from=cost.get("cash_from"),
        start=start,
        end=end,
        coverage=row["coverage_ratio"],
        confidence=advice.confidence(row["coverage_ratio"], row["day_count"], is_estimated=is_estimated),
        evidence={
            "used_device_hours": round(row["total_ms"] / 3_600_000, 1),
            "job_count": row["job_count"],
            "sm_active_ratio_p99": round(row["activity"], 3),
            "memory_peak_gib": round(row["memory_used"] / _GIB, 1),
            "memory_total_gib": round(row["memory_total"] / _GIB, 1),
            "margin_ratio": settings.margin_ratio,
            "compute_slice_count": part.compute_count,
            "starved_ratio": round(row["starved_ratio"], 3),
            **({"other_currencies": cost["others"]} if cost.get("others") else {}),
        },
        directive=(
            f"nvidia-smi mig -cgi {profile} -C   # once, on a drained device of one node\n"
            f"#SBATCH --gres=gpu:{profile}:1\n"
            f"# Kubernetes: resources.limits: {{nvidia.com/mig-{profile}: 1}}"
        ),
        undo="nvidia-smi mig -dci && nvidia-smi mig -dgi, and ask for gpu:1 again.",
        may_be_wrong="Bursts shorter than an hour are averaged, and a slice has no direct way to other devices.",
    )


def _freed(amount: Decimal | None, free: Fraction) -> Decimal | None:
    """Return the part of a cost that is freed; null stays null."""
    return None if amount is None else money.priced(amount, free)


def _subject(row: Mapping[str, Any]) -> str:
    """Return what to change."""
    return f"user:{row['user']}/{row['workload_kind'] or 'other'}/{row['gpu_model']}"


def _since(
    rows: pl.DataFrame, priced: pl.DataFrame, applied: Mapping[str, datetime], end: datetime, known: pl.DataFrame
) -> dict[str, advice.Since]:
    """Return what the part that was to be freed has cost since: of the hours on whole devices that are left."""
    whole = advice.costs_since(_NAME, rows, priced, applied, end, by=_SUBJECT, subject=_subject)
    evidence = {row["finding_id"]: json.loads(row["evidence"]) for row in known.to_dicts()}
    slices = {each.compute_count: each for each in SLICES}
    found = {}
    for key, each in whole.items():
        part = slices.get(evidence.get(key, {}).get("compute_slice_count", 0))
        if part is not None:
            found[key] = replace(each, cost=money.priced(each.cost, 1 - part.fraction))
    return found
