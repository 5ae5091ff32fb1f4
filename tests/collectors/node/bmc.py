"""A management controller on loopback that speaks HTTPS with a certificate of its own."""

import base64
import json
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

USER, PASSWORD = "reader", "correct horse"


def certificate(folder: Path, name: str) -> tuple[Path, Path]:
    """Return a certificate for loopback that vouches for itself, and its key."""
    paths = folder / f"{name}.pem", folder / f"{name}.key"
    kind = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    names = ["-subj", "/CN=bmc", "-addext", "subjectAltName=IP:127.0.0.1"]
    files = ["-out", str(paths[0]), "-keyout", str(paths[1])]
    subprocess.run(["openssl", "req", *kind, *names, *files], check=True, capture_output=True)
    return paths


@dataclass
class Controller:
    """What it answers by path: a document, bytes, or the status of a failure; a test changes it."""

    resources: dict[str, Any] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    drip_seconds: float = 0.0
    url: str = ""
    keeps_open: bool = False
    connection_count: int = 0

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        """Answer one request."""
        self.asked.append(handler.path)
        expected = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        found = self.resources.get(handler.path)
        if handler.headers.get("Authorization") != f"Basic {expected}":
            status, body = 401, b"{}"
        elif found is None:
            status, body = 404, b"{}"
        elif isinstance(found, int):
            status, body = found, b"{}"
        else:
            status, body = 200, found if isinstance(found, bytes) else json.dumps(found).encode()
        handler.send_response(status)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        for place in range(0, len(body), 16 if self.drip_seconds else len(body) or 1):
            handler.wfile.write(body[place : place + (16 if self.drip_seconds else len(body))])
            handler.wfile.flush()
            time.sleep(self.drip_seconds)


@contextmanager
def serving(controller: Controller, pem: Path, key: Path) -> Iterator[Controller]:
    """Serve a controller on a free port while the block runs."""

    class Handler(BaseHTTPRequestHandler):
        def setup(self) -> None:
            super().setup()
            self.protocol_version = "HTTP/1.1" if controller.keeps_open else "HTTP/1.0"
            controller.connection_count += 1

        def finish(self) -> None:
            controller.connection_count -= 1
            super().finish()

        def do_GET(self) -> None:
            try:
                controller.answer(self)
            except OSError:
                self.close_connection = True

        def log_message(self, *_: object) -> None:
            """Keep the test's output clean."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem, key)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    controller.url = f"https://127.0.0.1:{server.server_port}"
    try:
        yield controller
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def collection(path: str, *names: str) -> dict[str, Any]:
    """Return a collection with its members."""
    return {path: {"Members": [{"@odata.id": f"{path}/{name}"} for name in names]}}


def linked(path: str) -> Mapping[str, str]:
    """Return a link."""
    return {"@odata.id": path}
