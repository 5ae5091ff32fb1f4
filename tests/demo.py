"""A store with a small simulated cluster: made once, copied by each test that needs it."""

import fcntl
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from app.context import Context
from app.services import named
from ledger.config import Settings, load

DEMO_NOW = datetime(2026, 11, 18, 15, 20, tzinfo=UTC)
"""A Wednesday: two whole weeks, and enough evidence for advice, lie before it in the simulated ledger."""


def settings_of(path: Path, **sections: object) -> Settings:
    """Return the settings of a store in a file, with nothing from the environment."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("CLUSTERLEDGER_")]:
            patch.delenv(name)
        return load(store={"url": f"duckdb:{path}"}, **sections)


def made(base: Path) -> Path:
    """Return the store of this test run, made by the process that comes first; the others wait."""
    folder = base / "demo"
    folder.mkdir(exist_ok=True)
    path, done = folder / "demo.duckdb", folder / "done"
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            path.unlink(missing_ok=True)
            context = Context(settings_of(path), now=lambda: DEMO_NOW)
            try:
                service = named("demo")
                service.run(context, service.asked({"gpus": 16, "days": 18}))
            finally:
                context.close()
            done.touch()
    return path
