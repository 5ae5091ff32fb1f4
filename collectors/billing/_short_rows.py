"""Files whose rows all end before their header does: exports leave out the last cells where no row has any."""

import csv
import io
import re
from collections.abc import Callable, Container, Iterator
from typing import Final

from collectors.billing._above import above
from collectors.billing._csv import header
from collectors.billing._encoded import utf8
from collectors.billing._source import SourceFile
from collectors.billing._texts import Texts, read_parts

_CELLS: Final = re.compile(r"(\d+) cells?")


def fitting_parts(
    file: SourceFile, wanted: Container[str], is_needed: Callable[[str], bool] = lambda _: False
) -> Iterator[tuple[Texts, tuple[str, ...]]]:
    """Yield a file some rows at a time, with the columns that all of its rows end before: these are left out.

    One short row among whole ones stays a broken row: that is how a cut file looks. So do rows that all end before a
    column that is needed.
    """
    content = file.content()
    for texts in read_parts(file, content, wanted):
        lacking = _lacking(texts)
        if not lacking or any(map(is_needed, lacking)):
            yield texts, ()
            continue
        # Such a file comes in one part, for no row of it fits its header: read again with a header that fits.
        whole = utf8(file.label, content)
        names, mark = header(whole)
        kept = io.StringIO()
        csv.writer(kept, delimiter=mark, lineterminator="\n").writerow(names[: -len(lacking)])
        start = above(whole).bytes
        fits = whole[:start] + kept.getvalue().encode() + whole[start:].partition(b"\n")[2]
        for fitting in read_parts(file, fits, wanted):
            yield fitting, lacking


def _lacking(texts: Texts) -> tuple[str, ...]:
    """Return the last columns of the header, where all rows have the same number of cells and fewer than it."""
    if texts.frame.height or not texts.broken:
        return ()
    widths = {int(found[1]) for each in texts.broken if (found := _CELLS.match(each.found))}
    columns = texts.frame.columns
    return tuple(columns[max(widths) :]) if len(widths) == 1 and max(widths) < len(columns) else ()
