"""Addresses of the API where nothing is: without this the pages answer them."""

from starlette.requests import Request
from starlette.responses import Response

from app.api._answers import refusal

_ADDRESSES = (
    "GET /api/v1/health, GET /api/v1/agent, POST /api/v1/ingest, GET /api/v1/services, POST /api/v1/services/NAME"
)


async def unknown(request: Request) -> Response:
    """Say which addresses there are."""
    return refusal(404, f"api: found no {request.method} {request.url.path}", hint=f"there are {_ADDRESSES}")
