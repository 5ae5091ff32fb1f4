"""Whose rows a token may write: what an agent may ask before it sends any."""

from anyio import to_thread
from starlette.requests import Request
from starlette.responses import Response

from app.api._answers import answer, refusal
from app.api._tokens import Caller, bearer, known
from app.api._tokens import agent as caller_of
from app.context import Context
from app.shown import was_shown
from collectors._answers import CERTIFICATE_REQUIRED


async def agent(context: Context, request: Request) -> Response:
    """Answer with the node and the cluster of the caller's token; '*' stands for any node."""
    caller = await caller_or_refusal(context, request)
    return caller if isinstance(caller, Response) else answer({"cluster": caller.cluster, "node": caller.node})


async def caller_or_refusal(context: Context, request: Request) -> Caller | Response:
    """Return whose token a request presents, or the answer to one that may write nothing."""
    if context.settings.hub.client_ca is not None and not was_shown(request.scope):
        hint = "set agent.tls_certificate and agent.tls_key to one that hub.client_ca has signed"
        return refusal(CERTIFICATE_REQUIRED, "TLS: found no certificate of this node, expected one", hint=hint)
    token = bearer(request)
    found = known(context, token) or await to_thread.run_sync(caller_of, context, token)
    if found is None:
        return refusal(401, "token: found none that is valid", hint="`clusterledger token create NODE` on the hub")
    return found
