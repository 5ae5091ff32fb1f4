"""The loop on a node: run what is due, keep it, ship it. Needs nothing of what the hub needs."""

import signal
import socket
import threading
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Final

from collectors._claim import claimed
from collectors._clock import utc_now
from collectors._collect import Round, identity_of, node_collectors, roots, run_collectors
from collectors._instants import Instants
from collectors._machine import expected, node_row
from collectors._metrics import Counts
from collectors._pace import Paces
from collectors._round import RUN_TABLE, Result, Run, Tables, sources
from collectors._runs import Runs
from collectors._ship import Link, Shipper
from collectors._spool import Spool
from collectors._stamp import Memory, existing, stamped
from collectors._tls import trusting
from collectors._watch import Clocks, clock_events, give_back_memory
from ledger.config import Settings, origin
from ledger.errors import ClusterLedgerError, ConfigError, StoreError
from ledger.log import log
from ledger.registry import Row

if TYPE_CHECKING:
    from collectors._serve import Served

__all__ = ["Agent", "Round", "link_of", "node_collectors", "run_agent", "run_collectors", "token_of"]

_FLUSH_SECONDS: Final = 1.0
_NODE_ROW_SECONDS: Final = 3600.0
_SETTLED_FLUSHES: Final = 5  # by then every library is loaded


