"""Logging in, really: a hub, a provider on loopback, redirects, cookies, sockets; and what claims give."""

import base64
import json
import socket
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
from pydantic import SecretStr

from app import login
from app.data import Scope
from ledger.errors import ConfigError
from ledger.sections import AuthSettings, HubSettings
from tests.app.conftest import Command, RunningHub, running
from tests.app.oidc import CLIENT, SECRET, Provider, provider

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
ADMIN = {"sub": "1", "email": "ada@example.org", "groups": ["platform", "everybody"]}
MEMBER = {"sub": "2", "email": "bob@example.org", "groups": ["everybody", "team-vision"]}
NOBODY = {"sub": "3", "email": "<b>eve</b>@example.org", "groups": ["everybody"]}

TOML = f"""\
[auth]
metadata_url = "{{url}}/.well-known/openid-configuration"
client_id = "{CLIENT}"
client_secret = "{SECRET}"
admins = ["platform"]
team_claim = "groups"
team_prefix = "team-"
"""


@pytest.fixture(scope="module")
def idp() -> Iterator[Provider]:
    with provider() as found:
        yield found


@pytest.fixture(scope="module")
def hub(idp: Provider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHub]:
    folder = tmp_path_factory.mktemp("login")
    (folder / "clusterledger.toml").write_text(TOML.format(url=idp.url), encoding="utf-8")
    with running(folder) as found:
        yield found


@pytest.fixture
def browser(hub: RunningHub) -> Iterator[httpx2.Client]:
    """Return something that keeps cookies and follows redirects, as browsers do."""
    with httpx2.Client(
        base_url=hub.url, headers={"Accept": "text/html"}, follow_redirects=True, timeout=30, trust_env=False
    ) as client:
        yield client


def come(
    idp: Provider, browser: httpx2.Client, claims: dict[str, Any], path: str = "/", age_seconds: int = 0
) -> httpx2.Response:
    idp.claims, idp.age_seconds = claims, age_seconds
    return browser.get(path)


def socket_status(hub: RunningHub, browser: httpx2.Client) -> str:
    """Return the first line's status of a socket that a page would open with the cookies so far."""
    host = hub.url.removeprefix("http://")
    name, port = host.split(":")
    cookies = "; ".join(f"{each.name}={each.value}" for each in browser.cookies.jar)
    request = (
        f"GET /_stcore/stream HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {base64.b64encode(b'0123456789abcdef').decode()}\r\nSec-WebSocket-Version: 13\r\n"
        f"Origin: {hub.url}\r\n" + (f"Cookie: {cookies}\r\n" if cookies else "") + "\r\n"
    )
    with socket.create_connection((name, int(port)), timeout=10) as connection:
        connection.sendall(request.encode())
        return connection.recv(4096).decode().split()[1]


def test_a_stranger_sees_nothing_and_opens_no_socket(hub: RunningHub) -> None:
    with httpx2.Client(base_url=hub.url, timeout=30, trust_env=False) as stranger:
        page = stranger.get("/", headers={"Accept": "text/html"})
        assert page.status_code == 302
        assert page.headers["location"].startswith("/auth/login?provider=")
        for path in ("/", "/_stcore/host-config", "/static/index.js", "/media/x", "/component/x", "/cost"):
            answer = stranger.get(path)
            assert answer.status_code == 401, path
            assert answer.json()["hint"] == f"open {hub.url} and log in"
        assert stranger.put("/_stcore/upload_file/a/b").status_code == 401
        assert socket_status(hub, stranger) == "403"
        assert stranger.get("/api/v1/health").status_code == 200
        assert stranger.post("/api/v1/ingest").status_code == 401, "agents have tokens"


def test_who_logs_in_with_a_role_gets_the_page_and_the_socket(
    idp: Provider, hub: RunningHub, browser: httpx2.Client
) -> None:
    page = come(idp, browser, ADMIN)
    assert page.status_code == 200
    assert "<title>" in page.text
    assert [each.status_code for each in page.history] == [302] * 4
    assert [str(each.url).partition("?")[0] for each in page.history] == [
        f"{hub.url}/",
        f"{hub.url}/auth/login",
        f"{idp.url}/authorize",
        f"{hub.url}/oauth2callback",
    ]
    assert browser.get("/_stcore/host-config").status_code == 200
    assert socket_status(hub, browser) == "101"


