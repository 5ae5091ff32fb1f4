"""Strategies that draw tiny clusters: every kind of job, fault, gap and device that a real one has.

A cluster is drawn as a few dozen choices (what a device did for how long), and its samples follow from them, so that
drawing is fast and a failing cluster shrinks to a few regimes.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Final, TypeVar

from hypothesis import strategies as st

from tests.oracle.oracle_facts import Cluster, Device, Event, Hold, Job, Round, Run, Sample, Stay, Word

T = TypeVar("T")

START: Final = 1_795_150_800_000
"""2026-11-20T05:00:00Z in milliseconds since 1970."""

SECOND: Final = 1_000
MINUTE: Final = 60_000
BEFORE: Final = -15 * 60
BASELINE: Final = 500_000_000

# status, quality, kernel, graphics, sm, power
ACTIVITIES: Final[dict[str, tuple[str, str | None, str | None, str | None, str | None, str | None]]] = {
    "busy": ("ok", "A", "0.95", "0.9", "0.8", "600.0"),
    "underused": ("ok", "A", "0.9", "0.6", "0.1", "200.0"),
    "input_bound": ("ok", "A", "0.35", "0.3", "0.28", "180.0"),
    "idle": ("ok", "A", "0.0", "0.01", "0.0", "62.0"),
    "at_the_edge": ("ok", "A", "0.05", "0.05", "0.25", "100.0"),
    "sm_unknown": ("ok", "A", None, "0.5", None, "100.0"),
    "buffered_busy": ("ok", "B", "0.5", None, None, "500.0"),
    "buffered_idle": ("ok", "B", "0.02", None, None, "300.0"),
    "no_gpm_busy": ("ok", "C", "0.9", None, None, "500.0"),
    "no_gpm_low_power": ("ok", "C", "0.02", None, None, "63.0"),
    "no_gpm_idle": ("ok", "C", "0.0", None, None, "61.0"),
    "no_gpm_hot": ("ok", "C", "0.0", None, None, "300.0"),
    "no_gpm_no_power": ("ok", "C", "0.5", None, None, None),
    "no_gpm_undecided": ("ok", "C", "0.0", None, None, None),
    "power_only_idle": ("ok", "D", None, None, None, "70.0"),
    "power_only_low": ("ok", "D", None, None, None, "150.0"),
    "power_only_busy": ("ok", "D", None, None, None, "500.0"),
    "declared_a_measured_c": ("ok", "A", "0.7", None, None, "400.0"),
    "undeclared": ("ok", None, "0.7", None, None, "400.0"),
    "no_evidence": ("ok", "X", None, None, None, None),
    "lost": ("lost", None, None, None, None, None),
    "error": ("error", None, None, None, None, None),
    "denied": ("denied", None, None, None, None, None),
}
PROCESSES: Final = ("own", "own", "own", "none", "stray", "lingering", "mixed", "invisible")
OWNERS: Final[tuple[tuple[str | None, ...], ...]] = ((), ("ann",), ("ann",), ("ann", "ben"), ("ann", None), (None, ""))
"""Users of the processes that belong to no job; nobody knows some."""
HEATS: Final = ("cool", "cool", "throttled", "throttled_whole", "counter_reset")
WORDS: Final = ("UP", "DOWN", "DRAINED", "DRAINING", "RESERVED", "QUOTA", "POWERED_DOWN", "UNKNOWN")
OPENING: Final = ("xid", "lost", "remap_failed", "recovery_action")
CLOSING: Final = ("recovered", "reset", "driver_reload")
RHYTHMS: Final[dict[str, tuple[int, ...]]] = {
    "steady": (1000,),
    "jitter": (1000, 1001, 999, 1000, 1010),
    "skipping": (1000, 2000, 3000, 1000),
    "gaps": (1000, 1000, 3001, 1000, 1000, 9000),
}
"""Times between samples, in thousandths of the collector's pace."""

KINDS: Final = frozenset(
    {
        *(f"activity:{name}" for name in ACTIVITIES),
        *(f"process:{name}" for name in PROCESSES),
        *(f"heat:{name}" for name in HEATS),
        *(f"node:{name}" for name in WORDS),
        *(f"event:{name}" for name in (*OPENING, *CLOSING, "harmless")),
        *(f"rhythm:{name}" for name in RHYTHMS),
        *(f"holder:{name}" for name in ("scheduler", "process", "nothing")),
        *(
            "silent",
            "node joins",
            "node leaves",
            "node comes back",
            "slice",
            "recurring job id",
            "requeue",
            "pending job",
        ),
        *("owner holds", "owners share", "owner unknown", "owner measured", "owner where a scheduler tells"),
        *("oversized job", "idle job", "shared device", "measured share", "history without samples", "unknown limits"),
    }
)


