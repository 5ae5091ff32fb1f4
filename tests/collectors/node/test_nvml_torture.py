"""Whatever the driver answers, when it wants to: each device keeps one row a round, and the door takes all of them."""

import inspect
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pynvml
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from collectors.fake_nvml import Accounted, FakeNvml, Gpu, Incident, Phase, Process, Reload, Slice
from ledger.errors import SourceError, SourceMissing
from ledger.registry import Row
from tests.collectors.node.gpu_node import Node

CALLS = sorted(name.removeprefix("_") for name, _ in inspect.getmembers(FakeNvml) if name.startswith("_nvmlDevice"))
CALLS += ["nvmlGpmSampleGet", "nvmlGpmMigSampleGet", "nvmlGpmQueryDeviceSupport"]
CODES = sorted({error for name, error in inspect.getmembers(pynvml) if name.startswith("NVML_ERROR_")})
FIELDS = [f"field {number}" for number in (3, 74, 82, 94, 138, 142, 145, 185, 197, 202, 230, 269)]

times = st.floats(95, 175)
windows = st.tuples(times, st.one_of(st.floats(0.5, 60), st.just(float("inf"))))
errors = st.builds(
    lambda call, code, window: Incident("error", window[0], sum(window), call, code),
    st.sampled_from(CALLS + FIELDS + [f"metric {number}" for number in (1, 2, 20, 61)]),
    st.sampled_from(CODES),
    windows,
)
others = st.builds(
    lambda kind, code, window: Incident(kind, window[0], sum(window), code=code),
    st.sampled_from(["lost", "vanish", "energy_reset", "xid", "event", "recovery", "remap_failed", "ecc_uncorrected"]),
    st.sampled_from([1, 8, 13, 79, 0x200, 0x4000, 0x8000]),
    windows,
)
incidents = st.lists(st.one_of(errors, others), max_size=6).map(tuple)
reloads = st.lists(
    st.builds(lambda at, away: Reload(at, at + away), st.floats(101, 175), st.floats(0.1, 30)), max_size=2
).map(tuple)
cuts = st.lists(
    st.builds(
        lambda number, window: Slice(f"MIG-{number}", number % 3, start_seconds=window[0], end_seconds=sum(window)),
        st.integers(1, 9),
        windows,
    ),
    max_size=3,
    unique_by=lambda part: part.uuid,
).map(tuple)
BUSY = Phase(kernel=0.9, graphics=0.9, sw_thermal=0.5, processes=(Process(4242, kernel_ratio=0.5), Process(4343, None)))


stories = st.builds(
    lambda first, second, slices, generation: (
        Gpu("GPU-a", generation=generation, phases=(BUSY,), incidents=first, accounting=(Accounted(5151, 110, 118),)),
        Gpu("GPU-b", phases=(BUSY,), incidents=second, slices=slices, nvlink_scopes="each"),
    ),
    incidents,
    incidents,
    cuts,
    st.sampled_from(["ampere", "hopper", "blackwell"]),
)


def played(procfs: Path, gpus: tuple[Gpu, ...], away: tuple[Reload, ...]) -> list[dict[str, list[Row]]]:
    """Return the rows of nine rounds; in each, every device that was ever here has one row."""
    node = Node(procfs, gpus, health_every_rounds=2, reloads=away)
    known: set[object] = set()
    emitted = []
    for _ in range(9):
        try:
            tables = node.round()
        except (SourceError, SourceMissing):
            assert not known, "a device that was here has a row"
            node.seconds += 10
            continue
        rows = Counter(row["gpu_uuid"] for row in tables.get("gpu_sample", []))
        assert set(rows.values()) <= {1}, rows
        known |= {gpu.uuid for gpu in gpus} & set(rows)
        assert known <= set(rows)
        emitted.append(tables)
    return emitted


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(gpus=stories, away=reloads)
def test_each_device_keeps_one_row_a_round_whatever_the_driver_answers(
    small_node: Path, gpus: tuple[Gpu, ...], away: tuple[Reload, ...]
) -> None:
    tables = played(small_node / "proc", gpus, away)
    told = [row for each in tables for row in each.get("gpu_event", [])]
    keys = Counter((row["occurred_at"], row["gpu_uuid"], row["event"], row["xid_code"]) for row in told)
    assert set(keys.values()) <= {1}, "the ledger would take the second for the first"


@pytest.mark.slow
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(gpus=stories, away=reloads)
def test_the_door_takes_all_rows_whatever_the_driver_answers(
    small_node: Path,
    kept: Callable[..., dict[str, pl.DataFrame]],
    gpus: tuple[Gpu, ...],
    away: tuple[Reload, ...],
) -> None:
    for tables in played(small_node / "proc", gpus, away)[-1:]:
        kept((name, row) for name, rows in tables.items() for row in rows)
