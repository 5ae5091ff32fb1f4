"""A hub that refuses, or asks for peace: the agent slows down, keeps its rows, and says what to do."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from collectors._patience import Patience, asked_seconds
from collectors._ship import Link, Shipper
from collectors._spool import Spool
from collectors._stamp import Identity
from collectors._standing import all_put_aside, standing, standing_file
from collectors.wire import Batch, decode
from ledger.errors import ConfigError
from tests.collectors.hub import acknowledged

AT = datetime(2026, 11, 20, 12, tzinfo=UTC)


@dataclass
class Hub:
    """A hub that knows one token of one node and cluster."""

    token: str = "good"
    node: str = "n1"
    cluster: str = "lab"
    unknown_table: str = "nonsense"
    most_rows: int = 10**9
    away_after: int = 10**9
    busy_calls: int = 0
    retry_after: str = ""
    in_its_place: tuple[int, bytes] | None = None
    calls: list[tuple[float, int]] = field(default_factory=list)
    batches: dict[str, Batch] = field(default_factory=dict)

    def status(self, batch: Batch, authorization: str) -> int:
        if len(self.calls) >= self.away_after:
            return 500
        if batch.row_count > self.most_rows:
            return 413
        if self.busy_calls > 0:
            self.busy_calls -= 1
            return 429
        if authorization != f"Bearer {self.token}":
            return 401
        clusters = {value for columns in batch.tables.values() for value in columns.get("cluster", [])}
        if batch.node != self.node or clusters - {self.cluster}:
            return 403
        return 422 if self.unknown_table in batch.tables else 200

    def answer(self, batch: Batch, authorization: str) -> int:
        status = self.status(batch, authorization)
        self.calls.append((time.monotonic(), status))
        if status == 200:
            self.batches[batch.batch_id] = batch
        return status

    def handler(self) -> type[BaseHTTPRequestHandler]:
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                batch = decode(self.rfile.read(int(self.headers["Content-Length"])))
                if hub.in_its_place is not None:
                    self.send_response(hub.in_its_place[0])
                    self.end_headers()
                    self.wfile.write(hub.in_its_place[1])
                    return
                status = hub.answer(batch, self.headers.get("Authorization", ""))
                self.send_response(status)
                if status == 429 and hub.retry_after:
                    self.send_header("Retry-After", hub.retry_after)
                self.end_headers()
                refused = b'{"error": "because of this", "hint": "do that"}'
                self.wfile.write(acknowledged(batch.batch_id) if status == 200 else refused)

            def log_message(self, *_: object) -> None:
                """Keep the test's output clean."""

        return Handler

    def rows(self, table: str) -> list[object]:
        return [value for batch in self.batches.values() for value in batch.tables.get(table, {}).get("n", [])]


@dataclass
class Node:
    """An agent's half: a spool, a shipper, and a token that somebody may change."""

    spool: Spool
    shipper: Shipper
    path: Path
    token: list[str]

    def keep(self, table: str, number: int, cluster: str = "lab") -> None:
        self.spool.append({table: [{"cluster": cluster, "node": "n1", "n": number}]})

    def drain(self) -> bool:
        return self.shipper.drain(threading.Event())


@pytest.fixture
def hub() -> Hub:
    return Hub()


@pytest.fixture
def node(hub: Hub, tmp_path: Path) -> Iterator[Node]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), hub.handler())
    threading.Thread(target=server.serve_forever, daemon=True).start()
    path, token = tmp_path / "spool.db", ["good"]
    spool = Spool(path, 1 << 20)
    shipper = Shipper(
        Link(f"http://127.0.0.1:{server.server_port}", lambda: token[0], every_seconds=0.05),
        identity=Identity("lab", "n1", "boot"),
        spool=spool,
        beside=path,
        now=lambda: AT,
        look_seconds=0.05,
    )
    yield Node(spool, shipper, path, token)
    shipper.close()
    spool.close()
    server.shutdown()
    server.server_close()


