"""All tables of one window of time, and how a series says which node it is of."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

import dataframely as dy
import polars as pl

from collectors.cluster import _prometheus_kube
from collectors.cluster._kubernetes_jobs import Words
from collectors.cluster._prometheus_api import Api, Grid, Series, TooMuchError, instant, selector
from collectors.cluster._prometheus_asking import Asking
from collectors.cluster._prometheus_dcgm import GPU_SAMPLE, XID, gpu_uuid
from collectors.cluster._prometheus_decode import Rows
from collectors.cluster._prometheus_devices import gone, inventory, nodes, xids
from collectors.cluster._prometheus_node import NODE_NAME
from collectors.cluster._prometheus_slices import Device, Slices, rests
from collectors.cluster._prometheus_table import NAME, Labels, Matcher, NodeOf, Target, answer, fill, fitted, queries
from collectors.cluster._source import Pulled
from ledger.frames import dtypes
from ledger.tables import Gpu, GpuEvent, GpuSample, HostSample, Job, Node, NodeState
from ledger.tables.partition import declared

_MOST_STEPS: Final = 10_000
"""A server gives at most 11,000 points of a series."""

_MOST_POINTS: Final = 4_000_000
"""Of all series of a window: a hundred megabytes of answers."""

_FEW_STEPS: Final = 10
_PORT: Final = re.compile(r":\d+\Z")

_Frames = dict[type[dy.Schema], pl.DataFrame]


@dataclass(frozen=True)
class Naming:
    """Which labels name a series' node, the first that it has; short names end at their first dot."""

    labels: Sequence[str]
    is_short: bool

    def of(self, api: Api, known: frozenset[str], grid: Grid) -> NodeOf:
        """Return the name of a series' node; the address of a scrape stands for what the node calls itself."""
        own = _own_names(api, grid) if NODE_NAME in known and grid.length else {}

        def node_of(labels: Labels) -> str:
            for label in self.labels:
                found = labels.get(label, "")
                if found and label == "instance":
                    host = _PORT.sub("", found)
                    found = own.get(host) or host
                if found:
                    return found.split(".", 1)[0] if self.is_short and not _is_address(found) else found
            return ""

        return node_of


def _own_names(api: Api, grid: Grid) -> dict[str, str]:
    """Return what nodes call themselves by the address at which they are scraped."""
    seconds = grid.end - grid.start + grid.step
    told = api.instant(f"last_over_time({NODE_NAME}[{seconds}s])", grid.end)
    return {_PORT.sub("", labels.get("instance", "")): labels.get("nodename", "") for labels, _ in told}


def _is_address(text: str) -> bool:
    return ":" in text or text.replace(".", "").isdecimal()


@dataclass
class _Table:
    """The rows of one table so far, from all exporters that fill it, and what is made of them at the end."""

    rows: Rows
    finishes: list[Callable[[pl.DataFrame], pl.DataFrame]] = field(default_factory=list)


