"""Whether the hub would take what this node sends, asked before it sends any."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Final

import msgspec

from collectors._answers import ADVICE
from collectors._collect import identity_of, roots
from collectors._http import Answer, Connection, HubError
from collectors.agent import token_of
from ledger.config import Settings

_ANY: Final = "*"
_CLOCKS_APART: Final = timedelta(minutes=1)
"""Time servers keep clocks within milliseconds; the way of an answer is seconds at most."""

Standing = tuple[str, str, str]
"""A status, what was found, and what to do."""


def agreed(settings: Settings, hub: Connection, now: datetime) -> Iterator[tuple[str, str, str, str]]:
    """Yield how this node's token and its clock stand with the hub, each with its name."""
    token = token_of(settings)
    try:
        answer = hub.get("/api/v1/agent", {"Authorization": f"Bearer {token}"} if token else {})
        told = standing_of_token(settings, answer)
    except HubError as error:
        yield "token", "failed", f"{settings.agent.hub}: {error}", "is the hub up, and the address right?"
        return
    except (ValueError, KeyError, TypeError):
        yield "token", "failed", f"{settings.agent.hub}: what answers is no hub", "see agent.hub"
        return
    if told is not None:
        yield "token", *told
    clock = standing_of_clock(answer.date, now)
    if clock is not None:
        yield "clock", *clock


def standing_of_clock(date: str, now: datetime) -> Standing | None:
    """Return how far this node's clock is from that of the hub, which says its own; None where it does not."""
    try:
        told = parsedate_to_datetime(date)
    except ValueError:
        return None
    apart = now - (told if told.tzinfo else told.replace(tzinfo=UTC))
    if abs(apart) <= _CLOCKS_APART:
        return "ok", "this node's clock agrees with the hub's", ""
    side = "ahead of" if apart > timedelta() else "behind"
    found = f"this node's clock is {timedelta(seconds=round(abs(apart).total_seconds()))} {side} the hub's"
    return (
        "failed",
        found,
        "set both by time servers: rows count at their own instant, and the hub refuses the future's",
    )


def standing_of_token(settings: Settings, answer: Answer) -> Standing | None:
    """Return how this node's token stands by what the hub answers to it; None where the hub does not tell.

    Raises: ValueError, KeyError, TypeError: it is no hub's answer.
    """
    own = identity_of(settings, roots(settings, None, None)[0])
    here = f"{own.node} of cluster {own.cluster}"
    if not token_of(settings):
        advice = f"`clusterledger token create {own.node} --cluster {own.cluster}` on the hub, and set it here"
        where = "a credential of systemd is not seen here: CLUSTERLEDGER_SECRETS=/etc/clusterledger/secrets shows it"
        return "missing", f"agent.token is not set for {here}", f"{advice}; {where}"
    if answer.status_code == HTTPStatus.OK:
        told = msgspec.json.decode(answer.content)
        if told["node"] == _ANY or (told["node"] == own.node and told["cluster"] in ("", own.cluster)):
            return "ok", f"the hub knows it as that of {here}", ""
        advice = ADVICE[HTTPStatus.FORBIDDEN].format(node=own.node, cluster=own.cluster)
        return "failed", f"it is that of {told['node']} of cluster {told['cluster']}, and this is {here}", advice
    if answer.status_code not in ADVICE:
        # A hub of an older release does not tell.
        return None
    advice = ADVICE[answer.status_code].format(node=own.node, cluster=own.cluster)
    return "failed", f"HTTP {answer.status_code}: {msgspec.json.decode(answer.content)['error']}", advice
