"""Runs of Slurm's jobs: a row of `job` from the fields of a record, and which run of its job each is."""

import itertools
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Final

from collectors._slurm_text import gpu_count, gpu_model, instant, nodes, size, state, task_count, tres

Fields = Mapping[str, str]
"""One record under the names of sacct's columns, as text."""

RunRow = dict[str, object]
"""One row of `job`; `restart_count` is None where the record does not say which run it is."""

_SHARES: Final = ("gres/shard", "gres/mps")

_NEVER_STARTED: Final = ("PENDING", "REVOKED")

_RESIZED: Final = "RESIZING"
"""The state of a record that ended because its run went on with other nodes or devices."""

_REQUEUED_WITHIN: Final = timedelta(minutes=1)
"""A requeued run is submitted anew at the instant at which the one before ended; a recycled id comes days later."""


def job(fields: Fields) -> tuple[RunRow, int]:
    """Return a row of `job` and how many of its instants had no zone.

    A record of waiting tasks of an array stands for all of them: it asks for their GPUs together.
    Nulls: `gpu_count` for shares of a device too, since a share's size is not in the record.
    Raises: ValueError: an instant or a number cannot be read.
    """
    instants: dict[str, datetime | None] = {}
    naive = 0
    for name in ("Submit", "Eligible", "Start", "End"):
        try:
            instants[name], is_naive = instant(fields.get(name, ""))
        except (ValueError, OverflowError, OSError):
            raise ValueError(f"column {name}: found {fields[name]!r}, expected an instant") from None
        naive += is_naive
    if instants["Submit"] is None:
        raise ValueError("column Submit: found nothing, expected an instant")
    asked, given = tres(fields.get("ReqTRES", "")), tres(fields.get("AllocTRES", ""))
    names = sorted(nodes(fields.get("NodeList", "")))
    word = state(fields["State"])
    # One that was cancelled while it waited has an instant of start as well, and no node.
    has_run = word not in _NEVER_STARTED and (bool(names) or bool(given) or word != "CANCELLED")
    started = instants["Start"] if has_run else None
    labels = {"JobID": fields["JobID"]} if fields["JobID"] != fields["JobIDRaw"] else {}
    limit, restarts = fields.get("TimelimitRaw", ""), fields.get("Restarts", "")
    wanted = gpu_count(asked, fields.get("ReqGRES", ""))
    row: RunRow = {
        "cluster": fields.get("Cluster") or "default",
        "job_id": fields["JobIDRaw"],
        "submitted_at": instants["Submit"],
        "restart_count": int(restarts) if restarts else None,
        "user": fields.get("User") or None,
        "account": fields.get("Account") or None,
        "job_name": fields.get("JobName") or None,
        "partition": fields.get("Partition") or None,
        "qos": fields.get("QOS") or None,
        "state": word,
        "pending_reason": None if fields.get("Reason", "") in {"", "None"} else fields["Reason"],
        "eligible_at": instants["Eligible"],
        "started_at": started,
        "ended_at": instants["End"],
        "time_limit_seconds": float(limit) * 60 if limit.isdigit() else None,
        "exit_code": fields.get("ExitCode") or None,
        "requested_gpu_count": _devices(asked, wanted and wanted * task_count(fields["JobID"])) if asked else wanted,
        "requested_gpu_model": gpu_model(asked) or gpu_model(given),
        "gpu_count": None if started is None else _devices(given, gpu_count(given, fields.get("AllocGRES", ""))),
        "cpu_count": int(given["cpu"]) if given.get("cpu", "").isdigit() else None,
        "memory_bytes": size(given["mem"]) if "mem" in given else None,
        "node_count": int(given["node"]) if given.get("node", "").isdigit() else (len(names) or None),
        "nodes": ",".join(names) or None,
        "comment": fields.get("Comment") or None,
        "labels": json.dumps(labels) if labels else None,
        "source": "slurm",
    }
    return row, naive


