"""Which import of a bill counts: pure decisions over bill_import rows.

The unit of replacement is (source, billing account, billing period). Nothing is deleted: an import that was
replaced stays, superseded.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
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
_Key = tuple[object, ...]


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


@dataclass(frozen=True)
class _Rules:
    """How an import is judged: as `decide` is asked to."""

    accept: bool
    append_only: bool
    smaller: Decimal
    closed: Collection[_Unit]


@dataclass(frozen=True)
class _Verdict:
    """What becomes of one unit of an import: the rows that are new or change, why it waits, and what else to tell."""

    rows: Mapping[_Key, _Row] = field(default_factory=dict)
    reasons: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()


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

    A unit waits when it has fewer charge days than one that it would replace, or when its billed or effective cost is
    smaller by `smaller_ratio` or more than that of all it would replace, or when its account and period are among the
    `closed`; with `append_only` nothing replaces anything. Importing the same bytes again changes nothing, unless
    `accept` now makes a waiting or replaced import current.

    Shape, grain: `existing` and `new` are bill_import frames; `new` is one import. Order does not matter.
    """
    rules = _Rules(accept, append_only, Decimal(str(smaller_ratio)), closed)
    before = {_key(row): row for row in existing.iter_rows(named=True)}
    rows = dict(before)
    reasons: list[str] = []
    remarks: list[str] = []
    beside: dict[str, list[_Row]] = {}
    for unit, members in _by_unit(new.iter_rows(named=True)).items():
        found = _verdict(before, rows, unit, members, rules)
        rows |= found.rows
        name = _named(members[0])
        reasons.extend(f"{name}: {each}" for each in found.reasons)
        remarks.extend(f"{name}: {each}" for each in found.remarks)
        for other in found.beside:
            beside.setdefault(other, []).append(members[0])
    changed = [row for key, row in rows.items() if before.get(key) != row]
    return Decision(
        imports=import_frame(rows.values()),
        changed=import_frame(changed),
        is_unchanged=not changed,
        reasons=tuple(reasons),
        remarks=(*remarks, *_told_beside(beside)),
    )


def _verdict(
    before: Mapping[_Key, _Row], rows: Mapping[_Key, _Row], unit: _Unit, members: list[_Row], rules: _Rules
) -> _Verdict:
    """Return what becomes of one unit; `before` is what was known before this import, `rows` with its other units."""
    known = [rows[_key(row)] for row in members if _key(row) in rows]
    if known and (not rules.accept or all(row["status"] == "current" for row in known)):
        waits = not rules.accept and any(row["status"] == "waiting" for row in known)
        return _Verdict(reasons=("imported before and still waiting",) if waits else ())
    if copy := _copy_of(before.values(), members):
        return _Verdict(remarks=(f"the same bytes were imported as {copy}; nothing is added",))
    replaced, against = _replacing(list(rows.values()), unit, members, rules)
    waits = bool(against) and not rules.accept
    status, gone = ("waiting", []) if waits else ("current", replaced)
    found: dict[_Key, _Row] = {
        _key(row): {**rows.get(_key(row), row), "status": status, "supersedes_import_id": _superseded_by(row, gone)}
        for row in members
    }
    found |= {_key(each): {**each, "status": "superseded"} for each in gone}
    if waits:
        return _Verdict(found, against)
    return _Verdict(found, beside=tuple(_beside(rows.values(), members, unit, gone)))


def _replacing(rows: list[_Row], unit: _Unit, members: list[_Row], rules: _Rules) -> tuple[list[_Row], tuple[str, ...]]:
    """Return the rows whose place a unit would take, and all that speaks against it."""
    replaced = [] if rules.append_only else _replaced(rows, members, unit)
    views, against = _other_views(rows, members, unit, accept=rules.accept)
    replaced += views
    changes = _change_of_closed(unit, replaced, members, rules.closed)
    return replaced, (*against, *changes, *_shrinkage(replaced, members, rules.smaller))


def current_imports(imports: pl.DataFrame) -> pl.DataFrame:
    """Return the (import, account, period, currency) keys whose charges count."""
    return imports.filter(pl.col("status") == "current").select(
        "import_id", "billing_account_id", "billing_period_start", "billing_currency"
    )


def _by_unit(rows: Iterable[_Row]) -> dict[_Unit, list[_Row]]:
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


def _beside(rows: Iterable[_Row], members: list[_Row], unit: _Unit, gone: list[_Row]) -> list[str]:
    """Return the other sources that deliver the same account and period, and do not make way."""
    mine = members[0]["source_name"]
    found = (row for row in rows if row["status"] == "current" and _unit(row) == unit and row not in gone)
    return sorted({str(row["source_name"]) for row in found if row["source_name"] != mine})


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


def _shrinkage(replaced: list[_Row], members: list[_Row], smaller: Decimal) -> Iterator[str]:
    """Say in what an import is less than all that it would replace together, currency by currency."""
    fresh = {row["billing_currency"]: row for row in members}
    for currency in dict.fromkeys(row["billing_currency"] for row in replaced):
        old = [row for row in replaced if row["billing_currency"] == currency]
        row = fresh.get(currency)
        if row is None:
            count = sum(_count(each, "row_count") for each in old)
            yield f"found no charge in {currency}, expected the {count} that it replaces, or more"
            continue
        # Several deliveries may share days: that of the most is what one of all must have at least.
        days, before = _count(row, "charge_day_count"), max(_count(each, "charge_day_count") for each in old)
        if days < before:
            yield f"found {days} charge days, expected the {before} that it replaces, or more"
        for name in ("billed_cost", "effective_cost"):
            now, then = _amount(row, name), money.add(*(_amount(each, name) for each in old))
            loss = money.difference(then, now)
            if loss > 0 and loss >= money.share(then.copy_abs(), smaller):
                found = f"no {name} in" if row[name] is None else f"{name} {money.written(now)}"
                yield f"found {found} {currency}, expected close to the {money.written(then)} that it replaces"


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


def _key(row: Mapping[str, object]) -> _Key:
    return tuple(row[name] for name in BillImport.primary_key())


def _unit(row: Mapping[str, object]) -> _Unit:
    return row["billing_account_id"], row["billing_period_start"]


def _count(row: Mapping[str, object], name: str) -> int:
    value = row[name]
    return value if isinstance(value, int) else 0


def _amount(row: Mapping[str, object], name: str) -> Decimal:
    value = row[name]
    return value if isinstance(value, Decimal) else Decimal(0)


def _named(row: Mapping[str, object]) -> str:
    period = row["billing_period_start"]
    month = f"{period:%Y-%m}" if isinstance(period, datetime) else str(period)
    return f"{row['path']}: account {row['billing_account_id']}, period {month}"
