"""A real hub whose disk is full: it says so once, and goes on by itself when there is room again."""

import resource
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import httpx2

from tests.app.conftest import start_hub

_PATIENCE_SECONDS = 180.0
_TICKS_SECONDS = 12.0
_ROOM_BYTES = 4096


def until(is_so: Callable[[], bool], what: str, told: list[str]) -> None:
    """Wait until something is so; fail with what the hub said until then."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not is_so():
        assert time.monotonic() < deadline, f"{what}\n{''.join(told)}"
        time.sleep(0.1)


def test_a_full_disk_is_one_line_and_the_hub_recovers(home: Path) -> None:
    (home / "clusterledger.toml").write_text("[hub]\nrollup_every_seconds = 5\n", encoding="utf-8")
    said: list[str] = []
    with start_hub(home, is_log_piped=True) as hub:
        assert hub.stdout is not None
        assert hub.stderr is not None
        # A log in a file could not be written either.
        reader = threading.Thread(target=said.extend, args=(hub.stderr,))
        reader.start()
        try:
            url = hub.stdout.readline().strip()
            limits = resource.prlimit(hub.pid, resource.RLIMIT_FSIZE)
            resource.prlimit(hub.pid, resource.RLIMIT_FSIZE, (_ROOM_BYTES, limits[1]))
            until(lambda: any("the store takes no rows" in line for line in said), "nothing was said", said)
            time.sleep(_TICKS_SECONDS)
            text = "".join(said)
            assert text.count("the store takes no rows") == 1
            assert "free space on the disk" in text
            assert "Traceback" not in text
            assert httpx2.get(f"{url}/api/v1/health", trust_env=False, timeout=30).status_code == 200
            resource.prlimit(hub.pid, resource.RLIMIT_FSIZE, limits)
            until(lambda: any("jobs run again" in line for line in said), "no job ran again", said)
            assert "Traceback" not in "".join(said)
        finally:
            hub.send_signal(signal.SIGTERM)
            assert hub.wait(timeout=_PATIENCE_SECONDS) == 0
            reader.join()
