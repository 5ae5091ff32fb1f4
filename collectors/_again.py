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
from collectors._stamp import Identity
from collectors._standing import WithRows, forget_put_aside, put_aside_with_rows
from collectors._tls import trouble
from collectors.agent import link_of, token_of
from ledger.config import Settings
from ledger.log import log

_TAKEN: Final = "taken"
_REFUSED: Final = "refused again"

_MOST_TRIES: Final = 5
_BUSY: Final = frozenset({HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE})


@dataclass
class Sent:
    """What became of batches that were sent again, and why that ended before all were; '' if it did not."""

    batches: Counter[tuple[str, str]] = field(default_factory=Counter)
    rows: Counter[tuple[str, str]] = field(default_factory=Counter)
    ended: str = ""
    advice: str = ""

    def count(self, batch: WithRows, outcome: str, reason: str = "") -> None:
        """Count a batch by what became of it."""
        self.batches[outcome, reason] += 1
        self.rows[outcome, reason] += batch.row_count

    @property
    def is_any_refused(self) -> bool:
        """Tell whether some are kept that the hub refused again."""
        return any(outcome == _REFUSED for outcome, _ in self.batches)

    def records(self) -> list[dict[str, object]]:
        """Return what happened, alike batches together."""
        return [
            {"outcome": outcome, "batches": count, "rows": self.rows[outcome, reason], "reason": reason}
            for (outcome, reason), count in sorted(self.batches.items(), reverse=True)
        ]


def sent_again(settings: Settings, pause: Callable[[float], None] = time.sleep) -> Sent:
    """Send each batch again under its own id, so that the hub has it once; forget those that it has now.

    An agent may run meanwhile: its spool is left alone, and what it puts aside stays.

    Raises: ConfigError: there is no way to the hub; OSError: the refused batches may not be read or written.
    """
    identity = identity_of(settings, roots(settings, None, None)[0])
    found, taken = Sent(), set[str]()
    token = token_of(settings)
    with closing(link_of(settings, lambda: token).client()) as hub:
        try:
            for batch in put_aside_with_rows(settings.agent.spool):
                answer = _answered(hub, token, identity, batch, pause)
                if isinstance(answer, Answer) and acknowledges(answer, batch.batch_id):
                    tell_rejected(answer.content)
                    taken.add(batch.batch_id)
                    found.count(batch, _TAKEN)
                elif _is_refused(answer, batch, identity):
                    found.count(batch, _REFUSED, _said(answer))
                else:
                    found.ended, found.advice = _ended(answer, identity)
                    break
        finally:
            forget_put_aside(settings.agent.spool, taken)
    return found


def _answered(
    hub: Connection, token: str, identity: Identity, batch: WithRows, pause: Callable[[float], None]
) -> Answer | HubError:
    """Return what the hub answers to a batch, or why nothing comes; a hub that has too much to do is asked again."""
    patience = Patience()
    for tries_left in reversed(range(_MOST_TRIES)):
        try:
            answer = posted(hub, token, identity, batch.batch)
        except HubError as error:
            return error
        if answer.status_code not in _BUSY or not tries_left:
            break
        patience.longer(asked=asked_seconds(answer.retry_after, utc_now()))
        log.info("hub has too much to do", error=said_in(answer), retry_seconds=round(patience.seconds, 1))
        pause(patience.seconds)
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
