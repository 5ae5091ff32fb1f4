"""Metrics that are in Prometheus already, or in what speaks like it, into the ledger's tables."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Annotated, Final

import dataframely as dy
import polars as pl
from pydantic import BaseModel, ConfigDict, Field

from collectors.cluster import _prometheus_cadvisor, _prometheus_dcgm, _prometheus_node, _prometheus_training
from collectors.cluster._kubernetes_jobs import POD_LABELS, Words
from collectors.cluster._prometheus_api import Api, grid_of, windows
from collectors.cluster._prometheus_connection import Connection
from collectors.cluster._prometheus_table import Key, Labels, Metric, Target
from collectors.cluster._prometheus_window import Naming, Reader
from collectors.cluster._source import Pull, Pulled, SourceSettings, cluster_source
from ledger.errors import ConfigError
from ledger.frames import columns_of
from ledger.tables import TABLES
from ledger.tables.partition import declared

TARGETS: Final = (
    *_prometheus_dcgm.TARGETS,
    *_prometheus_node.TARGETS,
    *_prometheus_cadvisor.TARGETS,
    *_prometheus_training.TARGETS,
)
"""The tables of samples, by exporter."""


_EMITS: Final = (
    *dict.fromkeys(declared(target.schema).name for target in TARGETS),
    *("gpu", "gpu_event", "job", "job_gpu", "node", "node_state"),
)


_MOST_DIGITS: Final = 18


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
    gone_after_hours: Annotated[
        float, Field(gt=0, le=8760, description="A device that was not seen for so long is gone since then")
    ] = 24.0
    match: Annotated[
        dict[str, str], Field(default_factory=dict, description='Labels of all series, such as { env = "prod" }')
    ]
    tables: Annotated[tuple[str, ...], Field(description="Tables that are filled; empty for all")] = ()
    node_labels: Annotated[
        tuple[str, ...], Field(min_length=1, description="Labels that name a node; the first that a series has")
    ] = ("exported_node", "node", "kubernetes_node", "Hostname", "nodename", "instance")
    short_names: Annotated[bool, Field(description="Take a node's name up to its first dot")] = False
    metrics: Annotated[tuple[CustomMetric, ...], Field(description="Further metrics")] = ()
    pod_labels: Annotated[tuple[str, ...], Field(description="Labels of pods that are kept; no others are")] = (
        POD_LABELS
    )
    user_label: Annotated[str, Field(description="Label that names a pod's user")] = "user"
    team_label: Annotated[str, Field(description="Label that names a pod's team")] = "team"
    model_label: Annotated[str, Field(description="Label that names a pod's model")] = "model"


@cluster_source(
    emits=_EMITS,
    every_seconds=60,
    settings=PrometheusSettings,
)
def prometheus(settings: PrometheusSettings) -> Pull:
    """Read what exporters told a Prometheus, Thanos, Mimir or VictoriaMetrics.

    Known exporters are DCGM exporter, node_exporter, cAdvisor and kube-state-metrics; trainings may push how far
    they are.

    One row per step: the newest sample within it. Where there is none there is no row; nothing is repeated.

    Raises: SourceError: the server refuses, or does not answer. ConfigError: a metric names no column.
    """
    targets = _targets(settings)
    tables = frozenset(settings.tables) or frozenset(_EMITS)
    matchers = tuple((label, "=", value) for label, value in settings.match.items())
    words = Words(settings.pod_labels, settings.user_label, settings.team_label, settings.model_label)

    def pull(since: datetime | None, until: datetime) -> Iterator[Pulled]:
        api = Api(settings)
        end = until - timedelta(seconds=settings.delay_seconds)
        grid = grid_of(since or end - timedelta(days=settings.history_days), end, settings.step_seconds)
        known = api.names(grid.start - grid.step, max(grid.start, grid.end))
        naming = Naming(settings.node_labels, is_short=settings.short_names)
        node_of, gone_after = naming.of(api, known, grid), int(settings.gone_after_hours * 3600)
        reader = Reader(api, settings.cluster, targets, known, matchers, node_of, tables, gone_after, words)
        pieces = windows(grid, reader.most_steps(grid))
        is_partial = api.partial_count > 0
        yield from _ahead(reader.pulled(each, is_last=each.end == grid.end, is_partial=is_partial) for each in pieces)

    return pull


def _ahead(pieces: Iterator[Pulled]) -> Iterator[Pulled]:
    """Yield pieces, and ask for the next one while the one before is kept."""
    with ThreadPoolExecutor(1, "prometheus") as worker:
        coming = worker.submit(next, pieces, None)
        while (piece := coming.result()) is not None:
            coming = worker.submit(next, pieces, None)
            yield piece


def _targets(settings: PrometheusSettings) -> list[Target]:
    """Return the tables of samples to fill, with the metrics that the configuration adds."""
    all_targets = (*TARGETS, *(_custom(each) for each in settings.metrics))
    names = {*_EMITS, *(declared(target.schema).name for target in all_targets)}
    for name in settings.tables:
        if name not in names:
            raise ConfigError(f"tables: found {name}, expected some of {', '.join(sorted(names))}")
    return [target for target in all_targets if declared(target.schema).name in (settings.tables or names)]


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

    kinds = {name: columns_of(table.schema)[name] for name in own}
    untold = [name for name, kind in kinds.items() if not isinstance(kind, dy.String | dy.Int64)]
    if untold:
        raise ConfigError(
            f"metrics: {each.metric}: found table {each.table}, expected one without {untold[0]} as a key"
        )
    numbers = [name for name, kind in kinds.items() if isinstance(kind, dy.Int64)]

    def key(labels: Labels, part: str) -> Key | None:
        del part
        found = {name: labels.get(each.keys[name], "") for name in own}
        is_told = all(found.values()) and all(_is_number(found[name]) for name in numbers)
        return tuple(found.values()) if is_told else None

    def numbered(frame: pl.DataFrame) -> pl.DataFrame:
        return frame.with_columns(pl.col(numbers).cast(pl.Int64))

    metric = Metric(each.metric, each.column, times=each.times, per=each.per)
    like = next((target for target in TARGETS if target.schema is table.schema), None)
    names, finish = tuple(own), like.finish if like is not None and like.names == tuple(own) else numbered
    blank = _prometheus_dcgm.without_blanks if each.metric.startswith("DCGM_") else None
    return Target("configured", table.schema, (metric,), names=names, key=key, finish=finish, blank=blank)


def _is_number(text: str) -> bool:
    """Tell whether a text is a number that a column of whole numbers holds."""
    return text.isascii() and text.isdecimal() and len(text) <= _MOST_DIGITS
