"""A device that is cut: DCGM exporter tells what is of the whole board again for each of its slices."""

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from collectors.cluster.prometheus import PrometheusSettings, prometheus
from ledger.store import Store
from ledger.tables import Gpu, GpuHealthSample, GpuSample
from tests.collectors.cluster.prometheus_server import at, open_metrics, prometheus_of, series

pytestmark = pytest.mark.xdist_group("prometheus")

STEPS = range(6)
BOARD = {"UUID": "GPU-1", "gpu": "0", "modelName": "NVIDIA A100-SXM4-40GB", "Hostname": "n1"}
SLICES = {"1": "3g.20gb", "7": "1g.5gb", "9": "1g.10gb"}
WHOLE = {
    "DEV_POWER_USAGE": 409.5,
    "DEV_GPU_TEMP": 61,
    "DEV_SM_CLOCK": 1215,
    "DEV_ECC_DBE_VOL_TOTAL": 2,
    "DEV_ROW_REMAP_FAILURE": 1,
}


def told() -> Iterator[tuple[str, list[str]]]:
    for number, profile in SLICES.items():
        labels = {**BOARD, "GPU_I_ID": number, "GPU_I_PROFILE": profile}
        for name, value in WHOLE.items():
            yield series(f"DCGM_FI_{name}", labels, dict.fromkeys(STEPS, value))
        energy = {step: 5e9 + 24_570_000 * step for step in STEPS}
        yield series("DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION", labels, energy)
        # The board is told a step before its slices are.
        later = {step: 0.25 for step in STEPS if step}
        yield series("DCGM_FI_PROF_GR_ENGINE_ACTIVE", labels, later)
        yield series("DCGM_FI_DEV_FB_USED", labels, dict.fromkeys(later, 1024))


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> dict[type, pl.DataFrame]:
    """Return what one pull gives, after the store's door."""
    folder: Path = tmp_path_factory.mktemp("slices") / "it"
    with prometheus_of(folder, open_metrics(told())) as url:
        given = {"kind": "prometheus", "cluster": "c", "url": url, "delay_seconds": 0}
        (piece,) = prometheus.open(PrometheusSettings.model_validate(given))(at(-1), at(5))
    with Store.open("duckdb::memory:") as store:
        written = store.append_together(piece.frames, source="test")
        assert sum(each.rejected + each.duplicates for each in written.values()) == 0
        return {schema: store.read(schema) for schema in (Gpu, GpuSample, GpuHealthSample)}


def test_power_and_energy_of_a_board_count_once(frames: dict[type, pl.DataFrame]) -> None:
    rows = frames[GpuSample].sort("gpu_uuid", "sampled_at")
    for column in ("power_watts", "energy_joules_total", "temperature_celsius", "sm_clock_hertz"):
        assert set(rows.filter(pl.col(column).is_not_null())["gpu_uuid"]) == {"GPU-1"}, column
    board = rows.filter(gpu_uuid="GPU-1")
    assert board["energy_joules_total"].to_list() == [5e6 + 24_570 * step for step in STEPS]
    assert set(board["power_watts"]) == {409.5}
    slices = rows.filter(pl.col("gpu_uuid").str.contains("-gi-"))
    assert set(slices["evidence_quality"]) == {"A"}
    assert set(slices["memory_used_bytes"]) == {1024 * 2**20}


def test_a_board_that_is_cut_is_there_as_its_slices_and_their_rest(frames: dict[type, pl.DataFrame]) -> None:
    found = {row["gpu_uuid"]: row for row in frames[Gpu].iter_rows(named=True)}
    parts = {uuid: row["gpu_fraction"] for uuid, row in found.items()}
    assert sum(parts.values()) == 1
    # The larger of the shares of compute and of memory.
    assert parts == {
        "GPU-1-gi-1": Decimal("0.5"),
        "GPU-1-gi-7": Decimal("0.142857"),
        "GPU-1-gi-9": Decimal("0.25"),
        "GPU-1-rest": Decimal("0.107143"),
    }


def test_what_no_slice_takes_is_seen_and_nobodys(frames: dict[type, pl.DataFrame]) -> None:
    rest = frames[GpuSample].filter(gpu_uuid="GPU-1-rest").sort("sampled_at")
    assert rest["sampled_at"].to_list() == [at(step) for step in STEPS if step]
    assert set(rest["status"]) == {"ok"}
    assert set(rest["process_count"]) == {0}


def test_the_health_of_a_board_is_told_by_its_slices(frames: dict[type, pl.DataFrame]) -> None:
    rows = frames[GpuHealthSample]
    assert set(rows["gpu_uuid"]) == {"GPU-1"}
    assert rows.height == len(STEPS)
    assert set(rows["ecc_uncorrected_count_total"]) == {2.0}
    assert set(rows["is_remap_failed"]) == {True}
