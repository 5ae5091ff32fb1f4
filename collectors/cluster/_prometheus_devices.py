"""Which devices DCGM exporter has seen, and which Xids it told."""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

import numpy as np
import polars as pl

from collectors.cluster._kubernetes_devices import slice_share
from collectors.cluster._prometheus_api import Api, Grid, Series, instant, selector
from collectors.cluster._prometheus_dcgm import DEVICE_MARKS, INSTANCE, PROFILE, UUID, XID, gpu_uuid, without_blanks
from collectors.cluster._prometheus_decode import points
from collectors.cluster._prometheus_table import Labels, Matcher, NodeOf
from collectors.node._nvml_health import CRITICAL_XIDS
from collectors.node._nvml_mig import Slice, fractions
from ledger.frames import dtypes
from ledger.registry import Row
from ledger.tables import Gpu, GpuEvent

Device = tuple[str, str]
"""Node and UUID."""

SOURCE: Final = "prometheus"
"""The word for nodes that only their samples tell."""

_SLICES: Final = 7
_GIGABYTES: Final = re.compile(r"\b(\d+) ?GB\b")
"""The memory of the whole device, which no slice tells, where the name of the model has it."""

_MEBIBYTES: Final = 1024
_REST: Final = "-rest"
_XID_MEMORY_SECONDS: Final = 3600
_GONE_MEMORY_SECONDS: Final = 3600
_ASKED_SECONDS: Final = 600


def inventory(samples: pl.DataFrame, labels: Mapping[Device, Labels]) -> pl.DataFrame:
    """Return the devices that samples are of, each since its first one.

    A slice takes the part of its device that its profile says; what no slice takes is a device of its own.
    """
    known = [name for name in ("memory_total_bytes", "power_limit_watts") if name in samples.columns]
    seen = samples.group_by("cluster", "node", "gpu_uuid", maintain_order=True).agg(
        pl.col("sampled_at").min().alias("exists_start"), *(pl.col(name).drop_nulls().last() for name in known)
    )
    rows: list[dict[str, Any]] = []
    cut: dict[Device, list[tuple[dict[str, Any], Labels]]] = {}
    boards = {(node, words[UUID]) for (node, _), words in labels.items() if words.get(INSTANCE)}
    for row in seen.iter_rows(named=True):
        words = labels.get((row["node"], row["gpu_uuid"]), {})
        told = {**row, "gpu_model": _model(words), "gpu_index": _index(words)}
        if words.get(INSTANCE):
            cut.setdefault((row["node"], words[UUID]), []).append((told, words))
        elif words or (row["node"], row["gpu_uuid"]) not in boards:
            rows.append({**told, "parent_gpu_uuid": "", "gpu_fraction": Decimal(1)})
    found = [*(each for row in rows for each in _whole(row, cut)), *_sliced(cut)]
    return pl.DataFrame(found, schema=dtypes(Gpu))


def _whole(row: dict[str, Any], cut: Mapping[Device, Sequence[tuple[dict[str, Any], Labels]]]) -> Iterable[Row]:
    """Yield a whole device, up to when it is cut: then it is there as its slices, and would be there twice."""
    since = min((part["exists_start"] for part, _ in cut.get((row["node"], row["gpu_uuid"]), ())), default=None)
    if since is None:
        yield row
    elif row["exists_start"] < since:
        yield {**row, "exists_end": since}


def rests(samples: pl.DataFrame, devices: pl.DataFrame) -> pl.DataFrame:
    """Return samples of what no slice takes of a board, at the instants of its slices: it is there, and nobody's."""
    board = ["cluster", "node", "parent_gpu_uuid"]
    is_rest = pl.col("gpu_uuid").str.ends_with(_REST)
    rest = devices.filter(is_rest).select(*board, pl.col("gpu_uuid").alias("_rest")).unique(maintain_order=True)
    slices = devices.filter(~is_rest & (pl.col("parent_gpu_uuid") != "")).select(*board, "gpu_uuid").unique()
    seen = samples.select("cluster", "node", "gpu_uuid", "sampled_at", "step_seconds")
    told = seen.join(slices, on=["cluster", "node", "gpu_uuid"]).join(rest, on=board)
    found = told.select("cluster", "node", "sampled_at", "step_seconds", pl.col("_rest").alias("gpu_uuid")).unique()
    return found.sort("gpu_uuid", "sampled_at").with_columns(
        status=pl.lit("ok"),
        evidence_quality=pl.lit("X"),
        process_count=pl.lit(0, dtype=pl.Int64),
        process_job_ids=pl.lit(""),
        jobless_process_count=pl.lit(0, dtype=pl.Int64),
    )


def nodes(devices: pl.DataFrame, hosts: pl.DataFrame) -> pl.DataFrame:
    """Return the nodes of devices, from their first sample on or, where all their devices are gone, up to the last."""
    place = ["cluster", "node"]
    is_end = pl.col("exists_start").eq_missing(pl.col("exists_end"))
    here = devices.filter(~is_end).group_by(place, maintain_order=True).agg(pl.col("exists_start").min())
    left = devices.filter(is_end).join(here, on=place, how="anti").group_by(place, maintain_order=True)
    gone_ones = left.agg(pl.col("exists_start").max(), pl.col("exists_end").max())
    sizes = {"cpu_count": "cpu_count", "memory_bytes": "memory_total_bytes"}
    known = [pl.col(told).max().alias(name) for name, told in sizes.items() if told in hosts.columns]
    found = pl.concat([here, gone_ones], how="diagonal")
    if known:
        found = found.join(hosts.group_by(place).agg(known), on=place, how="left", maintain_order="left")
    return found.with_columns(source=pl.lit(SOURCE))


