"""A delivery of a bill, part by part, as one import."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Final

import dataframely as dy
import polars as pl

from collectors.billing._charges import Charges, facts_of, imports_of
from collectors.billing._format import Imported, Request
from ledger.errors import InputError
from ledger.tables import FocusCharge
from ledger.words import amount

_COUNTED: Final = re.compile(r"(?P<count>[0-9]+) (?P<thing>[a-z]+?)s? (?P<what>.+)", re.DOTALL)


def imported(
    request: Request,
    format_name: str,
    parts: Iterable[Charges],
    *,
    tables: Mapping[type[dy.Schema], pl.DataFrame] | None = None,
    remarks: Iterable[str] = (),
) -> Imported:
    """Return the charges of all parts of a delivery as one import; `tables` and `remarks` are read after the parts.

    Raises: InputError: no part has a row.
    """
    known: list[Charges] = []
    kept: list[pl.DataFrame] = []
    facts: list[pl.DataFrame] = []
    sunk = 0
    for part in parts:
        charges = FocusCharge.cast(part.frame.with_columns(pl.lit(request.import_id).alias("import_id")))
        facts.append(facts_of(charges))
        if request.sink is None:
            kept.append(charges)
        elif charges.height:
            request.sink(charges.rechunk())
            sunk += charges.height
        known.append(replace(part, frame=part.frame.clear()))
    whole = pl.concat(kept, how="vertical") if kept else FocusCharge.create_empty()
    if not sunk and whole.is_empty() and not any(each.rejected for each in known):
        raise InputError(f"{request.source.path}: found a header and no rows, expected charges", hint="export it again")
    imports = imports_of(request, format_name, known, pl.concat(facts, how="vertical"))
    return Imported(
        path=request.source.path,
        format=format_name,
        version=request.version,
        source_name=request.source.name,
        sha256=request.sha256,
        import_id=request.import_id,
        tables={FocusCharge: whole.rechunk(), **(tables or {})},
        imports=imports,
        rejected=tuple(each for part in known for each in part.rejected),
        normalised_count=sum(each.normalised_count for each in known),
        naive_instant_count=sum(each.naive_instant_count for each in known),
        remarks=(*_told(known), *_currencies(imports), *remarks),
        sunk_count=sunk,
    )


def _currencies(imports: pl.DataFrame) -> tuple[str, ...]:
    """Say that a bill is in several currencies, if it is."""
    found = imports["billing_currency"].unique().sort().to_list()
    return (f"charges in {' and '.join(found)} are kept apart: their amounts are never added",) if found[1:] else ()


def _told(parts: list[Charges]) -> tuple[str, ...]:
    """Return what the parts remark; where two remark the same with a count, the counts are added."""
    counts: dict[tuple[str, str], int] = {}
    others: dict[str, None] = {}
    for remark in (remark for each in parts for remark in each.remarks):
        if found := _COUNTED.fullmatch(remark):
            key = (found["thing"], found["what"])
            counts[key] = counts.get(key, 0) + int(found["count"])
        else:
            others[remark] = None
    counts["instant", "without a zone taken as UTC"] = sum(each.naive_instant_count for each in parts)
    counts["cell", "such as 'NULL' or '' read as null"] = sum(each.normalised_count for each in parts)
    return (*others, *(f"{amount(count, thing)} {what}" for (thing, what), count in counts.items() if count))
