"""What stands before the pages where people must log in: no page, socket or file without a person who has a role.

The API has tokens of its own.
"""

import html
from collections.abc import Callable
from datetime import datetime
from http import HTTPStatus
from typing import Final
from urllib.parse import urlsplit

from starlette.requests import HTTPConnection
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from app import login
from app.api._answers import refusal
from app.login import CALLBACK
from ledger.sections import AuthSettings

_OPEN: Final = ("/api/", "/auth/login", "/auth/logout", CALLBACK, "/_stcore/health", "/metrics")
"""Paths that work without a login: those with tokens of their own, those by which one logs in, and the heartbeat."""

_POLICY_VIOLATION: Final = 1008

_WANTED: Final = "clusterledger_wanted"
"""The cookie that keeps the address which somebody wanted, while they log in."""

_WANTED_SECONDS: Final = 600


class Gate:
    """ASGI middleware that sends strangers to log in, and turns away those whom nothing gives a role."""

    def __init__(
        self, app: ASGIApp, auth: AuthSettings, cookie_secret: str, origin: str, now: Callable[[], datetime]
    ) -> None:
        self._app = app
        self._auth = auth
        self._secret = cookie_secret
        self._origin = origin
        self._now = now

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a call on, or answer it here."""
        if scope["type"] not in {"http", "websocket"} or _is_open(scope["path"]):
            await self._app(scope, receive, send)
            return
        call = HTTPConnection(scope)
        claims = login.claims_of(call, self._secret, self._origin)
        is_in = login.is_current(self._auth, claims, self._now())
        if is_in and login.scope_of(self._auth, claims) is not None:
            await (_back(call) or self._app)(scope, receive, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": _POLICY_VIOLATION, "reason": "log in first"})
        elif is_in:
            await _without_role(login.person(claims))(scope, receive, send)
        else:
            await self._stranger(call)(scope, receive, send)

    def _stranger(self, call: HTTPConnection) -> Response:
        """Answer a call without a login: who asks for a page is sent to log in and comes back to it."""
        if call.scope["method"] != "GET" or "text/html" not in call.headers.get("accept", ""):
            return refusal(HTTPStatus.UNAUTHORIZED, "login: found none", hint=f"open {self._origin} and log in")
        if self._is_elsewhere(call):
            # The provider sends people back to one address only: a login begun at another would never end.
            return RedirectResponse(f"{self._origin}{_path(call)}", status_code=HTTPStatus.FOUND)
        response = RedirectResponse(login.login_path(), status_code=HTTPStatus.FOUND)
        if _path(call) != "/":
            is_safe = self._origin.startswith("https:")
            response.set_cookie(
                _WANTED, _path(call), max_age=_WANTED_SECONDS, httponly=True, samesite="lax", secure=is_safe
            )
        return response

    def _is_elsewhere(self, call: HTTPConnection) -> bool:
        """Tell whether somebody came by another name of the hub; what a proxy made of the name is not theirs."""
        is_direct = not any(name.startswith("x-forwarded-") for name in call.headers)
        return is_direct and call.url.netloc != urlsplit(self._origin).netloc


def _is_open(path: str) -> bool:
    return any(path == each or (each.endswith("/") and path.startswith(each)) for each in _OPEN)


def _path(call: HTTPConnection) -> str:
    return f"{call.url.path}?{call.url.query}" if call.url.query else call.url.path


def _back(call: HTTPConnection) -> Response | None:
    """Return the way to what somebody wanted before they logged in, once; None where there is nothing like that."""
    wanted = call.cookies.get(_WANTED, "")
    # A path of ours: `//` would lead to another host.
    is_ours = wanted.startswith("/") and not wanted.startswith(("//", "/\\")) and wanted.isprintable()
    if call.scope["type"] != "http" or call.url.path != "/" or not is_ours:
        return None
    response = RedirectResponse(wanted, status_code=HTTPStatus.FOUND)
    response.delete_cookie(_WANTED)
    return response


def _without_role(person: str) -> Response:
    text = (
        f"<!doctype html><title>clusterledger</title><p>You are logged in as {html.escape(person) or 'nobody'}, and "
        "nothing gives you a role here. Ask an admin of the hub: see auth.role_claim, auth.admins, auth.managers, "
        'auth.sres and auth.team_claim.</p><p><a href="/auth/logout">Log out</a></p>'
    )
    return HTMLResponse(text, status_code=HTTPStatus.FORBIDDEN)
