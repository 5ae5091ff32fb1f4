"""Rollups and how they are wired: a rollup's type hints are its inputs and its output."""

import ast
import hashlib
import importlib
import importlib.util
import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import dataframely as dy
from pydantic import BaseModel

from ledger.errors import ConfigError
from ledger.registry import discover
from ledger.tables.partition import Keyed, declared

_WIRING = frozenset({"queries", "queries.graph", "queries.rule"})
"""Modules that say when a rollup runs, not what it computes: a change in them recomputes nothing."""


@dataclass(frozen=True)
class Input:
    """How a rollup reads one of its inputs.

    `before` and `after` widen the window (a counter's edge, a long job); `by` reads by another grouping
    that the table declares in `also`; `where` keeps rows with one of the values, with none of them (`Without`), that
    contain them (`Containing`), or whose value is in rows of another table (`Among`); `recent` is how far back a
    rollup with one whole partition reads. Text columns in `coded` come as `pl.Enum`, for millions of rows with few
    values. `fills=False` says that rows of this input alone give no row of the output: a change of them makes a
    partition due that another input fills, or that was computed before. `apart` says that a node's rows of this input
    make that node's rows of the output and no others: of an hour with more rows than one call holds, a call gets those
    of some nodes.
    """

    before: timedelta = timedelta(0)
    after: timedelta = timedelta(0)
    by: str = ""
    columns: tuple[str, ...] = ()
    coded: tuple[str, ...] = ()
    where: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    recent: timedelta | None = None
    fills: bool = True
    apart: bool = False


@dataclass(frozen=True)
class Span:
    """The stretch of time whose partitions are computed, half-open, and what time it is."""

    start: datetime
    end: datetime
    now: datetime


@dataclass(frozen=True)
class Source:
    """One input of a rollup: its parameter, its table, and how it is read."""

    parameter: str
    schema: type[dy.Schema]
    read: Input

    def reads_rows_of(self, other: "Source") -> bool:
        """Tell whether two inputs are the same rows, of which each takes columns of its own."""
        if self is other:
            return True
        named = bool(self.read.columns) and bool(other.read.columns)
        alike = replace(self.read, columns=(), fills=True) == replace(other.read, columns=(), fills=True)
        return named and self.schema is other.schema and alike


@dataclass(frozen=True)
class Rollup:
    """A pure function from typed inputs to the rows of one table's partitions."""

    name: str
    schema: type[dy.Schema]
    sources: tuple[Source, ...]
    settings: Mapping[str, type[BaseModel]]
    takes_span: str
    function: Callable[..., Any]
    version: int
    module: str
    rows_at_once: int


ROWS_AT_ONCE = 250_000


def rollup(*, version: int = 1, rows_at_once: int = ROWS_AT_ONCE) -> Callable[[Callable[..., Any]], Rollup]:
    """Declare a rollup.

    Parameters are told apart by their types: `dy.LazyFrame[Table]` (or `Annotated` with an `Input`) is
    an input, `Span` the stretch of time, a pydantic model its settings. Raise `version` when the same
    inputs give other rows: the partitions become due. `rows_at_once` is how much of its largest input one call
    gets: enough that Polars is busy, little enough for half a gigabyte.
    """

    def wrap(function: Callable[..., Any]) -> Rollup:
        hints = get_type_hints(function, include_extras=True)
        sources: list[Source] = []
        settings: dict[str, type[BaseModel]] = {}
        takes_span = ""
        for parameter in inspect.signature(function).parameters:
            hint = hints[parameter]
            read = Input()
            if get_origin(hint) is Annotated:
                hint, *extras = get_args(hint)
                read = next((each for each in extras if isinstance(each, Input)), read)
            if get_origin(hint) is dy.LazyFrame:
                if read.apart and "node" in read.where:
                    raise ConfigError(
                        f"{function.__name__}: {parameter}: found nodes by name where apart, expected all"
                    )
                sources.append(Source(parameter, get_args(hint)[0], read))
            elif hint is Span:
                takes_span = parameter
            elif isinstance(hint, type) and issubclass(hint, BaseModel):
                settings[parameter] = hint
            else:
                raise ConfigError(
                    f"{function.__module__}.{function.__name__}: parameter {parameter}: found {hint!r}, "
                    "expected dy.LazyFrame[Table], Span or a settings model"
                )
        returned = hints["return"]
        return Rollup(
            name=function.__name__,
            schema=get_args(returned)[0],
            sources=tuple(sources),
            settings=settings,
            takes_span=takes_span,
            function=function,
            version=version,
            module=function.__module__,
            rows_at_once=rows_at_once,
        )

    return wrap


