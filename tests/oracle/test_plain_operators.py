"""No amount goes through a plain operator of Decimal on its way: these round to 28 digits, and say nothing.

Amounts of bills have up to 38 digits. Here a plain operator has one digit, and what it would round is an error.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, date, datetime
from decimal import Context, Decimal, Inexact, InvalidOperation, localcontext

import polars as pl
import pytest

from app import sums
from ledger.money import MONEY
from queries import budgets, measure
from queries.graph import Span
from queries.measure import Amount
from queries.rollups.commitment_day import commitment_day
from tests.oracle import money_frames, test_oracle_forecast, test_oracle_unusual
from tests.oracle.bills import MARCH, MAY, bills
from tests.oracle.faults import as_read
from tests.oracle.money_frames import moment
from tests.oracle.test_mutations import drawn

LONG = Decimal("12345678901234567890.123456789012345678")
"""As many digits as an amount may have."""


COST = Amount("cost", "Cost", "What something costs.", ("rows",), "effective_cost")


@contextmanager
def plain_operators_refused() -> Iterator[None]:
    """Let plain operators of Decimal round to one digit, and refuse to."""
    with localcontext(Context(prec=1, traps=[Inexact, InvalidOperation])):
        yield


OPERATORS: Mapping[str, Callable[[Decimal], object]] = {
    "abs": abs,
    "minus": lambda amount: -amount,
    "plus": lambda amount: amount + 1,
    "difference": lambda amount: amount - 1,
    "product": lambda amount: amount * 3,
    "quotient": lambda amount: amount / 3,
    "sum": lambda amount: sum([amount, amount]),
    "round": lambda amount: amount.quantize(Decimal("0.01")),
}


@pytest.mark.parametrize("name", OPERATORS)
def test_a_plain_operator_is_refused(name: str) -> None:
    with plain_operators_refused(), pytest.raises(ArithmeticError):
        OPERATORS[name](LONG)


def _of_bills() -> object:
    example = next(each for each in drawn(bills(3)) if "invoice that differs" in each.kinds)
    given = money_frames.tables(example.bills)
    given["bill_import"] = as_read(given["bill_import"], control_cost=Decimal(77))
    with plain_operators_refused():
        found = money_frames.computed(given)
        read = {"charges": given["focus_charge"], "imports": given["bill_import"], "resources": given["node_resource"]}
        commitments = commitment_day.function(
            **{name: rows.lazy() for name, rows in read.items()},
            span=Span(moment(MARCH), moment(MAY), moment(MAY)),
            settings=money_frames.SETTINGS,
        )
        return [*found.values(), commitments.collect()]


def _of_days() -> object:
    days, bills_of = test_oracle_unusual.spent(1), test_oracle_unusual.delivered()
    with plain_operators_refused():
        return test_oracle_unusual.told(days, bills=bills_of).rows()


def _of_forecasts() -> object:
    days = test_oracle_forecast.spending()
    with plain_operators_refused():
        return test_oracle_forecast.foreseen(days)


def _of_sums() -> object:
    rows = pl.DataFrame(
        {"billing_currency": ["USD", "USD", "EUR"], "effective_cost": [LONG, LONG.copy_negate(), LONG]},
        schema_overrides={"effective_cost": MONEY},
    )
    with plain_operators_refused():
        found = measure.by_currency(rows, "effective_cost")
        measure.shares(rows.filter(billing_currency="EUR"), ["billing_currency"], COST)
        return found, sums.change(LONG, Decimal(3)), sums.change(Decimal(3), LONG.copy_negate())


def _of_budgets() -> object:
    month = date(2026, 11, 1)
    known = [
        budgets.Budget(month, f"team:{each}", "USD", Decimal(cost), (0.5,), "", "page")
        for each, cost in (("a", "0.000000000000000007"), ("b", LONG))
    ]
    spent = pl.DataFrame(
        {
            "scope": ["team:a", "team:b"],
            "billing_currency": "USD",
            "day": month,
            "cost": [LONG, Decimal("0.3")],
            "usage_cost": [LONG, Decimal("0.3")],
            "has_estimate": False,
        },
        schema_overrides={"cost": MONEY, "usage_cost": MONEY},
    )
    coming = pl.DataFrame(
        schema={"scope": pl.String, "billing_currency": pl.String, "day": pl.Date}
        | dict.fromkeys(("forecast_cost", "lower_cost", "upper_cost"), MONEY)
    )
    with plain_operators_refused():
        found = budgets.standings(known, spent, coming, datetime(2026, 12, 3, tzinfo=UTC))
    return [each.over for each in found]


COMPUTED: Mapping[str, Callable[[], object]] = {
    "costs, allocations, commitments and reconciliation": _of_bills,
    "unusual days": _of_days,
    "forecasts": _of_forecasts,
    "sums and changes": _of_sums,
    "budgets": _of_budgets,
}


@pytest.mark.parametrize("name", COMPUTED)
def test_no_amount_goes_through_a_plain_operator(name: str) -> None:
    assert COMPUTED[name]()
