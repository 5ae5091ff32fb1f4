"""What Slurm's queue says of its jobs, whichever way it was asked, and the devices that running ones hold."""

import itertools
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from collectors._slurm_runs import RunRow, job, numbered
from collectors._slurm_text import nodes
from collectors.cluster._devices import place
from collectors.cluster._slurm_gres import Devices, Got, got
from collectors.dumps._dump import Rejected

UNENDED: Final = frozenset(
    {"PENDING", "RUNNING", "SUSPENDED", "CONFIGURING", "RESIZING", "STAGE_OUT", "SIGNALING", "STOPPED", "REQUEUED"}
    | {"REQUEUE_FED", "REQUEUE_HOLD", "SPECIAL_EXIT", "RESV_DEL_HOLD", "COMPLETING"}
)
"""States of a job of the queue that has not ended: its instant of end, where it has one, is expected."""

_WAITING: Final = frozenset({"PENDING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "SPECIAL_EXIT", "RESV_DEL_HOLD"})

_ASKED_WITHIN: Final = timedelta(minutes=5)
"""What was submitted as lately may not have been in the queue yet when that was asked."""

_BY_INDEX_CONFIDENCE: Final = 0.9
_WHOLE_NODE_CONFIDENCE: Final = 0.8


@dataclass(frozen=True)
class Queued:
    """One job of the queue: its fields under sacct's names, and by node the text of the devices that it got."""

    fields: Mapping[str, str]
    devices: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Sight:
    """What is so now: the jobs of the queue, and of each node whether something runs there."""

    at: datetime
    queue: Sequence[Queued]
    nodes: Mapping[str, bool]


@dataclass
class Told:
    """Runs and holdings as rows, and what could not be read."""

    runs: list[RunRow] = field(default_factory=list)
    holdings: list[dict[str, object]] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    skipped_count: int = 0
    """Jobs of the queue that changed while it was asked: which run they are is known the next time."""
    behind_count: int = 0
    """Runs without an end that are not in the queue: accounting has not heard of it yet, or never will."""
    gone_count: int = 0
    """Of such runs those that nothing runs of either, as far as their nodes tell: they are left out."""


def live(fields: Mapping[str, str]) -> dict[str, str]:
    """Return the fields of a job of the queue without what is only expected: a start, an end.

    A requeued job whose processes still end waits already, under its new submit time.
    """
    told, word = dict(fields), fields.get("State", "")
    if word == "COMPLETING":
        ended = _seconds(told.get("End", ""))
        if ended is not None and ended <= (_seconds(told.get("Submit", "")) or 0):
            word = told["State"] = "PENDING"
    if word in _WAITING:
        told |= {"Start": "", "End": "", "NodeList": "", "AllocTRES": "", "State": "PENDING"}
    elif word in UNENDED and word != "COMPLETING":
        told["End"] = ""
    return told


def _seconds(text: str) -> int | None:
    return int(text) if text.isdigit() else None


def told(
    queue: Iterable[Queued],
    history: Iterable[Mapping[str, str]],
    there: Mapping[str, Devices],
    where: str,
    sight: Sight | None = None,
) -> Told:
    """Return every run once, from the queue and from accounting, and what is held or was.

    A run that only accounting believes to go on, against all that is in `sight`, is left out: what was told of it
    before ended then. Of two records of one run the one that knows its end counts, else the one that knows its start,
    else the queue's: it is the fresher, and says why a job waits. What the other knows besides is filled in.
    """
    result = Told()
    queued = [(each, row) for each in queue if (row := _row(live(each.fields), where, result))]
    known = {(row["job_id"], row["submitted_at"]): row["restart_count"] for _, row in queued}
    counts = {key: count for key, count in known.items() if isinstance(count, int)}
    recorded = numbered((row for each in history if (row := _row(each, where, result))), counts)
    result.skipped_count = sum(row["restart_count"] is None for _, row in queued)
    runs: dict[tuple[object, ...], RunRow] = {}
    for row in [*(row for _, row in queued if row["restart_count"] is not None), *recorded]:
        before = runs.get(key := _key(row))
        runs[key] = row if before is None else _merged(before, row)
    _end_requeued(runs.values())
    gone = set() if sight is None else _gone(runs, sight)
    result.gone_count = len(gone)
    runs = {key: run for key, run in runs.items() if key not in gone}
    result.runs = list(runs.values())
    present = {_key(row) for _, row in queued}
    result.behind_count = sum(run["ended_at"] is None and key not in present for key, run in runs.items())
    held: set[tuple[object, ...]] = set()
    for each, row in queued:
        run = runs.get(_key(row))
        if run is not None and each.devices and run["ended_at"] is None and run["started_at"] is not None:
            held.add(_key(run))
            _hold(each, run, there, where, result)
    for key, run in runs.items():
        if key not in held:
            result.holdings += _whole_nodes(run, there)
    return result


def _gone(runs: Mapping[tuple[object, ...], RunRow], sight: Sight) -> set[tuple[object, ...]]:
    """Return the runs without an end that are gone: not in the queue, and nothing of theirs on their nodes.

    Where the queue is hidden from who asks, nodes work for jobs that are not in it: there nothing is concluded.
    """
    queued = {each.fields.get("JobIDRaw") for each in sight.queue}
    used = {node for each in sight.queue for node in _nodes_of(each)}
    told_of = {node for node, is_at_work in sight.nodes.items() if not is_at_work or node in used}
    found = set()
    for key, run in runs.items():
        submitted, on = run["submitted_at"], {node for node in str(run["nodes"] or "").split(",") if node}
        is_old = isinstance(submitted, datetime) and sight.at - submitted > _ASKED_WITHIN
        if run["ended_at"] is None and run["job_id"] not in queued and is_old and on <= told_of:
            found.add(key)
    return found


def _nodes_of(each: Queued) -> list[str]:
    """Return the nodes of a job of the queue that has not ended; what cannot be read is refused elsewhere."""
    try:
        return nodes(each.fields.get("NodeList", "")) if each.fields.get("State") in UNENDED else []
    except ValueError:
        return []


def _end_requeued(runs: Iterable[RunRow]) -> None:
    """Give runs their end that were requeued before accounting heard of it: then the next one was submitted."""
    by_job: dict[tuple[object, object], list[RunRow]] = defaultdict(list)
    for run in runs:
        by_job[run["cluster"], run["job_id"]].append(run)
    for each in by_job.values():
        each.sort(key=lambda run: str(run["submitted_at"]))
        for run, following in itertools.pairwise(each):
            if run["ended_at"] is None and run["submitted_at"] != following["submitted_at"]:
                run |= {"state": "REQUEUED", "ended_at": following["submitted_at"]}


def _row(fields: Mapping[str, str], where: str, result: Told) -> RunRow | None:
    """Return the row of one record; one that cannot be read is refused alone."""
    try:
        return job(fields)[0]
    except (ValueError, KeyError) as error:
        record = "|".join(f"{name}={value}" for name, value in fields.items() if value)
        result.rejected.append(Rejected("job", f"{where}: job {fields.get('JobIDRaw', '?')}", str(error), record))
        return None


def _key(row: Mapping[str, object]) -> tuple[object, ...]:
    return row["cluster"], row["job_id"], row["submitted_at"], row["restart_count"]


def _merged(first: RunRow, second: RunRow) -> RunRow:
    """Return the record that knows more, with what it leaves out from the other; of equals the first.

    What a run that began had asked for is as accounting (`second`) says: `scontrol` of older versions tells, from then
    on, what it got.
    """
    better, worse = sorted((first, second), key=_knows, reverse=True)
    merged = {name: worse[name] if value is None else value for name, value in better.items()}
    if merged["started_at"] is not None and second["requested_gpu_count"] is not None:
        merged["requested_gpu_count"] = second["requested_gpu_count"]
    return merged


def _knows(row: RunRow) -> tuple[bool, bool]:
    ended = row["ended_at"] is not None and row["state"] not in UNENDED
    return ended, row["started_at"] is not None


def _hold(each: Queued, run: RunRow, there: Mapping[str, Devices], where: str, result: Told) -> None:
    """Add the devices that one running job holds; what names others than it was given is refused whole."""
    try:
        pairs = [
            (node, one) for names, gres in each.devices for node in nodes(names) for one in got(gres, there.get(node))
        ]
        problem = _problem(run, pairs)
    except ValueError as error:
        pairs, problem = [], str(error)
    if problem:
        text = ";".join(f"{names} {gres}" for names, gres in each.devices)
        result.rejected.append(Rejected("job_gpu", f"{where}: job {run['job_id']}", problem, text))
        return
    result.holdings += [_holding(run, node, one, _BY_INDEX_CONFIDENCE) for node, one in pairs]


def _problem(run: RunRow, pairs: list[tuple[str, Got]]) -> str:
    """Return why these are not the devices of the run, '' if they can be."""
    strange = {node for node, _ in pairs} - set(str(run["nodes"] or "").split(","))
    if strange:
        return f"GRES: found devices of {', '.join(sorted(strange))}, expected nodes of the job"
    places, count = {(node, one.index, one.kind) for node, one in pairs}, run["gpu_count"]
    if len(places) != len(pairs) or (pairs and isinstance(count, float) and count and len(pairs) != count):
        return f"GRES: found {len(pairs)} devices, expected the {count:g} of the job"
    return ""


def _holding(run: Mapping[str, object], node: str, one: Got, confidence: float) -> dict[str, object]:
    return {
        **{name: run[name] for name in ("cluster", "job_id", "submitted_at", "restart_count")},
        "node": node,
        "gpu_uuid": place(one.index, one.kind, one.nth),
        "held_start": run["started_at"],
        "held_end": run["ended_at"],
        "requested_share_ratio": one.share_ratio,
        "source": "scheduler",
        "confidence_ratio": confidence,
    }


def _whole_nodes(run: RunRow, there: Mapping[str, Devices]) -> list[dict[str, object]]:
    """Return the devices of a run that had all GPUs of all its nodes: there Slurm need not say which."""
    started, ended, count = run["started_at"], run["ended_at"], run["gpu_count"]
    if not isinstance(started, datetime) or not count or (isinstance(ended, datetime) and ended <= started):
        return []
    on = [(node, there[node].gpu_count) for node in str(run["nodes"] or "").split(",") if node in there]
    if len(on) != run["node_count"] or sum(gpus for _, gpus in on) != count:
        return []
    return [_holding(run, node, one, _WHOLE_NODE_CONFIDENCE) for node, _ in on for one in there[node].all()]
