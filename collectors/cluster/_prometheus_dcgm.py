"""DCGM exporter: which field fills which column, and what its unit is.

Units: memory in MiB, energy in mJ, clocks in MHz, utilisation in percent, profiling fields as shares of 1, link
rates in bytes per second.

Left out, because what they mean is disputed: DCGM_FI_DEV_NVLINK_BANDWIDTH_TOTAL (a rate that is called a counter,
in MB/s or KB/s), DCGM_FI_DEV_*_VIOLATION (microseconds by the exporter's list, nanoseconds by the driver).

Source: etc/default-counters.csv and dcp-metrics-included.csv of dcgm-exporter; dcgm_fields.h of DCGM.
"""

from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from collectors.cluster._cuts import instance_name
from collectors.cluster._prometheus_table import NAME, Key, Labels, Metric, Target
from ledger.tables import GpuHealthSample, GpuSample

_MIB: Final = 2.0**20
_MHZ: Final = 1e6
_PERCENT: Final = 100.0

UUID: Final = "UUID"
INSTANCE: Final = "GPU_I_ID"
PROFILE: Final = "GPU_I_PROFILE"

_BOARD: Final = "board"

_INT32_BLANK: Final = 0x7FFFFFF0
_INT32_MOST: Final = 0x7FFFFFFF
_INT64_BLANK: Final = float(0x7FFFFFFFFFFFFFF0)
_DOUBLE_BLANK: Final = 140_737_488_355_328.0
_BLANK_WORDS: Final = 4
"""Blank, not found, not supported, not permitted."""

DEVICE_MARKS: Final = (
    "DCGM_FI_DEV_FB_USED",
    "DCGM_FI_DEV_GPU_UTIL",
    "DCGM_FI_DEV_GPU_TEMP",
    "DCGM_FI_PROF_GR_ENGINE_ACTIVE",
)
"""Metrics that each device has, in the order in which one of them is asked for."""


def gpu_uuid(labels: Labels) -> str:
    """Return a device's UUID; a slice's is its device's with the number of its GPU instance."""
    uuid, instance = labels.get(UUID, ""), labels.get(INSTANCE, "")
    return instance_name(uuid, instance) if uuid and instance else uuid


def _device(labels: Labels, part: str) -> Key | None:
    """Return whose row it is: what is of the whole board is told again for each of its slices, and is the board's."""
    uuid = labels.get(UUID, "") if part == _BOARD else gpu_uuid(labels)
    return (uuid,) if uuid else None


