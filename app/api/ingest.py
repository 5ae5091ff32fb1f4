"""Rows from agents: decoded under limits, kept once, answered after the commit."""

from http import HTTPStatus
from typing import Final

from anyio import to_thread
from starlette.requests import Request
from starlette.responses import Response

from app.api._answers import answer, refusal
from app.api._clock import not_ahead
from app.api._pace import Pace
from app.api._tokens import ANY_NODE, Caller, agent, bearer
from app.context import Context
from collectors.wire import Batch, Columns, Limits, decode
from ledger.errors import ContractError, InputError, StoreError
from ledger.frames import to_frame
from ledger.tables import TABLES

WRITABLE: Final = frozenset(
    table.name
    for table in TABLES.values()
    if table.group in {"sample", "slow_sample", "event", "holding", "inventory"} and "node" in table.schema.columns()
)
"""Tables whose rows say which node they are of: a node writes these, and only its own rows."""

# What decoding may unfold to; the number of rows is checked here, where it gets a status of its own.
_NO_ROW_LIMIT: Final = 10**9


async def ingest(context: Context, pace: Pace, request: Request) -> Response:
    """Take one batch; the same batch again is acknowledged and counts once."""
    limits = context.settings.hub
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > limits.ingest_max_bytes:
        return _too_large(int(declared), limits.ingest_max_bytes)
    caller = await to_thread.run_sync(agent, context, bearer(request))
    if caller is None:
        return refusal(401, "token: found none that is valid", hint="`clusterledger token create NODE` on the hub")
    if caller.node != ANY_NODE and (seconds := pace.wait(caller)):
        return _too_often(caller.node, limits.ingest_calls_per_minute, seconds)
    body = bytearray()
    async for block in request.stream():
        body += block
        if len(body) > limits.ingest_max_bytes:
            return _too_large(len(body), limits.ingest_max_bytes)
    return await to_thread.run_sync(_kept, context, pace, caller, bytes(body))


def _too_large(size: int, limit: int) -> Response:
    return refusal(413, f"batch: found {size} bytes, expected at most {limit}", hint="see hub.ingest_max_bytes")


def _too_often(node: str, limit: int, seconds: int) -> Response:
    return refusal(
        HTTPStatus.TOO_MANY_REQUESTS,
        f"node {node}: found more than {limit} ingest calls in a minute",
        hint=f"come again in {seconds} s; run one agent per node; see hub.ingest_calls_per_minute",
        headers={"Retry-After": str(seconds)},
    )


def _kept(context: Context, pace: Pace, caller: Caller, body: bytes) -> Response:
    """Decode, check and commit a batch."""
    limits = context.settings.hub
    try:
        batch = decode(body, Limits(body_bytes=limits.ingest_max_bytes, rows=_NO_ROW_LIMIT))
    except InputError as error:
        return refusal(400, error.message, hint=error.hint)
    # Behind a token for any node stand many: only the batch says which one called.
    if caller.node == ANY_NODE and (seconds := pace.wait(Caller(caller.cluster, batch.node))):
        return _too_often(batch.node, limits.ingest_calls_per_minute, seconds)
    refused = _refused(batch, caller, limits.ingest_max_rows)
    if refused is not None:
        return refused
    try:
        return _committed(context, batch)
    except ContractError as error:
        return refusal(422, error.message, hint=error.hint)
    except StoreError as error:
        # The rows are good: the agent keeps them and tries again.
        return refusal(503, error.message, hint=error.hint, exit_code=1)


def _refused(batch: Batch, caller: Caller, most_rows: int) -> Response | None:
    if batch.row_count > most_rows:
        message = f"batch: found {batch.row_count} rows, expected at most {most_rows}"
        return refusal(413, message, hint="see hub.ingest_max_rows")
    unknown = sorted(set(batch.tables) - WRITABLE)
    if unknown:
        message = f"batch: found table {unknown[0]}, expected one of {', '.join(sorted(WRITABLE))}"
        return refusal(422, message, hint="update the hub")
    foreign = _foreign(batch, caller)
    return refusal(403, foreign, hint="one token for each node: `clusterledger token create NODE`") if foreign else None


def _committed(context: Context, batch: Batch) -> Response:
    """Answer what was kept of a batch, after the commit."""
    frames = {TABLES[name].schema: to_frame(TABLES[name].schema, columns) for name, columns in batch.tables.items()}
    source = f"agent {batch.node}"
    kept, ahead = not_ahead(frames, context.now(), source)
    written = context.store.append_batch(kept, source=source, batch_id=batch.batch_id, node=batch.node)
    if written is None:
        return answer({"status": "known", "batch_id": batch.batch_id, "tables": {}})
    context.changed(written)
    told = {
        name: {"rows": each.rows, "duplicates": each.duplicates, "rejected": each.rejected + ahead.get(name, 0)}
        for name, each in written.items()
        if name in batch.tables
    }
    return answer({"status": "kept", "batch_id": batch.batch_id, "tables": told})


def _foreign(batch: Batch, caller: Caller) -> str:
    """Return what a batch says of another node or cluster than the token's; '' if nothing."""
    if caller.node == ANY_NODE:
        return ""
    if batch.node != caller.node:
        return f"batch: found node {batch.node}, expected {caller.node}, whose token this is"
    for table, columns in batch.tables.items():
        for column, own in (("node", caller.node), ("cluster", caller.cluster)):
            other = _other(columns, column, own)
            if other and own:
                return f"{table}: found {column} {other}, expected {own}, whose token this is"
    return ""


def _other(columns: Columns, column: str, own: str) -> str:
    return next((str(value) for value in columns.get(column, []) if value != own), "")
