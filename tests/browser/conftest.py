"""Debian's Chromium, and a hub that serves the simulated cluster at a fixed instant."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

import app
from bench.picture import ARGUMENTS
from tests.demo import DEMO_NOW
from tests.missing import missing

CHROMIUM = Path("/usr/bin/chromium")

# The command `up` serves by the present clock; the simulated cluster ends at an instant of its own.
_SERVE = """
import sys
from datetime import datetime
from app.context import Context
from app.hub import serve
from ledger.config import load

at = datetime.fromisoformat(sys.argv[1])
serve(Context(load(hub={"port": 0, "rollup_every_seconds": 3600}), now=lambda: at), lambda url: print(url, flush=True))
"""


_PATIENCE_MILLISECONDS = 60_000


@pytest.fixture(scope="session", autouse=True)
def _patience() -> None:
    """Wait as long for what a page shows as for the page: a busy machine draws it late."""
    expect.set_options(timeout=_PATIENCE_MILLISECONDS)


@dataclass(frozen=True)
class Served:
    """A hub in a process of its own."""

    url: str
    process: subprocess.Popen[str]


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args: dict[str, Any]) -> dict[str, Any]:
    """Return how Chromium is started."""
    if not CHROMIUM.exists():
        missing(f"{CHROMIUM} is not installed; `make chromium` installs it as root")
    return {**browser_type_launch_args, "executable_path": str(CHROMIUM), "args": ARGUMENTS}


@contextmanager
def serving(store: Path) -> Iterator[Served]:
    """Run a hub over a store, and end it with the block."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CLUSTERLEDGER_")}
    environment |= {
        "CLUSTERLEDGER_STORE": f"duckdb:{store}",
        "PYTHONPATH": str(Path(next(iter(app.__path__))).parent),
    }
    logged = store.with_suffix(".log")
    with logged.open("w", encoding="utf-8") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", _SERVE, DEMO_NOW.isoformat()],
            cwd=store.parent,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    with process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert url.startswith("http://127.0.0.1:"), logged.read_text(encoding="utf-8")
        try:
            yield Served(url, process)
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait(timeout=60)


@pytest.fixture(scope="module")
def served(demo_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Return the hub over the simulated cluster; the tests of a module share it and leave it as it is."""
    store = tmp_path_factory.mktemp("served") / "demo.duckdb"
    shutil.copyfile(demo_file, store)
    with serving(store) as found:
        yield found
