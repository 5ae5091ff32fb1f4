"""The table of nine states, read from the top down, and what samples say of activity; plain Python and fractions."""

from fractions import Fraction
from functools import lru_cache


def decided(  # noqa: PLR0911  one return per row of the table
    *,
    is_seen: bool,
    is_broken: bool,
    is_drained: bool,
    held: str | None,
    own: bool | None,
    stray: bool,
    memory: bool | None,
    active: str | None,
    is_slow: bool,
) -> str:
    """Return the first row of the table that matches."""
    busy = active in {"busy", "underused"}
    if not is_seen:
        return "unknown"
    if is_broken or (is_drained and held == "nobody"):
        return "faulty"
    if stray and own is False:
        return "orphaned"
    if held == "nobody" and (own is False or (own is None and not busy)):
        return "unallocated"
    if held == "job":
        if own is False or (own is None and active == "idle" and not memory):
            return "allocated_idle"
        if active == "idle":
            return "held_idle"
    if not busy:
        return "unknown"
    if is_slow:
        return "throttled"
    return "underused" if active == "underused" else "productive"


@lru_cache(maxsize=4096)
def activity(  # noqa: PLR0911  one return per row of the table
    declared: str | None,
    kernel: str | None,
    graphics: str | None,
    sm: str | None,
    power: str | None,
    idle_power: str | None,
    limit: str | None,
) -> tuple[str, str | None]:
    """Return the quality of the evidence that is there, and idle, underused, busy or None by it."""
    proxy = None
    if power is not None and idle_power is not None and limit is not None and Fraction(limit) > Fraction(idle_power):
        proxy = (Fraction(power) - Fraction(idle_power)) / (Fraction(limit) - Fraction(idle_power))
    low = None if proxy is None else proxy < Fraction(1, 4)
    main = graphics if graphics is not None else sm
    if declared == "A" and main is not None:
        if Fraction(main) < Fraction(5, 100):
            return "A", "idle"
        return "A", "underused" if sm is not None and Fraction(sm) < Fraction(1, 4) else "busy"
    if declared == "B" and kernel is not None:
        if Fraction(kernel) < Fraction(5, 100):
            return "B", "idle"
        return "B", "underused" if low else "busy"
    if declared in {"A", "B", "C", None} and kernel is not None:
        return "C", _by_duty_cycle(kernel, power, idle_power, low)
    if declared != "X" and proxy is not None:
        if proxy < Fraction(5, 100):
            return "D", "idle"
        return "D", "underused" if low else "busy"
    return "X", None


def _by_duty_cycle(kernel: str, power: str | None, idle_power: str | None, low: bool | None) -> str | None:
    """Return what a duty cycle says: near zero it is idle only beside low power, and undecided without power."""
    if Fraction(kernel) < Fraction(1, 100):
        if power is None or idle_power is None:
            return None
        if Fraction(power) < Fraction(idle_power) * Fraction(11, 10):
            return "idle"
    return "underused" if low else "busy"
