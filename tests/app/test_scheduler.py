"""Jobs: what is due, once, also after the hub was down."""

import secrets
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from app import jobs
from app.context import Context
from app.jobs import Job
from app.scheduler import Scheduler, close_interrupted, due, run
from ledger.config import load
from ledger.errors import StoreError
from ledger.frames import to_frame
from ledger.tables import Batch, JobRun

MONDAY = datetime(2026, 11, 16, 7, tzinfo=UTC)


class Clock:
    """A clock that a test moves."""

    def __init__(self, at: datetime) -> None:
        self.at = at

    def __call__(self) -> datetime:
        return self.at


@pytest.fixture
def clock() -> Clock:
    return Clock(MONDAY - timedelta(days=2))


@pytest.fixture
def here(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Context:
    monkeypatch.delenv("CLUSTERLEDGER_STORE", raising=False)
    return Context(load(store={"url": "duckdb::memory:"}), now=clock)


def report(ran: list[datetime], *, fails: int = 0) -> Job:
    """Return a weekly job that notes when it ran, after some failures."""

    def act(here: Context, due_at: datetime) -> str:
        del here
        ran.append(due_at)
        if len(ran) <= fails:
            raise StoreError("mail server: connection refused")
        return "sent"

    return Job("weekly_report", jobs.every_week, act, starts_at_once=False, is_finished_when_stopped=False)


def turn(here: Context, job: Job) -> None:
    """Do for one job what a tick does."""
    at = due(here, job)
    if at is not None:
        run(here, job, at)


def test_on_a_new_store_no_report_of_the_past_goes_out(here: Context) -> None:
    ran: list[datetime] = []
    turn(here, report(ran))
    turn(here, report(ran))
    assert ran == []
    assert here.store.read(JobRun)["status"].to_list() == ["skipped"]


def test_a_new_store_is_cleaned_up_at_night_and_not_while_agents_wait(here: Context, clock: Clock) -> None:
    expire = next(job for job in jobs.JOBS if job.name == "expire")
    assert due(here, expire) is None
    clock.at = datetime(2026, 11, 15, 2, 59, tzinfo=UTC)
    assert due(here, expire) is None
    clock.at = datetime(2026, 11, 15, 3, 1, tzinfo=UTC)
    assert due(here, expire) == datetime(2026, 11, 15, 3, tzinfo=UTC)


def test_a_report_goes_out_once_when_it_is_due(here: Context, clock: Clock) -> None:
    ran: list[datetime] = []
    job = report(ran)
    turn(here, job)
    for minutes in (-1, 0, 1, 60, 24 * 60):
        clock.at = MONDAY + timedelta(minutes=minutes)
        turn(here, job)
    assert ran == [MONDAY]


def test_a_report_missed_while_the_hub_was_down_goes_out_once(here: Context, clock: Clock) -> None:
    ran: list[datetime] = []
    job = report(ran)
    turn(here, job)
    clock.at = MONDAY + timedelta(days=16)
    turn(here, job)
    turn(here, job)
    assert ran == [MONDAY + timedelta(days=14)]


def test_a_failed_job_is_tried_three_times_with_a_pause(here: Context, clock: Clock) -> None:
    ran: list[datetime] = []
    job = report(ran, fails=9)
    turn(here, job)
    clock.at = MONDAY
    for _ in range(60):
        turn(here, job)
        clock.at += timedelta(minutes=1)
    assert ran == [MONDAY] * 3
    runs = here.store.read(JobRun)
    assert sorted(runs.filter(runs["due_at"] == MONDAY)["attempt_count"]) == [1, 2, 3]
    assert set(runs.filter(runs["due_at"] == MONDAY)["status"]) == {"failed"}


def test_a_run_that_a_killed_hub_left_open_is_tried_again(here: Context, clock: Clock) -> None:
    ran: list[datetime] = []
    turn(here, report(ran))
    clock.at = MONDAY

    def killed(here: Context, due_at: datetime) -> str:
        raise KeyboardInterrupt

    dying = Job("weekly_report", jobs.every_week, killed, starts_at_once=False)
    with pytest.raises(KeyboardInterrupt):
        turn(here, dying)
    runs = here.store.read(JobRun, where={"status": ["failed"]})
    open_again = runs.with_columns(status=runs["status"].str.replace("failed", "running"), ended_at=None)
    here.store.append(JobRun, open_again.cast(dict(runs.schema)), source="test")
    close_interrupted(here)
    turn(here, report(ran))
    assert ran == [MONDAY]


class Full(Context):
    """A hub whose disk can be full."""

    is_full = False

    @property
    def store(self) -> Any:
        """Return the store, which takes nothing while the disk is full."""
        return Refusing(super().store) if self.is_full else super().store


class Refusing:
    """A store on a full disk: it can be read."""

    def __init__(self, store: Any) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def append(self, *_: Any, **__: Any) -> None:
        """Refuse rows in words that differ each time."""
        text = f"wrote {secrets.token_hex(4)}"
        raise StoreError(f"store s: found no space to write to ({text}), expected room", hint="free space on the disk")


@pytest.fixture
def full(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Iterator[Full]:
    monkeypatch.delenv("CLUSTERLEDGER_STORE", raising=False)
    made = Full(load(store={"url": "duckdb::memory:"}), now=clock)
    yield made
    made.close()


def test_a_full_disk_is_said_once_and_again_after_some_minutes(full: Full, clock: Clock) -> None:
    ran: list[datetime] = []
    scheduler = Scheduler(full, (report(ran),))
    scheduler.tick()
    clock.at, full.is_full = MONDAY, True
    with capture_logs() as said:
        for _ in range(60):
            scheduler.tick()
            clock.at += timedelta(seconds=15)
    assert [each["log_level"] for each in said] == ["error", "error"]
    assert {each["hint"] for each in said} == {"free space on the disk"}
    assert ran == [], "what cannot be recorded is not begun"
    full.is_full = False
    with capture_logs() as said:
        scheduler.tick()
        scheduler.tick()
    assert [(each["event"], each["after_seconds"]) for each in said] == [
        ("jobs run again: the store takes rows", 60 * 15.0)
    ]
    assert ran == [MONDAY]


def test_a_report_that_went_out_before_the_disk_was_full_goes_out_once(full: Full, clock: Clock) -> None:
    ran: list[datetime] = []

    def act(here: Context, due_at: datetime) -> str:
        ran.append(due_at)
        full.is_full = True
        return "sent"

    scheduler = Scheduler(full, (Job("weekly_report", jobs.every_week, act, starts_at_once=False),))
    scheduler.tick()
    clock.at = MONDAY
    with capture_logs() as said:
        for _ in range(3):
            scheduler.tick()
    assert len(said) == 1
    full.is_full = False
    for _ in range(3):
        clock.at += timedelta(minutes=20)
        scheduler.tick()
    assert ran == [MONDAY]
    row = full.store.read(JobRun, where={"status": ["done"]}).row(0, named=True)
    assert (row["due_at"], row["message"], row["ended_at"]) == (MONDAY, "sent", MONDAY)


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        ("2026-11-16T05:59:00Z", "2026-11-09T06:00:00Z"),
        ("2026-11-16T06:00:00Z", "2026-11-16T06:00:00Z"),
        ("2026-11-22T23:00:00Z", "2026-11-16T06:00:00Z"),
        ("2026-10-26T06:30:00Z", "2026-10-26T06:00:00Z"),
        ("2026-10-19T05:30:00Z", "2026-10-19T05:00:00Z"),
    ],
)
def test_the_week_is_the_reports_own(now: str, expected: str) -> None:
    settings = load(report={"weekday": 1, "hour": 7, "time_zone": "Europe/Berlin"})
    assert jobs.every_week(settings, datetime.fromisoformat(now)) == datetime.fromisoformat(expected)


