"""Rows of devices in order and in slices, however they come."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from queries.rollups import _timeline
from queries.rollups._timeline import DEVICE, blocks, located, numbered, packed

START = datetime(2026, 11, 20, 5, tzinfo=UTC)

Place = tuple[str, str, str]

# Names that sort unlike their pairs do: a device is all three.
PLACES: list[Place] = [("c", "n", "g1"), ("c", "n", "g0"), ("c", "m", "g1"), ("b", "n", "g1"), ("c", "n", "unknown")]


def frame(rows: list[tuple[Place, int]]) -> pl.DataFrame:
    """Return rows of devices at some seconds, each with its own value."""
    columns: dict[str, object] = {name: [place[index] for place, _ in rows] for index, name in enumerate(DEVICE)}
    columns["sampled_at"] = [START + timedelta(seconds=second) for _, second in rows]
    columns["value"] = [f"{'/'.join(place)} {second}" for place, second in rows]
    kinds = {**dict.fromkeys(DEVICE, pl.String), "sampled_at": pl.Datetime("us", "UTC"), "value": pl.String}
    return pl.DataFrame(columns, schema=kinds)


def known() -> pl.DataFrame:
    """Return the numbers of all devices but the last."""
    return numbered(frame([(place, 0) for place in PLACES[:-1]]))


def expected(rows: list[tuple[Place, int]]) -> list[str]:
    """Return the values of known devices' rows in order, in plain Python."""
    return [f"{'/'.join(place)} {second}" for place, second in sorted(rows) if place in PLACES[:-1]]


def test_devices_are_numbered_once_and_in_order_over_several_frames() -> None:
    mixed = [(PLACES[index], second) for second in range(3) for index in (2, 0, 1)]
    found = numbered(frame(mixed), frame([(PLACES[3], 5), (PLACES[0], 6)]))
    assert found.select(DEVICE).rows() == sorted(PLACES[:4])
    assert found["device"].to_list() == [0, 1, 2, 3]
    assert numbered(frame([])).is_empty()


def test_runs_of_a_device_that_lie_apart_and_backwards_come_in_order() -> None:
    one, other, unknown = PLACES[0], PLACES[1], PLACES[-1]
    rows = [(one, 40), (one, 50), (other, 9), (unknown, 1), (one, 10), (one, 30), (one, 20), (other, 3), (one, 0)]
    found = located(frame(rows), known(), at="sampled_at")
    assert found["value"].to_list() == expected(rows)
    assert found["key"].is_sorted()
    assert not set(DEVICE) & set(found.columns)


@given(
    st.lists(st.tuples(st.sampled_from(PLACES), st.integers(0, 200)), unique=True, max_size=40),
    st.integers(1, 12),
)
def test_slices_are_of_whole_devices_and_together_they_are_everything(rows: list[tuple[Place, int]], most: int) -> None:
    given_rows = frame(rows)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_timeline, "_BLOCK", most)
        parts = list(blocks(given_rows, known(), at="sampled_at"))
    values = [value for part in parts for value in part["value"]]
    assert values == expected(rows)
    devices = [number for part in parts for number in part["device"].unique(maintain_order=True)]
    assert len(devices) == len(set(devices)), "a device lies in one slice"
    assert all(part.height >= most for part in parts[:-1])
    assert all(not part.is_empty() for part in parts)
    assert all(part["key"].equals(part.select(packed("time")).to_series().alias("key")) for part in parts)
    whole = located(given_rows, known(), at="sampled_at")
    assert whole["value"].to_list() == values
