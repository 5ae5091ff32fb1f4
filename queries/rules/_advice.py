"""What right-sizing rules share: the window of evidence, the price of device time, and what becomes of a finding."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Annotated, Any, Final

import polars as pl
from pydantic import BaseModel, ConfigDict, Field

from ledger import money
from ledger.frames import to_frame
from ledger.names import STATES
from ledger.tables import Finding
from queries.graph import Span, fingerprint

LONGEST_WINDOW: Final = timedelta(days=28)
"""How far back a rule reads; the window of evidence lies inside."""

MONTH_HOURS: Final = Fraction(36525, 100) * 24 / 12
"""An average month."""

PEOPLE: Final = ("cluster", "team", "user", "workload_kind")
"""Who can act on advice about jobs: a person, in one kind of work."""

JOB: Final = ("cluster", "job_id", "submitted_at", "restart_count")
"""One run of a job: ids recur, submit times tell them apart."""

HELD: Final = ("hour_start", "node", "gpu_uuid", *JOB)
"""One hour of one device held by one run of a job, in `job_gpu_hour` and `allocation_hour` alike."""

HELD_COLUMNS: Final = (
    *HELD,
    *("user", "team", "workload_kind", "model", "gpu_fraction", "is_estimated", "held_seconds", "coverage_ratio"),
    *(f"{state}_seconds" for state in STATES),
)

PRICE_COLUMNS: Final = (
    *HELD,
    *("state", "provider", "billing_account_id", "commitment_status", "billing_currency", "is_estimated"),
    *("billed_cost", "effective_cost"),
)

PURCHASE_COLUMNS: Final = ("ServiceProviderName", "BillingAccountId", "CommitmentDiscountId", "ChargePeriodEnd")

ASSET_COLUMNS: Final = ("asset_id", "cluster", "node", "life_end")


class Advice(BaseModel):
    """How much evidence advice needs."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    window_days: Annotated[int, Field(ge=14, le=28, description="Days of evidence behind an advice")] = 14
    coverage_from_ratio: Annotated[
        float, Field(ge=0.9, le=1, description="Share of the held time that samples must cover")
    ] = 0.9


@dataclass(frozen=True)
class Claim:
    """One finding as a rule sees it now, before anybody decided about it.

    `hours` are GPU-hours of the window that would be freed; `evidence` is what a person is shown.
    """

    subject: str
    people: Mapping[str, str]
    title: str
    hours: Fraction
    currency: str | None
    cash: Decimal | None
    effective: Decimal | None
    cash_from: datetime | None
    start: datetime
    end: datetime
    coverage: float
    confidence: str
    evidence: Mapping[str, object]
    directive: str
    undo: str
    may_be_wrong: str


@dataclass(frozen=True)
class Since:
    """What the subject of an applied finding has cost since it was applied."""

    cost: Decimal
    currency: str | None
    start: datetime
    end: datetime


def window(span: Span, settings: Advice) -> tuple[datetime, datetime]:
    """Return the stretch of evidence: whole hours up to now."""
    return span.end - timedelta(days=settings.window_days), span.end


def finding_id(rule: str, cluster: str, team: str, subject: str) -> str:
    """Return the id that a finding keeps from run to run: a hash of the rule and what to change."""
    return fingerprint(f"{rule}\n{cluster}\n{team}\n{subject}")


