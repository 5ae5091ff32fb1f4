"""NVIDIA GPUs and MIG slices, through NVML."""

import ctypes
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import Field

from collectors._settings import CollectorSettings
from collectors.node._attribution import sees_processes
from collectors.node._nvml_card import Card
from collectors.node._nvml_driver import DeviceLost, Driver, words
from collectors.node._nvml_events import XidEvents
from ledger.errors import SourceError, SourceMissing
from ledger.registry import Row, collector

_EMITS: Final = ("gpu_sample", "gpu_process_sample", "gpu_health_sample", "gpu_event", "gpu")
_UNLISTED: Final = "the driver does not list it any more"


class NvmlSettings(CollectorSettings):
    """How often the slower questions are asked."""

    health_every_rounds: Annotated[int, Field(ge=1, le=360, description="Health is read every so many rounds")] = 6


def _now() -> datetime:
    return datetime.now(UTC)


@collector(emits=_EMITS, every_seconds=10, settings=NvmlSettings)
def nvml(
    procfs: Path = Path("/proc"),
    settings: NvmlSettings | None = None,
    library: Any = None,
    clock: Callable[[], float] = time.monotonic,
    now: Callable[[], datetime] = _now,
) -> Callable[[], Iterable[tuple[str, Row]]]:
    """Open NVML; each round yields a sample per GPU and slice, its processes, and at times its health.

    A device that is lost keeps a row that says so, and costs no other device its row.

    Raises: SourceMissing: this node has no NVIDIA driver or no NVIDIA GPU.
    Nulls: what the device, the driver or the privilege does not give; never 0 instead.
    Source: NVML API reference; nvml.h.
    """
    driver = _binding() if library is None else library
    _start(driver)
    node = _Node(driver, procfs, (settings or NvmlSettings()).health_every_rounds, clock, now)
    return node.one_round


def _binding() -> Any:
    """Return the binding; it takes 15 MB, so a node without the driver never loads it.

    Raises: SourceMissing: there is no driver.
    """
    try:
        ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        raise _missing("libnvidia-ml.so.1 is not installed") from None
    import pynvml  # noqa: PLC0415  see above

    return pynvml


def _start(library: Any) -> None:
    """Initialise NVML.

    Raises: SourceMissing: there is no driver. SourceError: it is there and does not start.
    """
    try:
        library.nvmlInit()
    except library.NVMLError as error:
        absent = {library.NVML_ERROR_LIBRARY_NOT_FOUND, library.NVML_ERROR_DRIVER_NOT_LOADED}
        if error.value in absent:
            raise _missing(str(error)) from error
        raise SourceError(f"NVML: {error}, expected a working driver", hint="run nvidia-smi on this node") from error


def _missing(found: str) -> SourceMissing:
    hint = "install the NVIDIA driver, or set collectors.nvml.enabled = false on this node"
    return SourceMissing(f"NVML: {found}", hint=hint)


class _Node:
    """All devices of this node from round to round."""

    def __init__(
        self, library: Any, procfs: Path, health_every: int, clock: Callable[[], float], now: Callable[[], datetime]
    ) -> None:
        self._library = library
        self._driver = Driver(library)
        self._procfs = procfs
        self._health_every = health_every
        self._clock = clock
        self._now = now
        self._rounds = 0
        self._cards: dict[str, Card] = {}
        self._reasons: dict[int, str] = {}
        self._xids = XidEvents(self._driver)

    def one_round(self) -> Iterator[tuple[str, Row]]:
        """Yield the rows of one round.

        Raises: SourceMissing: there is no GPU. SourceError: the driver does not answer at all.
        """
        is_slow = self._rounds % self._health_every == 0
        if is_slow and any(card.is_lost for card in self._cards.values()):
            self._restart()
        self._rounds += 1
        at = self._now()
        with_processes = sees_processes(self._procfs)
        here = self._enumerate()
        if not here and not self._cards:
            raise SourceMissing("NVML: no GPU", hint="set collectors.nvml.enabled = false on this node")
        for uuid, (index, handle) in here.items():
            card = self._cards.get(uuid)
            if card is None:
                driver = Driver(self._library)
                card = self._cards[uuid] = Card(uuid, index, driver, self._procfs, self._clock)
                self._xids.watch(handle, uuid)
            yield from card.read(handle, at, with_processes=with_processes, with_health=is_slow)
        for uuid, card in self._cards.items():
            if uuid not in here:
                yield from card.missing(at, self._reasons.get(card.index, _UNLISTED))
        for position, (uuid, code) in enumerate(self._xids.drain()):
            # Events carry no time of their own; two of one code in a round stay two.
            yield "gpu_event", self._xids.row(uuid, code, at + timedelta(milliseconds=position))

    def _enumerate(self) -> dict[str, tuple[int, Any]]:
        """Return index and handle of each device that can be reached, by UUID; why others cannot is kept."""
        self._reasons.clear()
        count = self._driver.ask("nvmlDeviceGetCount")
        if count is None:
            message = "NVML: the driver does not say how many GPUs there are"
            raise SourceError(message, hint="run nvidia-smi on this node")
        here = {}
        for index in range(count):
            try:
                handle = self._driver.ask("nvmlDeviceGetHandleByIndex", index, about=f"handle {index}")
                uuid = None if handle is None else self._driver.ask("nvmlDeviceGetUUID", handle)
            except DeviceLost as lost:
                self._reasons[index] = str(lost)
                continue
            if uuid is not None:
                here[words(uuid)] = (index, handle)
        return here

    def _restart(self) -> None:
        """Start NVML again: a device that was reset is seen by a new session only.

        Raises: SourceError: it does not start again.
        """
        self._xids.close()
        self._driver.ask("nvmlShutdown")
        _start(self._library)
        self._driver = Driver(self._library)
        self._xids = XidEvents(self._driver)
        for card in self._cards.values():
            card.forget_session()
        for uuid, (_, handle) in self._enumerate().items():
            self._xids.watch(handle, uuid)
