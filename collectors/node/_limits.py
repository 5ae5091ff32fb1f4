"""Between which ends a value of an accelerator can be: what lies beyond is a broken sensor, or a wrong unit."""

from collections.abc import Mapping
from typing import Final

LIMITS: Final[Mapping[str, tuple[float, float]]] = {
    "kernel_active_ratio": (0, 1),
    "memory_active_ratio": (0, 1),
    "encoder_active_ratio": (0, 1),
    "decoder_active_ratio": (0, 1),
    "jpeg_active_ratio": (0, 1),
    "ofa_active_ratio": (0, 1),
    "graphics_active_ratio": (0, 1),
    "sm_active_ratio": (0, 1),
    "tensor_active_ratio": (0, 1),
    "dram_active_ratio": (0, 1),
    "memory_used_bytes": (0, 2**44),
    "memory_total_bytes": (0, 2**44),
    "power_watts": (0, 2_000),
    "power_limit_watts": (0, 2_000),
    "energy_joules_total": (0, 2**63),
    "temperature_celsius": (-50, 200),
    "memory_temperature_celsius": (-50, 200),
    "sm_clock_hertz": (0, 10e9),
    "sm_clock_max_hertz": (0, 10e9),
    "memory_clock_hertz": (0, 20e9),
    "pcie_transmit_bytes_total": (0, 2**63),
    "pcie_receive_bytes_total": (0, 2**63),
    "nvlink_transmit_bytes_total": (0, 2**63),
    "nvlink_receive_bytes_total": (0, 2**63),
}
"""The columns of a sample that a source without profiling may tell."""

ENDS: Final[Mapping[str, tuple[float, float]]] = {
    **LIMITS,
    "module_power_watts": (0, 10_000),
    "memory_power_watts": (0, 2_000),
    "pcie_transmit_bytes_per_second": (0, 1e13),
    "pcie_receive_bytes_per_second": (0, 1e13),
    "nvlink_transmit_bytes_per_second": (0, 1e14),
    "nvlink_receive_bytes_per_second": (0, 1e14),
}
"""The same, and those that profiling tells besides."""


def is_possible(column: str, value: float) -> bool:
    """Tell whether a value can be one of its column."""
    low, high = ENDS.get(column, (float("-inf"), float("inf")))
    return low <= value <= high