def without_blanks(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return values with NaN in the place of the numbers by which DCGM says that it has none."""
    blank = values >= _INT64_BLANK
    blank |= (values >= _INT32_BLANK) & (values <= _INT32_MOST)
    blank |= (values >= _DOUBLE_BLANK) & (values < _DOUBLE_BLANK + _BLANK_WORDS)
    return np.where(blank, np.nan, values) if blank.any() else values


def _sample(frame: pl.DataFrame) -> pl.DataFrame:
    """Return rows with a status, the quality of their evidence, and the device's memory."""
    none = pl.lit(None, dtype=pl.Float64)
    seen = {name: pl.col(name) if name in frame.columns else none for name in _READ}
    parts = seen["memory_used_bytes"] + seen["_free_bytes"] + seen["_reserved_bytes"].fill_null(0.0)
    is_profiled = seen["graphics_active_ratio"].is_not_null() | seen["sm_active_ratio"].is_not_null()
    quality = (
        pl.when(is_profiled)
        .then(pl.lit("A"))
        .when(seen["kernel_active_ratio"].is_not_null())
        .then(pl.lit("C"))
        .when(seen["power_watts"].is_not_null())
        .then(pl.lit("D"))
        .otherwise(pl.lit("X"))
    )
    return frame.with_columns(
        status=pl.lit("ok"),
        evidence_quality=quality,
        memory_total_bytes=pl.coalesce(seen["memory_total_bytes"], parts),
        power_limit_watts=pl.coalesce(seen["power_limit_watts"], seen["_management_limit_watts"]),
    )


def _health(frame: pl.DataFrame) -> pl.DataFrame:
    """Return rows with the pages that were retired for either reason, as NVML's collector counts them.

    Nulls: where only one of the two reasons is scraped, since a part is not the sum.
    """
    parts = ("_retired_single_count", "_retired_double_count")
    if not set(parts) <= set(frame.columns):
        return frame
    return frame.with_columns(retired_page_count=pl.col(parts[0]) + pl.col(parts[1]))


_READ: Final = (
    *("memory_used_bytes", "memory_total_bytes", "_free_bytes", "_reserved_bytes"),
    *("graphics_active_ratio", "sm_active_ratio", "kernel_active_ratio", "power_watts"),
    *("power_limit_watts", "_management_limit_watts"),
)

GPU_SAMPLE: Final = Target(
    exporter="DCGM exporter",
    schema=GpuSample,
    names=("gpu_uuid",),
    key=_device,
    blank=without_blanks,
    finish=_sample,
    metrics=(
        Metric("DCGM_FI_DEV_GPU_UTIL", "kernel_active_ratio", per=_PERCENT),
        Metric("DCGM_FI_DEV_MEM_COPY_UTIL", "memory_active_ratio", per=_PERCENT),
        Metric("DCGM_FI_DEV_ENC_UTIL", "encoder_active_ratio", per=_PERCENT, part=_BOARD),
        Metric("DCGM_FI_DEV_DEC_UTIL", "decoder_active_ratio", per=_PERCENT, part=_BOARD),
        Metric("DCGM_FI_PROF_GR_ENGINE_ACTIVE", "graphics_active_ratio"),
        Metric("DCGM_FI_PROF_SM_ACTIVE", "sm_active_ratio"),
        Metric("DCGM_FI_PROF_SM_OCCUPANCY", "sm_occupancy_ratio"),
        Metric("DCGM_FI_PROF_PIPE_TENSOR_ACTIVE", "tensor_active_ratio"),
        Metric("DCGM_FI_PROF_PIPE_TENSOR_HMMA_ACTIVE", "tensor_half_active_ratio"),
        Metric("DCGM_FI_PROF_PIPE_TENSOR_IMMA_ACTIVE", "tensor_integer_active_ratio"),
        Metric("DCGM_FI_PROF_PIPE_TENSOR_DFMA_ACTIVE", "tensor_double_active_ratio"),
        Metric("DCGM_FI_PROF_PIPE_FP32_ACTIVE", "single_active_ratio"),
        Metric("DCGM_FI_PROF_DRAM_ACTIVE", "dram_active_ratio"),
        Metric("DCGM_FI_DEV_FB_USED", "memory_used_bytes", times=_MIB),
        Metric("DCGM_FI_DEV_FB_TOTAL", "memory_total_bytes", times=_MIB),
        Metric("DCGM_FI_DEV_FB_FREE", "_free_bytes", times=_MIB),
        Metric("DCGM_FI_DEV_FB_RESERVED", "_reserved_bytes", times=_MIB),
        Metric("DCGM_FI_DEV_POWER_USAGE", "power_watts", part=_BOARD),
        Metric("DCGM_FI_DEV_ENFORCED_POWER_LIMIT", "power_limit_watts", part=_BOARD),
        Metric("DCGM_FI_DEV_POWER_MGMT_LIMIT", "_management_limit_watts", part=_BOARD),
        Metric("DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION", "energy_joules_total", per=1000.0, part=_BOARD),
        Metric("DCGM_FI_DEV_GPU_TEMP", "temperature_celsius", part=_BOARD),
        Metric("DCGM_FI_DEV_MEMORY_TEMP", "memory_temperature_celsius", part=_BOARD),
        Metric("DCGM_FI_DEV_SM_CLOCK", "sm_clock_hertz", times=_MHZ, part=_BOARD),
        Metric("DCGM_FI_DEV_MAX_SM_CLOCK", "sm_clock_max_hertz", times=_MHZ, part=_BOARD),
        Metric("DCGM_FI_DEV_MEM_CLOCK", "memory_clock_hertz", times=_MHZ, part=_BOARD),
        Metric("DCGM_FI_DEV_PSTATE", "performance_state_index", part=_BOARD),
        Metric("DCGM_FI_DEV_CLOCK_THROTTLE_REASONS", "clock_event_reasons_bitmask", part=_BOARD),
        Metric("DCGM_FI_DEV_CLOCKS_EVENT_REASONS", "clock_event_reasons_bitmask", part=_BOARD),
        Metric("DCGM_FI_PROF_PCIE_TX_BYTES", "pcie_transmit_bytes_per_second"),
        Metric("DCGM_FI_PROF_PCIE_RX_BYTES", "pcie_receive_bytes_per_second"),
        Metric("DCGM_FI_PROF_NVLINK_TX_BYTES", "nvlink_transmit_bytes_per_second"),
        Metric("DCGM_FI_PROF_NVLINK_RX_BYTES", "nvlink_receive_bytes_per_second"),
    ),
)

_OF_BOARDS: Final = frozenset(each.name for each in GPU_SAMPLE.metrics if each.part == _BOARD)

OWN_COLUMNS: Final = tuple(
    each.column for each in GPU_SAMPLE.metrics if each.part != _BOARD and not each.column.startswith("_")
)
"""What a slice has of its own; the other columns are of its whole board."""


def is_of_board(labels: Labels) -> bool:
    """Tell whether a series is of a whole board, whichever of its slices tells it."""
    return labels.get(NAME, "") in _OF_BOARDS


GPU_HEALTH: Final = Target(
    exporter="DCGM exporter",
    schema=GpuHealthSample,
    names=("gpu_uuid",),
    # A slice has no health of its own.
    key=lambda labels, part: _device(labels, part or _BOARD),
    blank=without_blanks,
    finish=_health,
    metrics=(
        Metric("DCGM_FI_DEV_ECC_SBE_VOL_TOTAL", "ecc_corrected_count_total"),
        Metric("DCGM_FI_DEV_ECC_DBE_VOL_TOTAL", "ecc_uncorrected_count_total"),
        Metric("DCGM_FI_DEV_CORRECTABLE_REMAPPED_ROWS", "remapped_corrected_count"),
        Metric("DCGM_FI_DEV_UNCORRECTABLE_REMAPPED_ROWS", "remapped_uncorrected_count"),
        Metric("DCGM_FI_DEV_ROW_REMAP_PENDING", "is_remap_pending"),
        Metric("DCGM_FI_DEV_ROW_REMAP_FAILURE", "is_remap_failed"),
        Metric("DCGM_FI_DEV_RETIRED_SBE", "_retired_single_count"),
        Metric("DCGM_FI_DEV_RETIRED_DBE", "_retired_double_count"),
        Metric("DCGM_FI_DEV_PCIE_REPLAY_COUNTER", "pcie_replay_count_total"),
        Metric("DCGM_FI_DEV_PCIE_LINK_GEN", "pcie_link_generation_index"),
        Metric("DCGM_FI_DEV_PCIE_LINK_WIDTH", "pcie_link_width_count"),
        Metric("DCGM_FI_DEV_PERSISTENCE_MODE", "is_persistence_enabled"),
        Metric("DCGM_FI_DEV_ECC_CURRENT", "is_ecc_enabled"),
        Metric("DCGM_FI_DEV_MIG_MODE", "is_mig_enabled"),
    ),
)

XID: Final = "DCGM_FI_DEV_XID_ERRORS"

TARGETS: Final = (GPU_SAMPLE, GPU_HEALTH)
