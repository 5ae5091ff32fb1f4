"""The one batch of field values that a device is asked for in a round, and what its answers are in base units."""

from typing import Any, Final

from collectors.node._nvml_driver import ABSURD, ALL_LINKS, FOR_GOOD, Driver, Field

_MILLI: Final = 1000
_NANOSECONDS: Final = 1_000_000_000
_KIBIBYTE: Final = 1024
_LINKS: Final = 18

_MEMORY_TEMPERATURE: Final = (82, 0)
_PCIE_BYTES: Final = {"pcie_transmit_bytes_total": (197, 0), "pcie_receive_bytes_total": (198, 0)}
_THROTTLE_NANOSECONDS: Final = {
    "power_cap_seconds_total": (74, 0),
    "sw_thermal_throttle_seconds_total": (269, 0),
    "hw_thermal_throttle_seconds_total": (270, 0),
    "power_brake_throttle_seconds_total": (271, 0),
}
# Drivers before 570 tell only how long heat slowed the clock, not who slowed it.
_HEAT: Final = (75, 0)
_HEAT_BY_CAUSE: Final = ((269, 0), (270, 0))
# What is told by a function too, in nanoseconds as well, where a field is not: the binding's name of the policy.
_POLICIES: Final = {(74, 0): "NVML_PERF_POLICY_POWER", _HEAT: "NVML_PERF_POLICY_THERMAL"}
# The average draw, of the module that carries processor and GPU, and of the memory alone.
_POWER_MILLIWATTS: Final = {"module_power_watts": (185, 1), "memory_power_watts": (185, 2)}

# Blackwell counts bytes, older devices KiB, under other numbers.
_NVLINK: Final = {
    "nvlink_transmit_bytes_total": ((202, 1), (138, _KIBIBYTE)),
    "nvlink_receive_bytes_total": ((204, 1), (139, _KIBIBYTE)),
}

REPLAYS: Final = (94, 0)
RECOVERY: Final = (230, 0)
ECC_CORRECTED: Final = (3, 0)
ECC_UNCORRECTED: Final = (4, 0)
REMAPPED: Final = ((142, 0), (143, 0), (144, 0), (145, 0))

_FAST: Final = (
    _MEMORY_TEMPERATURE,
    *_PCIE_BYTES.values(),
    *_THROTTLE_NANOSECONDS.values(),
    *_POWER_MILLIWATTS.values(),
)
_SLOW: Final = (REPLAYS, RECOVERY, ECC_CORRECTED, ECC_UNCORRECTED, *REMAPPED)

# Narrow or wrapping counters are not among them: that these fall means a reset, and nothing else.
WIDE_COUNTERS: Final = ("energy_joules_total", *_THROTTLE_NANOSECONDS, *_NVLINK)


class Batch:
    """One device's field values, read together once in a round."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self.found: dict[Field, float] = {}

    def read(self, handle: Any, *, with_health: bool) -> None:
        """Read what the round needs; with health, what changes seldom too.

        Raises: DeviceLost: the device is gone. DriverGone: the driver is.
        """
        links = [field for choices in _NVLINK.values() for number, _ in choices for field in self._links(number)]
        heat = self._heat()
        self.found = self._driver.fields(handle, [*_FAST, *heat, *links, *(_SLOW if with_health else ())])
        if not heat and (heat := self._heat()):
            self.found |= self._driver.fields(handle, heat)
        for field, policy in _POLICIES.items():
            if (field != _HEAT or heat) and self._lacks(field):
                number = getattr(self._driver.library, policy)
                told = self._driver.ask("nvmlDeviceGetViolationStatus", handle, number, about=f"violation {number}")
                if told is not None and told.violationTime < ABSURD:
                    self.found[field] = told.violationTime

    def columns(self) -> dict[str, float | None]:
        """Return the columns of a sample, in base units; null for what the device does not have."""
        found = self.found
        return {
            "memory_temperature_celsius": found.get(_MEMORY_TEMPERATURE),
            **{column: found.get(field) for column, field in _PCIE_BYTES.items()},
            **{column: _over(found.get(field), _NANOSECONDS) for column, field in self._throttles().items()},
            **{column: _over(found.get(field), _MILLI) for column, field in _POWER_MILLIWATTS.items()},
            **{column: self._nvlink(choices) for column, choices in _NVLINK.items()},
        }

    def _throttles(self) -> dict[str, Field]:
        """Return the field of each time that the clock was slowed; heat as a whole where its causes are not told."""
        return _THROTTLE_NANOSECONDS | ({"sw_thermal_throttle_seconds_total": _HEAT} if self._heat() else {})

    def _heat(self) -> tuple[Field, ...]:
        """Return the field of heat as a whole, where the driver has none for its causes."""
        return (_HEAT,) if all(self._lacks(field) for field in _HEAT_BY_CAUSE) else ()

    def _lacks(self, field: Field) -> bool:
        """Tell whether the driver does not have a field, for good."""
        return {self._driver.refusal(field), self._driver.refusals.get("nvmlDeviceGetFieldValues")} & FOR_GOOD != set()

    def _links(self, number: int) -> list[Field]:
        """Return the one field of all links, or, where the driver refuses that scope, those of each link."""
        refusal = self._driver.refusal((number, ALL_LINKS))
        if refusal == "no_symbol" and self._driver.refusal((number, 0)) not in FOR_GOOD:
            return [(number, link) for link in range(_LINKS)]
        return [(number, ALL_LINKS)] if refusal != "no_symbol" else []

    def _nvlink(self, choices: tuple[tuple[int, int], ...]) -> float | None:
        """Return the bytes of all links by the first number that the device has; null where one of them is not known.

        A sum without one link would fall, and then grow by all that this link ever carried.
        """
        for number, unit in choices:
            values = [value for (found, _), value in self.found.items() if found == number]
            if values:
                is_whole = all(self._driver.refusal(field) in {None, *FOR_GOOD} for field in self._links(number))
                return sum(values) * unit if is_whole else None
        return None


def _over(value: float | None, parts: int) -> float | None:
    return None if value is None else value / parts
