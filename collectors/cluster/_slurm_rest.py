"""Slurm asked through `slurmrestd`: its JSON, which changes with each version, as the same records."""

import ssl
from collections.abc import Mapping, Sequence
from datetime import datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

import httpx2
import msgspec
from pydantic import SecretStr

from collectors._slurm_text import nodes
from collectors.cluster._slurm_nodes import NodeTold
from collectors.cluster._slurm_queue import Queued
from collectors.dumps._dump import Rejected
from ledger.errors import ConfigError, SourceError

_NO_VALUE: Final = 0xFFFFFFF0
"""Counts from here to 2^32 mean none and endless; so do those at the end of 64 bits."""
_NO_VALUE_64: Final = 0xFFFFFFFFFFFFFFF0
_ADVICE: Final[Mapping[int, str]] = {
    HTTPStatus.UNAUTHORIZED: "set token_file to a file with `scontrol token lifespan=...` of a user who sees all jobs",
    HTTPStatus.FORBIDDEN: "slurmrestd and token are of different clusters, or the user may not see the jobs",
    HTTPStatus.NOT_FOUND: "set api_version to one that `slurmrestd -s list` names",
}

_RENEW: Final = "renew the token, it may be over; else "
_IS_IT_UP: Final = "is slurmrestd up, and url its?"


class Rest:
    """One connection to slurmrestd, for one pull: a token that was renewed is read at the next."""

    def __init__(
        self,
        url: str,
        *,
        api_version: str,
        user: str,
        token: SecretStr | None,
        ca_file: Path | None,
        timeout_seconds: float,
    ) -> None:
        socket = url.removeprefix("unix:") if url.startswith("unix:") else None
        if socket and not Path(socket).is_socket():
            raise SourceError(f"{url}: found no socket, expected slurmrestd's", hint=_IS_IT_UP)
        headers = {"Accept": "application/json", "User-Agent": "clusterledger"}
        headers |= {"X-SLURM-USER-NAME": user} if user else {}
        headers |= {"X-SLURM-USER-TOKEN": token.get_secret_value()} if token else {}
        self._version = api_version
        self._where = url
        self._client = httpx2.Client(
            base_url="http://slurmrestd" if socket else url.rstrip("/"),
            headers=headers,
            timeout=timeout_seconds,
            transport=httpx2.HTTPTransport(uds=socket) if socket else None,
            verify=_trusted(ca_file) if ca_file else True,
            trust_env=False,
        )
        # A token that slurmctld refuses is an error without a name in 22.05.
        self._look = f"{_RENEW if token else ''}look into the log of slurmrestd; accounting = false without slurmdbd"
        self.rejected: list[Rejected] = []

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def history(self, since: datetime, until: datetime) -> list[dict[str, str]]:
        """Return the records of accounting that were alive in [since, until], each run of a requeued job apart."""
        window = {"start_time": f"uts{int(since.timestamp())}", "end_time": f"uts{int(until.timestamp())}"}
        found = self._get("slurmdb", "jobs", "jobs", {**window, "skip_steps": "true"})
        return [fields for each in found if (fields := self._read(_recorded, each)) is not None]

    def runs_of(self, job_ids: Sequence[str]) -> list[dict[str, str]]:
        """Return all runs that accounting has of these jobs."""
        found = [each for job_id in job_ids for each in self._get("slurmdb", f"job/{job_id}", "jobs", {})]
        return [fields for each in found if (fields := self._read(_recorded, each)) is not None]

    def queue(self) -> list[Queued]:
        """Return the jobs of the queue, also those that ended a moment ago."""
        listed = self._get("slurm", "jobs", "jobs", {})
        return [queued for each in listed if (queued := self._read(_queued, each)) is not None]

    def nodes(self) -> list[NodeTold]:
        """Return the nodes."""
        listed = self._get("slurm", "nodes", "nodes", {})
        return [node for each in listed if (node := self._read(_node, each)) is not None]

    def _read(self, read: Any, each: Any) -> Any:
        """Return one record, or None: what cannot be read is refused alone."""
        try:
            return read(each)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            text = msgspec.json.encode(each).decode()
            reason = f"found {type(error).__name__} {error}, expected slurmrestd's {self._version}"
            self.rejected.append(Rejected("job", f"{self._where}", reason, text[:2000]))
            return None

    def _get(self, plugin: str, path: str, name: str, query: Mapping[str, str]) -> list[Any]:
        """Return the list that slurmrestd answers.

        Raises: SourceError: it does not answer, refuses, or answers something else.
        """
        where = f"{self._where}/{plugin}/{self._version}/{path}"
        try:
            answer = self._client.get(f"/{plugin}/{self._version}/{path}", params=dict(query))
        except httpx2.HTTPError as error:
            raise SourceError(f"{where}: {type(error).__name__}: {error}, expected an answer", hint=_IS_IT_UP) from None
        said = _decoded(answer.content)
        if answer.status_code != HTTPStatus.OK or not isinstance(said, dict) or not isinstance(said.get(name), list):
            raise SourceError(
                f"{where}: found status {answer.status_code}, {_complaint(said, answer.text)!r}, expected `{name}`",
                hint=_ADVICE.get(answer.status_code, self._look),
            )
        found: list[Any] = said[name]
        return found


