"""Budgets: how they stand, and what people decide about them."""

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import Field

from app import budgets as budgeting
from app.context import Context
from app.data import Scope
from app.services._audit import audited
from app.services._service import Params, Progress, service
from ledger import money
from ledger.budget_rule import BUDGET_SCOPE, DEFAULT_THRESHOLDS, Threshold
from ledger.errors import InputError
from ledger.frames import to_frame
from ledger.tables import BudgetDecision
from ledger.tables.partition import floor
from queries.budgets import Standing


class Budgets(Params):
    """Which month, and a decision about one scope."""

    month: Annotated[
        str, Field(pattern=r"^(\d{4}-(0[1-9]|1[0-2]))?$", description="Month as YYYY-MM; empty for the present one")
    ] = ""
    action: Annotated[Literal["list", "set", "end"], Field(description="List, decide from the month on, or end")] = (
        "list"
    )
    scope: Annotated[
        str, Field(pattern=rf"({BUDGET_SCOPE})|^$", description="total, team:NAME, model:NAME or provider:NAME")
    ] = ""
    currency: Annotated[str, Field(pattern=r"^([A-Z]{3})?$", description="ISO 4217")] = ""
    amount: Annotated[
        Decimal | None, Field(gt=0, max_digits=38, decimal_places=18, description="What a month may cost")
    ] = None
    thresholds: Annotated[tuple[Threshold, ...], Field(description="Shares of it at which receivers are told")] = (
        DEFAULT_THRESHOLDS
    )
    owner: Annotated[str, Field(max_length=200, description="Who must act; empty for the owner of the team")] = ""
    comment: Annotated[str, Field(max_length=1_000, description="Why it was decided so")] = ""


@service()
def budgets(context: Context, params: Budgets, progress: Progress) -> list[dict[str, object]]:
    """Return how the budgets of a month stand, those that need an act first; or keep a decision and return it."""
    del progress
    month = _month(context, params)
    if params.action != "list":
        _decide(context, params, month)
    found = budgeting.standing(context, Scope(), month=month)
    mine = [each for each in found if params.action == "list" or each.budget.scope == params.scope]
    return [row(each) for each in mine]


def row(each: Standing) -> dict[str, object]:
    """Return one budget as plain columns."""
    budget = each.budget
    return {
        "month": budget.month,
        "scope": budget.scope,
        "team": budget.team,
        "billing_currency": budget.currency,
        "status": each.status,
        "budget_cost": budget.cost,
        "spent_cost": each.spent,
        "used_ratio": each.used_ratio,
        "expected_cost": each.expected,
        "lower_cost": each.lower,
        "upper_cost": each.upper,
        "over_cost": each.over,
        "breaks_on": each.breaks_on,
        "thresholds": ", ".join(f"{threshold:.0%}" for threshold in budget.thresholds),
        "owner": budget.owner,
        "source": budget.source,
        "has_estimate": each.has_estimate,
    }


def _month(context: Context, params: Budgets) -> date:
    if not params.month:
        return floor(context.now(), "month").date()
    return datetime.strptime(params.month, "%Y-%m").replace(tzinfo=UTC).date()


def _decide(context: Context, params: Budgets, month: date) -> None:
    """Keep a decision: it holds from its month on, until another one.

    Raises: InputError: it is not said for what, or how much.
    """
    if not params.scope or not params.currency:
        raise InputError("budgets: found no scope or no currency, expected both", hint="such as team:vision and USD")
    if params.action == "set" and params.amount is None:
        raise InputError("budgets: amount: found none, expected what a month may cost")
    amount = params.amount if params.action == "set" else None
    decision = {
        "month": month,
        "scope": params.scope,
        "billing_currency": params.currency,
        "budget_cost": amount,
        "thresholds": ",".join(str(each) for each in sorted(set(params.thresholds))),
        "owner": params.owner,
        "decided_at": context.now(),
        "decided_by": context.actor,
        "comment": params.comment,
    }
    context.store.append(BudgetDecision, to_frame(BudgetDecision, [decision]), source=context.actor)
    said = f"{money.written(amount)} {params.currency} a month" if amount is not None else f"none in {params.currency}"
    audited(
        context,
        action=f"budget {params.action}",
        subject=params.scope,
        detail=f"from {month:%Y-%m}: {said}. {params.comment}".strip(),
    )
    context.changed({"budget_decision"})
