"""Servers of models, asked over HTTP: what they say, that they do not answer, and what is no metrics."""

import contextlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors.cluster._serving_metrics import ENGINES, said
from collectors.cluster._source import Pulled
from collectors.cluster.serving import ServingSettings, serving
from ledger.tables import ServingSample
from queries.counters import deltas

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
COUNTERS = (
    "prompt_token_count_total",
    "generated_token_count_total",
    "request_count_total",
    "queue_seconds_total",
    "running_seconds_total",
    "prefill_seconds_total",
    "decode_seconds_total",
)
NUMBERS = (*COUNTERS, "running_request_count", "waiting_request_count")


def vllm(tokens: int = 1000, *, started: float = 1.7e9, model: str = "llama", engines: int = 1) -> str:
    """Return what vLLM says; V1 says it for each of its engines."""
    lines = [f"# TYPE process_start_time_seconds gauge\nprocess_start_time_seconds {started!r}"]
    for name, kind, value in (
        ("vllm:num_requests_running", "gauge", 3.0),
        ("vllm:num_requests_waiting", "gauge", 2.0),
        ("vllm:num_requests_swapped", "gauge", 7.0),
        ("vllm:prompt_tokens_total", "counter", float(tokens)),
        ("vllm:generation_tokens_total", "counter", tokens / 4),
        ("vllm:iteration_tokens_total_sum", "untyped", 99.0),
        ("vllm:request_queue_time_seconds_sum", "untyped", 4.5),
        ("vllm:request_inference_time_seconds_sum", "untyped", 92.75),
        ("vllm:request_prefill_time_seconds_sum", "untyped", 12.5),
        ("vllm:request_decode_time_seconds_sum", "untyped", 80.25),
    ):
        lines.append(f"# HELP {name} What it is.\n# TYPE {name} {kind}")
        lines += [f'{name}{{engine="{engine}",model_name="{model}"}} {value}' for engine in range(engines)]
    lines.append("# TYPE vllm:request_success_total counter")
    for reason, count in (("stop", 5.0), ("length", 2.0), ("abort", 0.0)):
        lines += [
            f'vllm:request_success_total{{engine="{engine}",finished_reason="{reason}",model_name="{model}"}} {count}'
            for engine in range(engines)
        ]
    return "\n".join(lines) + "\n"


SGLANG = """\
# TYPE sglang:prompt_tokens_total counter
sglang:prompt_tokens_total{model_name="qwen"} 8.128902e+06
# TYPE sglang:generation_tokens_total counter
sglang:generation_tokens_total{model_name="qwen"} 7.557572e+06
# TYPE sglang:num_requests_total counter
sglang:num_requests_total{model_name="qwen"} 410.0
# TYPE sglang:num_running_reqs gauge
sglang:num_running_reqs{engine_type="unified",model_name="qwen",pp_rank="0",priority="",tp_rank="0",dp_rank="0"} 4.0
sglang:num_running_reqs{engine_type="unified",model_name="qwen",pp_rank="0",priority="",tp_rank="1",dp_rank="0"} 4.0
sglang:num_running_reqs{engine_type="unified",model_name="qwen",pp_rank="0",priority="",tp_rank="0",dp_rank="1"} 5.0
sglang:num_running_reqs{engine_type="unified",model_name="qwen",pp_rank="0",priority="1",tp_rank="0",dp_rank="1"} 5.0
# TYPE sglang:num_queue_reqs gauge
sglang:num_queue_reqs{engine_type="unified",model_name="qwen",tp_rank="0"} 1.0
# TYPE sglang:queue_time_seconds histogram
sglang:queue_time_seconds_bucket{le="+Inf",model_name="qwen",tp_rank="0"} 410.0
sglang:queue_time_seconds_count{model_name="qwen",tp_rank="0"} 410.0
sglang:queue_time_seconds_sum{model_name="qwen",tp_rank="0"} 33.5
"""

