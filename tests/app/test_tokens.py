"""Tokens of nodes: shown once, stored hashed, rotated without a gap, revoked at once."""

import json
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import polars as pl
import pytest

from app.api._tokens import Caller, agent
from app.context import Context
from app.services import named
from app.services._token import standing_of_clock
from ledger.errors import InputError
from ledger.tables import AgentToken, Audit
from tests.app.conftest import Command, RunningHub
from tests.app.incidents import MINUTE, NOW


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.at = NOW

    def __call__(self) -> Any:
        self.at += MINUTE
        return self.at


@pytest.fixture
def here(empty_context: Context) -> Context:
    empty_context.now = Clock()
    return empty_context


def tokens(context: Context, **params: object) -> list[dict[str, Any]]:
    service = named("tokens")
    found = service.run(context, service.asked(params))
    assert isinstance(found, list)
    return found


def made(context: Context, node: str, cluster: str = "") -> str:
    return str(tokens(context, action="create", node=node, cluster=cluster)[0]["token"])


def test_a_token_is_shown_once_and_kept_hashed(here: Context) -> None:
    token = made(here, "n1", "alpha")
    assert len(token) >= 40
    assert agent(here, token) == Caller("alpha", "n1")
    assert agent(here, token[:-1]) is None
    assert agent(here, "") is None
    assert agent(here, here.store.read(AgentToken)["token_sha256"][0]) is None, "what is stored opens nothing"
    kept = str(here.store.read(AgentToken).to_dicts()) + str(here.store.read(Audit).to_dicts()) + str(tokens(here))
    assert token not in kept
    assert {len(each["token_sha256"]) for each in tokens(here)} == {12}


def test_a_token_is_rotated_without_a_gap(here: Context) -> None:
    first, foreign = made(here, "n1"), made(here, "n2")
    second = made(here, "n1")
    assert agent(here, first) == agent(here, second) == Caller("default", "n1")
    tokens(here, action="revoke", node="n1", older=True)
    assert agent(here, first) is None
    assert agent(here, second) == Caller("default", "n1")
    assert agent(here, foreign) == Caller("default", "n2")
    tokens(here, action="revoke", node="n1", older=True)
    assert agent(here, second) is not None, "the newest stays"
    tokens(here, action="revoke", node="n1")
    assert agent(here, second) is None
    assert agent(here, foreign) is not None
    assert here.store.read(AgentToken).height == 3, "what was, stays known"
    with pytest.raises(InputError, match="found no valid token of node n1"):
        tokens(here, action="revoke", node="n1")
    log = here.store.read(Audit).sort("occurred_at")
    assert log["action"].to_list() == ["token created"] * 3 + ["token revoked"] * 3
    assert log["detail"].to_list()[3:] == ["1 token", "0 tokens", "1 token"]


def test_one_name_in_two_clusters_is_two_nodes(here: Context) -> None:
    one, other = made(here, "n1", "alpha"), made(here, "n1", "beta")
    tokens(here, action="revoke", node="n1", older=True)
    assert agent(here, one) == Caller("alpha", "n1"), "each is the newest of its cluster"
    tokens(here, action="revoke", node="n1", cluster="alpha")
    assert (agent(here, one), agent(here, other)) == (None, Caller("beta", "n1"))
    with pytest.raises(InputError, match="of node n1 in cluster alpha"):
        tokens(here, action="revoke", node="n1", cluster="alpha")


def test_commands_make_list_and_revoke(command: Command) -> None:
    created = command("token", "create", "n1", "--cluster", "alpha")
    assert created.code == 0
    token = created.out.strip()
    assert "only time it is shown" in created.err
    command("token", "create", "n1", "--cluster", "alpha")
    listed = command("token", "list")
    assert token not in listed.out
    assert listed.out.count("n1") == 2
    assert command("token", "revoke", "n1", "--older").code == 0
    assert command("token", "revoke", "n1", "--cluster", "beta").code == 2
    assert command("token", "revoke", "n1").code == 0
    gone = command("token", "revoke", "n1")
    assert gone.code == 2
    assert "token list" in gone.err


def test_nothing_is_revoked_before_its_time(here: Context) -> None:
    made(here, "n1")
    kept = here.store.read(AgentToken)
    assert kept["revoked_at"].null_count() == 1
    tokens(here, action="revoke", node="n1")
    after = here.store.read(AgentToken)
    assert after.select(pl.exclude("revoked_at")).equals(kept.select(pl.exclude("revoked_at")))
    assert (after["revoked_at"] > after["created_at"]).all()


