"""Jobs of the hub: the table `job_run` says what was done, and so what is due.

APScheduler only wakes us; it forgets what it missed. A job that was due while the hub was down runs once
when it is back, for its newest due instant, and never twice for the same one.
"""

import logging
import threading
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import polars as pl
from apscheduler.schedulers.background import BackgroundScheduler

from app import context as contexts
from app import data
from app.context import Context, acting
from app.garbage import Garbage
from app.jobs import JOBS, Job
from ledger.errors import ClusterLedgerError, StoreError
from ledger.frames import to_frame
from ledger.log import log
from ledger.tables import TABLES, JobRun

_WAKE_SECONDS: Final = 5
_MOST_ATTEMPTS: Final = 3
_RETRY_AFTER: Final = timedelta(minutes=10)
_SAID_AGAIN_AFTER: Final = timedelta(minutes=10)
"""What keeps all jobs from running is said once, and again after so long: a full disk may stay full for a night."""


@dataclass(frozen=True)
class Last:
    """The newest run of a job."""

    due_at: datetime
    attempt_count: int
    status: str
    started_at: datetime
    ended_at: datetime | None


class Scheduler:
    """Runs what is due, one job at a time, in a thread of its own."""

    def __init__(self, context: Context, jobs: tuple[Job, ...] = JOBS) -> None:
        self._context = context
        self._jobs = jobs
        self._clock = BackgroundScheduler(timezone="UTC")
        self._turn = threading.Lock()
        self._asked: object = None
        self._ends: list[pl.DataFrame] = []
        self._trouble = Trouble()
        self._garbage = Garbage()

    def start(self) -> None:
        """Close runs that a killed hub left open, and begin."""
        close_interrupted(self._context)
        # A tick that lasts longer than the pace is no event: the next one finds what is due.
        logging.getLogger("apscheduler").setLevel(logging.ERROR)
        self._clock.add_job(
            self.tick, "interval", seconds=_WAKE_SECONDS, coalesce=True, max_instances=1, misfire_grace_time=None
        )
        self._clock.start()

    def stop(self) -> None:
        """Ask the running job to end at its next partition, and wake no more."""
        self._context.stop.set()
        self._clock.shutdown(wait=True)

    def tick(self) -> None:
        """Run each job that is due, in their order; where the store takes no rows none is, until it does."""
        before = acting.set("scheduler")
        try:
            with self._turn:
                self._run_due()
                self._trouble.over(self._context.now())
        except StoreError as error:
            self._trouble.told(error, self._context.now())
        finally:
            acting.reset(before)

    def _run_due(self) -> None:
        _keep(self._context, self._ends)
        for job in self._jobs:
            if self._context.is_over():
                return
            due_at = due(self._context, job)
            if due_at is not None:
                run(self._context, job, due_at, self._ends)
        self._ask_again()
        self._garbage.collect()

    def _ask_again(self) -> None:
        """Read what pages show anew after a change, and what tells of the present once a minute."""
        context = self._context
        context.say_growth()
        state = (context.version(TABLES), context.now().replace(second=0, microsecond=0))
        if contexts.current() is context and state != self._asked:
            self._asked = state
            data.again(context.is_over)


def due(context: Context, job: Job) -> datetime | None:
    """Return the instant for which a job is due, or None; a failed one is tried again, three times in all."""
    now = context.now()
    newest = job.due_at(context.settings, now)
    last = _last(context, job)
    if last is None:
        if job.starts_at_once:
            return newest
        # On a new store nothing was missed.
        _record(context, job, newest, 1, "skipped", started_at=now, ended_at=now, message="the store is new")
        return None
    if newest > last.due_at:
        rested = last.ended_at is None or now >= last.ended_at + job.rest * (last.ended_at - last.started_at)
        return newest if rested else None
    is_over = last.status == "failed" and last.attempt_count < _MOST_ATTEMPTS and last.ended_at is not None
    return last.due_at if is_over and last.ended_at is not None and now >= last.ended_at + _RETRY_AFTER else None


