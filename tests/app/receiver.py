"""Somebody who is told of idle incidents: keeps what was posted, but fails, or refuses, as a test says."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Receiver:
    """A receiver on loopback."""

    url: str = ""
    failures: int = 0
    status: int = 503
    refuses: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    calls: int = 0
    bodies: list[bytes] = field(default_factory=list)
    seen: list[dict[str, str]] = field(default_factory=list)

    def documents(self) -> list[Any]:
        return [json.loads(body) for body in self.bodies]

    def events(self) -> list[tuple[str, str]]:
        """Return what happened to which device, in order, of webhooks."""
        return [(each["event"], each["gpu_uuid"]) for document in self.documents() for each in document["events"]]


@contextmanager
def receiving(port: int = 0) -> Iterator[Receiver]:
    """Run a receiver."""
    kept = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            kept.calls += 1
            is_refused = bool(kept.refuses) and kept.refuses in body
            if is_refused or kept.failures > 0:
                kept.failures -= not is_refused
                self.send_response(kept.status)
                for name, value in kept.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(b"not now")
                return
            kept.bodies.append(body)
            kept.seen.append(dict(self.headers.items()))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Keep the test's output clean."""

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    kept.url = f"http://127.0.0.1:{server.server_port}/hook"
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield kept
    finally:
        server.shutdown()
        server.server_close()
