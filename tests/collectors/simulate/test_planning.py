"""The plan: the same for the same seed, and with everything in it that the ledger has to cope with."""

from collections import Counter
from datetime import UTC, datetime
from itertools import pairwise

import pytest

from collectors.simulate import Cluster, plan
from collectors.simulate.profiles import PROFILES
from collectors.simulate.shapes import STEP
from collectors.simulate.timeline import timeline
from ledger.errors import ConfigError
from ledger.names import STATES

END = datetime(2026, 11, 20, 23, 16, 33, tzinfo=UTC)

EXPECTED = {
    "two clouds and owned hardware", "H100", "A100", "training", "inference", "notebook", "batch", "idle job",
    "job without a process", "input bound by storage", "input bound by processors", "communication bound",
    "memory bound", "power capped", "oversized on H100", "orphan", "orphan that keeps its job's id",
    "pending for resources", "pending while devices are free", "waited with a reason", "xid", "node down", "drain",
    "reservation", "agent gap", "node joins", "node leaves", "name comes back on other hardware", "requeued",
    "recurring id", "slice",
    "rest of a sliced device", "shared device", "thermal", "straggler with four peers", "several nodes", "unattributed",
    "model by name only", "cancelled while waiting", "server at night", "two accounts at AWS",
}  # fmt: skip


def _free_at_end(cluster: Cluster) -> int:
    held = {device for job in cluster.jobs if job.started is not None and job.ended is None for device in job.devices}
    return sum(1 for device in cluster.devices if device.is_placeable and device.index not in held)


def drawn(cluster: Cluster) -> set[str]:
    """Return what a plan has of the kinds that the ledger must cope with."""
    jobs, devices, nodes = cluster.jobs, cluster.devices, cluster.nodes
    started = [job for job in jobs if job.started is not None]
    profiles = {job.profile for job in started}
    pending = [job for job in jobs if job.state == "PENDING"]
    names = Counter(node.name for node in nodes)
    ids = Counter((job.cluster, job.job_id) for job in jobs if job.restart_count == 0)
    wide = {job.devices[-1]: len(job.devices) for job in started if len(job.devices) >= 5}
    facts = {
        "two clouds and owned hardware": len({node.provider.name for node in nodes}) == 3,
        "H100": any("H100" in node.hardware.gpu_model for node in nodes),
        "A100": any("A100" in node.hardware.gpu_model for node in nodes),
        **{kind: any(job.kind == kind for job in started) for kind in ("training", "inference", "notebook", "batch")},
        "idle job": "idle" in profiles,
        "job without a process": "absent" in profiles,
        "input bound by storage": "input_storage" in profiles,
        "input bound by processors": "input_cpu" in profiles,
        "communication bound": "communication" in profiles,
        "memory bound": "dram_bound" in profiles,
        "power capped": "power_capped" in profiles,
        "oversized on H100": any(
            job.profile == "launch_bound" and "H100" in cluster.hardware(job.devices[0]).gpu_model for job in started
        ),
        "orphan": any(not orphan.keeps_id for orphan in cluster.orphans),
        "orphan that keeps its job's id": any(orphan.keeps_id for orphan in cluster.orphans),
        "pending for resources": any(job.reason == "Resources" for job in pending),
        "pending while devices are free": bool(pending) and _free_at_end(cluster) > 0,
        "waited with a reason": any(job.reason for job in started),
        "xid": any(fault.kind == "xid" and fault.job >= 0 for fault in cluster.faults),
        "node down": any(fault.kind == "down" for fault in cluster.faults),
        "drain": any(pause.kind == "DRAINED" for pause in cluster.pauses),
        "reservation": any(pause.kind == "RESERVED" for pause in cluster.pauses),
        "agent gap": bool(cluster.gaps),
        "node joins": any(node.start > cluster.start and names[node.name] == 1 for node in nodes),
        "node leaves": any(node.end is not None for node in nodes),
        "name comes back on other hardware": max(names.values()) == 2,
        "requeued": any(job.restart_count == 1 for job in started),
        "recurring id": max(ids.values()) > 1,
        "slice": any(device.mig_profile for device in devices),
        "rest of a sliced device": any(device.parent and not device.mig_profile for device in devices),
        "shared device": any(device.is_shared for device in devices),
        "thermal": any(stretch.kind == "thermal" for stretch in cluster.stretches),
        "straggler with four peers": any(
            stretch.kind == "straggler" and stretch.devices[0] in wide for stretch in cluster.stretches
        ),
        "several nodes": any(len({devices[each].node for each in job.devices}) > 1 for job in started),
        "unattributed": any(not job.model for job in started),
        "model by name only": any(job.model and not job.is_model_stated for job in started),
        "cancelled while waiting": any(job.state == "CANCELLED" and job.started is None for job in jobs),
        "server at night": any(job.profile == "serving" for job in started),
        "two accounts at AWS": len({node.account for node in nodes if node.provider.name == "AWS"}) == 2,
    }
    return {name for name, is_there in facts.items() if is_there}


