"""A hub that fails at one batch again and again: the batch is parted, its bad rows put aside, the rest goes on."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from collectors._metrics import Counts
from collectors._ship import Link, Shipper
from collectors._spool import Spool
from collectors._stamp import Identity
from collectors._standing import all_put_aside, standing
from collectors.wire import Batch, decode
from tests.collectors.hub import acknowledged

AT = datetime(2026, 11, 20, 12, tzinfo=UTC)


def numbers(batch: Batch) -> set[object]:
    return {value for columns in batch.tables.values() for value in columns.get("n", [])}


@dataclass
class Hub:
    """A hub whose answer to each batch a test decides."""

    status: Callable[[Batch], int] = lambda _: 200
    answer: bytes = b'{"error": "it broke"}'
    calls: int = 0
    kept: dict[str, Batch] = field(default_factory=dict)

    def handler(self) -> type[BaseHTTPRequestHandler]:
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                batch = decode(self.rfile.read(int(self.headers["Content-Length"])))
                hub.calls += 1
                status = hub.status(batch)
                if status == 0:
                    self.close_connection = True
                    return
                if status == 200:
                    hub.kept.setdefault(batch.batch_id, batch)
                self.send_response(status)
                self.end_headers()
                self.wfile.write(acknowledged(batch.batch_id) if status == 200 else hub.answer)

            def log_message(self, *_: object) -> None:
                """Keep the test's output clean."""

        return Handler

    def rows(self) -> list[object]:
        return sorted(str(value) for batch in self.kept.values() for value in numbers(batch))


@dataclass
class Node:
    """An agent's half."""

    spool: Spool
    shipper: Shipper
    path: Path
    counts: Counts

    def keep(self, table: str, *found: int) -> None:
        self.spool.append({table: [{"cluster": "lab", "node": "n1", "n": number} for number in found]})

    def seal(self) -> None:
        """Give what is kept so far an id of its own."""
        while self.spool.seal(besides=self.sealed) is not None:
            batch = self.spool.seal(besides=self.sealed)
            assert batch is not None
            self.sealed.append(batch.batch_id)

    sealed: list[str] = field(default_factory=list)

    def drain(self, times: int = 1) -> bool:
        return [self.shipper.drain(threading.Event()) for _ in range(times)][-1]


@pytest.fixture
def hub() -> Hub:
    return Hub()


@pytest.fixture
def node(hub: Hub, tmp_path: Path) -> Iterator[Node]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), hub.handler())
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    path, counts = tmp_path / "spool.db", Counts()
    spool = Spool(path, 1 << 22)
    link = Link(f"http://127.0.0.1:{server.server_port}", lambda: "good")
    identity = Identity("lab", "n1", "boot")
    shipper = Shipper(link, identity=identity, spool=spool, beside=path, now=lambda: AT, counts=counts)
    yield Node(spool, shipper, path, counts)
    shipper.close()
    spool.close()
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("how", [500, 503, 502, 0])
def test_one_row_at_which_the_hub_fails_blocks_nothing_for_ever(node: Node, hub: Hub, how: int) -> None:
    hub.status = lambda batch: how if 13 in numbers(batch) else 200
    node.keep("t", *range(10, 30))
    node.keep("u", 40, 41)
    node.seal()
    node.keep("t", 50)
    assert node.drain(4) is False
    assert node.spool.waiting() == 23, "four failures may be the hub's"
    with capture_logs() as said:
        assert node.drain() is True
    assert node.spool.waiting() == 0
    assert hub.rows() == sorted(str(n) for n in [*range(10, 30), 40, 41, 50] if n != 13)
    (aside,) = all_put_aside(node.path)
    assert aside.row_count == 1
    assert aside.status == (how or 500)
    assert ("it broke" if how else "RemoteDisconnected") in aside.reason
    assert "hub stumbles at a batch and takes others" in {each["event"] for each in said}
    node.keep("t", 51)
    assert node.drain() is True


def test_later_rows_pass_a_batch_only_where_the_hub_takes_them_and_not_it(node: Node, hub: Hub) -> None:
    """Rows come in the order of their instants but for this: what a hub fails at comes after what it takes."""
    hub.status = lambda batch: 500 if numbers(batch) >= {0, 1} else 200
    for found in ((0, 1), (2,), (3,)):
        node.keep("host_sample", *found)
        node.seal()
    node.drain(times=20)
    arrived = [sorted(str(value) for value in numbers(batch)) for batch in hub.kept.values() if numbers(batch)]
    assert arrived == [["2"], ["0"], ["1"], ["3"]]


