"""What stands before every page, socket and API call: host names, origins and headers.

The script of a page gates nothing: whatever reaches the socket may send it anything.
"""

import base64
import hashlib
import ipaddress
import re
import socket
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from urllib.parse import urlsplit

import streamlit
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api._answers import refusal
from ledger.sections import HubSettings

_POLICY_VIOLATION = 1008


def host_names(settings: HubSettings) -> frozenset[str]:
    """Return the names under which the hub may be called: its own, and those that are configured.

    Addresses always may: only a name can be pointed at us by somebody else's name server.
    """
    own = socket.gethostname()
    configured = urlsplit(settings.url).hostname if settings.url else None
    names = {"localhost", own, own.partition(".")[0], configured or "localhost", settings.host, *settings.allowed_hosts}
    return frozenset(name.lower() for name in names)


class Guard:
    """ASGI middleware that refuses foreign hosts and origins, and sets security headers on answers."""

    def __init__(self, app: ASGIApp, names: Iterable[str]) -> None:
        self._app = app
        self._names = frozenset(names)
        self._headers = [(name.encode(), value.encode()) for name, value in headers().items()]
        self._own = frozenset(name for name, _ in self._headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a call on, or refuse it."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        problem = self._problem(Headers(scope=scope), scope)
        if problem and scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": _POLICY_VIOLATION, "reason": problem})
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = (each for each in message.get("headers", ()) if each[0].lower() not in self._own)
                message["headers"] = [*given, *self._headers]
            await send(message)

        if problem:
            hint = "add it to hub.allowed_hosts if it is yours"
            await refusal(403, problem, hint=hint)(scope, receive, with_headers)
            return
        await self._app(scope, receive, with_headers)

    def _problem(self, given: Headers, scope: Scope) -> str:
        host = given.get("host", "")
        name = _name(host)
        if not (name in self._names or _is_address(name)):
            return f"host: found {name!r}, expected a name of this hub"
        origin = given.get("origin")
        reads_only = scope["type"] == "http" and scope["method"] in {"GET", "HEAD", "OPTIONS"}
        if origin is None or reads_only or urlsplit(origin).netloc.lower() == host.lower():
            return ""
        return f"origin: found {origin!r}, expected a page of this hub"


def headers() -> dict[str, str]:
    """Return the headers of every answer: nothing from elsewhere is loaded, and nobody frames a page."""
    return {
        "content-security-policy": "; ".join(f"{name} {sources}" for name, sources in _policy().items()),
        "x-frame-options": "DENY",
        "x-content-type-options": "nosniff",
        "referrer-policy": "same-origin",
        "permissions-policy": "camera=(), microphone=(), geolocation=()",
        "cross-origin-opener-policy": "same-origin",
    }


def _policy() -> dict[str, str]:
    # Streamlit styles elements in place, and reads frames with WebAssembly; Plotly draws maps in workers.
    return {
        "default-src": "'self'",
        "script-src": f"'self' 'wasm-unsafe-eval' blob: {' '.join(_inline_scripts())}".strip(),
        "style-src": "'self' 'unsafe-inline'",
        "img-src": "'self' data: blob:",
        "font-src": "'self' data:",
        "connect-src": "'self' data: blob:",
        "worker-src": "'self' blob:",
        "media-src": "'self' blob:",
        "object-src": "'none'",
        "base-uri": "'self'",
        "form-action": "'self'",
        "frame-ancestors": "'none'",
    }


def _inline_scripts() -> list[str]:
    """Return the hashes of the scripts that stand in Streamlit's own page."""
    page = Path(streamlit.__file__).parent / "static" / "index.html"
    found = re.findall(r"<script>(.*?)</script>", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    return [f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" for text in found]


@lru_cache(maxsize=64)
def _name(host: str) -> str:
    return (urlsplit(f"//{host}").hostname or "").lower()


@lru_cache(maxsize=64)
def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
