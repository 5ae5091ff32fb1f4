"""Boards that DCGM exporter tells as slices: which slices were seen from when to when, and what no slice takes."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl

from collectors.cluster._cuts import is_rest, recut, share
from collectors.cluster._prometheus_api import Grid, Series, instant
from collectors.cluster._prometheus_dcgm import INSTANCE, PROFILE, UUID, gpu_uuid, is_of_board
from collectors.cluster._prometheus_decode import points
from collectors.cluster._prometheus_table import Labels, NodeOf
from ledger.registry import Row

Device = tuple[str, str]
"""Node and UUID."""

Steps = npt.NDArray[np.bool_]
"""Whether something was seen, by step of a window."""

_SLICES: Final = 7


@dataclass
class Seen:
    """One slice of one profile: its labels, and when it was seen."""

    labels: Labels
    at: Steps

    @property
    def profile(self) -> str:
        return self.labels.get(PROFILE, "").lower()


class Slices:
    """The slices that a window's series tell of; a number of a GPU instance may mean one profile after another."""

    def __init__(self, grid: Grid, node_of: NodeOf) -> None:
        self._grid = grid
        self._node_of = node_of
        self._seen: dict[tuple[str, str, str, str], Seen] = {}

    def note(self, series: Sequence[Series]) -> None:
        """Note what some series tell: those of metrics that a slice has of its own."""
        told = [each for each in series if _is_slices(each.metric)]
        if not told:
            return
        owners, steps, _ = points(told, self._grid)
        # Points come series by series.
        bounds = np.searchsorted(owners, np.arange(len(told) + 1))
        for each, begin, end in zip(told, bounds[:-1], bounds[1:], strict=True):
            if begin < end:
                self._of(each.metric).at[steps[begin:end]] = True

    def of_boards(self) -> dict[Device, list[Seen]]:
        """Return by board the slices that were seen."""
        found: dict[Device, list[Seen]] = {}
        for (node, board, *_), each in self._seen.items():
            found.setdefault((node, board), []).append(each)
        return found

    def steps_of(self, instants: Iterable[datetime]) -> Steps:
        """Return at which steps of the window some instants are."""
        found = np.zeros(self._grid.length, dtype=np.bool_)
        found[[(int(at.timestamp()) - self._grid.start) // self._grid.step for at in instants]] = True
        return found

    def instant_of(self, step: int) -> datetime:
        """Return the instant of a step."""
        return instant(self._grid.start + step * self._grid.step)

    def _of(self, labels: Labels) -> Seen:
        key = (self._node_of(labels), labels[UUID], labels[INSTANCE], labels.get(PROFILE, ""))
        if key not in self._seen:
            self._seen[key] = Seen(labels, np.zeros(self._grid.length, dtype=np.bool_))
        return self._seen[key]


def _is_slices(labels: Labels) -> bool:
    return bool(labels.get(UUID) and labels.get(INSTANCE)) and not is_of_board(labels)


def sliced(
    seen: Sequence[Seen],
    whole: Steps,
    facts: Mapping[str, Mapping[str, Any]],
    instant_of: Callable[[int], datetime],
) -> Iterable[Row]:
    """Return the rows of one board from when its slices were seen, and when it was seen whole.

    `facts` are what its samples say by the name of a device; one without samples is none. Where slices are seen the
    board is cut, whatever is told of it as a whole.
    """
    seen = [each for each in seen if gpu_uuid(each.labels) in facts]
    if not seen:
        return []
    board = seen[0].labels[UUID]
    is_cut = np.any([each.at for each in seen], axis=0)
    parts = [*map(_part, seen), {"gpu_uuid": board, "parent_gpu_uuid": "", "gpu_fraction": Decimal(1)}]
    told = [
        {
            **facts.get(parts[index]["gpu_uuid"], {}),
            **parts[index],
            "exists_start": instant_of(begin),
            "exists_end": None if end is None else instant_of(end),
        }
        for index, begin, end in _stays(np.stack([*(each.at for each in seen), whole & ~is_cut]))
    ]
    return recut(told, ())


def _stays(seen: npt.NDArray[np.bool_]) -> Iterator[tuple[int, int, int | None]]:
    """Yield from which step up to which each of some devices was there: all stays until a new one is seen.

    What is not seen then has ended; what is not seen at other steps was only silent.
    """
    changed = np.flatnonzero(np.any(seen[:, 1:] != seen[:, :-1], axis=0)) + 1
    begun: dict[int, int] = {}
    for step in (0, *changed.tolist()):
        now = set(np.flatnonzero(seen[:, step]).tolist())
        if not now - begun.keys():
            continue
        for index in sorted(begun.keys() - now):
            yield index, begun.pop(index), step
        begun |= dict.fromkeys(now - begun.keys(), step)
    for index, step in begun.items():
        yield index, step, None


def _part(each: Seen) -> dict[str, Any]:
    """Return what a slice's labels say of it; its part is what it takes if nothing else is there."""
    takes = share(each.profile, model(each.labels)) or 1 / _SLICES
    return {
        "gpu_uuid": gpu_uuid(each.labels),
        "parent_gpu_uuid": each.labels[UUID],
        "gpu_fraction": Decimal(str(takes)),
        "mig_profile": each.profile or None,
        "gpu_model": model(each.labels),
    }


def model(labels: Labels) -> str | None:
    """Return the name of a device's model."""
    return labels.get("modelName") or labels.get("DCGM_FI_DEV_NAME") or None


def rests(samples: pl.DataFrame, devices: pl.DataFrame) -> pl.DataFrame:
    """Return samples of what no slice takes of a board, at the instants of its slices: it is there, and nobody's."""
    board = ["cluster", "node", "parent_gpu_uuid"]
    is_left = pl.Series("is_left", [is_rest(row) for row in devices.iter_rows(named=True)], dtype=pl.Boolean)
    rest = devices.filter(is_left).select(*board, "exists_start", "exists_end", pl.col("gpu_uuid").alias("_rest"))
    slices = devices.filter(~is_left & (pl.col("parent_gpu_uuid") != "")).select(*board, "gpu_uuid").unique()
    seen = samples.select("cluster", "node", "gpu_uuid", "sampled_at", "step_seconds")
    told = seen.join(slices, on=["cluster", "node", "gpu_uuid"]).join(rest, on=board)
    is_there = (pl.col("exists_start") <= pl.col("sampled_at")) & (
        pl.col("exists_end").is_null() | (pl.col("sampled_at") < pl.col("exists_end"))
    )
    there = told.filter(is_there)
    found = there.select("cluster", "node", "sampled_at", "step_seconds", pl.col("_rest").alias("gpu_uuid")).unique()
    return found.sort("gpu_uuid", "sampled_at").with_columns(
        status=pl.lit("ok"),
        evidence_quality=pl.lit("X"),
        process_count=pl.lit(0, dtype=pl.Int64),
        process_job_ids=pl.lit(""),
        jobless_process_count=pl.lit(0, dtype=pl.Int64),
    )


def whole_instants(samples: pl.DataFrame, own: Sequence[str]) -> Iterator[tuple[Device, datetime]]:
    """Yield when devices were seen whole: what their slices tell of a board has none of a slice's own columns."""
    present = [name for name in own if name in samples.columns]
    if not present:
        return
    is_own = pl.any_horizontal(pl.col(name).is_not_null() for name in present)
    seen = samples.filter(is_own).select("node", "gpu_uuid", "sampled_at").sort("sampled_at")
    yield from (((node, uuid), at) for node, uuid, at in seen.iter_rows())
