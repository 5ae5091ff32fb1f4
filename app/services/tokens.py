"""The tokens that agents present: random, shown once, stored hashed, revocable."""

import hashlib
import secrets
from typing import Annotated, Literal

import polars as pl
from pydantic import Field

from app.context import Context
from app.services._audit import audited
from app.services._service import Params, Progress, service
from ledger.errors import InputError
from ledger.frames import to_frame
from ledger.tables import AgentToken
from ledger.words import amount

_TOKEN_BYTES = 32
_CLUSTER = "default"


class Tokens(Params):
    """What to do with tokens."""

    action: Annotated[Literal["create", "revoke", "list"], Field(description="create, revoke or list")] = "list"
    node: Annotated[str, Field(max_length=253, description="Node it is for; for list, empty for all")] = ""
    cluster: Annotated[
        str, Field(max_length=253, description="Cluster that the node belongs to; to revoke, empty for all")
    ] = ""
    older: Annotated[bool, Field(description="Revoke all but the newest: after a new one has been set on the node")] = (
        False
    )


def hashed(token: str) -> str:
    """Return what is stored of a token."""
    return hashlib.sha256(token.encode()).hexdigest()


@service()
def tokens(context: Context, params: Tokens, progress: Progress) -> list[dict[str, object]]:
    """Return tokens by node, without the tokens themselves; a new one is shown this once."""
    del progress
    if params.node != params.node.strip() or params.cluster != params.cluster.strip():
        found = (
            f"tokens: found {params.node!r} of cluster {params.cluster!r}, expected names without spaces around them"
        )
        raise InputError(found, hint="a node is called as its agent says: agent.node, else its host name")
    if params.action != "list" and not params.node:
        raise InputError("tokens: found no node, expected its name", hint="`clusterledger token create NODE`")
    if params.action == "create":
        return [_created(context, params)]
    known = context.store.read(AgentToken)
    if params.node:
        known = known.filter(pl.col("node") == params.node)
    if params.action == "revoke":
        known = _revoked(context, params, known)
    columns = ("cluster", "node", "created_at", "revoked_at", pl.col("token_sha256").str.head(12))
    return known.sort("cluster", "node", "created_at").select(columns).to_dicts()


def _created(context: Context, params: Tokens) -> dict[str, object]:
    token = secrets.token_urlsafe(_TOKEN_BYTES)
    row = {
        "token_sha256": hashed(token),
        "node": params.node,
        "cluster": params.cluster or _CLUSTER,
        "created_at": context.now(),
        "revoked_at": None,
    }
    older = context.store.read(AgentToken).filter(
        pl.col("node") == params.node, pl.col("cluster") == row["cluster"], pl.col("revoked_at").is_null()
    )
    _keep(context, to_frame(AgentToken, [row]))
    audited(context, action="token created", subject=params.node)
    return {"cluster": row["cluster"], "node": params.node, "token": token, "older_count": older.height}


def _revoked(context: Context, params: Tokens, known: pl.DataFrame) -> pl.DataFrame:
    live = known.filter(
        pl.col("revoked_at").is_null(), pl.lit(not params.cluster) | (pl.col("cluster") == params.cluster)
    )
    if live.is_empty():
        where = f" in cluster {params.cluster}" if params.cluster else ""
        raise InputError(
            f"tokens: found no valid token of node {params.node}{where}", hint="`clusterledger token list`"
        )
    if params.older:
        live = live.filter(pl.col("created_at") < pl.col("created_at").max().over("cluster"))
    _keep(context, live.with_columns(revoked_at=pl.lit(context.now(), dtype=known.schema["revoked_at"])))
    audited(context, action="token revoked", subject=params.node, detail=amount(live.height, "token"))
    return context.store.read(AgentToken).filter(pl.col("node") == params.node)


def _keep(context: Context, frame: pl.DataFrame) -> None:
    context.store.append(AgentToken, frame, source=context.actor)
    context.changed({"agent_token"})
