import time
from collections.abc import Iterable, Mapping
from datetime import timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger import money
from ledger.money_sections import SHARED_COST_RULES, SPLIT_RULES, MoneySettings
from ledger.names import NOBODY_AT, STATES
from ledger.tables import AllocationHour, CostHour, GpuHour, JobGpuHour, NetworkHour, Node, StorageHour
from queries.graph import Span
from queries.rollups.allocation_hour import allocation_hour
from tests.bills import GIB, HOUR, MONTH, NODE_COST, at, device_hour, job, job_hour, jobs, mixed, node, rows
from tests.frames import validated

KEY = CostHour.primary_key()
H = at(5, 10)


def cost(billed: str | Decimal = "8", hour: Any = H, **given: Any) -> dict[str, Any]:
    row = NODE_COST | {
        "hour_start": hour,
        "invoice_id": "inv-1",
        "billed_cost": Decimal(billed),
        "effective_cost": given.get("effective_cost", Decimal(billed)),
        "spread_method": "even",
    }
    return row | given


def nowhere(billed: str = "8", **given: Any) -> dict[str, Any]:
    return cost(billed, **{"resource_id": "", "cluster": "", "node": ""} | given)


def allocated(
    costs: Iterable[Mapping[str, Any]],
    devices: Iterable[Mapping[str, Any]] = (),
    held: Iterable[Mapping[str, Any]] = (),
    *,
    job_rows: Iterable[Mapping[str, Any]] = (),
    nodes: Iterable[Mapping[str, Any]] = (),
    ports: Iterable[Mapping[str, Any]] = (),
    systems: Iterable[Mapping[str, Any]] = (),
    start: Any = MONTH,
    end: Any = MONTH + timedelta(days=31),
    **settings: Any,
) -> pl.DataFrame:
    given = inputs_of(costs, devices, held, job_rows=job_rows, nodes=nodes, ports=ports, systems=systems)
    return allocated_of(given, start=start, end=end, **settings)


def inputs_of(
    costs: Iterable[Mapping[str, Any]],
    devices: Iterable[Mapping[str, Any]] = (),
    held: Iterable[Mapping[str, Any]] = (),
    *,
    job_rows: Iterable[Mapping[str, Any]] = (),
    nodes: Iterable[Mapping[str, Any]] = (),
    ports: Iterable[Mapping[str, Any]] = (),
    systems: Iterable[Mapping[str, Any]] = (),
) -> dict[str, pl.DataFrame]:
    return {
        "costs": rows(CostHour, costs),
        "gpu_hours": rows(GpuHour, devices),
        "job_hours": rows(JobGpuHour, held),
        "jobs": jobs(job_rows),
        "nodes": rows(Node, nodes),
        "ports": rows(NetworkHour, ports),
        "systems": rows(StorageHour, systems),
    }


def allocated_of(
    given: Mapping[str, pl.DataFrame], start: Any = MONTH, end: Any = MONTH + timedelta(days=31), **settings: Any
) -> pl.DataFrame:
    read = {name: each.lazy() for name, each in given.items()}
    made = allocation_hour.function(**read, span=Span(start, end, end), settings=MoneySettings(**settings))
    return validated(AllocationHour, made.collect())


def by(frame: pl.DataFrame, *columns: str, measure: str = "billed_cost") -> dict[Any, Decimal]:
    sums = money.summed(frame, by=columns, columns=[measure]).iter_rows()
    return {row[0] if len(columns) == 1 else tuple(row[:-1]): row[-1] for row in sums}