def test_one_comes_back_to_what_one_wanted(idp: Provider, hub: RunningHub, browser: httpx2.Client) -> None:
    page = come(idp, browser, MEMBER, "/cost?window=30d")
    assert str(page.url) == f"{hub.url}/cost?window=30d"
    assert "clusterledger_wanted" not in browser.cookies
    assert str(browser.get("/").url) == f"{hub.url}/"


@pytest.mark.parametrize(
    ("wanted", "status"),
    [("/cost", 302), ("//evil.example/", 200), ("/\\evil.example", 200), ("http://evil.example", 200)],
)
def test_nobody_is_sent_elsewhere_after_the_login(
    idp: Provider, hub: RunningHub, browser: httpx2.Client, wanted: str, status: int
) -> None:
    come(idp, browser, ADMIN)
    kept = "; ".join(f"{each.name}={each.value}" for each in browser.cookies.jar)
    with httpx2.Client(base_url=hub.url, timeout=30, trust_env=False) as bare:
        answer = bare.get("/", headers={"Cookie": f"{kept}; clusterledger_wanted={wanted}"})
    assert answer.status_code == status


def test_who_has_no_role_is_told_so(idp: Provider, hub: RunningHub, browser: httpx2.Client) -> None:
    page = come(idp, browser, NOBODY)
    assert page.status_code == 403
    assert "You are logged in as &lt;b&gt;eve&lt;/b&gt;@example.org" in page.text
    assert "auth.role_claim" in page.text
    assert socket_status(hub, browser) == "403"
    before = idp.ended
    out = browser.get("/auth/logout", follow_redirects=False)
    assert out.headers["location"].startswith(f"{idp.url}/logout?")
    assert browser.get(out.headers["location"]).status_code in {200, 403}
    assert idp.ended == before + 1


def test_a_login_ends_after_its_hours(idp: Provider, hub: RunningHub, browser: httpx2.Client) -> None:
    with pytest.raises(httpx2.TooManyRedirects):
        # A provider that vouches for a login of yesterday never gets anybody in.
        come(idp, browser, ADMIN, age_seconds=13 * 3600)
    assert socket_status(hub, browser) == "403"


def test_a_cookie_that_somebody_changed_is_none(idp: Provider, hub: RunningHub, browser: httpx2.Client) -> None:
    come(idp, browser, MEMBER)
    name = next(each.name for each in browser.cookies.jar if each.name == login.USER_COOKIE_NAME)
    value = browser.cookies[name]
    forged = value.replace(value[10:14], "AAAA" if value[10:14] != "AAAA" else "BBBB", 1)
    with httpx2.Client(base_url=hub.url, cookies={name: forged}, timeout=30, trust_env=False) as thief:
        assert thief.get("/_stcore/host-config").status_code == 401


def test_another_name_of_the_hub_leads_to_its_own(hub: RunningHub) -> None:
    port = hub.url.rpartition(":")[2]
    answer = httpx2.get(
        f"{hub.url}/jobs", headers={"Accept": "text/html", "Host": f"localhost:{port}"}, trust_env=False
    )
    assert (answer.status_code, answer.headers["location"]) == (302, f"{hub.url}/jobs")


def test_settings_that_let_nobody_in_are_one_line(command: Command, home: Path) -> None:
    (home / "clusterledger.toml").write_text('[auth]\nmetadata_url = "https://idp.example/x"\n', encoding="utf-8")
    ended = command("up", "--port", "0")
    assert ended.code == 2
    assert ended.err.startswith("error: auth.client_id: found nothing, expected what the provider gave")


def test_check_says_whether_people_can_log_in(idp: Provider, command: Command, home: Path) -> None:
    def told() -> dict[str, str]:
        found = json.loads(command("check", "--json").out)
        return next(each for each in found if each["part"] == "login")

    assert told()["status"] == "missing"
    (home / "clusterledger.toml").write_text(TOML.format(url=idp.url), encoding="utf-8")
    assert told()["status"] == "ok"
    (home / "clusterledger.toml").write_text(f'[auth]\nmetadata_url = "{idp.url}/jwks"\n', encoding="utf-8")
    assert told()["found"] == f"{idp.url}/jwks: that is no provider's metadata"
    (home / "clusterledger.toml").write_text('[auth]\nmetadata_url = "http://127.0.0.1:9/"\n', encoding="utf-8")
    assert told()["status"] == "failed"


