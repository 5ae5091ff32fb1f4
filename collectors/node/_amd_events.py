"""What the kernel's log tells of AMD GPUs: resets that were made or failed, errors that could not be corrected."""

import re
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Final

from collectors.node._kernel_log import KernelLog
from collectors.node._nvml_health import event_row
from ledger.registry import Row

_LINE: Final = re.compile(r"amdgpu ([0-9a-f]{4,}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]): (?:amdgpu: )?(.*)$")
_EVENTS: Final = (
    ("reset", re.compile(r"GPU reset\(\d+\) succeeded")),
    ("unavailable", re.compile(r"GPU reset\(\d+\) failed|GPU Recovery Failed|GPU reset end with ret = -\d+")),
    ("lost", re.compile(r"device lost from bus")),
    ("ecc_uncorrected", re.compile(r"uncorrectable hardware error")),
)
_LONGEST_MESSAGE: Final = 400
_MILLISECOND: Final = timedelta(milliseconds=1)

# A reset shows in the device's counters as well, when they are read next.
_SAME_WITHIN: Final = timedelta(minutes=5)


class AmdLog:
    """The driver's own words, each told once; several lines on one failure in a row are one event."""

    def __init__(self, log: KernelLog) -> None:
        self._log = log
        self._last: dict[tuple[str, str], datetime] = {}

    def rows(self, names: Mapping[str, str]) -> Iterator[Row]:
        """Yield this round's events; `names` are those of the devices by their addresses."""
        for at, message in self._log.messages():
            match = _LINE.search(message)
            if match is None:
                continue
            event = next((event for event, pattern in _EVENTS if pattern.search(match[2])), None)
            uuid = names.get(match[1], "")
            if event is None or (event == "unavailable" and self.has_told(uuid, event, at)):
                continue
            when = at - timedelta(microseconds=at.microsecond % 1000)
            last = self._last.get((uuid, event))
            if last is not None and last >= when:
                when = last + _MILLISECOND
            self._last[uuid, event] = when
            text = match[2][:_LONGEST_MESSAGE] if uuid else f"{match[1]}: {match[2]}"[:_LONGEST_MESSAGE]
            yield event_row(uuid, event, when, text, source="kernel_log")

    def has_told(self, uuid: str, event: str, at: datetime) -> bool:
        """Tell whether the log told such an event of a device a short while before an instant."""
        last = self._last.get((uuid, event))
        return last is not None and abs(at - last) <= _SAME_WITHIN
