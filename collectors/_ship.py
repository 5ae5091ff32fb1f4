"""Sending spooled rows to the hub until it has them."""

import threading
import uuid
from collections.abc import Callable
from datetime import datetime
from http import HTTPStatus
from pathlib import Path
from typing import Final

import httpx2
import msgspec

from collectors._patience import Patience, asked_seconds
from collectors._round import Tables
from collectors._spool import Sealed, Spool
from collectors._stamp import Identity
from collectors._standing import Noted, put_aside
from collectors.wire import CONTENT_TYPE, encode
from ledger.errors import ConfigError, StoreError
from ledger.log import log
from ledger.registry import Row

_TIMEOUT_SECONDS: Final = 30.0
_LOOK_SECONDS: Final = 5.0
_ADDRESS: Final = "/api/v1/ingest"

# The batch itself is wrong and would be wrong again. A wrong token or address is the operator's to correct: rows wait.
_REFUSED: Final = frozenset(
    {
        HTTPStatus.BAD_REQUEST,
        HTTPStatus.CONFLICT,
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        HTTPStatus.UNPROCESSABLE_ENTITY,
    }
)

_ADVICE: Final[dict[int, str]] = {
    HTTPStatus.UNAUTHORIZED: (
        "the token is missing, mistyped or revoked: `clusterledger token create {node}` on the hub, and set it as "
        "agent.token here; a file that changes is read again, for the environment and systemd's credentials restart"
    ),
    HTTPStatus.FORBIDDEN: (
        "the token is another node's, or agent.node and agent.cluster say the wrong ones: `clusterledger token create "
        "{node} --cluster {cluster}` on the hub, and set it as agent.token here, or correct them and restart"
    ),
}


class _Refusal(msgspec.Struct):
    """How a hub says what is wrong."""

    error: str
    hint: str = ""


def _said(answer: httpx2.Response) -> str:
    """Return what a hub says of a refusal, or the start of what something else answers in its place."""
    try:
        refusal = msgspec.json.decode(answer.content, type=_Refusal)
    except msgspec.DecodeError:
        return answer.text[:200]
    return f"{refusal.error} (hint: {refusal.hint})" if refusal.hint else refusal.error


