"""One AMD GPU: its sample and its health, from the driver's files."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Final

from collectors.node._amd_metrics import Metrics, parsed, revision
from collectors.node._device_files import DeviceFiles
from collectors.node._files import as_count, listed, scaled, text
from collectors.node._fleet import quality
from collectors.node._limits import is_possible
from collectors.node._nvml_device import status_row
from collectors.node._nvml_driver import DeviceLost, share
from ledger.registry import Row

_MICRO: Final = 1e-6
_MILLI: Final = 1e-3
_MEGAHERTZ: Final = 1_000_000
_LEVEL: Final = re.compile(r"^\S+:\s*(\d+)\s*M[Hh]z\s*(\*)?", re.MULTILINE)
_ERRORS: Final = re.compile(r"^(ue|ce):\s*(\d+)", re.MULTILINE)
_SPEEDS: Final = {"2.5": 1, "5.0": 2, "5": 2, "8.0": 3, "16.0": 4, "32.0": 5, "64.0": 6}
_BASIC: Final = ("gpu_busy_percent", "mem_info_vram_used")

# Firmware whose counter stands still while the board draws power has lost it until it is loaded anew.
_STUCK_ROUNDS: Final = 3


class AmdDevice:
    """One physical device that is read again each round."""

    def __init__(self, uuid: str, index: int, folder: Path, address: str, clock: Callable[[], float]) -> None:
        self.uuid = uuid
        self.index = index
        self.address = address
        self.files = DeviceFiles(folder)
        self.metrics = Metrics()
        self.memory_total_bytes: float | None = None
        self._clock = clock
        self._before: Metrics | None = None
        self._seconds = {"hw_thermal_throttle_seconds_total": 0.0, "power_cap_seconds_total": 0.0}
        self._stuck_rounds = 0

    def sample(self) -> Row:
        """Return the device's sample without its processes; one that is gone gives a status row."""
        started = self._clock()
        if text(self.files.root / "power/runtime_status") == "suspended":
            # To ask it would wake it up, each round anew.
            return {**status_row(self.uuid, "ok", "suspended"), "collect_seconds": self._clock() - started}
        try:
            self.metrics = self._table()
            row = self._activity() | self._board() | self._counters()
        except DeviceLost as lost:
            return status_row(self.uuid, "lost", str(lost))
        known = {name: value for name, value in row.items() if value is not None and is_possible(name, value)}
        self.memory_total_bytes = known.get("memory_total_bytes", self.memory_total_bytes)
        return {
            "gpu_uuid": self.uuid,
            **self._status(),
            "evidence_quality": quality(known),
            **known,
            "collect_seconds": self._clock() - started,
        }

    def health(self, driver_version: str | None) -> Row:
        """Return the device's health and what is known of it.

        Raises: DeviceLost: the device is gone.
        """
        files, speed = self.files, self.files.text("current_link_speed")
        errors = self._errors()
        replays = files.number("pcie_replay_count")
        return {
            "gpu_uuid": self.uuid,
            "gpu_model": self.model(),
            "gpu_index": self.index,
            "pci_bus_id": self.address,
            "driver_version": driver_version,
            "is_mig_enabled": None,
            "is_ecc_enabled": True if errors else None,
            "ecc_corrected_count_total": errors.get("ce"),
            "ecc_uncorrected_count_total": errors.get("ue"),
            "retired_page_count": self._bad_pages(),
            "pcie_replay_count_total": self.metrics.replay_count if replays is None else replays,
            "pcie_link_generation_index": _SPEEDS.get((speed or "").split(" ")[0]),
            "pcie_link_width_count": files.number("current_link_width"),
            "refused": files.refused(),
        }

    def model(self) -> str | None:
        """Return the product's name, or the number by which the maker knows the chip."""
        number = text(self.files.root / "device")
        return text(self.files.root / "product_name") or (f"AMD {number}" if number else None)

    def _activity(self) -> dict[str, float | int | None]:
        files, metrics = self.files, self.metrics
        busy, memory_busy = files.number("gpu_busy_percent"), files.number("mem_busy_percent")
        return {
            "kernel_active_ratio": share(metrics.busy_percent if busy is None else busy),
            "memory_active_ratio": share(metrics.memory_busy_percent if memory_busy is None else memory_busy),
            "memory_used_bytes": files.number("mem_info_vram_used"),
            "memory_total_bytes": files.number("mem_info_vram_total"),
        }

    def _board(self) -> dict[str, float | int | None]:
        """Return power, heat and clocks: the sensors first, then the firmware's table."""
        sensors, metrics = self._sensors(), self.metrics
        levels = [(int(value), mark) for value, mark in _LEVEL.findall(self.files.text("pp_dpm_sclk") or "")]
        current = next((value * _MEGAHERTZ for value, mark in levels if mark), None)
        heat = _first(sensors.get("edge"), sensors.get("junction"), metrics.hotspot_celsius)
        return {
            "power_watts": _first(sensors.get("power1_average"), sensors.get("power1_input"), metrics.power_watts),
            "power_limit_watts": sensors.get("power1_cap"),
            "temperature_celsius": heat,
            "memory_temperature_celsius": _first(sensors.get("mem"), metrics.memory_celsius),
            "sm_clock_hertz": _first(sensors.get("sclk"), metrics.clock_hertz, current),
            "sm_clock_max_hertz": max((value for value, _ in levels), default=0) * _MEGAHERTZ or None,
            "memory_clock_hertz": _first(sensors.get("mclk"), metrics.memory_clock_hertz),
            "clock_event_reasons_bitmask": metrics.reasons,
        }

    def _sensors(self) -> dict[str, float | None]:
        """Return the values of the device's own chip of sensors, in base units, by file or by the driver's label."""
        chip = next((path.name for path in listed(self.files.root / "hwmon")), None)
        if chip is None:
            return {}
        folder = f"hwmon/{chip}"
        number = self.files.number
        found = {name: scaled(number(f"{folder}/{name}"), _MICRO) for name in ("power1_average", "power1_cap")}
        if found["power1_average"] is None:
            found["power1_input"] = scaled(number(f"{folder}/power1_input"), _MICRO)
        for path in listed(self.files.root / folder):
            kind, _, what = path.name.partition("_")
            if what == "label" and kind.startswith(("temp", "freq")):
                unit = _MILLI if kind.startswith("temp") else 1
                found[text(path) or kind] = scaled(number(f"{folder}/{kind}_input"), unit)
        return found

    def _table(self) -> Metrics:
        content = self.files.content("gpu_metrics")
        found = None if content is None else parsed(content)
        if content is not None and found is None:
            self.files.refusals[f"gpu_metrics {revision(content)}"] = "no_symbol"
        return found or Metrics()

    def _counters(self) -> dict[str, float | int | None]:
        """Return energy, links and times of throttling; times since the agent's start."""
        before, now = self._before, self.metrics
        self._before = now
        return {
            "energy_joules_total": self._energy(before),
            "nvlink_receive_bytes_total": now.read_bytes,
            "nvlink_transmit_bytes_total": now.written_bytes,
            **(self._throttled(before) if now.ticks is not None else {}),
        }

    def _energy(self, before: Metrics | None) -> float | None:
        """Return the energy counter; none once it stands still although the board draws power."""
        joules, watts = self.metrics.energy_joules, self.metrics.power_watts
        is_still = before is not None and joules is not None and joules == before.energy_joules and bool(watts)
        self._stuck_rounds = self._stuck_rounds + 1 if is_still else 0
        if self._stuck_rounds < _STUCK_ROUNDS:
            self.files.refusals.pop("energy", None)
            return joules
        self.files.refusals["energy"] = "error"
        return None

    def _throttled(self, before: Metrics | None) -> dict[str, float]:
        """Return how long heat and the power limit held the clock back, by the firmware's own ticks.

        Kinds of heat overlap: the longest counts. A counter that fell, or a step without ticks, adds nothing.
        """
        now = self.metrics
        if before is None or None in {before.ticks, before.stamp_seconds, now.ticks, now.stamp_seconds}:
            return dict(self._seconds)
        ticks = (now.ticks or 0) - (before.ticks or 0)
        elapsed = (now.stamp_seconds or 0.0) - (before.stamp_seconds or 0.0)
        if ticks > 0 and elapsed > 0:
            hot = max((late - early for early, late in zip(before.ticks_hot, now.ticks_hot, strict=False)), default=0)
            capped = (now.ticks_capped or 0) - (before.ticks_capped or 0)
            for name, part in (("hw_thermal_throttle_seconds_total", hot), ("power_cap_seconds_total", capped)):
                if 0 <= part <= ticks:
                    self._seconds[name] += elapsed * part / ticks
        return dict(self._seconds)

    def _status(self) -> Row:
        """Return `ok`, or what the driver answers to every basic question."""
        reasons = {self.files.refusals.get(name) for name in _BASIC}
        if reasons == {"denied"}:
            return {"status": "denied", "status_reason": "the driver refuses without more privilege"}
        if "error" in reasons and None not in reasons:
            return {"status": "error", "status_reason": "the driver fails to answer"}
        return {"status": "ok"}

    def _errors(self) -> dict[str, int]:
        """Return memory and logic errors, summed over the blocks that count them: ue uncorrected, ce corrected.

        Nothing while one of these does not say, as in a reset: a sum without it would fall, and then rise again.
        """
        found: dict[str, int] = {}
        for path in listed(self.files.root / "ras"):
            name = f"ras/{path.name}"
            if not name.endswith("_err_count"):
                continue
            counts = [(kind, as_count(count)) for kind, count in _ERRORS.findall(self.files.text(name) or "")]
            if not counts and self.files.refusals.get(name) != "unsupported":
                return {}
            for kind, count in counts:
                if count is None:
                    return {}
                found[kind] = found.get(kind, 0) + count
        return found

    def _bad_pages(self) -> int | None:
        """Return how many pages were retired or wait for it; their addresses are not kept."""
        found = self.files.content("ras/gpu_vram_bad_pages")
        return None if found is None else sum(1 for line in found.splitlines() if b":" in line)


def _first(*values: float | None) -> float | None:
    return next((value for value in values if value is not None), None)
