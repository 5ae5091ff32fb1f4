"""Hypothesis draws numbers and words of all of the project's files, not of those modules that happen to be loaded.

Otherwise what a seed draws would depend on which tests ran before in the process, and a failure would not come back.
"""

from functools import cache, cached_property
from pathlib import Path
from types import ModuleType
from typing import Final

from hypothesis.internal.conjecture.providers import AVAILABLE_PROVIDERS, HypothesisProvider
from hypothesis.internal.constants_ast import Constants, constants_from_module
from sortedcontainers import SortedSet

_ROOT: Final = Path(__file__).parent.parent
_PACKAGES: Final = ("app", "collectors", "ledger", "queries")


class SameDraws(HypothesisProvider):
    """What Hypothesis does by itself, with the same constants in each process."""

    @cached_property
    def _local_constants(self) -> Constants:
        return constants()


@cache
def constants() -> Constants:
    """Return the numbers and words of the project's files in a fixed order.

    They are read as text: importing all takes seconds.
    """
    found = Constants()
    for path in sorted(each for package in _PACKAGES for each in (_ROOT / package).rglob("*.py")):
        named = ModuleType(path.stem)
        named.__file__ = str(path)
        found |= constants_from_module(named)
    return Constants(
        integers=SortedSet(found.integers),
        floats=SortedSet(found.floats),
        bytes=SortedSet(found.bytes),
        strings=SortedSet(found.strings),
    )


def draw_the_same() -> None:
    """Let all tests of this process draw so."""
    AVAILABLE_PROVIDERS["hypothesis"] = SameDraws
