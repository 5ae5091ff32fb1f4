"""What is asked of a server about one window for the tables of a cluster: last values, and when they were last told."""

import re
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, TypeVar

from collectors.cluster._kubernetes_jobs import Words
from collectors.cluster._prometheus_api import Api, Grid, selector
from collectors.cluster._prometheus_table import Labels, Matcher, NodeOf, named
from collectors.dumps._dump import Rejected

_BEFORE_SECONDS: Final = 600
_NODE_SECONDS: Final = 300
_STRANGE: Final = re.compile(r"[^a-zA-Z0-9_]")
LAST_SECOND: Final = 253_402_300_799
"""Of the year 9999: no calendar goes further."""

K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True)
class Asking:
    """Where and what is asked of a window; `rejected` collects what cannot be read of the answers."""

    api: Api
    cluster: str
    known: frozenset[str]
    matchers: Sequence[Matcher]
    node_of: NodeOf
    grid: Grid
    words: Words
    rejected: list[Rejected] = field(default_factory=list)

    def last(self, name: str, where: Sequence[Matcher] = (), seconds: int = 0) -> list[tuple[Labels, float]]:
        """Return the last value of each series of a metric in the window, or a little before it."""
        if name not in self.known:
            return []
        select = selector(name, (*where, *self.matchers))
        return [*self.api.instant(f"last_over_time({select}[{seconds or self._seconds}s])", self.grid.end)]

    def now(self, name: str) -> list[tuple[Labels, float]]:
        """Return the value of each series of a metric that is told at the end of the window."""
        if name not in self.known:
            return []
        return [*self.api.instant(selector(name, self.matchers), self.grid.end)]

    def of_nodes(self, name: str, where: Sequence[Matcher] = ()) -> dict[str, tuple[Labels, float]]:
        """Return what is told of each node at the end of the window."""
        return self.newest(name, self.node_of, where, max(_NODE_SECONDS, 5 * self.grid.step))

    def newest(
        self, name: str, of: Callable[[Labels], K], where: Sequence[Matcher] = (), seconds: int = 0
    ) -> dict[K, tuple[Labels, float]]:
        """Return the last value of each subject of a metric: of several series of one, that which was seen last.

        A label that changes, or an exporter that is started anew, makes another series, and the old one is still found
        a while after.
        """
        told = self.last(name, where, seconds)
        found = {of(labels): (labels, value) for labels, value in told}
        if len(found) == len(told):
            return found
        seen = {named(labels): at for labels, at in self.last_seen(name, where, seconds=seconds)}
        told.sort(key=lambda each: seen.get(named(each[0]), 0.0))
        return {of(labels): (labels, value) for labels, value in told}

    def last_seen(
        self, name: str, where: Sequence[Matcher] = (), compared: str = "", seconds: int = 0
    ) -> list[tuple[Labels, float]]:
        """Return when each series of a metric was last seen, or last had a value that compares so."""
        if name not in self.known:
            return []
        select = selector(name, (*where, *self.matchers))
        query = f"max_over_time(timestamp({select}{compared})[{seconds or self._seconds}s:{self.grid.step}s])"
        return [*self.api.instant(query, self.grid.end)]

    @property
    def since(self) -> int:
        """Return from when on it is looked for what is told."""
        return self.grid.start - self.grid.step - _BEFORE_SECONDS

    @property
    def _seconds(self) -> int:
        return self.grid.end - self.since


def labelled(told: Mapping[str, str], names: Sequence[str]) -> dict[str, str]:
    """Return labels of an object under their own names: kube-state-metrics writes them as `label_app_kubernetes_io`."""
    found = {name: told.get(f"label_{in_metrics(name)}", "") for name in names}
    return {name: word for name, word in found.items() if word}


def told_at(seconds: float) -> datetime | None:
    """Return the instant that a metric tells, None where it is none."""
    return datetime.fromtimestamp(seconds, tz=UTC) if 0 < seconds <= LAST_SECOND else None


def in_metrics(name: str) -> str:
    """Return a name of Kubernetes as metrics write it."""
    return _STRANGE.sub("_", name)
