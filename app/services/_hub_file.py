"""The file beside a store that says which hub holds it: readable by its owner only."""

import json
import os
import socket
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import urlsplit

_PREFIX = "duckdb:"
_SECONDS = 2.0


@dataclass(frozen=True)
class HubFile:
    """Where a hub answers, which process it is, the token for its services, and the certificate that it serves."""

    url: str
    pid: int
    token: str
    certificate: str = ""


def hub_file(store_url: str) -> Path | None:
    """Return where the hub of a store leaves its file; None for a store that is no local file."""
    name = store_url.removeprefix(_PREFIX)
    if not store_url.startswith(_PREFIX) or name == ":memory:":
        return None
    path = Path(name).absolute()
    return path.with_name(f"{path.name}.hub.json")


def leave(store_url: str, hub: HubFile) -> Path | None:
    """Write the file, whole or not at all, so that a reader never sees half of it."""
    path = hub_file(store_url)
    if path is None:
        return None
    draft = path.with_name(f"{path.name}.{hub.pid}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(asdict(hub), file)
    draft.replace(path)
    return path


def found(store_url: str) -> HubFile | None:
    """Return the hub that holds a store and answers, or None."""
    path = hub_file(store_url)
    if path is None:
        return None
    try:
        hub = HubFile(**json.loads(path.read_text(encoding="utf-8")))
        os.kill(hub.pid, 0)
        address = urlsplit(hub.url)
        socket.create_connection((address.hostname or "", address.port or 0), timeout=_SECONDS).close()
    except (OSError, ValueError, TypeError):
        # A hub that was killed leaves its file behind, and its process id may be somebody else's by now.
        # Where there is a hub after all (another user's), opening the store says who holds it.
        return None
    return hub
