"""Words for numbers."""

import pytest

from ledger.words import amount


@pytest.mark.parametrize(
    ("number", "thing", "words"),
    [
        (0, "row", "0 rows"),
        (1, "row", "1 row"),
        (2, "row", "2 rows"),
        (1, "batch", "1 batch"),
        (3, "batch", "3 batches"),
    ],
)
def test_one_is_singular(number: int, thing: str, words: str) -> None:
    assert amount(number, thing) == words
