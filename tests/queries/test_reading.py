"""Rollups that read the same rows read them once, and get what each would have read alone."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import dataframely as dy
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from ledger.config import Settings
from ledger.frames import to_frame
from ledger.store import Store
from ledger.tables import NetworkHour, NetworkPortSample, NodeNetworkHour
from queries import _reading
from queries._due import Versions
from queries._reading import Together
from queries._work import Asked, calls, due_of, work_of
from queries.graph import Input, Rollup, Span, rollup

DAY = datetime(2026, 11, 2, tzinfo=UTC)
NOW = DAY + timedelta(days=1)
NAMES = ("cluster", "node")
MINUTE = timedelta(minutes=1)


def _input(*columns: str, before: timedelta = 0 * MINUTE) -> Input:
    return Input(before=before, columns=("sampled_at", *NAMES, *columns), coded=NAMES)


@rollup(rows_at_once=100)
def network_hour(
    samples: Annotated[dy.LazyFrame[NetworkPortSample], _input("transmit_bytes_total", before=9 * MINUTE)], span: Span
) -> dy.LazyFrame[NetworkHour]:
    """Take what was sent; only what it reads is looked at."""
    del samples, span
    return NetworkHour.create_empty(lazy=True)


@rollup(rows_at_once=100)
def node_network_hour(
    samples: Annotated[dy.LazyFrame[NetworkPortSample], _input("receive_bytes_total", before=5 * MINUTE)], span: Span
) -> dy.LazyFrame[NodeNetworkHour]:
    """Take what came; only what it reads is looked at."""
    del samples, span
    return NodeNetworkHour.create_empty(lazy=True)


@pytest.fixture
def store() -> Iterator[Store]:
    with Store.open("duckdb::memory:", now=lambda: NOW) as opened:
        rows = [
            {
                "sampled_at": DAY + step * MINUTE,
                "cluster": "c",
                "node": f"n{node}",
                "device": "eth0",
                "port": "1",
                "transmit_bytes_total": float(step),
                "receive_bytes_total": float(step + node),
            }
            for step in range(6 * 60)
            for node in range(2)
        ]
        opened.append(NetworkPortSample, to_frame(NetworkPortSample, rows), source="t")
        yield opened


def planned(store: Store, *rollups: Rollup) -> list[tuple[Any, list[Any]]]:
    versions = Versions(store, NOW)
    works = [work_of(each, Settings(), versions) for each in rollups]
    return [
        (work, parts)
        for work in works
        for parts in calls(work, versions, due_of(work, versions, Asked(None, None, everything=True))[0])
    ]


def test_a_stretch_is_read_once_for_all_who_want_it(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    made = planned(store, network_hour, node_network_hour)
    inputs = Together(store, made)
    # One hour has 120 rows: a call for each. Those of one hour follow each other.
    assert [made[place][0].rollup.name for place in inputs.order] == ["network_hour", "node_network_hour"] * 6
    read = Store.read
    asked: list[Any] = []

    def counting(self: Store, *given: Any, **more: Any) -> pl.DataFrame:
        asked.append(given)
        return read(self, *given, **more)

    monkeypatch.setattr(Store, "read", counting)
    for place in inputs.order:
        work, parts = made[place]
        span = Span(parts[0].start, parts[-1].end, NOW)
        (source,) = work.rollup.sources
        before = len(asked)
        together = inputs.read(work.rollup, source, span)
        assert len(asked) - before == (work.rollup.name == "network_hour")
        alone = _reading.read(store, work.rollup, source, span)
        assert_frame_equal(together, alone, check_row_order=False, categorical_as_str=True)
        assert together.height


def test_who_reads_alone_or_otherwise_is_left_alone(store: Store) -> None:
    made = planned(store, network_hour)
    inputs = Together(store, made)
    assert inputs.order == list(range(6))
    work, parts = made[0]
    (source,) = work.rollup.sources
    span = Span(parts[0].start, parts[-1].end, NOW)
    assert inputs.read(work.rollup, source, span).height == 120
