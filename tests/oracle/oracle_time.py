"""The ledger of GPU time read literally: a clock walks over one device's history and judges what it sees.

Plain Python on whole milliseconds and fractions; it shares no code with what it checks. All facts about a device
are put on one clock as changes. At each instant the changes are applied, and the stretch until the next change, in
which nothing about the device can change, is judged by the table of nine states from the top down.

Readings where the contract leaves a choice:
* A step longer than three paces is a gap, all of it. A step is judged by the sample at its start.
* A process belongs to somebody while its job holds the device; else it is of nobody. Its age counts from the first
  sample, or end of a holding, from which on such a process was seen without a break, to the step's own sample.
* The three throttle counters overlap: the longest one counts, at the start of the step.
* A fault ends at the next holding by a run that completed, runs, or ran to its limit.
* A powered-down or DOWN node has no agent: the scheduler's word is what is seen of its devices.
* Processes of no job hold a device without a scheduler for their owners, as long as their round of samples reaches: to
  the next round, three paces at most. What has neither job nor owner holds it for nobody.
* Held by nobody with invisible processes is unallocated unless the device is busy.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from ledger.names import STATES
from tests.oracle.oracle_facts import Cluster, Device, Hold, Job, Run, Sample, Stretch, Word
from tests.oracle.oracle_state import activity, decided

HOUR = 3_600_000
MINUTE = 60_000
GRACE = 300_000
ABOVE_BASELINE = 256 * 1024**2


@dataclass
class _Seen:
    """What the clock has seen of a device until now."""

    stays: int = 0
    holds: list[Hold] = field(default_factory=list)
    words: list[Word] = field(default_factory=list)
    faults: list[tuple[int, str]] = field(default_factory=list)
    sample: Sample | None = None
    is_slow: bool = False
    alien_since: int | None = None
    owners: tuple[str, ...] = ()


def stretches(cluster: Cluster, device: Device) -> list[Stretch]:
    """Return what a device did from the cluster's start to its end, in order."""
    seen = _Seen()
    changes = sorted(_changes(cluster, device), key=lambda change: (change[0], change[1]))
    found: list[Stretch] = []
    index = 0
    while index < len(changes):
        now = changes[index][0]
        while index < len(changes) and changes[index][0] == now:
            _apply(seen, *changes[index])
            index += 1
        _age(seen, cluster, device, now)
        until = changes[index][0] if index < len(changes) else now
        if seen.stays and until > now and cluster.start <= now < cluster.end:
            found.append(_judged(seen, cluster, device, now, until))
    return found


def _changes(cluster: Cluster, device: Device) -> Iterator[tuple[int, int, str, Any]]:
    """Yield everything that changes about a device: when, in which order at one instant, what, and its content."""
    last = min(cluster.end, cluster.now)
    for hour in range(cluster.start, cluster.end + 1, HOUR):
        yield hour, 9, "clock", None
    yield last, 9, "clock", None
    for job in cluster.jobs:
        yield job.run[1], 9, "clock", None
        yield _began(job, cluster.now), 9, "clock", None
    for stay in device.stays:
        end = last if stay.end is None else min(stay.end, last)
        if stay.start < end:
            yield stay.start, 1, "appears", stay
            yield end, 0, "goes", stay
    for hold in device.holds:
        yield hold.start, 3, "held", hold
        if hold.end is not None:
            yield hold.end, 2, "released", hold
    for word in cluster.words.get(device.node, ()):
        yield word.start, 3, "said", word
        if word.end is not None:
            yield word.end, 2, "unsaid", word
    yield from _fault_changes(cluster, device)
    yield from _sample_changes(device)
    yield from _owner_changes(device)


