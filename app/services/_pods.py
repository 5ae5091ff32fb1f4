"""Who holds a device where kubelets tell it, kept as holdings when nodes have sent more."""

from datetime import datetime, timedelta
from typing import Final

import polars as pl

from app.context import Context
from ledger.tables import Job, JobGpu
from ledger.tables.partition import declared, floor
from queries import sql
from queries.pods import API, HOLDER, NODE, ended, pod_holdings, pod_jobs

_TABLE: Final = "gpu_holder_sample"
_HOUR: Final = timedelta(hours=1)

_RECENT: Final = timedelta(days=2)
"""What came longer ago was looked at before this process began."""


def hold(context: Context) -> int:
    """Keep who holds which device, as far as nodes have told since it was last looked at; return what is new."""
    fresh = _fresh(context)
    if not fresh:
        return 0
    # A pod that was seen in the hour before may be gone in the first round of this one.
    window = (fresh[0] - _HOUR, floor(context.now(), "hour") + _HOUR)
    store = context.store
    seen, rounds = (
        store.select(sql.load(name).text, start=window[0], end=window[1])
        for name in ("gpu_holders", "gpu_holder_rounds")
    )
    jobs = store.read(Job, window, where={"source": (API, NODE)})
    made = pod_jobs(seen, jobs, _told_clusters(context))
    latest = pl.concat([jobs, made]).sort("submitted_at").unique(["cluster", "job_id"], keep="last")
    every = store.read(JobGpu, window)
    known = every.filter(pl.col("source") == NODE)
    held = pod_holdings(seen, rounds, latest, known.filter(pl.col("held_end").is_null()))
    # A claim's devices are told by the API as well: what it said of them stands, as it says it anew each time.
    held = held.join(every.filter(pl.col("source") != NODE), on=HOLDER, how="anti")
    records = pl.concat([made, ended(latest, held)]).unique(Job.primary_key(), keep="last", maintain_order=True)
    # Exporters tell the same of a device with a confidence of their own.
    same = [name for name in held.columns if name != "confidence_ratio"]
    new = held.join(known, on=same, how="anti", nulls_equal=True)
    for schema, rows in ((Job, records), (JobGpu, new)):
        if rows.height:
            store.append(schema, rows, source=NODE)
            context.changed({declared(schema).name})
    return new.height


def _fresh(context: Context) -> list[datetime]:
    """Return the hours of which nodes have told something since the last call, in order.

    Agents tell who holds a device only while somebody does: their rounds, which say that nobody does any more, count
    as well.
    """
    states = {
        (name, key): state
        for name in (_TABLE, "collector_run")
        for key, state in context.store.versions(name).items()
        # Other groupings of the rows have keys that begin with their name and a colon.
        if ":" not in key
    }
    if not any(name == _TABLE for name, _ in states):
        return []
    versions = {place: state.version_count for place, state in states.items()}
    since = context.now() - _RECENT
    before = context.held
    fresh = {
        key
        for (name, key), state in states.items()
        if before.get((name, key)) != state.version_count and (before or state.changed_at >= since)
    }
    context.held = versions
    return sorted(datetime.fromisoformat(f"{key}:00+00:00") for key in fresh)


def _told_clusters(context: Context) -> frozenset[str]:
    """Return the clusters of whose pods the API tells."""
    found = context.store.select(sql.load("clusters_with_pods").text)
    return frozenset(found.get_column("cluster").to_list())
