"""Who bears each cost of a cluster that shares its devices, read literally: one device, piece and cost after the other.

Plain Python on whole units of 1e-18, whole milliseconds and millionths of a device; it shares no code with what it
checks.

Readings where the contract leaves a choice:
* What several hold at once is divided for each stretch in which nothing changes; the milliseconds that are left go to
  the largest weight, of equal ones to the first by job, submit time and run.
* Measured process time counts for a clock hour; it stands before requests, and those before even parts, and requests
  count only where all who hold say one. Who holds alone holds all, whatever was asked for.
* A node's processors and memory go to who asked for them, in equal parts on each of a job's nodes; nobody has the rest.
* Shared cost goes over who held devices of its provider, in its currency, in the same clock hour.
* Bytes of a node are the one job's that held devices of it in the hour, else the one team's, else nobody's; its cost
  or another's must have made the node the provider's in that hour, but for file systems.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from tests.oracle.oracle_money import HOUR, Units, added, divided

Run = tuple[str, int, int]
"""Job id, submit time, restart."""

MIB = 2**20
GIB = 2**30


class Leaf(NamedTuple):
    """Where a cost ends."""

    gpu: str
    bucket: str
    state: str
    team: str = ""
    user: str = ""
    job: str = ""
    restart: int = 0
    submitted: int = 0
    model: str = ""


class Stretch(NamedTuple):
    """One state of a device for a time, within a clock hour."""

    start: int
    end: int
    state: str


class Hold(NamedTuple):
    """A run holds a device; `share` in millionths is what it asked for."""

    run: Run
    start: int
    end: int | None
    share: int | None


@dataclass(frozen=True)
class Device:
    """A device or slice with what it did, who held it, and whose processes ran on it for how long in which hour."""

    node: str
    uuid: str
    parent: str
    millionths: int
    stretches: tuple[Stretch, ...]
    holds: tuple[Hold, ...]
    measured: Mapping[tuple[int, str], int]


@dataclass(frozen=True)
class Job:
    """A run of a job and what it asked for."""

    run: Run
    user: str
    team: str
    model: str
    processors: int | None
    memory: int | None
    nodes: int | None


@dataclass(frozen=True)
class Machine:
    """A node from when it joined to when it left, with what it has."""

    node: str
    start: int
    end: int | None
    gpus: int | None
    processors: int | None
    memory: int | None


class Cost(NamedTuple):
    """One clock hour of one charge."""

    hour: int
    resource: str
    node: str
    category: str
    kind: str
    commitment: str
    currency: str
    owner: str
    in_scope: bool
    serves_all: bool
    billed: int
    effective: Units


@dataclass(frozen=True)
class Cluster:
    """All that is told of one cluster, which has a provider of its own."""

    name: str
    machines: tuple[Machine, ...]
    devices: tuple[Device, ...]
    jobs: tuple[Job, ...]
    costs: tuple[Cost, ...]
    sent: Mapping[tuple[int, str], int]
    """Bytes that each node sent to the outside in each hour."""
    moved: Mapping[tuple[int, str, str], int]
    """Bytes between nodes and file systems, by hour, node and file system."""


@dataclass(frozen=True)
class Rules:
    """By which rules costs are divided; shares are millionths."""

    split: str
    node_shares: tuple[int, int, int]
    shared: str
    by_kind: Mapping[str, str]
    teams: Mapping[str, int]


Parts = dict[tuple[Cost, Leaf], tuple[int, Units, str]]
"""What of each cost goes where, billed and effective, and by which rule."""

SPLITS = {"whole_node_to_gpu": (1, 0, 0), "95_3_2": (95, 3, 2), "70_30": (70, 18, 12)}


def held(device: Device) -> dict[tuple[int, str, Run], int]:
    """Return the milliseconds of a device that each run held, by hour and state."""
    edges = {edge for each in device.stretches for edge in each[:2]}
    edges |= {each.start for each in device.holds} | {each.end for each in device.holds if each.end is not None}
    found: dict[tuple[int, str, Run], int] = {}
    for stretch in device.stretches:
        cuts = sorted({stretch.start, stretch.end, *(edge for edge in edges if stretch.start < edge < stretch.end)})
        for start, end in pairwise(cuts):
            hour = start - start % HOUR
            for run, part in _divided(end - start, _weights(device, start, hour)).items():
                found[hour, stretch.state, run] = found.get((hour, stretch.state, run), 0) + part
    return found


def held_time(device: Device) -> dict[tuple[int, Run], int]:
    """Return the milliseconds in which each run held a device at all, alone or not, by hour."""
    found: dict[tuple[int, Run], int] = {}
    for stretch in device.stretches:
        for run in {each.run for each in device.holds}:
            mine = [
                (max(each.start, stretch.start), min(each.end or stretch.end, stretch.end))
                for each in device.holds
                if each.run == run
            ]
            covered, at = 0, 0
            for low, high in sorted(mine):
                covered += max(0, high - max(low, at))
                at = max(at, high)
            hour = stretch.start - stretch.start % HOUR
            if covered:
                found[hour, run] = found.get((hour, run), 0) + covered
    return found


def _weights(device: Device, at: int, hour: int) -> dict[Run, int]:
    """Return what each run that holds a device at an instant weighs against the others."""
    now = [each for each in device.holds if each.start <= at and (each.end is None or at < each.end)]
    runs = sorted({each.run for each in now})
    if len(runs) < 2:
        return dict.fromkeys(runs, 1)
    measured = {run: device.measured.get((hour, run[0]), 0) for run in runs}
    if sum(measured.values()):
        return measured
    shares = {run: [each.share for each in now if each.run == run and each.share is not None] for run in runs}
    if all(shares.values()):
        asked = {run: max(found) for run, found in shares.items()}
        if sum(asked.values()):
            return asked
    return dict.fromkeys(runs, 1)


def _divided(length: int, weights: Mapping[Run, int]) -> dict[Run, int]:
    """Return the milliseconds of each run, whole ones, the rest with the largest weight."""
    if not weights:
        return {}
    whole = sum(weights.values())
    parts = {run: length * weight // whole for run, weight in weights.items()}
    parts[min(weights, key=lambda run: (-weights[run], run))] += length - sum(parts.values())
    return parts


Place = tuple[int, str]


def leaves(cluster: Cluster) -> dict[Place, dict[Leaf, int]]:
    """Return who has which device time of each node-hour, in milliseconds times millionths of a device."""
    found: dict[Place, dict[Leaf, int]] = {}
    jobs = {each.run: each for each in cluster.jobs}

    def add(place: Place, leaf: Leaf, weight: int) -> None:
        if weight:
            mine = found.setdefault(place, {})
            mine[leaf] = mine.get(leaf, 0) + weight

    for device in cluster.devices:
        left: dict[tuple[int, str], int] = {}
        for each in device.stretches:
            key = (each.start - each.start % HOUR, each.state)
            left[key] = left.get(key, 0) + each.end - each.start
        for (hour, state, run), time in held(device).items():
            left[hour, state] -= time
            leaf = _of(jobs[run], Leaf(device.uuid, "allocated", state))
            add((hour, device.node), leaf, time * device.millionths)
        for (hour, state), time in left.items():
            add((hour, device.node), _of_nobody(device.uuid, state), time * device.millionths)
    return found


def _of(job: Job, leaf: Leaf) -> Leaf:
    """Return a leaf as a job's."""
    name, submitted, restart = job.run
    return leaf._replace(team=job.team, user=job.user, job=name, restart=restart, model=job.model, submitted=submitted)


