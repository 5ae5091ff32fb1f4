"""Who may call what."""

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import polars as pl
from starlette.requests import Request

from app.cache import Cache
from app.context import Context
from ledger.tables import AgentToken

ANY_NODE = "*"
"""The node of a token that may write for any node, as the demo's."""


@dataclass(frozen=True)
class Caller:
    """An agent: the node that it may write for."""

    cluster: str
    node: str


def bearer(request: Request) -> str:
    """Return the token that a request presents; '' if none."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def is_admin(context: Context, hub_token: str, token: str) -> bool:
    """Tell whether a token is the hub's own, from the file beside the store, or the configured one."""
    configured = context.settings.hub.admin_token
    return is_one_of(token, (hub_token, configured.get_secret_value() if configured else ""))


def is_one_of(token: str, known: Sequence[str]) -> bool:
    """Tell whether a token is one of those that are known, in a time that tells nothing; '' is none."""
    return any(secrets.compare_digest(token.encode(), each.encode()) for each in known if each)


def agent(context: Context, token: str) -> Caller | None:
    """Return whose valid token this is; None if nobody's.

    The token is random, so that looking its hash up tells nothing by the time it takes.
    """
    known = _KNOWN.get(context.version(["agent_token"]), lambda: _valid(context))
    return known.get(hashlib.sha256(token.encode()).hexdigest())


def known(context: Context, token: str) -> Caller | None:
    """Return whose valid token this is, if that needs no look into the store."""
    found = _KNOWN.peek(context.version(["agent_token"]))
    return None if found is None else found.get(hashlib.sha256(token.encode()).hexdigest())


def node_count(context: Context) -> int:
    """Return how many nodes have a valid token of their own."""
    callers = _KNOWN.get(context.version(["agent_token"]), lambda: _valid(context)).values()
    return len({caller for caller in callers if caller.node != ANY_NODE})


_KNOWN: Final[Cache] = Cache(1_048_576)


def _valid(context: Context) -> dict[str, Caller]:
    frame = context.store.read(AgentToken).filter(pl.col("revoked_at").is_null())
    return {row["token_sha256"]: Caller(row["cluster"] or "", row["node"]) for row in frame.iter_rows(named=True)}
