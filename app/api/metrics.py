"""What the hub says of itself and of the present to Prometheus: to who has the token, or asks on this machine."""

import ipaddress
from collections.abc import Iterator
from datetime import datetime
from http import HTTPStatus
from typing import Any, Final

import polars as pl
from anyio import to_thread
from starlette.requests import Request
from starlette.responses import Response

from app.api._answers import refusal
from app.api._tally import Tally
from app.api._tokens import bearer, is_admin, is_one_of
from app.api.health import release
from app.context import Context
from app.services._incidents import incidents_now
from ledger.exposition import CONTENT_TYPE, Family, exposition, process_families
from ledger.tables import BillImport, IncidentNotice, JobRun
from queries import sql

_PREFIX: Final = "clusterledger_"
_STATUS: Final = ("running", "done", "failed", "skipped")
_FORWARDED: Final = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip")


async def metrics(context: Context, token: str, tally: Tally, request: Request) -> Response:
    """Answer with the metrics of this moment."""
    if not _may(context, token, request):
        hint = "set hub.metrics_token, and send it as Authorization: Bearer; on this machine none is needed"
        return refusal(HTTPStatus.UNAUTHORIZED, "token: found none that may read metrics", hint=hint)
    text = await to_thread.run_sync(lambda: exposition((*families(context), *tally.families())))
    return Response(text, headers={"content-type": CONTENT_TYPE})


def _may(context: Context, token: str, request: Request) -> bool:
    """Tell whether a caller may read them; what a proxy on this machine passes on does not come from here."""
    given, wanted = bearer(request), context.settings.hub.metrics_token
    if is_admin(context, token, given):
        return True
    if wanted is not None:
        return is_one_of(given, (wanted.get_secret_value(),))
    if any(name in request.headers for name in _FORWARDED):
        return False
    try:
        return request.client is not None and ipaddress.ip_address(request.client.host).is_loopback
    except ValueError:
        return False


def families(context: Context) -> Iterator[Family]:
    """Yield every metric as it is now."""
    yield Family(f"{_PREFIX}build_info", "gauge", "The release that runs.").add(1, version=release())
    yield from _incidents(incidents_now(context))
    yield from _devices(_answer(context, "devices_now", cluster="", team=""))
    yield from _freshness(context)
    yield from _jobs(context.store.read(JobRun))
    yield from _notices(context)
    yield from process_families()


def _answer(context: Context, question: str, **params: Any) -> pl.DataFrame:
    now = context.now().replace(second=0, microsecond=0)
    return context.store.select(sql.load(question).text, now=now, **params)


def _incidents(found: pl.DataFrame) -> Iterator[Family]:
    means = "Held devices that idle for longer than the setting allows, by what was decided about them."
    gauge = Family(f"{_PREFIX}idle_incidents", "gauge", means)
    lasting = found.filter(pl.col("closed_at").is_null())
    counted = lasting.group_by("cluster", "team", "status").len().sort("cluster", "team", "status")
    for cluster, team, status, number in counted.iter_rows():
        gauge.add(number, cluster=cluster, team=team, status=status)
    if counted.is_empty():
        gauge.add(0, cluster="", team="", status="open")
    yield gauge
    oldest = lasting.filter(pl.col("status") == "open")["idle_seconds"].max()
    longest = Family(f"{_PREFIX}idle_incident_longest_seconds", "gauge", "How long the longest open one has idled.")
    yield longest.add(0 if oldest is None else float(str(oldest)))


def _devices(found: pl.DataFrame) -> Iterator[Family]:
    gauge = Family(f"{_PREFIX}gpus", "gauge", "GPUs and MIG slices by what they do now, as fractions of a device.")
    parts = pl.col("gpu_fraction").fill_null(1).cast(pl.Float64).sum()
    counted = found.group_by("cluster", "state").agg(parts.alias("gpus")).sort("cluster", "state")
    for cluster, state, number in counted.iter_rows():
        gauge.add(number, cluster=cluster, state=state)
    yield gauge


def _freshness(context: Context) -> Iterator[Family]:
    row = _answer(context, "freshness").row(0, named=True)
    for name, column, means in (
        ("last_sample_timestamp_seconds", "last_sampled_at", "The newest sample that is rolled up."),
        ("gpu_hour_timestamp_seconds", "gpu_hour_until", "The newest hour of GPU states."),
        ("bill_complete_timestamp_seconds", "complete_through", "Through when every bill is complete."),
    ):
        yield Family(f"{_PREFIX}{name}", "gauge", means).add(_seconds(row[column]))
    means = "Share of the GPU time of the last seven days that samples cover."
    existed = row["gpu_existed_seconds"]
    observed = float(row["gpu_observed_seconds"] or 0) / float(existed) if existed else None
    yield Family(f"{_PREFIX}coverage_ratio", "gauge", means).add(observed)
    means = "Invoices whose charges do not sum to what was allocated or invoiced."
    yield Family(f"{_PREFIX}invoices_differing", "gauge", means).add(row["differing_count"])
    waiting = context.store.read(BillImport, columns=("status",))["status"]
    means = "Bills that wait for somebody to accept them."
    yield Family(f"{_PREFIX}bills_waiting", "gauge", means).add(int((waiting == "waiting").sum()))


def _jobs(runs: pl.DataFrame) -> Iterator[Family]:
    status = Family(f"{_PREFIX}job_run_status", "gauge", "1 for how the newest run of a scheduled job stands.")
    started = Family(f"{_PREFIX}job_run_start_timestamp_seconds", "gauge", "When a scheduled job started last.")
    success = Family(f"{_PREFIX}job_run_success_timestamp_seconds", "gauge", "When a scheduled job was last done.")
    length = Family(f"{_PREFIX}job_run_seconds", "gauge", "How long the newest run of a scheduled job took.")
    ordered = runs.sort("due_at", "attempt_count")
    for (name,), mine in ordered.group_by("job_name", maintain_order=True):
        last, job = mine.row(-1, named=True), str(name)
        for each in _STATUS:
            status.add(int(last["status"] == each), job=job, status=each)
        started.add(_seconds(last["started_at"]), job=job)
        done = mine.filter(pl.col("status") == "done")["ended_at"].max()
        success.add(_seconds(done if isinstance(done, datetime) else None), job=job)
        if last["ended_at"] is not None:
            length.add((last["ended_at"] - last["started_at"]).total_seconds(), job=job)
    yield from (status, started, success, length)


def _notices(context: Context) -> Iterator[Family]:
    if not context.settings.notify:
        return
    notices = context.store.read(IncidentNotice)
    waiting = Family(f"{_PREFIX}notices_waiting", "gauge", "Incidents of which a receiver is still to be told.")
    failing = Family(f"{_PREFIX}notice_attempts_failed", "gauge", "Calls that a receiver has refused in a row.")
    for receiver in context.settings.notify:
        mine = notices.filter((pl.col("receiver") == receiver.name) & (pl.col("pending") != ""))
        waiting.add(mine.height, receiver=receiver.name)
        failing.add(max(mine["attempt_count"], default=0), receiver=receiver.name)
    yield from (waiting, failing)


def _seconds(at: datetime | None) -> float | None:
    return None if at is None else at.timestamp()
