"""What a pod asks for, as numbers by resource."""

import re
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Final

from collectors.cluster._kubernetes_objects import Pod, Resources

_SUFFIXES: Final[Mapping[str, Decimal]] = {
    "": Decimal(1),
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("1e-3"),
    **{letter: Decimal(1000) ** power for power, letter in enumerate("kMGTPE", start=1)},
    **{f"{letter}i": Decimal(1024) ** power for power, letter in enumerate("KMGTPE", start=1)},
}
_QUANTITY: Final = re.compile(r"([+-]?[0-9.]{1,40}(?:[eE][+-]?[0-9]{1,2})?)([KMGTPE]i|[numkMGTPE]?)")

_NONE: Final = Decimal(0)
_MOST: Final = Decimal(2**63 - 1)


def quantity(text: str) -> Decimal:
    """Return a quantity such as `64Gi`, `500m` or `8` as a number.

    Raises: ValueError: it is none.
    """
    match = _QUANTITY.fullmatch(text)
    if match is None:
        raise ValueError(f"found {text!r}, expected a quantity")
    try:
        found = Decimal(match[1]) * _SUFFIXES[match[2]]
    except InvalidOperation:
        raise ValueError(f"found {text!r}, expected a quantity") from None
    if not 0 <= found <= _MOST:
        raise ValueError(f"found {text!r}, expected a quantity between 0 and 2^63")
    return found


def requests(pod: Pod) -> dict[str, Decimal]:
    """Return what a pod asks for by resource: its containers together, or its largest init container.

    An init container that goes on beside the others (a sidecar) counts with all that comes after it.

    Raises: ValueError: what it asks for is no quantity.
    """
    running: dict[str, Decimal] = {}
    starting: dict[str, Decimal] = {}
    for container in pod.spec.init_containers or ():
        asked = _asked(container.resources)
        for name, value in asked.items():
            starting[name] = max(starting.get(name, _NONE), running.get(name, _NONE) + value)
        if container.restart_policy == "Always":
            _add(running, asked)
    for container in pod.spec.containers or ():
        _add(running, _asked(container.resources))
    return {name: max(running.get(name, _NONE), starting.get(name, _NONE)) for name in {**running, **starting}}


def _asked(resources: Resources | None) -> dict[str, Decimal]:
    """Return what one container asks for; a limit without a request is one."""
    if resources is None:
        return {}
    words = {**(resources.limits or {}), **(resources.requests or {})}
    return {name: quantity(word) for name, word in words.items()}


def _add(sums: dict[str, Decimal], more: Mapping[str, Decimal]) -> None:
    for name, value in more.items():
        sums[name] = sums.get(name, _NONE) + value
