"""What committed use costs, brought from Google's fees to the usage that they cover.

A fee names neither the usage that it covers nor what of it was unused: both follow from what is committed of
which resource in which region, and from the discounts on usage of that resource in the same month.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from math import gcd, lcm
from typing import Final

import polars as pl

from ledger import money

_Place = tuple[object, object, object, object, object]

SPREAD_BY: Final = (
    "billing_account_id",
    "invoice_month",
    "currency",
    "cost",
    "billed",
    "covered_by",
    "covered_cost",
    "kind",
    "location_region",
    "sku_description",
    "usage_amount",
)
"""What `amortised` reads of a row, beside whether it is a fee."""

_PARTS: Final = 10**18
_WHOLE_WEIGHT: Final = 2**60
_PLACE: Final = re.compile(r"\b(?:running )?in [a-z].*$|\bfor [13] years?\b.*$")
_NOISE: Final = frozenset(
    {"commitment", "committed", "use", "v1", "v2", "instance", "predefined", "custom", "running", "to"}
)
_SAME: Final = {"cpu": "core", "vcpu": "core", "cpus": "core", "cores": "core", "memory": "ram", "gpus": "gpu"}


@dataclass(frozen=True)
class Amortised:
    """What each row costs effectively, as text, and what of each fee nobody used."""

    effective: list[str | None]
    unused: list[tuple[int, str]]


@dataclass
class _Group:
    """Fees and the usage that they cover: row numbers, and how much of the commitment each usage took."""

    fees: list[int] = field(default_factory=list)
    usage: dict[int, Fraction] = field(default_factory=dict)
    committed: Fraction | None = None


def amortised(rows: pl.DataFrame) -> Amortised:
    """Return effective costs that sum to the billed ones, exactly: fees at 0, their cost on usage and unused rows.

    `rows` has `billed`, `covered_by`, `covered_cost` (what discounts took away), `is_fee` and the export's columns.
    """
    effective: list[str | None] = rows["billed"].to_list()
    if not rows["is_fee"].any():
        return Amortised(effective, [])
    amounts = [_amount(text) for text in effective]
    unused: list[tuple[int, str]] = []
    for group in _groups(rows, amounts):
        fee = money.add(*(amounts[row] or Decimal(0) for row in group.fees))
        for row in group.fees:
            effective[row] = "0"
        for covered, part in _parts(fee, group).items():
            if covered is None:
                unused.append((group.fees[0], money.written(part)))
            else:
                effective[covered] = money.written(money.add(amounts[covered] or Decimal(0), part))
    return Amortised(effective, unused)


def _groups(rows: pl.DataFrame, amounts: list[Decimal | None]) -> Iterator[_Group]:
    """Yield fees with the usage they cover: by resource and region, else by what is left of the same kind."""
    wanted = rows.with_row_index("at").filter(pl.col("is_fee") | pl.col("covered_by").is_not_null())
    listed = [each for each in wanted.iter_rows(named=True) if amounts[each["at"]] is not None]
    by_place: dict[_Place, dict[frozenset[str], _Group]] = {}
    for each in listed:
        if each["is_fee"]:
            group = by_place.setdefault(_place(each), {}).setdefault(_words(each), _Group())
            group.fees.append(each["at"])
            quantity = _fraction(each["usage_amount"])
            if quantity is not None and each["kind"] == "Usage":
                group.committed = (group.committed or Fraction(0)) + quantity
    rest: dict[_Place, _Group] = {}
    for each in listed:
        if not each["is_fee"]:
            words = _words(each)
            near = by_place.get(_place(each), {})
            fitting = max((fee for fee in near if fee <= words), key=len, default=None)
            if fitting is not None:
                near[fitting].usage[each["at"]] = _taken(each)
            else:
                left = rest.setdefault(_place(each, anywhere=True), _Group())
                left.usage[each["at"]] = _fraction(each["covered_cost"]) or Fraction(0)
    for place, near in by_place.items():
        for group in near.values():
            if group.usage or (*place[:-1], None) not in rest:
                yield group
            else:
                rest[*place[:-1], None].fees.extend(group.fees)
    yield from (group for group in rest.values() if group.fees)


def _place(row: Mapping[str, object], *, anywhere: bool = False) -> _Place:
    """Return what a fee and its usage agree in: bill, kind of commitment, and region where a resource was committed."""
    kind = _kind(row)
    region = None if anywhere or kind == "Spend" else row["location_region"]
    return row["billing_account_id"], row["invoice_month"], row["currency"], kind, region


def _kind(row: Mapping[str, object]) -> object:
    return row["kind"] if row["is_fee"] else row["covered_by"]


def _words(row: Mapping[str, object]) -> frozenset[str]:
    """Return which resource a SKU is of; money that was committed covers any."""
    if _kind(row) == "Spend":
        return frozenset()
    text = _PLACE.sub("", str(row["sku_description"] or "").lower())
    words = re.findall(r"[a-z0-9]+", text)
    return frozenset(_SAME.get(each, each) for each in words) - _NOISE


def _taken(row: Mapping[str, object]) -> Fraction:
    """Return how much of a commitment a usage took: its quantity, by the share of its cost that was discounted.

    Money that was committed is taken in money. Shares are rounded to 1e-18: as exact ratios their common denominator
    grows with every row, and a month of a large customer would never end.
    """
    covered, cost = _fraction(row["covered_cost"]), _fraction(row["cost"])
    quantity = _fraction(row["usage_amount"])
    if row["covered_by"] == "Spend" or quantity is None or not cost or covered is None:
        return covered or Fraction(0)
    return Fraction(round(quantity * min(covered / cost, Fraction(1)) * _PARTS), _PARTS)


def _parts(fee: Decimal, group: _Group) -> dict[int | None, Decimal]:
    """Split a fee over the usage that it covers; under None what is unused, where it can be told."""
    weights: dict[int | None, Fraction] = {row: taken for row, taken in group.usage.items() if taken > 0}
    taken = sum(weights.values(), Fraction(0))
    if not weights:
        weights[None] = Fraction(1)
    elif group.committed is not None and group.committed > taken:
        weights[None] = group.committed - taken
    leaves = pl.DataFrame(
        [(0, leaf, each) for leaf, each in enumerate(_whole_numbers(list(weights.values())))],
        schema={"fee": pl.Int64, "leaf": pl.Int64, "weight": pl.Int64},
        orient="row",
    )
    exact = money.parse(money.written(fee))
    amounts = pl.DataFrame({"fee": [0], "amount": [exact.amount]}, schema={"fee": pl.Int64, "amount": money.MONEY})
    split = money.apportion(amounts, leaves, by=["fee"], weight="weight", tie=["leaf"], columns=["amount"])
    parts = dict(zip(weights, split.parts.sort("leaf")["amount"].to_list(), strict=True))
    first = next(iter(parts))
    parts[first] = money.add(parts[first], exact.residue)
    return parts


def _whole_numbers(weights: list[Fraction]) -> list[int]:
    """Return weights as whole numbers in the same proportion, exactly where they fit 64 bits together."""
    base = lcm(*(each.denominator for each in weights))
    numbers = [int(each * base) for each in weights]
    common = gcd(*numbers)
    numbers = [each // common for each in numbers]
    whole = sum(numbers)
    return numbers if whole <= _WHOLE_WEIGHT else [each * _WHOLE_WEIGHT // whole for each in numbers]


def _amount(text: str | None) -> Decimal | None:
    if text is None:
        return None
    try:
        parsed = money.parse(text)
    except money.MoneyError:
        return None
    return money.add(parsed.amount, parsed.residue)


def _fraction(text: object) -> Fraction | None:
    amount = _amount(text) if isinstance(text, str) else None
    return None if amount is None else Fraction(amount)
