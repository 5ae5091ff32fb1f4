"""What kubelets tell becomes holdings: once, under the pod's own record, and ended when the pod is gone."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import dataframely as dy
import polars as pl
import pytest

from app.context import Context
from app.services._pods import _fresh, hold
from app.services._service import silent
from app.services.rollup import compute
from ledger.tables import CollectorRun, Gpu, GpuHolderSample, GpuSample, GpuStateInterval, Job, JobGpu, Node
from tests.demo import settings_of

T0 = datetime(2026, 11, 20, 9, 58, tzinfo=UTC)
UID = "11111111-2222-4333-8444-555555555555"
PLACE = {"cluster": "k", "node": "n1"}
PACE = 30.0


class House:
    """A hub's context with a clock that a test sets, and short words for rows."""

    def __init__(self, path: Path) -> None:
        self.clock = T0
        self.context = Context(settings_of(path), now=lambda: self.clock)

    def append(self, schema: type[dy.Schema], rows: Sequence[dict[str, Any]]) -> None:
        names = {name: column.dtype for name, column in schema.columns().items()}
        self.context.store.append(schema, pl.DataFrame(list(rows), names), source="test")

    def rounds(self, first: int, last: int, holders: dict[str, str]) -> None:
        """Let a node ask its kubelet in some rounds, with the same answer: the pod's job by device."""
        at = [T0 + timedelta(seconds=PACE * each) for each in range(first, last)]
        step = {**PLACE, "boot_id": "b", "step_seconds": PACE}
        run = {"collector": "pod_resources", "is_ok": True, "row_count": len(holders), "duration_seconds": 0.0}
        self.append(CollectorRun, [{**step, "sampled_at": each, **run} for each in at])
        who = {"container": "m", "namespace": "ml", "pod_name": "train-0", "attribution_source": "pod_resources"}
        self.append(
            GpuHolderSample,
            [
                {
                    **step,
                    **who,
                    "sampled_at": each,
                    "gpu_uuid": gpu,
                    "job_id": job,
                    "attribution_confidence_ratio": 0.95,
                }
                for each in at
                for gpu, job in holders.items()
            ],
        )
        self.clock = max(self.clock, at[-1] + timedelta(seconds=1))

    def record(self, job_id: str = UID, **changes: Any) -> None:
        """Let the cluster's API tell of a pod."""
        told = {
            "cluster": "k",
            "job_id": job_id,
            "submitted_at": T0 - timedelta(minutes=5),
            "restart_count": 0,
            "started_at": T0 - timedelta(minutes=1),
            "user": "ann",
            "partition": "ml",
            "state": "RUNNING",
            "nodes": "n1",
            "labels": '{"pod": "train-0"}',
            "source": "kubernetes",
        }
        self.append(Job, [{**told, **changes}])

    def held(self) -> list[tuple[Any, ...]]:
        hold(self.context)
        rows = self.context.store.read(JobGpu)
        return rows.select("gpu_uuid", "job_id", "submitted_at", "held_start", "held_end").sort("held_start").rows()


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = House(tmp_path / "ledger.duckdb")
    yield made
    made.context.close()


def at(round_: float) -> datetime:
    return T0 + timedelta(seconds=PACE * round_)


BOUND, SUBMITTED = T0 - timedelta(minutes=1), T0 - timedelta(minutes=5)


def test_a_holding_lasts_from_the_pods_start_to_the_first_round_without_it(house: House) -> None:
    house.record()
    house.rounds(0, 3, {"GPU-a": UID})
    assert house.held() == [("GPU-a", UID, SUBMITTED, BOUND, None)]
    house.rounds(3, 5, {"GPU-a": UID})
    assert hold(house.context) == 0, "nothing new"
    house.rounds(5, 8, {})
    assert house.held() == [("GPU-a", UID, SUBMITTED, BOUND, at(5))]


def test_the_first_round_of_an_hour_ends_what_the_hour_before_saw(house: House) -> None:
    house.record()
    house.rounds(0, 4, {"GPU-a": UID})
    house.held()
    house.rounds(4, 6, {})
    assert at(4) == datetime(2026, 11, 20, 10, tzinfo=UTC)
    assert house.held() == [("GPU-a", UID, SUBMITTED, BOUND, at(4))]


def test_a_silent_node_ends_nothing_and_its_first_round_afterwards_does(house: House) -> None:
    house.record()
    house.rounds(0, 4, {"GPU-a": UID})
    house.held()
    house.rounds(800, 801, {})
    assert house.held() == [("GPU-a", UID, SUBMITTED, BOUND, at(800))]
    house.record(ended_at=at(90), state="COMPLETED")
    house.rounds(801, 802, {})
    assert house.held()[0][-1] == at(800), "an ended holding is not looked at again"


def test_the_record_ends_a_pod_that_the_kubelet_still_lists(house: House) -> None:
    house.record(ended_at=at(2), state="COMPLETED")
    house.rounds(0, 6, {"GPU-a": UID})
    assert house.held() == [("GPU-a", UID, SUBMITTED, BOUND, at(2))]


