"""MIG: the slices of one device, and which part of it each of them is."""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, Final

from collectors.node._nvml_driver import Driver, words

_MILLIONTHS: Final = 1_000_000
_NO_INSTANCE: Final = -1
_MEBIBYTE: Final = 1024**2
_PROFILE: Final = re.compile(r"(\d+c\.)?\d+g\.\d+gb\S*", re.IGNORECASE)

# Rounding to millionths may leave one per slice over: that is no piece of hardware.
_ROUNDING_MILLIONTHS: Final = 100


@dataclass(frozen=True)
class Slice:
    """One MIG device: its identity, and the compute and memory that it takes of the whole."""

    uuid: str
    handle: Any
    instance: int
    profile: str
    memory_bytes: int | None
    compute_ratio: float
    memory_ratio: float
    index: int | None = None


class _Asking:
    """A driver that is asked, and whether one of its answers failed: it may come the next time."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self.has_failed = False

    def __call__(self, function: str, *arguments: object, empty: Collection[int] = ()) -> Any:
        answer = self._driver.ask(function, *arguments, empty=empty)
        self.has_failed |= answer is None and self._driver.refusals.get(function) == "error"
        return answer


def is_enabled(driver: Driver, handle: Any, before: bool | None = None) -> bool:
    """Tell whether the device is cut into slices now; as it was `before`, where the driver fails to say."""
    ask = _Asking(driver)
    mode = ask("nvmlDeviceGetMigMode", handle)
    return bool(before and ask.has_failed) if mode is None else bool(mode[0])


def slices(driver: Driver, handle: Any, memory_total_bytes: int | None, before: Sequence[Slice] = ()) -> list[Slice]:
    """Return the device's slices; a place that holds none is passed over.

    Where the driver fails to list one of them they are as they were `before`: one that is only not told did not end.
    What it fails to say of one is as it was.

    Raises: DeviceLost: the device is gone.
    """
    ask = _Asking(driver)
    known = {part.uuid: part for part in before}
    places = ask("nvmlDeviceGetMaxMigDeviceCount", handle) or 0
    found = []
    for place in range(places):
        # Each place is asked anew: NOT_FOUND is how an empty one answers.
        missing = {driver.library.NVML_ERROR_NOT_FOUND, driver.library.NVML_ERROR_INVALID_ARGUMENT}
        part = ask("nvmlDeviceGetMigDeviceHandleByIndex", handle, place, empty=missing)
        uuid = None if part is None or part == () else ask("nvmlDeviceGetUUID", part)
        if uuid is not None:
            was = known.get(words(uuid))
            found.append(_slice(driver, words(uuid), part, place, places, memory_total_bytes, was))
    return list(before) if ask.has_failed and before else found


def _slice(
    driver: Driver,
    uuid: str,
    part: Any,
    place: int,
    places: int,
    memory_total_bytes: int | None,
    before: Slice | None,
) -> Slice:
    size = driver.ask("nvmlDeviceGetAttributes_v2", part)
    name = _PROFILE.search(words(driver.ask("nvmlDeviceGetName", part) or ""))
    instance = driver.ask("nvmlDeviceGetGpuInstanceId", part)
    if instance is None:
        instance = _NO_INSTANCE if before is None else before.instance
    if size is None and before is not None:
        return replace(before, handle=part, index=place, instance=instance)
    memory = None if size is None else size.memorySizeMB * _MEBIBYTE
    # Compute instances of one GPU instance share its memory.
    of_instance = size.computeInstanceSliceCount / size.gpuInstanceSliceCount if size else 1.0
    return Slice(
        uuid=uuid,
        handle=part,
        instance=instance,
        index=place,
        profile=name[0].lower() if name else "",
        memory_bytes=memory,
        compute_ratio=size.computeInstanceSliceCount / places if size else 1 / places,
        memory_ratio=memory / memory_total_bytes * of_instance if memory and memory_total_bytes else 0.0,
    )


def fractions(parts: list[Slice]) -> tuple[list[Decimal], Decimal]:
    """Return each slice's part of the device, and the part that is nobody's.

    A slice takes the larger of its compute and memory shares, for it keeps others from both. Where these exceed
    the whole they are scaled; exact in millionths, so that slices and rest sum to 1.
    """
    wanted = [max(part.compute_ratio, part.memory_ratio) for part in parts]
    scale = max(1.0, sum(wanted))
    millionths = [int(each / scale * _MILLIONTHS) for each in wanted]
    rest = _MILLIONTHS - sum(millionths)
    if millionths and rest <= _ROUNDING_MILLIONTHS:
        millionths[0] += rest
        rest = 0
    return [Decimal(each) / _MILLIONTHS for each in millionths], Decimal(rest) / _MILLIONTHS
