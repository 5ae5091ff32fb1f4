"""Rollups that read the same rows read them once, and get what each would have read alone."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import dataframely as dy
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from ledger.config import Settings
from ledger.frames import to_frame
from ledger.store import Store
from ledger.tables import FocusCharge, NetworkHour, NetworkPortSample, NodeNetworkHour
from queries import _reading
from queries._due import Versions
from queries._reading import Together
from queries._work import Asked, calls, due_of, work_of
from queries.graph import Input, Rollup, Span, rollup
from queries.rollups.cost_hour import cost_hour
from tests.bills import charge, rows

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
        samples = [
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
        opened.append(NetworkPortSample, to_frame(NetworkPortSample, samples), source="t")
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


def test_a_call_gets_no_more_months_of_bills_than_it_can_hold(store: Store) -> None:
    months = [datetime(2026, month, 1, tzinfo=UTC) for month in range(1, 7)]
    charges = [charge(index, BillingPeriodStart=month) for month in months for index in range(120)]
    charges = [each | {"import_id": f"{each['BillingPeriodStart']:%m}"} for each in charges]
    store.append(FocusCharge, rows(FocusCharge, charges), source="t")
    assert store.read(FocusCharge).height == 720
    together = {
        limit: [len(parts) for _, parts in planned(store, replace(cost_hour, rows_at_once=limit))]
        for limit in (100, 240, 10_000)
    }
    # Each month has 120 rows.
    assert together == {100: [1] * 6, 240: [2] * 3, 10_000: [6]}
