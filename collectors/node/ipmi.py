"""Power, temperatures and fans that a node's management controller measures, through IPMI."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Final

from pydantic import Field

from collectors._settings import CollectorSettings
from collectors.node._command import Answer, Command
from collectors.node._meter import celsius, hertz, is_margin, is_of_all, meter, scope_of, watts
from ledger.errors import SourceError, SourceMissing
from ledger.registry import Row, collector

_DEVICES: Final = ("ipmi0", "ipmi/0", "ipmidev/0")
_READING: Final = re.compile(r"^\s*(?:Instantaneous power reading|Current Power)\s*:\s*(\d+)\s*Watts?", re.MULTILINE)
# Of three devices that it tries, ipmitool says why the last one could not be opened: that there is none, where the
# first one is there and may not be opened. The last words are those of a controller that knows the caller too little.
_REFUSED: Final = re.compile(
    r"permission denied|not permitted|must be root|could not open device"
    r"|a (?:password|terminal) is required|not in the sudoers|is not allowed to"
    r"|(?:insufficient|low) privilege|privilege level insufficient",
    re.IGNORECASE,
)
_UNSUPPORTED: Final = re.compile(r"invalid command|\(?0?xc1\)?|not supported|DCMI request failed", re.IGNORECASE)
_VALUE: Final = re.compile(r"^(-?\d+(?:\.\d+)?)\s*(.*)$")
_ID: Final = re.compile(r"^[0-9A-Fa-f]{2}h$")
_QUANTITIES: Final[Mapping[str, tuple[str, Callable[[float | None], float | None]]]] = {
    "degrees c": ("temperature_celsius", celsius),
    "c": ("temperature_celsius", celsius),
    "rpm": ("fan_hertz", hertz),
    "watts": ("power_watts", watts),
    "w": ("power_watts", watts),
}
_OFF: Final = "set collectors.ipmi.enabled = false on this node"
_PERMIT: Final = (
    "let the agent's group read and write the device, put `sudo -n` before collectors.ipmi.power_command and "
    "sensor_command, or ask over the network instead: collectors.redfish.url"
)


class IpmiSettings(CollectorSettings):
    """How the controller is asked, and how long it may take."""

    power_command: Annotated[
        tuple[str, ...],
        Field(description="Prints the node's draw as DCMI has it; empty for none. `sudo -n` may stand before it"),
    ] = ("ipmitool", "dcmi", "power", "reading")
    sensor_command: Annotated[
        tuple[str, ...], Field(description="Prints the sensors, a line each with | or commas; empty for none")
    ] = ("ipmitool", "sdr", "elist", "full")
    answer_seconds: Annotated[float, Field(gt=0, le=120, description="A command that takes longer is ended")] = 20.0


@collector(emits=("power_sample",), every_seconds=60, deadline_seconds=45, settings=IpmiSettings)
def ipmi(procfs: Path = Path("/proc"), settings: IpmiSettings | None = None) -> Callable[[], Iterable[tuple[str, Row]]]:
    """Open a round that yields one row for the node's draw, and one per temperature, fan and power sensor.

    The draw of the node holds what processors, memory and GPUs draw: it is marked as overlapping, and never added to
    them. The controller is slow and serves others too, so it is asked once a minute; a command that hangs is ended.

    Raises: SourceMissing: there is no controller, no tool, no permission, or it measures nothing. SourceError: it does
    not answer.
    Nulls: a reading of 0 or of all bits, which is how a controller says that it has none; and what is for root alone
    (`is_readable` is false then).
    Source: DCMI 1.5, Get Power Reading; ipmitool(1) dcmi and sdr, ipmi-dcmi(8).
    """
    decided = settings or IpmiSettings()
    commands = [
        (Command(words, decided.answer_seconds), read)
        for words, read in ((decided.power_command, _power), (decided.sensor_command, _sensors))
        if words
    ]
    devices = [procfs.parent / "dev" / name for name in _DEVICES]

    def one_round() -> Iterator[tuple[str, Row]]:
        if not any(device.exists() for device in devices):
            raise SourceMissing(f"{devices[0]} does not exist", hint=f"load the ipmi_devintf module, or {_OFF}")
        count, failed, refused = 0, None, ""
        for command, read in commands:
            try:
                answer = _answer(command)
            except SourceError as error:
                # A controller without DCMI has sensors all the same, and the other way about.
                failed = error
                continue
            if _is_refusal(answer):
                said = _first_line(answer.error).removesuffix(": No such file or directory")
                refused = refused or f"{command.name}: permission is missing ({said})"
            rows = list(read(answer))
            count += len(rows)
            yield from (("power_sample", row) for row in rows)
        if failed is not None:
            raise failed
        if refused:
            raise SourceMissing(f"{refused}; {_PERMIT}", hint=_OFF)
        if not count:
            raise SourceMissing("IPMI: the controller measures nothing", hint=_OFF)

    return one_round


def _answer(command: Command) -> Answer:
    """Return what a command prints.

    Raises: SourceMissing: it is not installed. SourceError: it fails.
    """
    try:
        answer = command.answer()
    except FileNotFoundError:
        raise SourceMissing(f"{command.name}: not installed", hint=f"install ipmitool, or {_OFF}") from None
    is_known = _is_refusal(answer) or _UNSUPPORTED.search(answer.error + answer.text)
    if answer.code and not is_known and not answer.text.strip():
        raise SourceError(f"{command.name}: ended with {answer.code}: {_first_line(answer.error)}")
    return answer


def _is_refusal(answer: Answer) -> bool:
    """Tell whether a command says that its caller may not ask."""
    return _REFUSED.search(answer.error) is not None


def _first_line(error: str) -> str:
    return (error or "no word").splitlines()[0][:160]


def _power(answer: Answer) -> Iterator[Row]:
    """Yield the node's draw; nothing from a controller that does not measure it."""
    if _is_refusal(answer):
        yield {"power_source": "ipmi:dcmi", "scope": "node", "is_overlapping": True, "is_readable": False}
        return
    match = _READING.search(answer.text)
    if match is not None:
        yield meter("ipmi:dcmi", "node", None, power_watts=watts(float(match[1])))


