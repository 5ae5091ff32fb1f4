"""Files that are dropped on the page Import, in a real browser: what came of them, what was refused, what waits."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, FilePayload, Page, expect

from tests.browser.conftest import Served, serving
from tests.collectors.billing.bills import text

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]

PATIENCE = 60_000
DAYS = [
    {"ChargePeriodStart": f"2026-01-{day:02}T00:00:00Z", "ChargePeriodEnd": f"2026-01-{day + 1:02}T00:00:00Z"}
    for day in range(1, 6)
]


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    """Return a hub over an empty store."""
    with serving(tmp_path / "ledger.duckdb") as found:
        yield found


def dropped(page: Page, *files: FilePayload) -> None:
    page.set_input_files("[data-testid=stFileUploaderDropzoneInput]", list(files))
    page.get_by_role("button", name="Import", exact=True).click()


def file(name: str, content: str) -> FilePayload:
    return {"name": name, "mimeType": "text/csv", "buffer": content.encode()}


def test_files_are_dropped_refused_and_accepted(browser: Browser, served: Served) -> None:
    page = browser.new_page(viewport={"width": 1280, "height": 1000})
    page.set_default_timeout(PATIENCE)
    expect.set_options(timeout=PATIENCE)
    page.goto(f"{served.url}/import")
    expect(page.get_by_text("No bill was imported yet.")).to_be_visible()
    bad = {"BilledCost": "ten"}
    dropped(page, file("bill.csv", text([*DAYS, bad])), file("junk.csv", "a,b\n1,2\n"))
    expect(page.get_by_text("5 rows of focus 1.0, $7.50 billed. 1 row was refused, see below.")).to_be_visible()
    expect(page.get_by_text("found a, b, expected one of")).to_be_visible()
    expect(page.get_by_role("heading", name="Refused rows")).to_be_visible()
    dropped(page, file("bill.csv", text(DAYS[:2])))
    expect(page.get_by_text("found 2 charge days, expected the 5 that it replaces, or more")).to_be_visible()
    page.get_by_role("button", name="Accept it").click()
    expect(page.get_by_role("heading", name="Waiting for you")).to_be_hidden()
    expect(page.get_by_role("heading", name="Imports so far")).to_be_visible()
    page.close()
