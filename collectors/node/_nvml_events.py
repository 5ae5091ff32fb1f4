"""Xids, which the driver queues until somebody asks."""

import ctypes
from datetime import datetime
from typing import Any, Final

from collectors.node._nvml_driver import DeviceLost, Driver
from collectors.node._nvml_health import event_row
from ledger.registry import Row

_MOST_IN_A_ROUND: Final = 256


class XidEvents:
    """One event set for all devices of the node; without the privilege or the support it stays empty."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._set: Any = None
        self._uuids: dict[object, str] = {}

    def watch(self, handle: Any, uuid: str) -> None:
        """Queue this device's Xids from now on."""
        # A device that is lost cannot be asked for its name when its event comes.
        self._uuids[_identity(handle)] = uuid
        kind = self._driver.library.nvmlEventTypeXidCriticalError
        try:
            if self._set is None:
                self._set = self._driver.ask("nvmlEventSetCreate")
            if self._set is not None:
                # An older driver refuses a whole mask for one type that it does not know: ask for this one only.
                self._driver.ask("nvmlDeviceRegisterEvents", handle, kind, self._set)
        except DeviceLost:
            return

    def drain(self) -> list[tuple[str, int]]:
        """Return device and code of what was queued, without waiting."""
        found: list[tuple[str, int]] = []
        if self._set is None:
            return found
        library = self._driver.library
        for _ in range(_MOST_IN_A_ROUND):
            try:
                event = self._driver.ask("nvmlEventSetWait_v2", self._set, 0, empty={library.NVML_ERROR_TIMEOUT})
                if event is None or event == ():
                    break
                if event.eventType == library.nvmlEventTypeXidCriticalError:
                    found.append((self._uuids.get(_identity(event.device), ""), int(event.eventData)))
            except DeviceLost:
                break
        return found

    def row(self, uuid: str, code: int, at: datetime) -> Row:
        """Return the event's row."""
        return event_row(uuid, "xid", at, f"Xid {code}", xid=code)

    def close(self) -> None:
        """Give the event set back."""
        if self._set is not None:
            self._driver.ask("nvmlEventSetFree", self._set)
            self._set = None


def _identity(handle: Any) -> object:
    """Return what two handles of one device have in common: the driver's address."""
    return ctypes.cast(handle, ctypes.c_void_p).value if isinstance(handle, ctypes._Pointer) else handle  # noqa: SLF001  no public name
