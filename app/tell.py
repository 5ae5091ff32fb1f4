"""One call to a receiver: how it went, and for how long to wait after it failed."""

from datetime import datetime, timedelta
from typing import Final

import httpx2

from app.receivers import Call
from collectors._patience import asked_seconds
from collectors._tls import trouble

_FIRST_WAIT: Final = timedelta(seconds=30)
_LONGEST_WAIT: Final = timedelta(hours=1)


def wait_after(failures: int, asked: float) -> timedelta:
    """Return how long to wait after a call that failed after so many before: doubled each time, or what was asked."""
    doubled: timedelta = min(_FIRST_WAIT * 2 ** min(failures, 10), _LONGEST_WAIT)
    longest: timedelta = max(doubled, min(timedelta(seconds=asked), _LONGEST_WAIT))
    return longest


def posted(client: httpx2.Client, call: Call, now: datetime) -> tuple[str, float] | None:
    """Make a call; return what went wrong and for how long the receiver asks to wait, or None."""
    try:
        answer = client.post(call.url, content=call.body, headers=dict(call.headers))
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        wrong = trouble(error)
        return (wrong[0] if wrong else f"{type(error).__name__}: {error}"), 0.0
    if answer.is_success:
        return None
    return f"HTTP {answer.status_code}: {answer.text[:200]}", asked_seconds(answer.headers.get("Retry-After", ""), now)
