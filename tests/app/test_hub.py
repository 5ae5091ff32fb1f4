"""The hub, really running: what it answers, what it refuses, how it ends."""

import asyncio
import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import msgspec
import pytest
import zstandard
from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.testclient import TestClient

from app.context import Context
from app.hub import routes
from app.services._hub_file import HubFile, found, leave
from collectors.wire import encode
from ledger.sections import HubSettings
from ledger.tables import Audit
from tests.app.conftest import Command, RunningHub, start_hub

NOW = datetime.now(UTC).replace(microsecond=0)


def post(hub: RunningHub, token: str, body: bytes, path: str = "ingest", **headers: str) -> httpx2.Response:
    given = {**({"Authorization": f"Bearer {token}"} if token else {}), **headers}
    return httpx2.post(f"{hub.url}/api/v1/{path}", content=body, headers=given, timeout=30, trust_env=False)


def hub_file(hub: RunningHub) -> HubFile:
    here = found(f"duckdb:{hub.folder / 'clusterledger.duckdb'}")
    assert here is not None
    assert here.pid == hub.process.pid
    return here


def batch(node: str = "n1", table: str = "host_sample", batch_id: str = "", **columns: object) -> bytes:
    row = {"cluster": "default", "node": node, "boot_id": "b", "sampled_at": NOW, "step_seconds": 10.0, **columns}
    return encode(batch_id or uuid.uuid4().hex, node, "b", {table: [row]})


def token(command: Command, node: str) -> str:
    return str(json.loads(command("token", "create", node, "--json").out)["token"])


def rows(command: Command, query: str) -> Any:
    return json.loads(command("sql", query, "--format", "json").out)


def test_a_hub_serves_takes_answers_and_ends_with_zero(hub: RunningHub, command: Command) -> None:
    health = httpx2.get(f"{hub.url}/api/v1/health", trust_env=False)
    assert (health.status_code, health.json()["status"]) == (200, "ok")
    assert "<title>" in httpx2.get(hub.url, trust_env=False).text

    here = hub_file(hub)
    file = hub.folder / "clusterledger.duckdb.hub.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert here.url == hub.url

    # The hub holds the store: a command finds it there, and cannot open it otherwise.
    assert rows(command, "SELECT 1 AS one") == [{"one": 1}]
    file.rename(hub.folder / "aside")
    alone = command("sql", "SELECT 1")
    assert alone.code == 1
    assert "Traceback" not in alone.err
    (hub.folder / "aside").rename(file)

    second = start_hub(hub.folder)
    assert second.wait(timeout=60) == 1
    assert second.stdout is not None
    second.stdout.close()

    assert len(rows(command, "SELECT job_name FROM job_run WHERE job_name = 'weekly_report'")) <= 1
    hub.process.send_signal(signal.SIGTERM)
    assert hub.process.wait(timeout=60) == 0
    assert not file.exists()
    assert command("reconcile").code == 0


def test_files_of_the_caller_travel(hub: RunningHub, command: Command, home: Path) -> None:
    bill = (
        "BilledCost,EffectiveCost,BillingCurrency,BillingAccountId,BillingPeriodStart,BillingPeriodEnd,"
        "ChargePeriodStart,ChargePeriodEnd,ChargeCategory,ProviderName,InvoiceIssuerName,ServiceName,ResourceId\n"
        "7,7,USD,a,2026-10-01T00:00:00Z,2026-11-01T00:00:00Z,2026-10-05T00:00:00Z,2026-10-05T01:00:00Z,"
        "Usage,Cloud,Cloud,Compute,i-1\n"
    )
    (home / "bills").mkdir()
    (home / "bills/october.csv").write_text(bill, encoding="utf-8")
    asked = ("ingest", "bills", "bills/october.csv", "absent.csv", "--format", "focus", "--json")
    first = command(*asked)
    files = json.loads(first.out)["files"]
    assert [each["path"] for each in files] == ["bills", "bills/october.csv", "absent.csv"]
    assert [each["rows"] for each in files] == [1, 1, 0]
    assert first.code == 2
    assert first.err.count("absent.csv") >= 1
    kept = rows(command, "SELECT path, source_name FROM bill_import ORDER BY path")
    assert kept[0] == {"path": "bills", "source_name": str((home / "bills").resolve())}
    assert all("clusterledger-" not in each["path"] for each in kept)
    again = command("ingest", "bills", "--json")
    assert json.loads(again.out)["files"][0]["is_unchanged"]

    assert command("rollup").code == 0
    assert command("export", "focus", "--out", "out.csv").code == 0
    assert (home / "out.csv").read_text(encoding="utf-8").startswith("BilledCost,")
    assert command("backup", "copy.duckdb").code == 0
    token(command, "n9")
    assert command("restore", "copy.duckdb").code == 0
    assert json.loads(command("token", "list", "--json").out) == []
    assert len(rows(command, "SELECT 1 FROM bill_import")) == len(kept)