TGI = """\
# TYPE tgi_request_count counter
tgi_request_count 160
# TYPE tgi_request_success counter
tgi_request_success{method="batch"} 150
# TYPE tgi_request_generated_tokens histogram
tgi_request_generated_tokens_bucket{le="100"} 130
tgi_request_generated_tokens_bucket{le="+Inf"} 150
tgi_request_generated_tokens_sum 12500
tgi_request_generated_tokens_count 150
# TYPE tgi_request_input_length histogram
tgi_request_input_length_bucket{le="+Inf"} 150
tgi_request_input_length_sum 18000
tgi_request_input_length_count 150
# TYPE tgi_batch_current_size gauge
tgi_batch_current_size 4
# TYPE tgi_queue_size gauge
tgi_queue_size 7
# TYPE tgi_request_queue_duration histogram
tgi_request_queue_duration_bucket{le="+Inf"} 150
tgi_request_queue_duration_sum 2.25
tgi_request_queue_duration_count 150
# TYPE tgi_request_inference_duration histogram
tgi_request_inference_duration_bucket{le="+Inf"} 150
tgi_request_inference_duration_sum 310.5
tgi_request_inference_duration_count 150
"""

TRITON = """\
# TYPE nv_inference_request_success counter
nv_inference_request_success{model="resnet",version="1"} 100
nv_inference_request_success{model="resnet",version="2"} 11
nv_inference_request_success{model="tensorrt_llm",version="1"} 40
# TYPE nv_inference_pending_request_count gauge
nv_inference_pending_request_count{model="resnet",version="1"} 4
nv_inference_pending_request_count{model="tensorrt_llm",version="1"} 9
# TYPE nv_inference_queue_duration_us counter
nv_inference_queue_duration_us{model="resnet",version="1"} 1500000
nv_inference_queue_duration_us{model="resnet",version="2"} 250000
# TYPE nv_inference_compute_infer_duration_us counter
nv_inference_compute_infer_duration_us{model="resnet",version="1"} 40500000
# TYPE nv_trt_llm_request_metrics gauge
nv_trt_llm_request_metrics{model="tensorrt_llm",request_type="waiting",version="1"} 3
nv_trt_llm_request_metrics{model="tensorrt_llm",request_type="scheduled",version="1"} 8
nv_trt_llm_request_metrics{model="tensorrt_llm",request_type="max",version="1"} 512
# TYPE nv_llm_input_token_len histogram
nv_llm_input_token_len_bucket{model="tensorrt_llm",response_metric_type="total_input_tokens",version="1",le="+Inf"} 40
nv_llm_input_token_len_count{model="tensorrt_llm",response_metric_type="total_input_tokens",version="1"} 40
nv_llm_input_token_len_sum{model="tensorrt_llm",response_metric_type="total_input_tokens",version="1"} 5200
# TYPE nv_llm_output_token_len histogram
nv_llm_output_token_len_sum{model="tensorrt_llm",response_metric_type="total_output_tokens",version="1"} 1300
"""


@dataclass
class Server:
    """A server of models, with what it answers at which path."""

    url: str = ""
    answers: dict[str, tuple[int, str]] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)


@contextmanager
def running(text: str, *, port: int = 0, status: int = 200) -> Iterator[Server]:
    server = Server(answers={"/metrics": (status, text)})

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            server.asked.append((self.path, self.headers.get("Authorization", "")))
            code, body = server.answers.get(self.path, (404, "not found"))
            content = body.encode()
            self.send_response(code)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", port), Handler) as http:
        server.url = f"http://127.0.0.1:{http.server_port}"
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            http.shutdown()
            thread.join(60)


def pull(*endpoints: dict[str, Any], at: datetime = NOW, **settings: Any) -> Pulled:
    given = {"kind": "serving", "cluster": "alpha", "endpoints": list(endpoints), **settings}
    (pulled,) = serving.open(ServingSettings(**given))(None, at)
    ServingSample.validate(pulled.frames[ServingSample])
    return pulled


def rows(pulled: Pulled) -> list[dict[str, Any]]:
    return pulled.frames[ServingSample].to_dicts()


@pytest.mark.parametrize("engines", [1, 2])
def test_vllm_with_one_engine_or_several(engines: int) -> None:
    with running(vllm(1000, engines=engines)) as server:
        (row,) = rows(pull({"url": server.url, "node": "gpu-1", "job_id": "pod-1"}))
    assert (row["endpoint"], row["model"], row["node"]) == (f"{server.url}/metrics", "llama", "gpu-1")
    assert (row["job_id"], row["is_ready"], row["boot_id"], row["step_seconds"]) == ("pod-1", True, "1700000000.0", 30)
    assert row["sampled_at"] == NOW
    assert [row[name] / engines for name in NUMBERS] == [1000, 250, 7, 4.5, 92.75, 12.5, 80.25, 3, 2]


