"""One connection to the hub, by Python's own HTTP client: a larger one would be a tenth of the agent's memory."""

import os
import select
import ssl
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException, HTTPSConnection, IncompleteRead
from typing import Final
from urllib.parse import SplitResult, unquote, urlsplit

from ledger.errors import ConfigError

_LONGEST_ANSWER: Final = 16 << 20


class HubError(Exception):
    """No answer of the hub came; `is_sent` says whether it may have got the question, `how` in a word what happened."""

    def __init__(self, error: Exception, *, is_sent: bool) -> None:
        self.how = type(error).__name__
        self.is_sent = is_sent
        super().__init__(f"{self.how}: {error}" if str(error) else self.how)


@dataclass(frozen=True)
class Answer:
    """What the hub, or something before it, answers."""

    status_code: int
    content: bytes
    retry_after: str
    date: str = ""

    @property
    def text(self) -> str:
        """Return the content as text, whatever it is."""
        return self.content.decode("utf-8", errors="replace")

    @property
    def is_success(self) -> bool:
        """Tell whether the hub has what it was sent."""
        return HTTPStatus.OK <= self.status_code < HTTPStatus.MULTIPLE_CHOICES

    @property
    def is_server_error(self) -> bool:
        """Tell whether the hub failed."""
        return self.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR


class Connection:
    """A connection that stays open between questions, and is made again where the other side has ended it.

    The environment's proxies are used, as other programs do.
    """

    def __init__(self, address: str, *, seconds: float, headers: Mapping[str, str], tls: ssl.SSLContext | None) -> None:
        self.address = address.rstrip("/")
        self._headers = dict(headers)
        self._url = _parts(self.address)
        self._prefix = self._url.path
        self.proxy = _proxy_of(self._url)
        self._connection = self._made(seconds, tls)

    def get(self, path: str, headers: Mapping[str, str]) -> Answer:
        """Return what is answered to a question.

        Raises: HubError: no answer came.
        """
        return self._asked("GET", path, None, headers)

    def post(self, path: str, content: bytes, headers: Mapping[str, str]) -> Answer:
        """Send some content and return what is answered.

        Raises: HubError: no answer came.
        """
        return self._asked("POST", path, content, headers)

    def _asked(self, method: str, path: str, content: bytes | None, headers: Mapping[str, str]) -> Answer:
        connection, is_sent = self._connection, False
        if _is_ended(connection):
            connection.close()
        try:
            if connection.sock is None:
                connection.connect()
            # Who refuses a body may say so before it has read all of it.
            with suppress(BrokenPipeError, ConnectionResetError):
                connection.request(method, f"{self._prefix}{path}", body=content, headers={**self._headers, **headers})
            is_sent = True
            answer = connection.getresponse()
            body = answer.read(_LONGEST_ANSWER)
            if answer.length:
                raise IncompleteRead(body, answer.length)
            if not answer.isclosed():
                connection.close()
            return Answer(answer.status, body, answer.getheader("Retry-After", ""), answer.getheader("Date", ""))
        except (OSError, HTTPException) as error:
            connection.close()
            raise HubError(error, is_sent=is_sent) from error

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _made(self, seconds: float, tls: ssl.SSLContext | None) -> HTTPConnection:
        """Return a connection that is not open yet, to the hub or to the proxy that the environment names for it."""
        url, proxy = self._url, self.proxy
        host, port = url.hostname or "", url.port
        is_safe = url.scheme == "https"
        at = host if proxy is None else proxy.hostname or ""
        at_port = port if proxy is None else proxy.port or 80
        if is_safe:
            connection: HTTPConnection = HTTPSConnection(
                at, at_port, timeout=seconds, context=tls or ssl.create_default_context()
            )
        else:
            connection = HTTPConnection(at, at_port, timeout=seconds)
        if proxy is None:
            return connection
        told = _told(proxy)
        if is_safe:
            connection.set_tunnel(host, port, headers=told)
        else:
            self._prefix = f"{url.scheme}://{url.netloc.rpartition('@')[2]}{url.path}"
            self._headers |= told
        return connection


def _parts(address: str) -> SplitResult:
    """Return the parts of the hub's address.

    Raises: ConfigError: it has no host, or its port is none.
    """
    try:
        url = urlsplit(address)
        if url.hostname and url.port != 0:
            return url
        found = "no host"
    except ValueError as error:
        found = str(error)
    raise ConfigError(f"agent.hub: found {address}: {found}, expected such as https://hub:8501", hint="see agent.hub")


def _is_ended(connection: HTTPConnection) -> bool:
    """Tell whether the other side has ended an open connection: nothing else is there to be read between questions."""
    if connection.sock is None:
        return False
    try:
        return bool(select.select([connection.sock], [], [], 0)[0])
    except (OSError, ValueError):
        return True


def _proxy_of(url: SplitResult) -> SplitResult | None:
    """Return the proxy that the environment names for an address, None for none."""
    if not any(name.lower().endswith("_proxy") for name in os.environ):
        return None
    from urllib.request import getproxies, proxy_bypass  # noqa: PLC0415  few nodes have one

    proxies = getproxies()
    named = proxies.get(url.scheme) or proxies.get("all")
    if not named or proxy_bypass(url.netloc.rpartition("@")[2]):
        return None
    return urlsplit(named if "://" in named else f"http://{named}")


def _told(proxy: SplitResult) -> dict[str, str]:
    """Return what tells a proxy who asks."""
    if proxy.username is None:
        return {}
    from base64 import b64encode  # noqa: PLC0415  as above

    who = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}".encode()
    return {"Proxy-Authorization": f"Basic {b64encode(who).decode('ascii')}"}
