"""Units and how they are found: one module, one unit, no list to edit."""

import importlib
import pkgutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any, TypeVar

from ledger.errors import ConfigError

Row = Mapping[str, object]
"""Plain values under the column names of a table; instants are aware datetimes or epoch milliseconds."""

Emitted = Iterator[tuple[str, Row]]
"""What a collector's round yields: the table's name, and a row of it."""

T = TypeVar("T")


@dataclass(frozen=True)
class Collector:
    """A source on a node: what it emits, how often, and how to open it.

    `open` is called once with the collector's own settings and roots and returns the function that
    does one round; what a round must remember (the previous GPM sample) lives in that closure.
    """

    name: str
    emits: tuple[str, ...]
    every_seconds: float
    open: Callable[..., Callable[[], Iterable[tuple[str, Row]]]]
    deadline_seconds: float = 5.0
    settings: type | None = None
    doc: str = ""
    module: str = ""


def collector(
    *,
    emits: tuple[str, ...],
    every_seconds: float,
    deadline_seconds: float = 5.0,
    settings: type | None = None,
) -> Callable[[Callable[..., Any]], Collector]:
    """Declare a collector from a function that takes its roots and yields rows, or opens such a function.

    A generator function is one round; it keeps nothing. A plain function is called once and returns
    the round, so that it can hold a library open or remember the previous sample.
    """

    def wrap(function: Callable[..., Any]) -> Collector:
        import inspect  # noqa: PLC0415  keeps the agent's start light

        opener = function
        if inspect.isgeneratorfunction(function):

            def opener(**roots: object) -> Callable[[], Iterable[tuple[str, Row]]]:
                return lambda: function(**roots)

            opener.__signature__ = inspect.signature(function)  # type: ignore[attr-defined]
        return Collector(
            name=function.__name__,
            emits=emits,
            every_seconds=every_seconds,
            deadline_seconds=deadline_seconds,
            open=opener,
            settings=settings,
            doc=inspect.getdoc(function) or "",
            module=function.__module__,
        )

    return wrap


def discover(package: ModuleType, kind: type[T]) -> dict[str, T]:
    """Return the units of a package by name: exactly one per public module.

    Raises: ConfigError: a module defines none or several units of the kind.
    """
    found: dict[str, T] = {}
    for info in sorted(pkgutil.iter_modules(package.__path__), key=lambda each: each.name):
        if info.name.startswith("_") or info.ispkg:
            continue
        module = importlib.import_module(f"{package.__name__}.{info.name}")
        # A unit that was imported from elsewhere belongs to its own module.
        units = {
            id(value): value
            for value in vars(module).values()
            if isinstance(value, kind) and getattr(value, "module", module.__name__) == module.__name__
        }
        if len(units) != 1:
            raise ConfigError(
                f"{module.__name__} defines {len(units)} {kind.__name__} units; it must define exactly one",
                hint="split the module, or give helper modules a name that starts with an underscore",
            )
        unit = next(iter(units.values()))
        found[str(getattr(unit, "name", info.name))] = unit
    return found
