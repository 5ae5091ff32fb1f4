"""A hub that serves HTTPS itself: pages, API, commands and agents, a certificate that is renewed, and wrong files."""

import json
import os
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from socket import create_connection

import httpx2
import pytest
import trustme
from structlog.testing import capture_logs

from collectors._answers import CERTIFICATE_REQUIRED
from collectors.agent import Agent
from ledger.config import Settings
from ledger.sections import AgentSettings
from tests.app.conftest import Command, RunningHub, start_hub
from tests.collectors.hub import FIXTURES

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def written(folder: Path, certificate: trustme.LeafCert) -> None:
    """Put a certificate and its key where the hub looks, each whole."""
    for name, found in (("cert.pem", certificate.cert_chain_pems[0]), ("key.pem", certificate.private_key_pem)):
        draft = folder / f"{name}.new"
        found.write_to_path(draft)
        draft.replace(folder / name)


@contextmanager
def serving(folder: Path, authority: trustme.CA, more: str = "") -> Iterator[RunningHub]:
    written(folder, authority.issue_cert("localhost", "127.0.0.1"))
    authority.cert_pem.write_to_path(folder / "ca.pem")
    (folder / "clusterledger.toml").write_text(
        f'[hub]\ntls_certificate = "cert.pem"\ntls_key = "key.pem"\n{more}', encoding="utf-8"
    )
    with start_hub(folder) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            assert url.startswith("https://127.0.0.1:"), (folder / "hub.log").read_text(encoding="utf-8")
            yield RunningHub(url, process, folder)
        finally:
            process.terminate()
            process.wait(timeout=60)


