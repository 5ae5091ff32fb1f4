"""A real agent under a clock that jumps, and a real hub: every row once, at its pace, and the jumps are told."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from app import cli
from tests.app.conftest import Command, RunningHub
from tests.missing import missing

_PATIENCE_SECONDS = 120.0
_BACK = timedelta(hours=-2)
_ON = timedelta(minutes=4)
_SETTINGS = """\
[agent]
hub = "{hub}"
node = "n1"
token = "{token}"
spool = "spool.db"
ship_every_seconds = 0.5
[collectors.host]
every_seconds = 1
[collectors.nvml]
enabled = false
"""


@pytest.fixture
def library() -> Path:
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
    if not found:
        missing("libfaketimeMT.so.1 not found in /usr/lib; apt-get install libfaketime")
    return found[0]


class Jumping:
    """An agent in a process of its own, whose wall clock is set while it runs; its monotonic clock goes on."""

    def __init__(self, folder: Path, process: subprocess.Popen[str]) -> None:
        self.folder = folder
        self.process = process

    def set_clock(self, off: timedelta) -> None:
        """Set how far the clock is off."""
        draft = self.folder / "offset.new"
        draft.write_text(f"{off.total_seconds():+.0f}\n", encoding="utf-8")
        draft.replace(self.folder / "offset")


@contextmanager
def agent(folder: Path, library: Path) -> Iterator[Jumping]:
    """Run an agent in a folder."""
    clock = {
        "LD_PRELOAD": str(library),
        "FAKETIME_TIMESTAMP_FILE": str(folder / "offset"),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    (folder / "offset").write_text("+0\n", encoding="utf-8")
    with (
        (folder / "agent.log").open("w", encoding="utf-8") as log,
        subprocess.Popen(
            [sys.executable, "-c", "from app.cli import main; main()", "agent"],
            cwd=folder,
            env={**os.environ, **clock, "PYTHONPATH": str(Path(cli.__file__).parents[2])},
            stdout=log,
            stderr=log,
            text=True,
        ) as process,
    ):
        try:
            yield Jumping(folder, process)
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=_PATIENCE_SECONDS) == 0, (folder / "agent.log").read_text(encoding="utf-8")


def test_a_clock_that_jumps_costs_no_row_and_is_told(
    hub: RunningHub, home: Path, command: Command, library: Path
) -> None:
    def asked(query: str) -> Any:
        return json.loads(command("sql", query, "--format", "json").out)

    def until(is_so: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while not is_so():
            assert time.monotonic() < deadline, (what, (home / "agent.log").read_text(encoding="utf-8"))
            time.sleep(0.2)

    def rows_after(at: datetime, off: timedelta) -> int:
        """Count samples from an instant until now, by a clock that is off."""
        low, high = at + off, datetime.now(UTC) + off
        query = f"SELECT count(*) AS n FROM host_sample WHERE sampled_at >= '{low}' AND sampled_at < '{high}'"
        return int(asked(query)[0]["n"])

    token = json.loads(command("token", "create", "n1", "--json").out)["token"]
    (home / "clusterledger.toml").write_text(_SETTINGS.format(hub=hub.url, token=token), encoding="utf-8")
    with agent(home, library) as jumping:
        for off in (timedelta(0), _BACK, timedelta(0), _ON, timedelta(0)):
            jumping.set_clock(off)
            began = datetime.now(UTC)
            until(lambda at=began, off=off: rows_after(at, off) >= 3, f"no samples with a clock off by {off}")
        # As many as there was time for: neither a rush after the clock went on nor a halt after it went back.
        began, now = time.monotonic(), datetime.now(UTC)
        until(lambda: rows_after(now, timedelta(0)) >= 4, "it halted")
        assert time.monotonic() - began > 2
    events = asked("SELECT event FROM node_event WHERE event = 'clock_jump' ORDER BY occurred_at")
    assert len(events) == 4, asked("SELECT * FROM node_event")
    assert asked("SELECT count(*) AS n FROM rejected_row") == [{"n": 0}]
    twice = "SELECT count(*) - count(DISTINCT (sampled_at, cluster, node, boot_id)) AS n FROM host_sample"
    assert asked(twice) == [{"n": 0}]