def test_an_agent_writes_its_own_rows_once(hub: RunningHub, command: Command) -> None:
    mine = token(command, "n1")
    body = batch(batch_id="first")
    assert post(hub, mine, body).json()["tables"]["host_sample"] == {"rows": 1, "duplicates": 0, "rejected": 0}
    again = post(hub, mine, body)
    assert (again.status_code, again.json()["status"]) == (200, "known")
    assert rows(command, "SELECT count(*) AS n FROM host_sample") == [{"n": 1}]

    assert post(hub, mine, batch(node="n2")).status_code == 403
    stolen = encode("x", "n1", "b", {"host_sample": [{"node": "n2", "cluster": "default", "sampled_at": NOW}]})
    assert post(hub, mine, stolen).status_code == 403
    assert rows(command, "SELECT count(*) AS n FROM host_sample") == [{"n": 1}]

    command("token", "revoke", "n1")
    assert post(hub, mine, batch()).status_code == 401


def test_what_is_wrong_with_a_batch_is_one_line(shared_hub: RunningHub) -> None:
    hub = shared_hub
    made = post(hub, hub_file(hub).token, b'{"action": "create", "node": "n1"}', "services/tokens")
    mine = made.json()[0]["token"]
    bomb = zstandard.compress(b"\x00" * 300_000_000)
    wrong_version = zstandard.compress(
        msgspec.msgpack.encode({"v": 9, "batch_id": "b", "node": "n1", "boot_id": "", "tables": {}})
    )
    cases = {
        "no token": (post(hub, "", batch()), 401),
        "wrong token": (post(hub, "guess", batch()), 401),
        "unknown table": (post(hub, mine, batch(table="host_samples")), 422),
        "a table that is no node's": (post(hub, mine, batch(table="focus_charge")), 422),
        "mangled": (post(hub, mine, b"\xff\x00 no batch"), 400),
        "cut": (post(hub, mine, batch()[:-9]), 400),
        "unfolds": (post(hub, mine, bomb), 400),
        "another version": (post(hub, mine, wrong_version), 426),
        "oversized": (post(hub, mine, b"x" * 9_000_000), 413),
    }
    for name, (answer, status) in cases.items():
        assert answer.status_code == status, (name, answer.text)
        assert answer.json()["error"], name
        assert "\n" not in answer.json()["error"], name
        assert answer.json()["hint"], name
    rejected = post(hub, mine, batch(load_1m_ratio=-1.0, cpu_count=-4))
    assert rejected.status_code == 200
    assert httpx2.get(f"{hub.url}/api/v1/health", trust_env=False).status_code == 200


_CONFIGURED = "configured by the admin, thirty-two characters or more"


@pytest.mark.parametrize(("key", "actor"), [("beside the store", "command line"), (_CONFIGURED, "api")])
def test_who_calls_a_service_is_named_by_the_token(empty_context: Context, key: str, actor: str) -> None:
    """A command is one of the command line, whether a hub holds the store or not."""
    admin = HubSettings(admin_token=SecretStr(_CONFIGURED))
    empty_context.settings = empty_context.settings.model_copy(update={"hub": admin})
    asked = {"action": "create", "node": "n1"}
    with TestClient(Starlette(routes=list(routes(empty_context, "beside the store")))) as client:
        answer = client.post("/api/v1/services/tokens", json=asked, headers={"Authorization": f"Bearer {key}"})
    assert answer.status_code == 200, answer.text
    assert empty_context.store.read(Audit)["actor"].to_list() == [actor]


@pytest.mark.parametrize("path", ["ingest", "services/sql"])
def test_somebody_who_goes_away_in_the_middle_is_no_error_of_the_hub(empty_context: Context, path: str) -> None:
    """As an agent that is killed while it sends; the log of a hub would fill with it."""
    app = Starlette(routes=list(routes(empty_context, "beside the store")))
    asked = {"action": "create", "node": "n1"}
    admin = {"Authorization": "Bearer beside the store"}
    with TestClient(app) as client:
        made = client.post("/api/v1/services/tokens", json=asked, headers=admin).json()[0]["token"]
    shown = made if path == "ingest" else "beside the store"
    parts = iter(({"type": "http.request", "body": b"{", "more_body": True}, {"type": "http.disconnect"}))
    said: list[Any] = []

    async def receive() -> Any:
        return next(parts)

    async def send(message: Any) -> None:
        said.append(message)

    headers = [(b"authorization", f"Bearer {shown}".encode()), (b"host", b"testserver")]
    scope = {"type": "http", "method": "POST", "path": f"/api/v1/{path}", "headers": headers, "query_string": b""}
    # A browser of another test may have left a loop in this thread.
    with ThreadPoolExecutor(max_workers=1) as aside:
        aside.submit(lambda: asyncio.run(app(scope, receive, send))).result()
    assert said[0]["status"] == 400


