"""One call to a receiver: how it went, and for how long to wait after it failed."""

import time
from contextlib import suppress
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Final, NamedTuple

import httpx2

from app.receivers import Call
from collectors._patience import asked_seconds
from collectors._tls import trouble

_FIRST_WAIT: Final = timedelta(seconds=30)
_LONGEST_WAIT: Final = timedelta(hours=1)
_SHOWN: Final = 200
_LONGEST_READ_SECONDS: Final = 10.0
"""Of an answer that says no: its first words are enough."""

# Less of it, or another part of it, may be taken.
_OF_CONTENT: Final = frozenset(
    {HTTPStatus.BAD_REQUEST, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.UNPROCESSABLE_ENTITY}
)


class Problem(NamedTuple):
    """Why a receiver was not told, how long it asks to wait, and whether it refuses only what it was to be told."""

    message: str
    asked_seconds: float = 0.0
    is_of_content: bool = False


def wait_after(failures: int, asked: float) -> timedelta:
    """Return how long to wait after a call that failed after so many before: doubled each time, or what was asked."""
    doubled: timedelta = min(_FIRST_WAIT * 2 ** min(failures, 10), _LONGEST_WAIT)
    longest: timedelta = max(doubled, min(timedelta(seconds=asked), _LONGEST_WAIT))
    return longest


def posted(client: httpx2.Client, call: Call, now: datetime) -> Problem | None:
    """Make a call; return what went wrong, or None: whoever says yes has it, whatever follows that."""
    try:
        with client.stream("POST", call.url, content=call.body, headers=dict(call.headers)) as answer:
            if answer.is_success:
                return None
            said = f"HTTP {answer.status_code}: {_words(answer)}"
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        wrong = trouble(error)
        return Problem(wrong[0] if wrong else f"{type(error).__name__}: {error}")
    asked = asked_seconds(answer.headers.get("Retry-After", ""), now)
    return Problem(said, asked, is_of_content=answer.status_code in _OF_CONTENT)


def _words(answer: httpx2.Response) -> str:
    """Return the first words of an answer, which may have no end, or none that comes in time."""
    deadline, content = time.monotonic() + _LONGEST_READ_SECONDS, b""
    with suppress(httpx2.HTTPError):
        for part in answer.iter_bytes():
            content += part
            if len(content) >= _SHOWN or time.monotonic() > deadline:
                break
    return content.decode(errors="replace")[:_SHOWN]
