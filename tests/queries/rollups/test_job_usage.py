"""What a run of a job held and used, measured or from a mean, and whose it is."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from collectors.dumps.clustercockpit import read
from ledger.names import STATES
from ledger.sections import Match
from ledger.tables import Job
from queries.graph import Span
from queries.rollups._naming import Naming
from tests.queries.rollups.conftest import on_clusters

Ledgers = Callable[..., Any]
Spans = Callable[..., Any]
Minutes = Callable[[float], datetime]

CHAIN = ("gpu_state_interval", "gpu_minute", "gpu_hour", "job_gpu_hour", "job_hour")
RUN = ["cluster", "job_id", "submitted_at", "restart_count"]


@pytest.mark.real_data
def test_real_jobs_with_a_mean_have_the_published_gpu_hours_and_idle_gpu_hours(ledger: Any, shared_data: Path) -> None:
    mine = ledger()
    mine.tables["job"] = read(shared_data / "jobs/clustercockpit_alex_a40_gpu_jobs.parquet").frames[Job]
    jobs = mine.get("job")
    start = jobs["submitted_at"].min()
    span = Span(start, datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC))
    rows = mine.compute("job_usage", span)
    hours = {name: float(rows[f"gpu_{name}_seconds"].sum()) / 3600 for name in ("allocated", "idle")}
    assert rows.height == 216
    assert hours["allocated"] == pytest.approx(2175.3683333333333, abs=1e-9)
    assert hours["idle"] == pytest.approx(41.891666666666666, abs=1e-9)
    assert rows.filter(pl.col("gpu_idle_seconds") > 0).height <= 66
    assert rows["is_estimated"].all()
    assert set(rows["evidence_quality"]) == {"C"}
    busy = rows.filter(pl.col("gpu_idle_seconds") == 0, pl.col("gpu_allocated_seconds") > 0)
    assert busy["gpu_productive_seconds"].is_null().all()


def job(minute: Minutes, job_id: str, **more: object) -> dict[str, Any]:
    """Return one run of a job."""
    run = {"cluster": "c", "job_id": job_id, "submitted_at": minute(-60), "restart_count": 0}
    return {**run, "state": "COMPLETED", "source": "slurm", **more}


def test_a_run_that_never_started_held_nothing_and_one_without_evidence_is_not_known(
    ledger: Any, hours: Spans, minute: Minutes
) -> None:
    mine = ledger()
    ran = {"started_at": minute(0), "ended_at": minute(10)}
    mine.add(
        "job",
        [
            job(minute, "pending", state="PENDING", requested_gpu_count=8.0, pending_reason="Resources"),
            job(minute, "cpu", gpu_count=0.0, **ran),
            job(minute, "unseen", gpu_count=4.0, **ran),
            job(minute, "busy", gpu_count=4.0, mean_kernel_active_ratio=0.05, **ran),
            job(minute, "idle", gpu_count=0.5, mean_kernel_active_ratio=0.049, **ran),
        ],
    )
    rows = {row["job_id"]: row for row in mine.compute("job_usage", hours(2, first=-2, now=1)).to_dicts()}
    times = {
        name: tuple(row[f"gpu_{kind}_seconds"] for kind in ("allocated", "idle", "productive"))
        for name, row in rows.items()
    }
    assert times == {
        "pending": (0, 0, 0),
        "cpu": (0, 0, 0),
        "unseen": (None, None, None),
        "busy": (2400, 0, None),
        "idle": (300, 300, 0),
    }
    assert rows["pending"]["queue_seconds"] == 7200
    assert rows["busy"]["queue_seconds"] == 3600
    assert [rows[name]["is_estimated"] for name in times] == [rows[name]["evidence_quality"] == "C" for name in times]


@on_clusters
def test_a_run_has_the_gpu_seconds_of_its_device_hours(seeds: list[int], generated: Ledgers, hours: Spans) -> None:
    every, span = generated(*seeds), hours(3)
    every.tables["job"] = every.get("job").filter(pl.col("started_at").is_not_null())
    every.chain(span, *CHAIN)
    every.compute("job_usage", hours(24, first=-5, now=3))
    for ledger in every.apart():
        devices, rows, by_hour = (ledger.get(name) for name in ("job_gpu_hour", "job_usage", "job_hour"))
        total = gpu_seconds(devices.join(ledger.get("job"), on=RUN, how="semi"))
        assert (rows["gpu_allocated_seconds"].sum() or 0) == total
        held = ledger.get("job").join(devices, on=RUN, how="semi")
        assert rows.filter(pl.col("gpu_allocated_seconds") > 0)["job_id"].is_in(held["job_id"].to_list()).all()
        assert (by_hour["gpu_allocated_seconds"].sum() or Decimal(0)) == gpu_seconds(devices)
        parts = by_hour["gpu_idle_seconds"] + by_hour["gpu_productive_seconds"]
        assert (parts <= by_hour["gpu_allocated_seconds"]).all()


def gpu_seconds(devices: pl.DataFrame) -> Decimal:
    """Return the seconds of device hours, each times the fraction of a device that it is."""
    return sum(
        (sum(row[f"{state}_seconds"] for state in STATES) * row["gpu_fraction"] for row in devices.to_dicts()),
        Decimal(0),
    )


def test_the_first_rule_that_matches_names_team_and_model(ledger: Any, hours: Spans, minute: Minutes) -> None:
    mine = ledger()
    mine.add(
        "job",
        [
            job(minute, "1", user="ann", account="lab", job_name="llama-70b-sft"),
            job(
                minute,
                "2",
                user="bob",
                account="lab",
                team="said",
                model="said",
                labels='{"app": "x", "team": "vision"}',
            ),
            job(minute, "3", user="cy", account="", job_name="eval"),
            job(minute, "4", account="lab", team="said", comment="project=rag", workload_kind="inference"),
        ],
    )
    naming = Naming(
        teams=(
            Match(name="people", field="user", value="a*"),
            Match(name="seeing", field="label", value="team=vision"),
            Match(name="late", field="user", value="ann"),
        ),
        models=(
            Match(name="llama", field="job_name", value="llama-*"),
            Match(name="rag", field="comment", value="project=rag"),
            Match(name="server", field="endpoint", value="*"),
        ),
    )
    rows = mine.compute("job_usage", hours(2, first=-2, now=1), naming=naming)
    assert rows["team"].to_list() == ["people", "seeing", "unassigned", "said"]
    assert rows["model"].to_list() == ["llama", "said", "unattributed", "rag"]
    assert rows["workload_kind"].to_list() == ["", "", "", "inference"]
    assert rows["queue_seconds"].to_list() == [(timedelta(hours=2)).total_seconds()] * 4
