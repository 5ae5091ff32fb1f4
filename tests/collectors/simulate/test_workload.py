"""The workload beside the traces that it follows: sizes, durations, utilisation, and how long jobs wait."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest

from collectors.simulate import plan, traces
from collectors.simulate.phases import RUN
from collectors.simulate.profiles import duty_cycle
from collectors.simulate.shapes import STEP
from collectors.simulate.timeline import timeline

Floats = npt.NDArray[np.float64]

END: Final = datetime(2026, 11, 20, 23, 16, 33, tzinfo=UTC)
SEEDS: Final = (1, 7, 11)
BANDS: Final = tuple(start for start, _ in traces.DUTY)
OF_TRAINING: Final = pl.col("kind") == "training"
OF_BATCH: Final = pl.col("kind") == "batch"

_LATE: Final = 72_000
"""How long the wide jobs run that the plan lets wait at its end."""


@dataclass(frozen=True)
class Drawn:
    """The jobs of several estates: one row per run that people submitted, with what it did where it is over."""

    jobs: pl.DataFrame

    def column(self, name: str, *conditions: pl.Expr) -> Floats:
        """Return the values of a column that are known."""
        found: Floats = self.jobs.filter(*conditions)[name].drop_nulls().to_numpy().astype(np.float64)
        return found


@pytest.fixture(scope="module")
def drawn() -> Drawn:
    return Drawn(pl.concat(_rows(seed) for seed in SEEDS))


def _rows(seed: int) -> pl.DataFrame:
    cluster = plan(96, 30, seed, END)
    line = timeline(cluster)
    busy = np.where(line.kind == RUN, duty_cycle(line.activities["graphics"][line.activity]), 0.0)
    held = line.job >= 0
    job, length = line.job[held], line.length[held].astype(float)
    worked = np.bincount(job, weights=busy[held] * length, minlength=len(cluster.jobs))
    whole = np.bincount(job, weights=length, minlength=len(cluster.jobs))
    over = {"COMPLETED", "FAILED", "TIMEOUT", "CANCELLED"}
    # What a fault sent back is asked for by nobody, and a server is there from the start.
    return pl.DataFrame(
        [
            {
                "kind": each.kind, "size": int(each.gpus), "duration": each.duration,
                "duty": worked[each.index] / whole[each.index] if each.started and each.state in over else None,
                "wait": None if each.started is None else each.started - each.eligible,
            }
            for each in cluster.jobs
            if each.restart_count == 0 and each.kind in {"training", "batch"} and each.profile != "small"
            and each.gpu_model == "" and each.duration != _LATE
        ],
        schema={
            "kind": pl.String, "size": pl.Int64, "duration": pl.Int64, "duty": pl.Float64, "wait": pl.Int64,
        },
    )  # fmt: skip


def distance(one: Floats, other: Floats) -> float:
    """Return the largest difference of two distribution functions, after Kolmogorov and Smirnov."""
    every = np.union1d(one, other)
    below = [np.searchsorted(np.sort(each), every, side="right") / len(each) for each in (one, other)]
    return float(np.abs(below[0] - below[1]).max())


@pytest.fixture(scope="module")
def alex(shared_data: Path) -> pl.DataFrame:
    return pl.read_parquet(shared_data / "jobs/clustercockpit_alex_a40_gpu_jobs.parquet")


@pytest.fixture(scope="module")
def openb(shared_data: Path) -> pl.DataFrame:
    return pl.read_csv(shared_data / "jobs/alibaba_openb2023_pods_part1.csv").filter(pl.col("num_gpu") > 0)


@pytest.fixture(scope="module")
def acme(shared_data: Path) -> pl.DataFrame:
    return pl.read_csv(shared_data / "jobs/acme_cluster_summary.csv")


def values(frame: pl.DataFrame, name: str) -> Floats:
    """Return a column as numbers."""
    found: Floats = frame[name].to_numpy().astype(np.float64)
    return found


def test_the_distance_of_two_distributions_is_seen() -> None:
    one = np.arange(100, dtype=np.float64)
    assert distance(one, one) == 0
    assert distance(one, one + 10) == pytest.approx(0.1)
    assert distance(one, one + 1_000) == 1


def test_many_jobs_are_compared(drawn: Drawn) -> None:
    assert drawn.jobs.filter(OF_TRAINING).height > 5_000
    assert drawn.jobs.filter(OF_BATCH).height > 8_000


@pytest.mark.real_data
def test_durations_are_those_of_the_traces(drawn: Drawn, alex: pl.DataFrame, openb: pl.DataFrame) -> None:
    training = drawn.column("duration", OF_TRAINING)
    assert distance(training, values(alex, "duration_s")) < 0.08
    ran = openb.select(pl.col("deletion_time") - pl.col("scheduled_time")).drop_nulls()
    batch = drawn.column("duration", OF_BATCH)
    # Nothing is shorter than a minute: a tenth of the pods is.
    assert distance(batch, np.maximum(values(ran, "deletion_time"), 60)) < 0.04
    for share in (0.25, 0.5, 0.75, 0.9, 0.95):
        quantile = np.quantile(values(ran, "deletion_time"), share)
        assert np.quantile(batch, share) == pytest.approx(quantile, rel=0.2, abs=STEP), share


@pytest.mark.real_data
def test_sizes_are_those_of_the_traces(
    drawn: Drawn, alex: pl.DataFrame, openb: pl.DataFrame, acme: pl.DataFrame
) -> None:
    training, batch = (drawn.column("size", each) for each in (OF_TRAINING, OF_BATCH))
    # Alex has no job of several nodes: 4 % here.
    assert distance(training, values(alex, "num_gpus")) < 0.11
    assert distance(batch, values(openb, "num_gpu")) < 0.01
    of_several_nodes = acme.filter(pl.col("id").is_in(["Philly", "Helios", "Seren"]))
    assert np.median(training) == 1 == values(of_several_nodes, "med_gpu_num").max()
    means = values(of_several_nodes, "avg_gpu_num")
    assert means.min() < training.mean() < means.max()


@pytest.mark.real_data
def test_wide_jobs_run_longer_as_in_the_trace(drawn: Drawn, alex: pl.DataFrame) -> None:
    real = np.median(values(alex.filter(pl.col("num_gpus") == 8), "duration_s"))
    assert real / 2 < np.median(drawn.column("duration", OF_TRAINING, pl.col("size") >= 8)) < real * 2


@pytest.mark.real_data
def test_the_utilisation_of_training_is_that_of_the_trace(drawn: Drawn, alex: pl.DataFrame) -> None:
    real = values(alex, "gpu_util_avg_pct") / 100
    duty = drawn.column("duty", OF_TRAINING)
    assert distance(duty, real) < 0.10
    assert duty.mean() == pytest.approx(real.mean(), abs=0.05)
    assert (duty < 0.05).mean() == pytest.approx((real < 0.05).mean(), abs=0.03)


@pytest.mark.real_data
@pytest.mark.parametrize("kind", ["training", "batch"])
@pytest.mark.parametrize("band", range(len(BANDS)))
def test_utilisation_follows_the_time_that_a_job_runs(drawn: Drawn, alex: pl.DataFrame, kind: str, band: int) -> None:
    low, high = BANDS[band], [*BANDS, 10**9][band + 1]
    real = values(alex.filter(pl.col("duration_s").is_between(low, high, closed="left")), "gpu_util_avg_pct") / 100
    duty = drawn.column("duty", pl.col("kind") == kind, pl.col("duration").is_between(low, high, closed="left"))
    assert len(duty) > 300
    assert len(real) >= 26
    assert duty.mean() == pytest.approx(real.mean(), abs=0.05)
    for share in (0.1, 0.25, 0.5, 0.75, 0.9):
        assert np.quantile(duty, share) == pytest.approx(np.quantile(real, share), abs=0.16), share


@pytest.mark.real_data
def test_waiting_is_of_the_size_that_clusters_publish(drawn: Drawn, openb: pl.DataFrame, acme: pl.DataFrame) -> None:
    wait = drawn.column("wait")
    pods = values(openb.select(pl.col("scheduled_time") - pl.col("creation_time")).drop_nulls(), "scheduled_time")
    # Most start at once, some wait for hours: as at Philly, the slowest of the five.
    assert np.median(pods) <= 1
    assert np.median(wait) <= values(acme, "med_que_time_gpu").max()
    assert values(acme, "avg_que_time_gpu").min() < wait.mean() < values(acme, "avg_que_time_gpu").max()


@pytest.mark.real_data
def test_jobs_end_as_at_philly(acme: pl.DataFrame) -> None:
    philly = acme.row(by_predicate=pl.col("id") == "Philly", named=True)
    assert philly["complete_rate_gpu"] == traces.COMPLETED_SHARE
    assert philly["cancel_rate_gpu"] == traces.CANCELLED_SHARE
