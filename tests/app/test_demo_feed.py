"""A demo's agents go on sending; its true answers lie beside it."""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import polars as pl

from app.context import Context
from app.services import _demo_feed, named
from app.services._service import silent
from app.services.rollup import compute
from ledger.config import load
from ledger.tables import GpuHour, GpuSample

START = datetime(2026, 11, 18, 9, 30, tzinfo=UTC)


class Clock:
    def __init__(self, at: datetime) -> None:
        self.at = at

    def __call__(self) -> datetime:
        return self.at


def test_the_feed_goes_on_where_the_demo_ended_and_each_sample_counts_once(tmp_path: Path) -> None:
    clock = Clock(START)
    context = Context(load(store={"url": f"duckdb:{tmp_path / 'demo.duckdb'}"}), now=clock)
    demo = named("demo")
    demo.run(context, demo.asked({"gpus": 8, "days": 2}))
    truth = json.loads((tmp_path / "demo.duckdb.truth.json").read_text())
    assert {sum(map(Decimal, states.values())) for states in truth["device_seconds"].values()} == set(
        map(Decimal, truth["existed_seconds"].values())
    )
    before = context.store.read(GpuSample)
    clock.at += timedelta(minutes=10)
    assert _demo_feed.feed(context) > 0
    assert _demo_feed.feed(context) == 0
    after = context.store.read(GpuSample)
    fresh = after.filter(pl.col("sampled_at") > before["sampled_at"].max())
    assert after.height == before.height + fresh.height
    steps = fresh.group_by("gpu_uuid").len()["len"]
    assert steps.min() == steps.max() == 60
    compute(context, silent)
    hour = context.store.read(GpuHour, (START.replace(minute=0), START.replace(minute=0) + timedelta(hours=1)))
    assert hour["existed_seconds"].to_list() == [Decimal(40 * 60)] * hour.height
    assert hour["unknown_seconds"].max() < Decimal(60)
    context.close()


def test_a_store_without_a_demo_is_fed_nothing(tmp_path: Path) -> None:
    context = Context(load(store={"url": f"duckdb:{tmp_path / 'empty.duckdb'}"}))
    assert _demo_feed.feed(context) == 0
    (tmp_path / "empty.duckdb.demo.json").write_text("half a docum")
    assert _demo_feed.remembered(context) is None
    context.close()
