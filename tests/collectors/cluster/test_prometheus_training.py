"""A training that pushes how far it is: each process its own counters, a restart another one."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from collectors.cluster.prometheus import PrometheusSettings, prometheus
from ledger.store import Store
from ledger.tables import TrainingSample
from tests.collectors.cluster.prometheus_server import at, open_metrics, prometheus_of, series

pytestmark = pytest.mark.xdist_group("prometheus")

STEPS = range(6)
PUSHED = {"node": "n1", "instance": "gateway:9091", "job_id": "7", "model": "llama"}
NAME = "clusterledger_training"


def pushed() -> Iterator[tuple[str, list[str]]]:
    for rank in ("0", "1"):
        labels = PUSHED | {"rank": rank}
        for what, each in {"steps": 10, "samples": 640, "tokens": 5_000_000_000}.items():
            # It starts again in the middle, and has done more by then than it had before.
            told = {step: each * (step + 1 if step < 3 else 9 * step) for step in STEPS}
            yield series(f"{NAME}_{what}_total", labels, told)
            begun = {step: at(-5 if step < 3 else 3).timestamp() for step in STEPS}
            yield series(f"{NAME}_{what}_created", labels, begun)
    yield series(f"{NAME}_steps_total", {"node": "n2", "pod_uid": "uid-1", "run": "b"}, dict.fromkeys(STEPS, 4))
    for rank in ("first", "9" * 30):
        yield series(f"{NAME}_steps_total", {"node": "n2", "rank": rank}, dict.fromkeys(STEPS, 4))
    # Milliseconds, and what is no instant at all.
    for job, begun in {"8": at(0).timestamp() * 1000, "9": 1e300}.items():
        labels = {"node": "n3", "job_id": job}
        yield series(f"{NAME}_steps_total", labels, dict.fromkeys(STEPS, 4))
        yield series(f"{NAME}_steps_created", labels, dict.fromkeys(STEPS, begun))


def test_each_process_has_a_row_and_a_restart_is_another_counter(tmp_path_factory: pytest.TempPathFactory) -> None:
    with prometheus_of(tmp_path_factory.mktemp("training") / "it", open_metrics(pushed())) as url:
        given = {"kind": "prometheus", "cluster": "c", "url": url, "delay_seconds": 0}
        (piece,) = prometheus.open(PrometheusSettings.model_validate(given))(at(-1), at(5))
    with Store.open("duckdb::memory:") as store:
        written = store.append_together(piece.frames, source="test")
        assert sum(each.rejected + each.duplicates for each in written.values()) == 0
        rows = store.read(TrainingSample).sort("job_id", "rank_index", "sampled_at")
    assert rows.height == 30
    assert set(rows.filter(node="n3")["started_at"]) == {datetime(1970, 1, 1, tzinfo=UTC)}
    first = rows.filter(job_id="7", rank_index=0)
    assert first["started_at"].to_list() == [at(-5)] * 3 + [at(3)] * 3
    assert first["token_count_total"].to_list() == [5e9 * count for count in (1, 2, 3, 27, 36, 45)]
    assert set(first["model"]) == {"llama"}
    assert set(first["node"]) == {"n1"}
    assert set(rows["is_job_seen"]) == {False}
    pod = rows.filter(job_id="uid-1")
    assert set(pod["started_at"]) == {datetime(1970, 1, 1, tzinfo=UTC)}
    assert (set(pod["run"]), set(pod["model"])) == ({"b"}, {None})
