"""Sending spooled rows to the hub until it has them."""

import random
import ssl
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from pathlib import Path
from typing import Final

from collectors._answers import acknowledges, advised, can_never_be_taken, said_in, tell_rejected
from collectors._http import Answer, Connection, HubError
from collectors._metrics import Counts
from collectors._parts import apart, is_own
from collectors._patience import Patience, Stumbles, asked_seconds
from collectors._spool import Sealed, Spool
from collectors._stamp import Identity
from collectors._standing import Noted, put_aside
from collectors._tls import trouble
from collectors.wire import CONTENT_TYPE, encode
from ledger.errors import ConfigError, StoreError
from ledger.log import log
from ledger.memory import release

_TIMEOUT_SECONDS: Final = 30.0
_LOOK_SECONDS: Final = 5.0
_ADDRESS: Final = "/api/v1/ingest"

_MOST_OTHERS: Final = 4
"""How many later batches are tried to see whether the hub stumbles at the first one alone."""

_MOST_PARTS: Final = 100
"""How often a hub is made to stumble at parts of one batch: it has others to serve."""


@dataclass(frozen=True)
class Link:
    """How to reach the hub: its address, the token as it is now, how often to send, and how to speak TLS."""

    hub: str
    token: Callable[[], str]
    every_seconds: float = 10.0
    tls: ssl.SSLContext | None = None
    shows_certificate: bool = False

    def client(self, seconds: float = _TIMEOUT_SECONDS) -> Connection:
        """Return a connection to this hub, not open yet."""
        return Connection(self.hub, seconds=seconds, headers={"Content-Type": CONTENT_TYPE}, tls=self.tls)


def posted(hub: Connection, token: str, identity: Identity, batch: Sealed) -> Answer:
    """Send one batch and return what is answered.

    Raises: HubError: no answer came.
    """
    body = encode(batch.batch_id, identity.node, identity.boot_id, batch.tables)
    return hub.post(_ADDRESS, body, {"Authorization": f"Bearer {token}"} if token else {})