def test_each_second_of_each_device_has_its_part_and_its_bucket() -> None:
    devices = [
        device_hour(H, "g0", held_idle_seconds=900, productive_seconds=900),
        device_hour(H, "g1", faulty_seconds=1800),
    ]
    held = [job_hour(H, "g0", "j1", held_idle_seconds=900, productive_seconds=900)]
    made = allocated([cost()], devices, held)
    assert by(made, "bucket", "state") == {
        ("allocated", "held_idle"): 1,
        ("allocated", "productive"): 1,
        ("idle", "unallocated"): 4,
        ("unallocable", "faulty"): 2,
    }
    mine = made.filter(pl.col("bucket") == "allocated")
    assert mine.select("team", "user", "job_id", "model").unique().rows() == [
        ("team-of-j1", "user-of-j1", "j1", "model-of-j1")
    ]
    assert mine["held_gpu_seconds"].to_list() == [900, 900]
    assert made["allocated_method_id"].unique().to_list() == ["whole_node_to_gpu"]


def test_a_broken_device_that_a_job_holds_is_the_jobs() -> None:
    made = allocated(
        [cost()], [device_hour(H, "g0", faulty_seconds=3600)], [job_hour(H, "g0", "j1", faulty_seconds=3600)]
    )
    assert by(made, "bucket") == {"allocated": 8}


def test_slices_weigh_their_fraction() -> None:
    slices = [
        device_hour(H, f"m{index}", gpu_fraction=Decimal(part)) for index, part in enumerate(["0.5", "0.25", "0.25"])
    ]
    made = allocated([cost("16")], [*slices, device_hour(H, "g1")])
    assert by(made, "gpu_uuid") == {"m0": 4, "m1": 2, "m2": 2, "g1": 8}
    assert sum(made["held_gpu_seconds"]) == 7200


def test_the_rest_of_a_division_goes_to_the_largest_share() -> None:
    made = allocated([cost("10")], [device_hour(H, f"g{index}") for index in range(3)])
    assert sorted(made["billed_cost"]) == [
        Decimal("3.333333333333333333"),
        Decimal("3.333333333333333333"),
        Decimal("3.333333333333333334"),
    ]


def test_a_billed_hour_without_device_time_is_unallocable() -> None:
    made = allocated([cost()])
    assert made.select("bucket", "state", "gpu_uuid").rows() == [("unallocable", "unknown", "")]
    assert by(made, "bucket") == {"unallocable": 8}


@pytest.mark.parametrize("category", ["Tax", "Credit", "Purchase", "Adjustment"])
def test_what_is_no_usage_is_shared(category: str) -> None:
    made = allocated([cost("-3", charge_category=category)], [device_hour(H, "g0")])
    assert by(made, "bucket") == {"shared": -3}


def test_what_nobody_used_of_a_commitment_is_idle() -> None:
    made = allocated([nowhere("0", effective_cost=Decimal(5), commitment_status="Unused")])
    assert by(made, "bucket", measure="effective_cost") == {"idle": 5}


def test_usage_without_an_owner_is_shared_where_it_serves_everybody() -> None:
    part = {"shared_billed_cost": Decimal(2), "shared_effective_cost": Decimal(2)}
    made = allocated([nowhere(**part), nowhere("2", hour=H + HOUR, **part)])
    assert by(made, "hour_start", "bucket") == {
        (H, "unallocable"): 6,
        (H, "shared"): 2,
        (H + HOUR, "shared"): 2,
    }


def test_unknown_effective_cost_stays_unknown() -> None:
    made = allocated([cost(effective_cost=None), nowhere(effective_cost=None)], [device_hour(H, "g0")])
    assert made["effective_cost"].null_count() == made.height
    assert money.add(*made["billed_cost"]) == 16


def test_device_time_is_said_once_where_it_has_several_costs() -> None:
    made = allocated([cost(), cost("1", resource_id="vol-1")], [device_hour(H, "g0")])
    assert by(made, "resource_id") == {"i-a1": 8, "vol-1": 1}
    assert dict(made.select("resource_id", "held_gpu_seconds").iter_rows()) == {"i-a1": 3600, "vol-1": 0}


P3 = {"cpu_count": 64, "memory_bytes": 488.0 * GIB, "gpu_count": 8}