def test_services_ask_for_a_token_and_say_what_is_wrong(shared_hub: RunningHub) -> None:
    hub = shared_hub
    key = hub_file(hub).token
    assert post(hub, "", b"{}", "services/reconcile").status_code == 401
    assert post(hub, key, b"{}", "services/reconcile").json() == []
    cases = {
        "services/reconcil": (b"{}", "found no service reconcil"),
        "services/sql": (b'{"querry": "x"}', "querry: found an unknown key; did you mean query?"),
        "services/check": (b"{}", "about the machine"),
        "services/ingest": (b'{"paths": ["/etc/passwd"]}', "must come along"),
        "services/rollup": (b"nonsense", "no JSON"),
        "services/findings": (b'{"decide": "\\ud800"}', "no JSON"),
        "services/tokens": (b"[" * 100_000, "no JSON"),
    }
    for path, (body, message) in cases.items():
        answer = post(hub, key, body, path)
        assert answer.status_code == 422, path
        assert message in answer.json()["error"]
    listed = httpx2.get(
        f"{hub.url}/api/v1/services", headers={"Authorization": f"Bearer {key}"}, timeout=30, trust_env=False
    )
    assert {"sql", "ingest", "rollup"} <= {each["name"] for each in listed.json()}


def test_an_address_of_the_api_where_nothing_is_says_which_there_are(shared_hub: RunningHub) -> None:
    for method, path in (("GET", "ingest"), ("POST", "nowhere"), ("DELETE", "services/sql")):
        answer = httpx2.request(method, f"{shared_hub.url}/api/v1/{path}", timeout=30, trust_env=False)
        assert answer.status_code == 404
        assert answer.json()["error"] == f"api: found no {method} /api/v1/{path}"
        assert "POST /api/v1/ingest" in answer.json()["hint"]


def test_foreign_hosts_and_origins_are_refused(shared_hub: RunningHub) -> None:
    hub = shared_hub

    def status(**headers: str) -> int:
        return httpx2.get(f"{hub.url}/api/v1/health", headers=headers, trust_env=False).status_code

    assert status(Host="evil.example") == 403
    assert status(Host="localhost:1") == 200
    key = hub_file(hub).token
    assert post(hub, key, b"{}", "services/reconcile", Origin="http://evil.example").status_code == 403
    headers = httpx2.get(hub.url, trust_env=False).headers
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert headers["x-frame-options"] == "DENY"
    assert re.search(r"script-src [^;]*'unsafe-(inline|eval)'", headers["content-security-policy"]) is None


@pytest.mark.parametrize(("origin", "line"), [("own", "101"), ("http://evil.example", "403")])
def test_the_socket_of_pages_takes_its_own_origin_only(shared_hub: RunningHub, origin: str, line: str) -> None:
    hub = shared_hub
    host = hub.url.removeprefix("http://")
    name, port = host.split(":")
    request = (
        f"GET /_stcore/stream HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
        f"Origin: {hub.url if origin == 'own' else origin}\r\n\r\n"
    )
    with socket.create_connection((name, int(port)), timeout=10) as connection:
        connection.sendall(request.encode())
        answer = connection.recv(4096).decode()
    assert answer.split()[1] == line


def test_a_taken_address_is_one_line(shared_hub: RunningHub, home: Path) -> None:
    port = shared_hub.url.rpartition(":")[2]
    other = home / "other"
    other.mkdir()
    ended = subprocess.run(
        [sys.executable, "-c", "from app.cli import main; main()", "up", "--port", port],
        cwd=other, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert ended.returncode == 1
    assert ended.stderr.startswith(f"error: 127.0.0.1:{port}: Address already in use")
    assert not list(other.glob("*.hub.json"))


def test_the_file_of_a_killed_hub_misleads_nobody(command: Command, home: Path) -> None:
    store = f"duckdb:{home / 'clusterledger.duckdb'}"
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        dead = f"http://127.0.0.1:{taken.getsockname()[1]}"
    # Its process id is somebody else's by now: ours.
    assert leave(store, HubFile(dead, os.getpid(), "t")) is not None
    assert found(store) is None
    assert rows(command, "SELECT 1 AS one") == [{"one": 1}]
    (home / "clusterledger.duckdb.hub.json").write_text("{", encoding="utf-8")
    assert found(store) is None
    assert found("duckdb::memory:") is None


def test_rows_of_a_clock_that_is_ahead_are_refused_and_the_others_kept(hub: RunningHub, command: Command) -> None:
    common = {"cluster": "default", "node": "n1", "boot_id": "b", "step_seconds": 10.0}
    ahead = [NOW + timedelta(minutes=minutes) for minutes in (0, 2, 30)]
    given = [{**common, "sampled_at": each, "cpu_count": 8} for each in ahead]
    answered = post(hub, token(command, "n1"), encode(uuid.uuid4().hex, "n1", "b", {"host_sample": given})).json()
    assert answered["tables"] == {"host_sample": {"rows": 2, "duplicates": 0, "rejected": 1}}
    assert rows(command, "SELECT count(*) AS n FROM host_sample WHERE node = 'n1'") == [{"n": 2}]
    (refused,) = rows(command, "SELECT table_name, source, reason, row_json FROM rejected_row")
    assert (refused["table_name"], refused["source"]) == ("host_sample", "agent n1")
    assert "sampled_at: found " in refused["reason"]
    assert "expected at most 5 minutes; set the node's clock" in refused["reason"]
    assert json.loads(refused["row_json"])["node"] == "n1"
