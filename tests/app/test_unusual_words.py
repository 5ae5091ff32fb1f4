"""What is said of the part that made a day unusual."""

from decimal import Decimal

import pytest

from app.budgets import cause_words


@pytest.mark.parametrize(
    ("difference", "cause", "said"),
    [("1000", "501", "Most of it"), ("-1000", "-900", "Most of it"), ("1000", "500", "Its largest part")],
)
def test_most_of_a_difference_is_more_than_half_of_it(difference: str, cause: str, said: str) -> None:
    row = {
        "cause": "new",
        "cause_team": "vision",
        "cause_resource": "p5-001",
        "cause_provider": "AWS",
        "cause_cost": Decimal(cause),
        "difference_cost": Decimal(difference),
        "billing_currency": "USD",
    }
    assert cause_words(row).startswith(f"{said}: something new of team vision on p5-001 (AWS), ")
