"""An agent with all collectors beside Debian's node_exporter: processor, memory, and how long a round takes.

Both look at this machine, in the same minute, every ten seconds. The agent has eight fake GPUs as well, and keeps and
ships what it collects; the exporter is asked as Prometheus asks it, and ships nothing.
"""

import importlib
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

from collectors._round import RUN_TABLE
from collectors._spool import Spool
from collectors.agent import Agent, node_collectors
from collectors.fake_nvml import FakeNvml, Gpu, Phase, Process, Scenario
from collectors.wire import decode
from ledger.config import Settings
from ledger.registry import Row

STEP_SECONDS: Final = 10
_GPUS: Final = 8
_EXPORTER: Final = "prometheus-node-exporter"
_TICKS: Final = os.sysconf("SC_CLK_TCK")
_SETTLE_SECONDS: Final = 8.0
"""By then an agent has loaded what it needs, and given back what it does not."""


def cost(pid: int) -> tuple[float, int]:
    """Return the processor seconds of a process so far, and its resident bytes."""
    stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(stat[11]) + int(stat[12])) / _TICKS, int(stat[21]) * os.sysconf("SC_PAGESIZE")


def run_agent(hub: str, spool: str) -> None:
    """Be the agent until a signal asks to stop, with all that `clusterledger agent` has loaded by then."""
    importlib.import_module("app.cli")
    gpus = tuple(
        Gpu(f"GPU-{index}", phases=(Phase(kernel=0.9, sm=0.5, processes=(Process(os.getpid()),)),))
        for index in range(_GPUS)
    )
    settings = Settings.model_validate({"agent": {"hub": hub, "node": "bench", "spool": spool}})
    agent = Agent(settings, offers={"library": FakeNvml(Scenario(gpus=gpus), time.monotonic)})
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    agent.run(stop)
    agent.close()


class _Hub(ThreadingHTTPServer):
    """A hub that only takes what it gets."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.runs: dict[str, list[float]] = {}

    def take(self, body: bytes) -> str:
        """Note how long each collector's rounds took; return the batch's id."""
        batch = decode(body)
        columns = batch.tables.get(RUN_TABLE, {})
        self.note(dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True))
        return batch.batch_id

    def note(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Note how long rounds took; of those that are told together, each took the same."""
        for row in rows:
            rounds = int(row["round_count"] or 1)
            self.runs.setdefault(row["collector"], []).extend([row["duration_seconds"] / rounds] * rounds)


def _left(path: Path) -> list[Row]:
    """Return the rounds that an agent that has ended left in its spool."""
    spool, rows = Spool(path, 1 << 30), []
    while (sealed := spool.seal()) is not None:
        rows += sealed.tables.get(RUN_TABLE, [])
        spool.forget(sealed.batch_id)
    spool.close()
    return rows


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        batch_id = self.server.take(body) if isinstance(self.server, _Hub) else ""
        self.send_response(200)
        self.end_headers()
        self.wfile.write(f'{{"batch_id": "{batch_id}", "tables": {{}}}}'.encode())

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def _running(command: list[str]) -> Iterator[int]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield process.pid
    finally:
        process.terminate()
        process.wait(timeout=30)


def _free_port() -> int:
    hub = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    with hub:
        return int(hub.server_port)


def measure(seconds: float) -> dict[str, Any]:
    """Return the figures of both over the same seconds."""
    hub, port = _Hub(), _free_port()
    threading.Thread(target=hub.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory() as folder:
        agent = [sys.executable, "-m", "bench.agent", f"http://127.0.0.1:{hub.server_port}", f"{folder}/spool.db"]
        exporter = [_EXPORTER, f"--web.listen-address=127.0.0.1:{port}"]
        with _running(agent) as agent_pid, _running(exporter) as exporter_pid:
            time.sleep(_SETTLE_SECONDS)
            began = {pid: cost(pid)[0] for pid in (agent_pid, exporter_pid)}
            start, scrapes = time.perf_counter(), []
            while time.perf_counter() - start < seconds:
                asked = time.perf_counter()
                urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10).read()
                scrapes.append(time.perf_counter() - asked)
                time.sleep(STEP_SECONDS - (time.perf_counter() - asked))
            taken = time.perf_counter() - start
            found = {pid: (cost(pid)[0] - before, cost(pid)[1]) for pid, before in began.items()}
        hub.note(_left(Path(folder, "spool.db")))
    hub.shutdown()
    rounds = {name: statistics.median(values) for name, values in hub.runs.items()}
    return {
        "agent_core_ratio": found[agent_pid][0] / taken,
        "agent_resident_bytes": found[agent_pid][1],
        "agent_round_seconds": sum(rounds.values()),
        "exporter_core_ratio": found[exporter_pid][0] / taken,
        "exporter_resident_bytes": found[exporter_pid][1],
        "exporter_round_seconds": statistics.median(scrapes),
        "collectors": len(node_collectors()),
        "rounds": rounds,
    }


if __name__ == "__main__":
    if len(sys.argv) > 2:  # noqa: PLR2004  the hub and the spool
        run_agent(*sys.argv[1:3])
    else:
        print(json.dumps(measure(float(sys.argv[1]) if len(sys.argv) > 1 else 30), indent=1))
