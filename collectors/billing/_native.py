"""From a provider's own bill to FOCUS charges: what native formats share after their columns are mapped."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Final

import polars as pl

from collectors.billing import _whole
from collectors.billing._charges import Charges
from collectors.billing._format import Imported, Rejected, Request
from ledger import money

Controls = Mapping[tuple[object, ...], Decimal]
"""What a source's own total is, by billing account, period and currency."""

_SHOWN_DIFFERENCES: Final = 3


@dataclass(frozen=True)
class Native:
    """What a native format makes of a delivery, before it becomes an import; `controls` may be filled by its parts."""

    format: str
    version: str
    files: Iterable[Charges]
    remarks: tuple[str, ...] = ()
    controls: Controls | None = None


def in_own_words(charges: Charges, names: Mapping[str, str]) -> Charges:
    """Return charges whose refusals name the column of the file, not the FOCUS column that it became."""
    own = {name.casefold(): each for name, each in names.items()}
    return replace(charges, rejected=tuple(_in_own_words(each, own) for each in charges.rejected))


def _in_own_words(refused: Rejected, own: Mapping[str, str]) -> Rejected:
    return replace(refused, column=own.get(refused.column.casefold(), refused.column))


def imported(request: Request, native: Native) -> Imported:
    """Return the charges of all files of a delivery as one import.

    Raises: InputError: no file has a row.
    """
    whole = _whole.imported(
        replace(request, version=native.version), native.format, native.files, remarks=dict.fromkeys(native.remarks)
    )
    whole = replace(whole, rejected=_once(whole.rejected))
    if native.controls is None:
        return whole
    imports, differences = _controlled(whole.imports, native.controls)
    return replace(whole, imports=imports, remarks=(*whole.remarks, *differences))


def with_totals(totals: dict[tuple[object, ...], Decimal], part: Charges) -> None:
    """Add what the rows of a part are billed to totals by account, period and currency."""
    for unit, stated in part.totals.items():
        totals[unit] = money.add(totals.get(unit, Decimal(0)), stated.billed_cost)


def _controlled(imports: pl.DataFrame, controls: Controls) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """Return the imports with their source's own totals, and a line for each that the charges miss."""
    units = imports.select("billing_account_id", "billing_period_start", "billing_currency").rows()
    at_rest = [money.at_rest(controls[unit]) if unit in controls else None for unit in units]
    remarks = [
        f"account {account}, period {period:%Y-%m}: the rows bill {money.written(billed)} {currency}, the source's own "
        f"total is {money.written(control)}"
        for (account, period, currency), billed, control in zip(units, imports["billed_cost"], at_rest, strict=True)
        if control is not None and control != billed
    ]
    more = [f"{len(remarks) - _SHOWN_DIFFERENCES} more totals differ"] if len(remarks) > _SHOWN_DIFFERENCES else []
    return (
        imports.with_columns(pl.Series("control_cost", at_rest, dtype=money.MONEY)),
        (*remarks[:_SHOWN_DIFFERENCES], *more),
    )


def _once(rejected: Iterable[Rejected]) -> tuple[Rejected, ...]:
    """Return what was refused, once for each line: one line may have become several charges."""
    found: dict[tuple[str, int], Rejected] = {}
    for each in rejected:
        found.setdefault((each.path, each.line), each)
    return tuple(found.values())
