"""The loop on a node: run what is due, keep it, ship it. Needs nothing of what the hub needs."""

import queue
import random
import signal
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from types import FrameType
from typing import Any, Final

import collectors.node
from collectors._machine import host_name, node_row
from collectors._round import Result, Run, Source, Tables, sources, utc_now
from collectors._ship import Shipper
from collectors._spool import Spool
from collectors._stamp import Forgetful, Identity, Memory, boot_id, existing, stamped
from collectors._watch import Deadlines, clock_jump, give_back_memory
from ledger.config import Settings
from ledger.errors import ConfigError, StoreError
from ledger.log import log
from ledger.registry import Collector, Row, discover

_PROC: Final = Path("/proc")
_SYS: Final = Path("/sys")
_FLUSH_SECONDS: Final = 1.0
_NODE_ROW_SECONDS: Final = 3600.0
_SETTLED_FLUSHES: Final = 5  # by then every library is loaded

# Collectors start a little apart: a node must not do all its work in one instant, nor all nodes at once.
_JITTER_SECONDS: Final = 0.5


@dataclass(frozen=True)
class Round:
    """Rows by table, complete, and how each collector fared."""

    tables: Tables
    runs: list[Run]

    def document(self) -> dict[str, Any]:
        """Return what `collect --json` prints: instants as text in UTC, exact numbers as text."""
        return {
            "tables": {
                name: [{column: _shown(value) for column, value in row.items()} for row in rows]
                for name, rows in self.tables.items()
            },
            "runs": [asdict(run) for run in self.runs],
        }


def _shown(value: object) -> object:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return format(value, "f") if isinstance(value, Decimal) else value


def node_collectors() -> dict[str, Collector]:
    """Return the node's collectors by name, one per module of `collectors.node`."""
    return discover(collectors.node, Collector)


def run_collectors(
    names: Iterable[str] | None = None,
    *,
    procfs: Path = _PROC,
    sysfs: Path = _SYS,
    settings: Settings | None = None,
    offers: Mapping[str, object] | None = None,
    now: Callable[[], datetime] = utc_now,
) -> Round:
    """Run node collectors once, each apart from the others, and return their rows.

    `names` picks some; all enabled ones run otherwise. `offers` adds what a collector may ask for by the name of a
    parameter, such as a `library`. A source that is not on this node gives a run that is ok, with no rows and the
    reason as its error.

    Raises: ConfigError: a name is no collector's, or a section of the configuration is wrong.
    """
    decided = settings or Settings()
    identity = _identity(decided, procfs)
    given = {"procfs": procfs, "sysfs": sysfs, **(offers or {})}
    results = [source.collect_in_time(now) for source in sources(node_collectors(), names, decided, given)]
    memory = Forgetful()
    tables = stamped(results, identity, memory)
    if names is None:
        node = {"cluster": identity.cluster, "node": identity.node}
        tables["node"] = [{**node, **node_row(procfs, sysfs, now(), tables.get("gpu", []))}]
    return Round(tables, [result.run for result in results])


def _identity(settings: Settings, procfs: Path) -> Identity:
    return Identity(settings.agent.cluster, settings.agent.node or host_name(), boot_id(procfs))


