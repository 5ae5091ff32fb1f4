"""What works here and what does not, and what to do about it."""

import importlib.util
import json
import os
import smtplib
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import astuple
from datetime import timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import httpx2
from pydantic import BaseModel, ValidationError

from app.context import Context
from app.services import _privileges
from app.services._hub_file import HubFile, found, hub_file
from app.services._service import Params, Progress, service
from app.tls import pinned
from collectors._http import Connection, HubError
from collectors._settings import CollectorSettings
from collectors._tls import trouble, trusting
from ledger.config import HINT, Settings, config_path, origin
from ledger.errors import ClusterLedgerError, ConfigError
from ledger.sections import AuthSettings, Receiver
from ledger.words import amount

_SECONDS: Final = 5.0
_HEALTH: Final = "/api/v1/health"
_REFUSED_HINT: Final = (
    "correct what it says, such as by updating the hub, then `clusterledger agent --send-refused`; or remove the file"
)

Line = dict[str, str]


class Everything(Params):
    """Nothing to ask: everything is checked."""


@service(local=True)
def check(context: Context, params: Everything, progress: Progress) -> list[Line]:
    """Return a line for each part: ok, missing (a choice), or failed (something to do)."""
    del params
    parts: tuple[Callable[[Context], Iterator[Line]], ...] = (
        _configuration,
        _store,
        _connections,
        _sources,
        _bills,
        _shipping,
        _node,
    )
    lines: list[Line] = []
    for index, part in enumerate(parts):
        progress(part.__name__.strip("_"), index / len(parts))
        lines.extend(part(context))
    return lines


def line(part: str, status: str, what: str, hint: str = "") -> Line:
    """Return one finding; `status` is ok, missing or failed."""
    return {"part": part, "status": status, "found": what, "hint": hint}


def _configuration(context: Context) -> Iterator[Line]:
    path = config_path()
    problems = list(unit_problems(context.settings))
    if not problems:
        yield line("configuration", "ok", f"{path}" if path else "defaults: no clusterledger.toml here")
    yield from (line("configuration", "failed", each, "`clusterledger config` prints every key") for each in problems)


def unit_problems(settings: Settings) -> Iterator[str]:
    """Yield what is wrong in the sections of collectors, sources, rollups and rules."""
    import collectors.node  # noqa: PLC0415  the units are found when they are asked for
    from ledger.explain import nearest, problem  # noqa: PLC0415  as above
    from ledger.registry import Collector, discover  # noqa: PLC0415  as above

    units = discover(collectors.node, Collector)
    for name, given in settings.collectors.items():
        unit = units.get(name)
        model = (unit.settings or CollectorSettings) if unit is not None else None
        if unit is None:
            close = nearest(name, list(units)) or f"expected one of {', '.join(units)}"
            yield f"{origin('collectors', name)}: collectors.{name}: found an unknown section; {close}"
        elif isinstance(model, type) and issubclass(model, BaseModel):
            try:
                model(**given)
            except ValidationError as error:
                where = f"{origin('collectors', name)}: collectors.{name}"
                yield from (f"{where}.{problem(each, model)}" for each in error.errors())
    if has_hub_parts():
        from collectors.cluster._configured import problems  # noqa: PLC0415  needs Polars
        from queries._settings import check as check_sections  # noqa: PLC0415  as above

        yield from problems(settings)
        try:
            check_sections(settings)
        except ClusterLedgerError as error:
            yield from error.message.splitlines()


def refuse_problems(settings: Settings) -> None:
    """Refuse a configuration in which a section of a collector, a source, a rollup or a rule does not fit.

    Raises: ConfigError: a line for each problem.
    """
    problems = list(unit_problems(settings))
    if problems:
        raise ConfigError("\n".join(problems), hint=HINT)


def has_hub_parts() -> bool:
    """Tell whether what a hub needs is installed, and not the agent alone."""
    return all(importlib.util.find_spec(name) is not None for name in ("duckdb", "polars", "streamlit"))


def _store(context: Context) -> Iterator[Line]:
    if not has_hub_parts():
        yield line("store", "missing", "only the agent is installed", "pip install 'clusterledger[hub]' on the hub")
        return
    url = context.settings.store.url
    hub = found(url)
    if hub is not None:
        yield _holder(url, hub)
        return
    beside = hub_file(url)
    path = Path(url.removeprefix("duckdb:")) if beside is not None else None
    if path is not None and not path.exists():
        is_writable = os.access(path.absolute().parent, os.W_OK)
        hint = "" if is_writable else f"make {path.absolute().parent} writable, or set store.url"
        yield line("store", "missing" if is_writable else "failed", f"{url} does not exist yet", hint)
        return
    try:
        _ = context.store
    except ClusterLedgerError as error:
        yield line("store", "failed", error.message, error.hint)
    else:
        yield line("store", "ok", url)


