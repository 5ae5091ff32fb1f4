"""The agent's own HTTP: one lasting connection, proxies, and answers that come too early, too short or not at all."""

import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from collectors._http import Answer, Connection, HubError
from ledger.errors import ConfigError

HEADERS = {"Content-Type": "text/plain"}


class Server(ThreadingHTTPServer):
    """Answers with what it was asked, and counts connections; it ends them when it is told to."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.connections = 0
        self.open: list[socket.socket] = []
        self.asked: list[tuple[str, dict[str, str], bytes]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def setup(self) -> None:
        super().setup()
        self.server.connections += 1
        self.server.open.append(self.connection)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.asked.append((self.path, dict(self.headers), body))
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Keep the test's output clean."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    made = Server()
    threading.Thread(target=made.serve_forever, args=(0.02,), daemon=True).start()
    yield made
    made.shutdown()
    made.server_close()


@pytest.fixture
def connect() -> Iterator[Callable[..., Connection]]:
    made: list[Connection] = []

    def connection(address: str, seconds: float = 5.0) -> Connection:
        made.append(Connection(address, seconds=seconds, headers=HEADERS, tls=None))
        return made[-1]

    yield connection
    for each in made:
        each.close()


def test_one_connection_serves_many_questions(server: Server, connect: Callable[..., Connection]) -> None:
    hub = connect(f"{server.url}/behind/a/path/")
    answers = [hub.post("/api", f"{number}".encode(), {"Authorization": "Bearer x"}) for number in range(5)]
    assert [answer.content for answer in answers] == [b"0", b"1", b"2", b"3", b"4"]
    assert server.connections == 1
    path, headers, _ = server.asked[0]
    assert path == "/behind/a/path/api"
    assert (headers["Content-Type"], headers["Authorization"]) == ("text/plain", "Bearer x")
    assert headers["Host"] == f"127.0.0.1:{server.server_port}"


def test_a_connection_that_the_hub_has_ended_in_between_is_made_again(
    server: Server, connect: Callable[..., Connection]
) -> None:
    """Hubs end connections after seconds of silence: that is no failure."""
    hub = connect(server.url)
    for number in range(3):
        assert hub.post("/", b"x", {}).is_success
        server.open[-1].shutdown(socket.SHUT_RDWR)
        assert server.connections == number + 1


def answering(said: bytes, *, reads: bool = True) -> tuple[str, threading.Thread]:
    """Return the address of somebody who says this to whoever asks, once, and hangs up."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with listener:
            connection, _ = listener.accept()
            with connection:
                if reads:
                    connection.recv(65_536)
                connection.sendall(said)
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(1 << 20):
                    pass

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    return f"http://127.0.0.1:{listener.getsockname()[1]}", thread


def test_a_refusal_that_comes_before_the_end_of_the_question_is_heard(connect: Callable[..., Connection]) -> None:
    refusal = b"HTTP/1.1 413 Too Large\r\nRetry-After: 7\r\nContent-Length: 3\r\nConnection: close\r\n\r\nno!"
    address, thread = answering(refusal, reads=False)
    answer = connect(address).post("/", b"x" * (8 << 20), {})
    assert answer == Answer(413, b"no!", "7")
    assert (answer.text, answer.is_success, answer.is_server_error) == ("no!", False, False)
    thread.join(60)


@pytest.mark.parametrize(
    ("said", "how"),
    [
        (b"", "RemoteDisconnected"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort", "IncompleteRead"),
        (b"no HTTP at all\r\n\r\n", "BadStatusLine"),
        (b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 500, "HTTPException"),
    ],
)
def test_what_is_no_answer_may_have_been_heard(said: bytes, how: str, connect: Callable[..., Connection]) -> None:
    address, thread = answering(said)
    with pytest.raises(HubError) as caught:
        connect(address).post("/", b"x", {})
    assert (caught.value.how, caught.value.is_sent) == (how, True)
    thread.join(60)


def test_where_nobody_listens_nothing_was_sent(connect: Callable[..., Connection]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(HubError, match=r"ConnectionRefusedError: .*refused") as caught:
        connect(f"http://127.0.0.1:{port}").post("/", b"x", {})
    assert caught.value.is_sent is False


def test_a_hub_that_is_silent_is_given_up(connect: Callable[..., Connection]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        hub = connect(f"http://127.0.0.1:{listener.getsockname()[1]}", 0.2)
        with pytest.raises(HubError, match="TimeoutError") as caught:
            hub.post("/", b"x", {})
    assert caught.value.is_sent is True


def test_the_environments_proxy_is_asked_in_the_place_of_the_hub(
    server: Server, connect: Callable[..., Connection], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", f"http://me:p%40ss@127.0.0.1:{server.server_port}")
    monkeypatch.setenv("no_proxy", "inside.example")
    assert connect("http://hub.example:8501/x").post("/api", b"1", {}).content == b"1"
    path, headers, _ = server.asked[0]
    assert path == "http://hub.example:8501/x/api"
    assert headers["Proxy-Authorization"] == "Basic bWU6cEBzcw=="
    with pytest.raises(HubError):
        connect("http://inside.example:1/").post("/api", b"1", {})
    assert len(server.asked) == 1


def test_tls_goes_through_a_proxy_as_a_tunnel(
    connect: Callable[..., Connection], monkeypatch: pytest.MonkeyPatch
) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    heard: list[bytes] = []

    def serve() -> None:
        with listener:
            connection, _ = listener.accept()
            with connection:
                heard.append(connection.recv(65_536))
                connection.sendall(b"HTTP/1.1 403 Forbidden\r\n\r\n")

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.setenv("https_proxy", f"127.0.0.1:{listener.getsockname()[1]}")
    with pytest.raises(HubError, match="403 Forbidden") as caught:
        connect("https://hub.example/").post("/api", b"1", {})
    assert caught.value.is_sent is False
    thread.join(60)
    assert heard[0].startswith(b"CONNECT hub.example:443 HTTP/1.")


@pytest.mark.parametrize("address", ["http://", "http://hub:port", "http://hub:99999", "https://[::1", "http://:80"])
def test_an_address_that_is_none_is_said_at_once(address: str, connect: Callable[..., Connection]) -> None:
    with pytest.raises(ConfigError, match=r"agent\.hub: found"):
        connect(address)


def test_a_hub_may_have_an_address_of_six(connect: Callable[..., Connection]) -> None:
    hub = connect("https://[2001:db8::1]:8501/")
    assert (hub._connection.host, hub._connection.port) == ("2001:db8::1", 8501)
