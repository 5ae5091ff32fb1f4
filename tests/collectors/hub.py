"""A hub on loopback that does what a test tells it to, and what agents in tests read."""

import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from collectors.wire import Batch, decode

FIXTURES = Path(__file__).parents[1] / "fixtures" / "node"


def acknowledged(batch_id: str, tables: Mapping[str, object] | None = None) -> bytes:
    """Return what a hub answers that has a batch."""
    return json.dumps({"status": "kept", "batch_id": batch_id, "tables": tables or {}}).encode()


@dataclass
class Hub:
    """A hub that keeps each batch once, or answers what a test tells it to."""

    port: int = 0
    status: int = 200
    refuses: str = ""
    lose_answer: bool = False
    answer: bytes = b'{"error": "because"}'
    told: dict[str, dict[str, int]] = field(default_factory=dict)
    received: list[str] = field(default_factory=list)
    tokens: set[str] = field(default_factory=set)
    batches: dict[str, Batch] = field(default_factory=dict)
    server: ThreadingHTTPServer | None = None

    def start(self) -> None:
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                batch = decode(self.rfile.read(int(self.headers["Content-Length"])))
                hub.tokens.add(self.headers.get("Authorization", ""))
                assert self.path == "/api/v1/ingest"
                hub.received.append(batch.batch_id)
                status = 422 if hub.refuses in batch.tables else hub.status
                if status == 200:
                    hub.batches.setdefault(batch.batch_id, batch)
                if hub.lose_answer:
                    hub.lose_answer = False
                    self.close_connection = True
                    return
                self.send_response(status)
                self.end_headers()
                self.wfile.write(acknowledged(batch.batch_id, hub.told) if status == 200 else hub.answer)

            def log_message(self, *_: object) -> None:
                """Keep the test's output clean."""

        self.server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self.port = self.server.server_port
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        if self.server is not None:
            self.server.shutdown()
            self.server.server_close()
            self.server = None

    def rows(self, table: str) -> list[dict[str, Any]]:
        found = []
        for batch in list(self.batches.values()):
            columns = batch.tables.get(table, {})
            found += [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
        return found


def soon(is_true: Callable[[], object], seconds: float = 60.0) -> None:
    """Wait until something holds, and fail if it does not."""
    until = time.monotonic() + seconds
    while not is_true():
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(0.02)
