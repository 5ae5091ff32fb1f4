"""The HTTP API's edges: what is sent, what is tried again, what is refused in words, how points are decoded."""

import json
import ssl
import subprocess
import time
from base64 import b64encode
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from collectors.cluster._kubernetes_jobs import Words
from collectors.cluster._prometheus_api import Api, Grid, Series, TooMuchError, escaped, selector, windows
from collectors.cluster._prometheus_connection import Connection
from collectors.cluster._prometheus_decode import Rows, points
from collectors.cluster._prometheus_table import Asked, answer
from collectors.cluster._prometheus_window import Reader
from ledger.errors import ConfigError, SourceError
from ledger.explain import problem
from tests.collectors.cluster.prometheus_server import prometheus_of, served

GRID = Grid(1_800_000_000, 1_800_000_540, 60)
EMPTY = b'{"status":"success","data":{"resultType":"matrix","result":[]}}'

pytestmark = pytest.mark.xdist_group("prometheus")


class Server:
    """Answers in turn, the last for ever, and notes what it was asked."""

    def __init__(self, *answers: tuple[int, Mapping[str, str], bytes]) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, dict[str, list[str]], dict[str, str]]] = []

    def __call__(self, path: str, body: bytes, headers: Mapping[str, str]) -> tuple[int, Mapping[str, str], bytes]:
        words = {name.lower(): value for name, value in headers.items()}
        self.asked.append((path, parse_qs(body.decode()), words))
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


def connection(url: str, **others: object) -> Connection:
    return Connection.model_validate({"url": url, **others})


def test_a_query_travels_in_the_body_with_the_headers_that_were_asked_for() -> None:
    server = Server((200, {}, EMPTY))
    with served(server) as url:
        Api(connection(url + "/", token="t-1", headers={"X-Scope-OrgID": "a|b"})).range("up" * 20_000, GRID)
    path, body, headers = server.asked[0]
    assert urlsplit(path).path == "/api/v1/query_range"
    assert urlsplit(path).query == ""
    assert body["query"] == ["up" * 20_000]
    assert (body["start"], body["end"], body["step"]) == (["1800000000"], ["1800000540"], ["60"])
    assert headers["authorization"] == "Bearer t-1"
    assert headers["x-scope-orgid"] == "a|b"


def test_basic_authentication_is_sent() -> None:
    server = Server((200, {}, EMPTY))
    with served(server) as url:
        Api(connection(url, user="u", password="p")).range("up", GRID)
    assert server.asked[0][2]["authorization"] == "Basic dTpw"


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_server_is_asked_again(status: int) -> None:
    server = Server((status, {"Retry-After": "0"}, b"busy"), (200, {}, EMPTY))
    with served(server) as url:
        assert Api(connection(url)).range("up", GRID) == []
    assert len(server.asked) == 2
    assert server.asked[0][1] == server.asked[1][1]


def test_a_server_that_stays_busy_is_an_error_with_its_words() -> None:
    server = Server((503, {"Retry-After": "0"}, b"overloaded"))
    with served(server) as url, pytest.raises(SourceError, match=r"found HTTP 503: overloaded"):
        Api(connection(url)).range("up", GRID)
    assert len(server.asked) == 4


@pytest.mark.parametrize(
    ("status", "body", "message", "hint"),
    [
        (401, b"Unauthorized", "found HTTP 401: Unauthorized", "token"),
        (404, b"404 page not found", "found HTTP 404", "ends before /api/v1"),
        (400, b'{"status":"error","error":"parse error: x"}', "found HTTP 400: parse error: x", ""),
        (200, b"<html>", "found no answer of Prometheus", "ends before /api/v1"),
        (200, b'{"status":"error","error":"no such tenant"}', "found no such tenant, expected series", ""),
        (200, b'{"status":"success"}', "found an answer without data, expected series", ""),
        (200, b"", "found no answer of Prometheus", ""),
        (200, b'{"status":"success","data":{"result":[{"metric":{"a":1}}]}}', "found no answer of Prometheus", ""),
    ],
)
def test_what_is_wrong_is_said_in_a_line(status: int, body: bytes, message: str, hint: str) -> None:
    with served(Server((status, {}, body))) as url, pytest.raises(SourceError) as raised:
        Api(connection(url)).range("up", GRID)
    assert message in raised.value.message
    assert hint in raised.value.hint
    assert "\n" not in raised.value.message


def test_the_list_of_metrics_fails_in_words_too() -> None:
    with served(Server((403, {}, b"no access"))) as url, pytest.raises(SourceError, match="found HTTP 403: no access"):
        Api(connection(url)).names(0, 1)
    for strange in (b"[]", b"null", b"<html>login</html>", b"[" * 100_000):
        with served(Server((200, {}, strange))) as url, pytest.raises(SourceError, match="no answer of Prometheus"):
            Api(connection(url)).names(0, 1)


