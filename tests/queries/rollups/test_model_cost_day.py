from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

import polars as pl

from ledger.money_sections import MoneySettings
from ledger.tables import (
    AllocationHour,
    CostHour,
    GpuHour,
    JobGpuHour,
    ModelCostDay,
    NetworkHour,
    Node,
    ServingSample,
    StorageHour,
    TrainingDay,
    TrainingSample,
)
from queries import measure
from queries.graph import Span
from queries.measures import per_unit
from queries.rollups.allocation_hour import allocation_hour
from queries.rollups.model_cost_day import model_cost_day
from queries.rollups.training_day import training_day
from tests.bills import HOUR, MONTH, NEXT, NODE_COST, at, device_hour, job_hour, jobs, rows
from tests.frames import validated

H = at(5, 10)
DAY = timedelta(days=1)


def cost(amount: str | None, hour: datetime = H, **given: Any) -> dict[str, Any]:
    row = NODE_COST | {
        "hour_start": hour,
        "billed_cost": Decimal(0),
        "effective_cost": None if amount is None else Decimal(amount),
        "spread_method": "exact_hour",
    }
    return row | given


def sample(when: datetime, prompt: float | None, generated: float | None = None, **given: Any) -> dict[str, Any]:
    row = {
        "sampled_at": when,
        "cluster": "c",
        "node": "a1",
        "boot_id": "b",
        "step_seconds": 10.0,
        "endpoint": "http://a1:8000",
        "model": "served-name",
        "job_id": "j1",
        "prompt_token_count_total": prompt,
        "generated_token_count_total": generated,
    }
    return row | given


def trained(when: datetime, tokens: float, rank: int = 0, **given: object) -> dict[str, Any]:
    row = {
        "sampled_at": when,
        "cluster": "c",
        "node": "a1",
        "boot_id": "b",
        "step_seconds": 15.0,
        "job_id": "j1",
        "run": "",
        "rank_index": rank,
        "started_at": H,
        "model": "as-it-says",
        "token_count_total": tokens,
    }
    return row | given


def models(
    costs: list[dict[str, Any]],
    held: list[dict[str, Any]],
    serving: list[dict[str, Any]] | None = None,
    training: list[dict[str, Any]] | None = None,
    *,
    start: datetime = MONTH,
    end: datetime = NEXT,
    now: datetime = NEXT,
) -> pl.DataFrame:
    devices = [
        device_hour(
            each["hour_start"], each["gpu_uuid"], each["node"], cluster=each["cluster"], productive_seconds=3600
        )
        | {name: each[name] for name in each if name.endswith("_seconds") and name in GpuHour.column_names()}
        for each in held
    ]
    allocated = allocation_hour.function(
        rows(CostHour, costs).lazy(),
        rows(GpuHour, devices).lazy(),
        rows(JobGpuHour, held).lazy(),
        jobs([]).lazy(),
        rows(Node, []).lazy(),
        rows(NetworkHour, []).lazy(),
        rows(StorageHour, []).lazy(),
        Span(MONTH, NEXT, NEXT),
        MoneySettings(),
    )
    span = Span(start, end, now)
    advanced = training_day.function(rows(TrainingSample, training or []).lazy(), rows(JobGpuHour, held).lazy(), span)
    made = model_cost_day.function(
        allocations=validated(AllocationHour, allocated.collect()).lazy(),
        job_hours=rows(JobGpuHour, held).lazy(),
        serving=rows(ServingSample, serving or []).lazy(),
        training=validated(TrainingDay, advanced.collect()).lazy(),
        span=span,
    )
    return validated(ModelCostDay, made.collect())


def test_a_models_day_is_what_its_jobs_held() -> None:
    held = [
        job_hour(H, "g0", "j1", productive_seconds=2700, held_idle_seconds=900, model="llm"),
        job_hour(H, "g1", "j2", allocated_idle_seconds=3600, model="llm"),
        job_hour(H + HOUR, "g0", "j1", unknown_seconds=3600, model="llm"),
        job_hour(H + DAY, "g0", "j1", productive_seconds=3600, model="llm"),
    ]
    made = models([cost("8"), cost("3", H + HOUR, is_estimated=True), cost("8", H + DAY)], held)
    first, second = made.to_dicts()
    assert (first["day"], first["billing_currency"], first["model"]) == (date(2026, 3, 5), "USD", "llm")
    assert (first["effective_cost"], first["productive_cost"], first["idle_cost"]) == (11, 3, 5)
    assert (first["gpu_allocated_seconds"], first["run_count"], first["is_estimated"]) == (10800, 2, True)
    assert first["prompt_token_count"] is None
    assert (second["effective_cost"], second["productive_cost"], second["idle_cost"]) == (8, 8, 0)
    assert not second["is_estimated"]


