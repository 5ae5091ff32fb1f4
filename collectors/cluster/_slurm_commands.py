"""Slurm asked by its own commands: what each is called with, and its text as records.

Names and comments may hold any character. Where a command lets us choose what stands between fields, that is a word
drawn anew for each call, so that no name can hold it; where not (`scontrol`), what follows a name is read from lines
that the user cannot write, and an id that stands there twice is used for nothing.
"""

import os
import re
import secrets
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from collectors._slurm_text import instant, minutes
from collectors.cluster._slurm_nodes import NodeTold
from collectors.cluster._slurm_queue import Queued
from collectors.dumps._dump import Rejected
from ledger.errors import SourceError

_FOREIGN: Final = re.compile(r"(SLURM|SACCT|SQUEUE|SINFO|SCONTROL|SPRIO)_")
"""What a person set for these commands changes what they print."""

_KEPT: Final = ("SLURM_CONF", "SLURM_JWT", "SLURM_CONF_SERVER")

HISTORY: Final = (
    *("JobIDRaw", "JobID", "Cluster", "User", "Account", "Partition", "QOS", "Submit", "Eligible", "Start", "End"),
    *("State", "Reason", "ExitCode", "ReqTRES", "AllocTRES", "NodeList", "TimelimitRaw", "JobName", "Comment"),
)

_QUEUE: Final = {
    "JobIDRaw": "%A",
    "JobID": "%i",
    "User": "%u",
    "Account": "%a",
    "Partition": "%P",
    "QOS": "%q",
    "Submit": "%V",
    "Start": "%S",
    "End": "%e",
    "State": "%T",
    "Reason": "%r",
    "Limit": "%l",
    "NodeList": "%N",
    "JobName": "%j",
    "Comment": "%k",
}

_NODES: Final = ("%N", "%T", "%E", "%H", "%G", "%c", "%m")

_DETAIL: Final = frozenset({"SubmitTime", "Restarts", "EligibleTime", "ExitCode", "TRES", "ReqTRES", "AllocTRES"})
_NODE_LINE: Final = re.compile(r"     Nodes=(\S+) .*GRES=(\S*)$")
_ID_LINE: Final = re.compile(r"^JobId=(\d+) ", re.MULTILINE)

_IDS_AT_ONCE: Final = 1000
"""A command line holds some 130,000 characters."""


class Commands:
    """Slurm's commands on this machine."""

    def __init__(
        self, folder: Path | None, *, configuration: Path | None, cluster: str, timeout_seconds: float
    ) -> None:
        self._folder = folder
        self._configuration = configuration
        self._cluster = cluster
        self._timeout = timeout_seconds
        self._history_columns: tuple[str, ...] = ()
        self.rejected: list[Rejected] = []

    def history(self, since: datetime, until: datetime) -> list[dict[str, str]]:
        """Return the records of accounting that were alive in [since, until], each run of a requeued job apart."""
        window = ("--starttime", _instant(since), "--endtime", _instant(until))
        return self._sacct("--allusers", *window)

    def runs_of(self, job_ids: Sequence[str]) -> list[dict[str, str]]:
        """Return all runs that accounting has of these jobs."""
        found: list[dict[str, str]] = []
        for start in range(0, len(job_ids), _IDS_AT_ONCE):
            ids = ",".join(job_ids[start : start + _IDS_AT_ONCE])
            found += self._sacct("--jobs", ids, "--starttime", "1970-01-02T00:00:00")
        return found

    def _sacct(self, *arguments: str) -> list[dict[str, str]]:
        if not self._history_columns:
            known = self._run("sacct", "--helpformat").split()
            # What says which run it is came with Slurm 23.11.
            self._history_columns = (*HISTORY, *(("Restarts",) if "Restarts" in known else ()))
        columns = self._history_columns
        between = _between()
        shape = ("--parsable", "--noheader", "--delimiter", between, "--format", ",".join(columns))
        text = self._run("sacct", "--allocations", "--duplicates", *arguments, *shape, clustered=True)
        return [dict(zip(columns, each, strict=True)) for each in records(text, between, len(columns), "sacct")]

    def queue(self) -> list[Queued]:
        """Return the jobs of the queue, also those that ended a moment ago, with what `scontrol` adds of each."""
        between = _between()
        shape = "".join(f"{code}{between}" for code in _QUEUE.values())
        text = self._run("squeue", "--all", "--states", "all", "--noheader", "--format", shape, clustered=True)
        listed = [dict(zip(_QUEUE, each, strict=True)) for each in records(text, between, len(_QUEUE), "squeue")]
        shown = self._run("scontrol", "--details", "show", "jobs", clustered=True)
        added, twice = details(_on_one_line(shown, listed))
        self.rejected += [
            Rejected("job_gpu", f"scontrol: job {each}", "found its id twice, expected one record", "")
            for each in twice
        ]
        return [_queued(each, added.get(each["JobIDRaw"], {})) for each in listed]

    def nodes(self) -> list[NodeTold]:
        """Return the nodes of all partitions."""
        between = _between()
        shape = "".join(f"{code}{between}" for code in _NODES)
        text = self._run("sinfo", "--all", "--Node", "--noheader", "--format", shape, clustered=True)
        return [NodeTold(*(part.strip() for part in each)) for each in records(text, between, len(_NODES), "sinfo")]

    def _run(self, name: str, *arguments: str, clustered: bool = False) -> str:
        """Return what a command prints.

        Raises: SourceError: it is not there, takes too long, or fails.
        """
        path = str(self._folder / name) if self._folder else name
        # In a federation some commands tell of all its clusters unless told not to.
        place = ("--clusters", self._cluster) if self._cluster else ("--local",)
        chosen = place if clustered else ()
        try:
            done = subprocess.run(  # noqa: S603  the operator's own path, our own arguments
                [path, *chosen, *arguments],
                capture_output=True,
                timeout=self._timeout,
                check=False,
                stdin=subprocess.DEVNULL,
                env=self._environment(),
            )
        except OSError as error:
            hint = "install Slurm's clients on the hub's machine, set commands_folder, or ask slurmrestd by url"
            raise SourceError(f"{path}: {error.strerror}, expected Slurm's {name}", hint=hint) from None
        except subprocess.TimeoutExpired:
            raise SourceError(
                f"{path}: found no answer within {self._timeout:g} s, expected one",
                hint="is the controller up (`scontrol ping`)? else raise timeout_seconds",
            ) from None
        if done.returncode:
            said = done.stderr.decode("utf-8", errors="replace").strip().splitlines()
            what = said[-1] if said else "nothing"
            raise SourceError(
                f"{path}: exit status {done.returncode}, it says {what[:300]!r}",
                hint=f"run `{name}` as the user of the hub; accounting = false where slurmdbd does not run",
            )
        return done.stdout.decode("utf-8", errors="replace")

    def _environment(self) -> dict[str, str]:
        """Return an environment in which the output is the same for everybody, and instants have a zone."""
        kept = {name: value for name, value in os.environ.items() if name in _KEPT or not _FOREIGN.match(name)}
        ours = {"LC_ALL": "C", "TZ": "UTC", "SLURM_TIME_FORMAT": "%s", "SLURM_BITSTR_LEN": "0"}
        chosen = {"SLURM_CONF": str(self._configuration)} if self._configuration else {}
        return kept | ours | chosen


