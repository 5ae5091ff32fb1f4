"""What the hub does by itself: compute, expire, report."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

import polars as pl

from app.context import Context
from app.money_tell import tell_of_money, wants_money
from app.notify import notify as tell
from app.services import _demo_feed, _owned, _prepaid, named
from app.services._service import silent
from app.services.rollup import compute
from ledger.config import Settings
from ledger.tables import JobRun
from ledger.tables.partition import WHOLE
from ledger.words import amount
from queries import retention

_KEPT_RUNS: Final = timedelta(days=2)
"""Runs of a job that runs each minute are many; of the others the newest is enough to know what is due."""

_EXPIRE_HOUR: Final = 3

_ROLLUP_REST: Final = 4
"""A rollup takes a fifth of the time at most: of many devices an open hour is computed again less often."""


@dataclass(frozen=True)
class Job:
    """A job: when it was last due, and what it does; `run` returns what it did, in words.

    `starts_at_once` says that it is due on a new store; `is_finished_when_stopped` that stopping it half way
    loses nothing, because the rest is due the next time. It rests `rest` times as long as it worked: what takes long
    comes less often, and leaves the processors to agents and readers.
    """

    name: str
    due_at: Callable[[Settings, datetime], datetime]
    run: Callable[[Context, datetime], str]
    starts_at_once: bool = True
    is_finished_when_stopped: bool = True
    rest: int = 0


def every_rollup(settings: Settings, now: datetime) -> datetime:
    """Return the newest multiple of the pace."""
    pace = settings.hub.rollup_every_seconds
    return datetime.fromtimestamp(int(now.timestamp()) // pace * pace, tz=UTC)


def every_notice(settings: Settings, now: datetime) -> datetime:
    """Return when somebody is to be told next: with each rollup; an instant long ago where there is nobody."""
    is_wanted = settings.notify or (settings.mail.host and settings.report.recipients)
    return every_rollup(settings, now) if is_wanted else datetime.fromtimestamp(0, tz=UTC)


def every_night(settings: Settings, now: datetime) -> datetime:
    """Return the newest 03:00 UTC."""
    del settings
    today = now.astimezone(UTC).replace(hour=_EXPIRE_HOUR, minute=0, second=0, microsecond=0)
    return today if today <= now else today - timedelta(days=1)


def every_week(settings: Settings, now: datetime) -> datetime:
    """Return the newest instant at which the weekly report should go out, in the report's time zone."""
    wanted = settings.report
    local = now.astimezone(ZoneInfo(wanted.time_zone))
    day = local.date() - timedelta(days=(local.isoweekday() - wanted.weekday) % 7)
    at = datetime(day.year, day.month, day.day, wanted.hour, tzinfo=local.tzinfo)
    if at > local:
        day -= timedelta(days=7)
        at = datetime(day.year, day.month, day.day, wanted.hour, tzinfo=local.tzinfo)
    return at.astimezone(UTC)


def rollup(context: Context, due_at: datetime) -> str:
    """Compute what is due."""
    del due_at
    ran = compute(context, silent)
    return ", ".join(
        (amount(sum(each.partitions for each in ran), "partition"), amount(sum(each.rows for each in ran), "row"))
    )


def expire(context: Context, due_at: datetime) -> str:
    """Seal what was computed from expiring rows, drop those, and forget old runs of jobs."""
    del due_at
    compute(context, silent)
    with context.work:
        gone = retention.expire(context.store, context.settings, now=context.now(), stop=context.is_over)
        _forget_runs(context)
        context.store.join_groups()
    context.changed()
    return f"{amount(sum(gone.values()), 'row')} dropped"


def _forget_runs(context: Context) -> None:
    runs = context.store.read(JobRun)
    newest = pl.col("due_at") == pl.col("due_at").max().over("job_name")
    kept = runs.filter(newest | (pl.col("started_at") >= context.now() - _KEPT_RUNS))
    if kept.height < runs.height:
        context.store.replace(JobRun, kept, partitions=[WHOLE])


def notify(context: Context, due_at: datetime) -> str:
    """Tell receivers of idle incidents that opened and ended, and with readers of mail of budgets and unusual days."""
    del due_at
    said = [tell(context)] if context.settings.notify else []
    if wants_money(context):
        said.append(tell_of_money(context))
    else:
        said.append("" if said else "no receiver is configured")
    return " ".join(filter(None, said))


def owned_hardware(context: Context, due_at: datetime) -> str:
    """Charge owned hardware up to the day, and what was paid in advance."""
    del due_at
    return amount(_owned.charge(context) + _prepaid.amortise(context), "charge")


def demo_feed(context: Context, due_at: datetime) -> str:
    """Let the agents of a demo go on sending."""
    del due_at
    return amount(_demo_feed.feed(context), "row")


def weekly_report(context: Context, due_at: datetime) -> str:
    """Send the report of the week that was over when it was due."""
    if not context.settings.report.recipients:
        return "no recipient is configured"
    if not context.settings.mail.host:
        return "dry run: mail.host is not set"
    local = due_at.astimezone(ZoneInfo(context.settings.report.time_zone)) - timedelta(days=7)
    year, week, _ = local.isocalendar()
    report = named("report")
    report.run(context, report.asked({"week": f"{year}-W{week:02}", "send": True}))
    return f"week {year}-W{week:02}"


JOBS: Final = (
    Job("owned_hardware", every_night, owned_hardware),
    Job("demo_feed", every_rollup, demo_feed),
    Job("rollup", every_rollup, rollup, rest=_ROLLUP_REST),
    Job("notify", every_notice, notify),
    Job("expire", every_night, expire, starts_at_once=False),
    Job("weekly_report", every_week, weekly_report, starts_at_once=False, is_finished_when_stopped=False),
)
