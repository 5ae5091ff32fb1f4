"""What stands above the header of a CSV file: empty lines, and the one that tells Excel the character between cells."""

import re
from typing import Final, NamedTuple

from collectors.billing._encoded import HEAD_BYTES

_SAYS: Final = re.compile(rb'"?sep=([^\w\s"]|\t)"?[\s,;|]*', re.IGNORECASE)
_NOTHING: Final = b" \t\r\n,;|"
"""Programs for tables write an empty row as the characters between its cells."""


class Above(NamedTuple):
    """So many bytes and lines stand above the header, and which character between cells they tell; '' for none."""

    bytes: int
    lines: int
    mark: str


def above(content: bytes) -> Above:
    """Return what stands above the header of a CSV file; nothing where no header follows."""
    at, lines, mark = 0, 0, ""
    while at < min(len(content), HEAD_BYTES):
        end = content.find(b"\n", at) + 1 or len(content)
        line = content[at:end]
        said = _SAYS.fullmatch(line)
        if line.strip(_NOTHING) and (said is None or mark):
            return Above(at, lines, mark)
        mark = said[1].decode("latin-1") if said else mark
        at, lines = end, lines + 1
    return Above(0, 0, "")
