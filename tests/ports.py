"""Ports of loopback for programs that tests start, which take them a moment later."""

import contextlib
import secrets
import socket
from typing import Final

_PORTS: Final = range(20_000, 32_000)
"""Below those that the kernel gives away by itself: nobody else gets one in the meantime."""


def free_ports(count: int) -> list[int]:
    """Return ports that nobody has now."""
    with contextlib.ExitStack() as stack:
        found: list[int] = []
        while len(found) < count:
            each = stack.enter_context(socket.socket())
            with contextlib.suppress(OSError):
                port = _PORTS[secrets.randbelow(len(_PORTS))]
                each.bind(("127.0.0.1", port))
                found.append(port)
        return found


def free_port() -> int:
    """Return one."""
    return free_ports(1)[0]
