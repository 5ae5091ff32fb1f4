"""Boards that are cut again and again, told in windows of any length: each instant is told once, and stays so."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from collectors.cluster._cuts import share
from collectors.cluster._existing import Told, devices
from collectors.cluster._prometheus_slices import Seen, sliced
from ledger.frames import to_frame
from ledger.tables import Gpu

AT = datetime(2026, 11, 20, 12, tzinfo=UTC)
STEP = timedelta(minutes=1)
MODEL = "NVIDIA A100-SXM4-40GB"
SIZES = {"1g.5gb": 1, "2g.10gb": 2, "3g.20gb": 3, "4g.20gb": 4}

Cut = tuple[tuple[str, str], ...]
"""The slices of a board at one time: number of the GPU instance and profile; of none, it is whole."""


@st.composite
def histories(draw: st.DrawFn) -> list[Cut]:
    """Return how a board is cut at each step: for some steps each."""
    found: list[Cut] = []
    for _ in range(draw(st.integers(1, 5))):
        profiles = draw(st.lists(st.sampled_from(sorted(SIZES)), max_size=4))
        while sum(SIZES[each] for each in profiles) > sum(SIZES.values()) - 3:
            profiles.pop()
        first = draw(st.integers(1, 3))
        cut = tuple((str(first + index), each) for index, each in enumerate(profiles))
        found += [cut] * draw(st.integers(1, 6))
    return found


def at(step: int) -> datetime:
    return AT + step * STEP


def window(history: Sequence[Cut], begin: int, end: int) -> list[Mapping[str, Any]]:
    """Return what a window of samples tells of the board."""
    labels = {"UUID": "GPU", "modelName": MODEL}
    length = end - begin
    seen: dict[tuple[str, str], Seen] = {}
    for step in range(length):
        for number, profile in history[begin + step]:
            words = {**labels, "GPU_I_ID": number, "GPU_I_PROFILE": profile}
            seen.setdefault((number, profile), Seen(words, np.zeros(length, dtype=np.bool_))).at[step] = True
    place = {"cluster": "c", "node": "n"}
    if not seen:
        return [{**place, "gpu_uuid": "GPU", "parent_gpu_uuid": "", "gpu_fraction": Decimal(1), **span(at(begin))}]
    names = ["GPU", *(f"GPU-gi-{number}" for number, _ in seen)]
    whole = np.array([not cut for cut in history[begin:end]])
    return list(sliced(list(seen.values()), whole, dict.fromkeys(names, place), lambda step: at(begin + step)))


def span(start: datetime) -> dict[str, datetime | None]:
    return {"exists_start": start, "exists_end": None}


def upserted(ledger: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
    """Return what a store has after rows were let in: of one key the newer row stays."""
    key = ["cluster", "node", "gpu_uuid", "exists_start"]
    assert not rows.select(key).is_duplicated().any()
    return pl.concat([ledger.join(rows, on=key, how="anti"), rows])


def there(ledger: pl.DataFrame, when: datetime) -> dict[tuple[str, str | None], Decimal]:
    """Return the devices that are there at an instant, with their parts."""
    is_there = (pl.col("exists_start") <= when) & (pl.col("exists_end").is_null() | (pl.col("exists_end") > when))
    rows = ledger.filter(is_there).select("gpu_uuid", "mig_profile", "gpu_fraction").rows()
    assert len({uuid for uuid, _, _ in rows}) == len(rows)
    return {(uuid, profile): part for uuid, profile, part in rows}


def expected(history: Sequence[Cut]) -> Iterator[set[tuple[str, str | None]]]:
    """Yield what is there at each step: what is seen no more is there until something new is."""
    current: set[tuple[str, str | None]] = set()
    for cut in history:
        seen = {(f"GPU-gi-{number}", profile) for number, profile in cut} or {("GPU", None)}
        current = seen if seen - current else current
        yield current


def stops(draw: st.DataObject, length: int) -> list[tuple[int, int]]:
    inner = draw.draw(st.sets(st.integers(1, length - 1))) if length > 1 else set()
    edges = [0, *sorted(inner), length]
    return list(pairwise(edges))


@given(histories(), st.data())
def test_each_instant_of_a_board_is_told_once_and_stays_as_it_was_told(history: list[Cut], draw: st.DataObject) -> None:
    ledger = Gpu.create_empty()
    known_at: datetime | None = None
    for begin, end in stops(draw, len(history)):
        before, reached = ledger, at(end - 1)
        told = Gpu.cast(to_frame(Gpu, window(history, begin, end)))
        ledger = upserted(ledger, devices(told, ledger, Told(reached, known_at)))
        for step in range(begin):
            assert there(ledger, at(step)) == there(before, at(step)), step
        known_at = reached
    for step, names in enumerate(expected(history)):
        now = there(ledger, at(step))
        assert sum(now.values()) == 1, (step, now)
        assert {name for name in now if not name[0].endswith("-rest")} == names, (step, now)


@given(histories(), st.data())
def test_asking_for_a_time_again_changes_nothing(history: list[Cut], draw: st.DataObject) -> None:
    ledger, known_at = Gpu.create_empty(), None
    for begin, end in stops(draw, len(history)):
        told = Gpu.cast(to_frame(Gpu, window(history, begin, end)))
        ledger = upserted(ledger, devices(told, ledger, Told(at(end - 1), known_at)))
        known_at = at(end - 1)
    before, joins_at = ledger, None
    for begin, end in stops(draw, len(history)):
        told = Gpu.cast(to_frame(Gpu, window(history, begin, end)))
        ledger = upserted(ledger, devices(told, ledger, Told(at(end - 1), known_at, joins_at)))
        joins_at = at(end - 1)
    for step in range(len(history)):
        assert there(ledger, at(step)) == there(before, at(step)), step
    key = ["gpu_uuid", "exists_start"]
    assert ledger.sort(key).select(*key, "exists_end").equals(before.sort(key).select(*key, "exists_end"))


def test_the_share_of_a_profile_is_the_larger_of_compute_and_memory() -> None:
    assert share("3g.20gb", MODEL) == 0.5
    assert share("1g.10gb", MODEL) == 0.25
    assert share("", MODEL) is None