def test_a_token_that_no_header_can_hold_is_refused_and_not_shown() -> None:
    for odd in ({"token": "abc\ndef"}, {"token": "abc\xf6"}, {"headers": {"X-Scope-OrgID": "abc\ndef"}}):
        with pytest.raises(ValidationError) as caught:
            connection("http://localhost:1", **odd)
        told = [problem(each, Connection) for each in caught.value.errors()]
        assert "expected" in told[0]
        assert "abc" not in told[0]
    assert connection("http://localhost:1", headers={"X-Scope-OrgID": "team one", "X-None": ""}).headers


def test_a_password_may_hold_any_letter() -> None:
    server = Server((200, {}, EMPTY))
    with served(server) as url:
        Api(connection(url, user="ada", password="\u2603")).range("up", GRID)
    assert server.asked[0][2]["authorization"] == "Basic " + b64encode("ada:\u2603".encode()).decode()


def test_nobody_there_is_said_at_once() -> None:
    began = time.monotonic()
    with pytest.raises(SourceError, match=r"^http://127\.0\.0\.1:9: Failed to establish a new connection: .*refused"):
        Api(connection("http://127.0.0.1:9")).range("up", GRID)
    assert time.monotonic() - began < 5


def test_a_server_that_hangs_is_given_up() -> None:
    def hang(path: str, body: bytes, headers: Mapping[str, str]) -> tuple[int, Mapping[str, str], bytes]:
        time.sleep(1)
        return 200, {}, EMPTY

    with served(hang) as url, pytest.raises(SourceError, match="timed out"):
        Api(connection(url, timeout_seconds=0.2)).range("up", GRID)


def test_a_partial_answer_is_kept_and_said_once() -> None:
    body = b'{"status":"success","warnings":["store s3 down"],"isPartial":true,"data":{"result":[]}}'
    with served(Server((200, {}, body))) as url:
        api = Api(connection(url))
        for _ in range(2):
            api.range("up", GRID)
    assert api.remarks == ["partial answer: store s3 down", "partial answer: a part of the cluster did not answer"]


def told(grid: Grid) -> bytes:
    values = [[at, "1"] for at in range(grid.start, grid.end + 1, grid.step)]
    return json.dumps({"status": "success", "data": {"result": [{"metric": {"a": "b"}, "values": values}]}}).encode()


