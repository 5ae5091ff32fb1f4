"""Data health tells what fits nowhere: GPU time without a bill, and nodes without GPUs."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import polars as pl

from app.context import Context
from ledger.frames import to_frame
from ledger.tables import CollectorRun, SourceGap, SourceState, UnbilledHour
from ledger.tables.partition import floor, partition_key
from tests.app.conftest import used
from tests.app.opening import metrics, opened, said
from tests.demo import DEMO_NOW, settings_of


def test_gpu_time_without_a_bill_is_listed_beside_the_totals(demo_copy: Context) -> None:
    hour = floor(DEMO_NOW, "hour").replace(hour=1)
    common = {"hour_start": hour, "cluster": "c", "provider": "AWS", "instance_type": "p5.48xlarge"}
    given = [
        {**common, "node": "left", "reason": "left_out", "expected_cost": Decimal("55.04"), "billing_currency": "USD"},
        {**common, "node": "bare", "reason": "no_price", "expected_cost": None, "billing_currency": None},
    ]
    time = {"gpu_existed_seconds": Decimal(8 * 3600), "gpu_known_seconds": Decimal(3600)}
    frame = UnbilledHour.cast(pl.DataFrame([each | time for each in given]).select(UnbilledHour.column_names()))
    demo_copy.store.replace(UnbilledHour, frame, partitions=[partition_key(hour, "day")], state=None)
    with used(demo_copy):
        test = opened("data_health")
    assert metrics(test)["Without a bill"] == ("16.0", "GPU-hours")
    table = next(each.value for each in test.dataframe if "expected_cost" in each.value.columns).set_index("node")
    assert table.loc["left", "expected_cost"] == 55.04
    assert table.loc["left", "known_gpu_hours"] == 1
    assert table["expected_cost"].isna().to_dict() == {"left": False, "bare": True}


def test_where_all_is_billed_the_list_says_so(demo_context: Context) -> None:
    with used(demo_context):
        test = opened("data_health")
    assert metrics(test)["Without a bill"] == ("0.0", "GPU-hours")
    assert "A charge or an estimate covers each GPU-hour" in said(test)


def test_sources_are_shown_where_some_are_configured_those_that_fail_first(
    demo_context: Context, tmp_path: Path
) -> None:
    with used(demo_context):
        assert "Sources that the hub asks" not in said(opened("data_health"))
    closed = "http://127.0.0.1:9"
    sources = {name: {"kind": "prometheus", "url": closed} for name in ("new", "good", "bad")}
    context = Context(settings_of(tmp_path / "sources.duckdb", sources=sources), now=lambda: DEMO_NOW)
    row = {"kind": "prometheus", "cluster": "c", "started_at": DEMO_NOW, "row_count": 7, "rejected_count": 0}
    stands = [
        {**row, "source_name": "good", "failed_count": 0, "status": "done", "reached_at": DEMO_NOW, "message": ""},
        {**row, "source_name": "bad", "failed_count": 3, "status": "failed", "message": "connection refused"},
        {**row, "source_name": "not configured any more", "failed_count": 9, "status": "failed", "message": ""},
    ]
    context.store.append(SourceState, to_frame(SourceState, stands), source="test")
    at = DEMO_NOW - timedelta(hours=1)
    gap = {"source_name": "good", "gap_start": at - timedelta(minutes=4), "gap_end": at, "cluster": "c", "kept_at": at}
    gaps = [{**gap, "asked_count": 4, "message": "partial answer: store s3 down"}]
    mended = {**gap, "gap_end": at - timedelta(hours=1), "asked_count": 4, "message": "store s4 was down"}
    mended |= {"gap_start": at - timedelta(hours=2), "whole_until": at - timedelta(hours=1)}
    begun = {**mended, "gap_end": at - timedelta(hours=3), "gap_start": at - timedelta(hours=5)}
    begun |= {"whole_until": at - timedelta(hours=4)}
    context.store.append(SourceGap, to_frame(SourceGap, [*gaps, mended, begun]), source="test")
    with used(context):
        test = opened("data_health")
    assert "Sources that the hub asks" in said(test)
    table = next(each.value for each in test.dataframe if "failed_count" in each.value.columns)
    assert list(table["source_name"]) == ["bad", "new", "good"]
    assert list(table["status"]) == ["failed", "not asked yet", "done"]
    assert next(iter(table["message"])) == "connection refused"
    assert "Answered in part" in said(test)
    gaps = next(each.value for each in test.dataframe if "gap_end" in each.value.columns)
    assert gaps.loc[0, ["source_name", "asked_count"]].to_list() == ["good", 4]
    asking = "clusterledger pull good --since {:%Y-%m-%dT%H:%M:%SZ} --until {:%Y-%m-%dT%H:%M:%SZ}"
    assert list(gaps["command"]) == [
        asking.format(at - timedelta(minutes=4), at),
        asking.format(at - timedelta(hours=4), at - timedelta(hours=3)),
    ]
    context.close()


def reporting(*nodes: str) -> pl.DataFrame:
    """Return rounds of collectors on nodes, one each."""
    row = {"collector": "host", "is_ok": True, "row_count": 3, "duration_seconds": 0.01, "step_seconds": 10.0}
    when = DEMO_NOW - timedelta(minutes=5)
    return to_frame(
        CollectorRun, [{"cluster": "c", "node": each, "boot_id": "b", "sampled_at": when, **row} for each in nodes]
    )


def test_nodes_that_report_without_a_gpu_are_known(empty_context: Context) -> None:
    """An agent on a node without GPUs reports: the page must not say that nothing does."""
    with used(empty_context):
        assert "No node is known" in said(opened("data_health"))
    empty_context.store.append(CollectorRun, reporting("cpu-1", "cpu-2"), source="test")
    empty_context.changed()
    with used(empty_context):
        words = said(opened("data_health"))
    assert "No node is known" not in words
    assert "2 nodes report or stand in a scheduler's list without a GPU that was seen: cpu-1, cpu-2." in words
    assert "run `clusterledger check`" in words


def test_beside_nodes_with_gpus_the_others_are_named(demo_copy: Context) -> None:
    with used(demo_copy):
        assert "without a GPU that was seen" not in said(opened("data_health"))
    demo_copy.store.append(CollectorRun, reporting("login-1"), source="test")
    demo_copy.changed()
    with used(demo_copy):
        words = said(opened("data_health"))
    assert "1 node reports or stands in a scheduler's list without a GPU that was seen: login-1." in words
    assert "clusterledger check" not in words


def test_agents_of_the_last_hour_of_a_day_are_shown(empty_context: Context) -> None:
    """The window ends at midnight then: that day is the one that ends, not the next."""
    late = replace(empty_context, now=lambda: DEMO_NOW.replace(hour=23, minute=30), _store=empty_context.store)
    late.store.append(CollectorRun, reporting("cpu-1"), source="test")
    with used(late):
        test = opened("data_health")
    assert [list(each.value["node"]) for each in test.dataframe if "mean_ms" in each.value.columns] == [["cpu-1"]]
