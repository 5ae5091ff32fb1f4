"""Bills read literally, one charge after the other: when it counts, on which node, and who it belongs to.

Plain Python on whole units of 1e-18 and whole milliseconds; it shares no code with what it checks.

Readings where the contract leaves a choice:
* Shares are `units * weight // weights` of the amount's magnitude; the rest goes to the largest weight, of equal ones
  to the first by hour, cluster, node, or by device, bucket, state and holder.
* A resource that several nodes have at once is divided by the time in which each of them existed.
* A charge outside the existence of its nodes, or of no node at all, is spread evenly over its own period.
* A charge of a node belongs to the estate, whatever account carries it.
* Nodes that have a resource of their own on the month's bill take no part in a pool.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

HOUR = 3_600_000
FOREVER = 2**60

SHARED_SERVICES = frozenset({"Storage", "Networking", "Management and Governance", "Security", "Identity"})

Units = int | None


@dataclass(frozen=True)
class Charge:
    """One row of a bill; amounts are whole units of 1e-18."""

    description: str
    provider: str
    account: str
    invoice: str
    period_start: int
    period_end: int
    start: int
    end: int
    category: str
    charge_class: str
    commitment: str
    currency: str
    resource: str
    region: str | None
    instance_type: str | None
    service: tuple[str | None, str | None]
    billed: int
    effective: Units
    listed: Units
    is_current: bool = True
    owner: str = ""
    """The team that a tag of it names."""


@dataclass(frozen=True)
class Machine:
    """A node from when it joined to when it left."""

    cluster: str
    node: str
    start: int
    end: int | None
    provider: str
    region: str | None
    instance_type: str | None


@dataclass(frozen=True)
class Link:
    """A node's resource on a bill, for a time."""

    cluster: str
    node: str
    provider: str
    resource: str
    start: int
    end: int | None


class CostKey(NamedTuple):
    """What a cost is told apart by."""

    hour: int
    provider: str
    account: str
    invoice: str
    period_start: int
    resource: str
    cluster: str
    node: str
    category: str
    charge_class: str
    commitment: str
    currency: str
    in_scope: bool
    kind: str
    owner: str


class Cost(NamedTuple):
    """One clock hour of the charges of one key, in units."""

    billed: int
    effective: Units
    listed: Units
    shared_billed: Units
    shared_effective: Units
    method: str
    is_partial: bool
    """A charge of it does not say its effective cost."""


class Leaf(NamedTuple):
    """Where a cost ends."""

    gpu: str
    bucket: str
    state: str
    team: str
    user: str
    job: str
    restart: int
    model: str


@dataclass(frozen=True)
class Spent:
    """What a device did in an hour, or a job on it: milliseconds by state."""

    hour: int
    cluster: str
    node: str
    gpu: str
    millionths: int
    states: Mapping[str, int]
    holder: tuple[str, str, str, int, str] | None = None


Place = tuple[int, str, str]
METHODS = ("even", "existence", "exact_hour", "whole")


