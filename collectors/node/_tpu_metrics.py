"""What libtpu tells of the chips that a process of this machine uses.

Source: tpu.monitoring.runtime.RuntimeMetricService, which libtpu serves on loopback while a program uses the chips.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from collectors.node import _grpc
from collectors.node import _protobuf as proto
from collectors.node._nvml_driver import share
from ledger.errors import SourceError

_METHOD: Final = "tpu.monitoring.runtime.RuntimeMetricService/GetRuntimeMetric"
_DUTY_CYCLE: Final = "tpu.runtime.tensorcore.dutycycle.percent"
_MEMORY_USED: Final = "tpu.runtime.hbm.memory.usage.bytes"
_MEMORY_TOTAL: Final = "tpu.runtime.hbm.memory.total.bytes"

# Numbers of fields in the service's messages.
_REQUEST_NAME: Final = 1
_RESPONSE_METRIC: Final = 1
_METRIC_POINTS: Final = 3
_POINT_ATTRIBUTE: Final = 1
_POINT_GAUGE: Final = 3
_ATTRIBUTE_VALUE: Final = 2
_VALUE_INTEGER: Final = 3
_GAUGE_REAL: Final = 1
_GAUGE_INTEGER: Final = 2

Point = tuple[int, float]
"""Number of a device, and a value of it."""


class Reading(NamedTuple):
    """What is told of one chip."""

    duty_cycle: float | None
    memory_used_bytes: float | None
    memory_total_bytes: float | None


def readings(addresses: Iterable[str], chips: int, seconds: float) -> tuple[list[Reading] | None, SourceError | None]:
    """Return a reading for each chip, and what failed; no readings where no program serves any, for none uses them."""
    told: dict[str, list[Point]] = {_DUTY_CYCLE: [], _MEMORY_USED: [], _MEMORY_TOTAL: []}
    is_served, failed = False, None
    for address in addresses:
        for name in told:
            try:
                told[name] += _points(address, name, seconds)
            except _grpc.NobodyThere:
                break
            except SourceError as error:
                # A library that does not know one metric may know the others.
                failed = error
            is_served = True
    if not is_served:
        return None, failed
    try:
        duty, used, total = (_by_chip(points, chips) for points in told.values())
    except SourceError as error:
        return None, error
    found = [Reading(share(_mean(duty[chip])), _sum(used[chip]), _sum(total[chip])) for chip in range(chips)]
    return found, failed


def _points(address: str, name: str, seconds: float) -> list[Point]:
    """Return the values of one metric, in the order of the devices.

    Raises: NobodyThere: nobody listens. SourceError: no answer, or none that can be read.
    """
    answer = _grpc.call(address, _METHOD, proto.text_field(_REQUEST_NAME, name), seconds)
    try:
        metric = next(iter(proto.messages(proto.fields(answer), _RESPONSE_METRIC)), b"")
        found = [_point(point) for point in proto.messages(proto.fields(metric), _METRIC_POINTS)]
    except ValueError as error:
        raise SourceError(f"{address}: {name}: found {error}, expected MetricResponse") from None
    return sorted(point for point in found if point is not None)


def _point(message: bytes) -> Point | None:
    """Return the device and the value of one point; None without a value."""
    point = proto.fields(message)
    device = 0
    for attribute in proto.messages(point, _POINT_ATTRIBUTE):
        for named in proto.messages(proto.fields(attribute), _ATTRIBUTE_VALUE):
            device = proto.whole(proto.fields(named), _VALUE_INTEGER) or 0
    for gauge in map(proto.fields, proto.messages(point, _POINT_GAUGE)):
        real, integer = proto.real(gauge, _GAUGE_REAL), proto.whole(gauge, _GAUGE_INTEGER)
        value = real if real is not None else integer
        if value is not None and math.isfinite(value):
            return device, float(value)
    return None


def _by_chip(points: Sequence[Point], chips: int) -> list[list[float]]:
    """Return the values of each chip: of its own number, or of as many devices as a chip of this model is.

    Raises: SourceError: there are other devices than these chips.
    """
    found: list[list[float]] = [[] for _ in range(chips)]
    numbers = [device for device, _ in points]
    if len(set(numbers)) == len(numbers) and all(device < chips for device in numbers):
        for device, value in points:
            found[device].append(value)
        return found
    each, rest = divmod(len(points), chips)
    if rest:
        raise SourceError(f"libtpu: found {len(points)} devices, expected a multiple of {chips} chips")
    for place, (_, value) in enumerate(points):
        found[place // each].append(value)
    return found


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _sum(values: Sequence[float]) -> float | None:
    return sum(values) if values and min(values) >= 0 else None
