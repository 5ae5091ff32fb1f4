"""Calls to NVML: each kind of refusal kept apart, what a device does not have asked once."""

from collections.abc import Collection, Iterable
from typing import Any, Final, Literal

Refusal = Literal["unsupported", "denied", "no_symbol", "error"]
"""Why a call gave no value. A lost device is no refusal: it ends the device's round."""

Field = tuple[int, int]
"""A field's number and its scope: a link, or which part of the board."""

FOR_GOOD: Final = frozenset({"unsupported", "no_symbol"})
"""Refusals that last as long as the driver: what it does not have."""

_MICROSECONDS: Final = 1_000_000

ABSURD: Final = 2**63
"""All bits set, or near it, is how the driver says that it has no value."""
_LONGEST_WAIT: Final = 63  # slow rounds: about an hour

ALL_LINKS: Final = 0xFFFFFFFF
"""The scope that means all NVLinks of a device together."""


class DeviceLost(Exception):  # noqa: N818  a state of the device, not of the program
    """The device fell off the bus, or waits for a reset."""


class DriverGone(Exception):  # noqa: N818  a state of the driver, not of the program
    """The driver was unloaded, or loaded again: this session is over for all devices."""


class Driver:
    """One device's calls: a value, or None and a remembered reason. Never 0 for what was not read.

    `library` is the pynvml module or an object of its shape.
    """

    def __init__(self, library: Any) -> None:
        self.library = library
        self.refusals: dict[str, Refusal] = {}
        self._latency_microseconds = 0

    def ask(self, function: str, *arguments: object, about: str = "", empty: Collection[int] = ()) -> Any:
        """Return what the library answers, or None; an error whose value is in `empty` is an empty answer.

        What is unsupported or unknown to this driver is not asked again; permission and passing errors are.

        Raises: DeviceLost: the device is gone. DriverGone: the driver is.
        """
        name = about or function
        if self.refusals.get(name) in FOR_GOOD:
            return None
        call = getattr(self.library, function, None)
        if call is None:
            self.refusals[name] = "no_symbol"
            return None
        try:
            answer = call(*arguments)
        except self.library.NVMLError as error:
            if error.value in empty:
                return ()
            self.refusals[name] = self._refusal(error)
            return None
        self.refusals.pop(name, None)
        return answer

    def ask_list(self, function: str, *arguments: object, about: str = "") -> list[Any] | None:
        """Return a list; empty where there is nothing, None where the list cannot be read.

        pynvml raises an error of the value SUCCESS for an empty one, and NOT_FOUND for no sample since.
        """
        empty = {self.library.NVML_SUCCESS, self.library.NVML_ERROR_NOT_FOUND}
        answer = self.ask(function, *arguments, about=about, empty=empty)
        return None if answer is None else list(answer)

    def fields(self, handle: Any, wanted: Iterable[Field]) -> dict[Field, float]:
        """Return field values in one call; a field that the device does not have is left out from then on."""
        asked = [field for field in wanted if self.refusals.get(_name(field)) not in FOR_GOOD]
        answers = self.ask("nvmlDeviceGetFieldValues", handle, asked) if asked else None
        found: dict[Field, float] = {}
        for answer in answers or ():
            field = (answer.fieldId, answer.scopeId)
            self._latency_microseconds += max(0, answer.latencyUsec)
            if answer.nvmlReturn == self.library.NVML_SUCCESS:
                value = self.value(answer.valueType, answer.value)
                if value is None:
                    self.refusals[_name(field)] = "error"
                else:
                    self.refusals.pop(_name(field), None)
                    found[field] = value
            else:
                error = self.library.NVMLError(answer.nvmlReturn)
                # A field that this driver never heard of is an invalid argument.
                unknown = answer.nvmlReturn == self.library.NVML_ERROR_INVALID_ARGUMENT
                self.refusals[_name(field)] = "no_symbol" if unknown else self._refusal(error)
        return found

    def refusal(self, field: Field) -> Refusal | None:
        """Return why a field gave no value when it was asked last."""
        return self.refusals.get(_name(field))

    def take_latency(self) -> float:
        """Return how long the driver itself worked on field values since the last call, in seconds."""
        taken, self._latency_microseconds = self._latency_microseconds, 0
        return taken / _MICROSECONDS

    def value(self, kind: int, union: Any) -> float | None:
        """Return the member of a union that the driver filled.

        Nulls: a kind that is newer than this, and what is no value.
        """
        library = self.library
        members = {
            library.NVML_VALUE_TYPE_DOUBLE: "dVal",
            library.NVML_VALUE_TYPE_UNSIGNED_INT: "uiVal",
            library.NVML_VALUE_TYPE_UNSIGNED_LONG: "ulVal",
            library.NVML_VALUE_TYPE_UNSIGNED_LONG_LONG: "ullVal",
            library.NVML_VALUE_TYPE_SIGNED_LONG_LONG: "sllVal",
            library.NVML_VALUE_TYPE_SIGNED_INT: "siVal",
            library.NVML_VALUE_TYPE_UNSIGNED_SHORT: "usVal",
        }
        member = members.get(kind)
        found: float | None = None if member is None else getattr(union, member)
        return None if found is None or not -ABSURD < found < ABSURD else found

    def _refusal(self, error: Any) -> Refusal:
        library = self.library
        if error.value in {library.NVML_ERROR_GPU_IS_LOST, library.NVML_ERROR_RESET_REQUIRED}:
            raise DeviceLost(str(error)) from error
        if error.value in {
            library.NVML_ERROR_UNINITIALIZED,
            library.NVML_ERROR_DRIVER_NOT_LOADED,
            library.NVML_ERROR_LIB_RM_VERSION_MISMATCH,
        }:
            raise DriverGone(str(error)) from error
        known: dict[int, Refusal] = {
            library.NVML_ERROR_NOT_SUPPORTED: "unsupported",
            library.NVML_ERROR_NO_PERMISSION: "denied",
            library.NVML_ERROR_FUNCTION_NOT_FOUND: "no_symbol",
        }
        return known.get(error.value, "error")


class Patience:
    """When to start NVML again for a device that stays lost: at first soon, then seldom.

    A new session costs the other devices their averages of one round.
    """

    def __init__(self) -> None:
        self._waited = 0
        self._wait = 0

    def is_over(self, is_any_lost: bool) -> bool:
        """Tell whether it is time; called once in each slow round."""
        if not is_any_lost:
            self._waited = self._wait = 0
            return False
        if self._waited < self._wait:
            self._waited += 1
            return False
        self._waited, self._wait = 0, min(2 * self._wait + 1, _LONGEST_WAIT)
        return True


def _name(field: Field) -> str:
    """Return the name of a field among refusals; one link, or one part of the board, has its own."""
    number, scope = field
    if scope == ALL_LINKS:
        return f"field {number}.all"
    return f"field {number}.{scope}" if scope else f"field {number}"


def words(value: object) -> str:
    """Return a string of the library, which is bytes in some versions of the binding."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def share(percent: float | None) -> float | None:
    """Return a percentage as a ratio; null for what cannot be one.

    Drivers divide counters that were read at slightly different instants: one percent over full is full.
    More (ghost samples of zombies, slices) is no measurement.
    """
    if percent is None or not 0 <= percent <= 101:  # noqa: PLR2004  the one percent above
        return None
    return min(percent, 100) / 100