def divided(units: Units, weights: Mapping[tuple[object, ...], int]) -> dict[tuple[object, ...], Units]:
    """Return an amount's parts: rounded towards zero, the rest with the largest weight, the first of equal ones."""
    if units is None:
        return dict.fromkeys(weights)
    whole = sum(weights.values())
    parts = {key: abs(units) * weight // whole for key, weight in weights.items()}
    largest = min(weights, key=lambda key: (-weights[key], key))
    parts[largest] += abs(units) - sum(parts.values())
    return {key: part if units >= 0 else -part for key, part in parts.items()}


def cost_hours(
    charges: Iterable[Charge], machines: Iterable[Machine], links: Iterable[Link], scope: frozenset[str]
) -> dict[CostKey, Cost]:
    """Return what each hour of each resource cost."""
    counting = [charge for charge in charges if charge.is_current]
    machines, links = list(machines), list(links)
    found: dict[CostKey, Cost] = {}
    for charge in counting:
        weights, method_of = _where(charge, counting, machines, links)
        billed, effective, listed = (
            divided(each, weights) for each in (charge.billed, charge.effective, charge.listed)
        )
        in_scope = charge.account in scope or any(node for _, _, node in weights)
        for place in weights:
            hour, cluster, node = place
            key = CostKey(
                hour,
                charge.provider,
                charge.account,
                charge.invoice,
                charge.period_start,
                charge.resource.lower(),
                cluster,
                node,
                charge.category,
                charge.charge_class,
                charge.commitment,
                charge.currency,
                in_scope,
                _kind(charge),
                "" if node else charge.owner,
            )
            for_all = _serves_all(charge) and not node
            part = Cost(
                billed[place] or 0,
                effective[place],
                listed[place],
                billed[place] if for_all else None,
                effective[place] if for_all else None,
                method_of[place],
                charge.effective is None,
            )
            found[key] = _together(found[key], part) if key in found else part
    return found


def _together(one: Cost, other: Cost) -> Cost:
    """Return the sum of two costs of one key; unknown is not zero."""
    return Cost(
        one.billed + other.billed,
        added(one.effective, other.effective),
        added(one.listed, other.listed),
        added(one.shared_billed, other.shared_billed),
        added(one.shared_effective, other.shared_effective),
        min(one.method, other.method, key=METHODS.index),
        one.is_partial or other.is_partial,
    )


def added(*amounts: Units) -> Units:
    """Return the sum of what is known, None where nothing is."""
    known = [each for each in amounts if each is not None]
    return sum(known) if known else None


def _serves_all(charge: Charge) -> bool:
    """Tell whether a charge is usage of a service that everybody shares."""
    if charge.category != "Usage" or charge.commitment == "Unused":
        return False
    return charge.service[0] in SHARED_SERVICES or charge.service == ("Compute", "Containers")


def _kind(charge: Charge) -> str:
    """Return what kind of cost a charge is: by its category first, then by its service."""
    if charge.category in {"Tax", "Credit", "Adjustment"}:
        return charge.category.lower()
    if charge.category == "Purchase":
        return "purchase"
    if charge.service == ("Compute", "Containers"):
        return "control_plane"
    kinds = {"Storage": "storage", "Networking": "network"} | dict.fromkeys(
        ("Management and Governance", "Security", "Identity"), "management"
    )
    return kinds.get(charge.service[0] or "", "usage")


def _where(
    charge: Charge, charges: list[Charge], machines: list[Machine], links: list[Link]
) -> tuple[dict[tuple[object, ...], int], dict[tuple[object, ...], str]]:
    """Return the hours and nodes of a charge with their time, and how it was spread over them."""
    if charge.category != "Usage":
        place = _booked(charge, machines, links)
        return {place: 1}, {place: "whole"}
    end = max(charge.end, charge.start + 1)
    stays = list(_presence(charge, machines, links)) or list(_pool(charge, charges, machines, links))
    inside = [(place, max(low, charge.start), min(high, end), known) for place, low, high, known in stays]
    inside = [each for each in inside if each[1] < each[2]] or [(("", ""), charge.start, end, False)]
    weights: dict[tuple[object, ...], int] = {}
    sure: dict[tuple[object, ...], bool] = {}
    for (cluster, node), low, high, known in inside:
        at = low
        while at < high:
            until = min(high, at - at % HOUR + HOUR)
            key = (at - at % HOUR, cluster, node)
            weights[key] = weights.get(key, 0) + until - at
            sure[key] = sure.get(key, True) and known
            at = until
    if end <= charge.start - charge.start % HOUR + HOUR:
        return weights, dict.fromkeys(weights, "exact_hour")
    return weights, {key: "existence" if known else "even" for key, known in sure.items()}


def _presence(
    charge: Charge, machines: list[Machine], links: list[Link]
) -> Iterator[tuple[tuple[str, str], int, int, bool]]:
    """Yield when a charge's resource was which node; by the link alone where the inventory does not know the node."""
    for link in links:
        if link.resource != charge.resource.lower() or link.provider.lower() != charge.provider.lower():
            continue
        low, high = link.start, FOREVER if link.end is None else link.end
        stays = [each for each in machines if (each.cluster, each.node) == (link.cluster, link.node)]
        for each in stays:
            start, end = max(low, each.start), min(high, FOREVER if each.end is None else each.end)
            if start < end:
                yield (link.cluster, link.node), start, end, True
        if not stays:
            yield (link.cluster, link.node), low, high, False


def _pool(
    charge: Charge, charges: list[Charge], machines: list[Machine], links: list[Link]
) -> Iterator[tuple[tuple[str, str], int, int, bool]]:
    """Yield the nodes that a charge without a resource names by region and instance type."""
    if charge.resource or charge.instance_type is None:
        return
    own: set[tuple[str, str]] = set()
    for other in charges:
        if other.category == "Usage" and other.period_start == charge.period_start:
            own |= {
                place
                for place, low, high, _ in _presence(other, machines, links)
                if max(low, other.start) < min(high, max(other.end, other.start + 1))
            }
    for each in machines:
        same_region = charge.region is None or each.region is None or charge.region == each.region
        named = each.instance_type is not None and each.instance_type.lower() == charge.instance_type.lower()
        is_mine = each.provider.lower() == charge.provider.lower() and named and same_region
        if is_mine and (each.cluster, each.node) not in own:
            yield (each.cluster, each.node), each.start, FOREVER if each.end is None else each.end, True


def _booked(charge: Charge, machines: list[Machine], links: list[Link]) -> Place:
    """Return the one hour, and node if any, of a charge that is booked whole."""
    at = charge.start if charge.period_start <= charge.start < charge.period_end else charge.period_start
    hour = at - at % HOUR
    there = [
        (max(low, hour) - min(high, hour + HOUR), place)
        for place, low, high, _ in _presence(charge, machines, links)
        if max(low, hour) < min(high, hour + HOUR)
    ]
    cluster, node = min(there)[1] if there else ("", "")
    return hour, cluster, node


def leaves(devices: Iterable[Spent], held: Iterable[Spent]) -> dict[Place, dict[Leaf, int]]:
    """Return who each node-hour's device time belongs to, in milliseconds times millionths of a device."""
    found: dict[Place, dict[Leaf, int]] = {}
    left = {(each.hour, each.cluster, each.node, each.gpu): dict(each.states) for each in devices}
    size = {(each.hour, each.cluster, each.node, each.gpu): each.millionths for each in devices}
    for each in held:
        assert each.holder is not None
        for state, time in each.states.items():
            left[each.hour, each.cluster, each.node, each.gpu][state] -= time
            leaf = Leaf(each.gpu, "allocated", state, *each.holder)
            _put(found, (each.hour, each.cluster, each.node), leaf, time * each.millionths)
    for (hour, cluster, node, gpu), states in left.items():
        for state, time in states.items():
            _put(found, (hour, cluster, node), _unheld(gpu, state), time * size[hour, cluster, node, gpu])
    return found


def _unheld(gpu: str, state: str) -> Leaf:
    """Return whose time is that nobody is known to have held."""
    if state == "unallocated":
        return Leaf(gpu, "idle", state, "", "", "", 0, "")
    if state in {"faulty", "orphaned", "unknown"}:
        return Leaf(gpu, "unallocable", state, "", "", "", 0, "")
    return Leaf(gpu, "allocated", state, "unassigned", "", "", 0, "unattributed")


def _put(found: dict[Place, dict[Leaf, int]], place: Place, leaf: Leaf, weight: int) -> None:
    if weight > 0:
        at = found.setdefault(place, {})
        at[leaf] = at.get(leaf, 0) + weight


def allocations(
    costs: Mapping[CostKey, Cost], time: Mapping[Place, Mapping[Leaf, int]]
) -> dict[tuple[CostKey, Leaf], tuple[int, Units]]:
    """Return each cost divided among who it belongs to: billed and effective, in units."""
    found: dict[tuple[CostKey, Leaf], tuple[int, Units]] = {}

    def add(key: CostKey, leaf: Leaf, billed: Units, effective: Units) -> None:
        before = found.get((key, leaf), (0, None))
        found[key, leaf] = (before[0] + (billed or 0), added(before[1], effective))

    for key, cost in costs.items():
        used = key.category == "Usage" and key.commitment != "Unused"
        weights = time.get((key.hour, key.cluster, key.node)) if used else None
        if weights:
            billed, effective = divided(cost.billed, weights), divided(cost.effective, weights)
            for leaf in weights:
                add(key, leaf, billed[leaf], effective[leaf])
            continue
        state = "unknown" if used and key.node else ""
        nowhere = Leaf("", "", state, "", "", "", 0, "")
        if key.category != "Usage":
            add(key, nowhere._replace(bucket="shared", team=key.owner), cost.billed, cost.effective)
        elif key.commitment == "Unused":
            add(key, nowhere._replace(bucket="idle"), cost.billed, cost.effective)
        elif key.owner:
            add(key, nowhere._replace(bucket="shared", team=key.owner), cost.billed, cost.effective)
        else:
            shared_billed, shared_effective = cost.shared_billed or 0, cost.shared_effective or 0
            if cost.shared_billed is not None or cost.shared_effective is not None:
                add(key, nowhere._replace(bucket="shared"), cost.shared_billed, cost.shared_effective)
            rest = None if cost.effective is None else cost.effective - shared_effective
            add(key, nowhere._replace(bucket="unallocable"), cost.billed - shared_billed, rest)
    return found
