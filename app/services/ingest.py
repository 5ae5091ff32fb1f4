"""Bills, invoices, price lists and scheduler dumps, from files into the ledger."""

from typing import Annotated

from pydantic import Field

from app.context import Context
from app.services import _dumps, _owned, _prepaid, _rejections
from app.services._bills import Outcome, keep, receiving, shown_as
from app.services._prices import prices
from app.services._service import Params, Progress, service
from collectors.billing._read import bill_formats, read_bill
from ledger.errors import ClusterLedgerError, InputError
from ledger.words import amount

# An inventory holds no charges: they follow from it.
_OWNED = "on_premises"

_TOLD_ROWS = 5
"""Refused rows that are told at once; all of them stand in `rejected_row`."""


class Files(Params):
    """What to import; `names` and `sources` say how the caller's machine calls each path."""

    paths: Annotated[tuple[str, ...], Field(min_length=1, description="Files, folders or object-store addresses")]
    format: Annotated[str, Field(description="Format to read them as; empty to detect it")] = ""
    accept: Annotated[bool, Field(description="Accept a bill that is smaller than the one it replaces")] = False
    names: Annotated[tuple[str, ...], Field(description="What the paths are called; empty for themselves")] = ()
    sources: Annotated[
        tuple[str, ...], Field(description="Names under which they are delivered; empty for their own")
    ] = ()


@service(reads=("paths",))
def ingest(context: Context, params: Files, progress: Progress) -> dict[str, object]:
    """Import files and return what each gave; a bad one is told in one line and the others are kept."""
    known = {*bill_formats(), *_dumps.formats()}
    if params.format and params.format not in known:
        raise InputError(
            f"format: found {params.format!r}, expected one of {', '.join(sorted(known))}",
            hint="leave it out to detect it",
        )
    files: list[dict[str, object]] = []
    with context.work:
        for index, path in enumerate(params.paths):
            name = params.names[index] if index < len(params.names) else path
            source = params.sources[index] if index < len(params.sources) else ""
            progress(name, index / len(params.paths))
            try:
                files.append(_imported(context, params, path, name, source))
            except ClusterLedgerError as error:
                files.append(_failed(name, error, path))
        if any(each["format"] == _OWNED for each in files):
            _owned.charge(context)
        _prepaid.amortise(context)
        context.changed()
    return {"files": files}


def _imported(context: Context, params: Files, path: str, name: str, source: str) -> dict[str, object]:
    """Import one path."""
    dump = _dumps.detected(path, params.format)
    if dump is not None:
        read = dump.read(_dumps.local(path))
        kept = [context.store.append(schema, frame, source=name).rows for schema, frame in read.frames.items()]
        refused = [_rejections.of_dump(each).row(name) for each in read.rejected]
        _rejections.keep(context, refused)
        outcome = Outcome(
            format=read.format,
            version="",
            rows=sum(each.height for each in read.frames.values()),
            rejected=len(read.rejected),
            is_unchanged=not sum(kept),
        )
        return _told(name, outcome, (*read.remarks, *_zoneless(read.naive_instant_count)), refused)
    with receiving(context) as received:
        imported = read_bill(
            path,
            format=params.format or None,
            defaults=context.settings.money.bill_defaults,
            source_name=source or None,
            imported_at=context.now(),
            sink=received,
            prices=prices(context),
        )
        imported = shown_as(imported, path, name)
        outcome = keep(context, imported, accept=params.accept, received=received)
    refused = [_rejections.of_bill(each).row(name) for each in imported.rejected]
    _rejections.keep(context, refused)
    return _told(name, outcome, (*imported.remarks, *outcome.remarks), refused)


def _zoneless(count: int) -> tuple[str, ...]:
    return (f"{amount(count, 'instant')} without a zone taken as UTC",) if count else ()


def _told(name: str, outcome: Outcome, remarks: tuple[str, ...], refused: list[dict[str, object]]) -> dict[str, object]:
    found: dict[str, object] = {
        "path": name,
        "format": outcome.format,
        "version": outcome.version,
        "rows": outcome.rows,
        "rejected": outcome.rejected,
        "billed_cost": outcome.billed_cost,
        "effective_cost": outcome.effective_cost,
        "is_unchanged": outcome.is_unchanged,
        "remarks": [each.removeprefix(f"{name}: ") for each in remarks],
        "rejections": [str(each["reason"]).removeprefix(f"{name}: ") for each in refused[:_TOLD_ROWS]],
    }
    if refused and not outcome.rows:
        first = str(refused[0]["reason"]).removeprefix(f"{name}: ")
        found["error"] = f"{name}: found no row that can be kept, expected at least one; {first}"
        found["hint"] = "correct the file and import it again; what was imported before still counts"
    if outcome.waiting:
        found["error"] = _lines(outcome.waiting)
        found["hint"] = "import it again with --accept if it is right; until then the earlier bill counts"
    return found


def _lines(reasons: tuple[str, ...]) -> str:
    """Return a line for each account and period of a bill, with all that speaks against it."""
    units: dict[str, list[str]] = {}
    for each in reasons:
        unit, mark, rest = each.partition(": found ")
        units.setdefault(unit, []).append(mark.removeprefix(": ") + rest)
    return "\n".join(": ".join(filter(None, (unit, "; ".join(filter(None, rest))))) for unit, rest in units.items())


def _failed(name: str, error: ClusterLedgerError, path: str) -> dict[str, object]:
    """Say that nothing of a file was kept, and why."""
    return {
        "path": name,
        "format": "",
        "version": "",
        "rows": 0,
        "rejected": 0,
        "billed_cost": {},
        "effective_cost": {},
        "is_unchanged": True,
        "remarks": [],
        "rejections": [],
        "error": error.message.replace(path, name),
        "hint": error.hint.replace(path, name),
        "exit_code": error.exit_code,
    }