def _devices(resources: dict[str, str], count: float | None) -> float | None:
    """Return how many devices; 0 where none is named, None where shares of some are."""
    if count is None and any(name.partition(":")[0] in _SHARES for name in resources):
        return None
    return count or 0.0


def numbered(rows: Iterable[RunRow], known: Mapping[tuple[object, object], int] | None = None) -> list[RunRow]:
    """Return the runs with the number that each has in its job, repeated records dropped.

    The number is the record's own, or one that is `known` by job id and submit time, or follows from its place in
    the chain of runs: `sacct --duplicates` lists each run, and a requeued one is submitted when the one before ended.
    Job ids recur: runs that no requeue links begin to count anew.
    """
    known = known or {}
    groups: dict[tuple[object, object], list[RunRow]] = defaultdict(list)
    for row in rows:
        groups[row["cluster"], row["job_id"]].append(row)
    return [each for runs in groups.values() for each in _chain(runs, known)]


def _chain(runs: list[RunRow], known: Mapping[tuple[object, object], int]) -> list[RunRow]:
    """Return the runs under one id, numbered."""
    chain = _grown_together([run for run, _ in itertools.groupby(sorted(runs, key=_order))])
    counts = [_said(run, known) for run in chain]
    pairs = [(index, index + 1) for index in range(len(chain) - 1) if linked(chain[index], chain[index + 1])]
    for earlier, later in reversed(pairs):
        if counts[earlier] is None and (following := counts[later]):
            counts[earlier] = following - 1
    follows = {later for _, later in pairs}
    for index in range(len(chain)):
        before = counts[index - 1] if index in follows else None
        if counts[index] is None:
            counts[index] = 0 if before is None else before + 1
        elif before is not None and chain[index]["submitted_at"] == chain[index - 1]["submitted_at"]:
            # Two records of one submission that both say a number, or of which one was known.
            counts[index] = max(counts[index] or 0, before + 1)
    return [{**run, "restart_count": count} for run, count in zip(chain, counts, strict=True)]


def _grown_together(chain: list[RunRow]) -> list[RunRow]:
    """Return runs with what was resized while it ran as one: its last size, since it was submitted and began.

    The record of its next size says that it was submitted when the last one ended, and began when the first one did.
    Where that record is still to come the end is one of a size: the run goes on.
    """
    found: list[RunRow] = []
    for run in chain:
        before = found[-1] if found else None
        if before is not None and before["state"] == _RESIZED and run["submitted_at"] in _starts(before):
            found[-1] = {**run, **{name: before[name] for name in ("submitted_at", "eligible_at", "started_at")}}
        else:
            found.append(run)
    if found and found[-1]["state"] == _RESIZED:
        found[-1] = {**found[-1], "ended_at": None}
    return found


def _starts(resized: RunRow) -> tuple[object, object]:
    """Return when the record of a run's next size may say that it was submitted."""
    return resized["ended_at"], resized["submitted_at"]


def _said(run: RunRow, known: Mapping[tuple[object, object], int]) -> int | None:
    said = run["restart_count"]
    return said if isinstance(said, int) else known.get((run["job_id"], run["submitted_at"]))


def linked(earlier: RunRow, later: RunRow) -> bool:
    """Tell whether the later run is the earlier one's requeue."""
    submitted, ended = later["submitted_at"], earlier["ended_at"]
    if earlier["submitted_at"] == submitted or earlier["state"] == "REQUEUED":
        return True
    if not isinstance(submitted, datetime) or not isinstance(ended, datetime):
        return False
    return timedelta(0) <= submitted - ended <= _REQUEUED_WITHIN


def _order(row: RunRow) -> tuple[str, str, str]:
    started = row["started_at"]
    rest = repr(sorted((key, str(value)) for key, value in row.items()))
    return str(row["submitted_at"]), str(started or "9999"), rest
