"""The HTTP API of Prometheus and of what speaks like it: Thanos, Mimir, VictoriaMetrics.

The client library brings connections, authentication and the list of metrics. Queries go past it, in its session:
it puts a POST's query into the address, has no timeout of its own, drops warnings and decodes slowly.

Source: prometheus.io/docs, HTTP API v1; the client library's source, version 0.7.2.
"""

import logging
import math
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, Final, Generic, TypeVar
from urllib.parse import urlsplit

import msgspec
import requests
from prometheus_api_client import PrometheusConnect
from prometheus_api_client.exceptions import PrometheusApiClientException
from requests.adapters import HTTPAdapter

from collectors._patience import asked_seconds
from collectors.cluster._prometheus_connection import (
    MOST_RETRY_AFTER_SECONDS,
    RETRIES,
    RETRY_ON,
    Connection,
    authentication,
    retry,
    session,
)
from ledger.errors import ConfigError, SourceError

_CONNECT_SECONDS: Final = 5.0
_LABEL: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*\Z")
_LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})
_BUSY: Final = frozenset({429, 503, 504})
_SLOW: Final = re.compile(rb"timed? ?out|deadline|canceled|cancelled", re.IGNORECASE)
_SERVERS_PART: Final = 0.9
"""Of our patience: a server that is only slow says so, before it is given up as one that hangs."""

_TOO_MUCH: Final = re.compile(r"too many|exceed|maximum|limit|-search\.max", re.IGNORECASE)
_CONNECTION: Final = re.compile(r"^HTTPS?Connection(Pool)?\([^)]*\): ")
_MOST_TEXT: Final = 300

_ADVICE: Final = re.compile(r"PromQL (warning|info): ")
"""A query may be odd for every window of time: its answer is whole nevertheless."""

_SAID: Final = re.compile(rb'"(warnings|isPartial)"')
_NO_LABELS: Final[dict[str, str]] = {}


class TooMuchError(SourceError):
    """One query would read or return more than the server allows: ask for less time at once."""


class Series(msgspec.Struct):
    """One series of an answer: its labels, and its points as they came."""

    metric: dict[str, str]
    values: msgspec.Raw = msgspec.Raw(b"[]")
    value: tuple[float, str] | None = None


T = TypeVar("T")


class _Data(msgspec.Struct):
    result: list[Series]


class _Answer(msgspec.Struct, Generic[T]):
    """What the API answers; `infos` of newer servers are advice about the query and left out."""

    status: str = ""
    data: T | None = None
    error: str = ""
    warnings: list[str] = []
    isPartial: bool = False  # noqa: N815  the field's own name