class Agent:
    """Collectors at their own pace, a spool, and a shipper, each in threads that cannot stop one another."""

    def __init__(
        self,
        settings: Settings,
        *,
        procfs: Path = _PROC,
        sysfs: Path = _SYS,
        offers: Mapping[str, object] | None = None,
        now: Callable[[], datetime] = utc_now,
        token: Callable[[], str] | None = None,
    ) -> None:
        self._settings = settings
        self._procfs = procfs
        self._sysfs = sysfs
        self._now = now
        self.identity = _identity(settings, procfs)
        given = {"procfs": procfs, "sysfs": sysfs, **(offers or {})}
        self._sources = sources(node_collectors(), None, settings, given)
        self._results: queue.SimpleQueue[Result] = queue.SimpleQueue()
        self._deadlines = Deadlines()
        self._gpus: dict[str, Row] = {}
        self._node_row: tuple[float, int] | None = None
        self._lost_rows = 0
        self._errors: dict[str, str | None] = {}
        agent = settings.agent
        if not agent.hub:
            raise ConfigError("agent.hub: found nothing, expected the hub's address", hint="pass --hub URL")
        self.spool = Spool(agent.spool, agent.spool_max_bytes)
        self._shipper = Shipper(
            agent.hub,
            token or (lambda: token_of(settings)),
            identity=self.identity,
            spool=self.spool,
            beside=agent.spool,
            now=now,
        )

    def once(self) -> bool:
        """Collect once and ship everything that waits; tell whether the hub has it all."""
        results = [source.collect_in_time(self._now) for source in self._sources]
        self._keep(results, [])
        return self._shipper.drain(threading.Event())

    def run(self, stop: threading.Event) -> None:
        """Collect, keep and ship until told to stop; what is not shipped then stays in the spool."""
        self._keep([], [self._event("agent_started", f"boot {self.identity.boot_id}"), *self._boot_event()])
        for source in self._sources:
            threading.Thread(target=self._pace, args=(source, stop), name=source.name, daemon=True).start()
        pace = self._settings.agent.ship_every_seconds
        shipping = threading.Thread(target=self._shipper.run, args=(pace, stop), name="ship", daemon=True)
        shipping.start()
        wall, steady, flushes = self._now(), time.monotonic(), 0
        while not stop.wait(_FLUSH_SECONDS):
            flushes += 1
            if flushes == _SETTLED_FLUSHES:
                give_back_memory()
            events = clock_jump(wall, steady, wall := self._now(), steady := time.monotonic())
            self._keep(self._arrived(), [self._event(**event) for event in events])
        self._keep(self._arrived(), [self._event("agent_stopped", "told to stop")])
        shipping.join(timeout=_FLUSH_SECONDS)

    def close(self) -> None:
        """Close the spool and the connection."""
        self._shipper.close()
        self.spool.close()

    def _pace(self, source: Source, stop: threading.Event) -> None:
        """Run one collector at its pace; a round that was late does not make the next ones hurry."""
        due = time.monotonic() + random.uniform(0, _JITTER_SECONDS)  # noqa: S311  spreads load, guards nothing
        while not stop.wait(max(0.0, due - time.monotonic())):
            started_at = self._now()
            self._deadlines.begin(source, started_at)
            result = source.collect(self._now)
            if self._deadlines.end(source):
                self._results.put(result)
            due += source.step_seconds
            if due < time.monotonic():
                due = time.monotonic() + source.step_seconds

    def _arrived(self) -> list[Result]:
        """Return what collectors brought since the last call, and a failed run for each that is overdue."""
        results = self._deadlines.overdue()
        while not self._results.empty():
            results.append(self._results.get())
        return results

    def _keep(self, results: list[Result], events: list[Row]) -> None:
        """Put rows into the spool; a disk that is full costs these rows and is said, and nothing else stops."""
        for result in results:
            self._tell(result.run)
        try:
            tables = stamped(results, self.identity, self.spool)
            self._inventory(tables, self.spool)
            self._lost_rows += self.spool.dropped()
            if self._lost_rows:
                events = [*events, {**self._event("rows_dropped", "the spool was full"), "row_count": self._lost_rows}]
            if events:
                tables["node_event"] = list(events)
            if tables:
                self.spool.append(tables)
                self._lost_rows = 0
        except StoreError as error:
            self._lost_rows += sum(result.run.rows for result in results)
            log.error("rows were lost", error=error.message, row_count=self._lost_rows)

    def _tell(self, run: Run) -> None:
        """Log what is wrong with a collector, or not on this node, when it changes and not in every round."""
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
        tables["node"] = [existing("node", {**place, **row}, memory)]

    def _event(self, event: str, message: str, amount_seconds: float | None = None) -> Row:
        place = {"cluster": self.identity.cluster, "node": self.identity.node, "occurred_at": self._now()}
        return {**place, "event": event, "message": message, "amount_seconds": amount_seconds}

    def _boot_event(self) -> list[Row]:
        """Return an event if the node has booted since the agent ran last."""
        before = self.spool.recall("boot_id")
        if before == self.identity.boot_id:
            return []
        self.spool.remember("boot_id", self.identity.boot_id)
        return [] if before is None else [self._event("boot", f"boot {self.identity.boot_id} after {before}")]


def token_of(settings: Settings) -> str:
    """Return the node's token, '' for none."""
    return settings.agent.token.get_secret_value() if settings.agent.token else ""


def run_agent(
    settings: Settings,
    *,
    once: bool = False,
    procfs: Path = _PROC,
    sysfs: Path = _SYS,
    token: Callable[[], str] | None = None,
) -> int:
    """Run the agent until SIGTERM or SIGINT, or once; return the process's exit code.

    `token` reads the token anew: a hub that refused the old one gets the new one without a restart.
    """
    agent = Agent(settings, procfs=procfs, sysfs=sysfs, token=token)
    try:
        if once:
            return 0 if agent.once() else 1
        stop = threading.Event()

        def told(number: int, _: FrameType | None) -> None:
            log.info("agent stops", signal=signal.Signals(number).name)
            stop.set()

        for each in (signal.SIGTERM, signal.SIGINT):
            signal.signal(each, told)
        agent.run(stop)
        return 0
    finally:
        agent.close()