AUTH = AuthSettings(
    metadata_url="https://idp.example/.well-known/openid-configuration",
    client_id="c",
    client_secret=SecretStr("s"),
    admins=("platform",),
    managers=("finance",),
    sres=("on-call",),
    team_claim="groups",
    team_prefix="team-",
)


@pytest.mark.parametrize(
    ("claims", "scope"),
    [
        ({"groups": ["on-call", "platform"]}, Scope("admin")),
        ({"groups": ["on-call", "finance"]}, Scope("manager")),
        ({"groups": "on-call"}, Scope("sre")),
        ({"groups": ["x", "team-vision"]}, Scope("team", "vision", ("vision",))),
        (
            {"groups": ["x", "team-vision", "team-language", "team-", "team-vision"]},
            Scope("team", "vision", ("vision", "language")),
        ),
        ({"groups": ["on-call", "team-vision"]}, Scope("sre")),
        ({"groups": ["team-"]}, None),
        ({"groups": ["x"]}, None),
        ({"groups": {"platform": True}}, None),
        ({"groups": [["platform"], 7, None]}, None),
        ({}, None),
    ],
)
def test_claims_give_the_first_role_that_fits(claims: dict[str, Any], scope: Scope | None) -> None:
    assert login.scope_of(AUTH, claims) == scope


def test_a_claim_may_lie_in_an_object_or_have_a_dot_in_its_name() -> None:
    auth = AUTH.model_copy(update={"role_claim": "realm_access.roles"})
    assert login.scope_of(auth, {"realm_access": {"roles": ["platform"]}}) == Scope("admin")
    assert login.scope_of(auth, {"realm_access.roles": ["finance"], "realm_access": {"roles": ["platform"]}}) == Scope(
        "manager"
    )
    assert login.scope_of(auth, {"realm_access": ["platform"]}) is None


def test_an_address_that_is_not_verified_gives_nothing() -> None:
    auth = AUTH.model_copy(update={"role_claim": "email", "admins": ("ada@example.org",), "team_claim": ""})
    assert login.scope_of(auth, {"email": "ada@example.org", "email_verified": True}) == Scope("admin")
    assert login.scope_of(auth, {"email": "ada@example.org"}) == Scope("admin")
    assert login.scope_of(auth, {"email": "ada@example.org", "email_verified": False}) is None


def test_a_login_counts_from_when_the_provider_vouched_for_it() -> None:
    issued = int(NOW.timestamp())
    claims = {"is_logged_in": True, "iat": issued}
    assert login.is_current(AUTH, claims, NOW + timedelta(hours=11, minutes=59))
    assert not login.is_current(AUTH, claims, NOW + timedelta(hours=12))
    assert not login.is_current(AUTH, {"iat": issued}, NOW)
    assert not login.is_current(AUTH, {"is_logged_in": True}, NOW)
    assert not login.is_current(AUTH, {"is_logged_in": True, "iat": "now"}, NOW)


def test_where_people_come_back_to() -> None:
    assert login.origin(HubSettings(url="https://ledger.example/"), "http://0.0.0.0:1") == "https://ledger.example"
    assert login.origin(HubSettings(), "http://127.0.0.1:8501") == "http://127.0.0.1:8501"
    made = login.secrets(AUTH, "https://ledger.example")["auth"]
    assert made["redirect_uri"] == "https://ledger.example/oauth2callback"
    assert len(made["cookie_secret"]) == 64
    assert login.secrets(AuthSettings(), "http://x") == {}


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"client_id": ""}, "auth.client_id: found nothing"),
        ({"client_secret": None}, "auth.client_secret: found nothing"),
        ({"admins": (), "managers": (), "sres": (), "team_claim": ""}, "found nobody who would have a role"),
    ],
)
def test_settings_without_which_nobody_gets_in(changed: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        login.checked(AUTH.model_copy(update=changed))
    login.checked(AUTH)
    login.checked(AuthSettings())