def test_the_split_that_aws_documents() -> None:
    devices = [device_hour(H, f"g{index}") for index in range(8)]
    made = allocated([cost("10")], devices, nodes=[node(**P3)], split_rule="aws_9_09_01")
    device = made.filter(pl.col("gpu_uuid") == "g3")["billed_cost"].item()
    assert round(device, 3) == Decimal("0.504")
    assert device == Decimal("0.504484304932735426")
    rest = made.filter(pl.col("gpu_uuid") == "")
    assert rest.select("bucket", "state").rows() == [("idle", "")]
    assert made["allocated_method_id"].unique().to_list() == ["aws_9_09_01"]


def test_processors_and_memory_go_to_who_asked_for_them() -> None:
    devices = [device_hour(H, f"g{index}", productive_seconds=3600 if index == 0 else 0) for index in range(8)]
    held = [job_hour(H, "g0", "j1", productive_seconds=3600)]
    asked = job("j1", cpu_count=32, memory_bytes=244.0 * GIB, node_count=2)
    made = allocated([cost("100")], devices, held, job_rows=[asked], nodes=[node(**P3)], split_rule="95_3_2")
    assert by(made.filter(pl.col("gpu_uuid") == ""), "bucket", "job_id") == {
        ("allocated", "j1"): Decimal("1.25"),
        ("idle", ""): Decimal("3.75"),
    }
    assert money.add(*made.filter(pl.col("gpu_uuid") != "")["billed_cost"]) == 95
    assert made.filter(pl.col("gpu_uuid") == "")["held_gpu_seconds"].sum() == 0


def test_requests_beyond_the_node_share_all_of_it() -> None:
    held = [job_hour(H, "g0", name, productive_seconds=1800) for name in ("j1", "j2")]
    asked = [job(name, cpu_count=64, memory_bytes=488.0 * GIB) for name in ("j1", "j2")]
    made = allocated(
        [cost("100")],
        [device_hour(H, "g0", productive_seconds=3600)],
        [each | {"held_seconds": Decimal(3600)} for each in held],
        job_rows=asked,
        nodes=[node(**P3)],
        split_rule="70_30",
    )
    assert by(made.filter(pl.col("gpu_uuid") == ""), "job_id") == {"j1": 15, "j2": 15, "": 0}


def test_two_runs_of_one_id_in_an_hour_are_told_apart() -> None:
    again = {"submitted_at": MONTH + HOUR, "team": "b", "user": "u", "model": "m"}
    first = again | {"submitted_at": MONTH}
    held = [
        job_hour(H, "g0", "7", productive_seconds=900, **first),
        job_hour(H, "g0", "7", productive_seconds=2700, **again),
    ]
    made = allocated([cost("8")], [device_hour(H, "g0", productive_seconds=3600)], held)
    assert by(made, "submitted_at") == {MONTH: 2, MONTH + HOUR: 6}
    free = allocated([cost("8")], [device_hour(H, "g0")])
    assert free["submitted_at"].to_list() == [NOBODY_AT]


def test_a_node_of_unknown_size_gives_all_to_its_devices_and_says_so() -> None:
    made = allocated([cost()], [device_hour(H, "g0")], nodes=[node()], split_rule="95_3_2")
    assert made["allocated_method_id"].to_list() == ["whole_node_to_gpu"]


RATIOS = {"team-of-j1": Decimal("0.25"), "elsewhere": Decimal("0.333333")}


def shared(rule: str, **given: Any) -> pl.DataFrame:
    devices = [device_hour(H, f"g{index}", productive_seconds=3600) for index in range(4)]
    held = [job_hour(H, f"g{index}", "j1" if index else "j2", productive_seconds=3600) for index in range(4)]
    return allocated(
        [cost(), nowhere("6", charge_category="Tax", **given)],
        devices,
        held,
        shared_cost=rule,
        shared_cost_ratios=RATIOS,
    )


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("apart", {"": 6}),
        ("proportional", {"team-of-j1": Decimal("4.5"), "team-of-j2": Decimal("1.5")}),
        ("even", {"team-of-j1": 3, "team-of-j2": 3}),
        ("fixed", {"team-of-j1": Decimal("1.5"), "elsewhere": Decimal("1.999998"), "": Decimal("2.500002")}),
    ],
)
def test_shared_cost_follows_the_declared_rule(rule: str, expected: dict[str, Decimal]) -> None:
    assert by(shared(rule).filter(pl.col("bucket") == "shared"), "team") == expected


