"""Kubernetes' API as far as it is read: whole lists in pages, single objects, and what is wrong in words."""

import os
import ssl
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import Final, Self

import httpx2
import msgspec

from collectors._patience import asked_seconds
from collectors.cluster._token import token_in
from ledger.errors import ConfigError, SourceError

_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")

_TRIES: Final = 3
_LONGEST_PAUSE_SECONDS: Final = 5.0

_ADVICE: Final[Mapping[int, str]] = {
    HTTPStatus.UNAUTHORIZED: "the token is missing, has expired or is another cluster's: look at token_file",
    HTTPStatus.FORBIDDEN: "give its service account the ClusterRole of deploy/kubernetes/source.yaml",
    HTTPStatus.NOT_FOUND: "look at url: it is the API server's, without a path",
}


class Gone(Exception):  # noqa: N818  the server's own word
    """A list changed too much while it was read: it is to be read from the start."""


class Forbidden(SourceError):  # noqa: N818  the server's own word
    """This account may not read something that is there."""


class _ListMeta(msgspec.Struct, rename={"next": "continue"}):
    next: str = ""


class _List(msgspec.Struct):
    items: list[msgspec.Raw] | None = None
    metadata: _ListMeta = msgspec.field(default_factory=_ListMeta)


class _Status(msgspec.Struct):
    message: str = ""


@dataclass(frozen=True)
class Place:
    """Where an API server is and what proves who asks."""

    url: str
    token_file: Path | None
    ca_file: Path | None


def place(url: str, token_file: Path | None, ca_file: Path | None, environ: Mapping[str, str] = os.environ) -> Place:
    """Return where to ask: what is configured, else the server of the pod that this runs in.

    Raises: ConfigError: nothing is configured, and this is no pod.
    """
    if url:
        return Place(url.rstrip("/"), token_file, ca_file)
    host, port = environ.get("KUBERNETES_SERVICE_HOST", ""), environ.get("KUBERNETES_SERVICE_PORT", "443")
    if not host:
        raise ConfigError(
            "url: found nothing and no KUBERNETES_SERVICE_HOST, expected the API server's address outside of a pod",
            hint="set url, token_file and ca_file in the section of this source",
        )
    address = f"[{host}]" if ":" in host else host
    return Place(f"https://{address}:{port}", token_file or _ACCOUNT / "token", ca_file or _ACCOUNT / "ca.crt")


class Api:
    """One connection to an API server, for one pull: a token that was rotated is read at the next."""

    def __init__(self, where: Place, *, page_size: int, timeout_seconds: float) -> None:
        self._where = where
        self._page_size = page_size
        headers = {"Accept": "application/json", "User-Agent": "clusterledger"}
        if where.token_file is not None:
            headers["Authorization"] = f"Bearer {token_in(where.token_file)}"
        self._client = httpx2.Client(headers=headers, timeout=timeout_seconds, verify=_trust(where), trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def listed(self, path: str) -> list[msgspec.Raw]:
        """Return all objects of a list, read in pages; a list that is gone meanwhile is read from the start.

        Raises: SourceError: the server does not answer, refuses, or the list never comes to its end.
        """
        for _ in range(_TRIES):
            try:
                return list(self._pages(path))
            except Gone:
                continue
        raise SourceError(
            f"{self._where.url}{path}: found 410 Gone in the middle of the list {_TRIES} times, expected its end",
            hint="raise page_size, so that the list takes fewer calls",
        )

    def found(self, path: str) -> bytes | None:
        """Return one object; None where there is none.

        Raises: SourceError: the server does not answer or refuses.
        """
        answer = self._asked(path, {})
        if answer.status_code == HTTPStatus.NOT_FOUND:
            return None
        self._refuse(path, answer)
        return answer.content

    def permitted(self, path: str) -> tuple[bytes | None, bool]:
        """Return one object or None, and whether this account may read it.

        Raises: SourceError: the server does not answer, or refuses for another reason.
        """
        answer = self._asked(path, {})
        if answer.status_code in {HTTPStatus.NOT_FOUND, HTTPStatus.FORBIDDEN}:
            return None, answer.status_code != HTTPStatus.FORBIDDEN
        self._refuse(path, answer)
        return answer.content, True

    def _pages(self, path: str) -> Iterator[msgspec.Raw]:
        token = ""
        while True:
            asked = {"limit": str(self._page_size)} | ({"continue": token} if token else {})
            answer = self._asked(path, asked)
            if answer.status_code == HTTPStatus.GONE:
                raise Gone
            self._refuse(path, answer)
            try:
                page = msgspec.json.decode(answer.content, type=_List)
            except msgspec.DecodeError as error:
                raise SourceError(f"{self._where.url}{path}: found {error}, expected a list of objects") from None
            yield from page.items or ()
            token = page.metadata.next
            if not token:
                return

    def _asked(self, path: str, parameters: Mapping[str, str]) -> httpx2.Response:
        """Return the server's answer; one that is busy is asked again after the pause that it asks for."""
        answer = self._answer(path, parameters)
        for _ in range(1, _TRIES):
            if answer.status_code != HTTPStatus.TOO_MANY_REQUESTS:
                break
            asked = asked_seconds(answer.headers.get("Retry-After", "1"), datetime.now(UTC))
            time.sleep(min(asked, _LONGEST_PAUSE_SECONDS))
            answer = self._answer(path, parameters)
        return answer

    def _answer(self, path: str, parameters: Mapping[str, str]) -> httpx2.Response:
        try:
            return self._client.get(f"{self._where.url}{path}", params=dict(parameters))
        except httpx2.TimeoutException:
            raise SourceError(
                f"{self._where.url}{path}: found no answer in time, expected one",
                hint="raise timeout_seconds, or lower page_size",
            ) from None
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise SourceError(
                f"{self._where.url}: {error}, expected an API server", hint="look at url and ca_file"
            ) from None

    def _refuse(self, path: str, answer: httpx2.Response) -> None:
        if answer.status_code == HTTPStatus.OK:
            return
        try:
            said = msgspec.json.decode(answer.content, type=_Status).message
        except msgspec.DecodeError:
            said = ""
        told = said or answer.text[:200]
        kind = Forbidden if answer.status_code == HTTPStatus.FORBIDDEN else SourceError
        raise kind(
            f"{self._where.url}{path}: found {answer.status_code} {answer.reason_phrase}"
            f"{f' ({told})' if told else ''}, expected 200 OK",
            hint=_ADVICE.get(answer.status_code, ""),
        )


def _trust(where: Place) -> ssl.SSLContext | bool:
    """Return whom to trust: the cluster's own authority, or the machine's; nobody proves anything without TLS."""
    if where.ca_file is None:
        return where.url.startswith("https:")
    try:
        return ssl.create_default_context(cafile=where.ca_file)
    except (OSError, ssl.SSLError) as error:
        raise SourceError(f"ca_file: {where.ca_file}: {error}, expected certificates in PEM") from None
