"""Jobs by what they wasted, and one job: what limited it, on which evidence, and what it cost."""

from typing import Any

import polars as pl
import streamlit as st

from app import cards, chart, controls, data, display, links, table
from app import format as written
from app.charts import bottlenecks as bottleneck_charts
from app.page import page
from app.table import Column
from app.theme import STATE_WORDS
from app.views import _job_costs
from queries import converted, measure
from queries.display import Shown
from queries.measures import gpu_time, spending

_COLUMNS = {
    "job_id": Column("Job"),
    "job_name": Column("Name"),
    "user": Column("User"),
    "team": Column("Team"),
    gpu_time.HELD_GPU_HOURS.name: Column("GPU-hours", "hours", gpu_time.HELD_GPU_HOURS.means),
    gpu_time.HELD_IDLE_RATIO.name: Column("Idle", "percent", gpu_time.HELD_IDLE_RATIO.means),
    "idle_cost": Column("Idle cost", "money", "Effective cost of its idle time in the window."),
    "effective_cost": Column("Cost", "money", "Effective cost in the window."),
    "billing_currency": Column("Currency"),
    gpu_time.HELD_PRODUCTIVE_RATIO.name: Column("Productive", "percent", gpu_time.HELD_PRODUCTIVE_RATIO.means),
    "state": Column("State"),
    "model": Column("Model"),
    "gpu_count": Column("GPUs", "count"),
    "queue_seconds": Column("Queued", "duration"),
    "started_at": Column("Started", "instant"),
    "ended_at": Column("Ended", "instant"),
    "evidence_quality": Column("Evidence"),
}


@page("Jobs", section="Observe", order=2, icon=":material/list_alt:")
def jobs() -> None:
    """List jobs, the most idle first, and open one of them."""
    costs = _job_costs.jobs()
    if costs.frame.is_empty():
        st.info(
            "No job ran or waited in this window. Import a scheduler's dump with `clusterledger ingest sacct.txt`, "
            "or widen the window."
        )
        return
    shown = data.once(_shared, costs.frame)
    asked = _asked(shown)
    if asked is not None:
        if st.button("All jobs", type="tertiary", icon=":material/arrow_back:"):
            for name in ("job", "submitted"):
                st.query_params.pop(name, None)
            st.rerun()
        _job(asked)
        return
    _summary(shown, costs)
    words = st.text_input(
        "Search", key="search", placeholder="job, name, user, model or state", label_visibility="collapsed"
    )
    if words:
        shown = shown.filter(
            pl.any_horizontal(
                pl.col(name).cast(pl.String).str.to_lowercase().str.contains(words.lower(), literal=True)
                for name in ("job_id", "job_name", "user", "team", "model", "state")
            )
        )
    chosen = table.show(display.marked(shown, costs), _COLUMNS, key="jobs", file_name="jobs", select=True)
    st.caption(f"Select a job to see what limited it. {costs.words}".strip())
    if chosen:
        st.query_params.update(links.to_job(chosen))
        st.rerun()


def _asked(shown: pl.DataFrame) -> dict[str, Any] | None:
    """Return the run that the URL names, the newest of that id unless it says when it was submitted."""
    runs = shown.filter(pl.col("job_id") == st.query_params.get("job", "")).sort("submitted_at", "restart_count")
    submitted = st.query_params.get("submitted")
    exact = runs.filter(pl.col("submitted_at").dt.epoch("s").cast(pl.String) == submitted) if submitted else runs
    found = exact if not exact.is_empty() else runs
    return None if found.is_empty() else found.row(-1, named=True)


def _shared(found: pl.DataFrame) -> pl.DataFrame:
    return measure.with_each(
        found, gpu_time.RUN, gpu_time.HELD_GPU_HOURS, gpu_time.HELD_IDLE_RATIO, gpu_time.HELD_PRODUCTIVE_RATIO
    )


def _summary(shown: pl.DataFrame, costs: Shown) -> None:
    with cards.row():
        cards.taken(gpu_time.JOB_COUNT, shown)
        cards.taken(gpu_time.HELD_GPU_HOURS, shown)
        cards.taken(gpu_time.HELD_IDLE_RATIO, shown)
        cards.summed(spending.JOBS_IDLE_COST, shown, shown=costs)
        cards.taken(gpu_time.WAITING_COUNT, shown)


