"""Large calls in a process of their own: the same rows, whatever becomes of that process."""

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest

from ledger.config import Settings
from ledger.store import Store
from queries.aside import Aside
from queries.executor import run_due
from tests.demo import DEMO_NOW

CHAIN = ("gpu_state_interval", "gpu_minute", "gpu_hour", "job_gpu_hour", "allocation_hour")


class Watched(Aside):
    """One that counts what was computed aside."""

    done: int = 0

    def compute(
        self, rollup: str, inputs: dict[str, pl.DataFrame], others: Mapping[str, object]
    ) -> pl.DataFrame | None:
        """Compute it, and count it if it was."""
        found = super().compute(rollup, inputs, others)
        self.done += found is not None
        return found


@pytest.fixture
def aside() -> Iterator[Watched]:
    made = Watched(least_rows=0)
    yield made
    made.close()


@pytest.fixture
def store(demo_file: Path, tmp_path: Path) -> Iterator[Store]:
    path = tmp_path / "ledger.duckdb"
    shutil.copyfile(demo_file, path)
    with Store.open(f"duckdb:{path}", now=lambda: DEMO_NOW) as opened:
        yield opened


def versions(store: Store) -> dict[str, dict[str, int]]:
    return {name: {key: row.version_count for key, row in store.versions(name).items()} for name in CHAIN}


def again(store: Store, aside: Aside) -> int:
    """Compute some hours anew, and return how many calls that were."""
    since = DEMO_NOW - timedelta(hours=3)
    return len(run_due(store, Settings(), since=since, everything=True, only=CHAIN, aside=aside))


def test_rows_are_the_same_as_without_it(store: Store, aside: Watched) -> None:
    run_due(store, Settings(), since=DEMO_NOW - timedelta(hours=3), everything=True, only=CHAIN)
    before = versions(store)
    assert again(store, aside) == len(CHAIN)
    assert aside.done >= len(CHAIN)
    # Rows that are equal as a set give no new version.
    assert versions(store) == before


def test_a_process_that_is_killed_costs_time_alone(store: Store, aside: Watched) -> None:
    again(store, aside)
    before, done = versions(store), aside.done
    assert aside.pid is not None
    os.kill(aside.pid, signal.SIGKILL)
    again(store, aside)
    assert aside.done > done, "another process takes its place"
    assert versions(store) == before


def test_what_fails_there_is_computed_here(aside: Watched) -> None:
    wrong = {"samples": pl.DataFrame({"no": ["such column"]})}
    assert aside.compute("gpu_minute", wrong, {}) is None
    assert wrong == {}, "what was handed over is not held"


def test_where_nothing_can_be_handed_over_it_is_computed_here(
    store: Store, aside: Watched, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_due(store, Settings(), since=DEMO_NOW - timedelta(hours=3), everything=True, only=CHAIN)
    before = versions(store)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    again(store, aside)
    assert aside.done == 0
    assert versions(store) == before


def test_small_calls_and_those_after_its_end_stay_here() -> None:
    frame = pl.DataFrame({"a": range(10)})
    small = Aside(least_rows=11)
    assert not small.takes({"a": frame})
    assert small.takes({"a": frame, "b": frame})
    small.close()
    assert not small.takes({"a": frame, "b": frame})
    assert small.compute("gpu_minute", {"samples": frame}, {}) is None
