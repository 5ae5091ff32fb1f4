"""Which files of a folder of Azure exports count, and their rows."""

import csv
import io
import re
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath
from typing import Final

from collectors.billing._azure_charges import ACTUAL, AMORTISED
from collectors.billing._azure_columns import Known
from collectors.billing._csv import header, utf8
from collectors.billing._source import SourceFile
from collectors.billing._texts import Texts, read_parts
from ledger.errors import InputError

_PERIOD: Final = re.compile(r"\d{8}-\d{8}")
_RUN_TIME: Final = re.compile(r"\d{12,14}")
_VIEW: Final = ((AMORTISED, re.compile(r"(?i)amorti[sz]ed")), (ACTUAL, re.compile(r"(?i)actual")))
_CELLS: Final = re.compile(r"(\d+) cells")


def view_named(file: SourceFile) -> str | None:
    """Return which view the path of a file says it is."""
    return next((view for view, words in _VIEW if words.search(file.label)), None)


def latest_runs(files: Sequence[SourceFile]) -> tuple[tuple[SourceFile, ...], tuple[str, ...]]:
    """Return the files of the latest run for each export and period, and a remark about the others.

    An export of the month to date writes the whole month again each day, `EXPORT/PERIOD/[TIME/]RUN/part.csv`:
    together they would count a month many times.
    Raises: InputError: of several runs nobody can tell which is the latest.
    """
    runs: dict[tuple[str, ...], dict[tuple[str, ...], list[SourceFile]]] = {}
    for file in files:
        parts = PurePosixPath(file.name).parts
        at = next((index for index, part in enumerate(parts) if _PERIOD.fullmatch(part)), None)
        export, run = (parts[: at + 1], parts[at + 1 : -1]) if at is not None else ((file.name,), ())
        runs.setdefault(export, {}).setdefault(run, []).append(file)
    kept: list[SourceFile] = []
    remarks: list[str] = []
    for export, found in runs.items():
        if len(found) > 1:
            timed = all(run and _RUN_TIME.fullmatch(run[0]) for run in found)
            if not timed:
                raise InputError(
                    f"{'/'.join(export)}: found {len(found)} runs of one export, expected one",
                    hint="import the folder of the latest run, or let the export overwrite its files",
                )
            remarks.append(f"{'/'.join(export)}: the latest of {len(found)} runs was taken")
        latest = max(found)
        kept.extend(found[latest])
    order = {file.label: index for index, file in enumerate(files)}
    return tuple(sorted(kept, key=lambda each: order[each.label])), tuple(remarks)


def parts_of(file: SourceFile) -> Iterator[tuple[Texts, tuple[str, ...]]]:
    """Yield a file some rows at a time, with the columns that all of its rows end before: these are left out.

    One short row among whole ones stays a broken row: that is how a cut file looks.
    """
    content = file.content()
    for texts in read_parts(file, content, Known()):
        lacking = _lacking(texts)
        if not lacking:
            yield texts, ()
            continue
        # Such a file comes in one part, for no row of it fits its header: read again with a header that fits.
        whole = utf8(file.label, content)
        names, mark = header(whole)
        kept = io.StringIO()
        csv.writer(kept, delimiter=mark, lineterminator="\n").writerow(names[: -len(lacking)])
        for fitting in read_parts(file, kept.getvalue().encode() + whole.partition(b"\n")[2], Known()):
            yield fitting, lacking


def _lacking(texts: Texts) -> tuple[str, ...]:
    """Return the last columns of the header, where all rows have the same number of cells and fewer than it."""
    if texts.frame.height or not texts.broken:
        return ()
    widths = {int(found[1]) for each in texts.broken if (found := _CELLS.fullmatch(each.found))}
    columns = texts.frame.columns
    return tuple(columns[max(widths) :]) if len(widths) == 1 and max(widths) < len(columns) else ()
