"""The fleet of the bench sends what agents send, at their paces, and counts what it sends."""

import pytest

from bench._fleet import FIRST, STEPS, Templates, kind_of, templates
from collectors.wire import decode
from ledger.tables import TABLES

EACH_STEP = {
    "block_device_sample": 6,
    "gpu_process_sample": 8,
    "gpu_sample": 8,
    "host_sample": 1,
    "network_port_sample": 10,
    "pressure_sample": 3,
    "tcp_sample": 1,
}
EACH_15_SECONDS = {"training_sample": 8}
EACH_30_SECONDS = {
    "gpfs_sample": 1,
    "gpu_holder_sample": 8,
    "job_cgroup_sample": 8,
    "lustre_operation_sample": 50,
    "nfs_operation_sample": 36,
    "numa_sample": 2,
    "power_sample": 26,
    "pressure_sample": 3 + 3 * 8,
}
EACH_MINUTE = {"collector_run": 21, "gpu_health_sample": 8, "mount_sample": 7, "power_sample": 26 + 26}
ONCE = {"gpu": 8, "node": 1}

HALF_MINUTE = {**EACH_STEP, **EACH_15_SECONDS, **EACH_30_SECONDS}
WHOLE_MINUTE = {**HALF_MINUTE, **EACH_MINUTE}


@pytest.fixture(scope="module")
def made() -> Templates:
    return templates(1)


def test_a_fleet_sends_all_that_a_node_with_eight_gpus_has_at_its_paces(made: Templates) -> None:
    assert made.rows == {
        FIRST: {**WHOLE_MINUTE, **ONCE},
        "0": WHOLE_MINUTE,
        "1": {**EACH_STEP, **EACH_15_SECONDS},
        "2": EACH_STEP,
        "3": HALF_MINUTE,
        "4": {**EACH_STEP, **EACH_15_SECONDS},
        "5": EACH_STEP,
    }
    assert made.rows_a_minute() == 6 * 37 + 4 * 8 + 2 * (131 + 24) + 21 + 8 + 7 + 26
    assert set(made.rows[FIRST]) <= set(TABLES)


def test_a_fleet_counts_what_its_batches_hold_and_tells_rounds_once_a_minute(made: Templates) -> None:
    for kind, counted in made.rows.items():
        batch = decode(made.body(kind, "n00001", "1" * 32, 1_763_650_000_000, variant=3))
        assert {name: len(next(iter(columns.values()))) for name, columns in batch.tables.items()} == counted
        for columns in batch.tables.values():
            assert set(columns.get("sampled_at", [])) <= {1_763_650_000_000}
            assert set(columns["node"]) == {"n00001"}
        runs = batch.tables.get("collector_run")
        if runs is not None:
            in_a_minute = [60 / float(step or 0) for step in runs["step_seconds"]]
            assert runs["round_count"] == ([1] * len(in_a_minute) if kind == FIRST else in_a_minute)
            assert len(set(runs["collector"])) == counted["collector_run"]


def test_ports_are_infiniband_and_jobs_are_of_one_node_alone(made: Templates) -> None:
    tables = decode(made.body(FIRST, "n00007", "1" * 32, 1_763_650_000_000, variant=0)).tables
    ports = tables["network_port_sample"]
    assert ports["link_layer"].count("InfiniBand") == 8
    assert None not in [
        sent
        for sent, layer in zip(ports["symbol_error_count_total"], ports["link_layer"], strict=True)
        if layer == "InfiniBand"
    ]
    jobs = {f"n00007-{number}" for number in range(1001, 1009)}
    for name in ("gpu_process_sample", "gpu_holder_sample", "job_cgroup_sample", "training_sample"):
        assert set(tables[name]["job_id"]) == jobs, name
    # What began before goes on: its beginning is no instant of the batch.
    assert set(tables["training_sample"]["started_at"]) == {1_760_000_000_000}


def test_agents_are_at_different_steps_of_their_minutes() -> None:
    assert kind_of(5, 0) == FIRST
    assert sorted(kind_of(index, 1) for index in range(STEPS)) == [str(step) for step in range(STEPS)]
    assert [kind_of(0, count) for count in range(1, 8)] == ["1", "2", "3", "4", "5", "0", "1"]
