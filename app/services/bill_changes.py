"""What one import of a bill says otherwise than the one before it."""

from typing import Annotated, Any

from pydantic import Field

from app.context import Context
from app.services._service import Params, Progress, service
from ledger.errors import InputError
from queries import sql


class Compared(Params):
    """Which import, against which."""

    import_id: Annotated[str, Field(min_length=1, description="The import; the start of its id is enough")]
    before: Annotated[
        str, Field(description="The import to compare it with; empty for the one it replaces or would replace")
    ] = ""


@service()
def bill_changes(context: Context, params: Compared, progress: Progress) -> list[dict[str, Any]]:
    """Return for each account and period of an import what was added, removed and changed, in sums and by charge.

    The sums of `totals` are exact and over all charges; `changes` holds the largest.
    """
    del progress
    imports = context.store.select(sql.load("bill_imports").text).to_dicts()
    mine = [each for each in imports if each["import_id"].startswith(params.import_id)]
    if len({each["import_id"] for each in mine}) != 1:
        found = "no import" if not mine else "more than one import"
        raise InputError(f"bills: found {found} {params.import_id}", hint="`clusterledger bills list`")
    units = {(each["billing_account_id"], each["billing_period_start"]): each for each in mine}
    return [_compared(context, unit, _before(imports, unit, params.before)) for unit in units.values()]


def _before(imports: list[dict[str, Any]], unit: dict[str, Any], wanted: str) -> str:
    """Return the id of the import to compare with; '' where there is none."""
    if not wanted:
        return unit["before_import_id"] or ""
    found = {each["import_id"] for each in imports if each["import_id"].startswith(wanted)}
    if len(found) != 1:
        raise InputError(f"bills: found no one import {wanted}", hint="`clusterledger bills list`")
    return str(found.pop())


def _compared(context: Context, unit: dict[str, Any], before: str) -> dict[str, Any]:
    asked = {
        "new": unit["import_id"],
        "old": before,
        "account": unit["billing_account_id"],
        "start": unit["billing_period_start"],
    }
    return {
        "import_id": unit["import_id"],
        "before_import_id": before,
        "billing_account_id": unit["billing_account_id"],
        "billing_period_start": unit["billing_period_start"],
        "totals": context.store.select(sql.load("bill_change_totals").text, **asked).to_dicts(),
        "changes": context.store.select(sql.load("bill_changes").text, **asked).to_dicts(),
    }