def soon(is_true: Callable[[], object], seconds: float = 60.0) -> None:
    until = time.monotonic() + seconds
    while not is_true():
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(0.02)


def test_pauses_grow_to_a_minute_and_to_minutes_where_a_person_must_act() -> None:
    away, refused = Patience(), Patience()
    for _ in range(20):
        away.longer()
        refused.longer(is_refused=True)
    assert 45 <= away.seconds <= 60
    assert 225 <= refused.seconds <= 300
    away.over()
    assert away.seconds == 0
    away.longer()
    assert 0.75 <= away.seconds <= 1


class Waited(threading.Event):
    """Waits for nobody, and adds up how long it should have waited."""

    seconds = 0.0

    def wait(self, timeout: float | None = None) -> bool:
        self.seconds += timeout or 0.0
        return self.is_set()


def test_agents_that_start_together_send_apart_and_keep_their_pace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pace, sent = 10.0, list[list[float]]()

    def drained(_: Shipper, stop: Waited) -> None:
        sent[-1].append(stop.seconds)
        if len(sent[-1]) == 3:
            stop.set()

    monkeypatch.setattr(Shipper, "drain", drained)
    spool = Spool(tmp_path / "spool", 1 << 20)
    for _ in range(60):
        sent.append([])
        link = Link("http://127.0.0.1:1", lambda: "good", every_seconds=pace)
        identity = Identity("lab", "n1", "boot")
        shipper = Shipper(link, identity=identity, spool=spool, beside=tmp_path / "spool", now=lambda: AT)
        shipper.run(Waited())
        shipper.close()
    spool.close()
    firsts = [each[0] for each in sent]
    assert 0 <= min(firsts) < pace / 4
    assert 3 * pace / 4 < max(firsts) <= pace
    for first, second, third in sent:
        assert (second - first, third - second) == pytest.approx((pace, pace))


@given(asked=st.floats(0, 900), failures=st.integers(1, 12))
def test_nobody_comes_before_the_hub_asks_for(asked: float, failures: int) -> None:
    patience = Patience()
    for _ in range(failures):
        patience.longer(asked=asked)
    assert asked <= patience.seconds <= max(60, asked * 1.25)


def test_a_hub_cannot_ask_for_ever() -> None:
    patience = Patience()
    patience.longer(asked=10**9)
    assert patience.seconds <= 900 * 1.25


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("17", 17.0),
        (" 5 ", 5.0),
        (format_datetime(AT + timedelta(seconds=90), usegmt=True), 90.0),
        (format_datetime(AT - timedelta(seconds=90)), 0.0),
        ("", 0.0),
        ("soon", 0.0),
        ("-3", 0.0),
        ("٣", 0.0),
        ("9" * 400, 86_400.0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 86_400.0),
        ("Mon, 99999999999999999999 Nov 1995 00:00:00 GMT", 0.0),
    ],
)
def test_retry_after_is_seconds_or_an_instant(text: str, seconds: float) -> None:
    assert asked_seconds(text, AT) == seconds


def test_a_busy_hub_is_left_alone_as_long_as_it_asks(node: Node, hub: Hub) -> None:
    hub.busy_calls, hub.retry_after = 1, "2"
    node.keep("t", 1)
    stop = threading.Event()
    thread = threading.Thread(target=node.shipper.run, args=(stop,))
    thread.start()
    soon(lambda: hub.rows("t") == [1])
    stop.set()
    thread.join(60)
    (first, busy), (second, taken) = hub.calls
    assert (busy, taken) == (429, 200)
    assert second - first >= 2


