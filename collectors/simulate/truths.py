"""What is true of the simulated estate, summed from the plan alone: states, costs and waste.

Nothing here reads a rollup. Seconds are exact; money is exact but for divisions, which are carried to sixty digits.
"""

import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from decimal import Decimal, localcontext
from pathlib import Path
from typing import Any, Final

import numpy as np

from collectors.simulate import estate
from collectors.simulate.charges import charges, complete_through
from collectors.simulate.holding import assets
from collectors.simulate.pieces import hot_milliseconds, pieces
from collectors.simulate.sampling import scene
from collectors.simulate.shapes import Cluster, instant
from collectors.simulate.timeline import CODE
from ledger.names import HELD_IDLE_STATES, STATES, UNATTRIBUTED

_HOUR: Final = 3_600
_DAY: Final = 86_400
_YEAR: Final = 31_556_952
"""Seconds of twelve average months."""

_MILLI: Final = 1_000


@dataclass(frozen=True)
class Truth:
    """The true answers; money is effective cost by currency, of the hours up to each owner's `complete_through`.

    `device_seconds` and `job_seconds` hold milliseconds-exact seconds by state, a job's already times fraction and
    share. `model_costs` and `team_costs` are of the allocated bucket. `state_costs` is of all device time, by bucket
    and state; `idle_costs` is its idle part: held but idle, and held by nobody. Owned hardware is charged by whole days
    at its rated power.
    """

    start: str
    end: str
    complete_through: dict[str, str]
    device_seconds: dict[str, dict[str, Decimal]]
    existed_seconds: dict[str, Decimal]
    job_seconds: dict[str, dict[str, Decimal]]
    model_costs: dict[str, dict[str, Decimal]]
    team_costs: dict[str, dict[str, Decimal]]
    state_costs: dict[str, dict[str, Decimal]]
    idle_costs: dict[str, dict[str, Decimal]]

    def write(self, path: Path) -> None:
        """Write it as one JSON document; amounts and seconds are strings."""
        path.write_text(json.dumps(asdict(self), default=str, indent=1, sort_keys=True), encoding="utf-8")


Cells = dict[tuple[int, int, int, int], int]
"""Milliseconds by device, clock hour, state and job (-1 for nobody)."""


def truth(cluster: Cluster) -> Truth:
    """Return the true answers for the whole plan."""
    with localcontext() as context:
        context.prec = 60
        cells = _cells(cluster)
        costs = _Costs(cluster)
        for cell, milliseconds in cells.items():
            costs.add(cell, milliseconds)
        return Truth(
            start=instant(cluster.start).isoformat(), end=instant(cluster.end).isoformat(),
            complete_through={
                name: instant(at).isoformat()
                for name, at in {**complete_through(cluster), estate.OWNED.name: _owned_through(cluster)}.items()
            },
            device_seconds=_device_seconds(cluster, cells),
            existed_seconds={
                each.uuid: Decimal(cluster.node_end(each.node) - cluster.nodes[each.node].start)
                for each in cluster.devices
            },
            job_seconds=_job_seconds(cluster, cells), model_costs=_plain(costs.models), team_costs=_plain(costs.teams),
            state_costs=_plain(costs.states), idle_costs=_plain(costs.idle),
        )  # fmt: skip


