"""A command line, a hub that really runs, and a small simulated cluster, on stores of their own."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest
from pydantic import SecretStr

from app import cli
from app import context as contexts
from app.context import Context
from app.services import named
from ledger.sections import Receiver as Wanted
from tests.app.incidents import Estate
from tests.app.receiver import Receiver, receiving
from tests.demo import DEMO_NOW, settings_of

_END_SECONDS = 60


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty working directory, with no configuration from outside."""
    for name in [name for name in os.environ if name.startswith("CLUSTERLEDGER_")]:
        if name not in {"CLUSTERLEDGER_GOLDEN", "CLUSTERLEDGER_REAL_DATA"}:
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


Command = Callable[..., SimpleNamespace]


@pytest.fixture
def command(home: Path, capsys: pytest.CaptureFixture[str]) -> Command:
    """Return a function that runs a command here and gives its code, stdout and stderr."""

    def run(*arguments: str) -> SimpleNamespace:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main(list(arguments))
        out, err = capsys.readouterr()
        return SimpleNamespace(code=ended.value.code, out=out, err=err)

    return run


@dataclass(frozen=True)
class RunningHub:
    """A hub in a process of its own."""

    url: str
    process: subprocess.Popen[str]
    folder: Path


@pytest.fixture
def hub(home: Path) -> Iterator[RunningHub]:
    """Return a hub on a free port of loopback, over the store in the working directory."""
    with running(home) as found:
        yield found


@pytest.fixture(scope="module")
def shared_hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHub]:
    """Return a hub that the tests of a module share; they leave it as it is."""
    with running(tmp_path_factory.mktemp("hub")) as found:
        yield found


@contextmanager
def running(folder: Path) -> Iterator[RunningHub]:
    """Start a hub in a folder, and end it."""
    with start_hub(folder) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            assert url.startswith("http://127.0.0.1:"), (url, (folder / "hub.log").read_text(encoding="utf-8"))
            yield RunningHub(url, process, folder)
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                process.wait(timeout=_END_SECONDS)


def start_hub(folder: Path, *options: str, is_log_piped: bool = False) -> subprocess.Popen[str]:
    """Start a hub; its address is the first line of its output. Its log is a file, or comes through a pipe."""
    with (folder / "hub.log").open("a", encoding="utf-8") as log:
        return subprocess.Popen(
            [sys.executable, "-c", "from app.cli import main; main()", "up", "--port", "0", *options],
            cwd=folder,
            env={**_outside(), "PYTHONPATH": str(Path(cli.__file__).parents[2])},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE if is_log_piped else log,
            text=True,
        )


def _outside() -> dict[str, str]:
    """Return the environment without settings of ours: the hub of a module starts before a test clears them."""
    return {name: value for name, value in os.environ.items() if not name.startswith("CLUSTERLEDGER_")}


@pytest.fixture(scope="session")
def demo_context(demo_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Context]:
    """Return the simulated cluster for tests that only read."""
    path = tmp_path_factory.mktemp("read") / "demo.duckdb"
    shutil.copyfile(demo_file, path)
    context = Context(settings_of(path), now=lambda: DEMO_NOW)
    yield context
    context.close()


@pytest.fixture(scope="session")
def owners_context(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Context]:
    """Return a simulated cluster of two clouds and owned hardware, for tests that only read.

    Sealed days, two days of samples, at an instant that stands still. Its seed leaves stray processes in both, and one
    that outlives the night between them.
    """
    context = Context(settings_of(tmp_path_factory.mktemp("owners") / "demo.duckdb"), now=lambda: DEMO_NOW)
    service = named("demo")
    service.run(context, service.asked({"gpus": 24, "days": 6, "seed": 8}))
    yield context
    context.close()


@pytest.fixture
def demo_copy(demo_file: Path, tmp_path: Path) -> Iterator[Context]:
    """Return the simulated cluster for a test that writes."""
    path = tmp_path / "demo.duckdb"
    shutil.copyfile(demo_file, path)
    context = Context(settings_of(path), now=lambda: DEMO_NOW)
    yield context
    context.close()


@pytest.fixture
def empty_context(tmp_path: Path) -> Iterator[Context]:
    """Return a store without a row."""
    context = Context(settings_of(tmp_path / "empty.duckdb"), now=lambda: DEMO_NOW)
    yield context
    context.close()


@contextmanager
def used(context: Context) -> Iterator[Context]:
    """Let pages read a context."""
    contexts.use(context)
    try:
        yield context
    finally:
        contexts.use(None)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """Return somebody who is told of idle incidents."""
    with receiving() as found:
        yield found


@pytest.fixture
def estate(receiver: Receiver, tmp_path: Path) -> Iterator[Estate]:
    """Return a store whose idle incidents a test decides, and of which the receiver is told."""
    wanted = Wanted(name="oncall", url=receiver.url, secret=SecretStr("hush"))
    made = Estate(tmp_path / "ledger.duckdb", wanted)
    yield made
    made.context.close()