class Shipper:
    """Sends one batch after the other, oldest first; a hub that is away, or refuses, costs time and no rows.

    After a refusal the token is asked for again, and a new one is tried at once.
    """

    def __init__(
        self,
        link: Link,
        *,
        identity: Identity,
        spool: Spool,
        beside: Path,
        now: Callable[[], datetime],
        counts: Counts | None = None,
        look_seconds: float = _LOOK_SECONDS,
    ) -> None:
        self._link = link
        self._next: Link | None = None
        self._spool = spool
        self._identity = identity
        self._beside = beside
        self._now = now
        self._token = link.token()
        self._look_seconds = look_seconds
        self._client = link.client()
        self._counts = counts or Counts()
        self._patience = Patience()
        self._noted = Noted(beside, now)
        self._is_locked_out = False
        self._stumbles = Stumbles()

    def move(self, link: Link) -> None:
        """Send to another hub, with another token or by another way, from the next batch on."""
        self._next = link

    def run(self, stop: threading.Event) -> None:
        """Send what is there at a pace, slower while the hub does not take it, until told to stop.

        The first wait is a random part of the pace: agents that start in one second, after a power cut or a rollout,
        would send in the same instants from then on.
        """
        phase = random.uniform(0, self._link.every_seconds)  # noqa: S311  spreads load, guards nothing
        seconds = self._patience.seconds or phase
        while not self._waited(stop, seconds):
            try:
                self.drain(stop)
            except (StoreError, OSError) as error:
                # A full disk: nothing can be noted, so nothing may be forgotten either.
                self._later(str(error))
            seconds = self._patience.seconds or self._link.every_seconds

    def _waited(self, stop: threading.Event, seconds: float) -> bool:
        """Wait for the next try, another way, or another token where this one is refused; tell whether to stop."""
        left = seconds
        while left > 0:
            if stop.wait(min(left, self._look_seconds)):
                return True
            left -= self._look_seconds
            if self._has_moved() or (self._is_locked_out and self._has_new_token()):
                left = 0.0
        return stop.is_set()

    def _has_moved(self) -> bool:
        """Tell whether another way is to be taken, and take it."""
        link, self._next = self._next, None
        if link is None:
            return False
        self._client.close()
        self._link, self._client = link, link.client()
        self._has_new_token()
        self._patience.over()
        return True

    def _has_new_token(self) -> bool:
        """Tell whether the token is another one than before, and take it."""
        try:
            token = self._link.token()
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
        sent = 0
        try:
            while not stop.is_set():
                batch = self._spool.seal()
                if batch is None:
                    return True
                if not self.send(batch) and not self._passed(batch):
                    return False
                sent += 1
            return False
        finally:
            # What a backlog took is not needed again until the hub is away for long the next time.
            if sent > 1:
                release()

    def send(self, batch: Sealed) -> bool:
        """Send one batch; tell whether the next may follow. What the hub refuses is put aside with the reason."""
        if not self._is_dealt_with(batch):
            return False
        self._spool.forget(batch.batch_id)
        self._stumbles.over(batch.batch_id)
        self._patience.over()
        self._is_locked_out = False
        return True

    def _passed(self, batch: Sealed) -> bool:
        """Get past a batch at which the hub stumbles again and again, though it takes what comes after it.

        It is sent in ever smaller parts, and what the hub stumbles at still is put aside.
        """
        if not self._stumbles.are_many(batch.batch_id):
            return False
        others = [batch.batch_id]
        while len(others) <= _MOST_OTHERS:
            other = self._spool.seal(besides=others)
            if other is None:
                return False
            if self.send(other):
                break
            others.append(other.batch_id)
        else:
            return False
        log.warning("hub stumbles at a batch and takes others", batch_id=batch.batch_id)
        self._stumbles.parts_left = _MOST_PARTS
        try:
            return self.send(batch)
        finally:
            self._stumbles.parts_left = 0

    def _is_dealt_with(self, batch: Sealed) -> bool:
        """Tell whether the hub has a batch, or whatever of it can never be taken is put aside.

        A part has an id that follows from the whole's: if the way breaks off in between, nothing counts twice.
        """
        try:
            answer = posted(self._client, self._token, self._identity, batch)
            never = can_never_be_taken(answer) or self._is_somebody_elses(batch, answer)
        except HubError as error:
            return self._broken_off(batch, error)
        if acknowledges(answer, batch.batch_id):
            self._noted.taken()
            rejected = tell_rejected(answer.content)
            self._counts.shipped(sum(len(rows) for rows in batch.tables.values()), rejected)
            return True
        if answer.is_server_error:
            return self._stumbled(batch, answer)
        if not never:
            return self._refused(answer)
        return self._parted(batch, answer.status_code, answer.text[:2000])

    def _parted(self, batch: Sealed, status: int, reason: str) -> bool:
        """Send the parts of a batch that the hub does not take as a whole; put aside what cannot be parted."""
        parts = apart(batch, status, self._identity)
        if not parts:
            self._put_aside(batch, status, reason)
        return all(self._is_dealt_with(part) for part in parts)

    def _put_aside(self, batch: Sealed, status: int, reason: str) -> None:
        rows = put_aside(self._beside, batch, status, reason, self._now())
        # An event that the hub refuses makes no other event: it would be refused as well, and so on.
        self._counts.put_aside(rows, is_told=set(batch.tables) != {"node_event"})

    def _stumbled(self, batch: Sealed, answer: Answer) -> bool:
        """Wait where the hub fails; where it fails at this batch alone, go on with its parts."""
        said = f"HTTP {answer.status_code}: {said_in(answer)}"
        if self._stumbles.parts_left > 0:
            return self._parted_while_it_takes_others(batch, answer.status_code, said)
        self._stumbles.again(batch.batch_id, str(answer.status_code))
        return self._later(said, answer.retry_after)

    def _broken_off(self, batch: Sealed, error: HubError) -> bool:
        """Wait where the hub is away, or cannot be trusted; a hub that falls over this batch is another matter."""
        said = str(error)
        wrong = trouble(error)
        if wrong is not None:
            return self._locked_out(0, *wrong)
        if error.is_sent and error.how != TimeoutError.__name__ and self._link.shows_certificate:
            # A hub that does not believe it hangs up: under TLS 1.3 that comes after the handshake.
            said += "; the hub may not believe agent.tls_certificate: see hub.client_ca there"
        if error.is_sent:
            if self._stumbles.parts_left > 0:
                return self._parted_while_it_takes_others(batch, HTTPStatus.INTERNAL_SERVER_ERROR, said)
            self._stumbles.again(batch.batch_id, error.how)
        return self._later(said)

    def _parted_while_it_takes_others(self, batch: Sealed, status: int, said: str) -> bool:
        """Part a batch that the hub stumbles at, if it is well otherwise at this moment."""
        self._stumbles.parts_left -= 1
        try:
            is_well = self._is_well()
        except HubError:
            is_well = False
        if not is_well:
            return self._later(said)
        if self._stumbles.parts_left > 0:
            return self._parted(batch, status, said)
        self._put_aside(batch, status, said)
        # What follows of the batch goes the same way: a hub is not asked for ever.
        self._stumbles.parts_left = 1
        return True

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def _is_somebody_elses(self, batch: Sealed, answer: Answer) -> bool:
        """Tell whether a batch is refused because it was kept under a name that this node no longer has.

        No token would ever make up for it; but it is so only if the hub takes what the node sends today.
        """
        if answer.status_code != HTTPStatus.FORBIDDEN or all(
            is_own(row, self._identity) for rows in batch.tables.values() for row in rows
        ):
            return False
        return self._is_well()

    def _is_well(self) -> bool:
        """Tell whether the hub takes a batch of this node that has nothing in it.

        Raises: HubError: no answer came.
        """
        nothing = Sealed(uuid.uuid4().hex, {})
        return acknowledges(posted(self._client, self._token, self._identity, nothing), nothing.batch_id)

    def _refused(self, answer: Answer) -> bool:
        """Wait as long as the hub asks, and for minutes where only a person can help."""
        said, advice = advised(answer, self._identity.node, self._identity.cluster)
        if not advice:
            return self._later(f"HTTP {answer.status_code}: {said}", answer.retry_after)
        return self._locked_out(answer.status_code, said, advice)

    def _locked_out(self, status: int, said: str, advice: str) -> bool:
        """Say once what a person must do, and wait for it."""
        self._counts.failed()
        self._is_locked_out = True
        self._patience.longer(is_refused=True)
        self._noted.refused(status, said, advice)
        return False

    def _later(self, reason: str, retry_after: str = "") -> bool:
        self._counts.failed()
        self._is_locked_out = False
        self._patience.longer(asked=asked_seconds(retry_after, self._now()))
        seconds = round(self._patience.seconds, 1)
        self._noted.waits(reason)
        log.warning("hub did not take a batch", hub=self._client.address, error=reason, retry_seconds=seconds)
        return False
