"""What servers with accelerators are offered for: by price lists, rate cards and what bills show."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import Final

import polars as pl

_ACCELERATOR: Final = re.compile(
    r"(?i)(?<![a-z0-9])(GB[23]00|GH200|[BH][23]00|H100|H800|H20|A100|A800|L40S|L40|L4|A40|A30|A16|A10G|A10|T4G|T4"
    r"|V100|P100|P40|P4|K80|M60|MI\d{3}[AX]?)(?![a-z0-9])"
)

STANDARD: Final = ("on_demand", "rate_card")
"""Prices of an hour that bind nobody."""

_BILL: Final = "bill"
_BILLED: Final = {"on_demand": "on demand", "spot": "spot", "committed": "committed"}

Convert = Callable[[str, date], Fraction | None]
"""What one of a currency was worth on a day in the currency that is compared in; null where no rate is known."""


@dataclass(frozen=True)
class Offer:
    """One hour of one type of server, at a price of a day; `unit_price` is as listed, `price` as compared.

    Nulls: `price` where no exchange rate is known, `memory_bytes` where the list does not say.
    """

    provider: str
    region: str
    instance_type: str
    category: str
    billing_currency: str
    unit_price: Decimal
    price: Fraction | None
    gpu_count: int
    accelerator: str
    memory_bytes: float | None
    priced_on: date
    source: str

    @property
    def place(self) -> str:
        """Where it is: provider and region."""
        return f"{self.provider} {self.region}".strip()

    @property
    def is_billed(self) -> bool:
        """Tell whether a bill shows it, and no list."""
        return self.source.startswith(_BILL)

    @property
    def name(self) -> str:
        """Type, place and source: no two offers have the same."""
        return f"{self.instance_type} · {self.place} · {self.source}"

    @property
    def gpu_price(self) -> Fraction | None:
        """An hour of one of its GPUs, as compared."""
        return None if self.price is None else self.price / self.gpu_count


@dataclass(frozen=True)
class Unpriced:
    """Something that has no price here, and why; `count` says how many rows of lists are meant."""

    name: str
    reason: str


def accelerator(name: str | None) -> str:
    """Return the kind of a GPU without maker, memory and board: H100 for `NVIDIA H100 80GB HBM3` and for `h100`."""
    found = _ACCELERATOR.search(name or "")
    return found.group(1).upper() if found else re.sub(r"(?i)^nvidia\s+", "", (name or "").strip())


def offers(prices: pl.DataFrame, rates: pl.DataFrame, worth: Convert) -> list[Offer]:
    """Return what lists and bills offer, of servers whose accelerators are known.

    Shape: answers to `scenario_prices`, and to `scenario_rates` with the `gpu_model` of each type.
    """
    found = [
        _offer(row, str(row["price_category"]), f"{_kind(row)} {row['source']}".strip(), worth)
        for row in prices.iter_rows(named=True)
        if row["gpu_model"] and row["gpu_count"]
    ]
    found += [
        _offer(row, str(row["price_category"]), f"{_BILL}, {_BILLED[row['price_category']]}", worth)
        for row in rates.iter_rows(named=True)
        if row["gpu_model"] and row["gpu_count"]
    ]
    return found


def unpriced(prices: pl.DataFrame, offered: list[Offer]) -> list[Unpriced]:
    """Say which prices cannot be compared: no rate of exchange, or a list that leaves out the accelerators."""
    codes = sorted({each.billing_currency for each in offered if each.price is None})
    told = [Unpriced(f"Prices in {code}", "no exchange rate is known") for code in codes]
    bare = prices.filter(pl.col("gpu_model").is_null() | pl.col("gpu_count").is_null())
    for (provider,), rows in bare.group_by("provider", maintain_order=True):
        told.append(Unpriced(f"{rows.height} types of {provider}", "the list does not say which GPUs they have"))
    return told


def _kind(row: dict[str, object]) -> str:
    return "rate card" if row["price_category"] == "rate_card" else "list"


def _offer(row: dict[str, object], category: str, source: str, worth: Convert) -> Offer:
    price, day, currency = row["unit_price"], row["priced_on"], str(row["billing_currency"])
    memory = row.get("gpu_memory_bytes")
    if not isinstance(price, Decimal) or not isinstance(day, date):
        raise TypeError(f"price of {row['instance_type']}: found {price!r} of {day!r}")
    ratio = worth(currency, day)
    return Offer(
        provider=str(row["provider"]),
        region=str(row["region"]),
        instance_type=str(row["instance_type"]),
        category=category,
        billing_currency=currency,
        unit_price=price,
        price=None if ratio is None else Fraction(price) * ratio,
        gpu_count=int(str(row["gpu_count"])),
        accelerator=accelerator(str(row["gpu_model"])),
        memory_bytes=float(str(memory)) if memory is not None else None,
        priced_on=day,
        source=source,
    )
