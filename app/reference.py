"""The reference tables of the README and docs/, made from the units themselves: `make docs` writes them."""

import importlib
import inspect
from collections.abc import Iterable, Sequence
from types import ModuleType
from typing import Any

import typer.main

import collectors.billing
import collectors.dumps
import collectors.node
from app.cli import build
from app.page import pages
from app.services import named
from collectors.billing._format import BillFormat
from collectors.cluster._configured import kinds
from collectors.cluster.prometheus import TARGETS
from collectors.dumps._dump import JobDump
from ledger.registry import Collector, discover
from ledger.tables import TABLES, declared
from queries.graph import load
from queries.rule import SECTIONS


def collector_table() -> str:
    """One line per node collector."""
    found = discover(collectors.node, Collector).values()
    return _table(
        ("collector", "every", "emits", "what"),
        ((f"`{each.name}`", f"{each.every_seconds:g} s", _names(each.emits), _first(each.doc)) for each in found),
    )


def source_table() -> str:
    """One line per kind of source."""
    return _table(
        ("kind", "every", "emits", "what"),
        (
            (f"`{each.name}`", f"{each.every_seconds:g} s", _names(each.emits), _first(each.doc))
            for each in kinds().values()
        ),
    )


def metric_table() -> str:
    """One line per exporter and table, with the metrics that are read."""
    return _table(
        ("exporter", "table", "metrics"),
        (
            (each.exporter, f"`{declared(each.schema).name}`", _names(metric.name for metric in each.metrics))
            for each in TARGETS
        ),
    )


def format_table() -> str:
    """One line per file format that `ingest` takes."""
    rows = [
        (f"`{name}`", _first(inspect.getdoc(importlib.import_module(f"{package.__name__}.{name}")) or ""))
        for package, kind in ((collectors.billing, BillFormat), (collectors.dumps, JobDump))
        for name in _modules(package, kind)
    ]
    return _table(("format", "what"), rows)


def rollup_table() -> str:
    """One line per rollup, in the order in which they run."""
    rows = [
        (
            f"`{each.name}`",
            _names(declared(source.schema).name for source in each.sources),
            _first(each.function.__doc__ or ""),
        )
        for each in load()
        if declared(each.schema).name != "finding"
    ]
    return _table(("rollup", "computed from", "what"), rows)


def rule_table() -> str:
    """One line per right-sizing rule."""
    rows = []
    for each in load():
        if declared(each.schema).name == "finding":
            doc = inspect.cleandoc(each.function.__doc__ or "")
            rows.append((f"`{each.name}`", *(_section(doc, name) for name in SECTIONS)))
    return _table(("rule", "looks for", "saving", "may be wrong", "do"), rows)


def table_table() -> str:
    """One line per stored table."""
    return _table(
        ("table", "one row is", "key"),
        (
            (f"`{each.name}`", _first(each.schema.__doc__ or "").rstrip("."), _names(each.key))
            for each in TABLES.values()
        ),
    )


def command_table() -> str:
    """One line per command."""
    return _table(("command", "what it does"), _commands(typer.main.get_command(build()), ""))


def page_table() -> str:
    """One line per page."""
    return _table(("page", "what it shows"), ((each.title, _first(each.doc)) for each in pages()))


def setting_table() -> str:
    """One line per key of the configuration."""
    from app.context import Context  # noqa: PLC0415  only this table needs it
    from ledger.config import Settings  # noqa: PLC0415  as above

    config = named("config")
    keys: Any = config.run(Context(Settings()), config.asked({}))
    return _table(
        ("key", "default", "range", "meaning"),
        (
            (f"`{key['key']}`", f"`{key['default']}`" if key["default"] else "", key["range"], key["meaning"])
            for key in keys
        ),
    )


def _commands(command: Any, prefix: str) -> Iterable[tuple[str, str]]:
    for name, inner in command.commands.items():
        if hasattr(inner, "commands"):
            yield from _commands(inner, f"{prefix}{name} ")
        else:
            given = [each for each in inner.params if each.param_type_name == "argument"]
            arguments = " ".join(each.metavar or each.name.upper() for each in given)
            yield f"`{prefix}{name}{' ' if arguments else ''}{arguments}`", _first(inner.help or "")


def _modules(package: ModuleType, kind: type[Any]) -> list[str]:
    return list(discover(package, kind))


def _first(doc: str) -> str:
    return inspect.cleandoc(doc).split("\n\n", 1)[0].replace("\n", " ")


def _section(doc: str, name: str) -> str:
    lines = doc[doc.index(name) + len(name) :].split("\n")
    kept = [lines[0]]
    for line in lines[1:]:
        if any(line.startswith(other) for other in SECTIONS):
            break
        kept.append(line)
    return " ".join(part.strip() for part in kept).strip()


def _names(names: Iterable[str]) -> str:
    return " ".join(f"`{name}`" for name in dict.fromkeys(names))


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    lines += [f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in rows]
    return "\n".join(lines)
