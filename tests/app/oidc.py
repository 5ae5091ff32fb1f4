"""A small OpenID Connect provider on loopback: it knows people by their claims, and whoever comes is the chosen one."""

import base64
import hashlib
import json
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import RSAKey

CLIENT = "clusterledger"
SECRET = "what-the-provider-gave"


@dataclass
class Provider:
    """The provider: `claims` are those of the person who comes next, `age_seconds` how long ago it vouched for them."""

    claims: dict[str, Any] = field(default_factory=dict)
    age_seconds: int = 0
    url: str = ""
    ended: int = 0
    key: RSAKey = field(default_factory=lambda: RSAKey.generate_key(2048, {"kid": "k", "use": "sig"}))
    codes: dict[str, dict[str, str]] = field(default_factory=dict)

    def metadata(self) -> dict[str, Any]:
        return {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
            "jwks_uri": f"{self.url}/jwks",
            "end_session_endpoint": f"{self.url}/logout",
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "code_challenge_methods_supported": ["S256"],
        }

    def authorized(self, asked: dict[str, str]) -> str:
        """Return where a person goes back to, with a code."""
        assert (asked["response_type"], asked["client_id"]) == ("code", CLIENT)
        assert "openid" in asked["scope"].split()
        assert asked["code_challenge_method"] == "S256"
        code = secrets.token_urlsafe(8)
        self.codes[code] = asked
        return f"{asked['redirect_uri']}?{urlencode({'code': code, 'state': asked['state']})}"

    def tokens(self, form: dict[str, str], authorization: str) -> dict[str, Any]:
        """Return the tokens of a code, once, to whom it was given."""
        given = base64.b64decode(authorization.removeprefix("Basic ")).decode()
        assert given == f"{CLIENT}:{SECRET}"
        asked = self.codes.pop(form["code"])
        assert form["redirect_uri"] == asked["redirect_uri"]
        digest = hashlib.sha256(form["code_verifier"].encode()).digest()
        assert base64.urlsafe_b64encode(digest).rstrip(b"=").decode() == asked["code_challenge"]
        now = int(time.time()) - self.age_seconds
        claims = {
            "iss": self.url,
            "aud": CLIENT,
            "iat": now,
            "exp": now + 86_400,
            "nonce": asked["nonce"],
            **self.claims,
        }
        return {
            "access_token": secrets.token_urlsafe(8),
            "token_type": "Bearer",
            "expires_in": 3600,
            "id_token": jwt.encode({"alg": "RS256", "kid": "k"}, claims, self.key),
        }

    def handler(self) -> type[BaseHTTPRequestHandler]:
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                address = urlsplit(self.path)
                asked = {name: values[0] for name, values in parse_qs(address.query).items()}
                if address.path == "/.well-known/openid-configuration":
                    self.said(provider.metadata())
                elif address.path == "/jwks":
                    self.said({"keys": [provider.key.as_dict(private=False)]})
                elif address.path == "/authorize":
                    self.sent(provider.authorized(asked))
                else:
                    provider.ended += 1
                    self.sent(asked["post_logout_redirect_uri"])

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                form = {name: values[0] for name, values in parse_qs(body).items()}
                self.said(provider.tokens(form, self.headers["Authorization"]))

            def said(self, document: dict[str, Any]) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.end_headers()
                self.wfile.write(json.dumps(document).encode())

            def sent(self, address: str) -> None:
                self.send_response(302)
                self.send_header("Location", address)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Keep the test's output clean."""

        return Handler


@contextmanager
def provider() -> Iterator[Provider]:
    """Run a provider on a free port of loopback."""
    made = Provider()
    server = ThreadingHTTPServer(("127.0.0.1", 0), made.handler())
    made.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield made
    server.shutdown()
    server.server_close()
