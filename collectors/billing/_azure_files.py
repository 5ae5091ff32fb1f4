"""Which files of a folder of Azure exports count."""

import re
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Final

from collectors.billing._azure_charges import ACTUAL, AMORTISED
from collectors.billing._source import SourceFile
from ledger.errors import InputError

_PERIOD: Final = re.compile(r"\d{8}-\d{8}")
_RUN_TIME: Final = re.compile(r"\d{12,14}")
_VIEW: Final = ((AMORTISED, re.compile(r"(?i)amorti[sz]ed")), (ACTUAL, re.compile(r"(?i)actual")))


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
