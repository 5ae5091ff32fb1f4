"""Devices that people hold and leave idle, week after week."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from fractions import Fraction
from typing import Annotated, Any, Final

import dataframely as dy
import polars as pl
from pydantic import Field

from ledger.names import HELD_IDLE_STATES, STATES
from ledger.tables import (
    AllocationHour,
    Asset,
    BottleneckHour,
    Finding,
    FindingDecision,
    FocusCharge,
    Job,
    JobGpuHour,
)
from queries.graph import Input, Span
from queries.rule import rule
from queries.rules import _advice as advice
from queries.rules._advice import JOB, LONGEST_WINDOW, PEOPLE, Claim

_NAME: Final = "idle_gpu"


class IdleGpu(advice.Advice):
    """When held idleness is worth advice."""

    idle_from_ratio: Annotated[
        float, Field(gt=0, le=1, description="An hour counts when nothing ran in at least this share of it")
    ] = 0.9
    idle_from_gpu_hours: Annotated[
        float, Field(ge=1, description="GPU-hours of such hours in the window, from which it is worth telling")
    ] = 24.0


@rule
def idle_gpu(
    held: Annotated[dy.LazyFrame[JobGpuHour], Input(recent=LONGEST_WINDOW, columns=advice.HELD_COLUMNS)],
    allocations: Annotated[
        dy.LazyFrame[AllocationHour],
        Input(recent=LONGEST_WINDOW, columns=advice.PRICE_COLUMNS, where={"state": HELD_IDLE_STATES}),
    ],
    causes: Annotated[
        dy.LazyFrame[BottleneckHour],
        Input(recent=LONGEST_WINDOW, columns=("hour_start", *JOB, "idle_seconds", "idle_cause")),
    ],
    jobs: Annotated[dy.LazyFrame[Job], Input(recent=LONGEST_WINDOW, columns=(*JOB, "source", "job_name"))],
    purchases: Annotated[
        dy.LazyFrame[FocusCharge], Input(columns=advice.PURCHASE_COLUMNS, where={"ChargeCategory": ("Purchase",)})
    ],
    assets: Annotated[dy.LazyFrame[Asset], Input(columns=advice.ASSET_COLUMNS)],
    earlier: dy.LazyFrame[Finding],
    decisions: dy.LazyFrame[FindingDecision],
    span: Span,
    settings: IdleGpu,
) -> dy.LazyFrame[Finding]:
    """Find people whose jobs hold devices and leave them idle for a day or more in two weeks.

    Looks for: hours of a held device in which nothing ran in nine tenths of the time (`idle_from_ratio`), 24 GPU-hours
    of them (`idle_from_gpu_hours`) in the window, by person and kind of work.
    Saving: the effective cost of the idle part of exactly these hours. Cash is its part without a commitment and on
    rented hardware; the rest is capacity that somebody else can use. Hours that are not idle are left to other rules,
    so that no saving is claimed twice.
    May be wrong: an interactive session that must stay warm, a server that waits for requests by agreement, a device
    kept as a spare. Exempt it, or dismiss the finding with the reason.
    Do: end sessions that nobody uses, give the device back before a job waits, or let the scheduler share it.
    """
    start, end = advice.window(span, settings)
    rows = _idle_hours(held.collect(), settings)
    priced = advice.prices(allocations.collect(), purchases.collect(), assets.collect())
    claims = _claims(rows, priced, (start, end), settings)
    told = _with_words(claims, rows, causes.collect(), jobs.collect())
    decided = decisions.collect()
    applied = advice.applied_at(decided, end)
    idle = rows.filter("is_idle")
    since = advice.costs_since(_NAME, idle, priced, applied, end, by=PEOPLE, subject=_subject)
    return Finding.cast(advice.findings(_NAME, told, earlier.collect(), decided, since, span.now))


def _idle_hours(held: pl.DataFrame, settings: IdleGpu) -> pl.DataFrame:
    """Return all held hours with their idle GPU-seconds, and whether nothing ran in most of them."""
    total = pl.sum_horizontal(f"{state}_seconds" for state in STATES)
    idle = pl.sum_horizontal(f"{state}_seconds" for state in HELD_IDLE_STATES)
    return (
        held.filter((pl.col("job_id") != "") & pl.col("user").is_not_null())
        .with_columns(idle=idle, total=total)
        .with_columns(
            is_idle=pl.col("idle").cast(pl.Float64) >= settings.idle_from_ratio * pl.col("total").cast(pl.Float64)
        )
        .with_columns(
            is_idle=pl.col("is_idle") & (pl.col("total") > 0),
            idle_units=(pl.col("idle") * 1000).cast(pl.Int64) * (pl.col("gpu_fraction") * 1_000_000).cast(pl.Int64),
        )
    )


def _claims(
    known: pl.DataFrame, priced: pl.DataFrame, window: tuple[datetime, datetime], settings: IdleGpu
) -> list[Claim]:
    """Return what to tell whom, without the words that need the jobs."""
    rows = known.filter(pl.col("hour_start").is_between(*window, closed="left"))
    idle = rows.filter("is_idle")
    cost = advice.costs(idle, priced, PEOPLE)
    seen = advice.spans_window(advice.coverage(rows, PEOPLE), known, PEOPLE, window[0], settings)
    sums = idle.group_by(PEOPLE).agg(pl.col("idle_units").sum(), pl.struct(JOB).n_unique().alias("job_count"))
    held = rows.group_by(PEOPLE).agg(pl.col("total").sum())
    facts = seen.join(sums, on=PEOPLE).join(held, on=PEOPLE).sort(PEOPLE)
    return [
        claim
        for row in facts.to_dicts()
        if (claim := _claim(row, cost.get(tuple(row[name] for name in PEOPLE), {}), window)).hours
        >= settings.idle_from_gpu_hours
    ]


def _claim(row: dict[str, Any], cost: dict[str, Any], window: tuple[datetime, datetime]) -> Claim:
    """Return one claim with its numbers."""
    hours = Fraction(row["idle_units"], 3_600_000_000_000)
    kind = row["workload_kind"] or "other"
    others = cost.get("others", {})
    return Claim(
        subject=_subject(row),
        people={name: row[name] for name in PEOPLE},
        title=f"{row['user']}: {kind} jobs held GPUs for {float(hours):,.0f} GPU-hours and left them idle",
        hours=hours,
        currency=cost.get("billing_currency"),
        cash=cost.get("cash"),
        effective=cost.get("effective_cost"),
        cash_from=cost.get("cash_from"),
        start=window[0],
        end=window[1],
        coverage=row["coverage_ratio"],
        confidence=advice.confidence(
            row["coverage_ratio"], row["day_count"], is_estimated=row["is_estimated"] or bool(cost.get("is_estimated"))
        ),
        evidence={
            "idle_gpu_hours": round(float(hours), 1),
            "held_device_hours": round(float(row["total"]) / 3600, 1),
            "job_count": row["job_count"],
            "day_count": row["day_count"],
            **({"other_currencies": others} if others else {}),
        },
        directive="",
        undo="Submit with the former time limit and devices again; nothing is deleted.",
        may_be_wrong="A session that must stay warm, a server that waits by agreement, or a spare looks the same.",
    )


def _subject(row: Mapping[str, Any]) -> str:
    """Return whose work is to change."""
    return f"user:{row['user']}/{row['workload_kind'] or 'other'}"


def _with_words(claims: list[Claim], rows: pl.DataFrame, causes: pl.DataFrame, jobs: pl.DataFrame) -> Iterator[Claim]:
    """Yield the claims with what to do: the jobs that idled most, and why, decide the words."""
    idle = rows.filter("is_idle").group_by(*PEOPLE, *JOB[1:]).agg(pl.col("idle_units").sum())
    named = idle.join(jobs.unique(JOB, keep="any"), on=JOB, how="left").sort(
        "idle_units", "job_id", descending=[True, False]
    )
    reasons = (
        causes.filter(pl.col("idle_cause").is_not_null())
        .join(idle.select(*PEOPLE, *JOB[1:]), on=JOB)
        .group_by(*PEOPLE, "idle_cause")
        .agg(pl.col("idle_seconds").sum())
        .sort("idle_seconds", "idle_cause", descending=[True, False])
    )
    largest = {tuple(row[name] for name in PEOPLE): row for row in reversed(named.to_dicts())}
    cause = {tuple(row[name] for name in PEOPLE): row["idle_cause"] for row in reversed(reasons.to_dicts())}
    for claim in claims:
        who = tuple(claim.people[name] for name in PEOPLE)
        why = cause.get(who)
        job = largest[who]
        evidence = {**claim.evidence, "largest_job": job["job_id"], **({"idle_because_of": why} if why else {})}
        yield replace(claim, evidence=evidence, directive=_directive(claim.people, job, why))


def _directive(people: Mapping[str, str], job: Mapping[str, Any], why: str | None) -> str:
    """Return lines to paste, by scheduler and kind of work; a starved job needs a faster input first."""
    name = job["job_name"] or job["job_id"]
    kind = people["workload_kind"]
    lines: list[str] = []
    if why:
        lines = [f"# these jobs wait for {_CAUSES.get(why, why)}: stage the input before the job asks for a GPU"]
    if job["source"] == "kubernetes":
        if kind == "inference":
            return "\n".join(
                [*lines, f"kubectl scale deployment/{name} --replicas=1  # scale out on demand, not ahead"]
            )
        return "\n".join([*lines, f"kubectl delete pod {job['job_id']}  # when nobody uses it any more"])
    if kind in {"notebook", "inference"}:
        return "\n".join(
            [*lines, f"scancel {job['job_id']}  # {name}", "#SBATCH --time=04:00:00", "#SBATCH --gres=shard:1"]
        )
    return "\n".join(
        [
            *lines,
            "# prepare without a GPU, then ask for one",
            "prepare=$(sbatch --parsable --gpus=0 prepare.sh)",
            f"sbatch --dependency=afterok:$prepare --job-name={name} train.sh",
        ]
    )


_CAUSES: Final = {"input_storage": "storage", "input_cpu": "processors", "host_memory": "host memory"}
