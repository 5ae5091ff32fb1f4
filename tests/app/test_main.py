"""The entry of the pages, inside a hub and outside of one."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

import app
from app import context as contexts
from app import data
from app.context import Context
from ledger.config import load

MAIN = Path(next(iter(app.__path__))) / "main.py"


@pytest.fixture
def empty_hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("CLUSTERLEDGER_STORE", raising=False)
    found = Context(load(store={"url": "duckdb::memory:"}))
    contexts.use(found)
    yield
    contexts.use(None)
    found.close()


def test_outside_a_hub_it_says_what_to_run() -> None:
    shown = AppTest.from_file(str(MAIN), default_timeout=60).run()
    assert [each.value for each in shown.error] == ["No hub runs in this process. Start it with `clusterledger up`."]
    assert not shown.exception


@pytest.mark.usefixtures("empty_hub")
def test_on_an_empty_store_the_first_page_says_what_to_do() -> None:
    shown = AppTest.from_file(str(MAIN), default_timeout=60).run()
    assert not shown.exception
    assert "clusterledger demo" in shown.info[0].value


@pytest.mark.usefixtures("empty_hub")
def test_while_a_page_is_made_what_can_wait_gives_way_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    here, seen = contexts.current(), []
    assert here is not None
    viewer = data.viewer

    def looked() -> data.Scope:
        with ThreadPoolExecutor(max_workers=1) as beside:
            seen.append(beside.submit(here.is_awaited).result())
        return viewer()

    monkeypatch.setattr(data, "viewer", looked)
    # A first page may take longer on a slow machine.
    monkeypatch.setattr(contexts, "_VISIT_SECONDS", 600.0)
    shown = AppTest.from_file(str(MAIN), default_timeout=60).run()
    assert not shown.exception
    assert seen
    assert all(seen)
    assert not here.is_awaited()
