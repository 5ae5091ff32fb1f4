"""The true answers: complete, written as JSON, and what the ledger's own rollup says of the raw rows."""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import polars as pl

from collectors.simulate import Cluster, holdings, plan, samples, settings, truth
from collectors.simulate.charges import charges
from collectors.simulate.holding import assets
from collectors.simulate.shapes import instant
from collectors.simulate.truths import owned_rate
from ledger.config import Settings
from ledger.names import STATES
from ledger.store import Store
from ledger.tables import GpuStateInterval
from queries.executor import run_due


def test_states_sum_to_existence(demo: Cluster) -> None:
    known = truth(demo)
    assert len(known.device_seconds) == len(demo.devices)
    for uuid, states in known.device_seconds.items():
        assert set(states) == set(STATES)
        assert sum(states.values()) == known.existed_seconds[uuid]


def test_jobs_hold_what_their_devices_were_held(demo: Cluster) -> None:
    known = truth(demo)
    held = Decimal(0)
    for job in demo.jobs:
        if job.started is not None:
            for device in job.devices:
                share = Decimal("0.5") if demo.devices[device].is_shared else Decimal(1)
                seconds = min(job.ended or demo.end, demo.end) - job.started
                held += seconds * demo.devices[device].fraction * share
    assert sum(sum(states.values()) for states in known.job_seconds.values()) == held


def test_models_teams_and_states_divide_the_same_money(demo: Cluster) -> None:
    known = truth(demo)
    for currency in ("USD", "EUR"):
        of_models = sum(known.model_costs[currency].values(), Decimal(0))
        of_teams = sum(known.team_costs[currency].values(), Decimal(0))
        states = known.state_costs[currency]
        allocated = sum((cost for name, cost in states.items() if name.startswith("allocated/")), Decimal(0))
        assert abs(of_models - of_teams) < Decimal("1e-18")
        assert abs(of_models - allocated) < Decimal("1e-18")
        charged = sum(
            (row.effective for row in charges(demo) if row.node is not None and row.currency == currency), Decimal(0)
        )
        days = datetime.fromtimestamp(demo.end, UTC).date() - datetime.fromtimestamp(demo.start, UTC).date()
        if currency == "EUR":
            charged += sum((owned_rate(each) for each in assets(demo)), Decimal(0)) * (days // timedelta(seconds=1))
        assert abs(sum(known.state_costs[currency].values()) - charged) < Decimal("1e-18")
    assert known.model_costs["USD"]["unattributed"] > 0


def test_it_is_written_as_text(small: Cluster, tmp_path: Path) -> None:
    path = tmp_path / "truth.json"
    known = truth(small)
    known.write(path)
    document = json.loads(path.read_text(encoding="utf-8"))
    assert set(document) == set(vars(known))
    uuid = small.devices[0].uuid
    assert {state: Decimal(seconds) for state, seconds in document["device_seconds"][uuid].items()} == (
        known.device_seconds[uuid]
    )


def test_the_configuration_is_accepted() -> None:
    accepted = Settings(**settings())
    assert {rule.name for rule in accepted.teams} >= {"language", "science"}
    assert accepted.money.scope.accounts


def test_the_rollup_of_the_raw_rows_finds_the_true_states() -> None:
    end = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)
    cluster = plan(24, 1, 7, end)
    window = (instant(cluster.start), instant(cluster.end + 1))
    with Store.open("duckdb::memory:", now=lambda: end) as store:
        for schema, frame in (*samples(cluster, window), *holdings(cluster)):
            assert store.append(schema, frame, source="simulation").rejected == 0
        run_due(store, Settings(**settings()), only=["gpu_state_interval"])
        intervals = store.read(GpuStateInterval)
    length = (pl.col("ended_at") - pl.col("started_at")).dt.total_milliseconds().sum()
    sums = intervals.group_by("gpu_uuid", "state").agg(length.alias("length")).rows()
    told = {(uuid, state): Decimal(milliseconds) / 1000 for uuid, state, milliseconds in sums}
    for uuid, states in truth(cluster).device_seconds.items():
        assert {state: told.get((uuid, state), Decimal(0)) for state in STATES} == states
