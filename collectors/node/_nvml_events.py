"""What happened to devices: the driver's event queue and the kernel's log, each thing told once."""

import ctypes
from collections import deque
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from collectors.node._kernel_log import Bus, KernelLog
from collectors.node._nvml_driver import DeviceLost, Driver
from collectors.node._nvml_health import event_row
from ledger.registry import Row

_MOST_IN_A_ROUND: Final = 256
_XID: Final = 0x8
_RECOVERY_ACTION: Final = 0x8000

# The single corrected error and the changes of clocks are no events: they come by thousands.
_KINDS: Final = {
    _XID: "xid",
    0x2: "ecc_uncorrected",
    0x200: "ecc_corrected_storm",
    0x400: "page_retired",
    0x800: "page_retirement_failed",
    0x1000: "poison_contained",
    0x2000: "poison_fatal",
    0x4000: "unavailable",
    _RECOVERY_ACTION: "recovery_action",
}

# The kernel prints an Xid before the driver queues it; between two rounds either may be seen first.
_SAME_WITHIN: Final = timedelta(seconds=60)

_MILLISECOND: Final = timedelta(milliseconds=1)
_REMEMBERED: Final = 4096


class Told(NamedTuple):
    """An event of the driver's queue."""

    uuid: str
    kind: int
    data: int


class EventQueue:
    """One event set for all devices of the node; without the privilege or the support it stays empty."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._set: Any = None
        self._uuids: dict[object, str] = {}

    def watch(self, handle: Any, uuid: str) -> None:
        """Queue this device's events from now on.

        Raises: DriverGone: the driver is gone.
        """
        # A device that is lost cannot be asked for its name when its event comes.
        self._uuids[_identity(handle)] = uuid
        try:
            if self._set is None:
                self._set = self._driver.ask("nvmlEventSetCreate")
            if self._set is None:
                return
            supported = self._driver.ask("nvmlDeviceGetSupportedEventTypes", handle, about=f"events of {uuid}") or 0
            # A driver refuses a whole mask for one type that it does not know.
            if not self._register(handle, uuid, _XID | (supported & sum(_KINDS))):
                self._register(handle, uuid, _XID)
        except DeviceLost:
            return

    def _register(self, handle: Any, uuid: str, kinds: int) -> bool:
        """Ask for events of these kinds; tell whether the driver agreed."""
        about = f"events {kinds:#x} of {uuid}"
        self._driver.ask("nvmlDeviceRegisterEvents", handle, kinds, self._set, about=about)
        return about not in self._driver.refusals

    def drain(self) -> list[Told]:
        """Return what was queued, without waiting.

        Raises: DriverGone: the driver is gone.
        """
        found: list[Told] = []
        if self._set is None:
            return found
        library = self._driver.library
        for _ in range(_MOST_IN_A_ROUND):
            try:
                event = self._driver.ask("nvmlEventSetWait_v2", self._set, 0, empty={library.NVML_ERROR_TIMEOUT})
            except DeviceLost:
                break
            if event is None or event == ():
                break
            found.append(Told(self._uuids.get(_identity(event.device), ""), event.eventType, int(event.eventData)))
        return found

    def close(self) -> None:
        """Give the event set back.

        Raises: DriverGone: the driver is gone.
        """
        if self._set is not None:
            self._driver.ask("nvmlEventSetFree", self._set)
            self._set = None


class Witnesses:
    """The two sources of one story: what both tell is one event, and what only one tells is an event too."""

    def __init__(self, log: KernelLog) -> None:
        self._log = log
        self._open: deque[tuple[str, str, int, datetime]] = deque(maxlen=_REMEMBERED)
        self._last: dict[tuple[str, str, int], datetime] = {}

    def rows(self, queued: list[Told], names: dict[Bus, str], at: datetime) -> Iterator[Row]:
        """Yield this round's events; the kernel's line comes first, for it has the time and the reason."""
        for xid in self._log.xids():
            uuid = names.get(xid.bus) or self._log.names.get(xid.bus, "")
            if self._is_news("kernel_log", uuid, xid.code, xid.at, at):
                when = self._free(uuid, "xid", xid.code, xid.at)
                yield event_row(uuid, "xid", when, xid.message, xid=xid.code, source="kernel_log")
        for position, told in enumerate(queued):
            event = _KINDS.get(told.kind)
            if event is None or told.kind == _RECOVERY_ACTION:
                # What the driver asks for is read with the device's health, in the round after this.
                continue
            code = told.data if told.kind == _XID else 0
            if told.kind != _XID or self._is_news("nvml", told.uuid, code, at, at):
                # The queue has an order and no times.
                when = self._free(told.uuid, event, code, at + position * _MILLISECOND)
                message = f"Xid {code}" if code else f"the driver reports {event}, data {told.data}"
                yield event_row(told.uuid, event, when, message, xid=code)

    def _is_news(self, source: str, uuid: str, code: int, when: datetime, now: datetime) -> bool:
        """Tell whether the other source has not told this Xid already; each of its tellings counts for one."""
        while self._open and now - self._open[0][3] > _SAME_WITHIN:
            self._open.popleft()
        for position, (other, of, number, _) in enumerate(self._open):
            if other != source and (of, number) == (uuid, code):
                del self._open[position]
                return False
        if abs(now - when) <= _SAME_WITHIN:
            self._open.append((source, uuid, code, now))
        return True

    def _free(self, uuid: str, event: str, code: int, at: datetime) -> datetime:
        """Return an instant, in milliseconds, that no earlier event of this kind and device has: two stay two."""
        when = at - timedelta(microseconds=at.microsecond % 1000)
        last = self._last.get((uuid, event, code))
        if last is not None and last >= when > last - _SAME_WITHIN:
            when = last + _MILLISECOND
        self._last[uuid, event, code] = when
        return when


def wants_health(told: Told) -> bool:
    """Tell whether an event means that the device's health must be read now."""
    return told.kind in {_RECOVERY_ACTION, 0x400, 0x800}


def _identity(handle: Any) -> object:
    """Return what two handles of one device have in common: the driver's address."""
    return ctypes.cast(handle, ctypes.c_void_p).value if isinstance(handle, ctypes._Pointer) else handle  # noqa: SLF001  no public name
