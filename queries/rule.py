"""Right-sizing rules: each reads rollups and yields findings."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ledger.errors import ConfigError
from queries.graph import Rollup, rollup

SECTIONS = ("Looks for:", "Saving:", "May be wrong:", "Do:")


@dataclass(frozen=True)
class Rule:
    """A rollup into `finding` whose docstring is its reference page."""

    name: str
    rollup: Rollup
    doc: str
    module: str


def rule(function: Callable[..., Any]) -> Rule:
    """Declare a rule; wiring is by type hints, as in a rollup.

    Raises: ConfigError: a section of the docstring is missing.
    """
    doc = inspect.getdoc(function) or ""
    missing = [section for section in SECTIONS if section not in doc]
    if missing:
        raise ConfigError(
            f"{function.__module__}: the docstring lacks {', '.join(missing)}",
            hint="a rule says what it looks for, what it saves, when it may be wrong and what to do",
        )
    return Rule(name=function.__name__, rollup=rollup()(function), doc=doc, module=function.__module__)
