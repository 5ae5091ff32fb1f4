"""A node's name is one agent's: two that send under it double its rounds, and what they both saw happen."""

import errno
import hashlib
import socket


def claimed(hub: str, cluster: str, node: str) -> socket.socket | None:
    """Hold a node's name at a hub until the socket is closed, or the process ends; None where another agent has it.

    The name is one of the kernel's own, so that services with a /tmp, a user and a spool of their own meet there.
    Agents of another machine, or in a container with a network of its own, are not seen.
    """
    name = f"{hub.rstrip('/')} {cluster}/{node}".encode()
    claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        claim.bind(b"\0clusterledger " + hashlib.sha256(name).hexdigest().encode())
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            claim.close()
            return None
        # Only Linux has such names: elsewhere nobody is told.
    return claim