def _decoded(content: bytes) -> object:
    """Return what an answer says, None where it is no JSON; a job's name may hold bytes that are no text."""
    try:
        return msgspec.json.decode(content.decode("utf-8", "replace"))
    except (msgspec.DecodeError, RecursionError):
        return None


def _trusted(ca_file: Path) -> ssl.SSLContext:
    """Return whom to believe.

    Raises: ConfigError: the file is no list of authorities.
    """
    try:
        return ssl.create_default_context(cafile=str(ca_file))
    except OSError as error:
        raise ConfigError(
            f"ca_file: {ca_file}: {error}, expected certificates in PEM", hint="correct ca_file"
        ) from None


def _complaint(said: object, text: str) -> str:
    errors = said.get("errors") if isinstance(said, dict) else None
    if isinstance(errors, list) and errors and isinstance(errors[0], dict):
        return str(errors[0].get("error") or errors[0].get("description"))[:300]
    return text[:300]


def number(value: object) -> int | None:
    """Return a count: plain, or as newer versions say it, with whether it is set and whether it is endless."""
    if isinstance(value, dict):
        if not value.get("set") or value.get("infinite"):
            return None
        value = value.get("number")
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    count = int(value)
    return None if count < 0 or _NO_VALUE <= count < 2**32 or count >= _NO_VALUE_64 else count


def words(value: object) -> list[str]:
    """Return a word, or words, as a list: newer versions say a state with its flags as one list."""
    if isinstance(value, list):
        return [str(each) for each in value]
    return [str(value)] if value else []


def _at(value: object) -> str:
    """Return an instant as seconds; '' for 0, which is none."""
    return str(number(value) or "")


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _exit_code(value: object) -> str:
    """Return code:signal; plain numbers are wait statuses."""
    if isinstance(value, dict):
        signal = value.get("signal")
        code = number(value.get("return_code"))
        killed = number(signal.get("signal_id", signal.get("id"))) if isinstance(signal, dict) else None
        # What a signal ended returned no code; `sacct` tells 0 for it.
        return "" if code is None and not killed else f"{code or 0}:{killed or 0}"
    status = number(value)
    return "" if status is None else f"{status >> 8}:{status & 0x7F}"


def _job_state(value: object) -> str:
    """Return one word: of a state with flags, COMPLETING counts, other flags do not."""
    said = words(value)
    return "COMPLETING" if "COMPLETING" in said else (said[0] if said else "")


def display_id(job: Mapping[str, Any], array: Mapping[str, Any], het: Mapping[str, Any]) -> str:
    """Return a job's id as people see it: `7_3` of an array, `7_[4-9]` what waits of it, `7+1` of a het job."""
    raw = str(number(job["job_id"]) or "")
    of_array, of_het = number(array.get("job_id")), number(het.get("job_id"))
    if of_array:
        waiting = _text(array.get("task_string")) or _text(array.get("task"))
        task = number(array.get("task_id"))
        return f"{of_array}_{task}" if task is not None and not waiting else f"{of_array}_[{waiting}]"
    return f"{of_het}+{number(het.get('job_offset')) or 0}" if of_het else raw