def test_sglang_counts_each_rank_once_and_no_level_of_priority_again() -> None:
    with running(SGLANG) as server:
        (row,) = rows(pull({"url": server.url}))
    assert (row["model"], row["node"]) == ("qwen", "127.0.0.1")
    assert (row["prompt_token_count_total"], row["generated_token_count_total"]) == (8128902, 7557572)
    assert (row["running_request_count"], row["waiting_request_count"]) == (9, 1)
    assert (row["request_count_total"], row["queue_seconds_total"], row["prefill_seconds_total"]) == (410, 33.5, None)


def test_tgi_names_its_model_elsewhere() -> None:
    with running(TGI) as server:
        server.answers["/info"] = (200, '{"model_id": "mistral-7b", "version": "3.0"}')
        (row,) = rows(pull({"url": server.url}))
        assert row["model"] == "mistral-7b"
        (named,) = rows(pull({"url": server.url, "model": "ours"}))
        server.answers["/info"] = (200, "[]")
        (unnamed,) = rows(pull({"url": server.url}))
    assert (named["model"], unnamed["model"]) == ("ours", "")
    assert [row[name] for name in NUMBERS] == [18000, 12500, 150, 2.25, 310.5, None, None, 4, 7]


def test_triton_has_several_models_and_versions() -> None:
    with running(TRITON) as server:
        found = {row["model"]: row for row in rows(pull({"url": server.url}))}
    assert set(found) == {"resnet", "tensorrt_llm"}
    assert [found["resnet"][name] for name in NUMBERS] == [None, None, 111, 1.75, 40.5, None, None, None, 4]
    assert [found["tensorrt_llm"][name] for name in NUMBERS] == [5200, 1300, 40, None, None, None, None, 8, 3]


def test_triton_that_runs_vllm_says_of_one_model_what_both_know() -> None:
    both = TRITON.split("# TYPE nv_trt", maxsplit=1)[0] + vllm(model="resnet").replace("model_name=", "model=")
    (resnet, _) = sorted(rows_of(both).items())
    assert resnet[0] == "resnet"
    assert resnet[1]["request_count_total"] == 7
    assert resnet[1]["waiting_request_count"] == 2


def rows_of(text: str) -> dict[str, dict[str, float]]:
    return {model: dict(values) for model, values in said(text).models.items()}


def test_several_servers_at_once_and_one_that_is_away_stops_none() -> None:
    with running(vllm(model="a")) as one, running(SGLANG) as two, running("") as gone:
        away = gone.url
        with running("", port=0) as away_too:
            pass
        found = pull({"url": one.url}, {"url": away_too.url, "model": "known"}, {"url": two.url}, {"url": away})
    ready = {row["model"]: row["is_ready"] for row in rows(found)}
    assert ready == {"a": True, "known": False, "qwen": True}
    assert [each.split(": ", 1)[0] for each in found.remarks] == [f"{away_too.url}/metrics", f"{away}/metrics"]
    assert "expected an answer" in found.remarks[0]


def test_a_server_that_goes_away_has_rows_without_numbers_and_never_an_old_one() -> None:
    with running(vllm()) as server:
        endpoint = {"url": server.url, "node": "gpu-1"}
        assert rows(pull(endpoint))[0]["is_ready"]
        server.answers["/metrics"] = (503, "loading")
        (loading,) = rows(pull(endpoint))
    (gone,) = rows(pull(endpoint))
    for row in (loading, gone):
        assert (row["model"], row["is_ready"], row["node"]) == ("llama", False, "gpu-1")
        assert [row[name] for name in NUMBERS] == [None] * len(NUMBERS)


@pytest.mark.parametrize("status", [401, 404])
def test_what_refuses_is_said_and_is_neither_ready_nor_away(status: int) -> None:
    with running("no", status=status) as server:
        found = pull({"url": server.url})
    assert rows(found) == []
    assert found.remarks == (f"{server.url}/metrics: found {status}, expected 200 OK and metrics",)