def test_a_pod_that_comes_back_after_a_kubelets_restart_holds_as_before(house: House) -> None:
    house.record()
    house.rounds(0, 3, {"GPU-a": UID})
    house.rounds(3, 4, {})
    assert house.held()[0][-1] == at(3)
    house.rounds(4, 6, {"GPU-a": UID})
    assert house.held() == [("GPU-a", UID, SUBMITTED, BOUND, None)]


def test_a_pod_waits_for_its_record_where_the_api_tells_of_pods(house: House) -> None:
    house.record("another")
    house.rounds(0, 3, {"GPU-a": UID})
    assert house.held() == []
    house.record()
    house.rounds(3, 4, {"GPU-a": UID})
    assert house.held() == [("GPU-a", UID, SUBMITTED, BOUND, None)]


def test_a_pod_that_the_node_knows_by_its_name_gets_its_uid_from_the_record(house: House) -> None:
    house.record("older", submitted_at=T0 - timedelta(hours=5), labels='{"pod": "train-0"}')
    house.record()
    house.record("elsewhere", nodes="n2")
    house.rounds(0, 3, {"GPU-a": "ml/train-0"})
    assert [row[1] for row in house.held()] == [UID]


def test_without_an_api_the_node_makes_the_record_and_ends_it(house: House) -> None:
    house.rounds(0, 3, {"GPU-a": UID, "GPU-b": UID})
    assert house.held() == [(gpu, UID, T0, T0, None) for gpu in ("GPU-a", "GPU-b")]
    columns = ("job_name", "partition", "state", "ended_at", "gpu_count", "source")
    assert house.context.store.read(Job).select(columns).rows() == [
        ("train-0", "ml", "RUNNING", None, 2.0, "pod_resources")
    ]
    house.rounds(3, 5, {})
    assert {row[-1] for row in house.held()} == {at(3)}
    assert house.context.store.read(Job).select(columns).row(0) == (
        "train-0", "ml", "UNKNOWN", at(3), 2.0, "pod_resources",
    )  # fmt: skip


def test_what_the_api_says_of_a_claims_devices_stands(house: House) -> None:
    house.record()
    told = {**PLACE, "gpu_uuid": "GPU-a", "job_id": UID, "submitted_at": SUBMITTED, "restart_count": 0}
    house.append(JobGpu, [{**told, "held_start": BOUND, "source": "scheduler", "confidence_ratio": 0.9}])
    house.rounds(0, 3, {"GPU-a": UID, "GPU-b": UID})
    house.held()
    sources = house.context.store.read(JobGpu).select("gpu_uuid", "source").sort("gpu_uuid").rows()
    assert sources == [("GPU-a", "scheduler"), ("GPU-b", "pod_resources")]


def test_a_hub_that_starts_again_makes_the_same_of_it(house: House, tmp_path: Path) -> None:
    house.record()
    house.rounds(0, 3, {"GPU-a": UID, "GPU-b": UID})
    house.rounds(3, 5, {"GPU-b": UID})
    before = house.held()
    house.context.close()
    again = House(tmp_path / "ledger.duckdb")
    again.clock = house.clock
    assert hold(again.context) == 0
    assert again.held() == before
    again.context.close()


def test_a_device_that_a_pod_holds_and_does_not_use_is_allocated_idle(house: House) -> None:
    house.record()
    house.append(Node, [{**PLACE, "exists_start": T0, "holder": "scheduler"}])
    house.append(
        Gpu,
        [{**PLACE, "gpu_uuid": "GPU-a", "exists_start": T0, "parent_gpu_uuid": "", "gpu_fraction": 1}],
    )
    nothing = {"status": "ok", "process_count": 0, "process_job_ids": "", "kernel_active_ratio": 0.0}
    house.append(
        GpuSample,
        [
            {**PLACE, **nothing, "gpu_uuid": "GPU-a", "sampled_at": at(each), "step_seconds": PACE, "boot_id": "b"}
            for each in range(4)
        ],
    )
    house.rounds(0, 4, {"GPU-a": UID})
    compute(house.context, silent)
    states = house.context.store.read(GpuStateInterval).filter(pl.col("state") != "unknown")
    assert states.select("state", "job_id", "user").unique().rows() == [("allocated_idle", UID, "ann")]


def test_keys_of_other_groupings_are_no_hours(house: House) -> None:
    """A table may count its rows by another grouping as well, under keys that begin with its name."""
    house.rounds(0, 3, {"GPU-a": UID})
    store = house.context.store
    hour = store.versions("gpu_holder_sample")["2026-11-20T09"]
    keys = {"2026-11-20T09": hour, "submitted_at:2026-11-20": hour}
    context = SimpleNamespace(store=SimpleNamespace(versions=lambda _: keys), now=house.context.now, held={})
    assert _fresh(cast("Context", context)) == [T0.replace(minute=0)]
