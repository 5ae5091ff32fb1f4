"""Sending spooled rows to the hub until it has them."""

import json
import random
import threading
from collections.abc import Callable
from datetime import datetime
from http import HTTPStatus
from pathlib import Path
from typing import Final

import httpx2
import msgspec

from collectors._spool import Sealed, Spool
from collectors._stamp import Identity
from collectors.wire import CONTENT_TYPE, encode
from ledger.errors import StoreError
from ledger.log import log

_FIRST_PAUSE_SECONDS: Final = 1.0
_LONGEST_PAUSE_SECONDS: Final = 60.0
_TIMEOUT_SECONDS: Final = 30.0
_REFUSED_FILE_BYTES: Final = 64 * 1024**2

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
    """Sends one batch after the other, oldest first; a hub that is away costs time and no rows."""

    def __init__(
        self, hub: str, token: str, *, identity: Identity, spool: Spool, refused: Path, now: Callable[[], datetime]
    ) -> None:
        self._spool = spool
        self._identity = identity
        self._refused = refused
        self._now = now
        self._client = httpx2.Client(
            base_url=hub.rstrip("/"),
            timeout=_TIMEOUT_SECONDS,
            headers={"Content-Type": CONTENT_TYPE} | ({"Authorization": f"Bearer {token}"} if token else {}),
        )
        self._pause = 0.0

    def run(self, every_seconds: float, stop: threading.Event) -> None:
        """Send what is there at a pace, slower while the hub does not answer, until told to stop."""
        while not stop.wait(self._pause or every_seconds):
            try:
                self.drain(stop)
            except (StoreError, OSError) as error:
                # A full disk: nothing can be noted, so nothing may be forgotten either.
                self._later(str(error))

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
        """Send one batch; tell whether the next may follow. One that the hub refuses is put aside with the reason."""
        body = encode(batch.batch_id, self._identity.node, self._identity.boot_id, batch.tables)
        try:
            answer = self._client.post("/api/v1/ingest", content=body)
        except httpx2.HTTPError as error:
            return self._later(f"{type(error).__name__}: {error}")
        if answer.status_code in _REFUSED:
            self._put_aside(batch, answer.status_code, answer.text[:2000])
        elif not answer.is_success:
            return self._later(f"HTTP {answer.status_code}: {_said(answer)}")
        else:
            _tell_rejected(answer.content)
        self._spool.forget(batch.batch_id)
        self._pause = 0.0
        return True

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def _later(self, reason: str) -> bool:
        """Wait longer each time, and not in step with other nodes."""
        self._pause = min(_LONGEST_PAUSE_SECONDS, max(_FIRST_PAUSE_SECONDS, self._pause * 2))
        self._pause *= random.uniform(0.75, 1.0)  # noqa: S311  spreads load, guards nothing
        log.warning("hub did not take a batch", hub=str(self._client.base_url), error=reason, retry_seconds=self._pause)
        return False

    def _put_aside(self, batch: Sealed, status: int, reason: str) -> None:
        """Append a refused batch to a file; one older file is kept beside it."""
        rows = sum(len(each) for each in batch.tables.values())
        log.error("hub refused a batch", batch_id=batch.batch_id, status=status, error=reason, row_count=rows)
        if self._refused.exists() and self._refused.stat().st_size > _REFUSED_FILE_BYTES:
            self._refused.replace(self._refused.with_suffix(".old"))
        entry = {
            "refused_at": self._now().isoformat(),
            "batch_id": batch.batch_id,
            "status": int(status),
            "reason": reason,
            "tables": batch.tables,
        }
        with self._refused.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")


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