@dataclass(frozen=True)
class Grid:
    """Instants at which a range is asked for: from the first to the last, both included, in equal steps."""

    start: int
    end: int
    step: int

    @property
    def length(self) -> int:
        """Return how many instants there are."""
        return max(0, (self.end - self.start) // self.step + 1)


class Api:
    """One server. `remarks` collects what it said about its answers; of `partial_count` of them a part is missing."""

    def __init__(self, settings: Connection) -> None:
        self._url = settings.url.rstrip("/")
        self._timeout = (min(_CONNECT_SECONDS, settings.timeout_seconds), settings.timeout_seconds)
        self._auth = authentication(settings)
        self._session = session(settings)
        # A month of series is tens of megabytes: packing costs more than it saves, unless a network lies between.
        encoding = "identity" if urlsplit(self._url).hostname in _LOOPBACK else "gzip"
        headers = {"Accept-Encoding": encoding}
        self._headers = headers | {name: value.get_secret_value() for name, value in settings.headers.items()}
        # What is tried again is no event; what fails in the end is said by the error.
        logging.getLogger("urllib3").setLevel(logging.ERROR)
        again = retry()
        # The library takes one number for connecting and for reading, and hands it on as it is.
        timeout: Any = self._timeout
        self._client = PrometheusConnect(
            self._url, headers=self._headers, retry=again, auth=self._auth, session=self._session, timeout=timeout
        )
        self._session.mount(self._url, HTTPAdapter(max_retries=again))
        # What is slow is not busy: that is told by what it says, which only `_answered` reads.
        others = HTTPAdapter(max_retries=retry([status for status in RETRY_ON if status not in _BUSY]))
        for path in ("query", "series"):
            self._session.mount(f"{self._url}/api/v1/{path}", others)
        self.remarks: list[str] = []
        self.partial_count = 0
        # The library hands on the data of an answer, and nothing of what is said beside it.
        self._session.hooks["response"].append(self._hear)

    def names(self, start: int, end: int) -> frozenset[str]:
        """Return the names of the metrics that have samples between two instants."""
        try:
            return frozenset(self._client.all_metrics(params={"start": start, "end": end}))
        except PrometheusApiClientException as error:
            raise self._refused(*_status_of(str(error))) from None
        except (requests.JSONDecodeError, KeyError, TypeError, RecursionError) as error:
            raise self._strange(error) from None
        except (requests.RequestException, ValueError) as error:
            raise self._failed(error) from None

    def range(self, query: str, grid: Grid) -> list[Series]:
        """Return the series of a query at each instant of a grid."""
        asked = {"query": query, "start": grid.start, "end": grid.end, "step": grid.step}
        return self._post("query_range", asked, _Data).result

    def instant(self, query: str, at: int) -> list[tuple[dict[str, str], float]]:
        """Return labels and value of a query at one instant; what is no finite number is left out, as in a range."""
        told = self._post("query", {"query": query, "time": at}, _Data).result
        found = [(each.metric, float(each.value[1])) for each in told if each.value is not None]
        return [(labels, value) for labels, value in found if math.isfinite(value)]

    def labels(self, select: str, start: int, end: int) -> list[dict[str, str]]:
        """Return the labels of the series that have samples between two instants, about; no sample is read for it."""
        return self._post("series", {"match[]": select, "start": start, "end": end}, list[dict[str, str]])

    @cached_property
    def is_left_open(self) -> bool:
        """Tell whether a window `[60s]` leaves out its first instant, as from Prometheus 3 on.

        Where both ends belong to it, a sample that lies on a step would count for two steps.
        """
        found = self.instant("count_over_time(vector(1)[2s:1s])", 1_600_000_000)
        return bool(found) and found[0][1] == 2.0  # noqa: PLR2004  0 and 1 seconds before; a closed one has three

    def window(self, seconds: int) -> str:
        """Return a duration that covers each sample of a grid's steps once."""
        return f"{seconds}s" if self.is_left_open else f"{seconds * 1000 - 1}ms"

    def _post(self, path: str, asked: Mapping[str, object], kind: type[T]) -> T:
        """Send a query in the body of a POST, which has no limit of length, and return its data."""
        patience = self._timeout[1] * _SERVERS_PART
        response = self._answered(path, {**asked, "timeout": f"{patience:g}s", "nocache": "1"})
        content = response.content
        if response.status_code != requests.codes.ok:
            raise self._refused(response.status_code, content)
        try:
            whole: Any = _Answer[kind]  # type: ignore[valid-type]  # known when it runs
            answer: _Answer[T] = msgspec.json.decode(content, type=whole)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise self._strange(error) from None
        if answer.status != "success" or answer.data is None:
            raise SourceError(f"{self._url}: found {answer.error or 'an answer without data'}, expected series")
        self._remark(answer.warnings, is_partial=answer.isPartial)
        return answer.data

    def _answered(self, path: str, body: Mapping[str, object]) -> requests.Response:
        """Return the server's answer; one that is busy is asked again, one that was too slow is not."""
        for attempt in range(RETRIES + 1):
            try:
                response = self._session.post(
                    f"{self._url}/api/v1/{path}",
                    data=body,
                    headers=self._headers,
                    auth=self._auth,
                    timeout=self._timeout,
                    # Said here, because a variable of the environment wins over the session's.
                    verify=self._session.verify,
                )
                content = response.content
            except requests.RequestException as error:
                raise self._failed(error) from None
            is_last = attempt == RETRIES or response.status_code not in _BUSY
            if is_last or _SLOW.search(content):
                break
            asked = asked_seconds(response.headers.get("Retry-After", str(2**attempt // 2)), datetime.now(UTC))
            time.sleep(min(asked, MOST_RETRY_AFTER_SECONDS))
        return response

    def _hear(self, response: requests.Response, *_: object, **__: object) -> None:
        """Note what is said beside an answer that the library asked for."""
        if response.request.method == "GET" and response.ok and _SAID.search(response.content):
            with suppress(msgspec.DecodeError):
                answer = msgspec.json.decode(response.content, type=_Answer[object])
                self._remark(answer.warnings, is_partial=answer.isPartial)

    def _remark(self, warnings: Sequence[str], *, is_partial: bool) -> None:
        missing = [each for each in warnings if not _ADVICE.match(each)]
        missing += ["a part of the cluster did not answer"] if is_partial else []
        self.partial_count += bool(missing)
        advice = (each[:_MOST_TEXT] for each in warnings if _ADVICE.match(each))
        for text in (*(f"partial answer: {each[:_MOST_TEXT]}" for each in missing), *advice):
            if text not in self.remarks:
                self.remarks.append(text)

    def _refused(self, status: int, content: bytes) -> SourceError:
        """Return the error for an answer of another status than 200."""
        try:
            text = msgspec.json.decode(content, type=_Answer[object]).error
        except msgspec.DecodeError:
            text = ""
        text = (text or content.decode(errors="replace")).strip()[:_MOST_TEXT]
        found = f"{self._url}: found HTTP {status}: {text}"
        if status in {400, 413, 422} and _TOO_MUCH.search(text):
            return TooMuchError(found, hint="raise step_seconds of its section")
        if status in _BUSY and _SLOW.search(content):
            return TooMuchError(found, hint="raise timeout_seconds of its section")
        if status in {401, 403}:
            return SourceError(found, hint="see token, user, password and headers of its section")
        if status == requests.codes.not_found:
            return SourceError(found, hint="see url of its section: it ends before /api/v1")
        return SourceError(found)

    def _strange(self, error: Exception) -> SourceError:
        """Return the error for an answer that is none of the API."""
        hint = "see url of its section: it ends before /api/v1"
        return SourceError(f"{self._url}: found no answer of Prometheus: {error}", hint=hint)

    def _failed(self, error: Exception) -> SourceError:
        """Return the error for an answer that did not come."""
        hint = "is it up, and url of its section right?"
        if isinstance(error, requests.exceptions.SSLError):
            hint = "see ca_file of its section"
        reason = getattr(error.args[0], "reason", None) if error.args else None
        # The connection's own name stands before what happened to it.
        text = _CONNECTION.sub("", str(reason or error))
        return SourceError(f"{self._url}: {text[:_MOST_TEXT]}", hint=hint)


def selector(name: str, matchers: Sequence[tuple[str, str, str]] = ()) -> str:
    """Return a selector of one metric, or of all whose names an expression matches, by labels.

    A matcher is a label, an operator and a text, which may hold anything.
    Raises: ConfigError: a label's name is none.
    """
    parts = []
    for label, operator, value in matchers:
        if not _LABEL.match(label) or operator not in {"=", "!=", "=~", "!~"}:
            raise ConfigError(f"match: found {label}{operator}, expected a label's name and one of = != =~ !~")
        parts.append(f'{label}{operator}"{escaped(value)}"')
    return f"{name}{{{','.join(parts)}}}"


def escaped(text: str) -> str:
    """Return a text as it stands between quotes in a query."""
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def windows(grid: Grid, most_steps: int) -> Iterator[Grid]:
    """Yield a grid in pieces: no instant is in two, because both ends of a query belong to it."""
    start = grid.start
    while start <= grid.end:
        end = min(grid.end, start + (most_steps - 1) * grid.step)
        yield Grid(start, end, grid.step)
        start = end + grid.step


def grid_of(since: datetime, until: datetime, step: int) -> Grid:
    """Return the instants after `since` up to `until` that are multiples of the step."""
    first = (int(since.timestamp()) // step + 1) * step
    return Grid(first, int(until.timestamp()) // step * step, step)


def instant(seconds: int) -> datetime:
    """Return an instant from its seconds since 1970."""
    return datetime.fromtimestamp(seconds, tz=UTC)


def _status_of(text: str) -> tuple[int, bytes]:
    """Return status and body from the library's message: it hands over nothing else."""
    found = re.match(r"HTTP Status Code (\d+) \((.*)\)\Z", text, re.DOTALL)
    return (int(found[1]), found[2].removeprefix("b'").removesuffix("'").encode()) if found else (0, text.encode())