@cache
def among(values: tuple[T, ...]) -> st.SearchStrategy[T]:
    """Return a strategy that draws one of some values, made once: thousands of draws ask for the same ones."""
    return st.sampled_from(values)


@dataclass(frozen=True)
class Regime:
    """What a device does from one second on."""

    start: int
    activity: str
    process: str
    memory: int | None
    heat: str
    owners: tuple[str | None, ...]


def _regimes(draw: st.DrawFn, last: int) -> list[Regime]:
    found = []
    at = BEFORE
    while at < last:
        found.append(
            Regime(
                at,
                draw(among(tuple(sorted(ACTIVITIES)))),
                draw(among(PROCESSES)),
                draw(among((None, BASELINE, 9_000_000_000))),
                draw(among(HEATS)),
                draw(among(OWNERS)),
            )
        )
        at += draw(among((300, 420, 700, 1500, 4000)))
    return found


def _samples(
    regimes: list[Regime], rhythm: str, pace: int, first: int, last: int, holds: list[Hold], limit: str | None
) -> Iterator[Sample]:
    """Yield the samples of a device that follow from its regimes."""
    at = START + first
    heat = [5_000, 9_000, 0]
    index = turn = 0
    while at < START + last * SECOND:
        while index + 1 < len(regimes) and regimes[index + 1].start * SECOND + START <= at:
            index += 1
        now = regimes[index]
        status, quality, kernel, graphics, sm, power = ACTIVITIES[now.activity]
        if now.activity == "input_bound" and turn % 3 == 0:
            kernel, graphics, sm = "0.0", "0.02", "0.01"
        count, jobs, jobless = _processes(now.process if status == "ok" else "invisible", at, holds)
        memory = now.memory if status == "ok" else None
        yield Sample(at, pace, status, quality, kernel, graphics, sm, memory, power, limit, *heat, count, jobs, jobless)
        if now.heat in {"throttled", "throttled_whole"}:
            heat[turn % 3] += 4_125 if now.heat == "throttled" else pace * 2
        elif now.heat == "counter_reset" and turn % 4 == 0:
            heat = [0, 125, 0]
        beats = RHYTHMS[rhythm]
        at += pace * beats[turn % len(beats)] // 1000
        turn += 1


def _processes(kind: str, at: int, holds: list[Hold]) -> tuple[int | None, str | None, int | None]:
    """Return how many processes are on a device, of which jobs, and how many of no job."""
    begun = sorted((hold for hold in holds if hold.start <= at), key=lambda hold: hold.start)
    mine = sorted({hold.run[0] for hold in begun if hold.end is None or at < hold.end})
    if kind == "invisible":
        return None, None, None
    if kind == "lingering":
        mine = [begun[-1].run[0]] if begun else ["77"]
    elif kind == "stray":
        mine = []
    elif kind == "none":
        return 0, "", 0
    strays = {"stray": 2, "mixed": 1}.get(kind, 0)
    return len(mine) + strays, ",".join(mine), strays


