"""Several tell of one node, and it is there once."""

from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from ledger.frames import to_frame
from ledger.tables import Node
from queries.rollups._estimate import node_hours
from queries.rollups._spread import OPEN_END
from queries.rollups._stays import stays

T = datetime(2026, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)


def rows(*told: dict[str, Any]) -> pl.DataFrame:
    return to_frame(Node, [{"cluster": "c", "node": "n1", "exists_end": None, **each} for each in told])


AGENT: dict[str, Any] = {
    "source": "agent", "exists_start": T + 3 * DAY, "gpu_count": 8, "cpu_count": 190, "instance_type": "Google",
}  # fmt: skip
API: dict[str, Any] = {
    "source": "kubernetes", "exists_start": T, "cpu_count": 192, "instance_type": "a3-highgpu-8g",
    "holder": "scheduler", "provider_instance_id": "gce://p/z/n1",
}  # fmt: skip


def test_where_one_tells_nothing_changes() -> None:
    told = rows(API, {**AGENT, "node": "n2"})
    assert stays(told).equals(told)
    assert stays(rows()).is_empty()


def test_names_that_are_used_again_stay_apart() -> None:
    told = rows({**API, "exists_end": T + DAY}, {**AGENT, "exists_start": T + DAY})
    assert stays(told).equals(told)


def test_what_either_knows_holds_while_both_tell() -> None:
    before, both = stays(rows(AGENT, API)).to_dicts()
    assert (before["exists_start"], before["exists_end"]) == (T, T + 3 * DAY)
    assert (before["gpu_count"], before["source"]) == (None, "kubernetes")
    assert (both["exists_start"], both["exists_end"]) == (T + 3 * DAY, None)
    assert (both["gpu_count"], both["cpu_count"]) == (8, 190), "an agent sees the machine"
    assert (both["instance_type"], both["holder"]) == ("a3-highgpu-8g", "scheduler"), "a scheduler knows what it is"
    assert (both["provider_instance_id"], both["source"]) == ("gce://p/z/n1", "kubernetes")


def test_a_later_row_of_one_source_goes_before_its_earlier_one() -> None:
    found = stays(rows({**API, "gpu_count": 4}, {**API, "exists_start": T + DAY, "gpu_count": 8})).to_dicts()
    assert [(row["exists_start"], row["gpu_count"]) for row in found] == [(T, 4), (T + DAY, 8)]


def test_a_node_of_which_two_tell_costs_once() -> None:
    both = rows({**AGENT, "exists_start": T + DAY / 3}, {**API, "gpu_count": 8})
    hours = node_hours(stays(both), T, T + DAY)
    assert hours.height == 24
    assert hours["weight"].unique().to_list() == [3_600_000_000]


spans = st.lists(
    st.tuples(st.integers(0, 20), st.one_of(st.none(), st.integers(1, 10)), st.sampled_from(["agent", "slurm"])),
    min_size=1,
    max_size=6,
    unique_by=lambda each: each[0],
)


@given(spans)
def test_each_instant_is_told_once_and_none_is_lost(told: list[tuple[int, int | None, str]]) -> None:
    given_rows = rows(
        *(
            {"exists_start": T + at * DAY, "exists_end": None if days is None else T + (at + days) * DAY, "source": by}
            for at, days, by in told
        )
    )
    found = stays(given_rows)
    Node.validate(found)
    for at in range(45):
        instant = T + at * DAY + DAY / 2
        covers = (pl.col("exists_start") <= instant) & (pl.col("exists_end").fill_null(OPEN_END) > instant)
        assert found.filter(covers).height == min(1, given_rows.filter(covers).height)
    assert stays(found).equals(found)