def test_fixed_shares_of_all_leave_nothing_apart_and_keep_the_last_unit() -> None:
    ratios = {name: Decimal("0.3") for name in ("a", "b", "c")} | {"d": Decimal("0.1")}
    costs = [nowhere("0.000000000000000007", charge_category="Credit")]
    made = allocated(costs, shared_cost="fixed", shared_cost_ratios=ratios)
    unit = Decimal(1).scaleb(-18)
    assert by(made, "team") == {"a": 3 * unit, "b": 2 * unit, "c": 2 * unit, "d": 0}
    assert made["allocated_method_id"].unique().to_list() == ["shared_fixed"]


def test_what_fixed_shares_leave_is_marked_as_not_split() -> None:
    made = shared("fixed").filter(pl.col("bucket") == "shared")
    methods = dict(made.select("team", "allocated_method_id").iter_rows())
    assert methods == {"": "not_split", "team-of-j1": "shared_fixed", "elsewhere": "shared_fixed"}


def test_shared_cost_outside_the_estate_stays_apart() -> None:
    made = shared("even", in_scope=False)
    assert by(made.filter(pl.col("bucket") == "shared"), "team") == {"": 6}


def test_what_a_node_sent_that_nobody_held_is_nobodys() -> None:
    """A job on one node does not pay for what a login node, or an idle one, sent to the outside."""
    devices = [device_hour(H, "g0", productive_seconds=3600), device_hour(H, "g1", "b2")]
    port = {"cluster": "c", "device": "eth0", "port": "1", "link_layer": "Ethernet", "is_rdma": False}
    sent = {"hour_start": H, **port, "reset_count": 0, "observed_seconds": Decimal(3600)}
    bytes_of = {"a1": 1e9, "b2": 4e9, "login": 5e9}
    shared_parts = dict.fromkeys(("shared_billed_cost", "shared_effective_cost"), Decimal(100))
    egress = nowhere("100", cost_kind="network", **shared_parts)
    made = allocated(
        [cost(), cost(node="b2", resource_id="i-b2"), cost(node="login", resource_id="i-login"), egress],
        devices,
        [job_hour(H, "g0", "j1", productive_seconds=3600)],
        ports=[sent | {"node": name, "transmit_bytes": count} for name, count in bytes_of.items()],
        shared_cost_rules={"network": "direct"},
    )
    network = made.filter(cost_kind="network")
    assert by(network, "team") == {"team-of-j1": 10, "": 90}
    assert dict(network.select("team", "allocated_method_id").iter_rows())[""] == "not_attributable"


@pytest.mark.parametrize("kind", ["network", "storage"])
def test_what_a_node_moved_that_several_teams_held_is_nobodys(kind: str) -> None:
    """Counters are the node's: how long each held a device says nothing of what each moved."""
    nodes = {"a1": ("j1", "j2"), "b2": ("j3", "j4")}
    devices = [device_hour(H, f"g{each}", name, productive_seconds=3600) for name in nodes for each in range(2)]
    held = [
        job_hour(H, f"g{gpu}", each, name, productive_seconds=3600) | ({"team": "one"} if name == "b2" else {})
        for name, both in nodes.items()
        for gpu, each in enumerate(both)
    ]
    bytes_of = {"a1": 3e9, "b2": 1e9}
    port = {"cluster": "c", "device": "eth0", "port": "1", "link_layer": "Ethernet", "is_rdma": False, "reset_count": 0}
    mount = {"cluster": "c", "filesystem_type": "nfs", "mount_point": "/data", "file_system": "share-1:/data"}
    seen = {"hour_start": H, "observed_seconds": Decimal(3600)}
    parts = dict.fromkeys(("shared_billed_cost", "shared_effective_cost"), Decimal(100))
    made = allocated(
        [cost(), cost(node="b2", resource_id="i-b2"), nowhere("100", cost_kind=kind, resource_id="share-1", **parts)],
        devices,
        held,
        ports=[seen | port | {"node": name, "transmit_bytes": count} for name, count in bytes_of.items()],
        systems=[seen | mount | {"node": name, "read_bytes": count} for name, count in bytes_of.items()],
        shared_cost_rules={kind: "direct"},
    )
    found = made.filter(cost_kind=kind)
    assert by(found, "team", "job_id", "allocated_method_id") == {
        ("one", "", "shared_direct"): 25,
        ("", "", "not_attributable"): 75,
    }


