import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import dataframely as dy
import polars as pl
import pytest

from ledger.names import BOTTLENECKS, STATES
from ledger.tables import (
    AllocationHour,
    Asset,
    BottleneckHour,
    Finding,
    FindingDecision,
    FocusCharge,
    Gpu,
    JobGpuHour,
)
from queries.graph import Span
from queries.rules.oversized_gpu import OversizedGpu, oversized_gpu

END = datetime(2026, 11, 20, 5, tzinfo=UTC)
START = END - timedelta(days=14)
HOURS = 14 * 24
GIB = 1024**3
KEY = {"cluster": "c", "node": "n", "gpu_uuid": "g"}
SUBMITTED = START - timedelta(hours=1)
RUN = {"job_id": "7", "restart_count": 0, "submitted_at": SUBMITTED}


def frame(schema: type[dy.Schema], rows: Sequence[Mapping[str, Any]]) -> pl.LazyFrame:
    types = schema.create_empty().schema
    return pl.DataFrame({name: [row.get(name) for row in rows] for name in types}, schema=types, strict=False).lazy()


def at(place: int) -> datetime:
    return START + timedelta(hours=place)


def held(place: int, **more: Any) -> dict[str, Any]:
    states = {f"{state}_seconds": Decimal(0) for state in STATES}
    return {
        **KEY,
        **RUN,
        "hour_start": at(place),
        "user": "ada",
        "team": "vision",
        "workload_kind": "inference",
        "model": "m",
        "gpu_fraction": Decimal(1),
        "is_estimated": False,
        "held_seconds": Decimal(3600),
        "coverage_ratio": 1.0,
        "sm_active_ratio": 0.2,
        "memory_used_bytes": 12.0 * GIB,
        **states,
        "productive_seconds": Decimal(3600),
        **more,
    }


def cost(place: int, **more: Any) -> dict[str, Any]:
    return {
        **KEY,
        **RUN,
        "hour_start": at(place),
        "state": "productive",
        "provider": "cloud",
        "billing_account_id": "a",
        "commitment_status": "",
        "billing_currency": "USD",
        "is_estimated": False,
        "billed_cost": Decimal(4),
        "effective_cost": Decimal(4),
        **more,
    }


def mix(place: int, **seconds: int) -> dict[str, Any]:
    zero = {f"{name}_seconds": Decimal(0) for name in BOTTLENECKS}
    given = {f"{name}_seconds": Decimal(value) for name, value in seconds.items()}
    total = {"gpu_allocated_seconds": sum(given.values(), Decimal(0))}
    return {"cluster": "c", **RUN, "hour_start": at(place), **zero, **given, **total}


GPU = {**KEY, "gpu_model": "NVIDIA H100 80GB HBM3", "memory_total_bytes": 80.0 * GIB}
USED = [held(place) for place in range(HOURS)]
COST = [cost(place) for place in range(HOURS)]
BUSY = [mix(place, compute_tensor=3600) for place in range(HOURS)]


def found(
    hours: Sequence[Mapping[str, Any]] = USED,
    costs: Sequence[Mapping[str, Any]] = COST,
    mixes: Sequence[Mapping[str, Any]] = BUSY,
    gpu: Mapping[str, Any] = GPU,
    earlier: pl.DataFrame | None = None,
    decisions: Sequence[Mapping[str, Any]] = (),
    end: datetime = END,
) -> pl.DataFrame:
    before = Finding.create_empty() if earlier is None else earlier
    devices = [{**gpu, "gpu_uuid": uuid} for uuid in {row["gpu_uuid"] for row in hours} | {"g"}]
    rows = oversized_gpu.rollup.function(
        frame(JobGpuHour, hours),
        frame(AllocationHour, costs),
        frame(BottleneckHour, mixes),
        frame(Gpu, devices),
        frame(FocusCharge, []),
        frame(Asset, []),
        before.lazy(),
        frame(FindingDecision, decisions),
        Span(START, end, end),
        OversizedGpu(),
    ).collect()
    return Finding.validate(rows)


