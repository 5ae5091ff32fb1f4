"""Rows from agents: read under limits, kept once, answered after the commit."""

from anyio import to_thread
from starlette.requests import Request
from starlette.responses import Response

from app.api._answers import refusal
from app.api._batch import WRITABLE, too_large, too_often
from app.api._intake import Intake
from app.api._pace import Pace
from app.api._tokens import ANY_NODE, agent, bearer, known
from app.context import Context
from app.shown import was_shown
from collectors._answers import CERTIFICATE_REQUIRED


async def ingest(context: Context, pace: Pace, intake: Intake, request: Request) -> Response:
    """Take one batch; the same batch again is acknowledged and counts once."""
    limits = context.settings.hub
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > limits.ingest_max_bytes:
        return too_large(int(declared), limits.ingest_max_bytes)
    if limits.client_ca is not None and not was_shown(request.scope):
        hint = "set agent.tls_certificate and agent.tls_key to one that hub.client_ca has signed"
        return refusal(CERTIFICATE_REQUIRED, "TLS: found no certificate of this node, expected one", hint=hint)
    token = bearer(request)
    caller = known(context, token) or await to_thread.run_sync(agent, context, token)
    if caller is None:
        return refusal(401, "token: found none that is valid", hint="`clusterledger token create NODE` on the hub")
    if caller.node != ANY_NODE and (seconds := pace.wait(caller)):
        return too_often(caller.node, limits.ingest_calls_per_minute, seconds)
    body = bytearray()
    async for block in request.stream():
        body += block
        if len(body) > limits.ingest_max_bytes:
            return too_large(len(body), limits.ingest_max_bytes)
    return await intake.answer(caller, bytes(body))


__all__ = ["WRITABLE", "ingest"]