def test_time_without_a_cost_and_time_without_a_model_are_seen() -> None:
    held = [
        job_hour(H, "g0", "j1", productive_seconds=3600, model="unattributed"),
        job_hour(H, "g9", "j9", "z9", productive_seconds=1800, model="llm", gpu_fraction=Decimal("0.5")),
    ]
    made = models([cost("8")], held)
    assert made.select("billing_currency", "model", "effective_cost", "gpu_allocated_seconds").rows() == [
        ("", "llm", None, 900),
        ("USD", "unattributed", 8, 3600),
    ]


def test_an_hour_that_is_not_over_waits_for_its_estimate() -> None:
    held = [job_hour(H, "g0", "j1", productive_seconds=1800)]
    assert models([], held, now=H + HOUR / 2).is_empty()
    assert models([], held, now=H + HOUR)["gpu_allocated_seconds"].to_list() == [1800]


def test_unknown_cost_stays_unknown() -> None:
    made = models([cost(None)], [job_hour(H, "g0", "j1", productive_seconds=3600)])
    assert made.select("effective_cost", "productive_cost", "idle_cost").rows() == [(None, None, None)]


def test_tokens_are_those_of_the_jobs_model_and_resets_add_nothing() -> None:
    held = [job_hour(H, "g0", "j1", productive_seconds=3600, model="llm")]
    serving = [
        sample(H, 100, 10),
        sample(H + timedelta(seconds=10), 150, 10),
        sample(H + timedelta(seconds=20), 5, 2),
        sample(H + timedelta(minutes=10), 25, 4),
    ]
    (row,) = models([cost("8")], held, serving).to_dicts()
    assert (row["model"], row["prompt_token_count"], row["generated_token_count"]) == ("llm", 70, 2)


def test_a_server_that_did_not_answer_has_counted_on() -> None:
    silent = {"prompt_token_count_total": None, "generated_token_count_total": None, "boot_id": None, "is_ready": False}
    serving = [
        sample(H, 100, 10),
        sample(H + timedelta(seconds=10), 0, 0) | silent,
        sample(H + timedelta(seconds=20), 160, 13),
    ]
    (row,) = models([], [], serving).to_dicts()
    assert (row["prompt_token_count"], row["generated_token_count"]) == (60, 3)


def test_a_server_whose_job_is_unknown_stands_under_its_own_name() -> None:
    serving = [sample(H, 1, job_id=""), sample(H + timedelta(seconds=10), 4, job_id="")]
    (row,) = models([], [], serving).to_dicts()
    assert (row["billing_currency"], row["model"], row["prompt_token_count"]) == ("", "served-name", 3)
    assert (row["generated_token_count"], row["effective_cost"], row["gpu_allocated_seconds"]) == (None, None, 0)


def test_trained_tokens_are_those_of_all_ranks_since_each_began() -> None:
    held = [job_hour(H, "g0", "j1", productive_seconds=3600, model="llm")]
    minute = timedelta(minutes=1)
    training = [
        trained(H + minute, 100.0),
        trained(H + 2 * minute, 250.0),
        trained(H + 2 * minute, 240.0, rank=1),
        # The first rank is started again, and has soon counted more than before.
        trained(H + 5 * minute, 400.0, started_at=H + 3 * minute),
        # One whose start nobody saw: what it had counted before is not known to be of this day.
        trained(H + 9 * minute, 9000.0, rank=2, started_at=H - timedelta(days=3)),
        trained(H + 10 * minute, 9010.0, rank=2, started_at=H - timedelta(days=3)),
    ]
    (row,) = models([cost("8")], held, training=training).to_dicts()
    assert (row["model"], row["trained_token_count"]) == ("llm", 250 + 240 + 400 + 10)
    assert (row["prompt_token_count"], row["generated_token_count"]) == (None, None)
    (unknown,) = models([], [], training=[each | {"job_id": ""} for each in training[:1]]).to_dicts()
    assert (unknown["model"], unknown["trained_token_count"]) == ("as-it-says", 100)


