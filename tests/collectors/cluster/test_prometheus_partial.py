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
        self.has_not: Callable[[Mapping[str, str]], bool] = lambda labels: "n2" in labels.values()

    def __call__(self, path: str, body: bytes, headers: Mapping[str, str]) -> tuple[int, Mapping[str, str], bytes]:
        kind = {"Content-Type": headers["content-type"]} if body else {}
        request = urllib.request.Request(self.url + path, data=body or None, headers=kind)  # noqa: S310  loopback
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310  loopback
            content: dict[str, Any] = json.load(answer)
        if self.is_away(path):
            data = content["data"]
            if isinstance(data, dict):
                data["result"] = [each for each in data["result"] if not self.has_not(each["metric"])]
            elif data and isinstance(data[0], dict):
                content["data"] = [each for each in data if not self.has_not(each)]
            content["warnings"] = [self.says]
        return 200, {"Content-Type": "application/json"}, json.dumps(content).encode()


class Hub:
    """A ledger that asks a querier."""

    def __init__(self, url: str) -> None:
        self.context = Context(load(store={"url": "duckdb::memory:"}), now=lambda: at(STEPS[-1]))
        given = {"kind": "prometheus", "cluster": "c", "url": url, "delay_seconds": 0}
        self.source = Configured("p", prometheus, PrometheusSettings.model_validate(given))

    def pull(self, until: int, since: int | None = None) -> Outcome:
        since = -1 if self.state is None else since
        outcome = pull(self.context, self.source, None if since is None else at(since), at(until))
        assert (outcome.error, outcome.rejected) == (None, 0)
        return outcome

    def gap(self) -> tuple[object, ...]:
        """Return the one gap: from, to, whole up to, how often it was asked."""
        (gap,) = self.context.store.read(SourceGap).to_dicts()
        return gap["gap_start"], gap["gap_end"], gap["whole_until"], gap["asked_count"]

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


@pytest.fixture
def gapped(hub: Hub, querier: Querier) -> Hub:
    """A hub that kept a stretch of which a store had one node and another one all readings of power."""
    hub.pull(9)
    querier.is_away = lambda path: "query" in path or "series" in path
    querier.has_not = lambda labels: "n2" in labels.values() or labels.get("__name__") == "DCGM_FI_DEV_POWER_USAGE"
    for until in (10, 11, 12, 13):
        hub.pull(until)
    querier.is_away = lambda _: False
    hub.pull(19)
    rows = hub.samples().filter(pl.col("sampled_at").is_between(at(9), at(13), closed="right"))
    assert (rows["node"].to_list(), rows["power_watts"].to_list()) == (["n1"] * 4, [None] * 4)
    assert hub.gap() == (at(9), at(13), None, 4)
    return hub


def test_asking_again_makes_the_rows_whole_and_closes_the_gap(gapped: Hub, querier: Querier) -> None:
    assert gapped.pull(13, since=9).tables["gpu_sample"] == 8
    assert gapped.gap() == (at(9), at(13), at(13), 4)
    undisturbed = Hub(querier.url)
    undisturbed.pull(19)
    assert gapped.samples().equals(undisturbed.samples())
    assert gapped.reached == at(19)
    undisturbed.context.close()
    assert gapped.pull(13, since=9).rows == 0


def test_a_gap_closes_from_where_it_begins_as_far_as_it_was_answered(gapped: Hub) -> None:
    gapped.pull(13, since=11)
    assert gapped.gap() == (at(9), at(13), None, 4), "its first part is still missing"
    gapped.pull(11, since=5)
    assert gapped.gap() == (at(9), at(13), at(11), 4)
    gapped.pull(13, since=11)
    assert gapped.gap() == (at(9), at(13), at(13), 4)


def test_a_gap_that_is_asked_for_in_vain_stays(gapped: Hub, querier: Querier) -> None:
    querier.is_away = lambda path: "query" in path
    gapped.pull(13, since=9)
    assert gapped.gap() == (at(9), at(13), None, 5)
    # A source that has forgotten those days answers whole, and with nothing.
    querier.says, querier.has_not = "PromQL info: nothing of that time", lambda _: True
    outcome = gapped.pull(13, since=9)
    assert gapped.gap() == (at(9), at(13), None, 5)
    assert any("nothing was told where a part was missing" in each for each in outcome.remarks)


def test_a_source_that_stays_behind_the_present_tells_all_of_a_stretch_that_is_past(gapped: Hub) -> None:
    settings = gapped.source.settings.model_copy(update={"delay_seconds": 300})
    gapped.source = Configured("p", prometheus, settings)
    gapped.pull(13, since=9)
    assert gapped.gap() == (at(9), at(13), at(13), 4)


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
