"""Jobs from the text of `sacct --parsable2`."""

import itertools
import json
from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import polars as pl

from collectors.dumps._dump import Dump, JobDump, Rejected
from collectors.dumps._slurm_text import gpu_count, gpu_model, instant, nodes, size, state, tres
from ledger.errors import InputError
from ledger.tables.jobs import Job

_NEEDED = ("JobID", "JobIDRaw", "Submit", "Start", "End", "State", "AllocTRES")

_HINT = "sacct -a -X -P -o JobID,JobIDRaw,Cluster,User,Account,Partition,QOS,JobName,Submit,Eligible,Start,End,State,Reason,ExitCode,ReqTRES,AllocTRES,NodeList,TimelimitRaw,Restarts,Comment"  # noqa: E501  one command

# sacct has no escape for its delimiter, so sites that have `|` in job names set a longer one.
_DELIMITERS = ("|#", "|")


def detect(path: Path, head: bytes) -> bool:
    """Tell whether the first line names sacct's columns."""
    del path
    first = head.split(b"\n", 1)[0].decode("utf-8", errors="replace")
    return "JobID" in first and "State" in first and "|" in first


def read(path: Path) -> Dump:
    """Read sacct's text into `job`: one row per run of a job; steps are passed over.

    Records may span lines (comments and names hold line breaks) and hold bytes that are no UTF-8: these
    are read as U+FFFD and said in the remarks. A record with a wrong number of fields is refused alone.
    Times without a zone are taken as UTC and counted; set SLURM_TIME_FORMAT=%s to avoid that.

    Raises: InputError: a needed column is missing, or there is no record.
    """
    raw = path.read_bytes()
    body = raw.decode("utf-8", errors="replace")
    header, _, rest = body.partition("\n")
    delimiter = next(each for each in _DELIMITERS if each in header)
    closed = header.strip().endswith(delimiter)
    columns = header.strip().removesuffix(delimiter).split(delimiter)
    missing = [name for name in _NEEDED if name not in columns]
    if missing:
        raise InputError(f"{path}: line 1: found no column {', '.join(missing)}, expected sacct's", hint=_HINT)
    rejected: list[Rejected] = []
    rows: list[dict[str, object]] = []
    naive = steps = 0
    for line, record in _records(rest, delimiter, len(columns), closed=closed):
        where = f"{path}: line {line}"
        if len(record) != len(columns):
            reason = f"found {len(record)} fields, expected {len(columns)}"
            rejected.append(Rejected("job", where, reason, delimiter.join(record)))
            continue
        fields = dict(zip(columns, record, strict=True))
        if "." in fields["JobIDRaw"] or "." in fields["JobID"]:
            steps += 1
            continue
        try:
            row, count = _job(fields)
        except ValueError as error:
            rejected.append(Rejected("job", where, str(error), delimiter.join(record)))
            continue
        naive += count
        rows.append(row)
    if not rows and not rejected and not steps:
        raise InputError(f"{path}: found a header and no record, expected at least one job", hint=_HINT)
    undecodable = body.count("�") - raw.count("�".encode())
    remarks = [f"{steps} job steps passed over"] * bool(steps)
    remarks += [f"{undecodable} bytes are no UTF-8 and were read as U+FFFD"] * bool(undecodable)
    remarks += [f"{naive} instants have no zone and were taken as UTC; set SLURM_TIME_FORMAT=%s"] * bool(naive)
    frame = pl.DataFrame(_numbered(rows), schema=Job.create_empty().schema)
    return Dump("sacct", {Job: frame}, tuple(rejected), naive, tuple(remarks))


def _records(text: str, delimiter: str, width: int, *, closed: bool) -> Iterator[tuple[int, list[str]]]:
    """Yield the line a record starts on and its fields, joining lines until a record is full.

    A line without a delimiter goes on with the field before it. A line that would overfill a record begins a
    new one: the short record before it is handed on as it is. `closed` lines end in a delimiter (`sacct -p`).
    """
    held: list[str] = []
    start = 2
    for number, line in enumerate(text.split("\n"), start=2):
        whole = line.rstrip("\r")
        fields = (whole.removesuffix(delimiter) if closed else whole).split(delimiter)
        if held and len(held) + len(fields) - 1 > width:
            yield start, held
            held = []
        if held:
            held = [*held[:-1], f"{held[-1]}\n{fields[0]}", *fields[1:]]
        elif fields != [""]:
            held, start = fields, number
    if held:
        held[-1] = held[-1].rstrip("\n")
        yield start, held


