"""A way between agents and a hub that can be cut: refused, reset in the middle, stalled, or open."""

import contextlib
import random
import socket
import struct
import threading
import time
from dataclasses import dataclass, field
from typing import Final, Literal

Way = Literal["open", "refused", "cut", "answer lost", "stalled"]
"""refused: connections end at once. cut: after some bytes of the question. answer lost: the hub got the question and
answered, nobody hears it. stalled: nothing moves until the way is another."""

_BLOCK: Final = 4096
_LOOK_SECONDS: Final = 0.05


@dataclass
class Proxy:
    """Forwards connections to a hub on loopback as long as the way is open."""

    hub_port: int
    chance: random.Random
    way: Way = "open"
    harmed: int = 0
    lost: int = 0
    """Answers that the hub gave and nobody heard, among what was harmed."""
    _listener: socket.socket = field(default_factory=lambda: socket.create_server(("127.0.0.1", 0), backlog=64))
    _is_closed: bool = False

    def __post_init__(self) -> None:
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def port(self) -> int:
        """Return where agents connect."""
        return int(self._listener.getsockname()[1])

    def close(self) -> None:
        """Take no more connections."""
        self._is_closed = True
        self._listener.close()

    def _accept(self) -> None:
        while not self._is_closed:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        if self.way == "refused":
            self._reset(client)
            return
        try:
            hub = socket.create_connection(("127.0.0.1", self.hub_port), timeout=5)
        except OSError:
            _end(client)
            return
        hub.settimeout(None)
        both = (client, hub)
        threading.Thread(target=self._forward, args=(client, hub, both, "cut"), daemon=True).start()
        self._forward(hub, client, both, "answer lost")

    def _forward(
        self, source: socket.socket, target: socket.socket, both: tuple[socket.socket, ...], harm: Way
    ) -> None:
        try:
            while block := source.recv(_BLOCK):
                self.harmed += self.way == "stalled"
                while self.way == "stalled" and not self._is_closed:
                    time.sleep(_LOOK_SECONDS)
                if self.way == harm:
                    self.lost += harm == "answer lost"
                    target.sendall(block[: self.chance.randrange(len(block))] if harm == "cut" else b"")
                    for each in both:
                        self._reset(each)
                    return
                target.sendall(block)
        except OSError:
            pass
        for each in both:
            _end(each)

    def _reset(self, connection: socket.socket) -> None:
        """End a connection as a cut cable's gateway does."""
        self.harmed += 1
        try:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        except OSError:
            return
        _end(connection)


def _end(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()