def _job(job: dict[str, Any]) -> None:
    key = {
        "cluster": job["cluster"],
        "job_id": job["job_id"],
        "submitted_at": job["submitted_at"],
        "restart_count": job["restart_count"],
    }
    costs = _job_costs.states(**key)
    st.subheader(f"Job {job['job_id']}: {job['job_name'] or 'without a name'}", anchor=False)
    st.caption(
        f"{job['user'] or 'unknown user'} · team {job['team']} · model {job['model']} · {job['state']} · "
        f"submitted {written.instant(job['submitted_at'])} · started {written.instant(job['started_at'])} · "
        f"ended {written.instant(job['ended_at'])}"
        + (f" · exit {job['exit_code']}" if job["exit_code"] else "")
        + (f" · run {job['restart_count'] + 1}" if job["restart_count"] else "")
    )
    with cards.row():
        held = gpu_time.HELD_GPU_HOURS
        cards.number(
            held, job[held.name], f"on {written.count(job['gpu_count'])} GPU{'' if job['gpu_count'] == 1 else 's'}"
        )
        cards.number(gpu_time.HELD_IDLE_RATIO, job[gpu_time.HELD_IDLE_RATIO.name])
        cards.summed(spending.JOB_COST, costs.frame, shown=costs)
        cards.summed(spending.JOB_WASTE, costs.frame, shown=costs)
        cards.card("Queued", written.brief(job["queue_seconds"]), job["pending_reason"] or "")
    if job["is_estimated"]:
        st.caption("Its GPU time is an estimate: only a mean over the job, or a share of a device, is known.")
    _host(job)
    hours = controls.answer("job_hours", **key)
    st.subheader("What limited it", anchor=False)
    if hours.is_empty():
        st.caption("No sample of its devices was kept: what limited it is unknown.")
    else:
        left, right = st.columns([2, 3], gap="large")
        with left:
            chart.show(
                bottleneck_charts.shares, data.once(_mix, hours), key="mix", alt="GPU-hours by what limited them"
            )
        with right:
            chart.show(bottleneck_charts.over_time, hours, key="mix-time", alt="What limited it over time")
        _evidence(key)
    _parts(costs, key)


def _host(job: dict[str, Any]) -> None:
    """Say what it used of its hosts, as far as their cgroups were sampled."""
    parts = []
    if job["cpu_seconds"] is not None:
        of = f" of the time of {written.count(job['cpu_count'])} processors" if job["cpu_count"] else ""
        used = written.percent(job["cpu_active_ratio"]) + of if of else written.duration(job["cpu_seconds"])
        parts.append(f"processors {used}")
    if job["host_memory_peak_bytes"] is not None:
        given = f" of {written.size(job['host_memory_bytes'])}" if job["host_memory_bytes"] else ""
        parts.append(f"host memory up to {written.size(job['host_memory_peak_bytes'])}{given} on a node")
    if job["oom_kill_count"]:
        parts.append(f"{written.count(job['oom_kill_count'])} processes killed for want of host memory")
    if parts:
        st.caption("Its hosts: " + " · ".join(parts))


def _mix(hours: pl.DataFrame) -> pl.DataFrame:
    return hours.group_by("bottleneck").agg(pl.col("gpu_hours").sum())


def _evidence(key: dict[str, Any]) -> None:
    evidence = controls.answer("job_evidence", **key)
    if evidence.is_empty():
        return
    named = evidence.with_columns(
        pl.col("bottleneck", "runner_up", "idle_cause", "first_evidence", "second_evidence", "third_evidence")
        .fill_null("")
        .str.replace_all("_", " ")
    )
    with st.expander("The evidence behind it, over the minutes that are kept", expanded=True):
        table.show(
            named,
            {
                "bottleneck": Column("Limited by"),
                "gpu_hours": Column("GPU-hours", "hours"),
                "first_evidence": Column("Evidence"),
                "first_ratio": Column("Mean", "percent"),
                "second_evidence": Column("Evidence"),
                "second_ratio": Column("Mean", "percent"),
                "third_evidence": Column("Evidence"),
                "third_ratio": Column("Mean", "percent"),
                "runner_up": Column("Next best class"),
                "idle_cause": Column("Idle because of"),
                "confidence_ratio": Column("Confidence", "percent"),
            },
            key="evidence",
            file_name="job-evidence",
        )


def _parts(costs: Shown, key: dict[str, Any]) -> None:
    devices = controls.answer("job_devices", **key)
    left, right = st.columns([3, 2], gap="large")
    with left:
        st.subheader("Its devices", anchor=False)
        table.show(
            devices,
            {
                "node": Column("Node"),
                "held_seconds": Column("Held", "duration"),
                "productive_seconds": Column("Productive", "duration"),
                "underused_seconds": Column("Underused", "duration"),
                "idle_seconds": Column("Idle", "duration"),
                "unknown_seconds": Column("Unknown", "duration"),
                "sm_active_ratio": Column("SM active", "percent"),
                "memory_used_bytes": Column("Peak memory", "bytes"),
                "share_ratio": Column("Share", "percent"),
                "gpu_uuid": Column("GPU"),
            },
            key="devices",
            file_name="job-devices",
        )
    with right:
        st.subheader("Its cost", anchor=False)
        if costs.frame.is_empty():
            st.caption("No price of its nodes is known. Import a bill or a price list.")
            return
        states = data.once(converted.job_states, costs.frame)
        named = states.with_columns(pl.col("state").replace_strict(dict(STATE_WORDS), default=pl.col("state")))
        table.show(
            display.marked(named, costs),
            {
                "state": Column("State"),
                "effective_cost": Column("Cost", "money"),
                "billing_currency": Column("Currency"),
                "has_estimate": Column("Partly estimated", "flag"),
            },
            key="costs",
            file_name="job-cost",
        )
        rules = costs.frame["allocated_method_id"].drop_nulls().unique().sort()
        st.caption(f"Split rule: {', '.join(f'`{each}`' for each in rules)}. {costs.words}".strip())
