"""Small clusters that share their devices in every way there is, drawn from a seed: thousands of them in seconds."""

import random
from collections import Counter
from itertools import pairwise
from typing import Final

from tests.oracle.generators import START
from tests.oracle.oracle_money import HOUR
from tests.oracle.oracle_sharing import GIB, Cluster, Cost, Device, Hold, Job, Machine, Rules, Run, Stretch

UNIT: Final = 10**18
HOURS: Final = 3

MODES: Final = (
    "whole",
    "mig single",
    "mig mixed",
    "mig and whole",
    "time slicing",
    "mps",
    "fractions",
    "amd partitions",
)

# Compute slices of seven and memory slices of eight, as H100 has them; 1g.20gb takes two eighths of memory.
_PROFILES: Final = {"1g": (1, 1), "1g.big": (1, 2), "2g": (2, 2), "3g": (3, 4), "4g": (4, 4), "7g": (7, 8)}
_LAYOUTS: Final = (
    ("3g", "2g", "1g"),
    ("3g", "3g"),
    ("1g",) * 7,
    ("1g.big",) * 4,
    ("4g", "1g.big"),
    ("2g", "2g", "2g"),
    ("7g",),
    ("1g",),
)

_HELD: Final = (
    "productive",
    "productive",
    "held_idle",
    "allocated_idle",
    "underused",
    "throttled",
    "unknown",
    "faulty",
)
_FREE: Final = ("unallocated", "unallocated", "faulty", "orphaned", "unknown", "productive")

KINDS: Final = frozenset(
    {
        *(f"mode:{mode}" for mode in MODES),
        *("unplaceable rest", "profiles of several sizes", "memory share larger", "compute share larger"),
        *(
            "node replaced",
            "node without size",
            "requests beyond the node",
            "job on two nodes",
            "job on part of an hour",
        ),
        *("jobs overlap", "alone with a share", "measured", "asked", "even", "busy without a holder", "run told twice"),
        *("price changes inside an hour", "spot", "bill without samples", "samples without a bill", "volume of a node"),
        *("tax", "credit", "purchase", "adjustment", "support", "storage", "network", "control_plane", "management"),
        *("unused commitment", "owner", "outside the estate", "unknown effective cost", "negative", "tiny", "large"),
    }
)


