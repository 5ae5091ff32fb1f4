"""What is known of processes, of networks and of a job's hosts, as pages show it."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import dataframely as dy
import polars as pl
import pytest

from app.context import Context
from ledger.tables import AttributionHour, CollectorRun, JobUsage, NetworkHour, NodeEvent, NodeNetworkHour, StorageHour
from ledger.tables.partition import floor, partition_key
from tests.app.conftest import used
from tests.app.opening import metrics, opened, said
from tests.demo import DEMO_NOW

HOUR = floor(DEMO_NOW, "hour") - timedelta(hours=2)
GIB = 2**30


def put(
    context: Context, schema: type[dy.Schema], *rows: dict[str, Any], at: datetime = HOUR, grain: str = "hour"
) -> None:
    types = {name: column.dtype for name, column in schema.columns().items()}
    frame = pl.DataFrame([{name: row.get(name) for name in types} for row in rows], types)
    context.store.replace(schema, frame, partitions=[partition_key(at, grain)], state=None)
    context.changed()


def attributed(node: str, process: int, **sources: int) -> dict[str, Any]:
    names = ("cgroup", "prolog", "pod_resources", "environ", "other", "unattributed")
    seconds = {f"{name}_seconds": Decimal(sources.get(name, 0)) for name in names}
    place = {"hour_start": HOUR, "cluster": "c", "node": node, "observed_seconds": Decimal(1000)}
    return {**place, **seconds, "invisible_seconds": Decimal(sources.get("invisible", 0)), "process_seconds": process}


def test_whose_processes_are_known_is_a_share_and_the_least_known_node_is_first(empty_context: Context) -> None:
    put(
        empty_context,
        AttributionHour,
        {**attributed("well", 600, cgroup=300, pod_resources=300), "confidence_ratio": 0.85},
        {**attributed("badly", 200, environ=100, unattributed=100, invisible=500), "confidence_ratio": 0.5},
    )
    with used(empty_context):
        test = opened("data_health")
    shown = metrics(test)
    assert (shown["Owner known"][0], shown["Processes not seen"][0]) == ("87.5 %", "25.0 %")
    assert shown["Confidence"][0] == "80.0 %"
    table = next(each.value for each in test.dataframe if "pod_resources_seconds" in each.value.columns)
    assert list(table["node"]) == ["badly", "well"]


def linked(node: str, hour: datetime, evidence: str) -> dict[str, Any]:
    capacity = 5.0 if evidence else 10.0
    place = {"hour_start": hour, "cluster": "c", "node": node, "evidence": evidence, "expectation_source": "peers"}
    ports = {"expected_port_count": 2, "up_port_count": 2, "expected_capacity_bytes": 10.0, "capacity_bytes": capacity}
    tcp = {"tcp_sent_segment_count": 90, "tcp_retransmitted_segment_count": 10}
    return {**place, **ports, **tcp, "observed_seconds": Decimal(3600)}


@pytest.mark.parametrize("page", ["data_health", "network_storage"])
def test_a_node_that_is_short_of_ports_is_named_with_what_is_amiss(page: str, empty_context: Context) -> None:
    before = HOUR - timedelta(hours=1)
    put(empty_context, NodeNetworkHour, linked("sound", HOUR, ""), linked("slow", HOUR, "mlx5_1/1 at 100 of 200 Gb/s"))
    put(empty_context, NodeNetworkHour, linked("sound", before, "mlx5_0/1 down"), linked("slow", before, ""), at=before)
    put(empty_context, StorageHour, filed(0.5))
    if page == "network_storage":
        put_ports(empty_context)
    with used(empty_context):
        test = opened(page)
    table = next(each.value for each in test.dataframe if "is_short_now" in each.value.columns)
    columns = ["node", "evidence", "is_short_now", "short_hour_count"]
    assert table[columns].values.tolist() == [
        ["slow", "mlx5_1/1 at 100 of 200 Gb/s", True, 1],
        ["sound", "mlx5_0/1 down", False, 1],
    ]
    if page == "network_storage":
        assert metrics(test)["Short of ports"] == ("1", "of 2")
        nodes = next(each.value for each in test.dataframe if "network_capacity_ratio" in each.value.columns)
        assert dict(zip(nodes["node"], nodes["network_capacity_ratio"], strict=True)) == {"slow": 0.75, "sound": 0.75}
        assert set(nodes["tcp_retransmitted_ratio"]) == {0.1}
        systems = next(each.value for each in test.dataframe if "longest_operation" in each.value.columns)
        assert systems[["read_count", "mean_read_seconds", "mean_write_seconds"]].fillna(-1).values.tolist() == [
            [50, 10.0, -1.0]
        ]


def filed(read_seconds: float) -> dict[str, Any]:
    place = {"hour_start": HOUR, "cluster": "c", "node": "n", "filesystem_type": "nfs", "file_system": "nas:/home"}
    reads = {"read_count": 50, "read_operation_seconds": read_seconds, "longest_operation": "READ"}
    return {**place, "mount_point": "/home", **reads, "observed_seconds": Decimal(3600)}


def put_ports(context: Context) -> None:
    port = {"hour_start": HOUR, "cluster": "c", "node": "slow", "device": "mlx5_1", "port": "1", "reset_count": 0}
    put(context, NetworkHour, {**port, "observed_seconds": Decimal(3600)})


def test_an_ethernet_port_that_is_slow_is_named_like_any_other(empty_context: Context) -> None:
    row = {**linked("n", HOUR, "eth1 of bond0 at 1.0 of 25.0 Gb/s"), "expectation_source": None}
    ethernet = {"expected_ethernet_port_count": 2, "up_ethernet_port_count": 2, "ethernet_expectation_source": "bond"}
    put(empty_context, NodeNetworkHour, {**row, "expected_port_count": None, "up_port_count": None, **ethernet})
    put_ports(empty_context)
    with used(empty_context):
        test = opened("network_storage")
    table = next(each.value for each in test.dataframe if "is_short_now" in each.value.columns)
    columns = ["evidence", "is_short_now", "ethernet_expectation_source"]
    assert table[columns].values.tolist() == [["eth1 of bond0 at 1.0 of 25.0 Gb/s", True, "bond"]]
    assert metrics(test)["Short of ports"] == ("1", "of 1")


def test_rows_that_were_lost_on_a_node_are_shown_before_what_happens_every_day(empty_context: Context) -> None:
    def happened(event: str, node: str = "n", **more: Any) -> dict[str, Any]:
        return {"occurred_at": HOUR, "cluster": "c", "node": node, "event": event, "message": f"{event}!", **more}

    rows = [happened("agent_started"), happened("rows_dropped", row_count=7), happened("clock_jump", "m")]
    later = {**happened("rows_dropped", row_count=3), "occurred_at": HOUR + timedelta(minutes=1), "message": "again"}
    types = {name: column.dtype for name, column in NodeEvent.columns().items()}
    events = pl.DataFrame([{name: row.get(name) for name in types} for row in [*rows, later]], types)
    empty_context.store.append(NodeEvent, events, source="test")
    empty_context.changed()
    with used(empty_context):
        test = opened("data_health")
    table = next(each.value for each in test.dataframe if "last_message" in each.value.columns)
    assert table[["node", "event", "event_count"]].values.tolist() == [
        ["n", "rows_dropped", 2],
        ["m", "clock_jump", 1],
        ["n", "agent_started", 1],
    ]
    assert (table["row_count"][0], table["last_message"][0]) == (10, "again")


def test_two_machines_that_send_under_one_name_are_told_and_boots_are_not(empty_context: Context) -> None:
    def ran(node: str, minute: int, boot: str) -> dict[str, Any]:
        at = HOUR + timedelta(minutes=minute, seconds=0 if boot < "b" else 7)
        told = {"step_seconds": 60.0, "collector": "host", "is_ok": True, "row_count": 1, "duration_seconds": 0.1}
        return {"cluster": "c", "node": node, "boot_id": boot, "sampled_at": at, **told}

    twins = [ran("twins", minute, boot) for minute in range(10) for boot in ("a", "b")]
    rebooted = [ran("rebooted", minute, "abcdefghij"[minute // 2]) for minute in range(20)]
    # At its boot its clock went back.
    back = [*(ran("back", minute, "a") for minute in range(6)), *(ran("back", minute, "b") for minute in range(5, 12))]
    types = {name: column.dtype for name, column in CollectorRun.columns().items()}
    runs = pl.DataFrame([{name: row.get(name) for name in types} for row in [*twins, *rebooted, *back]], types)
    empty_context.store.append(CollectorRun, runs, source="test")
    empty_context.changed()
    with used(empty_context):
        test = opened("data_health")
    table = next(each.value for each in test.dataframe if "last_message" in each.value.columns)
    assert table[["node", "event", "event_count"]].values.tolist() == [["twins", "two_agents", 1]]
    assert "boots a and b send under this name at once: two machines (agent.node)" in table["last_message"][0]


def test_where_nobody_says_what_a_network_should_be_the_page_says_how_it_is_told(empty_context: Context) -> None:
    row = {**linked("n", HOUR, ""), "expected_port_count": None, "expectation_source": None}
    put(empty_context, NodeNetworkHour, row)
    with used(empty_context):
        test = opened("data_health")
    assert "agent.expected_port_count" in said(test)
    assert "agent.expected_ethernet_port_count" in said(test)


def test_a_job_says_what_it_used_of_its_hosts(empty_context: Context) -> None:
    job = {
        "cluster": "c",
        "job_id": "7",
        "submitted_at": HOUR,
        "restart_count": 0,
        "team": "t",
        "model": "m",
        "workload_kind": "",
        "state": "RUNNING",
        "coverage_ratio": 0.0,
        "is_estimated": False,
        "started_at": HOUR,
        "cpu_count": 32,
        "cpu_seconds": 900.0,
        "cpu_active_ratio": 0.25,
        "host_memory_peak_bytes": 8.0 * GIB,
        "host_memory_bytes": 64.0 * GIB,
        "oom_kill_count": 2,
    }
    put(empty_context, JobUsage, job, grain="day")
    with used(empty_context):
        words = said(opened("jobs", query={"job": "7"}))
    assert (
        "Its hosts: processors 25.0 % of the time of 32 processors · host memory up to 8.0 GiB of 64.0 GiB on a node "
        "· 2 processes killed for want of host memory"
    ) in words
