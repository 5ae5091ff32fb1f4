"""Health of one device, and the events that its changes are."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from collectors.node._nvml_driver import FOR_GOOD, Driver, Field, words
from collectors.node._nvml_fields import ECC_CORRECTED, ECC_UNCORRECTED, RECOVERY, REMAPPED, REPLAYS
from ledger.registry import Row

_ACTIONS: Final = (
    "none",
    "gpu_reset",
    "node_reboot",
    "drain_p2p",
    "drain_and_reset",
    "recover_imex",
    "bus_reset",
    "system_reboot",
)
_LINKS: Final = 18

# What the driver cannot go on after; the others are the program's own errors, or were corrected.
CRITICAL_XIDS: Final = frozenset({48, 62, 64, 74, 79, 95, 119, 120})
_CRITICAL_EVENTS: Final = frozenset(
    {"lost", "remap_failed", "recovery_action", "unavailable", "page_retirement_failed", "poison_fatal"}
)


def health_row(driver: Driver, handle: Any, uuid: str, index: int, fields: Mapping[Field, float]) -> Row:
    """Return the device's health and configuration; null where it has no such thing.

    `fields` are the round's field values; a driver too old for some of them is asked by their functions.

    Raises: DeviceLost: the device is gone. DriverGone: the driver is.
    """
    ask, library = driver.ask, driver.library
    remapped = _remapped(driver, handle, fields)
    corrected, uncorrected = library.NVML_MEMORY_ERROR_TYPE_CORRECTED, library.NVML_MEMORY_ERROR_TYPE_UNCORRECTED
    accounting = ask("nvmlDeviceGetAccountingMode", handle)
    mode = ask("nvmlDeviceGetMigMode", handle)
    ecc = ask("nvmlDeviceGetEccMode", handle)
    persistence = ask("nvmlDeviceGetPersistenceMode", handle)
    name, bus = ask("nvmlDeviceGetName", handle), ask("nvmlDeviceGetPciInfo", handle)
    driver_version = ask("nvmlSystemGetDriverVersion")
    pages = None if remapped[0] is not None else _retired(driver, handle)
    return {
        "gpu_uuid": uuid,
        "gpu_model": None if name is None else words(name),
        "gpu_index": index,
        "pci_bus_id": None if bus is None else words(bus.busId),
        "driver_version": None if driver_version is None else words(driver_version),
        "is_mig_enabled": None if mode is None else bool(mode[0]),
        "is_persistence_enabled": None if persistence is None else bool(persistence),
        "is_ecc_enabled": None if ecc is None else bool(ecc[0]),
        "is_accounting_enabled": None if accounting is None else bool(accounting),
        "ecc_corrected_count_total": _ecc(driver, handle, fields, ECC_CORRECTED, corrected),
        "ecc_uncorrected_count_total": _ecc(driver, handle, fields, ECC_UNCORRECTED, uncorrected),
        "remapped_corrected_count": remapped[0],
        "remapped_uncorrected_count": remapped[1],
        "is_remap_pending": None if remapped[2] is None else bool(remapped[2]),
        "is_remap_failed": None if remapped[3] is None else bool(remapped[3]),
        "retired_page_count": pages,
        "recovery_action": action_name(fields.get(RECOVERY)),
        "pcie_replay_count_total": fields.get(REPLAYS),
        "pcie_link_generation_index": ask("nvmlDeviceGetCurrPcieLinkGeneration", handle),
        "pcie_link_width_count": ask("nvmlDeviceGetCurrPcieLinkWidth", handle),
        "nvlink_active_count": _active_links(driver, handle),
        "refused": "; ".join(sorted(f"{name}: {why}" for name, why in driver.refusals.items())),
    }


def action_name(code: float | None) -> str | None:
    """Return the name of a recovery action; a code of a newer driver keeps its number."""
    if code is None:
        return None
    number = int(code)
    return _ACTIONS[number] if 0 <= number < len(_ACTIONS) else f"action_{number}"


def event_row(uuid: str, event: str, at: datetime, message: str, *, xid: int = 0, source: str = "nvml") -> Row:
    """Return one event; which ones open a fault is decided here."""
    is_critical = xid in CRITICAL_XIDS if event == "xid" else event in _CRITICAL_EVENTS
    return {
        "occurred_at": at,
        "gpu_uuid": uuid,
        "event": event,
        "xid_code": xid,
        "is_critical": is_critical,
        "message": message,
        "source": source,
    }


def changes(before: Row, after: Row, at: datetime) -> list[Row]:
    """Return the events between two health rows of one device; what was wrong before is not told again."""
    uuid = str(after["gpu_uuid"])
    found = []
    action = after["recovery_action"]
    if action not in {None, "none", before.get("recovery_action")}:
        found.append(event_row(uuid, "recovery_action", at, f"the driver asks for {action}"))
    if after["is_remap_failed"] and not before.get("is_remap_failed"):
        found.append(event_row(uuid, "remap_failed", at, "a row remap failed: the device must be replaced"))
    return found


def _remapped(driver: Driver, handle: Any, fields: Mapping[Field, float]) -> tuple[float | None, ...]:
    """Return rows remapped for corrected and for uncorrected errors, and whether a remap waits or failed."""
    if all(field in fields for field in REMAPPED):
        return tuple(fields[field] for field in REMAPPED)
    found: tuple[float, ...] | None = driver.ask("nvmlDeviceGetRemappedRows", handle)
    return found or (None, None, None, None)


def _ecc(driver: Driver, handle: Any, fields: Mapping[Field, float], field: Field, kind: int) -> float | None:
    """Return errors since the last reset."""
    if field in fields:
        return fields[field]
    volatile = driver.library.NVML_VOLATILE_ECC
    found: int | None = driver.ask("nvmlDeviceGetTotalEccErrors", handle, kind, volatile, about=f"ecc {kind}")
    return found


def _retired(driver: Driver, handle: Any) -> int | None:
    """Return how many pages were retired; their addresses are not kept."""
    library = driver.library
    causes = (
        library.NVML_PAGE_RETIREMENT_CAUSE_MULTIPLE_SINGLE_BIT_ECC_ERRORS,
        library.NVML_PAGE_RETIREMENT_CAUSE_DOUBLE_BIT_ECC_ERROR,
    )
    lists = [driver.ask_list("nvmlDeviceGetRetiredPages", handle, cause) for cause in causes]
    return None if None in lists else sum(len(found or ()) for found in lists)


def _active_links(driver: Driver, handle: Any) -> int | None:
    """Return how many NVLinks are up; null where the device has none, or one of them fails to say."""
    past_the_last = {driver.library.NVML_ERROR_INVALID_ARGUMENT}
    states = []
    for link in range(_LINKS):
        about = f"state of link {link}"
        state = driver.ask("nvmlDeviceGetNvLinkState", handle, link, about=about, empty=past_the_last)
        if state is None and driver.refusals.get(about) not in FOR_GOOD:
            return None
        if state is None or state == ():
            break
        states.append(state)
    return sum(1 for state in states if state) if states else None