def _cells(cluster: Cluster) -> Cells:
    """Return each device's milliseconds in each clock hour, by state and job; a hot second counts as both its parts."""
    line = scene(cluster).line
    index, start, end = pieces(line, (cluster.start, cluster.end), _HOUR)
    hot = hot_milliseconds(line, index, end - start)
    rest = (end - start) * _MILLI - hot
    cells: Cells = defaultdict(int)
    columns = (line.device[index], start // _HOUR * _HOUR, line.state[index], line.job[index], hot, rest)
    for device, hour, state, job, slowed, other in zip(*(np.asarray(each).tolist() for each in columns), strict=True):
        cells[device, hour, state, job] += other
        if slowed:
            cells[device, hour, CODE["throttled"], job] += slowed
    return cells


def _device_seconds(cluster: Cluster, cells: Cells) -> dict[str, dict[str, Decimal]]:
    found = {each.uuid: dict.fromkeys(STATES, Decimal(0)) for each in cluster.devices}
    words = {code: word for word, code in CODE.items()}
    for (device, _, state, _), milliseconds in cells.items():
        found[cluster.devices[device].uuid][words[state]] += Decimal(milliseconds) / _MILLI
    return {uuid: {str(state): seconds for state, seconds in states.items()} for uuid, states in found.items()}


def job_name(cluster: Cluster, job: int) -> str:
    """Return a run's key as text: cluster, id, submit time and restart."""
    each = cluster.jobs[job]
    return f"{each.cluster}/{each.job_id}/{instant(each.submitted).isoformat()}/{each.restart_count}"


def _holders(cluster: Cluster, job: int) -> list[tuple[int, Decimal]]:
    """Return who holds a device with a job, and each one's share."""
    other = scene(cluster).line.partner.get(job)
    return [(job, Decimal(1))] if other is None else [(job, Decimal("0.5")), (other, Decimal("0.5"))]


def _job_seconds(cluster: Cluster, cells: Cells) -> dict[str, dict[str, Decimal]]:
    words = {code: str(word) for word, code in CODE.items()}
    found: dict[str, dict[str, Decimal]] = {}
    for (device, _, state, holder), milliseconds in cells.items():
        if holder < 0:
            continue
        for job, share in _holders(cluster, holder):
            states = found.setdefault(job_name(cluster, job), {})
            part = Decimal(milliseconds) / _MILLI * cluster.devices[device].fraction * share
            states[words[state]] = states.get(words[state], Decimal(0)) + part
    return found


Amounts = defaultdict[str, defaultdict[str, Decimal]]


def _amounts() -> Amounts:
    return defaultdict(lambda: defaultdict(Decimal))


def _plain(amounts: Amounts) -> dict[str, dict[str, Decimal]]:
    return {currency: dict(sorted(parts.items())) for currency, parts in sorted(amounts.items())}


class _Costs:
    """Effective cost of device time, summed by currency under several names."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.prices = _prices(cluster)
        self.words = {code: str(word) for word, code in CODE.items()}
        self.models, self.teams, self.states, self.idle = _amounts(), _amounts(), _amounts(), _amounts()

    def add(self, cell: tuple[int, int, int, int], milliseconds: int) -> None:
        """Add what one device did in one hour in one state for one holder."""
        device, hour, code, holder = cell
        known = self.cluster.devices[device]
        price = self.prices.get((known.node, hour))
        if price is None:
            return
        currency = self.cluster.nodes[known.node].provider.currency
        cost = price * known.fraction * milliseconds
        state = self.words[code]
        bucket = "allocated" if holder >= 0 else "idle" if state == "unallocated" else "unallocable"
        self.states[currency][f"{bucket}/{state}"] += cost
        if state in {*HELD_IDLE_STATES, "unallocated"}:
            self.idle[currency][state] += cost
        if holder < 0:
            return
        for job, share in _holders(self.cluster, holder):
            each = self.cluster.jobs[job]
            self.models[currency][each.model or UNATTRIBUTED] += cost * share
            self.teams[currency][each.team] += cost * share


def _prices(cluster: Cluster) -> dict[tuple[int, int], Decimal]:
    """Return the effective cost of one device for a millisecond, by node and clock hour.

    A charge is spread over the seconds in which its node existed inside the charge period.
    """
    prices: dict[tuple[int, int], Decimal] = defaultdict(Decimal)
    for charge in charges(cluster):
        if charge.node is None:
            continue
        node = cluster.nodes[charge.node]
        begin, stop = max(charge.start, node.start), min(charge.end, cluster.node_end(node.index))
        price = charge.effective / ((stop - begin) * _MILLI * node.gpu_count)
        for hour in range(begin // _HOUR * _HOUR, stop, _HOUR):
            prices[node.index, hour] += price
    for asset in assets(cluster):
        node = next(each for each in cluster.nodes if each.resource_id == asset["asset_id"])
        price = owned_rate(asset) / (_MILLI * node.gpu_count)
        for hour in range(node.start, _owned_through(cluster), _HOUR):
            prices[node.index, hour] += price
    return prices


def owned_rate(asset: Mapping[str, Any]) -> Decimal:
    """Return what a second of an owned server costs: its loss of value, its rated power, and space and staff."""
    life = (asset["life_end"] - asset["life_start"]).days * _DAY
    loss = (asset["purchase_cost"] - asset["residual_cost"]) / life
    kilowatts = Decimal(str(asset["power_watts"])) * Decimal(str(asset["pue_ratio"])) / 1_000
    monthly = asset["space_month_cost"] + asset["staff_month_cost"]
    return Decimal(loss + kilowatts * asset["energy_price"] / _HOUR + monthly * 12 / _YEAR)


def _owned_through(cluster: Cluster) -> int:
    return cluster.end // _DAY * _DAY
