"""Devices end with their job, and a node that is told without since when keeps its place."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl

from collectors.cluster._source import Pulled
from collectors.cluster._standing import settled
from ledger.frames import to_frame
from ledger.tables import Job, JobGpu, Node

AT = datetime(2026, 11, 20, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
RUN = {"cluster": "c", "job_id": "7", "submitted_at": AT, "restart_count": 0}


def opened(rows: dict[tuple[Any, str], list[dict[str, Any]]]) -> Callable[[Any, str], pl.DataFrame]:
    """Return what stands open in a store."""
    return lambda schema, word: to_frame(schema, rows.get((schema, word), []))


def holding(uuid: str, **changes: Any) -> dict[str, Any]:
    return {**RUN, "node": "n1", "gpu_uuid": uuid, "held_start": AT, "held_end": None, "source": "scheduler", **changes}


def run(**changes: Any) -> dict[str, Any]:
    return {**RUN, "state": "COMPLETED", "source": "slurm", "started_at": AT, "ended_at": AT + HOUR, **changes}


def node(name: str, since: datetime | None, **changes: Any) -> dict[str, Any]:
    return {"cluster": "c", "node": name, "exists_start": since, "exists_end": None, "source": "slurm", **changes}


def test_devices_end_when_their_job_did_and_not_when_that_was_seen() -> None:
    before = opened({(JobGpu, "scheduler"): [holding("A"), holding("B", job_id="8")]})
    piece = Pulled({Job: to_frame(Job, [run()])}, AT + 5 * HOUR, held_by="scheduler")
    found = settled(piece, before, AT + 4 * HOUR)[JobGpu]
    assert found.select("gpu_uuid", "held_end").rows() == [("A", AT + HOUR)]


def test_what_stands_no_more_ends_when_it_was_last_seen_unless_its_job_says_when() -> None:
    before = opened({(JobGpu, "scheduler"): [holding("A"), holding("B", job_id="8"), holding("C", job_id="9")]})
    frames = {Job: to_frame(Job, [run()]), JobGpu: to_frame(JobGpu, [holding("C", job_id="9")])}
    piece = Pulled(frames, AT + 5 * HOUR, standing={JobGpu: "scheduler"}, held_by="scheduler")
    found = settled(piece, before, AT + 4 * HOUR)[JobGpu].sort("gpu_uuid")
    assert found.select("gpu_uuid", "held_end").rows() == [("A", AT + HOUR), ("B", AT + 4 * HOUR), ("C", None)]


def test_an_end_that_is_told_is_not_told_twice() -> None:
    before = opened({(JobGpu, "scheduler"): [holding("A")]})
    told = holding("A", held_end=AT + HOUR, confidence_ratio=0.8)
    piece = Pulled({Job: to_frame(Job, [run()]), JobGpu: to_frame(JobGpu, [told])}, AT, held_by="scheduler")
    assert settled(piece, before, AT)[JobGpu].select("gpu_uuid", "confidence_ratio").rows() == [("A", 0.8)]


def test_a_node_without_since_when_keeps_its_row_or_begins_now() -> None:
    before = opened({(Node, "slurm"): [node("n1", AT - HOUR), node("gone", AT - HOUR)]})
    told = to_frame(Node, [node("n1", None), node("n2", None), node("n3", AT - 2 * HOUR)])
    found = settled(Pulled({Node: told}, AT, standing={Node: "slurm"}), before, AT - timedelta(minutes=1))[Node]
    assert found.sort("node").select("node", "exists_start", "exists_end").rows() == [
        ("gone", AT - HOUR, AT - timedelta(minutes=1)),
        ("n1", AT - HOUR, None),
        ("n2", AT, None),
        ("n3", AT - 2 * HOUR, None),
    ]