def _connections(context: Context) -> Iterator[Line]:
    mail = context.settings.mail
    if context.settings.agent.hub:
        yield from _hub(context)
    else:
        yield line("hub", "missing", "agent.hub is not set", "agents need it: --hub URL")
    if not has_hub_parts():
        # People, mail and receivers are the hub's.
        return
    yield _provider(context.settings.auth)
    yield from map(_receiver, context.settings.notify)
    if not mail.host:
        yield line("mail", "missing", "mail.host is not set: reports are written, not sent", "set mail.host")
        return
    try:
        kind = smtplib.SMTP_SSL if mail.security == "tls" else smtplib.SMTP
        with kind(mail.host, mail.port, timeout=_SECONDS) as server:
            server.noop()
    except (OSError, smtplib.SMTPException) as error:
        yield line("mail", "failed", f"{mail.host}:{mail.port}: {error}", "see mail.host, mail.port, mail.security")
    else:
        yield line("mail", "ok", f"{mail.host}:{mail.port}")


def _receiver(receiver: Receiver) -> Line:
    """Say whether somebody listens where idle incidents are told; nothing is told now."""
    part, at = f"notify {receiver.name}", urlsplit(receiver.url)
    try:
        trusting(f"notify.{receiver.name}", receiver.ca_file)
        address = (at.hostname or "", at.port or (443 if at.scheme == "https" else 80))
        socket.create_connection(address, timeout=_SECONDS).close()
    except ClusterLedgerError as error:
        return line(part, "failed", error.message, error.hint)
    except (OSError, ValueError) as error:
        # The path may be a secret: a chat's address is all that it takes to write there.
        return line(part, "failed", f"{at.scheme}://{at.hostname}: {error}", "see [[notify]]: is it up, and url right?")
    return line(part, "ok", f"{receiver.kind} at {at.scheme}://{at.hostname}")


def _provider(auth: AuthSettings) -> Line:
    """Say whether people can log in."""
    if not auth.metadata_url:
        return line("login", "missing", "auth.metadata_url is not set: whoever reaches the hub sees all", "see [auth]")
    try:
        told = httpx2.get(auth.metadata_url, timeout=_SECONDS).json()
        is_provider = isinstance(told, dict) and {"authorization_endpoint", "token_endpoint", "jwks_uri"} <= set(told)
    except (httpx2.HTTPError, ValueError) as error:
        return line("login", "failed", f"{auth.metadata_url}: {error}", "see auth.metadata_url")
    if not is_provider:
        return line("login", "failed", f"{auth.metadata_url}: that is no provider's metadata", "see auth.metadata_url")
    return line("login", "ok", auth.metadata_url)


def _sources(context: Context) -> Iterator[Line]:
    """Ask each source for what it has of the last moments, and keep nothing."""
    if not context.settings.sources or not has_hub_parts() or any(unit_problems(context.settings)):
        return
    from collectors.cluster._configured import configured  # noqa: PLC0415  needs Polars

    for source in configured(context.settings):
        part, now = f"source {source.name}", context.now()
        began = time.monotonic()
        try:
            piece = next(source.open()(now - timedelta(seconds=source.every_seconds), now), None)
        except ClusterLedgerError as error:
            yield line(part, "failed", error.message, error.hint or f"see [sources.{source.name}]")
            continue
        rows = sum(frame.height for frame in piece.frames.values()) if piece is not None else 0
        what = f"{source.kind.name} answers in {time.monotonic() - began:.2f} s with {amount(rows, 'row')}"
        yield line(part, "ok", "; ".join((what, *(piece.remarks if piece is not None else ()))))


def _bills(context: Context) -> Iterator[Line]:
    """Look into each place of bills, and fetch nothing."""
    if not context.settings.bills or not has_hub_parts():
        return
    from app.services._fetching import looked  # noqa: PLC0415  needs Polars

    yield from (line(f"bills {name}", status, found, hint) for name, status, found, hint in looked(context))