class Shipper:
    """Sends one batch after the other, oldest first; a hub that is away, or refuses, costs time and no rows.

    `token` gives the token as it is now: after a refusal it is asked for again, and a new one is tried at once.
    """

    def __init__(
        self,
        hub: str,
        token: Callable[[], str],
        *,
        identity: Identity,
        spool: Spool,
        beside: Path,
        now: Callable[[], datetime],
        look_seconds: float = _LOOK_SECONDS,
    ) -> None:
        self._spool = spool
        self._identity = identity
        self._beside = beside
        self._now = now
        self._read_token = token
        self._token = token()
        self._look_seconds = look_seconds
        self._client = httpx2.Client(
            base_url=hub.rstrip("/"), timeout=_TIMEOUT_SECONDS, headers={"Content-Type": CONTENT_TYPE}
        )
        self._patience = Patience()
        self._noted = Noted(beside, now)
        self._is_locked_out = False

    def run(self, every_seconds: float, stop: threading.Event) -> None:
        """Send what is there at a pace, slower while the hub does not take it, until told to stop."""
        while not self._waited(every_seconds, stop):
            try:
                self.drain(stop)
            except (StoreError, OSError) as error:
                # A full disk: nothing can be noted, so nothing may be forgotten either.
                self._later(str(error))

    def _waited(self, every_seconds: float, stop: threading.Event) -> bool:
        """Wait for the next try, or for another token where this one is refused; tell whether to stop."""
        left = self._patience.seconds or every_seconds
        while self._is_locked_out and left > 0:
            if stop.wait(min(left, self._look_seconds)):
                return True
            left -= self._look_seconds
            if self._has_new_token():
                left = 0.0
        return stop.wait(max(0.0, left))

    def _has_new_token(self) -> bool:
        """Tell whether the token is another one than before, and take it."""
        try:
            token = self._read_token()
        except ConfigError:
            # Somebody writes the file right now: the next look will find it whole.
            return False
        if token == self._token:
            return False
        log.info("another token is tried")
        self._token = token
        return True

    def drain(self, stop: threading.Event) -> bool:
        """Send until nothing waits; tell whether that was reached."""
        while not stop.is_set():
            batch = self._spool.seal()
            if batch is None:
                return True
            if not self.send(batch):
                return False
        return False

    def send(self, batch: Sealed) -> bool:
        """Send one batch; tell whether the next may follow. What the hub refuses is put aside with the reason."""
        if not self._is_dealt_with(batch):
            return False
        self._spool.forget(batch.batch_id)
        self._patience.over()
        self._is_locked_out = False
        return True

    def _is_dealt_with(self, batch: Sealed) -> bool:
        """Tell whether the hub has a batch, or whatever of it can never be taken is put aside.

        A part has an id that follows from the whole's: if the way breaks off in between, nothing counts twice.
        """
        try:
            answer = self._posted(batch.batch_id, batch.tables)
            never = answer.status_code in _REFUSED or self._is_somebody_elses(batch, answer)
        except httpx2.HTTPError as error:
            return self._later(f"{type(error).__name__}: {error}")
        if answer.is_success:
            self._noted.taken()
            _tell_rejected(answer.content)
            return True
        if not never:
            return self._refused(answer)
        parts = apart(batch, answer.status_code, self._identity)
        if not parts:
            put_aside(self._beside, batch, answer.status_code, answer.text[:2000], self._now())
        return all(self._is_dealt_with(part) for part in parts)

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def _posted(self, batch_id: str, tables: Tables) -> httpx2.Response:
        body = encode(batch_id, self._identity.node, self._identity.boot_id, tables)
        headers = {"Authorization": f"Bearer {self._token}"} if self._token else {}
        return self._client.post(_ADDRESS, content=body, headers=headers)

    def _is_somebody_elses(self, batch: Sealed, answer: httpx2.Response) -> bool:
        """Tell whether a batch is refused because it was kept under a name that this node no longer has.

        No token would ever make up for it; but it is so only if the hub takes what the node sends today.
        """
        if answer.status_code != HTTPStatus.FORBIDDEN or all(
            is_own(row, self._identity) for rows in batch.tables.values() for row in rows
        ):
            return False
        return self._posted(uuid.uuid4().hex, {}).is_success

    def _refused(self, answer: httpx2.Response) -> bool:
        """Wait as long as the hub asks, and for minutes where only a person can help."""
        said = _said(answer)
        advice = _ADVICE.get(answer.status_code)
        if advice is None:
            return self._later(f"HTTP {answer.status_code}: {said}", answer.headers.get("Retry-After", ""))
        self._is_locked_out = True
        self._patience.longer(is_refused=True)
        own = self._identity
        self._noted.refused(answer.status_code, said, advice.format(node=own.node, cluster=own.cluster))
        return False

    def _later(self, reason: str, retry_after: str = "") -> bool:
        self._is_locked_out = False
        self._patience.longer(asked=asked_seconds(retry_after, self._now()))
        seconds = round(self._patience.seconds, 1)
        log.warning("hub did not take a batch", hub=str(self._client.base_url), error=reason, retry_seconds=seconds)
        return False


def is_own(row: Row, identity: Identity) -> bool:
    """Tell whether a row stands under the node's present name."""
    return row.get("node", identity.node) == identity.node and row.get("cluster", identity.cluster) == identity.cluster


def apart(batch: Sealed, status: int, identity: Identity) -> list[Sealed]:
    """Return the parts of a refused batch that may be taken each by itself; none where it cannot be parted further.

    One table that a hub does not know, or one that is too large, must not take the others with it.
    """
    parts: dict[str, Tables] = {}
    if status == HTTPStatus.FORBIDDEN:
        for name, rows in batch.tables.items():
            for row in rows:
                part = parts.setdefault("own" if is_own(row, identity) else "other", {})
                part.setdefault(name, []).append(row)
    elif status in {HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.REQUEST_ENTITY_TOO_LARGE}:
        parts = {name: {name: rows} for name, rows in batch.tables.items()}
        if len(parts) == 1 and status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
            ((name, rows),) = batch.tables.items()
            half = len(rows) // 2
            parts = {"0": {name: rows[:half]}, "1": {name: rows[half:]}} if half else {}
    if len(parts) < 2:  # noqa: PLR2004  one part is the whole
        return []
    return [Sealed(f"{batch.batch_id}.{name}", tables) for name, tables in parts.items()]


class _Kept(msgspec.Struct):
    """What the hub says of one table."""

    rejected: int = 0


class _Acknowledged(msgspec.Struct):
    """What the hub answers to a batch that it has."""

    tables: dict[str, _Kept] = {}


def _tell_rejected(content: bytes) -> None:
    """Log rows that the hub kept apart: a collector yields what its table does not allow."""
    try:
        answer = msgspec.json.decode(content, type=_Acknowledged)
    except msgspec.DecodeError:
        # Another hub's words: that it has the batch is all that counts.
        return
    for name, kept in answer.tables.items():
        if kept.rejected:
            log.warning("hub rejected rows", table=name, row_count=kept.rejected)
