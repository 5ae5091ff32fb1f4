"""In which unit the driver counts: its raw numbers beside what a workload is known to have done."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

from bench._gpu_record import ACCUMULATORS, PCIE_RECEIVED, PCIE_SENT
from bench._gpu_smi import mean

_NARROW: Final = 2**32
_NEAR: Final = (0.7, 1.35)
"""Headers of packets are counted too, and the first and last second are not full."""

_BYTE_UNITS: Final = {"bytes": 1.0, "KB or KiB": 1 / 1000, "MB or MiB": 1 / 1_000_000}
_RATE: Final = 21
_RECEIVED: Final = 256
_SENT: Final = 255
_ELAPSED: Final = 248
# Each accumulator of cycles, and the average of the same pipe: both together tell what it is counted against.
_OF_ELAPSED: Final = {249: 2, 250: 5}


@dataclass(frozen=True)
class Check:
    """One question about a unit, and what the device answers."""

    question: str
    measured: float | None
    known: float | None
    verdict: str


def checks(
    raw: Sequence[Mapping[str, Any]], samples: Sequence[Mapping[str, Any]], sent_per_second: float
) -> list[Check]:
    """Return all checks that this recording allows; `sent_per_second` is what was sent to the device, in bytes."""
    found = [_wrap(raw, PCIE_SENT), _wrap(raw, PCIE_RECEIVED)]
    if sent_per_second:
        by_field = growth(raw, "fields", str(PCIE_RECEIVED))
        found += [
            _bytes("field 198, received, its growth in a second", by_field, sent_per_second),
            _bytes("GPM 21, received, its mean", _average(raw, _RATE), sent_per_second),
            *(_bytes(f"GPM {_RECEIVED}, {how}", value, sent_per_second) for how, value in _both(raw, _RECEIVED)),
        ]
    return [*found, *_cycles(raw, samples), *(_kind(raw, number) for number in ACCUMULATORS)]


def growth(raw: Sequence[Mapping[str, Any]], group: str, number: str) -> float | None:
    """Return what a counter grows by in a second; null if it fell or was not read twice."""
    known = [(each["offset_seconds"], each[group].get(number)) for each in raw]
    read = [(at, value) for at, value in known if value is not None]
    if len(read) < 2 or any(later[1] < earlier[1] for earlier, later in pairwise(read)):  # noqa: PLR2004  two ends
        return None
    seconds = read[-1][0] - read[0][0]
    return float(read[-1][1] - read[0][1]) / seconds if seconds > 0 else None


def unit(measured: float, known: float) -> str:
    """Return the unit in which a number of bytes is what is known; it says so where none is."""
    ratio = measured / known
    fitting = [name for name, factor in _BYTE_UNITS.items() if _NEAR[0] <= ratio / factor <= _NEAR[1]]
    return fitting[0] if fitting else f"none that is known: {ratio:.3g} of the bytes"


def _bytes(question: str, value: float | None, known: float) -> Check:
    verdict = "not given by this device" if value is None else "no traffic counted" if not value else unit(value, known)
    return Check(question, value, known, verdict)


def _both(raw: Sequence[Mapping[str, Any]], number: int) -> list[tuple[str, float | None]]:
    """Return both ways in which an accumulator can be meant."""
    return [
        ("its growth in a second", growth(raw, "gpm", str(number))),
        ("between two samples, in a second", _each_second(raw, number)),
    ]


def _average(raw: Sequence[Mapping[str, Any]], number: int) -> float | None:
    return mean((each["gpm"] for each in raw), str(number))


def _each_second(raw: Sequence[Mapping[str, Any]], number: int) -> float | None:
    """Return a metric's mean over the mean time between two samples."""
    value, seconds = _average(raw, number), _pace(raw)
    return None if value is None or seconds is None else value / seconds


def _pace(raw: Sequence[Mapping[str, Any]]) -> float | None:
    offsets = [each["offset_seconds"] for each in raw]
    steps = len(offsets) - 1
    return (offsets[-1] - offsets[0]) / steps if steps > 0 and offsets[-1] > offsets[0] else None


def _wrap(raw: Sequence[Mapping[str, Any]], number: int) -> Check:
    values = [each["fields"][str(number)] for each in raw if each["fields"].get(str(number)) is not None]
    question = f"field {number}: does it wrap"
    if not values:
        return Check(question, None, None, "not given by this device")
    falls = sum(later < earlier for earlier, later in pairwise(values))
    if falls:
        return Check(question, max(values), None, f"fell {falls} times, after {max(values):.4g}")
    wide = max(values) > _NARROW
    return Check(question, max(values), None, "wider than 32 bits" if wide else "did not fall; 32 bits not passed yet")


def _cycles(raw: Sequence[Mapping[str, Any]], samples: Sequence[Mapping[str, Any]]) -> list[Check]:
    """Return what cycles are counted against: the clock, and the averages of the same pipes."""
    clock = mean(samples, "sm_clock_hertz")
    found = []
    for how, cycles in _both(raw, _ELAPSED):
        times = "" if cycles is None or not clock else f"{cycles / clock:.4g} times the SM clock"
        found.append(Check(f"GPM {_ELAPSED}, cycles, {how}", cycles, clock, times or "not given by this device"))
    elapsed = _average(raw, _ELAPSED)
    for number, average in _OF_ELAPSED.items():
        active, percent = _average(raw, number), _average(raw, average)
        share = None if active is None or not elapsed else 100 * active / elapsed
        known = "not given by this device" if share is None else f"{share:.4g} % of GPM {_ELAPSED}"
        found.append(Check(f"GPM {number} against GPM {average} in percent", share, percent, known))
    return found


def _kind(raw: Sequence[Mapping[str, Any]], number: int) -> Check:
    """Tell whether an accumulator goes on from sample to sample, or begins with each pair of them."""
    values = [value for each in raw if (value := each["gpm"].get(str(number))) is not None]
    question = f"GPM {number}: what two samples give"
    if len(values) < 3:  # noqa: PLR2004  fewer show no trend
        return Check(question, None, None, "not given by this device")
    if not any(values):
        return Check(question, 0.0, None, "always 0 in this workload")
    rises = all(later >= earlier for earlier, later in pairwise(values)) and values[-1] > values[0]
    return Check(question, values[-1], values[0], "goes on growing" if rises else "is of the time between them alone")
