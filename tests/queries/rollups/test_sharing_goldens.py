"""Worked numbers of others: where they are right ours are the same, and where they are wrong ours add up."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pytest

from collectors.node._nvml_mig import Slice, fractions
from ledger import money
from ledger.tables import AllocationHour
from tests.bills import GIB, at, device_hour, job, job_hour, node
from tests.queries.rollups.test_allocation_hour import allocated, by, cost

H = at(5, 10)
P3 = {"cpu_count": 64, "memory_bytes": 488.0 * GIB, "gpu_count": 8}


def sliced(*profiles: tuple[int, int], memory: int = 8) -> list[Decimal]:
    """Return the parts of a device that MIG slices take, and what is nobody's last."""
    found, rest = fractions(
        [
            Slice(f"m{index}", None, index, f"{compute}g", None, compute / 7, eighths / memory)
            for index, (compute, eighths) in enumerate(profiles)
        ]
    )
    return [*found, rest]


def hours(name: str, *parts: Decimal, held: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return an hour of slices, of which the first few are held by a job each."""
    devices = [
        device_hour(H, f"{name}/{index}", gpu_fraction=part, productive_seconds=3600 if index < held else 0)
        for index, part in enumerate(parts)
        if part
    ]
    jobs = [
        job_hour(H, f"{name}/{index}", f"{name}-j{index}", gpu_fraction=part, productive_seconds=3600)
        for index, part in enumerate(parts[:held])
    ]
    return devices, jobs


def test_the_split_that_aws_documents_to_its_last_printed_digit() -> None:
    """AWS, accelerated instances: p3.16xlarge at $10 is $0.504 a GPU-hour, $0.05 a vCPU-hour and $0.00506 a GB-hour."""
    devices = [device_hour(H, f"g{index}", productive_seconds=3600 if not index else 0) for index in range(8)]
    asked = job("j1", cpu_count=1, memory_bytes=1.0 * GIB)
    made = allocated(
        [cost("10")],
        devices,
        [job_hour(H, "g0", "j1", productive_seconds=3600)],
        job_rows=[asked],
        nodes=[node(**P3)],
        split_rule="aws_9_09_01",
    )
    mine = made.filter(pl.col("job_id") == "j1")
    gpu, rest = (mine.filter((pl.col("gpu_uuid") != "") == is_gpu)["billed_cost"].item() for is_gpu in (True, False))
    assert round(gpu, 3) == Decimal("0.504")
    # The unit is 10 / (9*8 + 0.9*64 + 0.1*488) = 0.05605; AWS prints it as 0.056 and a processor as 0.05.
    unit = Decimal(10) / Decimal("178.4")
    assert abs(gpu - 9 * unit) < Decimal("1e-17")
    assert abs(rest - (Decimal("0.9") + Decimal("0.1")) * unit) < Decimal("1e-17")
    assert round(Decimal("0.9") * unit, 2) == Decimal("0.05")
    assert money.add(*made["billed_cost"]) == 10
    details = made["allocated_method_details"].unique().to_list()
    assert details == ['{"x_Unit":"GPU, vCPU, GiB","x_Weights":{"gpu":9,"cpu":0.9,"memory":0.1}}']


@pytest.mark.parametrize(
    ("split_rule", "ratio"), [("whole_node_to_gpu", 1), ("95_3_2", "0.95"), ("70_30", "0.7"), ("aws_9_09_01", "0.160")]
)
def test_what_part_of_a_p5_node_is_its_gpus_by_each_rule(split_rule: str, ratio: str) -> None:
    """The same hardware by published rules: Datadog 95 %, Grafana's exporter 70 %, AWS 16.0 % of a p5.48xlarge."""
    p5 = node(cpu_count=192, memory_bytes=2048.0 * GIB, gpu_count=8)
    made = allocated(
        [cost("100")], [device_hour(H, f"g{index}") for index in range(8)], nodes=[p5], split_rule=split_rule
    )
    gpus = money.add(*made.filter(pl.col("gpu_uuid") != "")["billed_cost"])
    assert round(gpus / 100, 3) == Decimal(ratio)


@pytest.mark.parametrize(
    ("kind", "ratio"),
    [
        ({"cpu_count": 192, "memory_bytes": 2048.0 * GIB, "gpu_count": 8}, "0.160"),
        ({"cpu_count": 96, "memory_bytes": 1152.0 * GIB, "gpu_count": 8}, "0.263"),
        (P3, "0.404"),
        ({"cpu_count": 4, "memory_bytes": 16.0 * GIB, "gpu_count": 1}, "0.634"),
    ],
    ids=["p5.48xlarge", "p4d.24xlarge", "p3.16xlarge", "g5.xlarge"],
)
def test_what_part_of_each_server_is_its_gpus_by_the_rule_of_aws(kind: dict[str, Any], ratio: str) -> None:
    """GPU 9, vCPU 0.9, GB 0.1: 16.0 % of a p5, 26.3 % of a p4d, 40.4 % of a p3 and 63.4 % of a g5."""
    devices = [device_hour(H, f"g{index}") for index in range(int(kind["gpu_count"]))]
    made = allocated([cost("100")], devices, nodes=[node(**kind)], split_rule="aws_9_09_01")
    assert round(money.add(*made.filter(pl.col("gpu_uuid") != "")["billed_cost"]) / 100, 3) == Decimal(ratio)
    assert money.add(*made["billed_cost"]) == 100


@pytest.mark.parametrize(
    ("split_rule", "hourly"),
    [("whole_node_to_gpu", "12.50"), ("95_3_2", "11.88"), ("70_30", "8.75"), ("aws_9_09_01", "2.00")],
)
def test_what_an_idle_gpu_hour_of_a_p5_node_is_worth_by_each_rule(split_rule: str, hourly: str) -> None:
    """On a node at $100 an hour the rule decides, up to $11.88 by Datadog's and $12.50 where GPUs carry all of it."""
    p5 = node(cpu_count=192, memory_bytes=2048.0 * GIB, gpu_count=8)
    devices = [device_hour(H, f"g{index}") for index in range(8)]
    made = allocated([cost("100")], devices, nodes=[p5], split_rule=split_rule)
    one = made.filter(gpu_uuid="g3").row(0, named=True)
    assert (one["bucket"], one["state"], one["held_gpu_seconds"]) == ("idle", "unallocated", 3600)
    assert money.rounded(one["billed_cost"], "USD") == Decimal(hourly)


def test_two_devices_in_koku_s_slice_hours() -> None:
    """Its capacity is 336 slice-hours, it counts 192 as used, 144 as free: 20.6 GPU-hours. In truth 48 are held."""
    seven = [Decimal("0.142857")] * 6 + [Decimal("0.142858")]
    sliced_devices, sliced_jobs = hours("b", *seven, held=7)
    day = [H + timedelta(hours=index) for index in range(24)]
    devices = [{**each, "hour_start": at_} for at_ in day for each in sliced_devices]
    devices += [device_hour(at_, "a", productive_seconds=3600) for at_ in day]
    held = [{**each, "hour_start": at_} for at_ in day for each in sliced_jobs]
    held += [job_hour(at_, "a", "whole", productive_seconds=3600) for at_ in day]
    made = allocated([cost("2", at_) for at_ in day], devices, held)
    assert set(made["bucket"]) == {"allocated"}
    assert sum(made["held_gpu_seconds"]) == 48 * 3600
    assert by(made, "job_id")["whole"] == 24, "half of the node, and no eighth of it"
    assert money.add(*made["billed_cost"]) == 48


def test_the_three_slices_that_koku_prices() -> None:
    """Koku: 4, 3 and 2 of 7 compute slices of $6 are $3.43, $2.57 and $1.72 (it prints 1.714 rounded up)."""
    first = hours("a", Decimal("0.571429"), Decimal("0.428571"), held=2)
    made = allocated([cost("6")], *first)
    assert [round(each, 2) for each in by(made, "job_id").values()] == [Decimal("3.43"), Decimal("2.57")]
    second = hours("b", Decimal("0.285714"), Decimal("0.714286"), held=1)
    made = allocated([cost("6")], *second)
    assert by(made, "bucket") == {"allocated": Decimal("1.714284"), "idle": Decimal("4.285716")}


def test_150_slice_hours_of_a_month() -> None:
    """Koku: 150 slice-hours of a GPU at $3 an hour (7 slices) are $64.28, printed; here exactly 150/7 of its price."""
    seventh = [Decimal("0.142857")] * 6 + [Decimal("0.142858")]
    devices, held = hours("a", *seventh, held=1)
    made = allocated([cost("3")], devices, held)
    hourly = by(made, "bucket")["allocated"]
    assert hourly == Decimal("0.428571")
    assert abs(150 * hourly - Decimal("64.2857")) < Decimal("0.0001")
    assert by(made, "bucket") == {"allocated": hourly, "idle": 3 - hourly}


def test_a_node_with_a_whole_and_a_sliced_device_is_not_billed_at_143_percent() -> None:
    """Koku's first fault: 2 A100, one whole, one as seven busy slices: 20.6 GPU-hours of 48 called free."""
    seven = [Decimal("0.142857")] * 6 + [Decimal("0.142858")]
    devices, held = hours("b", *seven, held=7)
    devices.append(device_hour(H, "a", productive_seconds=3600))
    held.append(job_hour(H, "a", "whole", productive_seconds=3600))
    made = allocated([cost("48")], devices, held)
    assert set(made["bucket"]) == {"allocated"}
    assert by(made, "job_id")["whole"] == 24
    assert money.add(*made["billed_cost"]) == 48


def test_free_slices_of_the_single_strategy_are_seen() -> None:
    """Koku's second fault: 3g.20gb single, one of two busy: its negative rest is dropped; 57 % is free in truth."""
    parts = sliced((3, 4), (3, 4))
    assert parts == [Decimal("0.5"), Decimal("0.5"), Decimal(0)]
    by_compute = hours("a", Decimal("0.428571"), Decimal("0.428571"), Decimal("0.142858"), held=1)
    assert round(by(allocated([cost("1")], *by_compute), "bucket")["idle"], 2) == Decimal("0.57")
    # By compute or memory, whichever is larger: two 3g.20gb have all the memory, so half is free.
    assert by(allocated([cost("1")], *hours("a", *parts, held=1)), "bucket") == {
        "allocated": Decimal("0.5"),
        "idle": Decimal("0.5"),
    }


def test_a_slice_is_charged_for_memory_where_that_is_more() -> None:
    """1g.10gb and 1g.20gb of 80 GB take a seventh of the compute each, but an eighth and a quarter of the memory."""
    small, large, rest = sliced((1, 1), (1, 2))
    assert (round(small, 3), large) == (Decimal("0.143"), Decimal("0.25"))
    assert small + large + rest == 1
    made = allocated([cost("100")], *hours("a", small, large, rest, held=2))
    assert by(made, "bucket") == {"allocated": 100 * (small + large), "idle": 100 * rest}


def test_eight_gpus_at_full_load_are_not_an_eighth() -> None:
    """OpenCost: a job on 8 busy GPUs reads 12.5 %, a mean over devices divided by their number once more."""
    devices = [device_hour(H, f"g{index}", productive_seconds=3600) for index in range(8)]
    held = [job_hour(H, f"g{index}", "j1", productive_seconds=3600) for index in range(8)]
    made = allocated([cost("98.32")], devices, held)
    assert by(made, "state") == {"productive": Decimal("98.32")}
    assert made["held_gpu_seconds"].sum() == 8 * 3600


@pytest.mark.parametrize("sharers", [2, 4, 10])
def test_time_slicing_costs_neither_nothing_nor_as_often_as_it_is_shared(sharers: int) -> None:
    """OpenCost: $0.00 with renamed resources, and the whole device for each pod without."""
    part = 3600 // sharers
    held = [job_hour(H, "g0", f"j{index}", productive_seconds=part) for index in range(sharers)]
    made = allocated([cost("4")], [device_hour(H, "g0", productive_seconds=3600)], held)
    assert by(made, "job_id") == {f"j{index}": Decimal(4) / sharers for index in range(sharers)}


def test_a_job_on_spot_and_on_demand_pays_each_nodes_own_price() -> None:
    devices = [device_hour(H, f"{name}-g", name, productive_seconds=3600) for name in ("a1", "b2")]
    held = [job_hour(H, f"{name}-g", "j1", name, productive_seconds=3600) for name in ("a1", "b2")]
    bills = [cost("98.32"), cost("29.5", node="b2", resource_id="i-b2")]
    assert by(allocated(bills, devices, held), "node", "job_id") == {
        ("a1", "j1"): Decimal("98.32"),
        ("b2", "j1"): Decimal("29.5"),
    }


def test_a_custom_split_is_stored_with_its_shares() -> None:
    ratios = {"gpu": Decimal("0.8"), "cpu": Decimal("0.2")}
    devices = [device_hour(H, f"g{index}") for index in range(8)]
    made = allocated([cost("10")], devices, nodes=[node(**P3)], split_rule="custom", split_ratios=ratios)
    assert by(made.with_columns(pl.col("gpu_uuid").str.slice(0, 1)), "gpu_uuid") == {"g": 8, "": 2}
    assert made.select("allocated_method_id", "allocated_method_details").unique().rows() == [
        ("custom", '{"x_Unit":"ShareOfNode","x_Weights":{"gpu":"0.8","cpu":"0.2","memory":"0"}}')
    ]
    AllocationHour.validate(made)
