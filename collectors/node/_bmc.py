"""What a management controller answers to GET over HTTPS: within a budget of time and bytes, however it drips."""

import ssl
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

import msgspec

from ledger.errors import ConfigError, SourceError

_LONGEST_ANSWER: Final = 4 << 20
_REFUSING: Final = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})

Document = Mapping[str, Any]


class Refused(Exception):  # noqa: N818  an answer, not a fault of the program
    """The controller does not show a resource to this user, or does not know the user at all."""

    def __init__(self, message: str, *, is_of_user: bool) -> None:
        super().__init__(message)
        self.is_of_user = is_of_user


class Bmc:
    """One controller, asked one thing after the other until the round's time is over."""

    def __init__(
        self,
        url: str,
        *,
        user: str,
        password: str,
        ca_file: Path | None,
        is_verified: bool,
        answer_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        import httpx2  # noqa: PLC0415  a tenth of the agent's memory, where no controller is asked

        self._url = url.rstrip("/")
        self._clock = clock
        self._answer_seconds = answer_seconds
        self._until = float("inf")
        trusted = _trusted(ca_file, is_verified=is_verified)
        self._opened: Callable[[], httpx2.Client] = lambda: httpx2.Client(
            auth=(user, password) if user else None,
            verify=trusted,
            timeout=answer_seconds,
            # The agent's environment may name a proxy; the controller stands beside the node.
            trust_env=False,
            headers={"accept": "application/json", "odata-version": "4.0"},
        )
        self._client: httpx2.Client | None = None

    def begin(self, seconds: float) -> None:
        """Start a round that may take so long in all."""
        self._until = self._clock() + seconds

    def get(self, path: str) -> Document | None:
        """Return a resource; None where there is no such one.

        Raises: Refused: this user may not see it. SourceError: no answer, not in time, or none that can be read.
        """
        import httpx2  # noqa: PLC0415  loaded by now

        where = f"{self._url}{path}"
        body = bytearray()
        self._client = client = self._client or self._opened()
        try:
            with client.stream("GET", where, timeout=min(self._answer_seconds, self._left(where))) as answer:
                if answer.status_code in _REFUSING:
                    is_of_user = answer.status_code == HTTPStatus.UNAUTHORIZED
                    raise Refused(f"{where}: HTTP {answer.status_code}", is_of_user=is_of_user)
                if answer.status_code == HTTPStatus.NOT_FOUND:
                    return None
                if answer.status_code != HTTPStatus.OK:
                    raise SourceError(f"{where}: found HTTP {answer.status_code}, expected a resource")
                for block in answer.iter_bytes():
                    body += block
                    self._left(where)
                    if len(body) > _LONGEST_ANSWER:
                        raise SourceError(f"{where}: found more than {_LONGEST_ANSWER} bytes, expected a resource")
        except httpx2.HTTPError as error:
            raise SourceError(f"{where}: {str(error) or type(error).__name__}") from error
        try:
            found = msgspec.json.decode(bytes(body))
        except msgspec.DecodeError as error:
            raise SourceError(f"{where}: found no JSON ({error}), expected a resource") from error
        if not isinstance(found, dict):
            raise SourceError(f"{where}: found {type(found).__name__}, expected a resource")
        return found

    def close(self) -> None:
        """Give the connection back: some controllers have few. The next question opens another."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def _left(self, where: str) -> float:
        """Return how much of the round's time is left.

        Raises: SourceError: none.
        """
        left = self._until - self._clock()
        if left <= 0:
            raise SourceError(f"{where}: the controller took all the time of this round")
        return left


def _trusted(ca_file: Path | None, *, is_verified: bool) -> ssl.SSLContext:
    """Return whom to believe.

    Raises: ConfigError: the file of authorities cannot be read.
    """
    context = ssl.create_default_context()
    if not is_verified:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif ca_file is not None:
        try:
            context.load_verify_locations(cafile=ca_file)
        except OSError as error:
            raise ConfigError(f"collectors.redfish.ca_file: {ca_file}: {error}", hint="PEM, one or more") from error
    return context
