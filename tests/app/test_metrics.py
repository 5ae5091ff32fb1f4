"""The hub's /metrics: as Prometheus reads it, to who may, and true."""

import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import polars as pl
import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.applications import Starlette
from starlette.testclient import TestClient

from app.api.metrics import families
from app.context import Context
from app.hub import routes
from app.services import named
from app.services._hub_file import found
from app.services._incidents import incidents_now
from collectors.wire import encode
from ledger.exposition import exposition
from ledger.sections import Receiver
from tests.app.conftest import RunningHub, running
from tests.app.incidents import MINUTE, NOW, Estate
from tests.demo import DEMO_NOW
from tests.missing import missing

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def parsed(text: str) -> Samples:
    return {
        (sample.name.removeprefix("clusterledger_"), tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def linted(text: str) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        missing("no promtool on the PATH: install Debian's prometheus")
    done = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_what_is_told_is_what_the_store_says(demo_context: Context) -> None:
    text = exposition(families(demo_context))
    linted(text)
    told = parsed(text)
    devices = {name: value for name, value in told.items() if name[0] == "gpus"}
    exist = demo_context.store.select(
        "SELECT sum(gpu_fraction) AS n FROM gpu "
        "WHERE exists_start <= $now AND (exists_end IS NULL OR exists_end > $now)",
        now=DEMO_NOW,
    )["n"][0]
    assert sum(devices.values()) == pytest.approx(float(exist))
    open_ones = incidents_now(demo_context).filter(pl.col("status") == "open")
    found = {labels: value for (name, labels), value in told.items() if name == "idle_incidents"}
    assert sum(found.values()) == open_ones.height > 0
    assert told["idle_incident_longest_seconds", ()] == float(open_ones["idle_seconds"].max())
    newest = demo_context.store.select("SELECT max(last_sampled_at) AS at FROM coverage_day")["at"][0]
    assert told["last_sample_timestamp_seconds", ()] == newest.timestamp()
    assert 0.9 < told["coverage_ratio", ()] <= 1


def test_an_empty_store_is_told_as_well(empty_context: Context) -> None:
    text = exposition(families(empty_context))
    linted(text)
    told = parsed(text)
    assert told["idle_incidents", (("cluster", ""), ("status", "open"), ("team", ""))] == 0
    assert not [name for name, _ in told if name == "last_sample_timestamp_seconds"], "unknown is not zero"


def test_decisions_and_receivers_show(tmp_path: Path) -> None:
    estate = Estate(tmp_path / "ledger.duckdb", Receiver(name="down", url="http://127.0.0.1:9/"))
    estate.idles("G1", since=NOW - 40 * MINUTE)
    estate.idles("G2", since=NOW - 40 * MINUTE)
    estate.decide(gpu_uuid="G1", decision="acknowledged")
    estate.passes()
    text = exposition(families(estate.context))
    linted(text)
    told = parsed(text)
    place = (("cluster", "alpha"), ("status", "acknowledged"), ("team", "vision"))
    assert told["idle_incidents", place] == 1
    assert told["notices_waiting", (("receiver", "down"),)] == 1
    assert told["notice_attempts_failed", (("receiver", "down"),)] == 1
    estate.context.close()


def get(hub: RunningHub, token: str = "", **headers: str) -> httpx2.Response:
    given = {**({"Authorization": f"Bearer {token}"} if token else {}), **headers}
    return httpx2.get(f"{hub.url}/metrics", headers=given, trust_env=False, timeout=30)


def test_this_machine_needs_no_token_and_nobody_elses_call_passes_for_its_own(shared: RunningHub) -> None:
    answer = get(shared)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    linted(answer.text)
    told = parsed(answer.text)
    assert ("process_resident_memory_bytes", ()) in told
    until = time.monotonic() + 60
    while ("job_run_success_timestamp_seconds", (("job", "rollup"),)) not in (told := parsed(get(shared).text)):
        assert time.monotonic() < until, "no job has run"
        time.sleep(0.2)
    assert told["job_run_status", (("job", "rollup"), ("status", "failed"))] == 0
    for header in ("X-Forwarded-For", "Forwarded", "X-Real-IP"):
        assert get(shared, **{header: "127.0.0.1"}).status_code == 401
    file = found(f"duckdb:{shared.folder / 'clusterledger.duckdb'}")
    assert file is not None
    assert get(shared, file.token, **{"X-Forwarded-For": "192.0.2.7"}).status_code == 200
    assert httpx2.post(f"{shared.url}/metrics", trust_env=False).status_code == 405


def test_what_agents_send_is_counted_by_its_answer(empty_context: Context) -> None:
    """A known batch has no rows that count again; of a batch that is refused, no row is known."""
    tokens = named("tokens")
    made: Any = tokens.run(empty_context, tokens.asked({"action": "create", "node": "n1"}))
    at = DEMO_NOW.replace(microsecond=0)
    row = {"cluster": "default", "node": "n1", "boot_id": "b", "step_seconds": 10.0, "load_average_count": 1.0}
    rows = [{**row, "sampled_at": at - second * MINUTE / 60} for second in range(3)]
    rows += [rows[0], {**rows[1], "load_average_count": 2.0}, {**row, "sampled_at": DEMO_NOW + 60 * MINUTE}]

    def told() -> Samples:
        found = parsed(client.get("/metrics", headers={"Authorization": "Bearer key"}).text)
        return {name: value for name, value in found.items() if name[0].startswith("ingest_")}

    with TestClient(Starlette(routes=list(routes(empty_context, "key")))) as client:
        assert set(told().values()) == {0}

        def post(body: bytes, token: str = made[0]["token"]) -> int:
            return client.post("/api/v1/ingest", content=body, headers={"Authorization": f"Bearer {token}"}).status_code

        sent = [encode(each, "n1", "b", {"host_sample": rows}) for each in ("first", "first", "second")]
        assert [post(each) for each in sent] == [200, 200, 200]
        assert [post(sent[0], "wrong"), post(b"none"), post(encode("x", "n2", "b", {}))] == [401, 400, 403]
        found = told()
        linted(client.get("/metrics", headers={"Authorization": "Bearer key"}).text)
    answered = {"kept": 2, "known": 1, "401": 1, "400": 1, "403": 1}
    became = {"kept": 3, "duplicate": 1 + 4, "rejected": 2 + 2}
    assert found == {
        **{("ingest_batches_total", (("status", status),)): count for status, count in answered.items()},
        **{("ingest_rows_total", (("status", status),)): count for status, count in became.items()},
    }
    assert sum(became.values()) == 2 * len(rows)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHub]:
    with running(tmp_path_factory.mktemp("open")) as hub:
        yield hub


def test_a_token_that_is_set_is_asked_of_everybody_also_where_people_log_in(tmp_path: Path) -> None:
    (tmp_path / "clusterledger.toml").write_text(
        '[hub]\nmetrics_token = "scrape"\n[[notify]]\nname = "oncall"\nurl = "http://127.0.0.1:9"\n'
        '[auth]\nmetadata_url = "http://127.0.0.1:9/x"\nclient_id = "c"\n'
        'client_secret = "s"\nadmins = ["a"]\n',
        encoding="utf-8",
    )
    with running(tmp_path) as hub:
        refused = get(hub)
        assert refused.status_code == 401
        assert "hub.metrics_token" in json.loads(refused.text)["hint"]
        assert get(hub, "wrong").status_code == 401
        assert get(hub, "scrape").status_code == 200
        until = time.monotonic() + 60
        while ("job_run_success_timestamp_seconds", (("job", "notify"),)) not in parsed(get(hub, "scrape").text):
            assert time.monotonic() < until, "receivers are told by a job of the hub"
            time.sleep(0.2)
        assert parsed(get(hub, "scrape").text)["notices_waiting", (("receiver", "oncall"),)] == 0
        assert (
            httpx2.post(
                f"{hub.url}/api/v1/services/sql",
                json={"query": "SELECT 1"},
                headers={"Authorization": "Bearer scrape"},
                trust_env=False,
            ).status_code
            == 401
        ), "it opens nothing else"