def _between() -> str:
    """Return what stands between fields: nobody can have put it into a name."""
    return f"|{secrets.token_hex(8)}|"


def _instant(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S")


def records(text: str, between: str, width: int, where: str) -> Iterator[list[str]]:
    """Yield the fields of each record: each field ends with `between`, and a record with a line break.

    Raises: SourceError: the text ends within a record.
    """
    parts = text.split(between)
    rest = [line for line in parts[-1].splitlines() if line.strip() and not line.startswith("CLUSTER: ")]
    if rest or (len(parts) - 1) % width:
        raise SourceError(f"{where}: found a text that ends within a record, expected {width} fields in each")
    for start in range(0, len(parts) - 1, width):
        fields = parts[start : start + width]
        yield [_first_line_off(fields[0]), *fields[1:]]


def _first_line_off(text: str) -> str:
    """Return a record's first field without the line break that ended the one before, and a cluster's heading."""
    return text.rpartition("\n")[2]


def _on_one_line(shown: str, listed: Sequence[Mapping[str, str]]) -> str:
    """Return scontrol's text with the names that span lines taken out: squeue told them whole."""
    for each in listed:
        for key, name in (("JobName", each["JobName"]), ("Comment", each["Comment"])):
            if "\n" in name:
                shown = shown.replace(f"{key}={name}", f"{key}=")
    return shown


def details(shown: str) -> tuple[dict[str, dict[str, str]], list[str]]:
    """Return by job id what `scontrol --details show jobs` adds, and the ids that stand there twice.

    `devices` has a line `nodes gres` for each node. An id that stands there twice has no details: one of the two is
    somebody's name or path.
    """
    found: dict[str, dict[str, str]] = {}
    twice: set[str] = set()
    _, *parts = _ID_LINE.split(shown)
    for job_id, block in zip(parts[::2], parts[1::2], strict=True):
        if job_id in found:
            twice.add(job_id)
        found[job_id] = _detail(block)
    return {each: said for each, said in found.items() if each not in twice}, sorted(twice)


def _detail(block: str) -> dict[str, str]:
    """Return the fields of one job. What follows the lines of its devices is the user's, and is not read."""
    said: dict[str, str] = {}
    held: list[str] = []
    for line in block.splitlines()[1:]:
        if line.startswith("   MinCPUsNode="):
            break
        if match := _NODE_LINE.match(line):
            held.append(f"{match[1]} {match[2]}")
            continue
        for token in line.split():
            name, _, value = token.partition("=")
            if name in _DETAIL:
                said.setdefault(name, value)
    said["devices"] = "\n".join(held)
    return said


def _queued(fields: dict[str, str], added: Mapping[str, str]) -> Queued:
    """Return one job of the queue; what scontrol says counts if it is of the same submission."""
    shown = {name: "" if value in {"(null)", "N/A", "n/a"} else value for name, value in fields.items()}
    try:
        shown["TimelimitRaw"] = minutes(shown.pop("Limit"))
    except ValueError:
        shown["TimelimitRaw"] = ""
    if instant(added.get("SubmitTime", "")) != instant(shown["Submit"]):
        return Queued(shown)
    of_run = added.get("TRES", "")
    # Older versions tell under one name what is asked for and what was given: who has no node was given nothing.
    has_nothing = shown["State"] == "PENDING" or not shown["NodeList"]
    shown |= {
        "Restarts": added.get("Restarts", ""),
        "Eligible": added.get("EligibleTime", ""),
        "ExitCode": added.get("ExitCode", ""),
        "ReqTRES": _resources(added.get("ReqTRES", of_run)),
        "AllocTRES": "" if has_nothing else _resources(added.get("AllocTRES", of_run)),
    }
    held = (line.partition(" ") for line in added.get("devices", "").splitlines())
    return Queued(shown, tuple((nodes, gres) for nodes, _, gres in held if gres))


def _resources(text: str) -> str:
    return "" if text == "(null)" else text