def test_the_demo_draws_every_kind(demo: Cluster) -> None:
    assert drawn(demo) == EXPECTED


def test_the_demo_reaches_every_state(demo: Cluster) -> None:
    line = timeline(demo)
    reached = {STATES[code] for code in set(line.state.tolist())} | ({"throttled"} if line.is_hot.any() else set())
    assert reached == set(STATES)


@pytest.mark.parametrize(("gpus", "days", "least"), [(96, 30, 2), (32, 20, 1), (16, 16, 1)])
def test_some_hold_an_h100_for_weeks_and_need_a_slice_of_it(gpus: int, days: int, least: int) -> None:
    cluster = plan(gpus, days, 1, END)
    since = cluster.end - 15 * 86_400
    held: dict[str, list[tuple[int, int]]] = {}
    for job in cluster.jobs:
        if job.profile == "small" and job.started is not None:
            assert len(job.devices) == 1
            assert "H100" in cluster.hardware(job.devices[0]).gpu_model
            held.setdefault(job.user, []).append((job.started, min(job.ended or cluster.end, cluster.end)))
    of_weeks = [
        user
        for user, spans in held.items()
        if min(start for start, _ in spans) < since
        and sum(end - max(start, since) for start, end in spans if end > since) > 48 * 3_600
    ]
    assert len(of_weeks) >= least
    small = PROFILES["small"]
    assert small.sm < 0.25
    assert small.memory < 0.5


def test_the_same_arguments_give_the_same_plan(small: Cluster) -> None:
    again = plan(24, 2, 7, datetime(2026, 11, 20, 6, 0, tzinfo=UTC))
    assert vars(again) == vars(small)


def test_another_seed_gives_another_plan(small: Cluster) -> None:
    other = plan(24, 2, 8, datetime(2026, 11, 20, 6, 0, tzinfo=UTC))
    assert [job.started for job in other.jobs] != [job.started for job in small.jobs]


@pytest.mark.parametrize(("gpus", "days"), [(1, 1), (3, 1), (8, 2), (17, 3), (40, 1)])
def test_any_size_gives_a_timeline_without_holes(gpus: int, days: int) -> None:
    cluster = plan(gpus, days, 3, END)
    line = timeline(cluster)
    assert (line.length > 0).all()
    assert not (line.start % STEP).any()
    for device in cluster.devices:
        own = line.device == device.index
        assert line.start[own][0] == cluster.nodes[device.node].start
        assert line.end[own][-1] == cluster.node_end(device.node)
        assert (line.start[own][1:] == line.end[own][:-1]).all()


def test_whole_devices_are_as_many_as_asked_for(demo: Cluster) -> None:
    now = [node for node in demo.nodes if node.end is None]
    whole = sum(device.fraction for device in demo.devices if demo.nodes[device.node] in now)
    assert whole == 96


def test_no_device_is_held_twice(demo: Cluster) -> None:
    spans: dict[int, list[tuple[int, int]]] = {}
    for job in demo.jobs:
        if job.started is not None:
            for device in job.devices:
                spans.setdefault(device, []).append((job.started, min(job.ended or demo.end, demo.end)))
    for orphan in demo.orphans:
        spans[orphan.device].append((orphan.start, orphan.end))
    for device, own in spans.items():
        own.sort()
        overlaps = [pair for pair in pairwise(own) if pair[0][1] > pair[1][0]]
        assert bool(overlaps) == demo.devices[device].is_shared


def test_nothing_starts_on_a_paused_node(demo: Cluster) -> None:
    for pause in demo.pauses:
        for job in demo.jobs:
            on_node = any(demo.devices[device].node == pause.node for device in job.devices)
            assert not (on_node and job.started is not None and pause.start <= job.started < pause.end)


def test_nothing_to_simulate_is_refused() -> None:
    with pytest.raises(ConfigError, match="0 GPUs"):
        plan(0, 30, 7, END)