@st.composite
def _instants(draw: st.DrawFn, low: int, high: int) -> int:
    """Draw an instant: on a minute, on a second, or on a tenth of one."""
    seconds = draw(st.integers(low // 60, high // 60)) * 60
    odd = draw(among((0, 0, 7_000, 12_300)))
    return START + seconds * SECOND + odd


def _later(draw: st.DrawFn, start: int) -> int | None:
    length = draw(among((None, 20 * SECOND, 7 * MINUTE, 25 * MINUTE, 55 * MINUTE)))
    return None if length is None else start + length


def _stays(draw: st.DrawFn, last: int, kinds: set[str]) -> tuple[Stay, ...]:
    """Draw when a node's devices exist."""
    kind = draw(among(("always", "always", "always", "node joins", "node leaves", "node comes back")))
    edge = draw(_instants(60, last - 300))
    kinds |= {kind} - {"always"}
    if kind == "node joins":
        return (Stay(edge, None),)
    if kind == "node leaves":
        return (Stay(START - 30 * 24 * 60 * MINUTE, edge),)
    if kind == "node comes back":
        return (Stay(START - 2 * 60 * MINUTE, edge), Stay(edge + 10 * MINUTE, None))
    return (Stay(START - 24 * 60 * MINUTE, None),)


def _words(draw: st.DrawFn, last: int, kinds: set[str]) -> tuple[Word, ...]:
    """Draw what the scheduler says of a node, one word after the other."""
    found: list[Word] = []
    at: int | None = START - 30 * MINUTE
    for _ in range(draw(among((0, 1, 1, 2)))):
        if at is None:
            break
        start = at + draw(among((0, 17, 35, 61))) * MINUTE
        at = _later(draw, start)
        found.append(Word(start, at, draw(among(WORDS))))
        kinds.add(f"node:{found[-1].state}")
    return tuple(found)


def _events(draw: st.DrawFn, last: int, kinds: set[str]) -> tuple[Event, ...]:
    found: dict[tuple[int, str], Event] = {}
    for _ in range(draw(among((0, 0, 1, 2, 3)))):
        name = draw(among((*OPENING, *CLOSING, "harmless")))
        at = draw(_instants(-1800, last))
        kinds.add(f"event:{name}")
        word = "xid" if name == "harmless" else name
        found[at, word] = Event(at, word, {"xid": 79, "harmless": 31}.get(name, 0), name in OPENING)
    return tuple(found.values())


def _jobs(draw: st.DrawFn, last: int, devices: int, kinds: set[str]) -> tuple[list[Job], list[list[Hold]]]:
    """Draw jobs and which devices they hold when."""
    jobs: dict[Run, Job] = {}
    holds: list[list[Hold]] = [[] for _ in range(devices)]
    for _ in range(draw(among((0, 1, 2, 2, 3, 4)))):
        job_id = draw(among(("1", "2", "3")))
        submitted = START - draw(among((10, 40))) * MINUTE
        earlier = [run for run in jobs if run[0] == job_id]
        again = [run for run in earlier if run[1] == submitted]
        kinds |= {"requeue"} if again else {"recurring job id"} if earlier else set()
        run = (job_id, submitted, len(again))
        state = draw(among(("RUNNING", "COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "PENDING")))
        start = draw(_instants(-600, last - 300))
        end = _later(draw, start)
        requested = float(draw(st.integers(0, 4)))
        mean = draw(among((None, None, "0.03", "0.4")))
        if state == "PENDING":
            kinds.add("pending job")
            reason = draw(among(("Resources", "QOSMaxGRESPerUser", "Dependency")))
            jobs[run] = Job(run, state, None, None, requested, None, mean, reason)
            continue
        jobs[run] = Job(run, state, start, end, requested, "2", mean)
        kinds |= {"history without samples"} if mean else set()
        mask = draw(st.integers(0, 2**devices - 1))
        share = draw(among((None, "1.0", "0.5", "0.25")))
        for index in range(devices):
            if mask >> index & 1:
                holds[index].append(Hold(run, start, end, share))
    return list(jobs.values()), holds


@st.composite
def clusters(draw: st.DrawFn, name: str, hours: int, now: int) -> tuple[Cluster, frozenset[str]]:
    """Draw a cluster of one to three nodes with one to four devices, and say what kinds are in it."""
    kinds: set[str] = set()
    last = hours * 3600 + 300
    places = draw(among((("n1",), ("n1", "n1"), ("n1", "n2"), ("n1", "n1", "n1"), ("n1", "n2", "n3", "n3"))))
    sliced = draw(among((False, False, True)))
    jobs, holds = _jobs(draw, last, len(places), kinds)
    nodes = sorted(set(places))
    holder = {node: draw(among(("scheduler", "scheduler", "scheduler", "process", None))) for node in nodes}
    words = {node: _words(draw, last, kinds) for node in nodes}
    stays = {node: _stays(draw, last, kinds) for node in nodes}
    kinds |= {f"holder:{each or 'nothing'}" for each in holder.values()}
    devices = []
    for index, node in enumerate(places):
        known = draw(among((True, True, True, False)))
        slice_of = "G-0" if sliced and index else ""
        kinds |= {"slice"} if slice_of else set()
        kinds |= set() if known else {"unknown limits"}
        device = Device(
            node=node,
            uuid=f"M-{index}" if slice_of else f"G-{index}",
            parent=slice_of if node == places[0] else "G-far" if slice_of else "",
            fraction="0.428571" if slice_of else "1",
            idle_power="60.0" if known else None,
            limit="700.0" if known else None,
            baseline=BASELINE if known else None,
            stays=stays[node],
            samples=(),
            holds=tuple(holds[index]),
            events=_events(draw, last, kinds),
        )
        devices.append(_observed(draw, device, last, kinds))
        _about_owners(devices[-1], holder[node], kinds)
    _about_jobs(devices, kinds)
    cluster = Cluster(name, START, START + hours * 3600 * SECOND, now, holder, words, tuple(devices), tuple(jobs))
    return cluster, frozenset(kinds)


def _observed(draw: st.DrawFn, device: Device, last: int, kinds: set[str]) -> Device:
    """Return a device with samples, if its node's agent runs at all."""
    if draw(among((False,) * 7 + (True,))):
        kinds.add("silent")
        return device
    regimes = _regimes(draw, last)
    rhythm = draw(among(tuple(sorted(RHYTHMS))))
    pace = draw(among((10, 20, 30, 60))) * SECOND
    first = BEFORE * SECOND + draw(st.integers(0, 59)) * SECOND
    limit = draw(among((None, None, "600.0")))
    kinds |= {f"rhythm:{rhythm}"}
    for each in regimes:
        kinds |= {f"activity:{each.activity}", f"process:{each.process}", f"heat:{each.heat}"}
    every = _samples(regimes, rhythm, pace, first, last, list(device.holds), limit)
    samples = tuple(sample for sample in every if sample.at >= device.stays[0].start)
    rounds = tuple(_rounds(regimes, samples, is_measured=draw(st.booleans())))
    return replace(device, samples=samples, measured=_process_times(draw, device, kinds), rounds=rounds)


def _rounds(regimes: list[Regime], samples: tuple[Sample, ...], *, is_measured: bool) -> Iterator[Round]:
    """Yield whose processes are seen where samples count processes of no job."""
    for turn, sample in enumerate(samples):
        if not sample.jobless or turn % 7 == 6:
            continue
        now = [each for each in regimes if START + each.start * SECOND <= sample.at][-1]
        pace = sample.pace or 10 * SECOND
        # The second one runs for a third of the time of the first.
        times = [pace * part // 40 if is_measured else None for part in (30, 10)]
        if now.owners:
            yield Round(sample.at, pace, tuple(zip(now.owners, times, strict=False)))


def _about_owners(device: Device, holder: str | None, kinds: set[str]) -> None:
    """Note which kinds of owners hold the device by their processes alone."""
    alone = {sample.at for sample in device.samples if sample.jobs == ""}
    for each in device.rounds:
        users = {user for user, _ in each.owners if user}
        if holder == "scheduler" and users:
            kinds.add("owner where a scheduler tells")
        held = any(hold.start <= each.at and (hold.end is None or each.at < hold.end) for hold in device.holds)
        if holder != "process" or held or each.at not in alone or each.at < START:
            continue
        if any(not user for user, _ in each.owners):
            kinds.add("owner unknown")
        if users:
            kinds.add("owner holds")
            kinds |= {"owner measured"} if each.owners[0][1] is not None else set()
            kinds |= {"owners share"} if len(users) > 1 else set()


def _process_times(draw: st.DrawFn, device: Device, kinds: set[str]) -> tuple[tuple[int, str, int], ...]:
    """Draw process times of the jobs of a shared device."""
    ids = sorted({hold.run[0] for hold in device.holds})
    if len(ids) < 2 or not draw(st.booleans()):
        return ()
    kinds.add("measured share")
    times = (
        (START + 5 * MINUTE + index * SECOND, job, draw(among((0, 10_000, 30_000)))) for index, job in enumerate(ids)
    )
    return tuple(times)


def _about_jobs(devices: list[Device], kinds: set[str]) -> None:
    """Note which kinds of jobs came about: idle, oversized, sharing a device."""
    used: Counter[Any] = Counter()
    held: Counter[Any] = Counter()
    for device in devices:
        runs = {hold.run for hold in device.holds}
        if len(runs) > 1 and _overlap(device.holds):
            kinds.add("shared device")
        for run in runs:
            held[run] += 1
            used[run] += any(run[0] in (sample.jobs or "").split(",") for sample in device.samples)
    for run, count in held.items():
        if not used[run]:
            kinds.add("idle job")
        elif used[run] < count:
            kinds.add("oversized job")


def _overlap(holds: tuple[Hold, ...]) -> bool:
    return any(
        one.run != other.run and one.start < (other.end or 2**60) and other.start < (one.end or 2**60)
        for one in holds
        for other in holds
    )


class Estate:
    """Some clusters, and which kinds of rows and events are in them; its text is short, since samples are many."""

    def __init__(self, clusters: tuple[Cluster, ...], kinds: frozenset[str]) -> None:
        self.clusters = clusters
        self.kinds = kinds

    def __repr__(self) -> str:
        return f"Estate({len(self.clusters)} clusters with {', '.join(sorted(self.kinds))})"


@st.composite
def estates(draw: st.DrawFn, count: int) -> Estate:
    """Draw some clusters that are computed in one call: they must not touch each other."""
    hours = draw(among((1, 1, 1, 2)))
    early = draw(among((0, 0, 0, 13)))
    now = START + (hours * 60 - early) * MINUTE
    drawn = [draw(clusters(f"c{index}", hours, now)) for index in range(count)]
    return Estate(tuple(each for each, _ in drawn), frozenset().union(*(kinds for _, kinds in drawn)))
