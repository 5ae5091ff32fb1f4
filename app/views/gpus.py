"""Which GPUs are held and do nothing, who holds them, since when, and why jobs wait meanwhile."""

from datetime import datetime, timedelta

import polars as pl
import streamlit as st

from app import cards, chart, controls, data, links, table
from app import format as written
from app.charts import lines
from app.charts import states as state_charts
from app.data import Window
from app.page import page
from app.table import Column
from app.theme import STATE_ORDER
from ledger.names import IDLE_STATES
from ledger.tables import GpuMinute, GpuProcessSample, GpuSample, GpuStateInterval
from ledger.tables.partition import floor
from queries import measure
from queries.measures import gpu_time

# Samples of a longer stretch are shown from their minutes.
_RAW_FOR = timedelta(hours=3)


@page("GPUs", section="Observe", order=1, icon=":material/memory:")
def gpus() -> None:
    """Show free GPUs against waiting jobs, then each GPU's states, then one GPU down to its samples."""
    _now()
    st.subheader("States over time", anchor=False)
    window = controls.window()
    cells = data.answer(
        "state_cells",
        scope=controls.scope(),
        start=window.start,
        end=window.end,
        cluster=controls.cluster(),
        team=controls.team(),
        bucket=controls.bucket(window),
    )
    if cells.is_empty():
        st.info("No GPU was seen in this window. Start an agent on a node, or try `clusterledger demo`.")
        return
    _heatmap(cells)
    _one_gpu(cells, window)


@st.fragment(run_every=15)
def _now() -> None:
    """Show the present, again and again."""
    with data.hub().visit():
        _present()


def _present() -> None:
    now = data.minute()
    asked = {"now": now, "cluster": controls.cluster(), "team": controls.team()}
    devices = data.answer("devices_now", scope=controls.scope(), **asked)
    pending = data.answer("pending_jobs", scope=controls.scope(), **asked)
    if devices.is_empty():
        return
    with cards.row():
        for each in (gpu_time.NOW_FREE, gpu_time.NOW_IDLE, gpu_time.NOW_PRODUCTIVE, gpu_time.NOW_LOST):
            cards.counted(each, gpu_time.NOW_GPUS, devices)
        waiting = data.once(measure.values, pending, (gpu_time.WANTED_GPUS, gpu_time.PENDING_JOBS))
        cards.number(
            gpu_time.WANTED_GPUS,
            waiting[gpu_time.WANTED_GPUS.name],
            f"{waiting[gpu_time.PENDING_JOBS.name]} jobs",
        )
    st.caption(f"As of {written.instant(now)}; refreshes by itself.")
    left, right = st.columns([3, 2], gap="large")
    with left:
        _idle_now(devices, now)
    with right:
        _waiting(devices, pending)


def _idle_now(devices: pl.DataFrame, now: datetime) -> None:
    st.subheader("Held and idle now", anchor=False)
    held = data.once(_idle_for, devices, now=now)
    if held.is_empty():
        unseen = devices.filter(pl.col("state") == "unknown").height
        if unseen:
            st.info(f"Of the GPUs that are seen, none is held and idle. {unseen} are not seen at this moment.")
            links.to("data_health", "Which agents are silent")
        else:
            st.success("No held GPU idles.")
        return
    table.show(
        held,
        {
            "node": Column("Node"),
            "gpu_index": Column("GPU", "count"),
            "state": Column("State", "state"),
            "idle_seconds": Column("For", "duration", "How long it has been so, in hours."),
            "user": Column("User"),
            "team": Column("Team"),
            "job_id": Column("Job"),
            "gpu_model": Column("Model"),
            "reason": Column("Reason"),
        },
        key="idle-now",
        file_name="idle-gpus",
    )
    links.to("idle_incidents", "Acknowledge, snooze or exempt them")


def _idle_for(devices: pl.DataFrame, now: datetime) -> pl.DataFrame:
    held = devices.filter(pl.col("state").is_in(["held_idle", "allocated_idle", "orphaned"])).sort("since")
    return held.with_columns(idle_seconds=(pl.lit(now) - pl.col("since")).dt.total_seconds())


