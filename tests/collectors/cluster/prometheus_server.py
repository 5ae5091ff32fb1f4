"""Real servers that tests ask: Prometheus and VictoriaMetrics from Debian, on loopback, with what a test writes."""

import contextlib
import os
import shutil
import signal
import ssl
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tests.missing import missing
from tests.ports import free_port

_START_SECONDS = 120
_STEP = 60


def at(step: int, *, start: datetime = datetime(2026, 11, 20, 12, tzinfo=UTC)) -> datetime:
    """Return the instant of a step of a minute."""
    return datetime.fromtimestamp(start.timestamp() + step * _STEP, tz=UTC)


def series(name: str, labels: Mapping[str, str], values: Mapping[float, float | str]) -> tuple[str, list[str]]:
    """Return one series as lines of a metric, from a value for each step; a step may be broken."""
    words = ",".join(f'{label}="{value}"' for label, value in labels.items())
    return name, [f"{name}{{{words}}} {value} {at(0).timestamp() + step * _STEP}" for step, value in values.items()]


def open_metrics(told: Iterable[tuple[str, list[str]]]) -> str:
    """Return series as OpenMetrics text, those of a metric together."""
    by_name: dict[str, list[str]] = {}
    for name, lines in told:
        by_name.setdefault(name, []).extend(lines)
    parts = [f"# TYPE {name} unknown\n" + "\n".join(lines) + "\n" for name, lines in by_name.items()]
    return "".join(parts) + "# EOF\n"


@contextmanager
def prometheus_of(folder: Path, text: str = "", config: str = "", *options: str) -> Iterator[str]:
    """Start a Prometheus over samples of the past, or with a configuration of what it scrapes; yield its address."""
    if shutil.which("prometheus") is None or shutil.which("promtool") is None:
        missing("no Prometheus here: apt-get install prometheus")
    data = folder / "data"
    data.mkdir(parents=True)
    if text:
        (folder / "samples.txt").write_text(text, encoding="utf-8")
        command = ["promtool", "tsdb", "create-blocks-from", "openmetrics", str(folder / "samples.txt"), str(data)]
        made = subprocess.run(command, check=False, capture_output=True, text=True, timeout=180)
        assert made.returncode == 0, made.stderr
    (folder / "prometheus.yml").write_text(config or "global: {scrape_interval: 1m}\n", encoding="utf-8")
    port = free_port()
    arguments = [
        "prometheus",
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={data}",
        "--storage.tsdb.retention.time=100y",
        f"--web.listen-address=127.0.0.1:{port}",
        *options,
    ]
    url = f"http://127.0.0.1:{port}"
    with started(arguments, folder / "prometheus.log", f"{url}/-/ready"):
        yield url


@contextmanager
def victoria_metrics_of(folder: Path, text: str) -> Iterator[str]:
    """Start a VictoriaMetrics over the same samples; yield its address."""
    if shutil.which("victoria-metrics") is None:
        missing("no VictoriaMetrics here: apt-get install victoria-metrics")
    folder.mkdir(parents=True)
    port = free_port()
    arguments = [
        "victoria-metrics",
        f"-storageDataPath={folder / 'data'}",
        f"-httpListenAddr=127.0.0.1:{port}",
        "-retentionPeriod=100y",
        "-memory.allowedBytes=256MB",
    ]
    url = f"http://127.0.0.1:{port}"
    with started(arguments, folder / "victoria.log", f"{url}/health"):
        # Its own text form has milliseconds where OpenMetrics has seconds.
        lines = [line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#")]
        body = "".join(f"{line} {round(float(seconds) * 1000)}\n" for line, seconds in lines).encode()
        for path, data in (("api/v1/import/prometheus", body), ("internal/force_flush", None)):
            with urllib.request.urlopen(f"{url}/{path}", data=data, timeout=30) as answer:  # noqa: S310  loopback
                assert answer.status < 300
        yield url


@contextmanager
def started(arguments: list[str], log: Path, ready: str) -> Iterator[None]:
    """Run a program of its own group until the block ends; it must answer first."""
    with log.open("wb") as out:
        process = subprocess.Popen(arguments, stdout=out, stderr=out, start_new_session=True)
    try:
        until(lambda: process.poll() is None and _answers(ready), lambda: log.read_text(encoding="utf-8")[-2000:])
        yield
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(timeout=60)


def until(condition: Callable[[], bool], why: Callable[[], str], seconds: float = _START_SECONDS) -> None:
    """Wait for something that another process does."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, why()
        time.sleep(0.05)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:  # noqa: S310  loopback
            return bool(answer.status == 200)
    except OSError:
        return False


Answer = Callable[[str, bytes, Mapping[str, str]], tuple[int, Mapping[str, str], bytes]]


@contextmanager
def served(answer: Answer, tls: ssl.SSLContext | None = None) -> Iterator[str]:
    """Serve what a function of path, body and headers answers; yield the address."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            status, headers, content = answer(self.path, body, self.headers)
            self.send_response(status)
            for name, value in {**headers, "content-length": str(len(content))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def do_GET(self) -> None:
            self.do_POST()

        def handle(self) -> None:
            # A client that hangs up, or that does not trust the certificate, is no matter of the server.
            with contextlib.suppress(OSError):
                super().handle()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"{'https' if tls else 'http'}://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