def test_check_says_whether_the_hub_takes_this_node_before_it_sends_anything(
    hub: RunningHub, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def checked() -> dict[str, str]:
        lines = json.loads(command("check", "--json").out)
        assert [each["status"] for each in lines if each["part"] == "clock"] == ["ok"]
        (found,) = [each for each in lines if each["part"] == "token"]
        return found

    for name, value in {"HUB": hub.url, "NODE": "n1", "CLUSTER": "alpha"}.items():
        monkeypatch.setenv(f"CLUSTERLEDGER_AGENT__{name}", value)
    unset = checked()
    assert (unset["status"], unset["found"]) == ("missing", "agent.token is not set for n1 of cluster alpha")
    assert "clusterledger token create n1 --cluster alpha" in unset["hint"]

    monkeypatch.setenv("CLUSTERLEDGER_AGENT__TOKEN", "mistyped")
    assert checked()["found"] == "HTTP 401: token: found none that is valid"

    monkeypatch.setenv("CLUSTERLEDGER_AGENT__TOKEN", command("token", "create", "n1").out.strip())
    other = checked()
    assert (other["status"], other["found"]) == (
        "failed",
        "it is that of n1 of cluster default, and this is n1 of cluster alpha",
    )
    assert "clusterledger token create n1 --cluster alpha" in other["hint"]

    monkeypatch.setenv("CLUSTERLEDGER_AGENT__TOKEN", command("token", "create", "n1", "--cluster", "alpha").out.strip())
    assert (checked()["status"], checked()["found"]) == ("ok", "the hub knows it as that of n1 of cluster alpha")
    assert json.loads(command("sql", "SELECT count(*) AS n FROM batch", "--format", "json").out) == [{"n": 0}]


def test_a_second_token_says_how_the_first_one_ends_and_a_store_without_a_hub_is_named(
    command: Command, home: Path
) -> None:
    first = command("token", "create", "n1")
    assert "older" not in first.err
    assert "it is in duckdb:clusterledger.duckdb, which no hub has open now" in first.err
    second = command("token", "create", "n1")
    assert "its older tokens hold until `clusterledger token revoke n1 --older --cluster default`" in second.err
    assert json.loads(command("token", "create", "n1", "--cluster", "beta", "--json").out)["older_count"] == 0


class Proxy(BaseHTTPRequestHandler):
    """Answers in the place of a hub that only it can reach."""

    def do_GET(self) -> None:
        told = {
            "http://hub.example:8501/api/v1/health": {"status": "ok"},
            "http://hub.example:8501/api/v1/agent": {"node": "n1", "cluster": "alpha"},
        }[self.path]
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(told).encode())

    def log_message(self, *_: object) -> None:
        """Keep the test's output clean."""


@pytest.fixture
def proxy() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_check_asks_the_hub_the_way_the_agent_takes(
    proxy: str, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"HUB": "http://hub.example:8501", "NODE": "n1", "CLUSTER": "alpha", "TOKEN": "good"}.items():
        monkeypatch.setenv(f"CLUSTERLEDGER_AGENT__{name}", value)
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)

    def checked() -> dict[str, tuple[str, str]]:
        return {each["part"]: (each["status"], each["found"]) for each in json.loads(command("check", "--json").out)}

    monkeypatch.setenv("http_proxy", f"http://me:hidden@{proxy}")
    found = checked()
    assert found["hub"] == ("ok", f"http://hub.example:8501 through the environment's proxy {proxy}")
    assert found["token"] == ("ok", "the hub knows it as that of n1 of cluster alpha")
    assert found["clock"][0] == "ok"

    monkeypatch.setenv("no_proxy", "hub.example")
    status, told = checked()["hub"]
    assert status == "failed"
    assert told.startswith("http://hub.example:8501: ")


@pytest.mark.parametrize("names", [(" n1",), ("n1 ",), ("n1", "--cluster", "alpha ")])
def test_a_name_with_a_space_around_it_is_no_nodes(command: Command, home: Path, names: tuple[str, ...]) -> None:
    refused = command("token", "create", *names)
    assert refused.code == 2
    assert "expected names without spaces around them" in refused.err


@pytest.mark.parametrize(
    ("now", "status", "found"),
    [
        (NOW, "ok", "this node's clock agrees with the hub's"),
        (NOW + timedelta(seconds=59), "ok", "this node's clock agrees with the hub's"),
        (NOW + timedelta(days=3), "failed", "this node's clock is 3 days, 0:00:00 ahead of the hub's"),
        (NOW - timedelta(hours=2), "failed", "this node's clock is 2:00:00 behind the hub's"),
    ],
)
def test_a_clock_that_is_not_the_hubs_is_told(now: datetime, status: str, found: str) -> None:
    assert standing_of_clock(format_datetime(NOW, usegmt=True), now) == (status, found, ANY)


def test_a_hub_that_does_not_say_what_time_it_is_is_not_compared_with() -> None:
    assert standing_of_clock("", NOW) is None