@cache
def load() -> tuple[Rollup, ...]:
    """Return every rollup and every rule, each behind those whose output it reads.

    Found by discovery: one per public module of `queries.rollups` and `queries.rules`.

    Raises: ConfigError: two of them read each other, or a rollup does not carry its table's name.
    """
    # A rule is made from a rollup, so its module imports this one.
    from queries.rule import Rule  # noqa: PLC0415

    rollups = discover(importlib.import_module("queries.rollups"), Rollup)
    rules = discover(importlib.import_module("queries.rules"), Rule)
    return ordered((*rollups.values(), *(rule.rollup for rule in rules.values())))


def ordered(rollups: Iterable[Rollup]) -> tuple[Rollup, ...]:
    """Return rollups so that each stands behind those whose output it reads; ties by name.

    A rollup may read its own table: what it wrote earlier. Rules write one table, each its own partition.

    Raises: ConfigError: two rollups have one name, a name is not its table's, or there is a circle.
    """
    waiting: dict[str, Rollup] = {}
    for each in rollups:
        if each.name in waiting:
            raise ConfigError(f"{each.module}: a second rollup is called {each.name}")
        output = declared(each.schema)
        if not isinstance(output.partition, Keyed) and each.name != output.name:
            raise ConfigError(f"{each.module}: found the name {each.name}, expected {output.name}, as its table")
        waiting[each.name] = each
    done: list[Rollup] = []
    while waiting:
        unwritten = {each.schema for each in waiting.values()}
        ready = sorted(
            name
            for name, each in waiting.items()
            if not any(source.schema in unwritten and source.schema is not each.schema for source in each.sources)
        )
        if not ready:
            raise ConfigError(
                f"rollups read each other in a circle: {', '.join(sorted(waiting))}",
                hint="a rollup may read its own earlier output, but not that of a rollup that reads it",
            )
        done.extend(waiting.pop(name) for name in ready)
    return tuple(done)


def code_version(each: Rollup) -> str:
    """Return a fingerprint of what a rollup computes: its version, its module and our modules that it imports.

    Comments, docstrings and layout do not count: they change no row.
    """
    text = [str(each.version), *(f"{module}\n{_parsed(module).code}" for module in sorted(_modules(each.module)))]
    return fingerprint("\n".join(text))


def settings_fingerprint(values: Mapping[str, BaseModel]) -> str:
    """Return a fingerprint of the settings that a rollup is called with."""
    return fingerprint("\n".join(f"{name}={values[name].model_dump_json()}" for name in sorted(values)))


def fingerprint(text: str) -> str:
    """Return a short hash of a text; equal texts have equal ones, in every process."""
    return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()


def _modules(module: str) -> set[str]:
    """Return a module and all modules of `queries` that it builds on."""
    found: set[str] = set()
    open_ends = [module]
    while open_ends:
        name = open_ends.pop()
        if name not in found:
            found.add(name)
            open_ends.extend(_parsed(name).imports)
    return found


@dataclass(frozen=True)
class _Parsed:
    """A module's code without docstrings, comments and layout, and the modules of `queries` that it imports."""

    code: str
    imports: tuple[str, ...]


@cache
def _parsed(module: str) -> _Parsed:
    """Return what a module computes, without the modules that only wire."""
    tree = ast.parse(Path(str(importlib.import_module(module).__file__)).read_text(encoding="utf-8"))
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names if _is_module(node.module, alias.name))
        elif (
            isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
            and ast.get_docstring(node, clean=False) is not None
        ):
            node.body = node.body[1:] or [ast.Pass()]
    return _Parsed(ast.unparse(tree), tuple(sorted(name for name in names - _WIRING if name.startswith("queries."))))


def _is_module(package: str, name: str) -> bool:
    """Tell whether a name in one of our packages is a module and not a value of it."""
    if not package.startswith("queries") or not hasattr(importlib.import_module(package), "__path__"):
        return False
    return importlib.util.find_spec(f"{package}.{name}") is not None