def test_days_apart_are_days_together() -> None:
    held = [
        job_hour(at(5, 23), "g0", "j1", productive_seconds=3600, model="llm"),
        job_hour(at(6), "g0", "j1", productive_seconds=3600, model="llm"),
    ]
    serving = [sample(at(5, 22) + timedelta(minutes=25 * index), 100.0 * index, index) for index in range(9)]
    serving.append(sample(at(6, 12), 9999, 9))
    costs = [cost("8", at(5, 23)), cost("8", at(6))]
    begun = at(5, 22)
    training = [trained(begun + timedelta(minutes=25 * index), 60.0 * index, started_at=begun) for index in range(1, 9)]
    made = models(costs, held, serving, training)
    assert made["prompt_token_count"].to_list() == [400, 400]
    assert made["trained_token_count"].to_list() == [240, 240]
    apart = [models(costs, held, serving, training, start=at(day), end=at(day + 1)) for day in range(1, 31)]
    assert pl.concat(apart).equals(made)


def test_prompts_and_generated_tokens_cost_by_the_time_in_prefill_and_decode() -> None:
    """A request with 0.2 s of prefill and 5 s of decode: its prompt is 3.8 % of the cost, and not 91 %."""
    held = [job_hour(H, "g0", "j1", productive_seconds=1800, held_idle_seconds=1800, model="llm")]
    other = job_hour(H, "g1", "j2", productive_seconds=3600, model="llm")
    minute = timedelta(minutes=1)
    served = [
        sample(H + minute, 0, 0, prefill_seconds_total=0, decode_seconds_total=0),
        sample(H + 2 * minute, 1000, 250, prefill_seconds_total=0.2, decode_seconds_total=5.0, step_seconds=60.0),
    ]
    (row,) = models([cost("10.4")], [*held, other], served).to_dicts()
    assert (row["effective_cost"], row["serving_cost"]) == (Decimal("10.4"), Decimal("5.2"))
    assert row["serving_productive_cost"] == Decimal("2.6")
    assert (row["prompt_cost"], row["generated_cost"]) == (Decimal("0.2"), Decimal(5))
    assert (row["prefill_seconds"], row["decode_seconds"]) == (0.2, 5.0)
    assert row["training_cost"] is None


def test_serving_without_times_is_not_divided_and_training_counts_samples() -> None:
    held = [
        job_hour(H, "g0", "j1", productive_seconds=3600, model="llm"),
        job_hour(H, "g1", "j2", productive_seconds=900, held_idle_seconds=2700, model="llm"),
    ]
    minute = timedelta(minutes=1)
    served = [sample(H + minute, 0, 0), sample(H + 2 * minute, 1000, 250, step_seconds=60.0)]
    told = [trained(H + minute, 100, rank, job_id="j2", sample_count_total=8.0 * (rank + 1)) for rank in range(2)]
    (row,) = models([cost("8")], held, served, told).to_dicts()
    assert (row["serving_cost"], row["prompt_cost"], row["generated_cost"]) == (4, None, None)
    assert (row["training_cost"], row["training_productive_cost"]) == (4, 1)
    assert (row["trained_sample_count"], row["trained_token_count"]) == (24, 200)
    assert row["sampled_cost"] == 4
    (row,) = models([cost("8")], held, served, [each | {"sample_count_total": 0.0} for each in told]).to_dicts()
    assert (row["training_cost"], row["trained_sample_count"], row["sampled_cost"]) == (4, None, None)


def test_the_tokens_that_opencost_prices() -> None:
    """OpenCost: an hour of Qwen3-32B at $3.20, 12 and 3 million tokens in equal time: $0.213, $0.133 in, $0.533 out."""
    held = [job_hour(H, "g0", "j1", productive_seconds=3600, model="qwen3-32b")]
    minute = timedelta(minutes=1)
    served = [
        sample(H + minute, 0, 0, prefill_seconds_total=0, decode_seconds_total=0),
        sample(H + 2 * minute, 12_000_000, 3_000_000, prefill_seconds_total=40.0, decode_seconds_total=40.0),
    ]
    made = models([cost("3.20")], held, served)
    of = (per_unit.MILLION_TOKENS_COST, per_unit.PROMPT_TOKENS_COST, per_unit.GENERATED_TOKENS_COST)
    prices = [measure.unit_costs(made, each)["USD"] for each in of]
    assert [round(each, 3) for each in prices] == [Decimal("0.213"), Decimal("0.133"), Decimal("0.533")]
    assert made.select("prompt_cost", "generated_cost").rows() == [(Decimal("1.6"), Decimal("1.6"))]
