"""The fake driver's answers: attribute bags, and field values in the driver's own units."""

from types import SimpleNamespace
from typing import Any, Final

import pynvml

Answer = SimpleNamespace
"""A structure with named members, as pynvml's friendly objects are."""

RECOVERY: Final = (230,)
MEMORY_TEMPERATURE: Final = 82
POWER_AVERAGE: Final = 185
COUNTED: Final = {3: "ecc_corrected", 4: "ecc_uncorrected", 142: "", 143: "remapped", 94: ""}
"""Fields that count what incidents say; '' for those of which there are none."""
FLAGS: Final = {144: "remap_pending", 145: "remap_failed"}
NVLINK: Final = frozenset({138, 139, 202, 204})
ALL_LINKS: Final = 0xFFFFFFFF
LINKS: Final = 18

_NANOSECONDS: Final = 1e9
_ALWAYS: Final = {
    74: ("power_cap", _NANOSECONDS),
    75: ("heat", _NANOSECONDS),
    269: ("sw_thermal", _NANOSECONDS),
    270: ("hw_thermal", _NANOSECONDS),
    271: ("power_brake", _NANOSECONDS),
    197: ("pcie_transmit_bytes_per_second", 1.0),
    198: ("pcie_receive_bytes_per_second", 1.0),
}
_KIBIBYTES: Final = {138: ("nvlink_bytes_per_second", 1 / 1024), 139: ("nvlink_bytes_per_second", 1 / 1024)}
_BYTES: Final = {202: ("nvlink_bytes_per_second", 1.0), 204: ("nvlink_bytes_per_second", 1.0)}


def counters(generation: str) -> dict[int, tuple[str, float]]:
    """Return, for each counter field that a generation has, the phase's value and the field's unit of it."""
    return _ALWAYS | (_BYTES if generation == "blackwell" else _KIBIBYTES)


def value(field: int, scope: int, refused: int | None, found: float | None, latency: int) -> Any:
    """Return the binding's structure for one field: a value, or the reason why there is none."""
    answer = pynvml.c_nvmlFieldValue_t()
    answer.fieldId, answer.scopeId, answer.latencyUsec = field, scope, latency
    if refused is not None or found is None:
        answer.nvmlReturn = pynvml.NVML_ERROR_NOT_SUPPORTED if refused is None else refused
        return answer
    answer.nvmlReturn = pynvml.NVML_SUCCESS
    answer.valueType = pynvml.NVML_VALUE_TYPE_UNSIGNED_LONG_LONG
    answer.value.ullVal = round(found)
    return answer