def _queued(job: dict[str, Any]) -> Queued:
    """Return one job of the queue.

    Raises: ValueError, KeyError, TypeError: it is not in one of the shapes that are known.
    """
    array = {
        "job_id": job.get("array_job_id"),
        "task_id": job.get("array_task_id"),
        "task": job.get("array_task_string"),
    }
    het = {"job_id": job.get("het_job_id"), "job_offset": job.get("het_job_offset")}
    state = _job_state(job["job_state"])
    fields = {
        "JobIDRaw": str(number(job["job_id"])),
        "JobID": display_id(job, array, het),
        "User": _text(job.get("user_name")),
        "Account": _text(job.get("account")),
        "Partition": _text(job.get("partition")),
        "QOS": _text(job.get("qos")),
        "Submit": _at(job["submit_time"]),
        "Eligible": _at(job.get("eligible_time")),
        "Start": _at(job.get("start_time")),
        "End": _at(job.get("end_time")),
        "State": state,
        "Reason": _text(job.get("state_reason")),
        "ExitCode": _exit_code(job.get("exit_code")),
        "ReqTRES": _text(job.get("tres_req_str")),
        "AllocTRES": "" if state == "PENDING" else _text(job.get("tres_alloc_str")),
        "NodeList": _text(job.get("nodes")),
        "TimelimitRaw": _at(job.get("time_limit")),
        "Restarts": str(number(job.get("restart_cnt")) or 0),
        "JobName": _text(job.get("name")),
        "Comment": _text(job.get("comment")),
    }
    details = [str(each) for each in job.get("gres_detail") or []]
    on = nodes(fields["NodeList"])
    # One text for each node, in the order of its nodes.
    return Queued(fields, tuple(zip(on, details, strict=True)) if len(details) == len(on) else ())


def _recorded(job: dict[str, Any]) -> dict[str, str]:
    """Return one record of accounting.

    Raises: ValueError, KeyError, TypeError: it is not in one of the shapes that are known.
    """
    time, state, resources = job["time"], job["state"], job.get("tres") or {}
    comment = job.get("comment")
    fields = {
        "JobIDRaw": str(number(job["job_id"])),
        "JobID": display_id(job, job.get("array") or {}, job.get("het") or {}),
        "Cluster": _text(job.get("cluster")),
        "User": _text(job.get("user")),
        "Account": _text(job.get("account")),
        "Partition": _text(job.get("partition")),
        "QOS": _text(job.get("qos")),
        "Submit": _at(time["submission"]),
        "Eligible": _at(time.get("eligible")),
        "Start": _at(time.get("start")),
        "End": _at(time.get("end")),
        "State": _job_state(state["current"]),
        "Reason": _text(state.get("reason")),
        "ExitCode": _exit_code(job.get("exit_code")),
        "ReqTRES": _resources(resources.get("requested")),
        "AllocTRES": _resources(resources.get("allocated")),
        "NodeList": _text(job.get("nodes")),
        "TimelimitRaw": _at(time.get("limit")),
        "JobName": _text(job.get("name")),
        "Comment": _text(comment.get("job")) if isinstance(comment, dict) else _text(comment),
    }
    if (restarts := number(job.get("restart_cnt"))) is not None:
        fields["Restarts"] = str(restarts)
    return fields


def _resources(listed: object) -> str:
    """Return resources as sacct writes them: memory in mebibytes."""
    parts = []
    for each in listed if isinstance(listed, list) else []:
        name = each["type"] + (f"/{each['name']}" if each.get("name") else "")
        count = number(each.get("count"))
        if count is not None:
            parts.append(f"{name}={count}{'M' if name == 'mem' else ''}")
    return ",".join(parts)


def _node(node: dict[str, Any]) -> NodeTold:
    """Return one node.

    Raises: ValueError, KeyError, TypeError: it is not in one of the shapes that are known.
    """
    return NodeTold(
        node=str(node["name"]),
        state="+".join(word.lower() for word in [*words(node["state"]), *words(node.get("state_flags"))]),
        reason=_text(node.get("reason")),
        reason_at=_at(node.get("reason_changed_at")),
        gres=_text(node.get("gres")),
        cpu_count=str(number(node.get("cpus")) or ""),
        memory_mebibytes=str(number(node.get("real_memory")) or ""),
    )
