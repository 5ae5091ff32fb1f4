"""The way of agents into a hub: their calls come by hundreds a second, and pass by all that pages need.

What stands before a page compresses, keeps sessions and looks for files; that costs more than reading a batch.
"""

from collections.abc import Iterable

from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from app.guard import Guard


class Ahead:
    """An application before which one of its routes is answered, behind a guard of its own."""

    def __init__(self, app: ASGIApp, route: Route, names: Iterable[str]) -> None:
        self._app = app
        self._path = route.path
        self._methods = frozenset(route.methods or ())
        self._ahead = Guard(route.app, names)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a call of the route here, and pass any other on."""
        is_ahead = scope["type"] == "http" and scope["path"] == self._path and scope["method"] in self._methods
        await (self._ahead if is_ahead else self._app)(scope, receive, send)