def _of_nobody(gpu: str, state: str) -> Leaf:
    if state == "unallocated":
        return Leaf(gpu, "idle", state)
    if state in {"faulty", "orphaned", "unknown"}:
        return Leaf(gpu, "unallocable", state)
    return Leaf(gpu, "allocated", state, team="unassigned", model="unattributed")


def requests(cluster: Cluster, place: Place, machine: Machine) -> dict[str, dict[Leaf, int]]:
    """Return who asked for the processors and the memory of a node in an hour, and what nobody asked for."""
    hour, node = place
    here = [each for each in cluster.devices if each.node == node]
    existed = max(_existed(each, hour) for each in here)
    jobs = {each.run: each for each in cluster.jobs}
    longest: dict[Run, int] = {}
    for device in here:
        for (at, run), time in held_time(device).items():
            if at == hour:
                longest[run] = max(longest.get(run, 0), time)
    found: dict[str, dict[Leaf, int]] = {}
    whole = {"cpu": (machine.processors or 0) * 1000 * existed, "memory": (machine.memory or 0) // MIB * existed}
    for part in ("cpu", "memory"):
        mine: dict[Leaf, int] = {}
        for run, time in longest.items():
            job = jobs[run]
            asked = (job.processors or 0) * 1000 if part == "cpu" else (job.memory or 0) // MIB
            leaf = _of(job, Leaf("", "allocated", ""))
            mine[leaf] = mine.get(leaf, 0) + asked // max(job.nodes or 1, 1) * time
        rest = max(0, whole[part] - sum(mine.values()))
        found[part] = mine | {Leaf("", "idle", ""): rest}
    return found


def _existed(device: Device, hour: int) -> int:
    return sum(each.end - each.start for each in device.stretches if each.start - each.start % HOUR == hour)


def node_weights(machine: Machine | None, rules: Rules) -> tuple[dict[str, int], str]:
    """Return what the parts of a node weigh, and by which rule: a node of unknown size gives all to its devices."""
    if machine is None or not (machine.gpus and machine.processors and machine.memory):
        return {"gpu": 1}, "whole_node_to_gpu"
    if rules.split == "aws_9_09_01":
        weights = (machine.gpus * 90 * GIB, machine.processors * 9 * GIB, machine.memory)
    else:
        weights = rules.node_shares if rules.split == "custom" else SPLITS[rules.split]
    named = dict(zip(("gpu", "cpu", "memory"), weights, strict=True))
    return {part: weight for part, weight in named.items() if weight}, rules.split


def allocations(cluster: Cluster, rules: Rules) -> Parts:
    """Return every cost of a cluster divided among who bears it."""
    time = leaves(cluster)
    found: Parts = {}
    placed: dict[Place, list[Cost]] = {}
    for cost in cluster.costs:
        used = cost.category == "Usage" and cost.commitment != "Unused"
        if used and cost.node and (cost.hour, cost.node) in time:
            placed.setdefault((cost.hour, cost.node), []).append(cost)
            _on_devices(found, cluster, cost, time, rules)
    bearers = _bearers(cluster, placed, time)
    for cost in cluster.costs:
        used = cost.category == "Usage" and cost.commitment != "Unused"
        if not (used and cost.node and (cost.hour, cost.node) in time):
            _elsewhere(found, cluster, cost, bearers, rules)
    return found


def _add(found: Parts, cost: Cost, leaf: Leaf, amounts: tuple[Units, Units], rule: str) -> None:
    before = found.get((cost, leaf), (0, None, rule))
    found[cost, leaf] = (before[0] + (amounts[0] or 0), added(before[1], amounts[1]), rule)


def _on_devices(
    found: Parts, cluster: Cluster, cost: Cost, time: Mapping[Place, Mapping[Leaf, int]], rules: Rules
) -> None:
    """Divide a node's cost over its parts, and each part over who has it."""
    place = (cost.hour, cost.node)
    since = [each for each in cluster.machines if each.node == cost.node and each.start < cost.hour + HOUR]
    machine = max(since, key=lambda each: each.start, default=None)
    weights, rule = node_weights(machine, rules)
    ends: dict[str, Mapping[Leaf, int]] = {"gpu": time[place]}
    if machine is not None and len(weights) > 1:
        ends |= requests(cluster, place, machine)
    parts = [
        divided(each, {(part,): weight for part, weight in weights.items()}) for each in (cost.billed, cost.effective)
    ]
    for part in weights:
        billed, effective = (divided(each[(part,)], dict(ends[part])) for each in parts)
        for leaf in ends[part]:
            _add(found, cost, leaf, (billed[leaf], effective[leaf]), rule)


class Bearers(NamedTuple):
    """Who held devices of the provider, by hour and currency: device time and bytes."""

    time: Mapping[tuple[int, str], Mapping[str, int]]
    holders: Mapping[tuple[int, str, str], frozenset[Leaf]]
    """By hour, currency and node."""


def _bearers(cluster: Cluster, placed: Mapping[Place, list[Cost]], time: Mapping[Place, Mapping[Leaf, int]]) -> Bearers:
    teams: dict[tuple[int, str], dict[str, int]] = {}
    holders: dict[tuple[int, str, str], set[Leaf]] = {}
    for (hour, node), costs in placed.items():
        (currency,) = {each.currency for each in costs}
        for leaf, weight in time[hour, node].items():
            if leaf.bucket == "allocated":
                mine = teams.setdefault((hour, currency), {})
                mine[leaf.team] = mine.get(leaf.team, 0) + weight
                holders.setdefault((hour, currency, node), set()).add(leaf._replace(gpu="", bucket="", state=""))
    return Bearers(teams, {place: frozenset(found) for place, found in holders.items()})


def _elsewhere(found: Parts, cluster: Cluster, cost: Cost, bearers: Bearers, rules: Rules) -> None:
    """Put a cost that has no device into its bucket, or divide it by the rule of its kind."""
    amounts = (cost.billed, cost.effective)
    used = cost.category == "Usage" and cost.commitment != "Unused"
    if cost.category == "Usage" and cost.commitment == "Unused":
        _add(found, cost, Leaf("", "idle", ""), amounts, "not_split")
    elif cost.owner:
        _add(found, cost, Leaf("", "shared", "", team=cost.owner), amounts, "owner")
    elif used and not cost.serves_all:
        _add(found, cost, Leaf("", "unallocable", "unknown" if cost.node else ""), amounts, "not_split")
    else:
        rule = rules.by_kind.get(cost.kind, rules.shared) if cost.in_scope else "apart"
        apart = Leaf("", "shared", "unknown" if used and cost.node else "")
        weights = _shares(cluster, cost, bearers, rules, rule, apart)
        left = "not_attributable" if rule == "direct" else "not_split"
        if not sum(weights.values()):
            weights = {apart: 1}
        billed, effective = (divided(each, _ordered(weights)) for each in amounts)
        for key, leaf in zip(_ordered(weights), weights, strict=True):
            _add(found, cost, leaf, (billed[key], effective[key]), f"shared_{rule}" if leaf.team else left)


def _ordered(weights: Mapping[Leaf, int]) -> dict[tuple[object, ...], int]:
    """Return weights under keys that sort as ties are broken: by team, user, job, run, submit time, model."""
    return {
        (each.team, each.user, each.job, each.restart, each.submitted, each.model): weight
        for each, weight in weights.items()
    }


def _shares(cluster: Cluster, cost: Cost, bearers: Bearers, rules: Rules, rule: str, apart: Leaf) -> dict[Leaf, int]:
    """Return who bears a shared cost, with weights."""
    if rule == "apart":
        return {apart: 1}
    if rule == "fixed":
        rest = 1_000_000 - sum(rules.teams.values())
        named = {"": rest} | dict(rules.teams) if rest else dict(rules.teams)
        return {apart._replace(team=team): share for team, share in named.items()}
    if rule == "direct":
        return _by_bytes(cluster, cost, bearers, apart)
    teams = bearers.time.get((cost.hour, cost.currency), {})
    return {
        apart._replace(team=team): 1 if rule == "even" else weight * 1000 // 10**9 for team, weight in teams.items()
    }


def _by_bytes(cluster: Cluster, cost: Cost, bearers: Bearers, apart: Leaf) -> dict[Leaf, int]:
    """Return who moved the bytes behind a cost."""
    moved: dict[str, int] = {}
    if cost.kind == "network":
        priced = {each.node for each in cluster.costs if each.hour == cost.hour}
        moved = {node: count for (hour, node), count in cluster.sent.items() if hour == cost.hour and node in priced}
    if cost.kind == "storage":
        for (hour, node, system), count in cluster.moved.items():
            if hour == cost.hour and cost.resource.rsplit("/", 1)[-1] in system and len(cost.resource) > 5:
                moved[node] = moved.get(node, 0) + count
    found: dict[Leaf, int] = {}
    jobs = {each.run: each for each in cluster.jobs}
    for node, count in moved.items():
        here = {
            leaf for (hour, _, at), held in bearers.holders.items() if (hour, at) == (cost.hour, node) for leaf in held
        }
        # Who held a device without any of its time may have moved the bytes too.
        for device in cluster.devices:
            runs = {run for hour, run in held_time(device) if (hour, device.node) == (cost.hour, node)}
            here |= {_of(jobs[run], Leaf("", "", "")) for run in runs}
        teams = {each.team for each in here}
        leaf = apart
        if len(here) == 1:
            leaf = next(iter(here))._replace(gpu=apart.gpu, bucket=apart.bucket, state=apart.state)
        elif len(teams) == 1:
            leaf = apart._replace(team=teams.pop())
        if count:
            found[leaf] = found.get(leaf, 0) + count
    return found


def total(parts: Iterable[tuple[int, Units, str]]) -> tuple[int, Units]:
    """Return the sum of some parts."""
    found = list(parts)
    return sum(each[0] for each in found), added(*(each[1] for each in found))
