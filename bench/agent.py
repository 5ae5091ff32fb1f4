"""An agent with all collectors beside Debian's node_exporter: processor, memory, and how long a round takes.

Both look at the files of one node with eight GPUs (`bench._tree`), in the same minute. Every collector of the agent
goes every ten seconds, whatever its own pace is; the agent has eight fake GPUs as well, and keeps and ships what it
collects. The exporter is asked every ten seconds, as Prometheus asks it, with the collectors that Debian switches on,
and ships nothing.
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

from bench import _tree
from collectors._round import RUN_TABLE
from collectors._spool import Spool
from collectors.agent import Agent, node_collectors
from collectors.fake_nvml import FakeNvml, Gpu, Phase, Process, Scenario
from collectors.wire import decode
from ledger.config import Settings
from ledger.registry import Row

STEP_SECONDS: Final = 10
_EXPORTER: Final = "prometheus-node-exporter"
_TICKS: Final = os.sysconf("SC_CLK_TCK")
_SETTLE_SECONDS: Final = 8.0
"""By then an agent has loaded what it needs, and given back what it does not."""


def cost(pid: int) -> tuple[float, int]:
    """Return the processor seconds of a process so far, with programs that it asked, and its own resident bytes."""
    stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return sum(map(int, stat[11:15])) / _TICKS, int(stat[21]) * os.sysconf("SC_PAGESIZE")


def settings_of(hub: str, spool: str, root: Path) -> Settings:
    """Return the settings of an agent on the node whose files lie in a folder, with each collector at the same pace."""
    own = _tree.sections(root)
    return Settings.model_validate(
        {
            "agent": {"hub": hub, "node": "bench", "spool": spool, "root": str(root)},
            "collectors": {name: {**own.get(name, {}), "every_seconds": STEP_SECONDS} for name in node_collectors()},
        }
    )


def run_agent(hub: str, spool: str, root: str) -> None:
    """Be the agent until a signal asks to stop, with all that `clusterledger agent` has loaded by then."""
    importlib.import_module("app.cli")
    gpus = tuple(
        Gpu(f"GPU-{index}", phases=(Phase(kernel=0.9, sm=0.5, processes=(Process(pid),)),))
        for index, pid in enumerate(_tree.PIDS)
    )
    settings = settings_of(hub, spool, Path(root))
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
        self.row_counts: dict[str, int] = {}
        self.failed: dict[str, str] = {}

    def take(self, body: bytes) -> str:
        """Note how long each collector's rounds took; return the batch's id."""
        batch = decode(body)
        columns = batch.tables.get(RUN_TABLE, {})
        self.note(dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True))
        return batch.batch_id

    def note(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Note how long rounds took and what they brought; of those that are told together, each took the same."""
        for row in rows:
            name, rounds = row["collector"], int(row["round_count"] or 1)
            self.runs.setdefault(name, []).extend([row["duration_seconds"] / rounds] * rounds)
            self.row_counts[name] = self.row_counts.get(name, 0) + int(row["row_count"])
            if not row["is_ok"]:
                self.failed[name] = row["error"]


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
        root = Path(folder).resolve() / "node"
        _tree.write(root)
        address, spool = f"http://127.0.0.1:{hub.server_port}", f"{folder}/spool.db"
        agent = [sys.executable, "-m", "bench.agent", address, spool, str(root)]
        roots = [f"--path.procfs={root / 'proc'}", f"--path.sysfs={root / 'sys'}", f"--path.rootfs={root}"]
        exporter = [_EXPORTER, f"--web.listen-address=127.0.0.1:{port}", *roots]
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
        hub.note(_left(Path(spool)))
    hub.shutdown()
    rounds = {name: statistics.median(values) for name, values in hub.runs.items()}
    return {
        "agent_core_ratio": found[agent_pid][0] / taken,
        "agent_resident_bytes": found[agent_pid][1],
        "agent_round_seconds": sum(rounds.values()),
        "exporter_core_ratio": found[exporter_pid][0] / taken,
        "exporter_resident_bytes": found[exporter_pid][1],
        "exporter_round_seconds": statistics.median(scrapes),
        "collectors": len(hub.runs),
        "without_rows": sorted(name for name, count in hub.row_counts.items() if not count),
        "failed": hub.failed,
        "rounds": rounds,
    }


if __name__ == "__main__":
    if len(sys.argv) > 2:  # noqa: PLR2004  the hub, the spool and the node's files
        run_agent(*sys.argv[1:4])
    else:
        print(json.dumps(measure(float(sys.argv[1]) if len(sys.argv) > 1 else 30), indent=1))
