"""Rows from agents: read under limits, kept once, answered after the commit."""

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from app.api._answers import nobody_listens
from app.api._batch import WRITABLE, too_large, too_often
from app.api._intake import Intake
from app.api._pace import Pace
from app.api._tally import Tally
from app.api._tokens import ANY_NODE
from app.api.agent import caller_or_refusal
from app.context import Context


async def ingest(context: Context, pace: Pace, intake: Intake, tally: Tally, request: Request) -> Response:
    """Take one batch; the same batch again is acknowledged and counts once."""
    found: Response | None = None
    try:
        found = await _answered(context, pace, intake, request)
    except ClientDisconnect:
        return nobody_listens()
    else:
        return found
    finally:
        tally.count(found)


async def _answered(context: Context, pace: Pace, intake: Intake, request: Request) -> Response:
    limits = context.settings.hub
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > limits.ingest_max_bytes:
        return too_large(int(declared), limits.ingest_max_bytes)
    caller = await caller_or_refusal(context, request)
    if isinstance(caller, Response):
        return caller
    if caller.node != ANY_NODE and (seconds := pace.wait(caller)):
        return too_often(caller.node, limits.ingest_calls_per_minute, seconds)
    body = bytearray()
    async for block in request.stream():
        body += block
        if len(body) > limits.ingest_max_bytes:
            return too_large(len(body), limits.ingest_max_bytes)
    return await intake.answer(caller, bytes(body))


__all__ = ["WRITABLE", "ingest"]