def _job(fields: dict[str, str]) -> tuple[dict[str, object], int]:
    """Return a row of `job` and how many of its instants had no zone.

    Raises: ValueError: an instant or a number cannot be read.
    """
    instants: dict[str, datetime | None] = {}
    naive = 0
    for name in ("Submit", "Eligible", "Start", "End"):
        try:
            instants[name], is_naive = instant(fields.get(name, ""))
        except ValueError:
            raise ValueError(f"column {name}: found {fields[name]!r}, expected an instant") from None
        naive += is_naive
    if instants["Submit"] is None:
        raise ValueError("column Submit: found nothing, expected an instant")
    asked, given = tres(fields.get("ReqTRES", "")), tres(fields["AllocTRES"])
    names = sorted(nodes(fields.get("NodeList", "")))
    started = instants["Start"]
    labels = {"JobID": fields["JobID"]} if fields["JobID"] != fields["JobIDRaw"] else {}
    limit = fields.get("TimelimitRaw", "")
    row: dict[str, object] = {
        "cluster": fields.get("Cluster") or "default",
        "job_id": fields["JobIDRaw"],
        "submitted_at": instants["Submit"],
        "restart_count": int(fields.get("Restarts") or 0),
        "user": fields.get("User") or None,
        "account": fields.get("Account") or None,
        "job_name": fields.get("JobName") or None,
        "partition": fields.get("Partition") or None,
        "qos": fields.get("QOS") or None,
        "state": state(fields["State"]),
        "pending_reason": None if fields.get("Reason", "") in {"", "None"} else fields["Reason"],
        "eligible_at": instants["Eligible"],
        "started_at": started,
        "ended_at": instants["End"],
        "time_limit_seconds": float(limit) * 60 if limit.isdigit() else None,
        "exit_code": fields.get("ExitCode") or None,
        "requested_gpu_count": gpu_count(asked, fields.get("ReqGRES", "")) or (0.0 if asked else None),
        "requested_gpu_model": gpu_model(asked) or gpu_model(given),
        "gpu_count": None if started is None else gpu_count(given, fields.get("AllocGRES", "")) or 0.0,
        "cpu_count": int(given["cpu"]) if given.get("cpu", "").isdigit() else None,
        "memory_bytes": size(given["mem"]) if "mem" in given else None,
        "node_count": int(given["node"]) if given.get("node", "").isdigit() else (len(names) or None),
        "nodes": ",".join(names) or None,
        "comment": fields.get("Comment") or None,
        "labels": json.dumps(labels) if labels else None,
        "source": "slurm",
    }
    return row, naive


def _numbered(rows: list[dict[str, object]]) -> list[dict[str, object]]:
    """Number the runs of a requeued job by their start where sacct gives no Restarts; drop repeated records.

    `sacct --duplicates` lists each run under one job id and submit time.
    """
    groups: dict[tuple[object, ...], list[dict[str, object]]] = defaultdict(list)
    for row in rows:
        groups[row["cluster"], row["job_id"], row["submitted_at"], row["restart_count"]].append(row)
    numbered: list[dict[str, object]] = []
    for runs in groups.values():
        distinct = [run for run, _ in itertools.groupby(sorted(runs, key=_order))]
        for index, run in enumerate(distinct):
            restart = run["restart_count"]
            assert isinstance(restart, int)  # noqa: S101  narrows what _job wrote
            numbered.append({**run, "restart_count": restart + index})
    return numbered


def _order(row: dict[str, object]) -> tuple[str, str]:
    return str(row["started_at"] or "9999"), repr(sorted((key, str(value)) for key, value in row.items()))


sacct = JobDump("sacct", detect, read, __name__)
