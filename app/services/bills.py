"""Bills: those that were imported and how they stand, fetching those that changed, and accepting one that waits."""

from typing import Annotated, Literal

import polars as pl
from pydantic import Field

from app.context import Context
from app.services import _fetching, _prepaid
from app.services._audit import audited
from app.services._service import Params, Progress, service
from collectors.billing._snapshot import decide
from ledger.errors import ConfigError, InputError
from ledger.tables import BillImport
from queries import sql


class Bills(Params):
    """What to do with bills."""

    action: Annotated[Literal["list", "fetch", "accept"], Field(description="list, fetch or accept")] = "list"
    names: Annotated[tuple[str, ...], Field(description="Sections of [bills] to fetch; empty for all enabled")] = ()
    everything: Annotated[bool, Field(description="Fetch also what has not changed")] = False
    import_id: Annotated[str, Field(description="The import to accept; the start of its id is enough")] = ""


@service()
def bills(context: Context, params: Bills, progress: Progress) -> list[dict[str, object]]:
    """Return imports of bills, the newest first; or what fetching gave; or the rows that accepting changed."""
    if params.action == "fetch":
        return _fetch(context, params, progress)
    if params.action == "accept":
        return _accepted(context, params.import_id)
    return context.store.select(sql.load("bill_imports").text).to_dicts()


def _fetch(context: Context, params: Bills, progress: Progress) -> list[dict[str, object]]:
    try:
        sources = _fetching.bill_sources(context.settings, params.names)
    except ConfigError as error:
        raise InputError(error.message, hint=error.hint) from None
    found: list[dict[str, object]] = []
    for index, source in enumerate(sources):
        progress(source.name, index / len(sources))
        found += _fetching.shown(_fetching.fetch(context, source, everything=params.everything))
    if any(each["rows"] for each in found):
        _prepaid.amortise(context)
    return found


def _accepted(context: Context, wanted: str) -> list[dict[str, object]]:
    """Let an import that waits count, and return the rows that changed by it."""
    with context.work:
        known = context.store.read(BillImport)
        waiting = known.filter((pl.col("status") == "waiting") & pl.col("import_id").str.starts_with(wanted))
        if not wanted or waiting["import_id"].n_unique() != 1:
            ids = ", ".join(sorted(known.filter(pl.col("status") == "waiting")["import_id"].unique()))
            raise InputError(
                f"bills: found {'no' if waiting.is_empty() else 'more than one'} import {wanted or 'without an id'} "
                f"that waits, expected {'one of ' + ids if ids else 'one; none waits'}",
                hint="`clusterledger bills list`",
            )
        settings = context.settings.money
        is_added = waiting["source_name"][0] in settings.append_only_sources
        decision = decide(known, waiting, accept=True, append_only=is_added)
        context.store.append(BillImport, decision.changed, source=context.actor)
        audited(context, action="bill accepted", subject=waiting["import_id"][0], detail=waiting["path"][0])
    _prepaid.amortise(context)
    context.changed()
    return decision.changed.to_dicts()
