"""Metrics that are in Prometheus already, or in what speaks like it, into the ledger's tables."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any, Final

import dataframely as dy
import polars as pl
from pydantic import BaseModel, ConfigDict, Field

from collectors.cluster import _prometheus_cadvisor, _prometheus_dcgm, _prometheus_node
from collectors.cluster._prometheus_api import Api, Connection, Grid, grid_of, instant, selector, windows
from collectors.cluster._prometheus_decode import Rows
from collectors.cluster._prometheus_table import (
    NAME,
    Key,
    Labels,
    Metric,
    NodeOf,
    Target,
    answer,
    fill,
    fitted,
    queries,
)
from collectors.cluster._source import Pull, Pulled, SourceSettings, cluster_source
from ledger.errors import ConfigError
from ledger.frames import columns_of
from ledger.tables import TABLES
from ledger.tables.partition import declared

_MOST_STEPS: Final = 10_000
"""A server gives at most 11,000 points of a series."""

_MOST_POINTS: Final = 4_000_000
"""Of all series of a window: a hundred megabytes of answers."""

_FEW_STEPS: Final = 10

_PORT: Final = re.compile(r":\d+\Z")

_TARGETS: Final = (*_prometheus_dcgm.TARGETS, *_prometheus_node.TARGETS, *_prometheus_cadvisor.TARGETS)


class CustomMetric(BaseModel):
    """One metric of an exporter that is not known here."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    metric: Annotated[str, Field(pattern=r"^[a-zA-Z_:][a-zA-Z0-9_:]*$", description="Name of the metric")]
    table: Annotated[str, Field(description="Table that it fills")]
    column: Annotated[str, Field(description="Column that it fills")]
    keys: Annotated[dict[str, str], Field(description="Label of each further key column, such as gpu_uuid")] = {}
    times: Annotated[float, Field(description="What it is multiplied by, to have the column's unit")] = 1.0
    per: Annotated[float, Field(gt=0, description="What it is divided by then: 100 for percent")] = 1.0


class PrometheusSettings(SourceSettings, Connection):
    """Where the server is, and which of its series are read."""

    step_seconds: Annotated[
        int, Field(ge=1, le=3600, description="Time between rows; not below the pace at which it scrapes")
    ] = 60
    delay_seconds: Annotated[
        int, Field(ge=0, le=3600, description="How far it stays behind the present, for samples that come late")
    ] = 60
    history_days: Annotated[float, Field(gt=0, le=3650, description="Days before the first pull that are read")] = 1.0
    match: Annotated[
        dict[str, str], Field(default_factory=dict, description='Labels of all series, such as { env = "prod" }')
    ]
    tables: Annotated[tuple[str, ...], Field(description="Tables that are filled; empty for all")] = ()
    node_labels: Annotated[
        tuple[str, ...], Field(min_length=1, description="Labels that name a node; the first that a series has")
    ] = ("exported_node", "node", "kubernetes_node", "Hostname", "nodename", "instance")
    short_names: Annotated[bool, Field(description="Take a node's name up to its first dot")] = False
    metrics: Annotated[tuple[CustomMetric, ...], Field(description="Further metrics")] = ()


@cluster_source(
    emits=tuple(dict.fromkeys(declared(target.schema).name for target in _TARGETS)),
    every_seconds=60,
    settings=PrometheusSettings,
)
def prometheus(settings: PrometheusSettings) -> Pull:
    """Read what DCGM exporter, node_exporter and cAdvisor tell a Prometheus, Thanos, Mimir or VictoriaMetrics.

    One row per step: the newest sample within it. Where there is none there is no row; nothing is repeated.

    Raises: SourceError: the server refuses, or does not answer. ConfigError: a metric names no column.
    """
    targets = _chosen(settings)
    matchers = tuple((label, "=", value) for label, value in settings.match.items())

    def pull(since: datetime | None, until: datetime) -> Iterator[Pulled]:
        api = Api(settings)
        end = until - timedelta(seconds=settings.delay_seconds)
        grid = grid_of(since or end - timedelta(days=settings.history_days), end, settings.step_seconds)
        known = api.names(grid.start - grid.step, max(grid.start, grid.end))
        node_of = _nodes(api, settings, known, grid)
        for window in windows(grid, _most_steps(api, targets, known, matchers, grid)):
            yield _piece(api, settings, targets, known, matchers, window, node_of)

    return pull


def _chosen(settings: PrometheusSettings) -> list[Target]:
    """Return the tables to fill, with the metrics that the configuration adds."""
    custom = [_custom(each) for each in settings.metrics]
    names = {declared(target.schema).name for target in (*_TARGETS, *custom)}
    for name in settings.tables:
        if name not in names:
            raise ConfigError(f"tables: found {name}, expected some of {', '.join(sorted(names))}")
    chosen = settings.tables or names
    return [target for target in (*_TARGETS, *custom) if declared(target.schema).name in chosen]


