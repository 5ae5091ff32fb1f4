"""Azure cost exports, actual and amortised, of every agreement: EA, MCA, pay as you go, in any spelling.

Actual and amortised cost are two views of one cost: billed is taken from the actual, effective from the
amortised export, and nothing is ever counted in both. No row is joined with another: what a row is, its own cells say,
so the files go through part by part.
"""

from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Final

import polars as pl

from collectors.billing._azure_charges import ACTUAL, AMORTISED, NAMES, charges_as_text, purchases_of_commitments
from collectors.billing._azure_columns import Known, agreement
from collectors.billing._azure_exports import Export, opened, with_views
from collectors.billing._azure_files import latest_runs
from collectors.billing._azure_languages import near
from collectors.billing._cells import Cells
from collectors.billing._charges import Charges, charges_of
from collectors.billing._format import BillFormat, Head, Imported, Request
from collectors.billing._native import Native, imported, in_own_words, with_totals
from collectors.billing._short_rows import fitting_parts
from collectors.billing._texts import Texts
from ledger.tables import FocusCharge, declared


def _version(head: Head) -> str | None:
    """Return the agreement that the columns belong to, or None where they are no cost export of Azure."""
    return agreement(head.columns)


def _read(request: Request) -> Imported:
    """Return the charges of an export; of a folder that holds both views, one charge for what both say."""
    files, remarks = latest_runs(request.source.files)
    exports = with_views([opened(file, request) for file in files])
    views = sorted({str(each.view) for each in exports})
    controls: dict[tuple[object, ...], Decimal] | None = {} if len(views) > 1 else None
    said = [remark for each in exports for remark in each.remarks]
    kinds = " and ".join(sorted({each.agreement for each in exports}))
    return imported(
        request,
        Native(
            format=azure_cost.name,
            version=f"{kinds} {' and '.join(views)}",
            files=_parts(request, exports, controls),
            remarks=(*remarks, *dict.fromkeys(said), *_one_sided(exports, views)),
            controls=controls,
        ),
    )


def _parts(
    request: Request, exports: Sequence[Export], controls: dict[tuple[object, ...], Decimal] | None
) -> Iterator[Charges]:
    """Yield the charges of all files; of two views, what the actual one is billed is added to `controls`."""
    first_index = 0
    for export in exports:
        for texts, _ in fitting_parts(export.file, Known()):
            rows = export.rows(texts)
            made = charges_as_text(rows, view=str(export.view))
            everything = pl.repeat(value=True, n=made.height, dtype=pl.Boolean, eager=True)
            keep = everything
            if controls is not None:
                bought = purchases_of_commitments(rows)
                # What buys a commitment is taken from the actual cost, all else from the amortised.
                keep = bought if export.view == ACTUAL else ~bought
                if export.view == ACTUAL:
                    with_totals(controls, _charged(export, texts, made, everything, request, 0))
            charges = _charged(export, texts, made, keep, request, first_index)
            first_index += charges.frame.height + len(charges.rejected)
            yield charges


def _charged(
    export: Export, texts: Texts, made: pl.DataFrame, keep: pl.Series, request: Request, first_index: int
) -> Charges:
    """Return the charges of some rows of a file; refusals name the file's own columns."""
    frame = made.filter(keep).drop(export.empty)
    own = Texts(texts.label, frame, texts.lines.filter(keep), texts.broken, texts.is_line, origin=texts)
    names = {focus: export.columns.get(ours, ours) for focus, ours in NAMES.items()}
    cells = Cells(own, declared(FocusCharge).name)
    return in_own_words(charges_of(cells, request.defaults, first_index=first_index), names)


def _one_sided(exports: Sequence[Export], views: Sequence[str]) -> tuple[str, ...]:
    """Say what one view alone cannot tell."""
    if len(views) > 1 or not any(each.has_covered_usage for each in exports):
        return ()
    lacks = {
        AMORTISED: "what was paid for reservations and savings plans is not in the billed cost",
        ACTUAL: "what usage under reservations and savings plans costs is unknown",
    }
    return (f"{views[0]} cost alone: {lacks[views[0]]}; import one folder that holds both views",)


azure_cost: Final = BillFormat(name="azure_cost", detect=_version, read=_read, module=__name__, near=near)
