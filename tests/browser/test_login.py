"""Logging in and out in a real browser, at a provider on loopback, as a member of a team and as an admin."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from app.page import pages
from tests.app.oidc import CLIENT, SECRET, Provider, provider
from tests.browser.conftest import Served, serving
from tests.browser.test_browser import DESK, PATIENCE, READY, link, settled

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]

MEMBER = {"sub": "2", "email": "bob@example.org", "groups": ["team-vision"]}
ADMIN = {"sub": "1", "email": "ada@example.org", "groups": ["platform"]}


@pytest.fixture(scope="module")
def idp() -> Iterator[Provider]:
    with provider() as found:
        yield found


@pytest.fixture(scope="module")
def guarded(idp: Provider, demo_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Return the hub over the simulated cluster, with people who must log in."""
    store = tmp_path_factory.mktemp("guarded") / "demo.duckdb"
    shutil.copyfile(demo_file, store)
    (store.parent / "clusterledger.toml").write_text(
        f'[auth]\nmetadata_url = "{idp.url}/.well-known/openid-configuration"\nclient_id = "{CLIENT}"\n'
        f'client_secret = "{SECRET}"\nadmins = ["platform"]\nteam_claim = "groups"\nteam_prefix = "team-"\n',
        encoding="utf-8",
    )
    with serving(store) as found:
        yield found


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport=DESK)
    opened = context.new_page()
    opened.set_default_timeout(PATIENCE)
    yield opened
    context.close()


def test_a_member_sees_the_own_team_and_an_admin_everything(idp: Provider, guarded: Served, page: Page) -> None:
    idp.claims = MEMBER
    page.goto(f"{guarded.url}/jobs?window=30d")
    settled(page, "Jobs")
    assert page.url.startswith(f"{guarded.url}/jobs"), "back to what was asked for"
    expect(page.get_by_text("bob@example.org · vision")).to_be_visible()
    offered = {each.title for each in pages("team")}
    for each in pages():
        expect(link(page, each.title)).to_have_count(int(each.title in offered))
    # Beside the page: a table's heading may say so too.
    expect(page.get_by_test_id("stSidebar").get_by_text("Team", exact=True)).to_have_count(0)
    for title in sorted(offered):
        link(page, title).click()
        settled(page, title)

    idp.claims, before = ADMIN, idp.ended
    page.get_by_role("button", name=re.compile("Log out")).click()
    expect(page.get_by_text("ada@example.org · admin")).to_be_visible(timeout=PATIENCE)
    assert idp.ended == before + 1, "the provider was told"
    page.wait_for_selector(READY)
    for each in pages():
        expect(link(page, each.title)).to_have_count(1)


def test_who_has_no_role_sees_no_page(idp: Provider, guarded: Served, page: Page) -> None:
    idp.claims = {"sub": "3", "email": "eve@example.org"}
    page.goto(guarded.url)
    expect(page.get_by_text("You are logged in as eve@example.org, and nothing gives you a role here")).to_be_visible()
    assert page.locator("[data-testid=stApp]").count() == 0