def _waiting(devices: pl.DataFrame, pending: pl.DataFrame) -> None:
    st.subheader("Why jobs wait", anchor=False)
    if pending.is_empty():
        st.success("No job waits for GPUs.")
    else:
        table.show(
            data.once(_reasons, pending),
            {
                "pending_reason": Column("Reason", help="As the scheduler says."),
                "jobs": Column("Jobs", "count"),
                "gpus": Column("GPUs", "count"),
                "oldest": Column("Longest", "duration", "How long the first of them has waited."),
            },
            key="waiting",
        )
    free = data.once(_free, devices)
    if free:
        st.caption(free)


def _reasons(pending: pl.DataFrame) -> pl.DataFrame:
    return (
        pending.group_by(pl.col("pending_reason").fill_null("not told"))
        .agg(jobs=pl.len(), gpus=pl.col("requested_gpu_count").sum(), oldest=pl.col("waiting_seconds").max())
        .sort("gpus", descending=True)
    )


def _free(devices: pl.DataFrame) -> str:
    free = devices.filter(pl.col("state") == "unallocated")
    if free.is_empty():
        return ""
    by_reason = free.group_by(pl.col("reason").fill_null("not told")).len().sort("len", descending=True)
    words = ", ".join(f"{written.words(reason)} {number}" for reason, number in by_reason.iter_rows())
    return f"Why they are free: {words}. Most on one node: {max(free.group_by('node').len()['len'])}."


def _heatmap(cells: pl.DataFrame) -> None:
    kinds: dict[str, list[str]] = {
        "all GPUs": list(STATE_ORDER),
        "with idle time": [*IDLE_STATES, "orphaned"],
        "with faults": ["faulty"],
    }
    wanted = st.segmented_control("Show", list(kinds), default="all GPUs", key="kind", label_visibility="collapsed")
    chosen = kinds.get(str(wanted), list(STATE_ORDER))
    drawn = cells if wanted == "all GPUs" else data.once(state_charts.with_any, cells, tuple(chosen))
    if drawn.is_empty():
        st.caption("No GPU matches.")
        return
    shown = data.once(state_charts.foremost, drawn)
    if shown.height < drawn.height:
        st.caption(
            f"{state_charts.MOST_DEVICES} of {drawn['gpu'].n_unique():,} GPUs: those that idled longest. "
            "Choose a cluster or a team to see others."
        )
    st.caption("A click on the mark before a row opens that GPU below.")
    event = chart.show(
        state_charts.heatmap, shown, key="heatmap", alt="Dominant state of each GPU over time", select=True
    )
    picked = next((point["y"] for point in event.selection.points), None)
    # A mark stays selected; only a new choice moves what was chosen below meanwhile.
    if picked != st.session_state.get("marked"):
        st.session_state["marked"] = picked
        if picked is not None:
            st.session_state["gpu"] = picked


def _one_gpu(cells: pl.DataFrame, window: Window) -> None:
    st.subheader("One GPU", anchor=False)
    devices = data.once(_devices, cells)
    if st.session_state.get("gpu") not in devices:
        st.session_state["gpu"] = next(iter(devices))
    device = devices[str(st.selectbox("GPU", list(devices), key="gpu", bind="query-params"))]
    where = {"cluster": [device["cluster"]], "node": [device["node"]], "gpu_uuid": [device["gpu_uuid"]]}
    st.caption(f"`{device['gpu_uuid']}` on node `{device['node']}`, cluster `{device['cluster']}`")
    samples, intervals, processes = st.tabs(["Samples", "States", "Processes"])
    with samples:
        _samples(where, window)
    with intervals:
        _intervals(where, window)
    with processes:
        _processes(where, window)


def _devices(cells: pl.DataFrame) -> dict[str, dict[str, str]]:
    found = cells.select("gpu", "cluster", "node", "gpu_uuid").unique(maintain_order=True)
    return {row["gpu"]: row for row in found.iter_rows(named=True)}


