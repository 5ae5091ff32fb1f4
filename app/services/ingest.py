"""Bills, invoices, price lists and scheduler dumps, from files into the ledger."""

from typing import Annotated

from pydantic import Field

from app.context import Context
from app.services import _dumps, _owned, _prepaid, _rejections
from app.services._bills import Outcome, keep, misfits, receiving, shown_as
from app.services._faults import TOLD_FAULTS, Faults
from app.services._prices import prices
from app.services._service import Params, Progress, service
from collectors.billing._read import bill_formats, read_bill
from ledger.errors import ClusterLedgerError, InputError
from ledger.words import amount

# An inventory holds no charges: they follow from it.
_OWNED = "on_premises"


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
        kept = {schema: context.store.append(schema, frame, source=name) for schema, frame in read.frames.items()}
        misfit_count = sum(each.rejected for each in kept.values())
        faults = _rejections.keep(context, map(_rejections.of_dump, read.rejected), name)
        outcome = Outcome(
            format=read.format,
            version="",
            rows=sum(each.height for each in read.frames.values()) - misfit_count,
            rejected=len(read.rejected) + misfit_count,
            is_unchanged=not any(each.rows for each in kept.values()),
        )
        return _told(name, outcome, (*read.remarks, *misfits(kept), *_zoneless(read.naive_instant_count)), faults)
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
    faults = _rejections.keep(context, map(_rejections.of_bill, imported.rejected), name)
    return _told(name, outcome, (*imported.remarks, *outcome.remarks), faults)


def _zoneless(count: int) -> tuple[str, ...]:
    return (f"{amount(count, 'instant')} without a zone taken as UTC",) if count else ()


def _told(name: str, outcome: Outcome, remarks: tuple[str, ...], faults: Faults) -> dict[str, object]:
    lines = faults.lines(name)
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
        "rejections": lines,
        "faults": faults.rows(name),
    }
    if lines and not outcome.rows:
        found["error"] = f"{name}: found no row that can be kept, expected at least one; {lines[0]}"
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
    lines = [": ".join(filter(None, (unit, "; ".join(filter(None, rest))))) for unit, rest in units.items()]
    more = len(lines) - TOLD_FAULTS
    return "\n".join([*lines[:TOLD_FAULTS], *([f"{amount(more, 'more account')} or periods"] if more > 0 else [])])


def _failed(name: str, error: ClusterLedgerError, path: str) -> dict[str, object]:
    """Say that nothing of a file was kept, and why."""
    message = error.message.replace(path, name)
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
        "faults": [],
        "error": message if name in message else f"{name}: {message}",
        "hint": error.hint.replace(path, name),
        "exit_code": error.exit_code,
    }
