"""Slurm: who ran what, which devices they held, and in which state its nodes are."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Final, Protocol

import dataframely as dy
import polars as pl
from pydantic import Field, SecretStr, field_validator

from collectors.cluster import _slurm_nodes, _slurm_queue
from collectors.cluster._slurm_commands import Commands
from collectors.cluster._slurm_gres import Devices
from collectors.cluster._slurm_nodes import NodeTold
from collectors.cluster._slurm_queue import Queued, Sight
from collectors.cluster._slurm_rest import Rest
from collectors.cluster._source import Pull, Pulled, SourceSettings, cluster_source
from collectors.cluster._token import token_in
from collectors.dumps._dump import Rejected
from ledger.errors import ConfigError, SourceError
from ledger.frames import to_frame
from ledger.tables import Job, JobGpu, Node, NodeState
from ledger.words import amount

_WINDOW: Final = timedelta(days=1)
"""Accounting is asked for a day at a time: a year at once can be more than slurmdbd hands out."""

_OVERLAP: Final = timedelta(minutes=10)
"""A record may reach slurmdbd after the time that it tells of; the queue keeps ended jobs for some minutes too."""

_HOURLY_OVERLAP: Final = timedelta(hours=23)
"""Once an hour so far back: where the controller could not reach slurmdbd, it tells of ends hours later."""


_RUNAWAY: Final = "slurmdbd is behind, or see `sacctmgr show runawayjobs`"

_SCHEDULER: Final = "scheduler"
"""The source of holdings that Slurm tells."""


class SlurmSettings(SourceSettings):
    """How Slurm is asked: by its commands on the hub's machine, or by slurmrestd."""

    url: Annotated[
        str, Field(description="slurmrestd, as https://HOST:PORT or unix:/PATH; empty to use the commands")
    ] = ""
    api_version: Annotated[str, Field(pattern=r"^v\d+\.\d+\.\d+$", description="Version of slurmrestd's API")] = (
        "v0.0.38"
    )
    user: Annotated[str, Field(description="User whose token it is")] = ""
    token_file: Annotated[Path | None, Field(description="File with the JWT that `scontrol token` gave")] = None
    ca_file: Annotated[Path | None, Field(description="Authority that signed slurmrestd's certificate")] = None
    commands_folder: Annotated[
        Path | None, Field(description="Where squeue, sacct, sinfo and scontrol are; empty to look in PATH")
    ] = None
    configuration: Annotated[Path | None, Field(description="slurm.conf to use; empty for Slurm's own choice")] = None
    slurm_cluster: Annotated[
        str, Field(pattern=r"^[\w.-]*$", description="Cluster's name in Slurm where its tools know several")
    ] = ""
    timeout_seconds: Annotated[float, Field(gt=0, le=3_600, description="Longest wait for one answer")] = 60
    accounting: Annotated[bool, Field(description="Ask slurmdbd too; without it only the queue is known")] = True
    history_days: Annotated[
        int, Field(ge=0, le=3_650, description="How far back accounting is asked at the first time")
    ] = 30

    @field_validator("url")
    @classmethod
    def _way_in(cls, url: str) -> str:
        if url and not url.startswith(("http://", "https://", "unix:/")):
            raise ValueError(f"found {url!r}, expected https://HOST:PORT or unix:/PATH")
        return url


_PAST: Final = timedelta(minutes=5)
"""A pull up to an instant that lies further back asks accounting only: the queue and the nodes are as they are now."""


class _Way(Protocol):
    """A way of asking Slurm."""

    rejected: list[Rejected]

    def history(self, since: datetime, until: datetime) -> list[dict[str, str]]: ...

    def runs_of(self, job_ids: Sequence[str]) -> list[dict[str, str]]: ...

    def queue(self) -> list[Queued]: ...

    def nodes(self) -> list[NodeTold]: ...


@cluster_source(emits=("job", "job_gpu", "node_state", "node"), every_seconds=60, settings=SlurmSettings)
def slurm(settings: SlurmSettings) -> Pull:
    """Ask Slurm for jobs, the devices that they hold, and its nodes.

    Jobs come from accounting and from the queue, each run once; devices by their index on the node while a job runs,
    and for jobs that had all GPUs of their nodes also afterwards. A pull that ends now tells all that stands.
    """

    def pull(since: datetime | None, until: datetime) -> Iterator[Pulled]:
        way = _way(settings)
        try:
            yield from _pulled(way, settings, since, until)
        finally:
            if isinstance(way, Rest):
                way.close()

    return pull


def _way(settings: SlurmSettings) -> Commands | Rest:
    """Return how Slurm is asked.

    Raises: ConfigError: the token cannot be read.
    """
    if not settings.url:
        return Commands(
            settings.commands_folder,
            configuration=settings.configuration,
            cluster=settings.slurm_cluster,
            timeout_seconds=settings.timeout_seconds,
        )
    token = None
    if settings.token_file:
        try:
            token = SecretStr(token_in(settings.token_file))
        except SourceError as error:
            hint = "write it with `scontrol token username=USER lifespan=SECONDS`"
            raise ConfigError(error.message, hint=hint) from None
    return Rest(
        settings.url,
        api_version=settings.api_version,
        user=settings.user,
        token=token,
        ca_file=settings.ca_file,
        timeout_seconds=settings.timeout_seconds,
    )


