"""Questions over rollups, one `.sql` file each: its header says the question, the grain and the parameters.

What several questions read in the same way stands in `parts`, once; a question names it in its header: `with: spent`.
"""

import re
from dataclasses import dataclass
from functools import cache
from importlib import resources

from ledger.errors import InputError
from ledger.tables import TABLES

_HEADERS = ("question", "grain", "params")

_PARAMETER = re.compile(r"\$([a-z_]+)")


@dataclass(frozen=True)
class Query:
    """A question with the SELECT that answers it."""

    name: str
    question: str
    grain: str
    params: str
    text: str

    @property
    def asks(self) -> frozenset[str]:
        """The names of its parameters."""
        return frozenset(_PARAMETER.findall(self.text))

    @property
    def tables(self) -> frozenset[str]:
        """The tables it reads."""
        return frozenset(word for word in re.findall(r"[a-z_]+", self.text) if word in TABLES)


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
    return Query(name, header["question"], header["grain"], header["params"], text)


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
