"""Questions over rollups, one `.sql` file each: its header says the question, the grain and the parameters.

What several questions read in the same way stands in `parts`, once; a question names it in its header: `with: spent`.
A question about a stretch of time says what it answers of one: `time: hours`, or `time: days` where only whole UTC days
are known.
"""

import re
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Final

from ledger.errors import InputError
from ledger.tables import TABLES

_HEADERS = ("question", "grain", "params")

_PARAMETER = re.compile(r"\$([a-z_]+)")

_STRETCH: Final = frozenset({"start", "end"})


@dataclass(frozen=True)
class Query:
    """A question with the SELECT that answers it; `time` is '' where it is asked about no stretch of time."""

    name: str
    question: str
    grain: str
    params: str
    time: str
    text: str

    @property
    def asks(self) -> frozenset[str]:
        """The names of its parameters."""
        return frozenset(_PARAMETER.findall(self.text))

    @property
    def tables(self) -> frozenset[str]:
        """The tables it reads."""
        return frozenset(word for word in re.findall(r"[a-z_]+", self.text) if word in TABLES)

    @property
    def is_by_days(self) -> bool:
        """Tell whether it answers of whole UTC days only, whatever hours it is asked about."""
        return self.time == "days"


@cache
def load(name: str) -> Query:
    """Return a question by name.

    Raises: InputError: there is none of that name, or its header lacks a line.
    """
    path = resources.files(__name__).joinpath(f"{name}.sql")
    if not path.is_file():
        raise InputError(f"queries/sql: found no question {name}", hint=f"one of {', '.join(names())}")
    text = path.read_text(encoding="utf-8")
    header = dict(re.findall(r"^-- (\w+): (.+)$", text, re.MULTILINE))
    missing = [word for word in _HEADERS if word not in header]
    if missing:
        raise InputError(f"queries/sql/{name}.sql: the header lacks {', '.join(missing)}")
    if "with" in header:
        text = _joined(text, header["with"])
    found = Query(name, header["question"], header["grain"], header["params"], header.get("time", ""), text)
    expected = ("hours", "days") if found.asks >= _STRETCH else ("",)
    if found.time not in expected:
        wanted = " or ".join(expected) or "none"
        raise InputError(f"queries/sql/{name}.sql: time: found {found.time!r}, expected {wanted}")
    return found


def _joined(text: str, part: str) -> str:
    """Return a question that reads a part, with the part in front."""
    shared = resources.files(__name__).joinpath("parts", f"{part}.sql").read_text(encoding="utf-8")
    lines = text.splitlines(keepends=True)
    first = next(place for place, line in enumerate(lines) if not line.startswith("--"))
    body = "".join(lines[first:])
    rest = f", {body.removeprefix('WITH ')}" if body.startswith("WITH ") else f"\n{body}"
    return f"{''.join(lines[:first])}WITH {part} AS NOT MATERIALIZED (\n{shared}){rest}"


def names() -> list[str]:
    """Return the names of all questions."""
    return sorted(
        each.name.removesuffix(".sql") for each in resources.files(__name__).iterdir() if each.name.endswith(".sql")
    )