class Agent:
    """Collectors at their own pace, a spool, and a shipper, each in threads that cannot stop one another.

    `reread` reads the configuration anew: for a hub that refused the old token, and where `reload` is asked for.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        procfs: Path | None = None,
        sysfs: Path | None = None,
        offers: Mapping[str, object] | None = None,
        now: Callable[[], datetime] = utc_now,
        reread: Callable[[], Settings] | None = None,
    ) -> None:
        self._settings = settings
        self._reread = reread or (lambda: settings)
        self._procfs, self._sysfs = roots(settings, procfs, sysfs)
        self._now = now
        self.identity = identity_of(settings, self._procfs)
        self._offers = {"procfs": self._procfs, "sysfs": self._sysfs, **(offers or {})}
        self._sources = sources(node_collectors(), None, settings, self._offers)
        self._paces = Paces(now)
        self._gpus: dict[str, Row] = {}
        self._node_row: tuple[float, int] | None = None
        self._errors: dict[str, str | None] = {}
        self._asked_to_reload = threading.Event()
        self._claim: socket.socket | None = None
        self.counts = Counts()
        agent = settings.agent
        link = link_of(settings, lambda: token_of(self._reread()))
        self.spool = Spool(agent.spool, agent.spool_max_bytes)
        self._instants = Instants(self.spool)
        self._runs = Runs()
        try:
            self.served = self._serving(settings)
        except ConfigError:
            self.spool.close()
            raise
        self._shipper = Shipper(
            link, identity=self.identity, spool=self.spool, beside=agent.spool, now=now, counts=self.counts
        )

    def once(self) -> bool:
        """Collect once and ship everything that waits; tell whether the hub has it all."""
        results = [source.collect_in_time(self._now) for source in self._sources]
        self._keep(results, [], is_last=True)
        is_shipped = self._shipper.drain(threading.Event())
        if self.counts.refused_rows:
            self._keep([], [])
            is_shipped = self._shipper.drain(threading.Event())
        if is_shipped:
            rows, rejected = self.counts.rows_shipped()
            log.info("all rows are shipped", hub=self._settings.agent.hub, row_count=rows, rejected_count=rejected)
        return is_shipped

    def run(self, stop: threading.Event) -> None:
        """Collect, keep and ship until told to stop; what is not shipped then stays in the spool."""
        started = self._event("agent_started", f"boot {self.identity.boot_id}")
        self._keep([], [started, *self._boot_event(), *self._another_agent()])
        self._paces.set(self._sources)
        shipping = threading.Thread(target=self._shipper.run, args=(stop,), name="ship", daemon=True)
        shipping.start()
        clocks, flushes = Clocks.read(self._now), 0
        while not stop.wait(_FLUSH_SECONDS):
            flushes += 1
            if flushes == _SETTLED_FLUSHES:
                give_back_memory()
            if self._asked_to_reload.is_set():
                self._asked_to_reload.clear()
                self.reload()
            events = clock_events(clocks, clocks := Clocks.read(self._now))
            self._keep(self._paces.arrived(), [self._event(**event) for event in events])
        self._paces.stop()
        self._keep(self._paces.arrived(), [self._event("agent_stopped", "told to stop")], is_last=True)
        shipping.join(timeout=_FLUSH_SECONDS)

    def ask_to_reload(self) -> None:
        """Let the loop read the configuration again; a signal's handler may call this."""
        self._asked_to_reload.set()

    def reload(self) -> bool:
        """Read the configuration again and go by it; tell whether it was taken.

        One that is wrong changes nothing. Collectors whose settings are the same go on with all that they remember.
        """
        served = self.served
        try:
            settings = self._reread()
            _refuse_moving(self._settings, settings)
            wanted = sources(node_collectors(), None, settings, self._offers)
            link = link_of(settings, lambda: token_of(self._reread()))
            if _served_at(settings) != _served_at(self._settings):
                served = self._serving(settings)
        except ClusterLedgerError as error:
            self.counts.refused_reloads += 1
            log.error("configuration was refused; the one before stays", error=error.message, hint=error.hint)
            return False
        if served is not self.served:
            self.served, before = served, self.served
            if before is not None:
                before.close()
        old = {source.name: source for source in self._sources}
        kept = [old[each.name] if each.name in old and each.is_as(old[each.name]) else each for each in wanted]
        changed = [each.name for each in kept if old.get(each.name) is not each]
        self._settings, self._sources = settings, kept
        self._paces.set(kept)
        self.spool.max_bytes = settings.agent.spool_max_bytes
        self._shipper.move(link)
        self.counts.reloads += 1
        ended = sorted(set(old) - {each.name for each in kept})
        log.info("configuration was read again", hub=settings.agent.hub, opened=changed, ended=ended)
        return True

    def close(self) -> None:
        """Close the spool, the connection and what is served."""
        if self.served is not None:
            self.served.close()
        self._shipper.close()
        self.spool.close()
        if self._claim is not None:
            self._claim.close()

    def _serving(self, settings: Settings) -> "Served | None":
        """Serve what the agent says of itself, where that is wanted.

        Raises: ConfigError: the address is taken.
        """
        wanted = _served_at(settings)
        if wanted is None:
            return None
        from collectors._serve import Served  # noqa: PLC0415  most agents need no HTTP server

        return Served(*wanted, lambda: self.counts.families(self.spool, [each.name for each in self._sources]))

    def _keep(self, results: list[Result], events: list[Row], *, is_last: bool = False) -> None:
        """Put rows into the spool; a disk that is full costs these rows and is said, and nothing else stops.

        Of rounds that go alike the row waits for a minute, unless these are the last ones.
        """
        for result in results:
            self._tell(result.run)
        try:
            tables = stamped(results, self.identity, self.spool, self._instants, self._runs)
            if ended := self._runs.rest(() if is_last else {each.name for each in self._sources}):
                tables.setdefault(RUN_TABLE, []).extend(ended)
            self._inventory(tables, self.spool)
            events = [*events, *self._losses()]
            if events:
                tables["node_event"] = events
            if tables:
                self.spool.append(tables)
                self.counts.told()
        except StoreError as error:
            self.counts.lost_rows += sum(result.run.rows for result in results)
            log.error("rows were lost", error=error.message, row_count=self.counts.lost_rows)

    def _losses(self) -> list[Row]:
        """Return events of rows that the spool lost and nobody was told of yet."""
        self.counts.dropped(self.spool.dropped())
        self.counts.damaged(self.spool.damaged())
        events: list[Row] = [
            {**self._event(event, message), "row_count": count}
            for event, message, count in (
                ("rows_dropped", "the spool was full, or could not be written", self.counts.lost_rows),
                ("rows_damaged", "the spool's disk did not keep them", self.counts.damaged_rows),
                ("rows_refused", "`clusterledger check` on the node says why", self.counts.tell_refused()),
            )
            if count
        ]
        self.counts.replaced = self.spool.replaced() or self.counts.replaced
        return [*events, self._event("spool_damaged", self.counts.replaced)] if self.counts.replaced else events

    def _tell(self, run: Run) -> None:
        """Log what is wrong with a collector, or not on this node, when it changes and not in every round."""
        self.counts.ran(run)
        if run.error != self._errors.get(run.collector):
            self._errors[run.collector] = run.error
            say = log.info if run.ok else log.warning
            say("collector has something to say", collector=run.collector, is_ok=run.ok, error=run.error)

    def _inventory(self, tables: Tables, memory: Memory) -> None:
        """Add this node's own row, now and then, and when its GPUs change."""
        for gpu in tables.get("gpu", []):
            self._gpus[str(gpu["gpu_uuid"])] = gpu
            if gpu["exists_end"] is not None:
                del self._gpus[str(gpu["gpu_uuid"])]
        now = time.monotonic()
        told_at, told_gpus = self._node_row or (-_NODE_ROW_SECONDS, -1)
        if not tables or (told_gpus == len(self._gpus) and now - told_at < _NODE_ROW_SECONDS):
            return
        self._node_row = (now, len(self._gpus))
        row = node_row(self._procfs, self._sysfs, self._now(), self._gpus.values())
        place = {"cluster": self.identity.cluster, "node": self.identity.node}
        # What is configured is not remembered: it ends with its configuration.
        tables["node"] = [{**existing("node", {**place, **row}, memory), **expected(self._settings.agent)}]

    def _event(self, event: str, message: str, amount_seconds: float | None = None) -> Row:
        place = {"cluster": self.identity.cluster, "node": self.identity.node, "occurred_at": self._now()}
        return {**place, "event": event, "message": message, "amount_seconds": amount_seconds}

    def _another_agent(self) -> list[Row]:
        """Return an event if another agent of this machine sends under this node's name; else hold that name."""
        self._claim = claimed(self._settings.agent.hub, self.identity.cluster, self.identity.node)
        if self._claim is not None:
            return []
        message = "another agent of this machine sends under this name, with a spool of its own: end one of the two"
        log.warning(message, cluster=self.identity.cluster, node=self.identity.node)
        return [self._event("another_agent", message)]

    def _boot_event(self) -> list[Row]:
        """Return an event if the node has booted since the agent ran last."""
        before = self.spool.recall("boot_id")
        if before == self.identity.boot_id:
            return []
        self.spool.remember("boot_id", self.identity.boot_id)
        return [] if before is None else [self._event("boot", f"boot {self.identity.boot_id} after {before}")]


