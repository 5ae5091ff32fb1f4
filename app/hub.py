"""The hub: one process that holds the store, serves the pages and the API, and runs the jobs."""

import contextlib
import gc
import importlib
import ipaddress
import os
import resource
import secrets
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final

import streamlit
import uvicorn
from starlette.middleware import Middleware
from starlette.routing import Route
from starlette.types import ASGIApp
from streamlit import App
from streamlit.web import bootstrap

from app import context as contexts
from app import login, tls
from app.ahead import Ahead
from app.api import agent, health, ingest, metrics, services, unknown
from app.api._intake import Intake
from app.api._pace import Pace
from app.api._reader import Reader
from app.api._tally import Tally
from app.api._tokens import node_count
from app.context import Context
from app.gate import Gate
from app.guard import Guard, host_names
from app.page import pages
from app.pullers import Pullers
from app.scheduler import Scheduler
from app.services import named
from app.services import names as service_names
from app.services._hub_file import HubFile, found, hub_file, leave
from app.shown import NotingProtocol
from app.theme import streamlit_options
from ledger.config import Settings
from ledger.errors import StoreError
from ledger.log import log
from ledger.sections import HubSettings
from queries.aside import Aside

_HEAVY: Final = ("numpy", "pandas", "polars", "pyarrow", "plotly.graph_objects", "babel.numbers")
"""What the first page would import otherwise: a visitor waits 2 s for it."""

_INGEST: Final = "/api/v1/ingest"

_KEPT_RUNS: Final = 20
"""For how many runs a browser keeps a chart or a table: a few megabytes."""

_MOST_OPEN: Final = 65_536
_MANY_OPEN: Final = 16_384
_KEPT_SECONDS, _MOMENT_SECONDS = 75, 5
"""How long a connection stays open without a question: each agent has one and asks every ten seconds, and a new one
costs more than its question, with TLS ten times more. Where few files may be open it ends after a moment."""

_GRACE_SECONDS: Final = 3
"""How long open pages may finish: their sockets stay open for ever."""