@pytest.mark.parametrize(
    ("file_system", "team"),
    [
        ("share-1.example.com:/data", "team-of-j1"),
        ("10.0.0.7@tcp:/share-1", "team-of-j1"),
        ("share-10.example.com:/data", ""),
        ("share-1-archive.example.com:/data", ""),
        ("myshare-1:/data", ""),
    ],
)
def test_a_file_system_is_the_bills_where_its_whole_name_stands_there(file_system: str, team: str) -> None:
    """The bytes of `share-10` are no reason to pay for `share-1`."""
    place = {"hour_start": H, "cluster": "c", "node": "a1", "filesystem_type": "nfs", "mount_point": "/data"}
    moved = place | {"read_bytes": 1e9, "observed_seconds": Decimal(3600)}
    shared_parts = dict.fromkeys(("shared_billed_cost", "shared_effective_cost"), Decimal(8))
    made = allocated(
        [cost(), nowhere("8", cost_kind="storage", resource_id="arn:aws:fsx::7:share-1", **shared_parts)],
        [device_hour(H, "g0", productive_seconds=3600)],
        [job_hour(H, "g0", "j1", productive_seconds=3600)],
        systems=[moved | {"file_system": file_system}],
        shared_cost_rules={"storage": "direct"},
    )
    assert by(made.filter(cost_kind="storage"), "team") == {team: 8}


UNITS = st.one_of(st.integers(-(10**28), 10**28), st.integers(-20, 20), st.just(0), st.just(10**10 * 10**18)).map(
    lambda units: Decimal(units).scaleb(-18)
)


@st.composite
def cost_rows(draw: st.DrawFn) -> list[dict[str, Any]]:
    made = {}
    for _ in range(draw(st.integers(1, 10))):
        name = draw(st.sampled_from(["a1", "b2", ""]))
        billed = draw(UNITS)
        part = draw(st.one_of(st.none(), st.just(billed), UNITS)) if not name else None
        row = cost(
            billed,
            H + draw(st.integers(0, 2)) * HOUR,
            effective_cost=draw(st.one_of(st.none(), UNITS)),
            shared_billed_cost=part,
            node=name,
            cluster="c" if name else "",
            resource_id=draw(st.sampled_from(["", "i-a1", "vol-1"])),
            invoice_id=draw(st.sampled_from(["", "inv-1"])),
            charge_category=draw(st.sampled_from(["Usage", "Usage", "Usage", "Tax", "Credit", "Purchase"])),
            charge_class=draw(st.sampled_from(["", "Correction"])),
            commitment_status=draw(st.sampled_from(["", "Used", "Unused"])),
            billing_currency=draw(st.sampled_from(["USD", "JPY"])),
            is_estimated=draw(st.booleans()),
            in_scope=draw(st.booleans()),
        )
        made[tuple(row[each] for each in KEY)] = row
    return list(made.values())


