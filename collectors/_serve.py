"""A small HTTP server for the agent's own metrics; loaded only where it is wanted."""

import threading
from collections.abc import Callable, Iterator
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

from ledger.errors import ConfigError
from ledger.exposition import CONTENT_TYPE, Family, exposition

_CALL_SECONDS: Final = 5.0
_MOST_CALLS: Final = 4


class Served:
    """A small HTTP server for one text, in threads of its own; it answers a few callers at a time, and no others."""

    def __init__(self, address: str, port: int, told: Callable[[], Iterator[Family]]) -> None:
        turns = threading.Semaphore(_MOST_CALLS)

        class Handler(BaseHTTPRequestHandler):
            timeout = _CALL_SECONDS
            server_version, sys_version = "clusterledger", ""

            def do_GET(self) -> None:  # the base class looks for this name
                """Answer with the metrics."""
                if self.path.partition("?")[0] != "/metrics":
                    self.send_error(HTTPStatus.NOT_FOUND)
                    return
                body = exposition(told()).encode()
                self.send_response(HTTPStatus.OK)
                self.send_header("Content-Type", CONTENT_TYPE)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Say nothing: a scrape is no event."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def process_request(self, request: Any, client_address: Any) -> None:
                """Take a call if few are open."""
                if not turns.acquire(blocking=False):
                    self.shutdown_request(request)
                    return
                super().process_request(request, client_address)

            def process_request_thread(self, request: Any, client_address: Any) -> None:
                """Answer, and make room."""
                try:
                    super().process_request_thread(request, client_address)
                finally:
                    turns.release()

            def handle_error(self, request: Any, client_address: Any) -> None:
                """Say nothing: the caller went away."""

        try:
            self._server = Server((address, port), Handler)
        except OSError as error:
            raise ConfigError(
                f"agent.metrics_port: {address}:{port}: {error.strerror or error}, expected an address that is free",
                hint="set agent.metrics_port and agent.metrics_address to another one",
            ) from None
        self.address = f"http://{address}:{self._server.server_port}/metrics"
        threading.Thread(target=self._server.serve_forever, name="metrics", daemon=True).start()

    def close(self) -> None:
        """End it."""
        self._server.shutdown()
        self._server.server_close()