def _shipping(context: Context) -> Iterator[Line]:
    """Say what the agent of this node has left beside its spool: how it stands, and what the hub would not take."""
    from collectors._standing import all_put_aside, put_aside_file, standing  # noqa: PLC0415  as units: when asked for

    spool = context.settings.agent.spool
    stood = standing(spool)
    if stood is not None and stood.status == "refused":
        yield line(
            "agent", "failed", f"refused since {stood.since}: {_status(stood.http_status)}{stood.reason}", stood.advice
        )
    elif stood is not None and stood.status == "waiting":
        what = f"the hub takes nothing since {stood.since}: {stood.reason}"
        yield line("agent", "failed", what, "rows wait in the spool and go out when it does: is the hub up?")
    elif stood is not None:
        yield line("agent", "ok", f"{context.settings.agent.hub or 'the hub'} takes what this node sends")
    path = put_aside_file(spool)
    try:
        aside = all_put_aside(spool)
    except OSError as error:
        yield line("refused batches", "failed", f"{path}: {error.strerror}", "run this as the agent's user")
        return
    if aside:
        rows, last = amount(sum(each.row_count for each in aside), "row"), aside[-1]
        found_there = f"{path}: {amount(len(aside), 'batch')}, {rows}; the last at {last.refused_at}: {last.reason}"
        yield line("refused batches", "failed", found_there, _REFUSED_HINT)


def _status(http_status: int) -> str:
    """Return an HTTP status as a part of a line; nothing where it did not come to an answer."""
    return f"HTTP {http_status}: " if http_status else ""


def _holder(url: str, hub: HubFile) -> Line:
    """Say whether the hub answers that holds a store; it runs on this machine, where no proxy stands between."""
    what = f"{url}, held by the hub at {hub.url} (process {hub.pid})"
    try:
        verify = pinned(hub.certificate)
        found = httpx2.get(f"{hub.url}{_HEALTH}", timeout=_SECONDS, trust_env=False, verify=verify)
    except ClusterLedgerError as error:
        return line("store", "failed", error.message, error.hint)
    except httpx2.HTTPError as error:
        return line("store", "failed", f"{what}: {error}", f"look at its log, or end process {hub.pid}")
    return line("store", "ok", what) if _is_hub(found.status_code, found.content) else _no_hub("store", what)


def _hub(context: Context) -> Iterator[Line]:
    """Say whether the hub answers this node and would take what it sends; it is asked the way that the agent asks."""
    from app.services._token import agreed  # noqa: PLC0415  as units: when asked for
    from collectors.agent import link_of, token_of  # noqa: PLC0415  as above

    settings = context.settings
    try:
        hub = link_of(settings, lambda: token_of(settings)).client(_SECONDS)
    except ClusterLedgerError as error:
        yield line("hub", "failed", error.message, error.hint)
        return
    with closing(hub):
        where = f"{settings.agent.hub}{_by_proxy(hub)}"
        try:
            answer = hub.get(_HEALTH, {})
        except HubError as error:
            said, advice = trouble(error) or (str(error), "is the hub up, and the address right?")
            yield line("hub", "failed", f"{where}: {said}", advice)
            return
        if not _is_hub(answer.status_code, answer.content):
            yield _no_hub("hub", where)
            return
        yield line("hub", "ok", where)
        yield from (line(*each) for each in agreed(settings, hub, context.now()))


def _by_proxy(hub: Connection) -> str:
    """Say which proxy of the environment stands between; without who asks it, which may be a secret."""
    return f" through the environment's proxy {hub.proxy.netloc.rpartition('@')[2]}" if hub.proxy else ""


def _is_hub(status: int, content: bytes) -> bool:
    """Tell whether a hub says that it is well: unknown paths of a page server answer 200 as well."""
    try:
        told = json.loads(content)
    except ValueError:
        return False
    return status == HTTPStatus.OK and isinstance(told, dict) and told.get("status") == "ok"


def _no_hub(part: str, where: str) -> Line:
    return line(part, "failed", f"{where}: no hub answers there", "see agent.hub")


def _node(context: Context) -> Iterator[Line]:
    yield line("node", "ok", f"{socket.gethostname()}, user {os.geteuid()}")
    for each in _privileges.seen(context.settings.agent.root):
        yield _controller(context, each) if each.part == "controller" else line(*astuple(each))


def _controller(context: Context, seen: _privileges.Sight) -> Line:
    """Ask the management controller as the agent does: one whose device may be opened may refuse all the same."""
    from collectors.agent import run_collectors  # noqa: PLC0415  as units: when asked for

    is_off = not context.settings.collectors.get("ipmi", {}).get("enabled", True)
    if is_off or any(unit_problems(context.settings)):
        return line(*astuple(seen))
    (run,) = run_collectors(["ipmi"], settings=context.settings).runs
    if run.error is None:
        return line(seen.part, "ok", f"it tells {amount(run.rows, 'reading')} of the node's draw, heat and fans")
    return line(seen.part, "missing" if run.ok else "failed", run.error, "see [collectors.ipmi]")
