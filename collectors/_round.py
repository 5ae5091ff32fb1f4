"""One round of collectors: each in isolation, its rows stamped, its outcome a row too."""

import inspect
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ValidationError

from collectors._clock import utc_now
from collectors._settings import CollectorSettings
from ledger.config import Settings, origin
from ledger.errors import ClusterLedgerError, ConfigError, PartError, SourceMissing
from ledger.explain import nearest, problem
from ledger.registry import Collector, Row

Tables = dict[str, list[Row]]
OneRound = Callable[[], Iterable[tuple[str, Row]]]
T = TypeVar("T", bound=BaseModel)

RUN_TABLE: Final = "collector_run"


@dataclass(frozen=True)
class Run:
    """How one round of one collector went."""

    collector: str
    ok: bool
    rows: int
    duration_seconds: float
    error: str | None


@dataclass(frozen=True)
class Result:
    """What one collector yielded in one round, not yet stamped."""

    run: Run
    started_at: datetime
    step_seconds: float
    rows: list[tuple[str, Row]] = field(default_factory=list)


class Source:
    """One collector on this node: opened at its first round, and again after it could not be opened.

    `offers` are the roots and libraries that a collector may ask for by the name of a parameter.
    """

    def __init__(self, unit: Collector, section: Mapping[str, Any], offers: Mapping[str, object]) -> None:
        decided = _settings(unit, section)
        self.decided = decided
        self.name = unit.name
        self.is_enabled = decided.enabled
        self.step_seconds = decided.every_seconds or unit.every_seconds
        self.deadline_seconds = decided.deadline_seconds or unit.deadline_seconds
        self._unit = unit
        wanted = inspect.signature(unit.open).parameters
        given = {name: value for name, value in offers.items() if name in wanted}
        self._arguments = given | ({"settings": decided} if "settings" in wanted else {})
        self._round: OneRound | None = None

    def is_as(self, other: "Source") -> bool:
        """Tell whether another source would do the same."""
        return self.name == other.name and self.decided == other.decided

    def collect(self, now: Callable[[], datetime] = utc_now) -> Result:
        """Do one round. Whatever happens inside becomes a run with an error: one collector never stops another."""
        started_at, started = now(), time.monotonic()
        rows: list[tuple[str, Row]] = []
        is_ok, error, is_to_stay = True, None, True
        try:
            if self._round is None:
                self._round = self._unit.open(**self._arguments)
            rows.extend(self._round())
        except SourceMissing as missing:
            # What is not on this node is no failure; rows that came before it stay.
            error = missing.message
        except ClusterLedgerError as failed:
            is_ok, error, is_to_stay = False, failed.message, isinstance(failed, PartError)
        except Exception as failed:  # noqa: BLE001  the one place: a collector's fault is a row, never the agent's end
            is_ok, error, is_to_stay = False, f"{type(failed).__name__}: {failed}".splitlines()[0], False
        if not is_to_stay:
            # A library that failed is opened anew: a driver that was loaded again answers a new session only.
            self._round = None
        run = Run(self.name, is_ok, len(rows), time.monotonic() - started, error)
        return Result(run, started_at, self.step_seconds, rows)

    def collect_in_time(self, now: Callable[[], datetime] = utc_now) -> Result:
        """Do one round in a thread of its own, and give up on it after the deadline."""
        done: list[Result] = []
        thread = threading.Thread(target=lambda: done.append(self.collect(now)), daemon=True, name=self.name)
        started_at = now()
        thread.start()
        thread.join(self.deadline_seconds)
        return done[0] if done else self.overdue(started_at)

    def overdue(self, started_at: datetime) -> Result:
        """Return the outcome of a round that does not end."""
        error = f"no end after {self.deadline_seconds:g} s"
        run = Run(self.name, ok=False, rows=0, duration_seconds=self.deadline_seconds, error=error)
        return Result(run, started_at, self.step_seconds)


def _settings(unit: Collector, section: Mapping[str, Any]) -> CollectorSettings:
    """Return a collector's section of the configuration, checked.

    Raises: ConfigError: a key is unknown, or a value is out of its range.
    """
    model: type[BaseModel] = unit.settings or CollectorSettings
    try:
        found = model.model_validate(section)
    except ValidationError as error:
        hint = "`clusterledger config` prints every key, its default and its range"
        where = f"{origin('collectors', unit.name)}: collectors.{unit.name}"
        lines = [f"{where}.{problem(each, model)}" for each in error.errors()]
        raise ConfigError("\n".join(lines), hint=hint) from None
    if not isinstance(found, CollectorSettings):
        raise ConfigError(f"{unit.module}: settings are {model.__name__}, expected a CollectorSettings")
    return found


def sources(
    units: Mapping[str, Collector], names: Iterable[str] | None, settings: Settings, offers: Mapping[str, object]
) -> list[Source]:
    """Return the collectors to run: all enabled ones, or the named ones.

    Raises: ConfigError: a name, or a section of the configuration, names no collector.
    """
    chosen = list(names) if names is not None else None
    for name in (*(chosen or ()), *settings.collectors):
        if name not in units:
            where = "" if name in (chosen or ()) else f"{origin('collectors', name)}: "
            close = nearest(name, list(units))
            found_none = f"{where}collectors.{name}: found no such collector{f'; {close}' if close else ''}"
            raise ConfigError(found_none, hint=f"there are {', '.join(units)}")
    found = [Source(unit, settings.collectors.get(name, {}), offers) for name, unit in units.items()]
    return [each for each in found if (each.name in chosen if chosen is not None else each.is_enabled)]