def test_what_is_too_much_at_once_is_asked_for_in_halves() -> None:
    refused: list[int] = []

    def limited(path: str, body: bytes, headers: Mapping[str, str]) -> tuple[int, Mapping[str, str], bytes]:
        asked = {name: values[0] for name, values in parse_qs(body.decode()).items()}
        grid = Grid(int(asked["start"]), int(asked["end"]), int(asked["step"]))
        if grid.length > 3:
            refused.append(grid.length)
            text = "query processing would load too many samples into memory in query execution"
            return 422, {}, json.dumps({"status": "error", "error": text}).encode()
        return 200, {}, told(grid)

    with served(limited) as url:
        series = answer(Api(connection(url)), Asked({}, "up"), GRID)
    assert refused == [10, 5, 5]
    owners, steps, values = points(series, GRID)
    assert sorted(steps) == list(range(10))
    assert set(values) == {1.0}
    assert len(owners) == 10


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (503, b'{"status":"error","errorType":"timeout","error":"query timed out in expression evaluation"}'),
        (504, b"upstream request timeout"),
        (503, b'{"status":"error","error":"context deadline exceeded"}'),
    ],
)
def test_what_takes_too_long_at_once_is_asked_for_in_halves(status: int, text: bytes) -> None:
    lengths: list[int] = []

    def slow(path: str, body: bytes, headers: Mapping[str, str]) -> tuple[int, Mapping[str, str], bytes]:
        words = {name: values[0] for name, values in parse_qs(body.decode()).items()}
        lengths.append((int(words["end"]) - int(words["start"])) // 60 + 1)
        assert float(words["timeout"].removesuffix("s")) < 10
        return (status, {}, text) if lengths[-1] > 3 else (200, {}, EMPTY)

    with served(slow) as url:
        assert answer(Api(connection(url, timeout_seconds=10)), Asked({}, "up"), GRID) == []
    assert lengths == [10, 5, 2, 3, 5, 2, 3], "one that is slow is not asked for the same again"


def test_one_step_that_is_too_much_is_an_error() -> None:
    body = b'{"status":"error","error":"too many series"}'
    with served(Server((422, {}, body))) as url, pytest.raises(TooMuchError, match="too many series"):
        answer(Api(connection(url)), Asked({}, "up"), Grid(60, 60, 60))


def test_a_private_authority_is_needed_and_enough(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    files = ["-keyout", str(key), "-out", str(certificate), "-days", "2"]
    subprocess.run([*command, *files, *subject], check=True, capture_output=True, timeout=30)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with served(Server((200, {}, EMPTY)), tls=context) as url:
        with pytest.raises(SourceError) as raised:
            Api(connection(url)).range("up", GRID)
        assert raised.value.hint == "see ca_file of its section"
        assert Api(connection(url, ca_file=certificate)).range("up", GRID) == []


def test_an_authority_that_is_no_file_is_refused() -> None:
    with pytest.raises(ConfigError, match="ca_file: found no file /nowhere"):
        Api(connection("https://127.0.0.1:9", ca_file="/nowhere"))


def test_a_label_is_a_value_and_never_a_part_of_the_query(tmp_path: Path) -> None:
    bad = 'a"} or vector(1) or up{x="\\\n'
    assert selector("up", (("job", "=", bad),)) == 'up{job="a\\"} or vector(1) or up{x=\\"\\\\\\n"}'
    with prometheus_of(tmp_path / "it") as url:
        assert Api(connection(url)).instant(selector("up", (("job", "=", bad),)), 1_800_000_000) == []
    with pytest.raises(ConfigError, match="expected a label's name"):
        selector("up", (('job"}', "=", "x"),))


@given(st.text())
def test_escaped_text_has_no_bare_quote_and_no_line_end(text: str) -> None:
    found = escaped(text)
    assert "\n" not in found
    assert found.replace("\\\\", "").replace('\\"', "").count('"') == 0


@given(st.integers(0, 5000), st.integers(0, 400), st.integers(1, 30), st.integers(1, 50))
def test_windows_hold_each_instant_once(start: int, steps: int, step: int, most: int) -> None:
    grid = Grid(start, start + steps * step, step)
    found = list(windows(grid, most))
    assert all(each.length <= most for each in found)
    assert [at for each in found for at in range(each.start, each.end + 1, step)] == list(
        range(grid.start, grid.end + 1, step)
    )


VALUES = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.sampled_from(["NaN", "+Inf", "-Inf", "1e+06", "0", "-0", "1.7976931348623157e+308"]),
)


@given(st.lists(st.lists(st.tuples(st.integers(-2, 11), VALUES), max_size=8), max_size=5), st.booleans())
def test_points_are_what_a_plain_reader_of_json_finds(drawn: list[list[tuple[int, str]]], spaced: bool) -> None:
    separators = (", ", ": ") if spaced else (",", ":")
    series, expected = [], []
    for owner, pairs in enumerate(drawn):
        told_pairs = [[GRID.start + step * 60, value] for step, value in pairs]
        raw = msgspec.Raw(json.dumps(told_pairs, separators=separators).encode())
        series.append(Series(metric={}, values=raw))
        for step, value in pairs:
            if 0 <= step < GRID.length and np.isfinite(float(value)):
                expected.append((owner, step, float(value)))
    owners, steps, values = points(series, GRID)
    assert list(zip(owners.tolist(), steps.tolist(), values.tolist(), strict=True)) == expected


@given(
    st.lists(st.tuples(st.sampled_from("xyz"), st.integers(0, 9), st.sampled_from("ab"), st.floats(-9, 9)), max_size=40)
)
def test_rows_are_a_pivot_in_which_the_larger_value_counts(drawn: list[tuple[str, int, str, float]]) -> None:
    rows, expected = Rows(GRID), {}
    for key, step, column, value in drawn:
        rows.add(column, [(key,)], (np.array([0]), np.array([step]), np.array([value])))
        place = expected.setdefault((key, step), {})
        place[column] = max(place.get(column, value), value)
    found = {}
    for row in rows.frame(["key"]).iter_rows(named=True):
        step = (int(row["sampled_at"].timestamp()) - GRID.start) // 60
        found[row["key"], step] = {name: row[name] for name in "ab" if row.get(name) is not None}
    assert found == expected


@pytest.mark.parametrize(
    ("status", "body", "steps"),
    [
        (200, b'{"status":"success","data":{"result":[{"metric":{},"value":[0,"40000"]}]}}', 100),
        (200, b'{"status":"success","data":{"result":[]}}', 10_000),
        (422, b'{"status":"error","error":"query processing would load too many samples into memory"}', 10),
    ],
)
def test_the_more_pods_there_are_the_shorter_is_a_window(status: int, body: bytes, steps: int) -> None:
    server = Server((status, {}, body))
    with served(server) as url:
        known = frozenset({"kube_pod_status_phase", "kube_pod_tolerations"})
        reader = Reader(Api(connection(url)), "c", (), known, (), str, frozenset(), 0, Words((), "", "", ""))
        assert reader.most_steps(Grid(0, 300_000, 60)) == steps
    (query,) = server.asked[0][1]["query"]
    assert "kube_pod_status_phase" in query
    assert "tolerations" not in query
