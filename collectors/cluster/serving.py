"""Tokens, requests and queues of servers of models, from their own metrics."""

import functools
import json
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import urlsplit, urlunsplit

import httpx2
import polars as pl
from pydantic import BaseModel, ConfigDict, Field

from collectors.cluster._serving_metrics import Said, Values, said
from collectors.cluster._source import Pull, Pulled, SourceSettings, cluster_source
from collectors.cluster._token import token_in
from ledger.registry import Row
from ledger.tables import ServingSample

_PACE_SECONDS: Final = 30.0
_AT_ONCE: Final = 16
_LARGEST_BYTES: Final = 16 * 1024**2
_LONGEST_TIMES: Final = 3
"""Of the longest wait for a part of an answer: as long may a whole one take."""

_COUNTS: Final = ("running_request_count", "waiting_request_count")


class Endpoint(BaseModel):
    """One server, or several behind one name."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: Annotated[str, Field(pattern=r"^https?://[^/\s]+", description="Its address; /metrics without a path")]
    node: Annotated[str, Field(description="Node that it runs on; empty for its host")] = ""
    job_id: Annotated[str, Field(description="Job or pod that it is; empty if unknown")] = ""
    model: Annotated[str, Field(description="Its model, where the server itself names none")] = ""
    every_address: Annotated[bool, Field(description="Ask each address behind the name: they are replicas")] = False


class ServingSettings(SourceSettings):
    """Which servers are asked."""

    endpoints: Annotated[tuple[Endpoint, ...], Field(min_length=1, description="The servers")]
    token_file: Annotated[Path | None, Field(description="File with a token that the servers want")] = None
    timeout_seconds: Annotated[float, Field(gt=0, le=60, description="Longest wait for one server")] = 5.0


@cluster_source(emits=("serving_sample",), every_seconds=_PACE_SECONDS, settings=ServingSettings)
def serving(settings: ServingSettings) -> Pull:
    """Ask each server what it has done, and tell one row per server and model.

    A server that does not answer has a row for each model that it last named, which says that it is not ready, and no
    number. One that answers something else has no row, and a remark. Counters are told as they are: `boot_id` is when
    the server started, where it says so, and what it counted before is another counter.

    Nulls: what the server does not measure (prefill and decode time: vLLM alone; running requests of Triton: with
    TensorRT-LLM). A model that neither the server nor the settings name is ''.
    Source: see `collectors.cluster._serving_metrics`.
    """

    def pull(since: datetime | None, until: datetime) -> Iterator[Pulled]:
        del since
        yield _pulled(settings, _known(settings), until)

    return pull


@functools.lru_cache(maxsize=64)
def _known(settings: ServingSettings) -> dict[str, tuple[str, ...]]:
    """Return the models that each server last named: a source is opened anew for each pull, and these outlive it."""
    del settings
    return {}


@dataclass(frozen=True)
class _Server:
    """One server that is asked."""

    url: str
    host: str
    endpoint: Endpoint


@dataclass
class _Answer:
    """What became of asking one server: what it said, or that it does not answer, or what is wrong."""

    server: _Server
    told: Said | None = None
    is_away: bool = False
    remark: str = ""
    model: str = field(default="")


def _pulled(settings: ServingSettings, known: dict[str, tuple[str, ...]], until: datetime) -> Pulled:
    headers = {"Accept": "text/plain", "User-Agent": "clusterledger"}
    if settings.token_file is not None:
        headers["Authorization"] = f"Bearer {token_in(settings.token_file)}"
    servers, remarks = _servers(settings)
    with (
        httpx2.Client(headers=headers, timeout=settings.timeout_seconds, trust_env=False) as client,
        ThreadPoolExecutor(max_workers=_AT_ONCE, thread_name_prefix="serving") as threads,
    ):
        answers = list(threads.map(functools.partial(_asked, client), servers))
    rows: list[Row] = []
    for answer in answers:
        if answer.remark:
            remarks.append(f"{answer.server.url}: {answer.remark}")
        rows += _rows(settings, answer, known, until)
    frame = pl.DataFrame(rows, schema=ServingSample.create_empty().schema)
    return Pulled({ServingSample: frame}, until, remarks=tuple(remarks))


def _servers(settings: ServingSettings) -> tuple[list[_Server], list[str]]:
    """Return the servers behind the endpoints, and which names have no address."""
    servers, remarks = [], []
    for endpoint in settings.endpoints:
        parts = urlsplit(endpoint.url)
        url = endpoint.url if parts.path.strip("/") else urlunsplit((*parts[:2], "/metrics", "", ""))
        if not endpoint.every_address:
            servers.append(_Server(url, parts.hostname or "", endpoint))
            continue
        try:
            found = socket.getaddrinfo(parts.hostname, parts.port or parts.scheme, type=socket.SOCK_STREAM)
        except OSError as error:
            remarks.append(f"{endpoint.url}: {error.strerror or error}, expected addresses")
            continue
        for address in sorted({str(each[4][0]) for each in found}):
            host = f"[{address}]" if ":" in address else address
            place = f"{host}:{parts.port}" if parts.port else host
            one = urlunsplit((parts.scheme, place, urlsplit(url).path, parts.query, ""))
            servers.append(_Server(one, address, endpoint))
    return servers, remarks


def _asked(client: httpx2.Client, server: _Server) -> _Answer:
    """Return what became of asking one server; none of them stops the others."""
    try:
        status, text = _body(client, server.url)
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        return _Answer(server, is_away=True, remark=f"{str(error) or type(error).__name__}, expected an answer")
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return _Answer(server, is_away=True, remark=f"found {status}, expected 200 OK")
    if status != HTTPStatus.OK or text is None:
        found = status if text is not None else f"more than {_LARGEST_BYTES} bytes"
        return _Answer(server, remark=f"found {found}, expected 200 OK and metrics")
    try:
        told = said(text)
    except ValueError as error:
        return _Answer(server, remark=f"{error}; expected the text that Prometheus reads")
    if not told.engines:
        return _Answer(server, remark="found no series of vLLM, SGLang, TGI or Triton, expected some")
    unnamed = "" in told.models and not server.endpoint.model and "tgi_" in told.engines
    return _Answer(server, told, model=_model_of_tgi(client, server.url) if unnamed else "")


def _body(client: httpx2.Client, url: str) -> tuple[int, str | None]:
    """Return status and text; None for a text that is too large.

    Raises: httpx2.HTTPError: it does not come, or not to its end.
    """
    seconds = _LONGEST_TIMES * (client.timeout.read or 0.0)
    deadline = time.monotonic() + seconds
    with client.stream("GET", url) as answer:
        content = bytearray()
        for chunk in answer.iter_bytes():
            content += chunk
            if len(content) > _LARGEST_BYTES:
                return answer.status_code, None
            if time.monotonic() > deadline:
                raise httpx2.ReadTimeout(f"found an answer without an end after {seconds:g} s")
        return answer.status_code, content.decode("utf-8", "replace")


def _model_of_tgi(client: httpx2.Client, url: str) -> str:
    """Return the model that Text Generation Inference serves: its metrics do not name it."""
    parts = urlsplit(url)
    try:
        status, text = _body(client, urlunsplit((*parts[:2], "/info", "", "")))
        told = json.loads(text or "") if status == HTTPStatus.OK else {}
    except (httpx2.HTTPError, ValueError, RecursionError):
        return ""
    model = told.get("model_id") if isinstance(told, dict) else None
    return model if isinstance(model, str) else ""


def _rows(settings: ServingSettings, answer: _Answer, known: dict[str, tuple[str, ...]], until: datetime) -> list[Row]:
    server, endpoint = answer.server, answer.server.endpoint
    place: Row = {
        "sampled_at": until,
        "cluster": settings.cluster,
        "node": endpoint.node or server.host,
        "step_seconds": settings.every_seconds or _PACE_SECONDS,
        "endpoint": server.url,
        "job_id": endpoint.job_id,
    }
    if answer.told is not None:
        named = {model or endpoint.model or answer.model: values for model, values in answer.told.models.items()}
        known[server.url] = tuple(named)
        boot = {"boot_id": answer.told.started, "is_ready": True}
        return [{**place, **boot, "model": model, **_counted(values)} for model, values in named.items()]
    if not answer.is_away:
        return []
    return [{**place, "model": model, "is_ready": False} for model in known.get(server.url, (endpoint.model,))]


def _counted(values: Values) -> dict[str, float | int]:
    return {name: round(value) if name in _COUNTS else value for name, value in values.items()}
