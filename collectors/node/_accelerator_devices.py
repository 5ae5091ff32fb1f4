"""Accelerators as an operator has described them: values by column, from files or from a program."""

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from collectors.node._accelerator_settings import AcceleratorSource, Value
from collectors.node._command import Command
from collectors.node._device_files import DeviceFiles
from collectors.node._limits import LIMITS, is_possible
from collectors.node._nvml_driver import DeviceLost
from ledger.errors import SourceError, SourceMissing

_NUMBER: Final = re.compile(r"([-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?)")
_WILD: Final = re.compile(r"[*?\[]")
_DIGITS: Final = re.compile(r"\d+")


class Device(NamedTuple):
    """One device in one round; `lost` says why it gives no values, `wrong` what cannot be one."""

    uuid: str
    number: int
    values: Mapping[str, float | None]
    lost: str = ""
    wrong: tuple[str, ...] = ()


def of_folders(source: AcceleratorSource, sysfs: Path) -> Iterator[Device]:
    """Yield the devices whose folders the kernel shows."""
    for place, folder in enumerate(sorted(sysfs.glob(source.folders), key=_natural)):
        files = DeviceFiles(folder)
        index = _index(source.folders, folder.relative_to(sysfs))
        identity = folder.resolve().name
        try:
            identity = (files.text(source.identity) if source.identity else None) or identity
            texts = {name: _texts(files, value) for name, value in source.columns.items()}
        except DeviceLost as lost:
            yield Device(f"{source.name}-{identity}", place, {}, str(lost))
            continue
        yield _device(source, identity, place if index is None else index, texts)


def of_command(source: AcceleratorSource, command: Command) -> Iterator[Device]:
    """Yield the devices that a program prints a line for.

    Raises: SourceMissing: it is not installed. SourceError: it fails, or prints lines of another length.
    """
    try:
        answer = command.answer()
    except FileNotFoundError:
        hint = "install it, or take it out of collectors.accelerator.sources on this node"
        raise SourceMissing(f"{command.name}: not installed", hint=hint) from None
    if answer.code:
        said = (answer.error or "no word").splitlines()[0][:160]
        raise SourceError(f"{command.name}: ended with {answer.code}: {said}")
    lines = [line for line in answer.text.splitlines() if line.strip()][source.skip_lines :]
    for index, words in enumerate(csv.reader(lines, skipinitialspace=True)):
        if len(words) != len(source.fields):
            found = f"{command.name}: found {len(words)} values in {','.join(words)[:80]!r}"
            raise SourceError(f"{found}, expected {len(source.fields)}: {', '.join(source.fields)}")
        told = {field: word.strip() for field, word in zip(source.fields, words, strict=True)}
        texts = {name: [told[value.read]] for name, value in source.columns.items()}
        yield _device(source, told[source.identity], index, texts)


def _device(source: AcceleratorSource, identity: str, index: int, texts: Mapping[str, Sequence[str | None]]) -> Device:
    values: dict[str, float | None] = {}
    wrong = []
    for name, column in source.columns.items():
        value = _combined([_number(text, column) for text in texts[name]], column)
        if value is not None and not is_possible(name, value):
            low, high = LIMITS[name]
            wrong.append(f"{source.name}: {name}: found {value:g}, expected {low:g} to {high:g}")
            value = None
        values[name] = value
    return Device(f"{source.name}-{identity}", index, values, wrong=tuple(wrong))


def _texts(files: DeviceFiles, value: Value) -> list[str | None]:
    """Return the texts of a device's files for one column.

    Raises: DeviceLost: the device is gone.
    """
    if not _WILD.search(value.read):
        return [files.text(value.read)]
    names = sorted(str(path.relative_to(files.root)) for path in files.root.glob(value.read))
    return [files.text(name) for name in names]


def _number(text: str | None, value: Value) -> float | None:
    match = None if text is None else re.search(value.pattern or _NUMBER, text)
    try:
        return None if match is None else float(match[1]) * value.factor
    except (TypeError, ValueError):
        return None


def _combined(numbers: Sequence[float | None], value: Value) -> float | None:
    """Return what several numbers are together; none where one of them is not known."""
    known = [number for number in numbers if number is not None]
    if not known or len(known) < len(numbers):
        return None
    if value.combine == "max":
        return max(known)
    return sum(known) / (len(known) if value.combine == "mean" else 1)


def _index(pattern: str, path: Path) -> int | None:
    """Return the number that the first * of a pattern stands for: 3 of class/accel/accel3/device."""
    for word, part in zip(pattern.split("/"), path.parts, strict=False):
        if _WILD.search(word):
            digits = _DIGITS.findall(part)
            return int(digits[-1]) if digits else None
    return None


def _natural(path: Path) -> tuple[tuple[int, str], ...]:
    """Return what sorts accel10 behind accel9."""
    return tuple((int(word), "") if word.isdecimal() else (-1, word) for word in re.split(r"(\d+)", str(path)) if word)
