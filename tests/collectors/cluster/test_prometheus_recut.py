"""A board that is cut, cut anew and whole again: whatever is asked when, its past stays as it was."""

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from app.context import Context
from app.services._pulling import pull
from collectors.cluster._configured import Configured
from collectors.cluster.prometheus import PrometheusSettings, prometheus
from ledger.config import load
from ledger.tables import Gpu, GpuSample
from tests.collectors.cluster.prometheus_server import at, open_metrics, prometheus_of, series

pytestmark = pytest.mark.xdist_group("prometheus")

END = 360
BOARD = {"UUID": "GPU", "gpu": "0", "Hostname": "n1", "modelName": "NVIDIA A100-SXM4-40GB"}
CUTS = {
    (0, 60): (),
    (60, 120): (("1", "3g.20gb"),),
    (120, 180): (("1", "3g.20gb"), ("2", "1g.5gb")),
    (180, 240): (("1", "1g.5gb"),),
    (240, 300): (),
    (300, END): (("1", "3g.20gb"),),
}
SEVENTH = Decimal("0.142857")
EXPECTED = [
    ("GPU", 0, 60, Decimal(1)),
    ("GPU", 240, 300, Decimal(1)),
    ("GPU-gi-1", 60, 180, Decimal("0.5")),
    ("GPU-gi-1", 180, 240, SEVENTH),
    ("GPU-gi-1", 300, None, Decimal("0.5")),
    ("GPU-gi-2", 120, 180, SEVENTH),
    ("GPU-rest", 60, 120, Decimal("0.5")),
    ("GPU-rest", 120, 180, Decimal("0.5") - SEVENTH),
    ("GPU-rest", 180, 240, 1 - SEVENTH),
    ("GPU-rest", 300, None, Decimal("0.5")),
]


def board() -> Iterator[tuple[str, list[str]]]:
    """Tell what an exporter tells: the metrics of a whole board, and of a cut one those of its slices."""
    for (begin, end), slices in CUTS.items():
        steps = range(begin, end)
        parts = [{"GPU_I_ID": number, "GPU_I_PROFILE": profile} for number, profile in slices] or [{}]
        for part in parts:
            yield series("DCGM_FI_DEV_FB_USED", BOARD | part, dict.fromkeys(steps, 10))
            yield series("DCGM_FI_DEV_POWER_USAGE", BOARD | part, dict.fromkeys(steps, 300))


def joined(told: Iterator[tuple[str, list[str]]]) -> Iterator[tuple[str, list[str]]]:
    """Put samples of one series together, in the order of time."""
    found: dict[tuple[str, str], list[str]] = {}
    for name, lines in told:
        for line in lines:
            found.setdefault((name, line.partition("}")[0]), []).append(line)
    yield from ((name, lines) for (name, _), lines in found.items())


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with prometheus_of(tmp_path_factory.mktemp("recut") / "it", open_metrics(joined(board()))) as address:
        yield address


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Context]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CLUSTERLEDGER_STORE", raising=False)
    context = Context(load(store={"url": "duckdb::memory:"}), now=lambda: at(END))
    yield context
    context.close()


def devices(context: Context) -> list[tuple[str, object, object, Decimal]]:
    rows = context.store.read(Gpu).sort("gpu_uuid", "exists_start")
    return rows.select("gpu_uuid", "exists_start", "exists_end", "gpu_fraction").rows()


WANTED = [(uuid, at(begin), None if end is None else at(end), part) for uuid, begin, end, part in EXPECTED]


@pytest.mark.parametrize("every", [1, 23, 100, END])
def test_each_cut_begins_when_it_was_seen_and_changes_nothing_before(url: str, here: Context, every: int) -> None:
    source = configured(url)
    stops = [*range(every, END, every), END] if every > 1 else [*range(58, 62), *range(119, 122), *range(179, 182), END]
    for index, stop in enumerate(stops):
        outcome = pull(here, source, at(-1) if index == 0 else None, at(stop))
        assert (outcome.error, outcome.rejected) == (None, 0)
    assert devices(here) == WANTED
    parts = here.store.read(Gpu)
    for step in range(0, END, 5):
        is_there = (pl.col("exists_start") <= at(step)) & (
            pl.col("exists_end").is_null() | (pl.col("exists_end") > at(step))
        )
        assert parts.filter(is_there)["gpu_fraction"].sum() == 1, step
    rests = here.store.read(GpuSample).filter(gpu_uuid="GPU-rest")["sampled_at"]
    assert rests.sort().to_list() == [at(step) for step in range(END) if 60 <= step < 240 or step >= 300]


@pytest.mark.parametrize("since", [-1, 30, 100, 200, 310])
def test_asking_again_for_a_time_before_a_cut_rewrites_nothing(url: str, here: Context, since: int) -> None:
    source = configured(url)
    pull(here, source, at(-1), at(END))
    assert devices(here) == WANTED
    for until in (since + 20, END):
        outcome = pull(here, source, at(since), at(until))
        assert (outcome.error, outcome.rejected) == (None, 0)
        assert devices(here) == WANTED


def test_a_time_before_the_first_pull_is_added_without_a_seam(url: str, here: Context) -> None:
    source = configured(url)
    pull(here, source, at(150), at(END))
    first = devices(here)
    assert first[-1] == WANTED[-1]
    pull(here, source, at(-1), at(100))
    pull(here, source, at(100), at(END))
    found = devices(here)
    assert [row for row in found if row in first] == first, "what was known stays"
    for step in range(END):
        there = [part for _, start, end, part in found if start <= at(step) and (end is None or end > at(step))]  # type: ignore[operator]
        assert sum(there) == 1, step


def configured(url: str) -> Configured:
    given = {"kind": "prometheus", "cluster": "c", "url": url, "delay_seconds": 0}
    return Configured("p", prometheus, PrometheusSettings.model_validate(given))
