"""Takes the README's screenshot: the first page of a hub on the demo, in Chromium."""

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

READY = "[data-testid=stApp][data-test-script-state=notRunning]"

ARGUMENTS = [
    "--no-sandbox",
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]

_PATIENCE_SECONDS = 180


@contextlib.contextmanager
def hub(store: str, *options: str) -> Iterator[str]:
    """Run a hub on a free port and yield its address; it ends with the block."""
    environment = {**os.environ, "CLUSTERLEDGER_STORE": store}
    command = [str(Path(sys.executable).with_name("clusterledger")), "up", "--port", "0", *options]
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=environment)
        try:
            yield _address(process, output)
        finally:
            process.terminate()
            process.wait(timeout=30)


def _address(process: subprocess.Popen[bytes], output: "object") -> str:
    began = time.monotonic()
    while time.monotonic() - began < _PATIENCE_SECONDS:
        output.seek(0)  # type: ignore[attr-defined]  an open file
        text: str = output.read()  # type: ignore[attr-defined]  as above
        found = [word for word in text.split() if word.startswith("http://")]
        if found:
            return found[-1].rstrip(".")
        if process.poll() is not None:
            raise SystemExit(f"the hub ended with {process.returncode}:\n{text}")
        time.sleep(0.2)
    raise SystemExit("the hub did not say its address")


def settle(page: Page) -> None:
    """Wait until the page has run and its charts are drawn."""
    page.wait_for_selector(READY, timeout=60_000)
    page.wait_for_timeout(1_500)
    page.wait_for_selector(READY, timeout=60_000)


def shoot(address: str, path: Path, *, dark: bool = False, width: int = 1440, height: int = 1300) -> None:
    """Save a picture of one page."""
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path="/usr/bin/chromium", args=ARGUMENTS)
        page = browser.new_page(
            viewport={"width": width, "height": height}, color_scheme="dark" if dark else "light", device_scale_factor=1
        )
        page.goto(address)
        settle(page)
        page.screenshot(path=path)
        browser.close()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder, hub(f"duckdb:{folder}/demo.duckdb", "--demo") as place:
        shoot(place, Path(sys.argv[1]))
