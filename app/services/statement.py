"""Statements: what one team is charged for a month, as a file."""

from collections.abc import Callable
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import Annotated

import polars as pl
from pydantic import Field

from app import display
from app.context import Context
from app.reports.statement import Statement
from app.reports.statement_pdf import pdf
from app.reports.statement_rows import gather
from app.services._by_rules import ByRules
from app.services._service import Progress, service
from ledger import money
from ledger.errors import InputError
from ledger.money_sections import MoneySettings
from ledger.tables.partition import after, floor
from queries import sql
from queries.divided import divided

_SUFFIXES = (".csv", ".parquet", ".pdf")


class Asked(ByRules):
    """Whose statement, of which month, and where it goes."""

    team: Annotated[str, Field(min_length=1, description="The team")]
    month: Annotated[
        str, Field(pattern=r"^(\d{4}-(0[1-9]|1[0-2]))?$", description="Month as YYYY-MM; empty for the last whole one")
    ] = ""
    out: Annotated[Path | None, Field(description="File to write: .csv, .parquet or .pdf")] = None


@service(writes="out")
def statement(context: Context, params: Asked, progress: Progress) -> dict[str, object]:
    """Write one team's statement of a month, and return its totals by currency.

    Raises: InputError: nothing of the month is charged to the team, or the file cannot be written.
    """
    del progress
    rules = params.rules(context.settings.money)
    found = of(context, params.team, _month(context, params), rules)
    if found.charges.is_empty():
        teams = _teams(context, found.month)
        hint = f"charged are {', '.join(teams)}" if teams else "import the month's bills first"
        raise InputError(f"statement: nothing of {found.month:%Y-%m} is charged to a team {params.team!r}", hint=hint)
    if params.out is not None:
        _write(found, params.out)
    text, is_ok = found.badge
    return {
        "team": found.team,
        "month": f"{found.month:%Y-%m}",
        "billed_cost": {code: found.total(code, "billed_cost") for code in found.currencies},
        "effective_cost": {code: found.total(code, "effective_cost") for code in found.currencies},
        "idle_cost": {code: found.total(code, "idle_cost") for code in found.currencies},
        "conversion": found.conversion,
        "adjustments": _adjustments(found),
        "closed_at": found.closed.at if found.closed else None,
        "is_preliminary": not found.is_over,
        "has_estimate": found.has_estimate,
        "split_rule": found.rules.split_rule,
        "shared_cost": found.rules.shared_cost,
        "reconciliation": text,
        "is_ok": is_ok,
        "path": str(params.out) if params.out else "",
    }


def of(
    context: Context,
    team: str,
    month: datetime,
    rules: MoneySettings | None = None,
    progress: Callable[[float], object] | None = None,
) -> Statement:
    """Return a team's statement of a month; by other rules than the stored it is neither closed nor adjusts.

    Dividing by other rules takes a while: `progress` is called with the share of the days that are done.
    """
    stored = context.settings.money

    def answer(question: str, **asked: object) -> pl.DataFrame:
        return context.store.select(sql.load(question).text, **asked)

    rates = display.known(context)
    with context.store.transaction():
        if rules is None or rules == stored:
            return gather(answer, team, month.date(), context.now(), stored, exchange=rates)
        days = answer("statement_days", start=month, end=after(month, "month"))["day"]
        windows = [(start, after(start, "day")) for start in (datetime.combine(day, time(), UTC) for day in days)]
        with divided(context.store, rules, windows, context.now(), progress) as other:
            return gather(other, team, month.date(), context.now(), rules, stored=stored, exchange=rates)


def _month(context: Context, params: Asked) -> datetime:
    if not params.month:
        return floor(floor(context.now(), "month") - timedelta(days=1), "month")
    return datetime.strptime(params.month, "%Y-%m").replace(tzinfo=UTC)


def _teams(context: Context, month: object) -> list[str]:
    start = datetime.fromisoformat(f"{month}T00:00:00+00:00")
    found = context.store.select(sql.load("statement_teams").text, start=start, end=after(start, "month"), team="")
    return [str(each) for each in found["team"]]


def _adjustments(found: Statement) -> list[dict[str, object]]:
    """Return by how much closed months differ from what was stated of them, by month, charge category and currency."""
    by = ["for_month", "charge_category", "billing_currency"]
    sums = money.summed(found.adjusted.sort(by), by=by, columns=("billed_cost", "effective_cost"))
    return [{**row, "for_month": f"{row['for_month']:%Y-%m}"} for row in sums.iter_rows(named=True)]


def _write(found: Statement, path: Path) -> None:
    if path.suffix not in _SUFFIXES:
        raise InputError(f"{path}: found the suffix {path.suffix!r}, expected one of {', '.join(_SUFFIXES)}")
    draft = path.with_name(f"{path.name}.partial")
    try:
        if path.suffix == ".pdf":
            draft.write_bytes(pdf(found))
        elif path.suffix == ".csv":
            found.frame().write_csv(draft)
        else:
            found.frame().write_parquet(draft)
        draft.replace(path)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}", hint="choose another place") from None
    finally:
        draft.unlink(missing_ok=True)