@pytest.mark.parametrize("text", ["<html>login</html>", "up 1\n", "", "vllm:prompt_tokens_total{ 3"])
def test_what_is_no_metrics_of_a_model_is_said(text: str) -> None:
    with running(text) as server:
        found = pull({"url": server.url})
    assert rows(found) == []
    assert len(found.remarks) == 1


@pytest.mark.parametrize("broken", ["NaN", "+Inf", "-1"])
def test_what_is_no_number_is_null_and_the_rest_stays(broken: str) -> None:
    text = vllm().replace('vllm:prompt_tokens_total{engine="0",model_name="llama"} 1000.0', "").rstrip()
    text += f'\nvllm:prompt_tokens_total{{engine="0",model_name="llama"}} {broken}\n'
    values = rows_of(text)["llama"]
    assert "prompt_token_count_total" not in values
    assert values["generated_token_count_total"] == 250


def test_a_restart_begins_new_counters_even_where_they_show_more_than_before() -> None:
    frames = []
    with running(vllm(1000, started=1.7e9)) as server:
        for index, text in enumerate((vllm(1000), vllm(1600), vllm(9000, started=1.8e9), vllm(9100, started=1.8e9))):
            server.answers["/metrics"] = (200, text)
            at = NOW + index * timedelta(seconds=30)
            frames.append(pull({"url": server.url}, at=at).frames[ServingSample])
    by = ["cluster", "node", "endpoint", "model"]
    grown = deltas(pl.concat(frames).lazy(), ["prompt_token_count_total"], by=by).collect()
    assert grown["prompt_token_count_delta"].to_list() == [None, 600.0, None, 100.0]


def test_each_address_of_a_name_is_a_server() -> None:
    with running(vllm()) as server:
        port = server.url.rpartition(":")[2]
        found = rows(pull({"url": f"http://localhost:{port}", "every_address": True}))
        nowhere = pull({"url": "http://no-such-host.invalid:1", "every_address": True})
    assert f"{server.url}/metrics" in {row["endpoint"] for row in found if row["is_ready"]}
    assert rows(nowhere) == []
    assert "expected addresses" in nowhere.remarks[0]


def test_a_token_is_sent_where_servers_want_one(tmp_path: Any) -> None:
    token = tmp_path / "token"
    token.write_text("secret\n")
    with running(vllm()) as server:
        pull({"url": f"{server.url}/metrics/"}, {"url": server.url}, token_file=token)
    assert sorted(server.asked) == [("/metrics", "Bearer secret"), ("/metrics/", "Bearer secret")]


def test_an_answer_without_an_end_stops_no_other() -> None:
    """Each of its parts comes in time, as from an address that tells events for as long as somebody listens."""
    over = threading.Event()

    class Endless(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            with contextlib.suppress(OSError):
                while not over.wait(0.02):
                    self.wfile.write(b": still here\n")

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Endless) as http, running(vllm()) as server:
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        # What is never given up must end somehow.
        threading.Timer(30, over.set).start()
        endless = {"url": f"http://127.0.0.1:{http.server_port}", "node": "endless"}
        pulled = pull(endless, {"url": server.url, "node": "good"}, timeout_seconds=0.5)
        over.set()
        http.shutdown()
    assert {row["node"]: row["is_ready"] for row in rows(pulled)} == {"endless": False, "good": True}
    assert "without an end" in pulled.remarks[0]


@given(st.text(max_size=300))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        found = said(text)
    except ValueError:
        return
    assert all(value >= 0 for values in found.models.values() for value in values.values())


@given(st.sampled_from([vllm(), SGLANG, TGI, TRITON]), st.integers(0, 2000), st.binary(max_size=4))
def test_metrics_that_were_damaged_are_read_or_refused(text: str, place: int, damage: bytes) -> None:
    content = text.encode()
    broken = content[:place] + damage + content[place + len(damage) :]
    try:
        found = said(broken.decode("utf-8", "replace"))
    except ValueError:
        return
    assert all(value >= 0 for values in found.models.values() for value in values.values())


def test_every_column_is_one_of_the_table() -> None:
    columns = {name for engine in ENGINES for name in engine.columns}
    assert columns == set(NUMBERS)
    assert columns <= set(ServingSample.column_names())