def fractions(layout: tuple[str, ...]) -> tuple[list[int], int]:
    """Return the millionths of a device that each slice takes, and what no slice can have."""
    sizes = [max(compute * 10**6 // 7, memory * 10**6 // 8) for compute, memory in map(_PROFILES.__getitem__, layout)]
    whole = sum(sizes)
    if whole > 10**6:
        sizes = [each * 10**6 // whole for each in sizes]
        sizes[0] += 10**6 - sum(sizes)
    return sizes, 10**6 - sum(sizes)


def rules(seed: int) -> Rules:
    """Return rules by which everything is divided."""
    draw = random.Random(seed)  # noqa: S311  seeded, not secret
    shares = draw.choice(((950_000, 50_000, 0), (333_333, 333_333, 333_334), (700_000, 180_000, 120_000)))
    ways = ("apart", "proportional", "even", "fixed", "direct")
    kinds = ("tax", "credit", "purchase", "adjustment", "support", "storage", "network", "control_plane", "management")
    by_kind = {kind: draw.choice(ways) for kind in kinds if draw.random() < 0.6}
    if draw.random() < 0.6:
        by_kind["network"] = by_kind["storage"] = "direct"
    return Rules(
        split=draw.choice(("whole_node_to_gpu", "95_3_2", "70_30", "aws_9_09_01", "custom")),
        node_shares=shares,
        shared=draw.choice(ways),
        by_kind=by_kind,
        teams=draw.choice(({"vision": 250_000, "speech": 333_333}, {"vision": 500_000, "other": 500_000})),
    )


class Drawing:
    """Draws one cluster."""

    def __init__(self, number: int, seed: int, kinds: Counter[str]) -> None:
        self.name = f"c{number}"
        self.kinds = kinds
        self.draw = random.Random(f"{seed}-{number}")  # noqa: S311  seeded, not secret
        self.currency = self.draw.choice(("USD", "USD", "EUR"))

    def cluster(self) -> Cluster:
        """Return the cluster."""
        draw = self.draw
        names = draw.choice((("n1",), ("n1",), ("n1", "n2"), ("n1", "n2", "n3")))
        jobs = [self._job(number) for number in range(draw.randint(1, 4))]
        machines: list[Machine] = []
        devices: list[Device] = []
        for name in names:
            mode = draw.choice(MODES)
            self.kinds[f"mode:{mode}"] += 1
            mine = self._machines(name)
            machines += mine
            for generation, machine in enumerate(mine):
                devices += self._devices(machine, f"{name}-{generation}", mode, jobs)
        self._note_nodes(devices)
        costs = [cost for name in names for cost in self._node_costs(name)] + self._other_costs()
        costs = list({each[:9]: each for each in costs}.values())
        hours = [START + hour * HOUR for hour in range(HOURS)]
        sent = {(hour, name): draw.randint(0, 10**12) for hour in hours for name in names if draw.random() < 0.8}
        moved = {
            (hour, name, f"fs-{self.name}-{number}.example.com:/data"): draw.randint(0, 10**12)
            for hour in hours
            for name in names
            for number in range(2)
            if draw.random() < 0.6
        }
        return Cluster(self.name, tuple(machines), tuple(devices), tuple(jobs), tuple(costs), sent, moved)

    def _machines(self, name: str) -> list[Machine]:
        """Return the node, or the one that was there and the one that took its name."""
        draw, edge = self.draw, START + self.draw.randint(20, 150) * 60_000
        sizes = draw.choice(((8, 64, 488 * GIB), (4, 48, 192 * GIB), (1, 4, 16 * GIB), (None, None, None)))
        self.kinds["node without size"] += sizes[0] is None
        first = Machine(name, START - 9 * HOUR, None, *sizes)
        if draw.random() < 0.75:
            return [first]
        self.kinds["node replaced"] += 1
        gone = Machine(name, START - 9 * HOUR, edge, *sizes)
        return [gone, Machine(name, edge + 7 * 60_000, None, 8, 96, 1152 * GIB)]

    def _devices(self, machine: Machine, prefix: str, mode: str, jobs: list[Job]) -> list[Device]:
        draw = self.draw
        start, end = max(machine.start, START), min(machine.end or START + HOURS * HOUR, START + HOURS * HOUR)
        uuids: list[tuple[str, str, int]] = []
        for index in range(draw.choice((1, 1, 2, 4))):
            uuid = f"{prefix}-g{index}"
            sliced = mode in {"mig single", "mig mixed"} or (mode == "mig and whole" and index == 0)
            if sliced:
                uuids += self._slices(uuid, mode)
            elif mode == "amd partitions":
                uuids += [(f"{uuid}/{part}", uuid, 125_000) for part in range(8)]
            else:
                uuids.append((uuid, "", 1_000_000))
        return [
            self._device(machine.node, *each, (start, end), mode, jobs if not each[0].endswith("/rest") else [])
            for each in uuids
        ]

    def _slices(self, uuid: str, mode: str) -> list[tuple[str, str, int]]:
        layout = self.draw.choice(_LAYOUTS if mode != "mig single" else (("1g",) * 7, ("3g", "3g"), ("2g",) * 3))
        sizes, rest = fractions(layout)
        self.kinds["profiles of several sizes"] += len(set(layout)) > 1
        for compute, memory in map(_PROFILES.__getitem__, layout):
            self.kinds["memory share larger" if memory * 7 > compute * 8 else "compute share larger"] += 1
        found = [(f"{uuid}/m{number}", uuid, size) for number, size in enumerate(sizes)]
        if rest:
            self.kinds["unplaceable rest"] += 1
            found.append((f"{uuid}/rest", uuid, rest))
        return found

    def _job(self, number: int) -> Job:
        draw = self.draw
        run: Run = (draw.choice(("7", str(number))), START - (number + 1) * 60_000, draw.choice((0, 0, 1)))
        processors, nodes = draw.choice((None, 4, 32, 500)), draw.choice((None, 1, 1, 2))
        self.kinds["requests beyond the node"] += processors == 500
        team = draw.choice(("vision", "speech", "search"))
        return Job(run, f"user{number}", team, f"model{number % 2}", processors, draw.choice((None, 20 * GIB)), nodes)

    def _device(
        self, node: str, uuid: str, parent: str, size: int, stay: tuple[int, int], mode: str, jobs: list[Job]
    ) -> Device:
        draw = self.draw
        shares = mode in {"time slicing", "mps", "fractions"}
        many = draw.choice((0, 1, 1, 2, 3) if shares else (0, 1, 1, 1, 2))
        holds = [hold for job in draw.sample(jobs, min(many, len(jobs))) for hold in self._holds(job.run, stay, mode)]
        measured = {}
        if mode == "mps" or draw.random() < 0.1:
            for job in jobs:
                for hour in range(HOURS):
                    if draw.random() < 0.7:
                        measured[START + hour * HOUR, job.run[0]] = draw.choice((0, 10, 2_500, 9_990))
        self._note_sharing(holds, measured)
        return Device(node, uuid, parent, size, self._stretches(stay, holds), tuple(holds), measured)

    def _holds(self, run: Run, stay: tuple[int, int], mode: str) -> list[Hold]:
        draw = self.draw
        share = draw.choice((250_000, 460_000, 125_000, 1_000_000)) if mode == "fractions" else None
        if mode == "fractions" and draw.random() < 0.1:
            share = None
        start = stay[0] + draw.choice((-HOUR, 0, 13_001, 25 * 60_000, 70 * 60_000))
        end = draw.choice((None, None, start + 40 * 60_000, start + 95 * 60_000 + 7, start + 2 * HOUR))
        self.kinds["job on part of an hour"] += bool(start % HOUR or (end or 0) % HOUR)
        if draw.random() < 0.1:
            self.kinds["run told twice"] += 1
            return [Hold(run, start, end, share), Hold(run, start + 60_000, end, share)]
        return [Hold(run, start, end, share)]

    def _note_sharing(self, holds: list[Hold], measured: dict[tuple[int, str], int]) -> None:
        runs = {each.run for each in holds}
        asked = [each.share for each in holds]
        self.kinds["alone with a share"] += len(runs) == 1 and None not in asked
        if len(runs) > 1:
            self.kinds["jobs overlap"] += 1
            self.kinds["measured" if any(measured.values()) else "even" if None in asked else "asked"] += 1

    def _stretches(self, stay: tuple[int, int], holds: list[Hold]) -> tuple[Stretch, ...]:
        """Return what the device did, one state after the other, cut at clock hours."""
        draw, (low, high) = self.draw, stay
        edges = {low, high, *(START + hour * HOUR for hour in range(HOURS))}
        edges |= {each.start for each in holds} | {each.end for each in holds if each.end}
        edges |= {draw.randrange(low, high) for _ in range(draw.choice((0, 1, 3)))}
        cuts = sorted(edge for edge in edges if low <= edge <= high)
        found = []
        for start, end in pairwise(cuts):
            is_held = any(each.start <= start and (each.end is None or start < each.end) for each in holds)
            state = draw.choice(_HELD if is_held else _FREE)
            self.kinds["busy without a holder"] += not is_held and state == "productive"
            found.append(Stretch(start, end, state))
        return tuple(found)

    def _note_nodes(self, devices: list[Device]) -> None:
        nodes: dict[Run, set[str]] = {}
        for each in devices:
            for hold in each.holds:
                nodes.setdefault(hold.run, set()).add(each.node)
        self.kinds["job on two nodes"] += any(len(each) > 1 for each in nodes.values())

    def _amount(self) -> int:
        kind = self.draw.choice(("plain", "plain", "odd", "tiny", "negative", "large", "zero"))
        self.kinds[kind] += 1
        plain = self.draw.randint(1, 99_999) * UNIT // 1000
        odd = self.draw.randint(1, 10**21)
        return {"plain": plain, "tiny": self.draw.randint(1, 30), "negative": -odd, "large": 10**28, "zero": 0}.get(
            kind, odd
        )

    def _cost(self, hour: int, resource: str, node: str = "", **given: object) -> Cost:
        billed = self._amount()
        unknown = self.draw.random() < 0.15
        self.kinds["unknown effective cost"] += unknown
        plain = Cost(
            hour=hour,
            resource=resource,
            node=node,
            category="Usage",
            kind="usage",
            commitment="",
            currency=self.currency,
            owner="",
            in_scope=True,
            serves_all=False,
            billed=billed,
            effective=None if unknown else billed + self.draw.choice((0, 0, 7)),
        )
        return plain._replace(**given)  # type: ignore[arg-type]

    def _node_costs(self, node: str) -> list[Cost]:
        """Return what a node costs: by the hour, on two terms in one hour, with a volume, or not at all."""
        draw, found = self.draw, []
        for number in range(HOURS):
            hour = START + number * HOUR
            kind = draw.choice(("on demand", "on demand", "spot", "price changes inside an hour", "none"))
            if kind == "none":
                self.kinds["samples without a bill"] += 1
                continue
            self.kinds[kind] += 1
            found.append(self._cost(hour, f"i-{node}", node))
            if kind == "price changes inside an hour":
                found.append(self._cost(hour, f"i-{node}", node, commitment="Used"))
            if draw.random() < 0.3:
                self.kinds["volume of a node"] += 1
                found.append(self._cost(hour, f"vol-{node}", node, kind="storage"))
            if draw.random() < 0.1:
                found.append(self._cost(hour, f"i-{node}", node, category="Credit", kind="credit"))
        if draw.random() < 0.4:
            self.kinds["bill without samples"] += 1
            found.append(self._cost(START + (HOURS - 1) * HOUR, "i-dark", "dark"))
        return found

    def _other_costs(self) -> list[Cost]:
        """Return costs that no node has."""
        draw, found = self.draw, []
        used = ("storage", "network", "control_plane", "management")
        categories = {"tax": "Tax", "credit": "Credit", "purchase": "Purchase", "adjustment": "Adjustment"}
        for _ in range(draw.choice((2, 4, 7))):
            kind = draw.choice((*used, *used[:2], *categories, "support", "usage", "unused commitment"))
            self.kinds[kind] += 1
            owner = draw.choice(("", "", "", "vision", "platform"))
            in_scope = draw.random() < 0.8
            self.kinds["owner"] += bool(owner)
            self.kinds["outside the estate"] += not in_scope
            resource = (
                draw.choice((f"fs-{self.name}-0", f"a:b/fs-{self.name}-1", "bucket", "")) if kind == "storage" else ""
            )
            about: dict[str, object] = {"kind": kind, "owner": owner, "in_scope": in_scope}
            if kind == "unused commitment":
                about |= {"kind": "usage", "commitment": "Unused"}
            elif kind in used:
                about["serves_all"] = True
            else:
                about["category"] = categories.get(kind, "Purchase" if kind == "support" else "Usage")
            found.append(self._cost(START + draw.randrange(HOURS) * HOUR, resource, **about))
        return found


def clusters(seed: int, count: int, kinds: Counter[str] | None = None) -> list[Cluster]:
    """Return some clusters, the same for the same seed."""
    noted: Counter[str] = Counter() if kinds is None else kinds
    return [Drawing(number, seed, noted).cluster() for number in range(count)]
