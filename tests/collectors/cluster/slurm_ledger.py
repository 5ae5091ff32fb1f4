"""A store that is told of one Slurm, as the hub asks it."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl

from app.context import Context
from app.services._pulling import Outcome, pull
from collectors.cluster._configured import Configured
from collectors.cluster.slurm import SlurmSettings, slurm
from ledger.tables import Job, JobGpu
from tests.slurm_cluster import SlurmCluster

WAYS = ("commands", "slurmrestd")
RUN = ["job_id", "submitted_at", "restart_count"]


class Ledger:
    """A store that is told of one Slurm, by one way or the other."""

    def __init__(self, cluster: SlurmCluster, context: Context) -> None:
        self.cluster = cluster
        self.context = context

    def ask(self, way: str = "commands", since: datetime | None = None, **changes: Any) -> Outcome:
        """Ask Slurm as the hub does."""
        place = {"url": self.cluster.rest_url} if way == "slurmrestd" else {"configuration": self.cluster.configuration}
        base = {"kind": "slurm", "cluster": "c", "history_days": 1}
        settings = SlurmSettings.model_validate({**base, **place, **changes})
        return pull(self.context, Configured("s", slurm, settings), since)

    def pull(self, way: str = "commands", since: datetime | None = None, **changes: Any) -> Outcome:
        """Ask Slurm, which is to answer."""
        outcome = self.ask(way, since, **changes)
        assert outcome.error is None, str(outcome.error)
        return outcome

    def read(self, schema: Any) -> pl.DataFrame:
        """Return a table."""
        return self.context.store.read(schema)

    def runs(self, job_id: str) -> list[dict[str, Any]]:
        """Return the runs of a job, the first one first."""
        found = self.read(Job).filter(pl.col("job_id") == job_id).sort("restart_count")
        assert found.select(RUN).is_duplicated().sum() == 0
        return found.to_dicts()

    def held(self, job_id: str) -> list[tuple[str, bool]]:
        """Return the devices of a job, and whether it holds them still."""
        rows = self.read(JobGpu).filter(pl.col("job_id") == job_id).sort("node", "gpu_uuid").to_dicts()
        return [(row["gpu_uuid"], row["held_end"] is None) for row in rows]


def gpu(node: str, index: int) -> Mapping[str, object]:
    """Return a device's row as an agent tells it."""
    place = {"cluster": "c", "node": node, "gpu_uuid": f"GPU-{node}-{index}", "gpu_index": index}
    since = datetime.now(UTC) - timedelta(days=1)
    return {**place, "exists_start": since, "parent_gpu_uuid": "", "gpu_fraction": 1}