def _fault_changes(cluster: Cluster, device: Device) -> Iterator[tuple[int, int, str, Any]]:
    """Yield when faults open and close; what happens to a whole device happens to its slices."""
    parents = [each for each in cluster.devices if each.uuid == device.parent and each.node == device.node]
    for event in (*device.events, *(event for parent in parents for event in parent.events)):
        if event.event in {"recovered", "reset", "driver_reload"}:
            yield event.at, 4, "mended", None
        elif event.is_critical:
            yield event.at, 5, "broken", f"xid_{event.xid}" if event.event == "xid" else event.event
    works = {job.run for job in cluster.jobs if job.state in {"COMPLETED", "RUNNING", "TIMEOUT"}}
    for hold in device.holds:
        if hold.run in works:
            yield hold.start, 4, "mended", None


def _sample_changes(device: Device) -> Iterator[tuple[int, int, str, Any]]:
    """Yield each step: its sample, the end of its throttled part, and its own end."""
    for sample, following in zip(device.samples, device.samples[1:], strict=False):
        length = following.at - sample.at
        pace = 10_000 if sample.pace is None else sample.pace
        if length > min(3 * pace, 300_000):
            continue
        grown = [after - before for before, after in zip(sample[10:13], following[10:13], strict=True)]
        slow = min(max(0, *grown), length)
        yield sample.at, 7, "sampled", sample
        if slow:
            yield sample.at, 8, "slow", True
            yield sample.at + slow, 8, "slow", False
        yield following.at, 6, "unsampled", None


def _owner_changes(device: Device) -> Iterator[tuple[int, int, str, Any]]:
    """Yield whose processes without a job are seen from when on, and from when on no longer."""
    for index, each in enumerate(device.rounds):
        names = tuple(sorted({user for user, _ in each.owners if user}))
        yield each.at, 7, "owned", names
        last = each.at + min(3 * each.pace, 300_000)
        if index + 1 == len(device.rounds) or device.rounds[index + 1].at > last:
            yield last, 6, "owned", ()


def _apply(seen: _Seen, at: int, _order: int, what: str, content: Any) -> None:
    """Let one change happen."""
    if what in {"appears", "goes"}:
        seen.stays += 1 if what == "appears" else -1
    elif what in {"held", "released"}:
        _take(seen.holds, content, is_new=what == "held")
    elif what in {"said", "unsaid"}:
        _take(seen.words, content, is_new=what == "said")
    elif what == "broken":
        seen.faults.append((at, content))
    elif what == "mended":
        seen.faults = [each for each in seen.faults if each[0] >= at]
    elif what in {"sampled", "unsampled"}:
        seen.sample, seen.is_slow = content, False
    elif what == "slow":
        seen.is_slow = content
    elif what == "owned":
        seen.owners = content


def _take(whole: list[Any], part: Any, *, is_new: bool) -> None:
    if is_new:
        whole.append(part)
    else:
        whole.remove(part)


def _word(seen: _Seen) -> str | None:
    return max(seen.words, key=lambda word: (word.start, word.state)).state if seen.words else None


def _teller(seen: _Seen, cluster: Cluster, device: Device) -> str:
    """Return who tells who holds the device: a job's record, the scheduler, the processes, or nobody."""
    if seen.holds:
        return "job"
    if cluster.holder.get(device.node) == "scheduler" and _word(seen) != "UNKNOWN":
        return "scheduler"
    return "process" if cluster.holder.get(device.node) == "process" else "nobody"


def _ids(sample: Sample) -> set[str]:
    return set((sample.jobs or "").split(",")) - {""} if sample.processes else set()


def _age(seen: _Seen, cluster: Cluster, device: Device, now: int) -> None:
    """Note since when a process of nobody is on the device."""
    sample = seen.sample
    alien = False
    if sample is not None and _teller(seen, cluster, device) in {"job", "scheduler"}:
        alien = bool(sample.jobless) or bool(_ids(sample) - {hold.run[0] for hold in seen.holds})
    if not alien:
        seen.alien_since = None
    elif seen.alien_since is None:
        seen.alien_since = now


