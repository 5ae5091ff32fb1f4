"""A server of which a part does not answer: what it tells is asked for again, and kept once."""

import json
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from app.context import Context
from app.services._pulling import Outcome, pull
from collectors.cluster._configured import Configured
from collectors.cluster.prometheus import PrometheusSettings, prometheus
from ledger.config import load
from ledger.tables import Gpu, GpuSample, Node, NodeState, SourceGap, SourceState
from tests.collectors.cluster.prometheus_server import at, open_metrics, prometheus_of, series, served

pytestmark = pytest.mark.xdist_group("prometheus")

STEPS = range(40)


def told() -> Iterator[tuple[str, list[str]]]:
    """Two nodes, each of which a store of its own has; kube-state-metrics tells of both."""
    for node in ("n1", "n2"):
        labels = {"UUID": f"GPU-{node}", "gpu": "0", "Hostname": node, "modelName": "H100"}
        yield series("DCGM_FI_DEV_FB_USED", labels, dict.fromkeys(STEPS, 10))
        yield series("DCGM_FI_DEV_POWER_USAGE", labels, dict.fromkeys(STEPS, 300))
        yield series("kube_node_info", {"node": node}, dict.fromkeys(STEPS, 1))
        yield series("kube_node_created", {"node": node}, dict.fromkeys(STEPS, int(at(0).timestamp())))
        ready = {"node": node, "condition": "Ready", "status": "true"}
        yield series("kube_node_status_condition", ready, dict.fromkeys(STEPS, 1))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with prometheus_of(tmp_path_factory.mktemp("partial") / "it", open_metrics(told())) as address:
        yield address


class Querier:
    """Answers for a Prometheus as a Thanos does: while a store is away, without its series, and with a warning."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.is_away: Callable[[str], bool] = lambda _: False
        self.says = "No StoreAPIs matched for this query: store n2 is down"

    def __call__(self, path: str, body: bytes, headers: Mapping[str, str]) -> tuple[int, Mapping[str, str], bytes]:
        kind = {"Content-Type": headers["content-type"]} if body else {}
        request = urllib.request.Request(self.url + path, data=body or None, headers=kind)  # noqa: S310  loopback
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310  loopback
            content: dict[str, Any] = json.load(answer)
        if self.is_away(path):
            data = content["data"]
            if isinstance(data, dict):
                data["result"] = [each for each in data["result"] if not self._is_of_store(each["metric"])]
            elif data and isinstance(data[0], dict):
                content["data"] = [each for each in data if not self._is_of_store(each)]
            content["warnings"] = [self.says]
        return 200, {"Content-Type": "application/json"}, json.dumps(content).encode()

    @staticmethod
    def _is_of_store(labels: Mapping[str, str]) -> bool:
        return "n2" in labels.values()


class Hub:
    """A ledger that asks a querier."""

    def __init__(self, url: str) -> None:
        self.context = Context(load(store={"url": "duckdb::memory:"}), now=lambda: at(STEPS[-1]))
        given = {"kind": "prometheus", "cluster": "c", "url": url, "delay_seconds": 0}
        self.source = Configured("p", prometheus, PrometheusSettings.model_validate(given))

    def pull(self, until: int) -> Outcome:
        since = at(-1) if self.state is None else None
        outcome = pull(self.context, self.source, since, at(until))
        assert (outcome.error, outcome.rejected) == (None, 0)
        return outcome

    @property
    def state(self) -> dict[str, Any] | None:
        rows = self.context.store.read(SourceState)
        return rows.row(0, named=True) if rows.height else None

    @property
    def reached(self) -> object:
        state = self.state
        return None if state is None else state["reached_at"]

    def samples(self) -> pl.DataFrame:
        return self.context.store.read(GpuSample).sort("node", "sampled_at")


@pytest.fixture
def querier(whole: str) -> Querier:
    return Querier(whole)


@pytest.fixture
def hub(querier: Querier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CLUSTERLEDGER_STORE", raising=False)
    with served(querier) as url:
        found = Hub(url)
        yield found
        found.context.close()


def test_what_was_answered_in_part_is_asked_for_again_and_kept_once(hub: Hub, querier: Querier) -> None:
    hub.pull(9)
    querier.is_away = lambda path: "query" in path
    outcome = hub.pull(14)
    assert outcome.rows == 0
    assert hub.reached == at(9)
    assert hub.state is not None
    assert hub.state["partial_count"] == 1
    assert "store n2 is down" in hub.state["message"]
    assert "to be asked again, 1 of 4 times so far" in hub.state["message"]
    querier.is_away = lambda _: False
    hub.pull(19)
    assert (hub.reached, hub.state["partial_count"]) == (at(19), 0)
    assert hub.context.store.read(SourceGap).is_empty()
    rows = hub.samples()
    assert rows["node"].value_counts().sort("node")["count"].to_list() == [20, 20]
    undisturbed = Hub(querier.url)
    undisturbed.pull(19)
    assert rows.equals(undisturbed.samples())
    undisturbed.context.close()


def test_what_stays_partial_is_kept_after_some_pulls_and_said_for_good(hub: Hub, querier: Querier) -> None:
    hub.pull(9)
    querier.is_away = lambda path: "query" in path or "series" in path
    for count, until in enumerate((10, 11, 12), start=1):
        assert hub.pull(until).rows == 0
        assert hub.state is not None
        assert (hub.reached, hub.state["partial_count"]) == (at(9), count)
    hub.pull(13)
    assert (hub.reached, hub.state["partial_count"] if hub.state else None) == (at(13), 0)
    (gap,) = hub.context.store.read(SourceGap).to_dicts()
    assert (gap["source_name"], gap["gap_start"], gap["gap_end"], gap["asked_count"]) == ("p", at(9), at(13), 4)
    assert "store n2 is down" in gap["message"]
    rows = hub.samples()
    assert rows.filter(node="n1").height == 14
    assert rows.filter(node="n2").height == 10
    # What could not be seen has not ended.
    assert hub.context.store.read(Gpu)["exists_end"].null_count() == 2
    for schema, end in ((Node, "exists_end"), (NodeState, "state_end")):
        stands = hub.context.store.read(schema)
        assert (stands.height, stands[end].null_count()) == (2, 2), schema
    querier.is_away = lambda _: False
    hub.pull(19)
    assert hub.samples().filter(node="n2")["sampled_at"].to_list() == [
        at(step) for step in (*range(10), *range(14, 20))
    ]
    assert hub.context.store.read(SourceGap).height == 1


def test_a_list_of_metrics_from_a_part_of_the_stores_makes_the_pull_partial(hub: Hub, querier: Querier) -> None:
    querier.is_away = lambda path: "label" in path
    hub.pull(9)
    assert hub.reached is None
    querier.is_away = lambda _: False
    hub.pull(9)
    assert hub.reached == at(9)
    assert hub.samples().height == 20


def test_advice_about_a_query_is_no_missing_part(hub: Hub, querier: Querier) -> None:
    querier.is_away = lambda path: "query_range" in path
    querier.says = "PromQL warning: metric might not be a counter"
    outcome = hub.pull(9)
    assert hub.reached == at(9)
    assert outcome.remarks == ["PromQL warning: metric might not be a counter"]
