"""What the page of other ways says first is true of the table below it."""

from decimal import Decimal

import polars as pl
import pytest

from app.what_if_words import answer, heads
from ledger.money import MONEY

NOW = {"option": "As it is now", "kind": "now", "month_cost": Decimal(900)}
BOUGHT = {"option": "Buy 3 servers", "kind": "owned", "month_cost": Decimal(500), "saving_month_cost": Decimal(400)}
SPOT = {"option": "Spot x, Cloud", "kind": "spot", "month_cost": Decimal(300), "may_be_interrupted": True}
ASSUMED = {"option": "Commit 2 for 3 years", "kind": "committed", "month_cost": Decimal(400), "is_price_assumed": True}


def options(*rows: dict[str, object]) -> pl.DataFrame:
    plain = {
        "billing_currency": "USD", "saving_month_cost": None, "break_even_ratio": None, "may_be_interrupted": False,
        "is_price_assumed": False,
    }  # fmt: skip
    frame = pl.DataFrame(
        [plain | row for row in rows], schema_overrides={"month_cost": MONEY, "saving_month_cost": MONEY}
    )
    return frame.sort("month_cost", nulls_last=True)


def test_what_is_called_cheapest_is_sure_and_what_costs_less_is_named_beside_it() -> None:
    found = options(NOW, BOUGHT, SPOT, ASSUMED)
    words, is_other = answer(found)
    assert is_other
    assert words == (
        "Cheapest sure way: Buy 3 servers, $500.00 a month, $400.00 (44 %) less than now. Less, but not sure: "
        "Commit 2 for 3 years, $400.00 a month (a price that nobody named); Spot x, Cloud, $300.00 a month (it may be "
        "cut off)."
    )
    assert heads(found) == ("$900.00", "$500.00", "$300.00")


def test_what_costs_more_than_the_sure_way_is_not_named() -> None:
    dear = [each | {"month_cost": Decimal(600)} for each in (SPOT, ASSUMED)]
    words, _ = answer(options(NOW, BOUGHT, *dear))
    assert "not sure" not in words


@pytest.mark.parametrize(
    ("others", "said"),
    [
        ([], "The cheapest sure way is what there is now: $900.00 a month; no other sure way has a price here."),
        (
            [SPOT],
            (
                "The cheapest sure way is what there is now: $900.00 a month; no other sure way has a price here. "
                "Less, but not sure: Spot x, Cloud, $300.00 a month (it may be cut off)."
            ),
        ),
        ([BOUGHT | {"month_cost": Decimal(950)}], "The cheapest sure way is what there is now: $900.00 a month."),
    ],
)
def test_what_there_is_now_can_be_the_cheapest_sure_way(others: list[dict[str, object]], said: str) -> None:
    assert answer(options(NOW, *others)) == (said, False)


def test_one_way_that_is_unsure_in_both_ways_is_named_once() -> None:
    words, _ = answer(options(NOW, SPOT | {"is_price_assumed": True}))
    assert words.count("Spot x, Cloud") == 1


def test_without_a_sure_price_nothing_is_compared() -> None:
    words, is_other = answer(options(NOW | {"month_cost": None}, SPOT))
    assert (words.split(":")[0], is_other) == ("Nothing can be compared", False)
