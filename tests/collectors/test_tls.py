"""A hub behind TLS, with certificates made here: what is wrong with one is said, and no row is lost."""

import ssl
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import trustme
from pydantic import SecretStr
from structlog.testing import capture_logs

from collectors._standing import standing
from collectors.agent import Agent
from ledger.config import Settings
from ledger.errors import ConfigError
from ledger.sections import AgentSettings
from tests.collectors.hub import FIXTURES, Hub

NOW = datetime.now(UTC)
Serve = Callable[..., str]


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def ca_file(authority: trustme.CA, tmp_path: Path) -> Path:
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(path)
    return path


@pytest.fixture
def serve(hub: Hub) -> Iterator[Serve]:
    """Return a function that serves the hub's answers behind a certificate, and gives the port."""
    servers: list[ThreadingHTTPServer] = []

    class Quiet(ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            """A handshake that fails is what the test is about."""

    def start(certificate: trustme.LeafCert, clients: trustme.CA | None = None) -> int:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate.configure_cert(context)
        if clients is not None:
            clients.configure_trust(context)
            context.verify_mode = ssl.CERT_REQUIRED
        assert hub.server is not None
        server = Quiet(("127.0.0.1", 0), hub.server.RequestHandlerClass)
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        servers.append(server)
        return server.server_port

    yield start
    for each in servers:
        each.shutdown()
        each.server_close()


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Callable[..., Agent]]:
    made: list[Agent] = []

    def start(port: int, host: str = "localhost", scheme: str = "https", **tls: Any) -> Agent:
        agent = AgentSettings(
            hub=f"{scheme}://{host}:{port}", token=SecretStr("t"), node="n1", spool=tmp_path / "spool.db", **tls
        )
        settings = Settings(agent=agent, collectors={"nvml": {"enabled": False}})
        made.append(Agent(settings, procfs=FIXTURES / "proc", sysfs=FIXTURES / "sys"))
        return made[-1]

    yield start
    for each in made:
        each.close()


def refused(agent: Agent, words: str, advice: str) -> None:
    """Check that an agent keeps its rows, and says once what is wrong and what to do."""
    with capture_logs() as said:
        assert agent.once() is False
        assert agent.once() is False
    assert agent.spool.waiting() > 0
    (told,) = [each for each in said if each["log_level"] == "error"]
    assert words in told["error"]
    assert advice in told["advice"]
    stood = standing(agent._settings.agent.spool)
    assert stood is not None
    assert (stood.status, stood.http_status, stood.reason) == ("refused", 0, told["error"])


def test_a_hub_of_a_private_authority_gets_everything(
    authority: trustme.CA, ca_file: Path, serve: Any, started: Any, hub: Hub
) -> None:
    agent = started(serve(authority.issue_cert("localhost")), ca_file=ca_file)
    assert agent.once() is True
    assert len(hub.rows("host_sample")) == 1


def test_an_unknown_authority_costs_no_row(
    authority: trustme.CA, ca_file: Path, serve: Any, started: Any, hub: Hub
) -> None:
    port = serve(authority.issue_cert("localhost"))
    refused(started(port), "TLS:", "set agent.ca_file to yours")
    assert hub.batches == {}


def test_another_authority_is_refused_until_the_right_one_is_set(
    authority: trustme.CA, ca_file: Path, serve: Any, started: Any, hub: Hub, tmp_path: Path
) -> None:
    other = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(other)
    port = serve(authority.issue_cert("localhost"))
    agent = started(port, ca_file=other)
    refused(agent, "unable to get local issuer certificate", "set agent.ca_file")
    corrected = agent._settings.agent.model_copy(update={"ca_file": ca_file})
    agent._reread = lambda: agent._settings.model_copy(update={"agent": corrected})
    assert agent.reload() is True
    agent._shipper._has_moved()
    assert agent.once() is True
    assert len(hub.rows("host_sample")) == 3, "those that waited, and the new one"
    stood = standing(agent._settings.agent.spool)
    assert stood is not None
    assert stood.status == "taken"


@pytest.mark.parametrize(
    ("begins", "ends", "words", "advice"),
    [
        (NOW - timedelta(days=9), NOW - timedelta(days=1), "certificate has expired", "renew it there"),
        (NOW + timedelta(days=1), NOW + timedelta(days=9), "certificate is not yet valid", "set the clock"),
    ],
)
def test_a_certificate_out_of_its_time_costs_no_row(
    authority: trustme.CA,
    ca_file: Path,
    serve: Any,
    started: Any,
    begins: datetime,
    ends: datetime,
    words: str,
    advice: str,
) -> None:
    port = serve(authority.issue_cert("localhost", not_before=begins, not_after=ends))
    refused(started(port, ca_file=ca_file), words, advice)


def test_a_certificate_for_another_name_costs_no_row(
    authority: trustme.CA, ca_file: Path, serve: Any, started: Any
) -> None:
    port = serve(authority.issue_cert("hub.example.org"))
    refused(started(port, ca_file=ca_file), "Hostname mismatch", "put a name that stands in it into agent.hub")


def test_a_certificate_for_a_name_is_none_for_an_address(
    authority: trustme.CA, ca_file: Path, serve: Any, started: Any
) -> None:
    port = serve(authority.issue_cert("localhost"))
    refused(started(port, host="127.0.0.1", ca_file=ca_file), "IP address mismatch", "put a name that stands in it")


def test_a_hub_without_tls_costs_no_row(hub: Hub, started: Any) -> None:
    refused(started(hub.port), "TLS:", "https:// or http://")


def test_a_proxy_that_asks_for_a_certificate_gets_it(
    authority: trustme.CA, ca_file: Path, serve: Any, started: Any, hub: Hub, tmp_path: Path
) -> None:
    clients = trustme.CA()
    port = serve(authority.issue_cert("localhost"), clients)
    without = started(port, ca_file=ca_file)
    assert without.once() is False
    assert without.spool.waiting() > 0
    without.close()
    mine = clients.issue_cert("n1.example.org")
    mine.private_key_pem.write_to_path(tmp_path / "key.pem")
    mine.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    agent = started(port, ca_file=ca_file, tls_certificate=tmp_path / "cert.pem", tls_key=tmp_path / "key.pem")
    assert agent.once() is True
    assert len(hub.rows("host_sample")) == 2


def test_files_that_are_not_what_they_should_be_are_said_at_the_start(
    authority: trustme.CA, ca_file: Path, started: Any, tmp_path: Path
) -> None:
    (tmp_path / "empty.pem").write_text("nothing", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"agent\.ca_file: found .*empty\.pem: .*expected certificates in PEM"):
        started(1, ca_file=tmp_path / "empty.pem")
    with pytest.raises(ConfigError, match=r"agent\.tls_key: found .* without a certificate"):
        started(1, ca_file=ca_file, tls_key=ca_file)
    one, other = authority.issue_cert("a.example.org"), authority.issue_cert("b.example.org")
    one.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    other.private_key_pem.write_to_path(tmp_path / "key.pem")
    with pytest.raises(ConfigError, match=r"agent\.tls_certificate: found .*its own key"):
        started(1, ca_file=ca_file, tls_certificate=tmp_path / "cert.pem", tls_key=tmp_path / "key.pem")