def test_the_rollup_is_due_each_minute_and_the_expiry_each_night() -> None:
    settings = load()
    now = datetime(2026, 11, 20, 2, 30, 45, tzinfo=UTC)
    assert jobs.every_rollup(settings, now) == datetime(2026, 11, 20, 2, 30, tzinfo=UTC)
    assert jobs.every_night(settings, now) == datetime(2026, 11, 19, 3, tzinfo=UTC)


def test_the_jobs_of_the_hub_run_on_an_empty_store(here: Context) -> None:
    for job in jobs.JOBS:
        assert run(here, job, job.due_at(here.settings, here.now())) == "done"


def test_old_runs_are_forgotten_and_the_newest_of_each_job_stays(here: Context, clock: Clock) -> None:
    named = {job.name: job for job in jobs.JOBS}
    rollup, expire, weekly = named["rollup"], named["expire"], named["weekly_report"]
    run(here, weekly, MONDAY - timedelta(days=7))
    for _ in range(3):
        clock.at += timedelta(days=1)
        run(here, rollup, jobs.every_rollup(here.settings, clock.at))
    clock.at += timedelta(days=3)
    run(here, expire, jobs.every_night(here.settings, clock.at))
    kept = here.store.read(JobRun).sort("job_name", "due_at")
    assert kept["job_name"].to_list() == ["expire", "rollup", "weekly_report"]


def test_a_hub_that_stops_leaves_old_rows_to_the_next_night(here: Context, clock: Clock) -> None:
    expire = next(job for job in jobs.JOBS if job.name == "expire")
    old = {"received_at": clock.at - timedelta(days=100), "batch_id": "b", "node": "n", "cluster": "c"}
    here.store.append(Batch, to_frame(Batch, [old | {"row_count": 1, "rejected_count": 0}]), source="t")
    here.stop.set()
    run(here, expire, jobs.every_night(here.settings, clock.at))
    assert here.store.read(Batch).height == 1
    here.stop.clear()
    clock.at += timedelta(days=1)
    run(here, expire, jobs.every_night(here.settings, clock.at))
    assert here.store.read(Batch).is_empty()


def test_a_job_rests_longer_than_it_worked(here: Context, clock: Clock) -> None:
    ran: list[datetime] = []

    def act(here: Context, due_at: datetime) -> str:
        del here
        ran.append(due_at)
        clock.at += timedelta(seconds=40)
        return "computed"

    job = Job("rollup", jobs.every_rollup, act, rest=4)
    begin = clock.at
    for second in range(0, 420, 20):
        clock.at = max(clock.at, begin + timedelta(seconds=second))
        turn(here, job)
    assert ran == [begin, begin + timedelta(seconds=180), begin + timedelta(seconds=360)]