class Trouble:
    """What keeps jobs from running, as it was last said."""

    def __init__(self) -> None:
        self._said = ""
        self._since: datetime | None = None
        self._said_at: datetime | None = None

    def told(self, error: StoreError, now: datetime) -> None:
        """Say it, unless the same was said a moment ago; what the database adds in brackets changes by itself."""
        what = error.message.partition(" (")[0]
        self._since = self._since or now
        if what == self._said and self._said_at is not None and now - self._said_at < _SAID_AGAIN_AFTER:
            return
        self._said, self._said_at = what, now
        log.error("no job runs: the store takes no rows", message=error.message, hint=error.hint, since=self._since)

    def over(self, now: datetime) -> None:
        """Say that it is over, if anything was."""
        if self._since is not None:
            log.info("jobs run again: the store takes rows", after_seconds=(now - self._since).total_seconds())
        self._said, self._since, self._said_at = "", None, None


def run(context: Context, job: Job, due_at: datetime, ends: list[pl.DataFrame] | None = None) -> str:
    """Run a job for its due instant, keep how it went, and return the status.

    The row is written before the job begins: a hub that is killed meanwhile leaves it as the trace. An end that the
    store does not take is put into `ends`: a report that was sent goes out no second time when there is room again.
    Raises: StoreError: the store does not take the row.
    """
    kept = [] if ends is None else ends
    last = _last(context, job)
    attempt = last.attempt_count + 1 if last is not None and last.due_at == due_at else 1
    started_at = context.now()
    _record(context, job, due_at, attempt, "running", started_at=started_at)
    status, message = "failed", "it ended with an error of this program; see the log"
    try:
        status, message = "done", job.run(context, due_at)
        if context.stop.is_set() and not job.is_finished_when_stopped:
            status, message = "failed", "stopped with the hub"
    except ClusterLedgerError as error:
        message = str(error)
        log.warning("job failed", job_name=job.name, message=error.message)
    finally:
        ended_at = context.now()
        kept.append(_row(job, due_at, attempt, status, started_at=started_at, ended_at=ended_at, message=message))
        _keep(context, kept)
    return status


def close_interrupted(context: Context) -> None:
    """Mark runs without an end as failed: no job of an earlier hub still runs."""
    runs = context.store.read(JobRun)
    open_ends = runs.filter(pl.col("status") == "running")
    if open_ends.is_empty():
        return
    # Tried again at once: the wait is for mail servers and full disks, not for a hub that was killed.
    ended = context.now() - _RETRY_AFTER
    closed = open_ends.with_columns(
        status=pl.lit("failed"),
        message=pl.lit("interrupted: the hub ended"),
        ended_at=pl.lit(ended, dtype=runs.schema["ended_at"]),
    )
    context.store.append(JobRun, closed, source="scheduler")
    context.changed({"job_run"})


def _last(context: Context, job: Job) -> Last | None:
    runs = context.store.read(JobRun, where={"job_name": [job.name]})
    if runs.is_empty():
        return None
    row = runs.sort("due_at", "attempt_count").row(-1, named=True)
    return Last(row["due_at"], row["attempt_count"], row["status"], row["started_at"], row["ended_at"])


def _record(context: Context, job: Job, due_at: datetime, attempt: int, status: str, **more: datetime | str) -> None:
    _keep(context, [_row(job, due_at, attempt, status, **more)])


def _row(job: Job, due_at: datetime, attempt: int, status: str, **more: datetime | str) -> pl.DataFrame:
    """Return a run as it stands."""
    row = {"job_name": job.name, "due_at": due_at, "attempt_count": attempt, "status": status}
    return to_frame(JobRun, [{**row, "ended_at": None, "message": "", **more}])


def _keep(context: Context, rows: list[pl.DataFrame]) -> None:
    """Write rows into the store, and take those out of the list that are there."""
    while rows:
        context.store.append(JobRun, rows[0], source="scheduler")
        del rows[0]
        context.changed({"job_run"})
