"""How often one node may call the hub."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.testclient import TestClient

from app.api._pace import Pace
from app.context import Context
from app.hub import routes
from app.services import named
from collectors.wire import encode
from ledger.sections import HubSettings


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_minutes_calls_may_come_at_once_and_then_one_at_a_time() -> None:
    clock = Clock()
    pace = Pace(6, clock)
    assert [pace.wait("a") for _ in range(7)] == [0, 0, 0, 0, 0, 0, 10]
    assert pace.wait("b") == 0, "another node has a budget of its own"
    clock.now += 4
    assert pace.wait("a") == 6
    clock.now += 6
    assert [pace.wait("a"), pace.wait("a")] == [0, 10]
    clock.now += 3600
    assert [pace.wait("a") for _ in range(7)] == [0, 0, 0, 0, 0, 0, 10]


@given(limit=st.integers(6, 600), steps=st.lists(st.floats(0, 5), min_size=1, max_size=300))
def test_no_minute_has_more_than_twice_the_limit_and_who_waits_is_taken(limit: int, steps: list[float]) -> None:
    clock = Clock()
    pace = Pace(limit, clock)
    taken = []
    for step in steps:
        clock.now += step
        seconds = pace.wait("a")
        if seconds:
            clock.now += seconds
            assert pace.wait("a") == 0
        taken.append(clock.now)
    for first, after in itertools.combinations(range(len(taken)), 2):
        span = taken[after] - taken[first]
        assert after - first + 1 <= limit + span * limit / 60 + 1.001


def test_callers_who_stay_away_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.api._pace._MOST_CALLERS", 10)
    clock = Clock()
    pace = Pace(60, clock)
    for number in range(1000):
        pace.wait(number)
        clock.now += 0.5
    assert len(pace._whole_at) <= 11


@pytest.fixture
def client(empty_context: Context) -> TestClient:
    settings = empty_context.settings
    hub = HubSettings(**{**settings.hub.model_dump(), "ingest_calls_per_minute": 6})
    empty_context.settings = settings.model_copy(update={"hub": hub})
    return TestClient(Starlette(routes=list(routes(empty_context, "key"))))


def token(context: Context, node: str) -> str:
    tokens = named("tokens")
    (made,) = tokens.run(context, tokens.asked({"action": "create", "node": node}))  # type: ignore[misc]
    return str(made["token"])


def post(client: TestClient, key: str, node: str) -> tuple[int, str]:
    batch = encode(f"{node}-{next(NUMBERS)}", node, "b", {})
    answer = client.post("/api/v1/ingest", content=batch, headers={"Authorization": f"Bearer {key}"})
    if answer.status_code == 429:
        assert answer.json()["error"] == f"node {node}: found more than 6 ingest calls in a minute"
        assert "hub.ingest_calls_per_minute" in answer.json()["hint"]
    return answer.status_code, answer.headers.get("retry-after", "")


NUMBERS = itertools.count()


def test_a_node_that_calls_without_end_is_asked_to_come_later(client: TestClient, empty_context: Context) -> None:
    one, other = token(empty_context, "n1"), token(empty_context, "n2")
    for _ in range(6):
        assert post(client, one, "n1") == (200, "")
    status, seconds = post(client, one, "n1")
    assert status == 429
    assert 1 <= int(seconds) <= 10
    assert post(client, other, "n2") == (200, "")
    assert post(client, token(empty_context, "n1"), "n1")[0] == 429, "a second token of a node is no second budget"


def test_behind_a_token_for_any_node_each_node_has_its_own_budget(client: TestClient, empty_context: Context) -> None:
    key = token(empty_context, "*")
    for _ in range(6):
        assert post(client, key, "n1") == (200, "")
        assert post(client, key, "n2") == (200, "")
    assert post(client, key, "n1")[0] == 429
    assert post(client, key, "n3") == (200, "")


def test_the_default_lets_an_agent_catch_up() -> None:
    """An agent calls 6 times a minute; after a day away it has about 50 batches of 20,000 rows to send."""
    assert HubSettings().ingest_calls_per_minute >= 6 + 50 * 2
