"""A hub that takes what 20,000 GPUs send, with people on its pages meanwhile: latency, losses, memory."""

import asyncio
import dataclasses
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from app.services._hub_file import found
from app.services.tokens import hashed
from bench import people
from bench._fleet import CLUSTER, RAMP_SECONDS, node_of, token_of
from bench._measure import minutes, processor_times, stolen_ratio
from bench.picture import hub
from ledger.frames import to_frame
from ledger.store import Store
from ledger.tables import TABLES, AgentToken

_PATIENCE_SECONDS: Final = 120


@dataclass
class Watched:
    """What a process and those that it started held and used, second by second."""

    resident_bytes: list[int] = field(default_factory=list)
    cpu_seconds: list[float] = field(default_factory=list)


def _stat(pid: int) -> tuple[int, float]:
    """Return what a process and those that it started hold in bytes, and the processor time that they took."""
    resident, cpu, family = 0, 0.0, {pid}
    # Who starts another has the smaller number.
    for each in sorted(int(one.name) for one in Path("/proc").iterdir() if one.name.isdecimal()):
        try:
            fields = Path(f"/proc/{each}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        except OSError:
            continue
        if each == pid or int(fields[1]) in family:
            family.add(each)
            resident += int(fields[21]) * 4096
            cpu += (int(fields[11]) + int(fields[12])) / 100
    return resident, cpu


@contextmanager
def watched(pid: int) -> Iterator[Watched]:
    """Look at a process, with those that it started, once a second until the block ends."""
    seen, stop = Watched(), threading.Event()

    def look() -> None:
        while not stop.wait(1.0):
            resident, cpu = _stat(pid)
            seen.resident_bytes.append(resident)
            seen.cpu_seconds.append(cpu)

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        stop.set()
        thread.join()


def prepare(url: str, agents: int) -> None:
    """Give every agent its token."""
    now = datetime.now(UTC)
    rows = [
        {
            "token_sha256": hashed(token_of(node_of(index))),
            "node": node_of(index),
            "cluster": CLUSTER,
            "created_at": now,
            "revoked_at": None,
        }
        for index in range(agents)
    ]
    with Store.open(url) as store:
        store.append(AgentToken, to_frame(AgentToken, rows), source="bench")


def counts(url: str, tables: list[str]) -> dict[str, int]:
    """Return how many rows of the agents each table has; the hub has ended."""
    with Store.open(url) as store:
        return {
            name: int(
                store.select(f'SELECT count(*) AS n FROM "{name}" WHERE cluster = $cluster', cluster=CLUSTER).item()
            )
            for name in tables
        }


def measure(url: str, *, agents: int, seconds: float, readers: int) -> dict[str, Any]:
    """Return the figures of one run against a store: of so many seconds, after those in which all agents begin."""
    whole = RAMP_SECONDS + seconds
    prepare(url, agents)
    with hub(url) as address:
        place = urlsplit(address)
        holder = found(url)
        if holder is None:
            raise SystemExit("bench: the hub left no file beside its store")
        command = [
            sys.executable,
            "-m",
            "bench._fleet",
            str(place.hostname),
            str(place.port),
            str(agents),
            str(seconds),
        ]
        before = processor_times()
        with watched(holder.pid) as seen:
            fleet = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
            try:
                pages = asyncio.run(people.crowd(address, readers, whole * 0.95, 5)) if readers else []
                out, _ = fleet.communicate(timeout=whole + _PATIENCE_SECONDS)
            finally:
                fleet.kill()
        stolen = stolen_ratio(before, processor_times())
    said: dict[str, Any] = json.loads(out.strip().splitlines()[-1])
    stored = counts(url, sorted(said["sent"]))
    lost = {
        name: count - stored[name]
        for name, count in said["sent"].items()
        if stored[name] != count and TABLES[name].group != "inventory"
    }
    return {
        **said,
        "lost": lost,
        "resident": seen.resident_bytes,
        "cpu": seen.cpu_seconds,
        "stolen_ratio": stolen,
        "pages": [seconds for _, seconds in pages],
        "page_minutes": [dataclasses.asdict(each) for each in minutes(pages)],
    }
