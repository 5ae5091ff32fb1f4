"""Whose certificate a caller has shown to the hub; apart from `app.tls`, which a node without a hub uses too."""

import asyncio

from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.auto import AutoHTTPProtocol


class _Noting(asyncio.Protocol):
    """A connection that tells what it serves whose certificate was shown, as ASGI's extension for TLS has it."""

    app: ASGIApp

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Note the certificate: by now the handshake is over, and what was shown is verified."""
        super().connection_made(transport)
        secured = transport.get_extra_info("ssl_object")
        shown = secured.getpeercert() if secured is not None else None
        if not shown:
            return
        inner, name = self.app, ",".join(f"{part}={value}" for ((part, value), *_) in shown.get("subject", ()))

        async def noted(scope: Scope, receive: Receive, send: Send) -> None:
            scope.setdefault("extensions", {})["tls"] = {"client_cert_name": name}
            await inner(scope, receive, send)

        self.app = noted


NotingProtocol: type[asyncio.Protocol] = type("NotingProtocol", (_Noting, AutoHTTPProtocol), {})
"""Uvicorn's protocol that does so."""


def was_shown(scope: Scope) -> bool:
    """Tell whether the caller has shown a certificate of an authority that is believed."""
    return "tls" in scope.get("extensions", {})
