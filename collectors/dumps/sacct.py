"""Jobs from the text of `sacct --parsable2`."""

from collections.abc import Iterator
from pathlib import Path

import polars as pl

from collectors._slurm_runs import RunRow, job, numbered
from collectors.dumps._dump import Dump, JobDump, Rejected
from ledger.errors import InputError
from ledger.tables.jobs import Job
from ledger.words import amount

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
    rows: list[RunRow] = []
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
            row, count = job(fields)
        except ValueError as error:
            rejected.append(Rejected("job", where, str(error), delimiter.join(record)))
            continue
        naive += count
        rows.append(row)
    if not rows and not rejected and not steps:
        raise InputError(f"{path}: found a header and no record, expected at least one job", hint=_HINT)
    undecodable = body.count("�") - raw.count("�".encode())
    remarks = [f"{amount(steps, 'job step')} passed over"] * bool(steps)
    remarks += [f"{amount(undecodable, 'byte')} of no UTF-8 read as U+FFFD"] * bool(undecodable)
    remarks += [f"{amount(naive, 'instant')} without a zone taken as UTC; set SLURM_TIME_FORMAT=%s"] * bool(naive)
    frame = pl.DataFrame(numbered(rows), schema=Job.create_empty().schema)
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


sacct = JobDump("sacct", detect, read, __name__)
