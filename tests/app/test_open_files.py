"""How long connections stay open without a question, by how many files a hub may open."""

import resource
import subprocess
import sys

import pytest

_ASK = "import resource; from app.hub import idle_seconds; print(idle_seconds(), resource.getrlimit(resource.RLIMIT_NOFILE)[0])"  # noqa: E501  one program
_, _HARD = resource.getrlimit(resource.RLIMIT_NOFILE)
_ALL = min(_HARD, 65_536) if _HARD != resource.RLIM_INFINITY else 65_536


@pytest.mark.parametrize(
    ("hard", "seconds", "then"), [(4_096, 5, 4_096), (_HARD, 75 if _ALL >= 16_384 else 5, _ALL)], ids=["few", "all"]
)
def test_connections_stay_open_between_rounds_where_there_is_room(hard: int, seconds: int, then: int) -> None:
    said = subprocess.run(
        [sys.executable, "-c", _ASK],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard)),
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    ).stdout
    assert said.split() == [str(seconds), str(then)]