def test_a_small_use_of_a_large_device_fits_a_slice() -> None:
    (row,) = found().to_dicts()
    # 0.2 and 12 GiB with 30 % headroom: two sevenths of the SMs and two eighths of the memory hold them.
    assert "2g.20gb" in row["title"]
    assert "#SBATCH --gres=gpu:2g.20gb:1" in row["directive"]
    assert row["freed_gpu_hours_month"] == pytest.approx(Decimal("730.5") * 5 / 7)
    assert row["saving_effective_month"] == pytest.approx(Decimal(2922) * 5 / 7)
    assert row["saving_cash_month"] == row["saving_effective_month"]
    evidence = json.loads(row["evidence"])
    assert (evidence["sm_active_ratio_p99"], evidence["memory_peak_gib"]) == (0.2, 12.0)


def test_headroom_decides_the_slice() -> None:
    busier = [held(place, sm_active_ratio=0.3) for place in range(HOURS)]
    assert "3g.40gb" in found(busier)["title"][0]
    full = [held(place, sm_active_ratio=0.4) for place in range(HOURS)]
    assert found(full).is_empty()
    large = [held(place, memory_used_bytes=50.0 * GIB) for place in range(HOURS)]
    assert found(large).is_empty()
    peak = [held(place, memory_used_bytes=(70.0 if place == 9 else 5.0) * GIB) for place in range(HOURS)]
    assert found(peak).is_empty()


def test_a_starved_device_is_not_called_too_large() -> None:
    starved = [mix(place, compute_tensor=2000, input_storage=1600) for place in range(HOURS)]
    assert found(mixes=starved).is_empty()
    assert found(mixes=[]).is_empty()


def test_without_profiling_nothing_is_claimed() -> None:
    assert found([held(place, sm_active_ratio=None) for place in range(HOURS)]).is_empty()


def test_jobs_over_several_devices_and_models_without_slices_are_left_alone() -> None:
    pairs = [held(place, gpu_uuid=uuid) for place in range(HOURS) for uuid in ("g", "h")]
    assert found(pairs).is_empty()
    assert found(gpu={**GPU, "gpu_model": "NVIDIA L40S"}).is_empty()


def test_runs_with_a_recurring_id_are_two_jobs_of_one_device_each() -> None:
    other = {"submitted_at": SUBMITTED - timedelta(days=3), "gpu_uuid": "h"}
    hours = [*USED, *(held(place, **other, sm_active_ratio=0.9) for place in range(HOURS))]
    (row,) = found(hours, [*COST, *(cost(place, **other) for place in range(HOURS))]).to_dicts()
    assert row["freed_gpu_hours_month"] == found()["freed_gpu_hours_month"][0]
    assert row["saving_effective_month"] == found()["saving_effective_month"][0]


def test_idle_hours_belong_to_the_other_rule() -> None:
    idle = {"productive_seconds": Decimal(0), "held_idle_seconds": Decimal(3600), "sm_active_ratio": 0.0}
    half = [held(place, **(idle if place % 2 else {})) for place in range(HOURS)]
    (row,) = found(half).to_dicts()
    assert row["saving_effective_month"] == pytest.approx(Decimal(1461) * 5 / 7)


def test_an_applied_slice_is_measured_by_what_whole_devices_still_cost() -> None:
    first = found()
    decision = {
        "finding_id": first["finding_id"][0],
        "status": "applied",
        "decided_at": END,
        "decided_by": "eve",
    }
    later = END + timedelta(days=2)
    after = [held(HOURS + place) for place in range(12)]
    more = [cost(HOURS + place) for place in range(12)]
    (row,) = found([*USED, *after], [*COST, *more], earlier=first, decisions=[decision], end=later).to_dicts()
    assert row["status"] == "applied"
    assert row["saving_realised_month"] == pytest.approx(row["saving_effective_month"] * 3 / 4)