def test_a_refused_token_slows_down_keeps_the_rows_and_says_once_what_to_do(node: Node, hub: Hub) -> None:
    node.token[0] = "revoked"
    node.shipper._has_new_token()
    node.keep("t", 1)
    pauses = []
    with capture_logs() as logs:
        for _ in range(12):
            assert node.drain() is False
            pauses.append(node.shipper._patience.seconds)
    assert node.spool.waiting() == 1
    assert pauses[-1] >= 225
    (told,) = [each for each in logs if each["log_level"] == "error"]
    assert told["status"] == 401
    assert told["error"] == "because of this (hint: do that)"
    assert "clusterledger token create n1" in told["advice"]
    stood = standing(node.path)
    assert stood is not None
    assert (stood.status, stood.http_status, stood.since) == ("refused", 401, AT.isoformat())
    assert "token create n1" in stood.advice

    node.token[0] = "good"
    node.shipper._has_new_token()
    with capture_logs() as logs:
        assert node.drain() is True
    assert hub.rows("t") == [1]
    assert [each["event"] for each in logs] == ["hub takes batches again"]
    assert json.loads(standing_file(node.path).read_text())["status"] == "taken"
    assert node.shipper._patience.seconds == 0


def test_a_hub_that_is_away_is_noted_once_and_ends_with_its_first_answer(node: Node, hub: Hub) -> None:
    hub.away_after = 0
    node.keep("t", 1)
    assert node.drain() is False
    stood = standing(node.path)
    assert stood is not None
    assert (stood.status, stood.since, stood.http_status) == ("waiting", AT.isoformat(), 0)
    assert stood.reason == "HTTP 500: because of this (hint: do that)"
    written = standing_file(node.path).stat().st_mtime_ns
    assert node.drain() is False
    assert standing_file(node.path).stat().st_mtime_ns == written, "a node's disk is left alone while nothing changes"

    hub.away_after = 10**9
    with capture_logs() as logs:
        assert node.drain() is True
    assert [each["event"] for each in logs] == ["hub takes batches again"]
    stood = standing(node.path)
    assert stood is not None
    assert stood.status == "taken"


def test_a_new_token_ends_a_long_wait(node: Node, hub: Hub) -> None:
    node.token[0] = "revoked"
    node.shipper._has_new_token()
    node.keep("t", 1)
    for _ in range(12):
        node.drain()
    calls = len(hub.calls)
    stop = threading.Event()
    thread = threading.Thread(target=node.shipper.run, args=(stop,))
    thread.start()
    time.sleep(0.5)
    assert len(hub.calls) == calls, "the wait is one of minutes"
    node.token[0] = "good"
    soon(lambda: hub.rows("t") == [1])
    stop.set()
    thread.join(60)
    assert not thread.is_alive()


def test_a_token_file_that_is_half_written_changes_nothing(node: Node) -> None:
    def broken() -> str:
        raise ConfigError("no TOML")

    node.shipper._link = replace(node.shipper._link, token=broken)
    assert node.shipper._has_new_token() is False
    assert node.shipper._token == "good"


def test_a_token_of_another_node_keeps_the_rows(node: Node, hub: Hub) -> None:
    hub.node = "n2"
    node.keep("t", 1)
    with capture_logs() as logs:
        assert node.drain() is False
        assert node.drain() is False
    assert node.spool.waiting() == 1
    assert ["token create n1 --cluster lab" in each["advice"] for each in logs] == [True]
    hub.node = "n1"
    assert node.drain() is True
    assert hub.rows("t") == [1]


def test_rows_under_a_name_that_the_node_had_before_do_not_block_the_others(node: Node, hub: Hub) -> None:
    node.keep("t", 1, cluster="old")
    node.keep("t", 2)
    assert node.drain() is True
    assert hub.rows("t") == [2]
    (aside,) = all_put_aside(node.path)
    assert (aside.status, aside.row_count) == (403, 1)


def test_rows_under_an_older_name_wait_while_the_token_itself_is_wrong(node: Node, hub: Hub) -> None:
    hub.node = "n2"
    node.keep("t", 1, cluster="old")
    assert node.drain() is False
    assert node.spool.waiting() == 1
    assert all_put_aside(node.path) == []