def _custom(each: CustomMetric) -> Target:
    """Return the target of one configured metric; it joins the rows of others that have the same keys."""
    table = TABLES.get(each.table)
    if table is None or table.group not in {"sample", "slow_sample"}:
        raise ConfigError(f"metrics: {each.metric}: found table {each.table}, expected one of samples")
    own = [name for name in table.key if name not in {"sampled_at", "cluster", "node"}]
    if set(each.keys) != set(own):
        raise ConfigError(f"metrics: {each.metric}: found keys {sorted(each.keys)}, expected {sorted(own)}")
    if each.column not in columns_of(table.schema):
        raise ConfigError(f"metrics: {each.metric}: found no column {each.column} in {each.table}")

    def key(labels: Labels, part: str) -> Key | None:
        del part
        found = tuple(labels.get(each.keys[name], "") for name in own)
        return found if all(found) else None

    metric = Metric(each.metric, each.column, times=each.times, per=each.per)
    like = next((target for target in _TARGETS if target.schema is table.schema), None)
    names, finish = tuple(own), like.finish if like is not None and like.names == tuple(own) else _as_it_is
    return Target("configured", table.schema, (metric,), names=names, key=key, finish=finish)


def _as_it_is(frame: pl.DataFrame) -> pl.DataFrame:
    return frame


def _most_steps(
    api: Api, targets: Sequence[Target], known: frozenset[str], matchers: Sequence[tuple[str, str, str]], grid: Grid
) -> int:
    """Return how many steps a window may have: as many as a server gives, fewer where there are many series."""
    names = sorted({each.name for target in targets for each in target.metrics} & known)
    if grid.length <= _FEW_STEPS or not names:
        return _MOST_STEPS
    select = selector("", ((NAME, "=~", "|".join(names)), *matchers))
    found = api.instant(f"count(last_over_time({select}[{grid.step * _FEW_STEPS}s]))", grid.end)
    count = found[0][1] if found else 1.0
    return max(_FEW_STEPS, min(_MOST_STEPS, int(_MOST_POINTS / max(count, 1.0))))


def _nodes(api: Api, settings: PrometheusSettings, known: frozenset[str], grid: Grid) -> NodeOf:
    """Return how a series names its node; an address of a scrape is told by the name that the node gives itself."""
    named: dict[str, str] = {}
    if _prometheus_node.NODE_NAME in known and grid.length:
        seconds = grid.end - grid.start + grid.step
        query = f"last_over_time({_prometheus_node.NODE_NAME}[{seconds}s])"
        for labels, _ in api.instant(query, grid.end):
            named[_PORT.sub("", labels.get("instance", ""))] = labels.get("nodename", "")

    def node_of(labels: Labels) -> str:
        for label in settings.node_labels:
            found = labels.get(label, "")
            if found and label == "instance":
                host = _PORT.sub("", found)
                found = named.get(host) or host
            if found:
                return found.split(".", 1)[0] if settings.short_names and not _is_address(found) else found
        return ""

    return node_of


def _is_address(text: str) -> bool:
    return ":" in text or text.replace(".", "").isdecimal()


def _piece(
    api: Api,
    settings: PrometheusSettings,
    targets: Sequence[Target],
    known: frozenset[str],
    matchers: Sequence[tuple[str, str, str]],
    grid: Grid,
    node_of: NodeOf,
) -> Pulled:
    """Return all rows of one window."""
    window = api.window(grid.step)
    tables: dict[tuple[type[dy.Schema], tuple[str, ...]], tuple[Rows, list[Callable[[Any], Any]]]] = {}
    for target in targets:
        for asked in queries(target, known, matchers, window):
            rows, finishes = tables.setdefault((target.schema, target.names), (Rows(grid), []))
            if target.finish not in finishes:
                finishes.append(target.finish)
            for _, series in answer(api, asked, grid):
                fill(rows, target, asked, series, grid, node_of)
    frames: dict[type[dy.Schema], pl.DataFrame] = {}
    remarks: list[str] = []
    for (schema, names), (rows, finishes) in tables.items():
        frame = rows.frame(("node", *names))
        if frame.is_empty():
            continue
        for finish in finishes:
            frame = finish(frame)
        common = {"cluster": pl.lit(settings.cluster), "step_seconds": pl.lit(float(grid.step))}
        ready = fitted(frame.with_columns(**common), schema, remarks)
        frames[schema] = pl.concat([frames[schema], ready], how="diagonal_relaxed") if schema in frames else ready
    if not tables:
        remarks.append("none of the metrics that are read is there; see match, tables and metrics of its section")
    return Pulled(frames, instant(grid.end), remarks=(*api.remarks, *remarks))


def emitted() -> Mapping[str, Sequence[Metric]]:
    """Return the metrics that are read by the table that they fill."""
    found: dict[str, list[Metric]] = {}
    for target in _TARGETS:
        found.setdefault(declared(target.schema).name, []).extend(target.metrics)
    return found
