"""Whether the hub is up."""

from importlib.metadata import PackageNotFoundError, version

from starlette.requests import Request
from starlette.responses import Response

from app.api._answers import answer


def release() -> str:
    """Return the version of this package; '' where it runs from a bare checkout."""
    try:
        return version("clusterledger")
    except PackageNotFoundError:
        return ""


async def health(request: Request) -> Response:
    """Answer that the hub is up; nothing of the store is told to strangers."""
    del request
    return answer({"status": "ok", "version": release()})
