"""The pages in a real browser: light, dark and on a phone, with links that survive a reload."""

import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from app.page import pages
from ledger.store import Store
from tests.browser.conftest import Served, serving

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]

ALL = pages()
DESK = {"width": 1440, "height": 1000}
PHONE = {"width": 390, "height": 844}
DARK = "rgb(16, 22, 29)"
LIGHT = "rgb(255, 255, 255)"
READY = "[data-testid=stApp][data-test-script-state=notRunning]"
PATIENCE = 60_000
# Thirty days touch thirty-one dates unless they begin at midnight.
MONTH = re.compile(r"of 3[01]\b")

# Under a page's own path Streamlit asks there for the server before it asks at the root.
PROBE = re.compile(r"/[a-z-]+/_stcore/(health|host-config)$")


@contextmanager
def visiting(browser: Browser, served: Served, *, dark: bool = False) -> Iterator[Page]:
    """Open a browser window; at the end nothing has failed and no other site was asked."""
    context = browser.new_context(viewport=DESK, color_scheme="dark" if dark else "light")
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    foreign: list[str] = []
    errors: list[str] = []

    def asked(url: str) -> None:
        if not url.startswith((served.url, served.url.replace("http", "ws"), "data:", "blob:")):
            foreign.append(url)

    page.on("request", lambda request: asked(request.url))
    page.on("websocket", lambda socket: asked(socket.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on(
        "console",
        lambda message: (
            errors.append(f"{message.text} {message.location.get('url')}")
            if message.type == "error" and not PROBE.search(str(message.location.get("url")))
            else None
        ),
    )
    try:
        yield page
    finally:
        context.close()
    assert foreign == []
    assert errors == []


def settled(page: Page, title: str) -> None:
    """Wait until the page has run, and check that it stands as it should."""
    expect(page.get_by_role("heading", name=title, exact=True, level=1)).to_be_visible(timeout=PATIENCE)
    page.wait_for_selector(READY)
    assert page.locator("[data-testid=stException]").count() == 0
    for badge in (r"invoices? (match|differ)", r"^samples ", r"^coverage "):
        expect(page.get_by_text(re.compile(badge)).filter(visible=True).first).to_be_visible(timeout=PATIENCE)


def link(page: Page, title: str) -> Locator:
    """Return a page's link in the navigation."""
    return page.locator("[data-testid=stSidebarNavLink]").get_by_text(title, exact=True)


def background(page: Page) -> str:
    return str(page.evaluate("getComputedStyle(document.querySelector('[data-testid=stApp]')).backgroundColor"))


def asked_for(page: Page) -> dict[str, list[str]]:
    return parse_qs(urlsplit(page.url).query)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_every_page_stands(browser: Browser, served: Served, *, dark: bool) -> None:
    with visiting(browser, served, dark=dark) as page:
        page.goto(served.url)
        for each in ALL:
            link(page, each.title).click()
            settled(page, each.title)
            assert urlsplit(page.url).path == f"/{each.path}"
            assert background(page) == (DARK if dark else LIGHT)


def test_every_page_fits_a_phone(browser: Browser, served: Served) -> None:
    with visiting(browser, served) as page:
        page.set_viewport_size(PHONE)  # type: ignore[arg-type]  a dictionary of two numbers
        for each in ALL:
            page.goto(f"{served.url}/{each.path}")
            settled(page, each.title)
            assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
            cards = page.locator("[data-testid=stMetric]")
            if cards.count():
                expect(cards.first).to_be_in_viewport()


def test_the_heatmap_draws(browser: Browser, served: Served) -> None:
    with visiting(browser, served) as page:
        page.goto(f"{served.url}/gpus")
        settled(page, "GPUs")
        drawn = page.locator(".js-plotly-plot .heatmaplayer image").first
        drawn.wait_for(state="attached")
        box = drawn.bounding_box()
        assert box is not None
        assert box["width"] > 500
        assert box["height"] > 150


def test_a_mark_of_the_heatmap_opens_its_gpu(browser: Browser, served: Served) -> None:
    with visiting(browser, served) as page:
        page.goto(f"{served.url}/gpus")
        settled(page, "GPUs")
        heatmap = page.locator(".js-plotly-plot").filter(has=page.locator(".heatmaplayer image"))
        mark = heatmap.locator(".scatterlayer .points path.point").nth(5)
        mark.wait_for(state="attached")
        mark.scroll_into_view_if_needed()
        box = mark.bounding_box()
        assert box is not None
        # Plotly listens on a layer above its marks: a hand points at the place.
        at = (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        page.mouse.move(*at)
        said = heatmap.locator(".hoverlayer")
        expect(said).to_contain_text("Look at", timeout=PATIENCE)
        gpu = (said.text_content() or "").removeprefix("Look at ")
        page.mouse.click(*at)
        page.wait_for_url(re.compile("gpu="))
        assert asked_for(page)["gpu"] == [gpu]


def test_the_window_stands_in_the_url(browser: Browser, served: Served) -> None:
    with visiting(browser, served) as page:
        page.goto(f"{served.url}/cost")
        settled(page, "Cost")
        page.locator("[data-testid=stSidebar]").get_by_role("combobox", name=re.compile("Window")).click()
        page.get_by_role("option", name="30d").click()
        page.wait_for_url(re.compile("window=30d"))
        page.wait_for_selector(READY)
        days = page.locator("[data-testid=stMetric]", has_text="Days with estimates")
        expect(days).to_contain_text(MONTH, timeout=PATIENCE)
        page.reload()
        settled(page, "Cost")
        assert asked_for(page)["window"] == ["30d"]
        expect(days).to_contain_text(MONTH, timeout=PATIENCE)
        link(page, "Models").click()
        settled(page, "Models")
        assert asked_for(page)["window"] == ["30d"]


def test_models_and_cost_say_the_same_of_the_same_days(browser: Browser, served: Served) -> None:
    """The link names whole days, and the page that it opens takes them, though another window was chosen."""
    with visiting(browser, served) as page:
        page.goto(f"{served.url}/models")
        settled(page, "Models")
        said = page.get_by_text("all AI spend").inner_text()
        found = re.search(r"together [^\d]*([\d,]+\.\d\d): all AI spend", said)
        assert found is not None, said
        page.get_by_text("The same by day, with what is no model's").click()
        settled(page, "Cost")
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT00--\d{4}-\d\d-\d\dT00", asked_for(page)["window"][0])
        assert asked_for(page)["by"] == ["model"]
        whole = f"{Decimal(found[1].replace(',', '')):,.0f}"
        cost = page.locator("[data-testid=stMetric]", has_text="Effective cost").first
        expect(cost).to_contain_text(whole, timeout=PATIENCE)


def test_cost_leads_to_what_to_change(browser: Browser, served: Served) -> None:
    """Who sees what idle time costs is one step from the findings, in the window that was chosen."""
    with visiting(browser, served) as page:
        page.goto(f"{served.url}/cost?by=state&window=30d")
        settled(page, "Cost")
        page.get_by_text("What idles, and what to change about it").click()
        settled(page, "Savings")
        expect(page.get_by_text("Open findings")).to_be_visible(timeout=PATIENCE)
        assert asked_for(page)["window"] == ["30d"]


def test_a_link_opens_a_job(browser: Browser, served: Served, demo_file: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.duckdb"
    copy.write_bytes(demo_file.read_bytes())
    with Store.open(f"duckdb:{copy}") as store:
        query = (
            "SELECT job_id, any_value(job_name) FROM job_usage GROUP BY job_id "
            "HAVING count(*) = 1 AND any_value(state) = 'RUNNING' ORDER BY job_id LIMIT 1"
        )
        job, name = store.select(query).row(0)
    with visiting(browser, served) as page:
        page.goto(f"{served.url}/jobs?job={job}")
        settled(page, "Jobs")
        expect(page.get_by_role("heading", name=f"Job {job}: {name}")).to_be_visible(timeout=PATIENCE)
        page.get_by_role("button", name="All jobs").click()
        expect(page.get_by_text("Job runs")).to_be_visible(timeout=PATIENCE)
        assert "job" not in asked_for(page)


def test_a_signal_ends_the_hub_well(browser: Browser, tmp_path: Path) -> None:
    """An open page does not hold it up; an empty store shows what to do first."""
    with serving(tmp_path / "empty.duckdb") as own, visiting(browser, own) as page:
        page.goto(own.url)
        expect(page.get_by_text("clusterledger demo")).to_be_visible(timeout=PATIENCE)
        page.goto("about:blank")
        other = page.context.new_page()
        other.goto(own.url)
        other.wait_for_selector(READY, timeout=PATIENCE)
        own.process.send_signal(signal.SIGTERM)
        assert own.process.wait(timeout=60) == 0