def _judged(seen: _Seen, cluster: Cluster, device: Device, now: int, until: int) -> Stretch:
    """Return the stretch from now on, judged."""
    sample, word = seen.sample, _word(seen)
    teller = _teller(seen, cluster, device)
    visible = sample is not None and sample.processes is not None
    held: str | None = {"job": "job", "scheduler": "nobody", "nobody": None, "process": None}[teller]
    own: bool | None = None
    ids = {hold.run[0] for hold in seen.holds}
    if teller == "process" and visible:
        assert sample is not None
        own, held = sample.processes != 0, "job" if sample.processes else "nobody"
        ids = _ids(sample) if sample.processes else set()
    elif visible and held is not None:
        assert sample is not None
        own = bool(_ids(sample) & ids)
    quality, active, memory = ("X", None, None) if sample is None else _measured(sample, *_limits(device))
    stray = seen.alien_since is not None and sample is not None and visible and sample.at - seen.alien_since > GRACE
    state = decided(
        is_seen=sample is not None or word in {"DOWN", "POWERED_DOWN"},
        is_broken=bool(seen.faults) or word == "DOWN" or (sample is not None and sample.status == "lost"),
        is_drained=word in {"DRAINED", "DRAINING"},
        held=held,
        own=own,
        stray=stray,
        memory=memory,
        active=active,
        is_slow=seen.is_slow,
    )
    runs = {hold.run for hold in seen.holds}
    count = None if held is None else max(len(runs), 1 if teller == "process" else 0, len(ids))
    return Stretch(
        now,
        until,
        state,
        _free(cluster, word, now) if state == "unallocated" else _reason(seen, state, word, held),
        tuple(seen.holds),
        ",".join(sorted(ids)) if held == "job" else "",
        0 if held == "nobody" else count,
        sample is not None,
        None if sample is None else quality,
        seen.owners if teller == "process" and held == "job" and not ids else (),
    )


def _free(cluster: Cluster, word: str | None, now: int) -> str:
    """Return why a free device is free: its node's state, else what jobs of the cluster wait for meanwhile.

    A job waits if it asks for devices, for a minute or more, and for nothing that an empty cluster would not give it.
    """
    of_node = {"RESERVED": "reservation", "QUOTA": "quota", "POWERED_DOWN": "powered_down"}.get(word or "")
    if of_node:
        return of_node
    waiting = [
        job.pending_reason or ""
        for job in cluster.jobs
        if job.requested
        and job.run[1] <= now < _began(job, cluster.now)
        and waited(job, cluster.now) >= MINUTE
        and job.pending_reason != "Dependency"
    ]
    if any(not reason.startswith(("QOS", "Assoc")) for reason in waiting):
        return "fragmentation"
    return "quota" if waiting else "no_demand"


def _limits(device: Device) -> tuple[str | None, str | None, int | None]:
    return device.idle_power, device.limit, device.baseline


def _measured(
    sample: Sample, idle_power: str | None, limit: str | None, baseline: int | None
) -> tuple[str, str | None, bool | None]:
    above = None
    if sample.memory is not None and baseline is not None:
        above = sample.memory > baseline + ABOVE_BASELINE
    if sample.status != "ok":
        return "X", None, above
    quality, active = activity(
        sample.quality, sample.kernel, sample.graphics, sample.sm, sample.power, idle_power, sample.limit or limit
    )
    return quality, active, above


def _reason(seen: _Seen, state: str, word: str | None, held: str | None) -> str:
    """Return why a device was broken or unknown; '' for other states."""
    status = "no_sample" if seen.sample is None else seen.sample.status
    if state == "faulty":
        if seen.faults:
            return min(seen.faults)[1]
        if status == "lost":
            return "lost"
        return "node_down" if word == "DOWN" else "drained"
    if state == "unknown":
        if status != "ok":
            return status
        return "holder_unknown" if held is None else "no_evidence"
    return ""


