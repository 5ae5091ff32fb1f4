"""Answers of the API: one JSON document, also for what goes wrong."""

from collections.abc import Mapping

from starlette.responses import Response

from app.services._plain import dumps
from ledger.errors import ClusterLedgerError, ConfigError, InputError


def answer(value: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return a value as JSON."""
    return Response(dumps(value), status_code=status, media_type="application/json", headers=headers)


def refusal(
    status: int, message: str, *, hint: str = "", exit_code: int = 2, headers: Mapping[str, str] | None = None
) -> Response:
    """Return one line that says what was wrong, with what to do."""
    return answer({"error": message, "hint": hint, "exit_code": exit_code}, status, headers)


def failure(error: ClusterLedgerError) -> Response:
    """Return an error of ours; who must act decides the status."""
    status = 422 if isinstance(error, InputError | ConfigError) else 500
    return refusal(status, error.message, hint=error.hint, exit_code=error.exit_code)


def nobody_listens() -> Response:
    """Return the answer to somebody who went away before the end of what they sent."""
    return Response(status_code=400)