def _recent(window: Window) -> Window:
    """Return the last three hours and the one that runs: whole hours, so that each minute is no new question."""
    return Window(floor(min(window.end, data.now()), "hour") - _RAW_FOR, window.end)


def _samples(where: dict[str, list[str]], window: Window) -> None:
    raw = data.rows(GpuSample, _recent(window), scope=controls.scope(), where=where)
    frame, at, gap = (raw, "sampled_at", timedelta(seconds=30)) if not raw.is_empty() else (
        data.rows(GpuMinute, (window.start, window.end), scope=controls.scope(), where=where),
        "minute_start",
        timedelta(minutes=3),
    )  # fmt: skip
    if frame.is_empty():
        st.caption("No samples of this GPU in the window.")
        return
    st.caption("The last hours, sample by sample." if at == "sampled_at" else "Means by the minute.")
    ratios = {
        "graphics_active_ratio": "graphics active",
        "sm_active_ratio": "SM active",
        "tensor_active_ratio": "tensor active",
        "dram_active_ratio": "DRAM active",
        "kernel_active_ratio": "kernel active (duty cycle)",
    }
    chart.show(lines.values, frame, ratios, at=at, gap=gap, percent=True, key="activity")
    watts, memory = {"power_watts": "power", "power_limit_watts": "limit"}, {"memory_used_bytes": "memory used"}
    left, right = st.columns(2)
    with left:
        chart.show(lines.values, frame, watts, at=at, gap=gap, unit="W", key="power")
    with right:
        chart.show(lines.values, frame, memory, at=at, gap=gap, unit="GiB", divided_by=2**30, key="memory")
    table.downloads(frame, "gpu-samples", "samples")


def _intervals(where: dict[str, list[str]], window: Window) -> None:
    frame = data.rows(GpuStateInterval, (window.start, window.end), scope=controls.scope(), where=where)
    table.show(
        data.once(_newest_first, frame),
        {
            "started_at": Column("From", "instant"),
            "ended_at": Column("To", "instant"),
            "state": Column("State", "state"),
            "reason": Column("Reason"),
            "job_id": Column("Job"),
            "user": Column("User"),
            "team": Column("Team"),
            "evidence_quality": Column("Evidence", help="A: profiling counters … D: power alone, X: none"),
            "duration_seconds": Column("For", "duration"),
        },
        key="intervals",
        file_name="gpu-states",
    )


def _newest_first(intervals: pl.DataFrame) -> pl.DataFrame:
    length = (pl.col("ended_at") - pl.col("started_at")).dt.total_seconds()
    return intervals.with_columns(duration_seconds=length).sort("started_at", descending=True)


def _processes(where: dict[str, list[str]], window: Window) -> None:
    frame = data.rows(GpuProcessSample, _recent(window), scope=controls.scope(), where=where)
    if frame.is_empty():
        st.caption(
            "No process was seen on it in the last three hours, or processes are invisible to the agent: "
            "`clusterledger check` on the node says why."
        )
        return
    latest = data.once(_last_seen, frame)
    table.show(
        latest,
        {
            "pid_code": Column("PID", "count"),
            "process_name": Column("Process"),
            "process_state": Column("State"),
            "user": Column("User"),
            "job_id": Column("Job"),
            "attribution_source": Column("Known from"),
            "memory_used_bytes": Column("Memory", "bytes"),
            "kernel_active_ratio": Column("Kernel active", "percent"),
            "sampled_at": Column("Last seen", "instant"),
        },
        key="processes",
        file_name="gpu-processes",
    )
    jobs = [job for job in latest["job_id"].unique() if job]
    for job in jobs[:3]:
        links.to("jobs", f"Job {job}", job=job)


def _last_seen(samples: pl.DataFrame) -> pl.DataFrame:
    latest = samples.sort("sampled_at").group_by("pid_code", maintain_order=True).last()
    return latest.sort("sampled_at", descending=True)