def link_of(settings: Settings, token: Callable[[], str]) -> Link:
    """Return the way to the hub, made whole: what is wrong with it shows now.

    Raises: ConfigError: there is no address, or a file of TLS is not what it should be.
    """
    agent = settings.agent
    if not agent.hub:
        raise ConfigError("agent.hub: found nothing, expected the hub's address", hint="pass --hub URL")
    tls = trusting("agent", agent.ca_file, agent.tls_certificate, agent.tls_key)
    return Link(agent.hub, token, agent.ship_every_seconds, tls, agent.tls_certificate is not None)


def token_of(settings: Settings) -> str:
    """Return the node's token, '' for none."""
    return settings.agent.token.get_secret_value() if settings.agent.token else ""


def _served_at(settings: Settings) -> tuple[str, int] | None:
    port = settings.agent.metrics_port
    return None if port is None else (settings.agent.metrics_address, port)


def _refuse_moving(before: Settings, after: Settings) -> None:
    """Refuse what an agent cannot change while it runs: who it is, what it looks at, and where its rows wait.

    Raises: ConfigError: one of these has changed.
    """
    for name in ("cluster", "node", "spool", "root"):
        was, now = getattr(before.agent, name), getattr(after.agent, name)
        if was != now:
            raise ConfigError(
                f"{origin('agent', name)}: agent.{name}: found {now}, expected {was or 'nothing'} while the agent runs",
                hint="restart the agent to change it",
            )


def run_agent(
    settings: Settings,
    *,
    once: bool = False,
    procfs: Path | None = None,
    sysfs: Path | None = None,
    reread: Callable[[], Settings] | None = None,
) -> int:
    """Run the agent until SIGTERM or SIGINT, or once; return the process's exit code. SIGHUP reads settings again.

    `reread` reads the configuration anew: a hub that refused the old token gets the new one without a restart.
    """
    agent = Agent(settings, procfs=procfs, sysfs=sysfs, reread=reread)
    try:
        if once:
            return 0 if agent.once() else 1
        stop = threading.Event()

        def told(number: int, _: FrameType | None) -> None:
            log.info("agent stops", signal=signal.Signals(number).name)
            stop.set()

        for each in (signal.SIGTERM, signal.SIGINT):
            signal.signal(each, told)
        signal.signal(signal.SIGHUP, lambda *_: agent.ask_to_reload())
        agent.run(stop)
        return 0
    finally:
        agent.close()