def serial(hub: RunningHub, authority: trustme.CA, host: str = "127.0.0.1") -> str:
    """Return the serial number of the certificate that is served now."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    port = int(hub.url.rsplit(":", 1)[1])
    with create_connection(("127.0.0.1", port)) as plain, context.wrap_socket(plain, server_hostname=host) as secure:
        found = secure.getpeercert()
    assert found is not None
    return str(found["serialNumber"])


def test_a_hub_serves_https_to_pages_agents_and_commands(home: Path, command: Command, authority: trustme.CA) -> None:
    with serving(home, authority) as hub:
        trusted = ssl.create_default_context(cafile=home / "ca.pem")
        with httpx2.Client(base_url=hub.url, verify=trusted, trust_env=False, timeout=30) as client:
            assert client.get("/api/v1/health").json()["status"] == "ok"
            assert "<title>" in client.get("/").text
            assert client.get("/metrics").status_code == 200
        with pytest.raises(httpx2.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            httpx2.get(f"{hub.url}/api/v1/health", trust_env=False)

        token = json.loads(command("token", "create", "n1", "--json").out)["token"]
        section = AgentSettings(
            hub=hub.url.replace("127.0.0.1", "localhost"),
            node="n1",
            token=token,
            spool=home / "s.db",
            ca_file=home / "ca.pem",
        )
        agent = Agent(
            Settings(agent=section, collectors={"nvml": {"enabled": False}}),
            procfs=FIXTURES / "proc",
            sysfs=FIXTURES / "sys",
        )
        assert agent.once() is True
        agent.close()
        found = command("sql", "SELECT count(*) AS n FROM host_sample", "--format", "json")
        assert json.loads(found.out) == [{"n": 1}]
        lines = {each["part"]: each for each in json.loads(command("check", "--json").out)}
        assert lines["store"]["status"] == "ok"
        (home / "clusterledger.toml").write_text(f'[agent]\nhub = "{hub.url}"\n', encoding="utf-8")
        lines = {each["part"]: each for each in json.loads(command("check", "--json").out)}
        assert (lines["hub"]["status"], "agent.ca_file" in lines["hub"]["hint"]) == ("failed", True)
        (home / "clusterledger.toml").write_text(f'[agent]\nhub = "{hub.url}"\nca_file = "ca.pem"\n', encoding="utf-8")
        lines = {each["part"]: each for each in json.loads(command("check", "--json").out)}
        assert lines["hub"]["status"] == "ok"


def test_agents_show_a_certificate_where_the_hub_asks_for_one_and_people_need_none(
    home: Path, command: Command, authority: trustme.CA
) -> None:
    ours, theirs = trustme.CA(), trustme.CA()
    ours.cert_pem.write_to_path(home / "clients.pem")
    for name, issuer in (("mine", ours), ("other", theirs)):
        found = issuer.issue_cert("n1.example.org")
        found.cert_chain_pems[0].write_to_path(home / f"{name}.pem")
        found.private_key_pem.write_to_path(home / f"{name}.key")
    with serving(home, authority, 'client_ca = "clients.pem"\n') as hub:
        token = json.loads(command("token", "create", "n1", "--json").out)["token"]

        def send(name: str = "") -> tuple[bool, list[str]]:
            shown = {"tls_certificate": home / f"{name}.pem", "tls_key": home / f"{name}.key"} if name else {}
            where = {"hub": hub.url, "node": "n1", "token": token, "spool": home / "s.db", "ca_file": home / "ca.pem"}
            settings = Settings(agent=AgentSettings(**where, **shown), collectors={"nvml": {"enabled": False}})
            agent = Agent(settings, procfs=FIXTURES / "proc", sysfs=FIXTURES / "sys")
            with capture_logs() as said:
                is_done = agent.once()
            agent.close()
            return is_done, [str(each) for each in said if each["log_level"] in {"error", "warning"}]

        for name in ("", "other"):
            is_done, (line,) = send(name)
            assert not is_done
            assert "agent.tls_certificate" in line
        assert json.loads(command("sql", "SELECT count(*) AS n FROM host_sample", "--format", "json").out) == [{"n": 0}]
        assert send("mine") == (True, [])
        # What waited has come with it.
        assert json.loads(command("sql", "SELECT count(*) AS n FROM host_sample", "--format", "json").out) == [{"n": 3}]
        trusted = ssl.create_default_context(cafile=home / "ca.pem")
        with httpx2.Client(base_url=hub.url, verify=trusted, trust_env=False, timeout=30) as people:
            assert people.get("/api/v1/health").json()["status"] == "ok"
            assert "<title>" in people.get("/").text
            bearer = {"Authorization": f"Bearer {token}"}
            assert people.post("/api/v1/ingest", headers=bearer).status_code == CERTIFICATE_REQUIRED


def test_a_renewed_certificate_is_served_without_a_restart(tmp_path: Path, authority: trustme.CA) -> None:
    with serving(tmp_path, authority) as hub:
        first = serial(hub, authority)
        assert serial(hub, authority, "localhost") == first
        (tmp_path / "cert.pem").write_text("half written", encoding="utf-8")
        assert serial(hub, authority) == first
        log = (tmp_path / "hub.log").read_text(encoding="utf-8")
        assert "certificate was not taken; the one before stays" in log
        written(tmp_path, authority.issue_cert("localhost", "127.0.0.1"))
        os.utime(tmp_path / "key.pem")
        second = serial(hub, authority)
        assert second != first
        assert serial(hub, authority) == second


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ('tls_key = "key.pem"', "hub.tls_key: found key.pem without a certificate"),
        ('client_ca = "cert.pem"', "hub.client_ca: found cert.pem without a certificate"),
        (
            'tls_certificate = "cert.pem"\ntls_key = "key.pem"\nclient_ca = "key.pem"',
            "hub.client_ca: found key.pem: ",
        ),
        ('tls_certificate = "cert.pem"', "hub.tls_certificate: found cert.pem: "),
        (
            'tls_certificate = "none.pem"\ntls_key = "key.pem"',
            "hub.tls_certificate: found none.pem and key.pem: No such",
        ),
        ('tls_certificate = "cert.pem"\ntls_key = "other.pem"', "its own key"),
    ],
)
def test_wrong_files_are_one_clear_line(
    home: Path, command: Command, authority: trustme.CA, lines: str, words: str
) -> None:
    written(home, authority.issue_cert("localhost"))
    authority.issue_cert("localhost").private_key_pem.write_to_path(home / "other.pem")
    (home / "clusterledger.toml").write_text(f"[hub]\n{lines}\n", encoding="utf-8")
    refused = command("up", "--port", "0")
    assert refused.code == 2
    assert words in refused.err
    assert "Traceback" not in refused.err


def test_what_a_node_needs_of_it_needs_nothing_of_a_hub() -> None:
    """`check` runs where the agent is installed alone."""
    asked = "import sys, app.services.check; print({'uvicorn', 'starlette', 'streamlit', 'polars'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "set()"
