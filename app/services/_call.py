"""Running a service where the store is: here, or in the hub that holds it."""

import json
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx2

from app.context import Context
from app.services._hub_file import HubFile, found
from app.services._pack import MEDIA_TYPE, chunks, pack, unpack
from app.services._plain import dumps, plain
from app.services._service import Params, Progress, Service, silent
from app.tls import pinned
from ledger.config import Settings
from ledger.errors import ClusterLedgerError, ConfigError, InputError, StoreError

# A rollup of a year or a restore takes as long as it takes; connecting does not.
_TIMEOUT = httpx2.Timeout(None, connect=5.0)
# A manifest names files that lie beside it: they travel together.
_MANIFEST = "manifest.json"

_SPOOL_BYTES = 16 * 1_048_576


def call(service: Service, params: Params, settings: Settings, progress: Progress = silent) -> Any:
    """Return a service's result as plain values, the same from a hub and from here."""
    hub = None if service.local else found(settings.store.url)
    if hub is not None:
        return ask(hub, service, params)
    context = Context(settings)
    try:
        return plain(service.run(context, params, progress))
    finally:
        context.close()


def ask(hub: HubFile, service: Service, params: Params) -> Any:
    """Ask a hub for a service, sending the caller's files and writing what comes back.

    Raises: the error that the hub met; StoreError: it does not answer.
    """
    values = params.model_dump(mode="json")
    sent, received = _files(service, values), Path(str(values.get(service.writes) or ".")).absolute()
    if values.get(service.writes):
        values[service.writes] = str(received)
    with tempfile.SpooledTemporaryFile(_SPOOL_BYTES) as body:
        pack(body, dumps(values), sent)
        body.seek(0)
        headers = {"Authorization": f"Bearer {hub.token}", "Content-Type": MEDIA_TYPE}
        address = f"{hub.url}/api/v1/services/{service.name}"
        try:
            with (
                httpx2.Client(timeout=_TIMEOUT, trust_env=False, verify=pinned(hub.certificate)) as client,
                client.stream("POST", address, content=chunks(body), headers=headers) as response,
                tempfile.SpooledTemporaryFile(_SPOOL_BYTES) as answer,
            ):
                for block in response.iter_bytes():
                    answer.write(block)
                answer.seek(0)
                if response.headers.get("content-type") == MEDIA_TYPE:
                    return unpack(answer, received.parent)
                return _result(response.status_code, answer.read())
        except httpx2.HTTPError as error:
            raise StoreError(
                f"{hub.url}: the hub that holds the store does not answer: {error}",
                hint=f"look at its log, or end process {hub.pid}",
            ) from None


def _files(service: Service, values: dict[str, Any]) -> list[tuple[str, Path]]:
    """Return the files to send under the names that the hub will see; addresses are left as they are."""
    sent = []
    for name in service.reads:
        value = values[name]
        for index, each in enumerate([value] if isinstance(value, str) else value or []):
            path = Path(each).expanduser()
            # What is not there is not sent: the service says so, as it does here.
            if "://" not in each and path.exists():
                path = path.parent if each.endswith(_MANIFEST) else path
                sent.append((f"{name}/{index}/{path.absolute().name}", path))
    return sent


def _result(status: int, body: bytes) -> Any:
    document: Any = None
    with suppress(ValueError):
        document = json.loads(body)
    if status == httpx2.codes.OK:
        return document
    if not isinstance(document, dict) or "error" not in document:
        raise StoreError(f"hub: found status {status} without a message", hint="look at its log")
    kinds: dict[int, type[ClusterLedgerError]] = {1: StoreError, 2: InputError}
    kind = kinds.get(int(document.get("exit_code", 1)), ConfigError)
    raise kind(str(document["error"]), hint=str(document.get("hint", "")))
