"""The way of agents into a hub: their calls come by hundreds a second, and pass by all that pages need.

What stands before a page compresses, keeps sessions and looks for files; that costs more than reading a batch.
"""

from collections.abc import Awaitable, Callable, Iterable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from app.guard import Guard


class Ahead:
    """An application before which one of its routes is answered, behind a guard of its own."""

    def __init__(self, app: ASGIApp, route: Route, names: Iterable[str]) -> None:
        self._app = app
        self._path = route.path
        self._methods = frozenset(route.methods or ())
        self._ahead = Guard(_direct(route.endpoint), names)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a call of the route here, and pass any other on."""
        is_ahead = scope["type"] == "http" and scope["path"] == self._path and scope["method"] in self._methods
        await (self._ahead if is_ahead else self._app)(scope, receive, send)


def _direct(endpoint: Callable[[Request], Awaitable[Response]]) -> ASGIApp:
    """Return what answers by a function alone: what a route adds are answers to errors that ours raises none of."""

    async def answered(scope: Scope, receive: Receive, send: Send) -> None:
        response = await endpoint(Request(scope, receive, send))
        await response(scope, receive, send)

    return answered
