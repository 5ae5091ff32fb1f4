"""What trainings told is counted once: over runs, over models and over days it is what was sent."""

from datetime import datetime, timedelta
from itertools import pairwise
from operator import itemgetter
from typing import Any

import polars as pl
from hypothesis import strategies as st

from ledger.names import NOBODY_AT
from ledger.tables import JobGpuHour, TrainingDay, TrainingSample
from queries.graph import Span
from queries.rollups.training_day import training_day
from tests.bills import HOUR, MONTH, NEXT, at, job_hour, rows
from tests.frames import validated
from tests.queries.rollups.conftest import on_cases
from tests.queries.rollups.test_model_cost_day import models, trained

MINUTE = timedelta(minutes=1)
COUNTS = ("trained_sample_count", "trained_token_count")


def days(
    told: list[dict[str, Any]], held: list[dict[str, Any]], start: datetime = MONTH, end: datetime = NEXT
) -> pl.DataFrame:
    return days_of(rows(TrainingSample, told), rows(JobGpuHour, held), start, end)


def days_of(told: pl.DataFrame, held: pl.DataFrame, start: datetime = MONTH, end: datetime = NEXT) -> pl.DataFrame:
    return validated(TrainingDay, training_day.function(told.lazy(), held.lazy(), Span(start, end, NEXT)).collect())


def held_in(cluster: str) -> list[dict[str, Any]]:
    """Return three days of the devices of three jobs."""
    return [
        job_hour(at(day), f"g{index}", job, productive_seconds=3600, model=model, cluster=cluster)
        for day in (3, 4, 5)
        for index, (job, model) in enumerate((("j1", "llm"), ("j2", "llm"), ("j3", "other")))
    ]


PROCESSES = st.fixed_dictionaries(
    {
        "job_id": st.sampled_from(["j1", "j2", "j3", ""]),
        "node": st.sampled_from(["a1", "b2"]),
        "rank": st.integers(0, 1),
        "start": st.integers(0, 2 * 24 * 60),
        "model": st.sampled_from([None, "as-it-says"]),
        "steps": st.lists(st.tuples(st.integers(1, 60), st.integers(0, 2**30), st.integers(0, 2**30)), min_size=1),
    }
)


def sent(process: dict[str, Any], cluster: str) -> list[dict[str, Any]]:
    """Return what a process tells: its counters begin at 0 when it starts."""
    start = at(3) + process["start"] * MINUTE
    when, samples, tokens, told = start, 0, 0, []
    for minutes, more_samples, more_tokens in process["steps"]:
        when, samples, tokens = when + minutes * MINUTE, samples + more_samples, tokens + more_tokens
        given_: dict[str, Any] = {name: process[name] for name in ("job_id", "node", "model")}
        given_ |= {"cluster": cluster, "started_at": start, "sample_count_total": float(samples)}
        told.append(trained(when, float(tokens), process["rank"], **given_))
    return told


@on_cases(st.lists(PROCESSES, max_size=8, unique_by=itemgetter("job_id", "node", "rank", "start")))
def test_samples_over_runs_are_samples_over_models_are_what_was_sent(cases: list[list[dict[str, Any]]]) -> None:
    clusters = {f"c{place}": processes for place, processes in enumerate(cases)}
    told = [row for cluster, processes in clusters.items() for process in processes for row in sent(process, cluster)]
    held = [row for cluster in clusters for row in held_in(cluster)]
    samples, held_rows = rows(TrainingSample, told), rows(JobGpuHour, held)
    by_run, by_model = days_of(samples, held_rows), models([], held, training=told)
    for place, name in enumerate(COUNTS, start=1):
        every = 0
        for cluster, processes in clusters.items():
            for job in ("j1", "j2", "j3", ""):
                own = [step[place] for process in processes if process["job_id"] == job for step in process["steps"]]
                assert by_run.filter(cluster=cluster, job_id=job)[name].sum() == sum(own)
                every += sum(own)
        assert by_run[name].sum() == by_model[name].sum() == every
    # No process starts before the third or after the fifth: what lies around is two stretches.
    apart = [days_of(samples, held_rows, at(start), at(end)) for start, end in pairwise((1, *range(3, 10), 31))]
    assert pl.concat(apart).equals(by_run)


def test_a_run_that_restarts_is_one_run_and_an_id_that_recurs_is_two() -> None:
    held = [
        job_hour(at(5, 8), "g0", "j1", productive_seconds=3600, model="old"),
        job_hour(at(5, 10), "g0", "j1", productive_seconds=3600, model="llm", submitted_at=at(5, 9)),
        job_hour(at(5, 11), "g0", "j1", productive_seconds=3600, model="llm", submitted_at=at(5, 9), restart_count=1),
    ]
    told = [
        trained(at(5, 8, 30), 7.0, started_at=at(5, 8)),
        trained(at(5, 10, 5), 100.0, started_at=at(5, 10), sample_count_total=4.0),
        trained(at(5, 11, 5), 60.0, started_at=at(5, 11), sample_count_total=2.0),
    ]
    assert days(told, held).select("submitted_at", "model", *COUNTS).sort("model").rows() == [
        (at(5, 9), "llm", 6, 160),
        (MONTH, "old", None, 7),
    ]


def test_what_is_not_known_to_be_of_the_day_is_null_and_not_zero() -> None:
    late = trained(at(5, 10), 9000.0, started_at=at(1))
    (row,) = days([late], []).to_dicts()
    assert (row["submitted_at"], row["model"]) == (NOBODY_AT, "as-it-says")
    assert [row[name] for name in COUNTS] == [None, None]
    (more,) = days([late, trained(at(5, 10) + HOUR, 9010.0, started_at=at(1))], []).to_dicts()
    assert [more[name] for name in COUNTS] == [None, 10]
    assert models([], [], training=[late]).is_empty()


def test_a_counter_at_zero_is_not_used_and_one_that_stands_still_advanced_by_nothing() -> None:
    told = [
        trained(at(5, 10, 5), 0.0, started_at=at(5, 10), sample_count_total=0.0),
        trained(at(5, 10, 10), 0.0, started_at=at(5, 10), sample_count_total=7.0),
        trained(at(5, 23, 50), 0.0, started_at=at(5, 10), sample_count_total=7.0),
        trained(at(6, 0, 5), 0.0, started_at=at(5, 10), sample_count_total=7.0),
    ]
    assert days(told, []).select(COUNTS).rows() == [(7, None), (0, None)]
