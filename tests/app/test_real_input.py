"""Real bills and traces through the command line, against totals that were computed apart from it."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.app.conftest import Command

pytestmark = pytest.mark.real_data

FOCUS = "billing/focus/focus_1.0_sample_aws_1to15_microsoft.csv"
COCKPIT = "jobs/clustercockpit_alex_a40_gpu_jobs.parquet"
PODS = "jobs/alibaba_openb2023_pods_part1.csv"


def rows(command: Command, query: str) -> Any:
    return json.loads(command("sql", query, "--format", "json").out)


@pytest.fixture
def expected(shared_data: Path) -> dict[str, Any]:
    return dict(json.loads((shared_data / "expected.json").read_text(encoding="utf-8")))


def test_a_real_bill_gives_its_totals_to_the_last_digit_and_counts_once(
    command: Command, shared_data: Path, expected: dict[str, Any]
) -> None:
    known = expected[FOCUS]
    found = json.loads(command("ingest", str(shared_data / FOCUS), "--json").out)["files"][0]
    assert found["rows"] == known["rows"]
    assert found["billed_cost"] == {"USD": known["BilledCost"]}
    assert found["effective_cost"] == {"USD": known["EffectiveCost"]}
    again = json.loads(command("ingest", str(shared_data / FOCUS), "--json").out)["files"][0]
    assert again["is_unchanged"]
    totals = rows(command, 'SELECT count(*) AS n, sum("BilledCost") AS billed FROM focus_charge')
    assert totals == [{"n": known["rows"], "billed": known["BilledCost"]}]
    command("rollup")
    assert rows(command, "SELECT sum(billed_cost) AS billed FROM allocation_hour") == [{"billed": known["BilledCost"]}]


def test_real_jobs_give_their_gpu_hours_and_idle_gpu_hours(
    command: Command, shared_data: Path, expected: dict[str, Any]
) -> None:
    known = expected[COCKPIT]
    command("ingest", str(shared_data / COCKPIT))
    command("rollup")
    found = rows(
        command,
        "SELECT count(*) AS jobs, sum(gpu_allocated_seconds)::DOUBLE / 3600 AS held, "
        "sum(gpu_idle_seconds)::DOUBLE / 3600 AS idle FROM job_usage",
    )[0]
    assert found["jobs"] == known["jobs"]
    assert found["held"] == pytest.approx(known["gpu_hours"], rel=1e-12)
    assert found["idle"] == pytest.approx(known["idle_gpu_hours"], rel=1e-12)


def test_real_pods_are_jobs_with_parts_of_gpus_and_a_queue(
    command: Command, shared_data: Path, expected: dict[str, Any]
) -> None:
    known = expected[PODS]
    command("ingest", str(shared_data / PODS))
    found = rows(
        command,
        "SELECT count(*) AS pods, round(sum(requested_gpu_count), 6) AS gpus, "
        "count(*) FILTER (started_at IS NULL) AS waiting FROM job",
    )[0]
    assert found == {"pods": known["pods"], "gpus": known["gpus_requested"], "waiting": known["never_scheduled"]}
