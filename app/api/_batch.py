"""What a batch must be before anything of it is stored: whole, of this version, and of the node whose token it is."""

from http import HTTPStatus
from typing import Final

from starlette.responses import Response

from app.api._answers import refusal
from app.api._pace import Pace
from app.api._tokens import ANY_NODE, Caller
from collectors.wire import Batch, Limits, VersionError, decode
from ledger.errors import InputError
from ledger.sections import HubSettings
from ledger.tables import TABLES
from ledger.words import amount

WRITABLE: Final = frozenset(
    table.name
    for table in TABLES.values()
    if table.group in {"sample", "slow_sample", "event", "holding", "inventory"} and "node" in table.schema.columns()
)
"""Tables whose rows say which node they are of: a node writes these, and only its own rows."""

# What decoding may unfold to; the number of rows is checked here, where it gets a status of its own.
NO_ROW_LIMIT: Final = 10**9


def too_large(size: int, limit: int) -> Response:
    """Return the answer to a body that is too large."""
    return refusal(413, f"batch: found {size} bytes, expected at most {limit}", hint="see hub.ingest_max_bytes")


def too_often(node: str, limit: int, seconds: int) -> Response:
    """Return the answer to a node that calls too often."""
    return refusal(
        HTTPStatus.TOO_MANY_REQUESTS,
        f"node {node}: found more than {limit} ingest calls in a minute",
        hint=f"come again in {seconds} s; run one agent per node; see hub.ingest_calls_per_minute",
        headers={"Retry-After": str(seconds)},
    )


def accepted(body: bytes, caller: Caller, pace: Pace, limits: HubSettings) -> Batch | Response:
    """Return the batch of a body, or the answer to a body that is none for this hub."""
    try:
        batch = decode(body, Limits(body_bytes=limits.ingest_max_bytes, rows=NO_ROW_LIMIT))
    except VersionError as error:
        # The rows may be good: the agent keeps them until both speak the same.
        return refusal(HTTPStatus.UPGRADE_REQUIRED, error.message, hint=error.hint)
    except InputError as error:
        return refusal(400, error.message, hint=error.hint)
    # Behind a token for any node stand many: only the batch says which one called.
    if caller.node == ANY_NODE and (seconds := pace.wait(Caller(caller.cluster, batch.node))):
        return too_often(batch.node, limits.ingest_calls_per_minute, seconds)
    return refused(batch, caller, limits.ingest_max_rows) or batch


def refused(batch: Batch, caller: Caller, most_rows: int) -> Response | None:
    """Return the answer to a batch that its caller may not send; None to one that it may."""
    if batch.row_count > most_rows:
        message = f"batch: found {amount(batch.row_count, 'row')}, expected at most {most_rows}"
        return refusal(413, message, hint="see hub.ingest_max_rows")
    unknown = sorted(set(batch.tables) - WRITABLE)
    if unknown:
        message = f"batch: found table {unknown[0]}, expected one of {', '.join(sorted(WRITABLE))}"
        return refusal(422, message, hint="update the hub")
    foreign = _foreign(batch, caller)
    return refusal(403, foreign, hint="one token for each node: `clusterledger token create NODE`") if foreign else None


def _foreign(batch: Batch, caller: Caller) -> str:
    """Return what a batch says of another node or cluster than the token's; '' if nothing."""
    if caller.node == ANY_NODE:
        return ""
    if batch.node != caller.node:
        return f"batch: found node {batch.node}, expected {caller.node}, whose token this is"
    for table, columns in batch.tables.items():
        for column, own in (("node", caller.node), ("cluster", caller.cluster)):
            values = columns.get(column, [])
            if own and values.count(own) != len(values):
                other = next(value for value in values if value != own)
                return f"{table}: found {column} {other}, expected {own}, whose token this is"
    return ""