def _sensors(answer: Answer) -> Iterator[Row]:
    """Yield one row per sensor of a temperature, a fan or power; a name that comes twice is numbered."""
    seen: dict[str, int] = {}
    for line in answer.text.splitlines():
        words = [word.strip() for word in line.split("|" if "|" in line else ",")]
        if len(words) < 3:  # noqa: PLR2004  a name, a value and a state at the least
            continue
        # FreeIPMI's lists begin with a number of each sensor.
        is_numbered = words[0].isdecimal() and _VALUE.match(words[1]) is None
        name, *rest = words[1:] if is_numbered else words
        column, value = _reading(rest)
        if column is None or (column == "temperature_celsius" and is_margin(name)):
            continue
        seen[name] = seen.get(name, 0) + 1
        source = f"ipmi:{name}" if seen[name] == 1 else f"ipmi:{name}@{seen[name]}"
        yield meter(source, _scope(name, column), name, **{column: value})


def _scope(name: str, column: str) -> str:
    if column == "power_watts" and is_of_all(name):
        return "node"
    return scope_of(name)


def _reading(rest: list[str]) -> tuple[str | None, float | None]:
    """Return the column of a sensor and its value; no column for what is another quantity, or says no value.

    The forms are `name | value unit | state`, `name | id | state | entity | value unit`, the same with commas, where
    the unit may stand by itself, `name | value | unit | state | thresholds`, and FreeIPMI's
    `name | type | value | unit | state`. What follows the name is looked at.
    """
    for place, word in enumerate(rest):
        match = _VALUE.match(word)
        if match is None or _ID.match(word):
            continue
        unit = match[2] or (rest[place + 1] if place + 1 < len(rest) else "")
        quantity = _QUANTITIES.get(unit.strip().lower())
        if quantity is not None:
            column, converted = quantity
            return column, converted(float(match[1]))
    return None, None