def test_several_bad_batches_in_a_row_block_nothing_for_ever(node: Node, hub: Hub) -> None:
    hub.status = lambda batch: 500 if {1, 2} & numbers(batch) else 200
    for number in (1, 2, 3):
        node.keep("t", number)
        node.seal()
    node.drain(6)
    assert hub.rows() == ["3"], "it is sent before those that are in its way"
    node.keep("t", 4)
    assert node.drain(6) is True
    assert hub.rows() == ["3", "4"]
    assert [each.row_count for each in all_put_aside(node.path)] == [1, 1]


def test_a_hub_that_fails_at_everything_costs_no_row(node: Node, hub: Hub) -> None:
    hub.status = lambda _: 500
    for number in range(4):
        node.keep("t", number)
        node.seal()
    assert node.drain(12) is False
    assert node.spool.waiting() == 4
    assert all_put_aside(node.path) == []
    hub.status = lambda _: 200
    assert node.drain() is True
    assert hub.rows() == ["0", "1", "2", "3"]


def test_the_only_batch_waits(node: Node, hub: Hub) -> None:
    """Nothing says that the hub would take another one."""
    hub.status = lambda batch: 500 if batch.tables else 200
    node.keep("t", 1)
    assert node.drain(12) is False
    assert node.spool.waiting() == 1


def test_a_hub_that_fails_at_all_of_a_large_batch_is_not_asked_for_ever(node: Node, hub: Hub) -> None:
    hub.status = lambda batch: 500 if numbers(batch) & set(range(1_000)) else 200
    node.keep("t", *range(1_000))
    node.seal()
    node.keep("t", 5_000)
    node.drain(4)
    hub.calls = 0
    assert node.drain() is True
    assert hub.rows() == ["5000"]
    assert sum(each.row_count for each in all_put_aside(node.path)) == 1_000
    assert hub.calls < 400


def test_a_hub_that_goes_away_while_a_batch_is_parted_loses_nothing(node: Node, hub: Hub) -> None:
    seen: list[int] = []

    def status(batch: Batch) -> int:
        seen.append(1)
        if len(seen) > 9:
            return 503
        return 500 if 3 in numbers(batch) else 200

    hub.status = status
    node.keep("t", *range(16))
    node.seal()
    node.keep("u", 99)
    assert node.drain(6) is False
    assert all_put_aside(node.path) == []
    assert node.spool.waiting() == 16
    hub.status = lambda batch: 500 if 3 in numbers(batch) else 200
    node.keep("u", 100)
    assert node.drain(5) is True
    assert hub.rows() == sorted(str(n) for n in [*range(16), 99, 100] if n != 3)
    assert [each.row_count for each in all_put_aside(node.path)] == [1]


@pytest.mark.parametrize(
    ("status", "answer"),
    [
        (426, b'{"error": "batch: found version 1, expected 2"}'),
        (400, b'{"error": "batch: found version 1, expected 2"}'),
    ],
)
def test_a_hub_of_another_release_costs_no_row(node: Node, hub: Hub, status: int, answer: bytes) -> None:
    hub.status, hub.answer = lambda _: status, answer
    node.keep("t", 1)
    with capture_logs() as said:
        assert node.drain(3) is False
    assert node.spool.waiting() == 1
    (told,) = [each for each in said if each["log_level"] == "error"]
    assert told["error"] == "batch: found version 1, expected 2"
    assert "update the older" in told["advice"]
    stood = standing(node.path)
    assert stood is not None
    assert (stood.status, stood.http_status) == ("refused", status)
    hub.status = lambda _: 200
    assert node.drain() is True
    assert hub.rows() == ["1"]


def test_what_was_shipped_and_refused_is_counted(node: Node, hub: Hub) -> None:
    hub.status = lambda batch: 422 if 2 in numbers(batch) else 200
    node.keep("t", 1)
    node.seal()
    node.keep("t", 2)
    assert node.drain() is True
    found = {family.name: family.samples for family in node.counts.families(node.spool, [])}
    assert found["clusterledger_agent_shipped_batches_total"] == [("", {}, 1)]
    assert found["clusterledger_agent_shipped_rows_total"] == [("", {}, 1)]
    assert found["clusterledger_agent_refused_rows_total"] == [("", {}, 1)]
    assert found["clusterledger_agent_last_shipped_timestamp_seconds"][0][2] > 1.7e9
