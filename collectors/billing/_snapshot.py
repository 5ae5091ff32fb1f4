"""Which import of a bill counts: pure decisions over bill_import rows.

The unit of replacement is (source, billing account, billing period). Nothing is deleted: an import that was
replaced stays, superseded.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final

import polars as pl

from collectors.billing._charges import import_frame
from ledger import money
from ledger.tables import BillImport
from ledger.words import amount

_SMALLER: Final = Decimal("0.2")

_Row = dict[str, object]
_Unit = tuple[object, object]


@dataclass(frozen=True)
class Decision:
    """What an import changes.

    `imports` is the whole bill_import table afterwards; `changed` its rows that are new or differ;
    `is_unchanged` means that these bytes were imported before, so that neither charges nor rows are written.
    `reasons` says in one line each why a period waits; `remarks` what else the person should know.
    """

    imports: pl.DataFrame
    changed: pl.DataFrame
    is_unchanged: bool
    reasons: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()


def decide(
    existing: pl.DataFrame,
    new: pl.DataFrame,
    *,
    accept: bool = False,
    append_only: bool = False,
    smaller_ratio: float = float(_SMALLER),
    closed: Collection[_Unit] = (),
) -> Decision:
    """Return the bill_import table after an import: what is current, superseded, or waits for --accept.

    A unit waits when it has fewer charge days than the one it would replace, or its billed or effective
    cost is smaller by `smaller_ratio` or more, or when its account and period are among the `closed`; with
    `append_only` nothing replaces anything. Importing the same bytes again changes nothing, unless `accept` now makes
    a waiting or replaced import current.

    Shape, grain: `existing` and `new` are bill_import frames; `new` is one import. Order does not matter.
    """
    rows: dict[tuple[object, ...], _Row] = {_key(row): row for row in existing.iter_rows(named=True)}
    before = dict(rows)
    existing_rows = list(before.values())
    fresh = list(new.iter_rows(named=True))
    reasons: list[str] = []
    remarks: list[str] = []
    beside: dict[str, list[_Row]] = {}
    for unit, members in _by_unit(fresh).items():
        known = [rows[_key(row)] for row in members if _key(row) in rows]
        if known and (not accept or all(row["status"] == "current" for row in known)):
            if not accept and any(row["status"] == "waiting" for row in known):
                reasons.append(f"{_named(members[0])}: imported before and still waiting")
            continue
        if copy := _copy_of(existing_rows, members):
            remarks.append(f"{_named(members[0])}: the same bytes were imported as {copy}; nothing is added")
            continue
        replaced = [] if append_only else _replaced(rows.values(), members, unit)
        views, against = _other_views(rows.values(), members, unit, accept=accept)
        replaced += views
        against += _change_of_closed(unit, replaced, members, closed)
        against += _shrinkage(replaced, members, Decimal(str(smaller_ratio)))
        why = [] if accept else against
        status = "waiting" if why else "current"
        reasons.extend(f"{_named(members[0])}: {each}" for each in why)
        for other in _beside(rows.values(), members, unit):
            beside.setdefault(other, []).append(members[0])
        for row in members:
            rows[_key(row)] = {
                **rows.get(_key(row), row),
                "status": status,
                "supersedes_import_id": _superseded_by(row, replaced) if status == "current" else None,
            }
        if status == "current":
            for each in replaced:
                rows[_key(each)] = {**each, "status": "superseded"}
    changed = [row for key, row in rows.items() if before.get(key) != row]
    return Decision(
        imports=import_frame(rows.values()),
        changed=import_frame(changed),
        is_unchanged=not changed,
        reasons=tuple(reasons),
        remarks=(*remarks, *_told_beside(beside)),
    )


def current_imports(imports: pl.DataFrame) -> pl.DataFrame:
    """Return the (import, account, period, currency) keys whose charges count."""
    return imports.filter(pl.col("status") == "current").select(
        "import_id", "billing_account_id", "billing_period_start", "billing_currency"
    )


def _by_unit(rows: list[_Row]) -> dict[_Unit, list[_Row]]:
    units: dict[_Unit, list[_Row]] = {}
    for row in rows:
        units.setdefault(_unit(row), []).append(row)
    return units


def _replaced(rows: Iterable[_Row], members: list[_Row], unit: _Unit) -> list[_Row]:
    """Return the current rows of another import that deliver the same unit from the same source."""
    return [
        row
        for row in rows
        if row["status"] == "current"
        and row["source_name"] == members[0]["source_name"]
        and row["import_id"] != members[0]["import_id"]
        and _unit(row) == unit
    ]


def _views(row: Mapping[str, object]) -> frozenset[str]:
    """Return which views of one cost an import has: some providers export the billed and the amortised one apart."""
    return frozenset(str(row["version"] or "").split()) & {"actual", "amortised"}


def _other_views(
    rows: Iterable[_Row], members: list[_Row], unit: _Unit, *, accept: bool
) -> tuple[list[_Row], list[str]]:
    """Return what an import replaces because it is another view of the same cost, and why it waits if it does.

    Counted side by side they would be the cost twice: an import of both views takes the place of either, one view
    beside the other waits.
    """
    mine = _views(members[0])
    others = [
        row
        for row in rows
        if mine
        and row["status"] == "current"
        and row["format"] == members[0]["format"]
        and row["source_name"] != members[0]["source_name"]
        and _unit(row) == unit
        and _views(row) != mine
    ]
    if not others or accept or all(_views(row) < mine for row in others):
        return others, []
    ours, theirs = (" and ".join(sorted(_views(row))) for row in (members[0], others[0]))
    other = others[0]["source_name"]
    why = f"found the {ours} view of a cost that {other} delivers as {theirs}, expected both in one folder"
    return [], [f"{why}; accepted, it takes the place of the other"]


def _copy_of(rows: Iterable[_Row], members: list[_Row]) -> str:
    """Return the name under which another source delivered the very same bytes; '' where none did."""
    return next(
        (
            str(row["source_name"])
            for row in rows
            if row["sha256"] == members[0]["sha256"]
            and row["import_id"] != members[0]["import_id"]
            and row["status"] != "superseded"
        ),
        "",
    )


def _beside(rows: Iterable[_Row], members: list[_Row], unit: _Unit) -> list[str]:
    """Return the other sources that deliver the same account and period."""
    others = {
        str(row["source_name"])
        for row in rows
        if row["status"] == "current" and row["source_name"] != members[0]["source_name"] and _unit(row) == unit
    }
    return sorted(others)


def _told_beside(beside: Mapping[str, list[_Row]]) -> Iterator[str]:
    """Say which other sources deliver accounts and periods of an import too: both count; one line, however many."""
    if not beside:
        return
    names, units = list(beside), {_named(each) for found in beside.values() for each in found}
    several = f"{names[0]} and {amount(len(names) - 1, 'other source')} deliver"
    who = f"{names[0]} delivers" if len(names) == 1 else several
    what = "this account and period" if len(units) == 1 else f"this and {len(units) - 1} more accounts and periods"
    first = _named(next(iter(beside.values()))[0])
    yield f"{first}: {who} {what} too; both count, since a file replaces one of its own name only"


def _shrinkage(replaced: list[_Row], members: list[_Row], smaller: Decimal) -> list[str]:
    """Say in what an import is less than the one it would replace, currency by currency."""
    fresh = {row["billing_currency"]: row for row in members}
    why = []
    for old in replaced:
        currency = old["billing_currency"]
        row = fresh.get(currency)
        if row is None:
            why.append(f"found no charge in {currency}, expected the {old['row_count']} that it replaces, or more")
            continue
        days, before = _count(row), _count(old)
        if days < before:
            why.append(f"found {days} charge days, expected the {before} that it replaces, or more")
        for name in ("billed_cost", "effective_cost"):
            now, then = _amount(row, name), _amount(old, name)
            loss = money.difference(then, now)
            if loss > 0 and loss >= money.share(then.copy_abs(), smaller):
                found, replaces = money.written(now), money.written(then)
                why.append(f"found {name} {found} {currency}, expected close to the {replaces} that it replaces")
    return why


def _change_of_closed(
    unit: _Unit, replaced: list[_Row], members: list[_Row], closed: Collection[_Unit]
) -> Iterator[str]:
    """Say by how much an import would change a period that is closed, in each currency."""
    if unit not in closed or not replaced:
        return
    changes: dict[str, Decimal] = {}
    for row in (*members, *replaced):
        code, billed = str(row["billing_currency"]), _amount(row, "billed_cost")
        less = billed if row in replaced else billed.copy_negate()
        changes[code] = money.difference(changes.get(code, Decimal(0)), less)
    told = ", ".join(f"{'+' if change > 0 else ''}{money.written(change)} {code}" for code, change in changes.items())
    yield f"found a change of {told} in a closed billing period, expected none"


def _superseded_by(row: Mapping[str, object], replaced: list[_Row]) -> object:
    """Return the import that a row replaces; of several (an append-only source before), the latest."""
    same = [each for each in replaced if each["billing_currency"] == row["billing_currency"]] or replaced
    latest = max(same, key=lambda each: str(each["imported_at"]), default=None)
    return None if latest is None else latest["import_id"]


def _key(row: Mapping[str, object]) -> tuple[object, ...]:
    return tuple(row[name] for name in BillImport.primary_key())


def _unit(row: Mapping[str, object]) -> _Unit:
    return row["billing_account_id"], row["billing_period_start"]


def _count(row: Mapping[str, object]) -> int:
    value = row["charge_day_count"]
    return value if isinstance(value, int) else 0


def _amount(row: Mapping[str, object], name: str) -> Decimal:
    value = row[name]
    return value if isinstance(value, Decimal) else Decimal(0)


def _named(row: Mapping[str, object]) -> str:
    period = row["billing_period_start"]
    month = f"{period:%Y-%m}" if isinstance(period, datetime) else str(period)
    return f"{row['path']}: account {row['billing_account_id']}, period {month}"
