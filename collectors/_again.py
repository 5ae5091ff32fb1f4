"""Sending batches again that the hub refused for good: it may take them once it, or a name, is another."""

import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final

from collectors._answers import acknowledges, advised, can_never_be_taken, said_in, tell_rejected
from collectors._clock import utc_now
from collectors._collect import identity_of, roots
from collectors._http import Answer, Connection, HubError
from collectors._parts import is_own
from collectors._patience import Patience, asked_seconds
from collectors._ship import posted
from collectors._spool import Sealed
from collectors._stamp import Identity
from collectors._standing import WithRows, forget_put_aside, put_aside_with_rows
from collectors._tls import trouble
from collectors.agent import link_of, token_of
from ledger.config import Settings
from ledger.log import log

_MOST_TRIES: Final = 5
_BUSY: Final = frozenset({HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE})


@dataclass
class Sent:
    """What became of batches that were sent again: by outcome their number and their rows, and why some were refused.

    `ended` says why that ended before all were sent, '' if it did not, and `advice` what to do then.
    """

    batches: Counter[str] = field(default_factory=Counter)
    rows: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    ended: str = ""
    advice: str = ""

    def count(self, batch: WithRows, outcome: str) -> None:
        """Count a batch by what became of it."""
        self.batches[outcome] += 1
        self.rows[outcome] += batch.row_count

    def records(self) -> list[dict[str, object]]:
        """Return how many became what."""
        return [{"outcome": each, "batches": count, "rows": self.rows[each]} for each, count in self.batches.items()]


def sent_again(settings: Settings, pause: Callable[[float], None] = time.sleep) -> Sent:
    """Send each batch again under its own id, so that the hub has it once; forget those that it has now.

    An agent may run meanwhile: its spool is left alone, and what it puts aside stays.

    Raises: ConfigError: there is no way to the hub; OSError: the refused batches may not be read or written.
    """
    identity = identity_of(settings, roots(settings, None, None)[0])
    token = token_of(settings)
    found, taken = Sent(), set[str]()
    with closing(link_of(settings, lambda: token).client()) as hub:
        way = _Way(hub, token, identity, pause)
        try:
            for batch in put_aside_with_rows(settings.agent.spool):
                answer = way.answer(batch.batch)
                if isinstance(answer, Answer) and acknowledges(answer, batch.batch_id):
                    tell_rejected(answer.content)
                    taken.add(batch.batch_id)
                    found.count(batch, "taken")
                elif _is_refused(answer, batch, identity):
                    found.count(batch, "refused again")
                    found.reasons[_said(answer)] += 1
                else:
                    found.ended, found.advice = _ended(answer, identity)
                    break
        finally:
            forget_put_aside(settings.agent.spool, taken)
    return found


@dataclass
class _Way:
    """The way of batches to the hub, as fast as the hub allows: the node's agent has its share too."""

    hub: Connection
    token: str
    identity: Identity
    pause: Callable[[float], None]
    is_slow: bool = False

    def answer(self, batch: Sealed) -> Answer | HubError:
        """Return what the hub answers to a batch, or why nothing comes; one that has too much to do is asked again."""
        patience = Patience()
        for tries_left in reversed(range(_MOST_TRIES)):
            try:
                answer = posted(self.hub, self.token, self.identity, batch)
            except HubError as error:
                return error
            if answer.status_code not in _BUSY or not tries_left:
                break
            patience.longer(asked=asked_seconds(answer.retry_after, utc_now()))
            if not self.is_slow:
                self.is_slow = True
                log.info("hub takes no more at once; batches go slower from here", error=said_in(answer))
            self.pause(patience.seconds)
        return answer


def _is_refused(answer: Answer | HubError, batch: WithRows, identity: Identity) -> bool:
    """Tell whether it is this batch that the hub does not take, and not all that this node sends."""
    if batch.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        # The hub stumbled at it while it took others.
        if isinstance(answer, HubError):
            return answer.is_sent
        return answer.is_server_error and answer.status_code not in _BUSY
    if isinstance(answer, HubError):
        return False
    is_anothers = not all(is_own(row, identity) for rows in batch.tables.values() for row in rows)
    return can_never_be_taken(answer) or (answer.status_code == HTTPStatus.FORBIDDEN and is_anothers)


def _said(answer: Answer | HubError) -> str:
    return str(answer) if isinstance(answer, HubError) else f"HTTP {answer.status_code}: {said_in(answer)}"


def _ended(answer: Answer | HubError, identity: Identity) -> tuple[str, str]:
    """Return why no batch can be sent now, and what to do."""
    if isinstance(answer, HubError):
        return trouble(answer) or (str(answer), "is the hub up, and the address right?")
    said, advice = advised(answer, identity.node, identity.cluster)
    return f"HTTP {answer.status_code}: {said}", advice or "see the hub's log, and try again later"