def _pulled(way: _Way, settings: SlurmSettings, since: datetime | None, until: datetime) -> Iterator[Pulled]:
    """Yield accounting a day at a time; the last piece of a pull up to now has what stands as well."""
    listed = way.nodes()
    states, nodes, there, rejected = _slurm_nodes.told(listed, settings.cluster, until, "slurm")
    begin, is_of_now = asked_from(since, until, settings.history_days), datetime.now(UTC) - until <= _PAST
    sight = None
    if settings.accounting and is_of_now and until - begin > _WINDOW:
        sight = Sight(until, way.queue(), _slurm_nodes.at_work(listed))
        # It is asked once more: what cannot be read is told then.
        way.rejected.clear()
    while settings.accounting and until - begin > _WINDOW:
        end = begin + _WINDOW
        yield _piece(_history(way, begin, end, []), settings, there, [], end, way, sight)[0]
        begin = end
    if not is_of_now:
        if settings.accounting:
            yield _piece(_history(way, begin, until, []), settings, there, [], until, way, None)[0]
        return
    queue = way.queue()
    sight = Sight(until, queue, _slurm_nodes.at_work(listed))
    history = _history(way, begin, until, queue) if settings.accounting else []
    now, is_whole = _piece(history, settings, there, queue, until, way, sight)
    frames: dict[type[dy.Schema], pl.DataFrame] = dict(now.frames)
    frames |= {NodeState: to_frame(NodeState, states), Node: to_frame(Node, nodes)}
    refused = (*rejected, *now.rejected)
    standing: dict[type[dy.Schema], str] = {}
    if not rejected:
        standing |= {NodeState: "slurm", Node: "slurm"}
    # What could not be read has not ended.
    if is_whole:
        standing |= {Job: "slurm", JobGpu: _SCHEDULER}
    yield Pulled(frames, until, refused, now.remarks, standing, _SCHEDULER)


def asked_from(since: datetime | None, until: datetime, history_days: int) -> datetime:
    """Return from when on accounting is asked: some minutes of what is known, and the first time in an hour a day."""
    if since is None:
        return until - timedelta(days=history_days)
    is_new_hour = since.replace(minute=0, second=0, microsecond=0) != until.replace(minute=0, second=0, microsecond=0)
    return min(since, until) - (_HOURLY_OVERLAP if is_new_hour else _OVERLAP)


def _history(way: _Way, begin: datetime, end: datetime, queue: Sequence[Queued]) -> list[dict[str, str]]:
    """Return accounting's records of a window, with the earlier runs of jobs that were submitted before it.

    Without them a record does not say which run of its job it is.
    """
    found = way.history(begin, end)
    sure = {each.fields["JobIDRaw"] for each in queue if each.fields.get("Restarts")}
    unsure = {each["JobIDRaw"] for each in found if _is_unsure(each, begin, sure)}
    if not unsure:
        return found
    whole = way.runs_of(sorted(unsure))
    return [each for each in found if each["JobIDRaw"] not in unsure] + whole


def _is_unsure(each: Mapping[str, str], begin: datetime, sure: Collection[str]) -> bool:
    """Tell whether a record alone may not say which run it is: one that began before it was submitted was resized."""
    submitted, started = _seconds(each["Submit"]), _seconds(each["Start"])
    is_told = bool(each.get("Restarts")) or each["JobIDRaw"] in sure
    return 0 < started < submitted or (not is_told and submitted < begin.timestamp())


def _seconds(text: str) -> float:
    return float(text) if text.isdigit() else 0.0


def _piece(
    history: Sequence[Mapping[str, str]],
    settings: SlurmSettings,
    there: Mapping[str, Devices],
    queue: Sequence[Queued],
    reached: datetime,
    way: _Way,
    sight: Sight | None,
) -> tuple[Pulled, bool]:
    """Return runs and holdings as frames, under the cluster's name here, and whether all of them could be read."""
    mine: dict[str, str] = {"Cluster": settings.cluster}
    told = _slurm_queue.told(
        [Queued({**each.fields, **mine}, each.devices) for each in queue],
        [{**each, **mine} for each in history],
        there,
        "slurm",
        sight,
    )
    rejected = (*told.rejected, *way.rejected)
    way.rejected.clear()
    frames = {Job: to_frame(Job, told.runs), JobGpu: to_frame(JobGpu, told.holdings)}
    remarks = []
    if told.skipped_count:
        remarks.append(
            f"{amount(told.skipped_count, 'job')} changed while the queue was asked: to come with the next pull"
        )
    if queue and told.behind_count:
        remarks.append(
            f"{amount(told.behind_count, 'run')} of accounting without an end and not in the queue: {_RUNAWAY}"
        )
    if told.gone_count:
        remarks.append(
            f"{amount(told.gone_count, 'run')} of accounting without an end, gone from the queue and from the nodes: "
            "over since last seen there; see `sacctmgr show runawayjobs`"
        )
    is_whole = not rejected and not told.skipped_count
    return Pulled(frames, reached, rejected, tuple(remarks), held_by=_SCHEDULER), is_whole
