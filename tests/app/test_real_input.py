"""Real bills and traces through the command line, against totals that were computed apart from it."""

import json
import tarfile
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


TOTALS = {
    FOCUS: {"rows": 454, "billed": "BilledCost", "effective": "EffectiveCost"},
    "billing/aws/cur_legacy_2023-11_01to07.csv": {"rows": 724, "billed": "UnblendedCost"},
}
"""Files whose totals are known, and under which names."""

TOO_OLD = "billing/focus/focus_0.5_all_pass.csv"


def test_every_bill_is_imported_whole(
    command: Command, home: Path, shared_data: Path, expected: dict[str, Any]
) -> None:
    """Not a row of a bill is refused once it is stated what some files lack; one is of a version before 1.0."""
    (home / "clusterledger.toml").write_text(
        "[money.bill_defaults]\n"
        'BillingCurrency = "USD"\nBillingAccountId = "example"\nServiceProviderName = "Example"\n',
        encoding="utf-8",
    )
    with tarfile.open(shared_data / "billing/aws/cur_s3_layout_2018-08.tar.gz") as packed:
        packed.extractall(home / "s3", filter="data")
    files = sorted(each for each in (shared_data / "billing").rglob("*.csv") if each.parent.name != "reference")
    ended = command("ingest", str(home / "s3"), *map(str, files), "--json")
    assert ended.code == 2
    found = {each["path"].removeprefix(f"{shared_data}/"): each for each in json.loads(ended.out)["files"]}
    assert len(found) == len(files) + 1
    assert "found FOCUS 0.5 (AmortizedCost, ChargeType), expected FOCUS 1.0 to 1.4" in found.pop(TOO_OLD)["error"]
    assert {path for path, each in found.items() if each.get("error") or each["rejected"] or not each["rows"]} == set()
    for path, names in TOTALS.items():
        assert found[path]["rows"] == names["rows"] == expected[path]["rows"]
        assert found[path]["billed_cost"] == {"USD": expected[path][names["billed"]].rstrip("0")}
    gcp = found["billing/gcp/gcp_standard_export_2020-11.csv"]
    assert (gcp["billed_cost"], gcp["rows"]) == ({"USD": "0"}, 33)
    assert found[str(home / "s3")]["rows"] == 6_190
    kept = rows(
        command, "SELECT source_name, sum(row_count) AS n, sum(rejected_count) AS refused FROM bill_import GROUP BY 1"
    )
    assert {each["refused"] for each in kept} == {0}
    assert sum(each["n"] for each in kept) == sum(each["rows"] for each in found.values())