def _sliced(cut: Mapping[Device, Sequence[tuple[dict[str, Any], Labels]]]) -> Iterable[Row]:
    for (_, parent), slices in cut.items():
        parts = [_slice(words) for _, words in slices]
        shares, rest = fractions(parts)
        for (row, _), part, share in zip(slices, parts, shares, strict=True):
            yield {**row, "parent_gpu_uuid": parent, "gpu_fraction": share, "mig_profile": part.profile or None}
        if rest:
            first = {**slices[0][0], "memory_total_bytes": None, "power_limit_watts": None}
            yield {**first, "gpu_uuid": parent + _REST, "parent_gpu_uuid": parent, "gpu_fraction": rest}


def _slice(words: Labels) -> Slice:
    profile = words.get(PROFILE, "").lower()
    size = _GIGABYTES.search(_model(words) or "")
    share = slice_share(profile, float(size[1]) * _MEBIBYTES if size else None) or 1 / _SLICES
    return Slice(gpu_uuid(words), None, _number(words.get(INSTANCE, "")) or 0, profile, None, share, 0.0)


def _model(words: Labels) -> str | None:
    return words.get("modelName") or words.get("DCGM_FI_DEV_NAME") or None


def _index(words: Labels) -> int | None:
    return _number(words.get("gpu", ""))


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdecimal() else None


def gone(
    api: Api, known: frozenset[str], matchers: Sequence[Matcher], grid: Grid, after_seconds: int, node_of: NodeOf
) -> list[Row]:
    """Return the devices that were seen some time ago and not since, each with its last instant as start and end.

    Where nothing was seen lately the exporters are silent, and nothing is gone. Asked every ten minutes at most.
    """
    name = next((each for each in DEVICE_MARKS if each in known), "")
    if not name or grid.end // _ASKED_SECONDS == (grid.start - grid.step) // _ASKED_SECONDS:
        return []
    select, since = selector(name, matchers), grid.end - after_seconds
    memory = grid.end - grid.start + _GONE_MEMORY_SECONDS
    here = {_place(labels, node_of) for labels in api.labels(select, since, grid.end)}
    there = {_place(labels, node_of): labels["UUID"] for labels in api.labels(select, since - memory, since)}
    lost = {place: uuid for place, uuid in there.items() if place not in here}
    if not here or not lost:
        return []
    wanted = selector(name, ((UUID, "=~", "|".join(map(re.escape, sorted(set(lost.values()))))), *matchers))
    query = f"max_over_time(timestamp({wanted})[{memory}s:{grid.step}s])"
    last: dict[Device, float] = {}
    for labels, at in api.instant(query, since):
        place = _place(labels, node_of)
        last[place] = max(at, last.get(place, at))
    ends = {place: instant(-int(-at // grid.step) * grid.step) for place, at in sorted(last.items()) if place in lost}
    return [
        {"node": node, "gpu_uuid": uuid, "exists_start": end, "exists_end": end} for (node, uuid), end in ends.items()
    ]


def _place(labels: Labels, node_of: NodeOf) -> Device:
    return node_of(labels), gpu_uuid(labels)


def xids(api: Api, matchers: Sequence[Matcher], grid: Grid, cluster: str, node_of: NodeOf) -> pl.DataFrame:
    """Return an event for each change of a device's last Xid, at the step in which it was first told.

    The exporter tells the last one for ever, so that the same Xid twice in a row is one event, and one of unknown
    age, from before the first sample, is none.
    """
    select = selector(XID, matchers)
    before_at = grid.start - grid.step
    memory = max(_XID_MEMORY_SECONDS, grid.step)
    before = {
        _identity(labels, node_of): value
        for labels, value in api.instant(f"last_over_time({select}[{memory}s])", before_at)
    }
    series = api.range(f"last_over_time({select}[{api.window(grid.step)}])", grid)
    rows = [row for each in series for row in _changes(each, before, grid, cluster, node_of)]
    return pl.DataFrame(rows, schema=dtypes(GpuEvent)).unique(maintain_order=True)


def _changes(each: Series, before: Mapping[Device, float], grid: Grid, cluster: str, node_of: NodeOf) -> Iterable[Row]:
    node, uuid = _identity(each.metric, node_of)
    if not node or not uuid:
        return
    _, steps, values = points([each], grid)
    values = without_blanks(values)
    is_told = ~np.isnan(values)
    steps, values = steps[is_told], values[is_told]
    earlier = np.concatenate([[before.get((node, uuid), np.nan)], values[:-1]]) if len(values) else values
    for step, value, last in zip(steps.tolist(), values.tolist(), earlier.tolist(), strict=True):
        if value > 0 and value != last and last == last:  # noqa: PLR0124  NaN: nothing was told before
            code = int(value)
            yield {
                "occurred_at": _at(grid, step),
                "cluster": cluster,
                "node": node,
                "gpu_uuid": uuid,
                "event": "xid",
                "xid_code": code,
                "is_critical": code in CRITICAL_XIDS,
                "message": f"{XID} became {code}",
                "source": "dcgm",
            }


def _identity(labels: Labels, node_of: NodeOf) -> Device:
    return node_of(labels), labels.get("UUID", "")


def _at(grid: Grid, step: int) -> datetime:
    return instant(grid.start + step * grid.step)