def test_a_batch_that_can_never_be_taken_does_not_block_the_rest(node: Node, hub: Hub) -> None:
    node.keep("t", 1)
    node.keep("nonsense", 2)
    node.keep("t", 3)
    assert node.drain() is True
    assert hub.rows("t") == [1, 3], "its other tables are taken"
    node.keep("t", 4)
    assert node.drain() is True
    assert hub.rows("t") == [1, 3, 4]
    assert node.spool.waiting() == 0
    (aside,) = all_put_aside(node.path)
    assert (aside.status, aside.row_count, aside.refused_at) == (422, 1, AT.isoformat())
    assert "because of this" in aside.reason


@pytest.mark.parametrize(
    ("status", "answer"),
    [
        (200, b"<html>Log in</html>"),
        (200, b'{"status": "ok"}'),
        (200, b'{"batch_id": "another", "tables": {}}'),
        (204, b""),
        (301, b"moved to https"),
        (400, b"<html>The plain HTTP request was sent to HTTPS port</html>"),
        (404, b'{"detail": "Not Found"}'),
        (405, b"Method Not Allowed"),
        (422, b'{"detail": [{"msg": "field required"}]}'),
    ],
)
def test_what_is_no_hub_gets_no_row_and_is_told_to_a_person(node: Node, hub: Hub, status: int, answer: bytes) -> None:
    hub.in_its_place = (status, answer)
    node.keep("t", 1)
    assert node.drain() is False
    assert node.spool.waiting() == 1
    assert all_put_aside(node.path) == []
    stood = standing(node.path)
    assert stood is not None
    assert (stood.status, stood.http_status) == ("refused", status)
    assert "no hub" in stood.reason
    assert "agent.hub" in stood.advice

    hub.in_its_place = None
    assert node.drain() is True
    assert hub.rows("t") == [1]


def test_a_batch_that_is_too_large_is_sent_in_parts(node: Node, hub: Hub) -> None:
    hub.most_rows = 3
    for number in range(10):
        node.keep("t" if number < 9 else "u", number)
    assert node.drain() is True
    assert hub.rows("t") == list(range(9))
    assert hub.rows("u") == [9]
    assert all_put_aside(node.path) == []
    hub.most_rows = 0
    node.keep("t", 10)
    assert node.drain() is True
    assert [each.status for each in all_put_aside(node.path)] == [413], "one row is as small as it gets"


def test_parts_keep_their_ids_when_the_way_breaks_off_between_them(node: Node, hub: Hub) -> None:
    node.keep("t", 1)
    node.keep("nonsense", 2)
    node.keep("u", 3)
    hub.away_after = 2  # the whole, then the first part
    assert node.drain() is False
    assert list(hub.rows("t")) == [1]
    hub.away_after = 10**9
    assert node.drain() is True
    assert (hub.rows("t"), hub.rows("u")) == ([1], [3]), "the same id: it counts once"
    assert len(all_put_aside(node.path)) == 1


def test_what_is_put_aside_is_bounded(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("collectors._standing._PUT_ASIDE_BYTES", 600)
    for number in range(30):
        node.keep("nonsense", number)
        assert node.drain() is True
    kept = all_put_aside(node.path)
    assert 2 <= len(kept) < 30
    beside = [each for each in node.path.parent.iterdir() if ".refused" in each.name]
    assert len(beside) == 2
    assert sum(each.stat().st_size for each in beside) < 2_000


@pytest.mark.parametrize("is_away", [False, True], ids=["at once", "after the hub was away"])
def test_rows_of_a_node_come_in_the_order_of_their_instants(node: Node, hub: Hub, *, is_away: bool) -> None:
    for number in range(5):
        node.keep("host_sample", number)
        hub.away_after = 0 if is_away else 10**9
        assert node.drain() is not is_away
    hub.away_after = 10**9
    for number in range(5, 8):
        node.keep("host_sample", number)
        assert node.drain()
    assert any(status == 500 for _, status in hub.calls) is is_away
    assert hub.rows("host_sample") == list(range(8))