@dataclass
class HourSums:
    """One clock hour of a device, or of a run on a device, in milliseconds."""

    states: dict[str, Fraction] = field(default_factory=lambda: dict.fromkeys(STATES, Fraction(0)))
    total: int = 0
    observed: int = 0
    told: int = 0
    pieces: int = 0
    is_estimated: bool = False


def device_hours(found: list[Stretch]) -> dict[int, HourSums]:
    """Return the clock hours of a device."""
    hours: dict[int, HourSums] = {}
    for each in found:
        sums = hours.setdefault(each.start - each.start % HOUR, HourSums())
        length = each.end - each.start
        sums.states[each.state] += length
        sums.total += length
        sums.observed += length if each.is_observed else 0
        sums.told += length if each.holder_count is not None else 0
    return hours


def run_hours(cluster: Cluster, device: Device, found: list[Stretch]) -> dict[tuple[int, Run], HourSums]:
    """Return the clock hours of each run on a device, with its share of each state."""
    hours: dict[tuple[int, Run], HourSums] = {}
    for each in found:
        hour = each.start - each.start % HOUR
        runs = each.runs or _of_processes(cluster, device, each, hour)
        shares, is_estimated = _shares(device, runs, hour)
        for run, share in shares.items():
            sums = hours.setdefault((hour, run), HourSums())
            length = each.end - each.start
            sums.states[each.state] += length * share
            sums.total += length
            sums.observed += length if each.is_observed else 0
            sums.pieces += 1
            sums.is_estimated |= is_estimated
    return hours


def _of_processes(cluster: Cluster, device: Device, stretch: Stretch, hour: int) -> tuple[Hold, ...]:
    """Return the runs whose processes hold a device without a scheduler: a record that lived in the hour, or none.

    Without a job it is their owners.
    """
    found = [Hold((f"user:{owner}", _joined(cluster, device.node), 0), 0, None) for owner in stretch.owners]
    for name in filter(None, stretch.job_ids.split(",")):
        lived = [
            job.run
            for job in cluster.jobs
            if job.run[0] == name and job.run[1] < hour + HOUR and (job.ended is None or job.ended > hour)
        ]
        latest = max(lived, key=lambda run: run[1:], default=(name, _joined(cluster, device.node), 0))
        found.append(Hold(latest, stretch.start, stretch.end))
    return tuple(found)


def _joined(cluster: Cluster, node: str) -> int:
    """Return when a node joined."""
    return next(each.stays[0].start for each in cluster.devices if each.node == node)


def _shares(device: Device, runs: tuple[Hold, ...], hour: int) -> tuple[dict[Run, Fraction], bool]:
    """Return each holder's share: by process time measured in the hour, else by request, else even."""
    asked: dict[Run, str | None] = {}
    for hold in runs:
        known = [share for share in (asked.get(hold.run), hold.share) if share is not None]
        asked[hold.run] = max(known, key=Fraction) if known else None
    if len(asked) < 2:
        return dict.fromkeys(asked, Fraction(1)), False
    owned = [
        (each.at, f"user:{user}", ran)
        for each in device.rounds
        for user, ran in each.owners
        if user and ran is not None
    ]
    ran = {
        run: sum(part for at, job, part in (*device.measured, *owned) if job == run[0] and at // HOUR * HOUR == hour)
        for run in asked
    }
    if sum(ran.values()):
        return {run: Fraction(part, sum(ran.values())) for run, part in ran.items()}, False
    if all(share is not None for share in asked.values()) and sum(Fraction(share or 0) for share in asked.values()):
        whole = sum(Fraction(share or 0) for share in asked.values())
        return {run: Fraction(share or 0) / whole for run, share in asked.items()}, True
    return dict.fromkeys(asked, Fraction(1, len(asked))), True


def waited(job: Job, now: int) -> int:
    """Return how long a run waited for its start, in milliseconds."""
    return _began(job, now) - job.run[1]


def _began(job: Job, now: int) -> int:
    return next(each for each in (job.started, job.ended, now) if each is not None)
