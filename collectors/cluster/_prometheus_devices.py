"""Which devices DCGM exporter has seen, and which Xids it told."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

import numpy as np
import polars as pl

from collectors.cluster._prometheus_api import Api, Grid, Series, instant, selector
from collectors.cluster._prometheus_dcgm import (
    DEVICE_MARKS,
    INSTANCE,
    OWN_COLUMNS,
    UUID,
    XID,
    gpu_uuid,
    without_blanks,
)
from collectors.cluster._prometheus_decode import points
from collectors.cluster._prometheus_slices import Device, Slices, model, sliced, whole_instants
from collectors.cluster._prometheus_table import Labels, Matcher, NodeOf, named
from collectors.node._nvml_health import CRITICAL_XIDS
from ledger.frames import dtypes
from ledger.registry import Row
from ledger.tables import Gpu, GpuEvent

SOURCE: Final = "prometheus"
"""The word for nodes that only their samples tell."""

_XID_MEMORY_SECONDS: Final = 3600
_GONE_MEMORY_SECONDS: Final = 3600
_ASKED_SECONDS: Final = 600


def inventory(samples: pl.DataFrame, labels: Mapping[Device, Labels], slices: Slices) -> pl.DataFrame:
    """Return the devices that samples are of, each since its first one.

    A slice takes the part of its device that its profile says; what no slice takes is a device of its own. A device
    that is cut, cut anew, or whole again in a window is so from the instant on at which that was seen.
    """
    known = [name for name in ("memory_total_bytes", "power_limit_watts") if name in samples.columns]
    seen = samples.group_by("cluster", "node", "gpu_uuid", maintain_order=True).agg(
        pl.col("sampled_at").min().alias("exists_start"), *(pl.col(name).drop_nulls().last() for name in known)
    )
    cut = slices.of_boards()
    # What slices tell of their board says nothing of whether it is there as a whole.
    told_by_slices = {(node, words[UUID]) for (node, _), words in labels.items() if words.get(INSTANCE)} - labels.keys()
    rows: list[Row] = []
    facts: dict[str, dict[str, dict[str, Any]]] = {}
    for row in seen.iter_rows(named=True):
        words = labels.get((row["node"], row["gpu_uuid"]), {})
        told = {**row, "gpu_model": model(words), "gpu_index": _index(words)}
        if words.get(INSTANCE) or (row["node"], row["gpu_uuid"]) in cut:
            facts.setdefault(row["node"], {})[row["gpu_uuid"]] = told
        elif (row["node"], row["gpu_uuid"]) not in told_by_slices:
            rows.append({**told, "parent_gpu_uuid": "", "gpu_fraction": Decimal(1)})
    whole = _whole_instants(samples, cut)
    for (node, board), parts in cut.items():
        seen_whole = slices.steps_of(whole.get((node, board), ()))
        rows += sliced(parts, seen_whole, facts.get(node, {}), slices.instant_of)
    return pl.DataFrame(rows, schema=dtypes(Gpu))


def _whole_instants(samples: pl.DataFrame, cut: Collection[Device]) -> dict[Device, list[datetime]]:
    """Return when each board that is cut was seen whole."""
    if not cut:
        return {}
    of_boards = samples.filter(pl.col("gpu_uuid").is_in(sorted({board for _, board in cut})))
    found: dict[Device, list[datetime]] = {}
    for device, at in whole_instants(of_boards, OWN_COLUMNS):
        found.setdefault(device, []).append(at)
    return found


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
    there = {_place(labels, node_of): labels.get(UUID, "") for labels in api.labels(select, since - memory, since)}
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
    age, from before the first sample, is none. It names the pod or the job of a device too: of each that has a device
    in turn there is another series, and what one of them tells is no news of the next.
    """
    before = _before(api, matchers, grid, node_of)
    series = api.range(f"last_over_time({selector(XID, matchers)}[{api.window(grid.step)}])", grid)
    of_devices: dict[Device, list[Series]] = {}
    for each in series:
        of_devices.setdefault(_identity(each.metric, node_of), []).append(each)
    rows = [
        row
        for device, told in of_devices.items()
        if all(device)
        for row in _changes(device, told, before.get(device, np.nan), grid, cluster)
    ]
    return pl.DataFrame(rows, schema=dtypes(GpuEvent))


def _before(api: Api, matchers: Sequence[Matcher], grid: Grid, node_of: NodeOf) -> dict[Device, float]:
    """Return the last Xid of each device before a window; where several series have one, that which was told last."""
    at, memory = grid.start - grid.step, max(_XID_MEMORY_SECONDS, grid.step)
    told = api.instant(f"last_over_time({selector(XID, matchers)}[{memory}s])", at)
    numbers = without_blanks(np.array([value for _, value in told], dtype=np.float64)).tolist()
    found: dict[Device, list[tuple[Labels, float]]] = {}
    for (labels, _), value in zip(told, numbers, strict=True):
        found.setdefault(_identity(labels, node_of), []).append((labels, value))
    several = {uuid for (_, uuid), values in found.items() if len(values) > 1}
    seen: dict[frozenset[tuple[str, str]], float] = {}
    if several:
        wanted = selector(XID, ((UUID, "=~", "|".join(map(re.escape, sorted(several)))), *matchers))
        query = f"max_over_time(timestamp({wanted})[{memory}s:{grid.step}s])"
        seen = {named(labels): seconds for labels, seconds in api.instant(query, at)}
    return {
        device: max((seen.get(named(labels), 0.0), value) for labels, value in values)[1]
        for device, values in found.items()
    }


def _changes(device: Device, told: Sequence[Series], last: float, grid: Grid, cluster: str) -> Iterable[Row]:
    """Yield an event for each change in what the series of one device tell, from what was told last before."""
    node, uuid = device
    _, steps, values = points(told, grid)
    at_steps = np.full(grid.length, np.nan)
    np.fmax.at(at_steps, steps, without_blanks(values))
    for step in np.flatnonzero(~np.isnan(at_steps)).tolist():
        value = float(at_steps[step])
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
        last = value


def _identity(labels: Labels, node_of: NodeOf) -> Device:
    return node_of(labels), labels.get(UUID, "")


def _at(grid: Grid, step: int) -> datetime:
    return instant(grid.start + step * grid.step)