@dataclass(frozen=True)
class Reader:
    """What is read of a server: the tables, those metrics that it has, and the labels that their series must have."""

    api: Api
    cluster: str
    targets: Sequence[Target]
    known: frozenset[str]
    matchers: Sequence[Matcher]
    node_of: NodeOf
    tables: frozenset[str]
    gone_after_seconds: int
    words: Words

    def most_steps(self, grid: Grid) -> int:
        """Return how many steps a window may have: as many as a server gives, fewer where there are many series."""
        read = {each.name for target in self.targets for each in target.metrics}
        names = sorted({*read, *_prometheus_kube.OF_PODS} & self.known)
        if grid.length <= _FEW_STEPS or not names:
            return _MOST_STEPS
        select = selector("", ((NAME, "=~", "|".join(names)), *self.matchers))
        try:
            found = self.api.instant(f"count(last_over_time({select}[{grid.step * _FEW_STEPS}s]))", grid.end)
        except TooMuchError:
            # What cannot even be counted is read in the shortest windows.
            return _FEW_STEPS
        count = found[0][1] if found else 1.0
        return max(_FEW_STEPS, min(_MOST_STEPS, int(_MOST_POINTS / max(count, 1.0))))

    def pulled(self, grid: Grid, *, is_last: bool, is_partial: bool = False) -> Pulled:
        """Return all rows of one window; the last one also tells what stands at its end.

        `is_partial` says that what was asked before was answered in part, such as which metrics there are.
        """
        labels: dict[Device, Labels] = {}
        slices, partial_count = Slices(grid, self.node_of), self.api.partial_count
        tables = self._tables(grid, labels, slices)
        remarks: list[str] = []
        frames = self._frames(tables, grid, remarks)
        if GpuSample in frames:
            frames[Gpu] = inventory(frames[GpuSample], labels, slices)
            unheld = rests(frames[GpuSample], frames[Gpu])
            frames[GpuSample] = pl.concat([frames[GpuSample], unheld], how="diagonal_relaxed")
            frames[Gpu] = pl.concat([frames[Gpu], self._gone(grid)])
            if "node" in self.tables and not {_prometheus_kube.NODES} & self.known:
                told = nodes(frames[Gpu], frames.get(HostSample, pl.DataFrame()))
                frames[Node] = pl.DataFrame(told.to_dicts(), schema=dtypes(Node))
        if XID in self.known and "gpu_event" in self.tables:
            events = xids(self.api, self.matchers, grid, self.cluster, self.node_of)
            frames |= {} if events.is_empty() else {GpuEvent: events}
        asking = Asking(self.api, self.cluster, self.known, self.matchers, self.node_of, grid, self.words)
        kube = _prometheus_kube.told(asking, is_last=is_last)
        kube = {schema: frame for schema, frame in kube.items() if declared(schema).name in self.tables}
        frames |= kube
        if not frames:
            remarks.append("none of the metrics that are read is there; see match, tables and metrics of its section")
        states: tuple[type[dy.Schema], ...] = (Node, NodeState)
        standing = {schema: _prometheus_kube.SOURCE for schema in states if schema in kube}
        held_by = _prometheus_kube.HOLDER if Job in frames else ""
        is_partial = is_partial or self.api.partial_count > partial_count
        said = (*self.api.remarks, *remarks)
        since = instant(grid.start - grid.step)
        rejected = tuple(asking.rejected)
        return Pulled(frames, instant(grid.end), rejected, said, standing, held_by, is_partial=is_partial, since=since)

    def _tables(
        self, grid: Grid, labels: dict[Device, Labels], slices: Slices
    ) -> Mapping[tuple[type[dy.Schema], tuple[str, ...]], _Table]:
        """Ask for all tables, and note the labels of devices and which slices there were."""
        tables: dict[tuple[type[dy.Schema], tuple[str, ...]], _Table] = {}
        window = self.api.window(grid.step)
        for target in self.targets:
            for asked in queries(target, self.known, self.matchers, window):
                table = tables.setdefault((target.schema, target.names), _Table(Rows(grid)))
                if target.finish not in table.finishes:
                    table.finishes.append(target.finish)
                series = answer(self.api, asked, grid)
                fill(table.rows, target, asked, series, grid, self.node_of)
                if target is GPU_SAMPLE:
                    labels.update(self._devices(series))
                    slices.note(series)
        return tables

    def _devices(self, series: Sequence[Series]) -> dict[Device, Labels]:
        return {(self.node_of(each.metric), gpu_uuid(each.metric)): each.metric for each in series}

    def _gone(self, grid: Grid) -> pl.DataFrame:
        rows = gone(self.api, self.known, self.matchers, grid, self.gone_after_seconds, self.node_of)
        told = [{**row, "cluster": self.cluster, "parent_gpu_uuid": "", "gpu_fraction": Decimal(1)} for row in rows]
        return pl.DataFrame(told, schema=dtypes(Gpu))

    def _frames(self, tables: Mapping[Any, _Table], grid: Grid, remarks: list[str]) -> _Frames:
        frames: _Frames = {}
        for (schema, names), table in tables.items():
            frame = table.rows.frame(("node", *names))
            if frame.is_empty():
                continue
            for finish in table.finishes:
                frame = finish(frame)
            common = {"cluster": pl.lit(self.cluster), "step_seconds": pl.lit(float(grid.step))}
            ready = fitted(frame.with_columns(**common), schema, remarks)
            frames[schema] = pl.concat([frames[schema], ready], how="diagonal_relaxed") if schema in frames else ready
        return frames
