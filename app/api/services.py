"""Everything that the command line does, for those who hold the hub's token or the admin's."""

import json
import tempfile
from functools import partial
from pathlib import Path
from typing import IO, Any

from anyio import to_thread
from starlette.background import BackgroundTask
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse

from app.api._answers import answer, failure, nobody_listens, refusal
from app.api._tokens import bearer, is_admin, is_one_of
from app.context import COMMAND_LINE, Context, acting
from app.services import Service, named, names
from app.services._audit import audited
from app.services._pack import MEDIA_TYPE, chunks, pack, read_document, unpack
from app.services._plain import dumps
from ledger.errors import ClusterLedgerError, InputError

_QUIET = frozenset({"reconcile", "findings", "incidents", "exemptions", "tokens", "what_if"})
"""Services that read what every page shows, or that keep a log of their own."""

_MOST_JSON_BYTES = 1_048_576
_MOST_UPLOAD_BYTES = 256 * 1024**3
_SPOOL_BYTES = 16 * 1_048_576


async def listed(context: Context, token: str, request: Request) -> Response:
    """Answer which services there are and what each takes."""
    if (refused := _refused(context, token, request)) is not None:
        return refused
    found = [each for each in await to_thread.run_sync(_all) if not each.local]
    return answer([{"name": each.name, "doc": each.doc, "params": each.params.model_json_schema()} for each in found])


async def called(context: Context, token: str, request: Request) -> Response:
    """Run a service; the body is its parameters as JSON, or a tar of them and of the caller's files."""
    if (refused := _refused(context, token, request)) is not None:
        return refused
    # The token in the file beside the store is the command line's; all others hold the configured one.
    actor = COMMAND_LINE if is_one_of(bearer(request), (token,)) else "api"
    is_tar = request.headers.get("content-type") == MEDIA_TYPE
    body = tempfile.SpooledTemporaryFile(_SPOOL_BYTES)  # noqa: SIM115  it lives until the answer is sent
    with body:
        size = 0
        try:
            async for block in request.stream():
                size += len(block)
                if size > (_MOST_UPLOAD_BYTES if is_tar else _MOST_JSON_BYTES):
                    return refusal(413, f"request: found more than {size} bytes", hint="send files as a tar")
                body.write(block)
            body.seek(0)
            return await to_thread.run_sync(_run, context, request.path_params["name"], body, is_tar, actor)
        except ClusterLedgerError as error:
            return failure(error)
        except ClientDisconnect:
            return nobody_listens()


def _all() -> list[Service]:
    return [named(name) for name in names()]


def _refused(context: Context, token: str, request: Request) -> Response | None:
    if is_admin(context, token, bearer(request)):
        return None
    return refusal(401, "token: found none that may call services", hint="Authorization: Bearer <hub.admin_token>")


def _run(context: Context, name: str, body: IO[bytes], is_tar: bool, actor: str) -> Response:
    service = named(name)
    if service.local:
        raise InputError(f"{name}: it is about the machine that it runs on", hint=f"run `clusterledger {name}` there")
    folder = tempfile.TemporaryDirectory(prefix="clusterledger-")
    reset = acting.set(actor)
    try:
        response = _answered(context, service, body, is_tar, Path(folder.name))
    except BaseException:
        folder.cleanup()
        raise
    finally:
        acting.reset(reset)
    response.background = BackgroundTask(folder.cleanup)
    return response


def _answered(context: Context, service: Service, body: IO[bytes], is_tar: bool, folder: Path) -> Response:
    """Run a service on files that lie in a folder of ours, and speak of them under the caller's names."""
    values = unpack(body, folder) if is_tar else _document(body)
    if not isinstance(values, dict):
        raise InputError(f"{service.name}: found {type(values).__name__}, expected an object of parameters")
    if not is_tar and any(values.get(name) for name in (*service.reads, service.writes)):
        raise InputError(f"{service.name}: its files must come along", hint=f"send a tar ({MEDIA_TYPE})")
    places = _placed(service, values, folder)
    try:
        result = dumps(service.run(context, service.asked(values)))
        if service.name not in _QUIET:
            audited(context, action=f"service {service.name}", subject=context.settings.store.url)
    except ClusterLedgerError as error:
        message, hint = _renamed(error.message, places), _renamed(error.hint, places)
        raise _as(error, message, hint) from None
    document = _renamed(result, places)
    out = folder / "out"
    if not out.is_dir():
        return Response(document, media_type="application/json")
    packed = tempfile.SpooledTemporaryFile(_SPOOL_BYTES)  # noqa: SIM115  streamed, then collected
    pack(packed, document, [(each.name, each) for each in sorted(out.iterdir())])
    packed.seek(0)
    return StreamingResponse(chunks(packed), media_type=MEDIA_TYPE)


def _document(body: IO[bytes]) -> Any:
    try:
        return read_document(body.read())
    except ValueError as error:
        raise InputError(f"request: found a body that is no JSON: {error}") from None


def _placed(service: Service, values: dict[str, Any], folder: Path) -> dict[str, str]:
    """Put the places of files in our folder into the parameters; return them with the caller's names."""
    places: dict[str, str] = {}
    put = partial(_put, places)
    for name in service.reads:
        value = values.get(name)
        given = [value] if isinstance(value, str) else list(value or [])
        ours = [
            each if "://" in each else put(each, _sent(folder / name / str(index), each))
            for index, each in enumerate(map(str, given))
        ]
        values[name] = ours[0] if isinstance(value, str) else ours
    if service.writes and values.get(service.writes):
        out = folder / "out"
        out.mkdir()
        values[service.writes] = put(str(values[service.writes]), out / Path(values[service.writes]).name)
    return places


def _sent(folder: Path, theirs: str) -> Path:
    """Return the one file or folder that came for a parameter; a place where nothing is, if none did."""
    found = next(iter(folder.iterdir()), None) if folder.is_dir() else None
    if found is None:
        return folder / "absent" / Path(theirs).name
    return found / Path(theirs).name if found.is_dir() and theirs.endswith("manifest.json") else found


def _put(places: dict[str, str], theirs: str, ours: Path) -> str:
    places[str(ours)] = theirs
    return str(ours)


def _renamed(text: str, places: dict[str, str]) -> str:
    for ours, theirs in places.items():
        text = text.replace(ours, json.dumps(theirs)[1:-1])
    return text


def _as(error: ClusterLedgerError, message: str, hint: str) -> ClusterLedgerError:
    return type(error)(message, hint=hint)
