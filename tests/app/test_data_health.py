"""Data health tells what fits nowhere: GPU time without a bill."""

from decimal import Decimal
from pathlib import Path

import polars as pl

from app.context import Context
from ledger.frames import to_frame
from ledger.tables import SourceState, UnbilledHour
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
    with used(context):
        test = opened("data_health")
    assert "Sources that the hub asks" in said(test)
    table = next(each.value for each in test.dataframe if "failed_count" in each.value.columns)
    assert list(table["source_name"]) == ["bad", "new", "good"]
    assert list(table["status"]) == ["failed", "not asked yet", "done"]
    assert next(iter(table["message"])) == "connection refused"
    context.close()
