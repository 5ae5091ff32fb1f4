"""Garbage in cycles is taken away: what is young at once, what was set aside when collections have become slow."""

import gc
import weakref
from collections.abc import Iterator

import pytest

from app.garbage import Garbage


class Ring:
    """An object that holds itself."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture(autouse=True)
def _thawed() -> Iterator[None]:
    gc.disable()
    yield
    gc.unfreeze()
    gc.enable()


def dropped(rings: list[Ring]) -> "weakref.ref[Ring]":
    """Let go of a ring, and return how to see whether it is gone."""
    return weakref.ref(rings.pop())


def test_what_nobody_reaches_is_gone_after_a_collection() -> None:
    seen = dropped([Ring()])
    assert seen() is not None
    Garbage().collect()
    assert seen() is None


def test_after_slow_collections_what_lives_is_set_aside_and_found_at_the_next_such_time() -> None:
    times = iter(range(1_000))
    garbage, rings = Garbage(lambda: float(next(times))), [Ring()]
    gc.unfreeze()
    garbage.collect()
    assert gc.get_freeze_count() > 0
    seen = dropped(rings)
    gc.collect()
    assert seen() is not None, "what is set aside is not looked at"
    garbage.collect()
    assert seen() is None


def test_quick_collections_set_nothing_aside() -> None:
    gc.unfreeze()
    Garbage(lambda: 0.0).collect()
    assert gc.get_freeze_count() == 0
