"""Calls of agents pass by the application of the pages, and by no guard."""

from collections.abc import Iterator

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

from app.ahead import Ahead
from app.guard import headers


async def told(request: Request) -> Response:
    return PlainTextResponse((await request.body()).decode())


async def page(request: Request) -> Response:
    return PlainTextResponse(f"page {request.url.path}")


@pytest.fixture
def client() -> Iterator[TestClient]:
    pages = Starlette(routes=[Route("/{rest:path}", page, methods=["GET", "POST"])])
    with TestClient(Ahead(pages, Route("/api/take", told, methods=["POST"]), {"testserver"})) as found:
        yield found


def test_the_route_is_answered_ahead_and_nothing_else_is(client: TestClient) -> None:
    assert client.post("/api/take", content=b"rows").text == "rows"
    assert client.post("/api/take/more", content=b"rows").text == "page /api/take/more"
    assert client.get("/api/take").text == "page /api/take"


def test_what_is_answered_ahead_is_guarded(client: TestClient) -> None:
    assert client.post("/api/take", content=b"", headers={"Host": "elsewhere.example"}).status_code == 403
    foreign = client.post("/api/take", content=b"", headers={"Origin": "https://elsewhere.example"})
    assert foreign.status_code == 403
    assert headers().items() <= client.post("/api/take", content=b"").headers.items()