@st.composite
def device_time(draw: st.DrawFn) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Draw devices and slices of two nodes; what jobs hold of a state never exceeds it."""
    devices, held = [], []
    for hour in range(3):
        for name in ("a1", "b2"):
            for index, fraction in enumerate(
                draw(st.sampled_from([[], ["1"], ["1", "1"], ["1", "0.428571", "0.571429"]]))
            ):
                cuts = sorted(draw(st.lists(st.integers(0, 3_600_000), min_size=2, max_size=2)))
                first, second = draw(st.permutations([each for each in STATES if each != "unallocated"]))[:2]
                spent = {first: cuts[0], second: cuts[1] - cuts[0]}
                where = (H + hour * HOUR, f"{name}-g{index}")
                states = {f"{state}_seconds": Decimal(ms).scaleb(-3) for state, ms in spent.items()}
                devices.append(device_hour(*where, name=name, gpu_fraction=Decimal(fraction), **states))
                for number in range(draw(st.integers(0, 2))):
                    parts = {f"{state}_seconds": Decimal(ms // 2).scaleb(-3) for state, ms in spent.items()}
                    held.append(
                        job_hour(
                            *where, f"j{number}" if number else "", name=name, gpu_fraction=Decimal(fraction), **parts
                        )
                    )
    return devices, held


def _sums(frame: pl.DataFrame) -> pl.DataFrame:
    return money.summed(frame, by=KEY, columns=["billed_cost", "effective_cost"]).sort(KEY)


@given(
    cost_rows(),
    device_time(),
    st.sampled_from(SPLIT_RULES),
    st.sampled_from(SHARED_COST_RULES),
    st.integers(0, 2**32),
)
def test_every_unit_of_every_cost_is_allocated_once(
    costs: list[dict[str, Any]], time_of: tuple[list[Any], list[Any]], rule: str, shared_cost: str, seed: int
) -> None:
    asked = [job("j1", cpu_count=50, memory_bytes=3.0 * GIB), job("")]
    inputs = inputs_of(costs, *time_of, nodes=[node(**P3), node("b2")], job_rows=asked)
    rules: dict[str, Any] = {"split_rule": rule, "shared_cost": shared_cost, "shared_cost_ratios": RATIOS}
    made = allocated_of(inputs, **rules)
    assert _sums(made).equals(_sums(inputs["costs"]))
    assert allocated_of(mixed(inputs, seed), **rules).equals(made)
    apart = [allocated_of(inputs, start=H + index * HOUR, end=H + (index + 1) * HOUR, **rules) for index in range(3)]
    assert pl.concat(apart).equals(made)


def test_a_day_of_a_thousand_devices_takes_no_more_than_moments() -> None:
    devices = rows(
        GpuHour,
        [
            device_hour(H + hour * HOUR, f"n{name}-g{gpu}", f"n{name}", productive_seconds=2000, held_idle_seconds=1000)
            for hour in range(24)
            for name in range(25)
            for gpu in range(8)
        ],
    )
    held = rows(
        JobGpuHour,
        [
            job_hour(
                H + hour * HOUR, f"n{name}-g{gpu}", "j1", f"n{name}", productive_seconds=2000, held_idle_seconds=1000
            )
            for hour in range(24)
            for name in range(25)
            for gpu in range(8)
        ],
    )
    costs = [
        cost("98.32", H + hour * HOUR, node=f"n{name}", resource_id=f"i-{name}")
        for hour in range(24)
        for name in range(25)
    ]
    five = [
        pl.concat([each.with_columns(pl.col("cluster") + str(copy)) for copy in range(5)])
        for each in (devices, held, rows(CostHour, costs))
    ]
    empty = rows(Node, []), jobs([])
    began = time.process_time()
    made = allocation_hour.function(
        five[2].lazy(),
        five[0].lazy(),
        five[1].lazy(),
        empty[1].lazy(),
        empty[0].lazy(),
        rows(NetworkHour, []).lazy(),
        rows(StorageHour, []).lazy(),
        Span(MONTH, MONTH + timedelta(days=31), MONTH),
        MoneySettings(),
    ).collect()
    assert made.height == 3 * 24 * 1000
    assert time.process_time() - began < 5