def a_month(amount: Fraction, start: datetime, end: datetime) -> Fraction:
    """Return what a stretch of time would be in an average month."""
    return amount * MONTH_HOURS / (Fraction((end - start) // timedelta(seconds=1)) / 3600)


def money_a_month(amount: Decimal | None, start: datetime, end: datetime) -> Decimal | None:
    """Return what an amount of a stretch of time would be in an average month; null stays null."""
    return None if amount is None else money.priced(amount, a_month(Fraction(1), start, end))


def prices(allocations: pl.DataFrame, purchases: pl.DataFrame, assets: pl.DataFrame) -> pl.DataFrame:
    """Return device time with its cost: effective, the part that is cash, and since when the rest is.

    Under a running commitment and on owned hardware nothing is saved in cash before the commitment ends or the
    hardware is written off. That date is null where no purchase or asset says it.
    """
    ends = (
        purchases.filter(pl.col("CommitmentDiscountId").is_not_null())
        .group_by(
            pl.col("ServiceProviderName").alias("provider"), pl.col("BillingAccountId").alias("billing_account_id")
        )
        .agg(pl.col("ChargePeriodEnd").max().alias("commitment_end"))
    )
    owned = assets.group_by("cluster", "node").agg(
        pl.col("life_end").max().cast(pl.Datetime("us")).dt.replace_time_zone("UTC").alias("life_end")
    )
    is_cash = (pl.col("commitment_status") == "") & pl.col("life_end").is_null()
    return (
        allocations.select(PRICE_COLUMNS)
        .join(ends, on=["provider", "billing_account_id"], how="left")
        .join(owned, on=["cluster", "node"], how="left")
        .with_columns(
            cash=pl.when(is_cash).then("billed_cost").otherwise(pl.lit(0).cast(money.MONEY)),
            cash_from=pl.when(~is_cash).then(pl.coalesce("life_end", "commitment_end")),
        )
    )


def costs(held: pl.DataFrame, priced: pl.DataFrame, by: Sequence[str]) -> dict[tuple[object, ...], dict[str, Any]]:
    """Return the cost of device time by subject: of several currencies the largest, the others beside it."""
    rows = priced.join(held.select(*HELD, *(name for name in by if name not in HELD)), on=HELD, how="inner")
    keys = [*by, "billing_currency"]
    sums = money.summed(rows, by=keys, columns=["cash", "effective_cost"])
    facts = rows.group_by(keys).agg(pl.col("cash_from").max(), pl.col("is_estimated").any())
    found: dict[tuple[object, ...], dict[str, Any]] = {}
    joined = sums.join(facts, on=keys, how="left", nulls_equal=True)
    for row in joined.sort("effective_cost", "billing_currency", descending=[True, False], nulls_last=True).to_dicts():
        first = found.setdefault(tuple(row[name] for name in by), {**row, "others": {}})
        if first["billing_currency"] != row["billing_currency"] and row["effective_cost"] is not None:
            first["others"][row["billing_currency"]] = money.written(row["effective_cost"])
    return found


def coverage(held: pl.DataFrame, by: Sequence[str]) -> pl.DataFrame:
    """Return per subject how much of its held time samples cover, and on how many days it held."""
    weight = pl.col("held_seconds").cast(pl.Float64)
    return held.group_by(by).agg(
        ((pl.col("coverage_ratio") * weight).sum() / weight.sum()).alias("coverage_ratio"),
        pl.col("hour_start").dt.date().n_unique().alias("day_count"),
        pl.col("is_estimated").any(),
    )


def spans_window(
    frame: pl.DataFrame, rows: pl.DataFrame, by: Sequence[str], start: datetime, settings: Advice
) -> pl.DataFrame:
    """Keep subjects with enough evidence: they held devices as long ago as the window reaches, and were seen.

    A subject that came a week ago may behave otherwise next week: no advice.
    """
    first = rows.group_by(by).agg(pl.col("hour_start").min().alias("first_seen"))
    return frame.join(first, on=by).filter(
        (pl.col("first_seen") < start + timedelta(days=1)) & (pl.col("coverage_ratio") >= settings.coverage_from_ratio)
    )


def confidence(coverage_ratio: float, day_count: int, *, is_estimated: bool) -> str:
    """Return how far advice can be trusted: by coverage, by days, and whether shares or prices are estimates."""
    if is_estimated:
        return "low"
    return "high" if coverage_ratio >= 0.97 and day_count >= 7 else "medium"  # noqa: PLR2004  stated in the sentence above


def findings(
    rule: str,
    claims: Iterable[Claim],
    earlier: pl.DataFrame,
    decisions: pl.DataFrame,
    since: Mapping[str, Since],
    now: datetime,
) -> pl.LazyFrame:
    """Return a rule's rows: what it finds now, what it found before, and what people decided.

    What is not found any more stays as `expired`. An applied finding keeps its numbers of that time: they are the
    counterfactual, and `saving_realised_month` is that rate less the rate `since` then, which may be negative.
    """
    decided = {row["finding_id"]: row for row in decisions.to_dicts()}
    known = {row["finding_id"]: row for row in earlier.to_dicts()}
    rows = {row["finding_id"]: row for row in (_row(rule, each, now) for each in claims)}
    for key, row in known.items():
        is_kept = decided.get(key, {}).get("status") == "applied"
        if key not in rows or is_kept:
            rows[key] = {**row, "status": "expired" if key not in rows else "open"}
        rows[key]["first_seen_at"] = row["first_seen_at"]
    for key, row in rows.items():
        if key in decided:
            _decide(row, decided[key], since.get(key), now)
    return to_frame(Finding, [rows[key] for key in sorted(rows)]).lazy()


def _row(rule: str, claim: Claim, now: datetime) -> dict[str, Any]:
    """Return a claim as a row of the table."""
    cluster, team = claim.people["cluster"], claim.people["team"]
    hours = a_month(claim.hours, claim.start, claim.end)
    return {
        "finding_id": finding_id(rule, cluster, team, claim.subject),
        "rule": rule,
        "subject": claim.subject,
        "title": claim.title,
        "cluster": cluster,
        "team": team,
        "owner": claim.people["user"],
        "status": "open",
        "first_seen_at": now,
        "evidence_start": claim.start,
        "evidence_end": claim.end,
        "coverage_ratio": claim.coverage,
        "confidence": claim.confidence,
        "evidence": json.dumps(claim.evidence, sort_keys=True),
        "directive": claim.directive,
        "undo": claim.undo,
        "may_be_wrong": claim.may_be_wrong,
        "evidence_url": f"/jobs?cluster={cluster}&team={team}",
        "excludes": "",
        "saving_cash_month": money_a_month(claim.cash, claim.start, claim.end),
        "saving_effective_month": money_a_month(claim.effective, claim.start, claim.end),
        "freed_gpu_hours_month": money.priced(Decimal(1), hours),
        "cash_from": claim.cash_from,
        "billing_currency": claim.currency,
    }


def _decide(row: dict[str, Any], decision: Mapping[str, Any], since: Since | None, now: datetime) -> None:
    """Put a person's decision into a row; a snooze that is over counts no more."""
    if decision["status"] == "snoozed" and decision["snoozed_until"] is not None and decision["snoozed_until"] <= now:
        return
    row["decided_by"], row["reason"] = decision["decided_by"], decision["reason"]
    if decision["status"] == "open":
        return
    row["status"] = decision["status"]
    row["snoozed_until"] = decision["snoozed_until"]
    if decision["status"] != "applied":
        return
    row["applied_at"] = decision["decided_at"]
    is_comparable = since is not None and since.currency in {None, row["billing_currency"]}
    if since is not None and is_comparable and row["saving_effective_month"] is not None:
        rate = money_a_month(since.cost, since.start, since.end) or Decimal(0)
        row["saving_realised_month"] = money.difference(row["saving_effective_month"], rate)


def applied_at(decisions: pl.DataFrame, end: datetime) -> dict[str, datetime]:
    """Return since which full hour each finding is applied, if that is a day or more and the rows reach back so far."""
    rows = decisions.filter(pl.col("status") == "applied").with_columns(
        start=pl.col("decided_at").dt.offset_by("59m59s999999us").dt.truncate("1h")
    )
    recent = rows.filter(pl.col("start").is_between(end - LONGEST_WINDOW, end - timedelta(days=1)))
    return dict(recent.select("finding_id", "start").iter_rows())


def costs_since(
    rule: str,
    rows: pl.DataFrame,
    priced: pl.DataFrame,
    applied: Mapping[str, datetime],
    end: datetime,
    *,
    by: Sequence[str],
    subject: Callable[[Mapping[str, Any]], str],
) -> dict[str, Since]:
    """Return what hours like those of each applied finding have cost since it was applied."""
    found: dict[str, Since] = {}
    for group in rows.select(by).unique().to_dicts() if applied else []:
        key = finding_id(rule, group["cluster"], group["team"], subject(group))
        if key not in applied:
            continue
        mine = rows.filter(
            pl.col("hour_start") >= applied[key], *(pl.col(name).eq_missing(value) for name, value in group.items())
        )
        cost = costs(mine, priced, by).get(tuple(group.values()), {})
        found[key] = Since(cost.get("effective_cost") or Decimal(0), cost.get("billing_currency"), applied[key], end)
    # Who holds nothing any more costs nothing any more.
    return {key: found.get(key, Since(Decimal(0), None, start, end)) for key, start in applied.items()}