def routes(context: Context, token: str) -> list[Route]:
    """Return the routes of the API on a context; `token` is what the command line presents."""
    pace, tally = Pace(context.settings.hub.ingest_calls_per_minute), Tally()
    take = partial(ingest.ingest, context, pace, Intake(context, pace, context.reader), tally)
    return [
        Route("/metrics", partial(metrics.metrics, context, token, tally)),
        Route("/api/v1/health", health.health),
        Route("/api/v1/agent", partial(agent.agent, context)),
        Route(_INGEST, take, methods=["POST"]),
        Route("/api/v1/services", partial(services.listed, context, token)),
        Route("/api/v1/services/{name}", partial(services.called, context, token), methods=["POST"]),
        Route("/api/{rest:path}", unknown.unknown, methods=["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]),
    ]


def application(context: Context, token: str, address: str = "") -> ASGIApp:
    """Return the ASGI app of a context: pages, API and jobs; `address` is where it listens."""

    @contextlib.asynccontextmanager
    async def lifespan(_: App) -> AsyncIterator[None]:
        if context.reader is not None:
            context.reader.expect(node_count(context))
        warm()
        scheduler, pullers = Scheduler(context), Pullers(context)
        scheduler.start()
        pullers.start()
        try:
            yield
        finally:
            pullers.stop()
            scheduler.stop()

    settings = context.settings
    names, known = host_names(settings.hub), routes(context, token)
    middleware = [Middleware(Guard, names=names)]
    at = login.origin(settings.hub, address)
    secret = login.secrets(settings.auth, at)
    if secret:
        cookie = secret["auth"]["cookie_secret"]
        middleware.append(Middleware(Gate, auth=settings.auth, cookie_secret=cookie, origin=at, now=context.now))
    pages = App(
        Path(__file__).with_name("main.py"),
        lifespan=lifespan,
        routes=known,
        middleware=middleware,
        secrets=secret or None,
    )
    return Ahead(pages, next(each for each in known if each.path == _INGEST), names)


def warm() -> None:
    """Import what pages and services need, and keep it out of the garbage collection after each page run."""
    for name in _HEAVY:
        importlib.import_module(name)
    pages()
    for name in service_names():
        named(name)
    gc.collect()
    gc.freeze()


def serve(context: Context, announce: Callable[[str], None]) -> None:
    """Serve until a signal asks to stop; `announce` gets the address once it answers.

    Raises: StoreError: another hub holds the store, or the address is taken.
    """
    settings = context.settings
    login.checked(settings.auth)
    certificate = tls.checked(settings.hub)
    scheme, path = ("https", str(certificate.path.absolute())) if certificate else ("http", "")
    refuse_second(settings.store.url)
    # Opened before the address is taken: a store that cannot be opened serves nobody.
    context.store.checkpoint_beside(context.is_busy)
    context.aside, context.reader = Aside(), Reader()
    with listening(settings.hub) as listener:
        host, port = listener.getsockname()[:2]
        configure(settings.hub, port)
        contexts.use(context)
        login.watch(context)
        address = f"{scheme}://{_shown(host)}:{port}"
        token = secrets.token_urlsafe(32)
        _warn(settings, host, address)

        def started() -> None:
            # Only now: whoever finds the file may call.
            leave(settings.store.url, HubFile(f"{scheme}://{_reached(host)}:{port}", os.getpid(), token, path))
            announce(address)

        try:
            config = uvicorn.Config(
                application(context, token, address),
                log_level="warning",
                access_log=False,
                lifespan="on",
                timeout_graceful_shutdown=_GRACE_SECONDS,
                timeout_keep_alive=idle_seconds(),
                server_header=False,
                # Compressing each answer costs more than the page that it holds.
                ws_per_message_deflate=False,
                http=NotingProtocol if settings.hub.client_ca else "auto",
                ssl_context_factory=(lambda *_: certificate.context()) if certificate else None,
            )
            server = Server(config, started)
            server.run(sockets=[listener])
            if not server.started:
                raise StoreError(f"{address}: the hub did not start", hint="the log above says why")
        finally:
            contexts.use(None)
            file = hub_file(settings.store.url)
            if file is not None:
                file.unlink(missing_ok=True)
            context.close()
            log.info("hub stopped", address=address)


def idle_seconds() -> int:
    """Open as many files as this process may, and return how long connections stay open without a question."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = max(soft, _MOST_OPEN if hard == resource.RLIM_INFINITY else min(hard, _MOST_OPEN))
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    except (OSError, ValueError):
        most = soft
    return _KEPT_SECONDS if most >= _MANY_OPEN else _MOMENT_SECONDS


def _warn(settings: Settings, host: str, address: str) -> None:
    """Say who sees the pages of a hub that others can reach, and what they can overhear."""
    if ipaddress.ip_address(host).is_loopback:
        return
    if not login.is_on(settings.auth):
        hint = "set auth.metadata_url, or listen on loopback behind something that asks who comes"
        log.warning("everybody who reaches this address sees and decides everything", address=address, hint=hint)
    elif not address.startswith("https://") and not settings.hub.url.startswith("https://"):
        hint = "set hub.tls_certificate and hub.tls_key; or put TLS before the hub, and set hub.url to that address"
        log.warning("logins and tokens go over the network in clear", address=address, hint=hint)


def refuse_second(store_url: str) -> None:
    """Raise if a hub holds the store.

    Raises: StoreError: it does.
    """
    other = found(store_url)
    if other is not None and other.pid != os.getpid():
        raise StoreError(
            f"{store_url}: process {other.pid} serves it at {other.url}",
            hint="open that address, or end that process first",
        )


class Server(uvicorn.Server):
    """Uvicorn that says when it answers, and whose process ends with 0 when a signal ended it."""

    def __init__(self, config: uvicorn.Config, on_start: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_start = on_start

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and say so."""
        await super().startup(sockets=sockets)
        if self.started:
            self._on_start()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take signals as the wish to stop; Uvicorn raises them again at the end, and the process dies by them."""
        signals = (signal.SIGINT, signal.SIGTERM)
        before = {each: signal.signal(each, self.handle_exit) for each in signals}
        try:
            yield
        finally:
            for each, handler in before.items():
                signal.signal(each, handler)


@contextlib.contextmanager
def listening(settings: HubSettings) -> Iterator[socket.socket]:
    """Take the address, so that a free port is known before anything starts.

    Raises: StoreError: it is taken, or not ours.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((settings.host, settings.port))
        except OSError as error:
            raise StoreError(
                f"{settings.host}:{settings.port}: {error.strerror or error}",
                hint="choose another with --host and --port; port 0 takes a free one",
            ) from None
        yield listener
    finally:
        listener.close()


def configure(settings: HubSettings, port: int) -> None:
    """Set Streamlit's options in code: a file in the working directory must not change what the hub is."""
    options: dict[str, Any] = {
        "server.address": settings.host,
        "server.port": port,
        "server.headless": True,
        "server.fileWatcherType": "none",
        "server.runOnSave": False,
        "server.showEmailPrompt": False,
        # The scheduler collects what is in cycles: after each run it would take longer than the run.
        "runner.postScriptGC": False,
        # A reader who goes from page to page and back does not get the same charts and tables again.
        "global.maxCachedMessageAge": _KEPT_RUNS,
        "browser.gatherUsageStats": False,
        "browser.serverAddress": _reached(settings.host),
        "browser.serverPort": port,
        "client.toolbarMode": "viewer",
        "client.showErrorDetails": "type",
        "global.developmentMode": False,
        "secrets.files": [],
        **streamlit_options(),
    }
    bootstrap.load_config_options(options)
    streamlit.logger.set_log_level("ERROR")


def _reached(host: str) -> str:
    """Return an address under which this machine reaches itself."""
    local = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  compared, not bound
    return f"[{local}]" if ":" in local else local


def _shown(host: str) -> str:
    if host in {"0.0.0.0", "::"}:  # noqa: S104  compared, not bound
        return socket.gethostname()
    return _reached(host)
