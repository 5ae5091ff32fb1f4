"""What cached reads are told of changes."""

import pytest

from app import context as contexts
from app.context import Context
from ledger.config import load


@pytest.mark.parametrize(("is_served", "versions"), [(True, 6), (False, 2)])
def test_what_goes_on_growing_is_read_again_once_in_a_step_by_a_hub_that_has_time(
    is_served: bool, versions: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = [1_000.0]
    monkeypatch.setattr(contexts.time, "monotonic", lambda: at[0])
    here = Context(load(store={"url": "duckdb::memory:"}))
    first = here.version({"gpu_sample"})
    seen = set()
    for _ in range(240):
        here.grown({"gpu_sample"})
        at[0] += 0.25
        if is_served:
            here.say_growth()
        seen.add(here.version({"gpu_sample"}))
        assert here.version({"job"}) == here.version({"job"})
    # The first at once, and then one in ten seconds; in thirty where only pages ask.
    assert first not in seen
    assert len(seen) == versions
    here.changed({"gpu_sample"})
    assert here.version({"gpu_sample"}) not in seen
