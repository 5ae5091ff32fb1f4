"""What a unit of usage costs at its time, from rate cards and price lists."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time
from decimal import Decimal
from typing import Final

import polars as pl

from ledger.money_sections import RateCard
from ledger.tables import Price

RATE_CARD: Final = "rate_card"

_HOURS: Final = frozenset({"hour", "hr", "h", "instancehour", "gpuhour", "nodehour"})
_CATEGORIES: Final = (RATE_CARD, "on_demand")
"""Which prices are looked at, the surest first: what was agreed before what is listed."""


@dataclass(frozen=True)
class Rate:
    """One price from one instant on."""

    category: str
    region: str
    valid_start: datetime
    unit_price: Decimal
    currency: str

    @property
    def words(self) -> str:
        """Where a cost that it gives comes from."""
        kind = "rate card" if self.category == RATE_CARD else "price list"
        return f"{kind} of {self.valid_start:%Y-%m-%d} in {self.currency}"


class Rates:
    """Every known price, by provider, SKU and unit."""

    def __init__(self, prices: pl.DataFrame) -> None:
        self._known: dict[tuple[str, str, str], list[Rate]] = {}
        self._currencies: dict[str, str] = {}
        wanted = prices.filter(pl.col("price_category").is_in(_CATEGORIES))
        for row in wanted.iter_rows(named=True):
            key = (row["provider"].lower(), row["instance_type"].lower(), folded_unit(row["pricing_unit"] or "Hours"))
            rate = Rate(
                row["price_category"], row["region"], row["valid_start"], row["unit_price"], row["billing_currency"]
            )
            self._known.setdefault(key, []).append(rate)
            self._currencies.setdefault(key[0], rate.currency)

    def at(
        self, provider: str, sku: str, unit: str, region: str, instant: datetime, currency: str | None = None
    ) -> Rate | None:
        """Return the price that held: agreed before listed, of the region before one for all, the latest.

        Usage in a currency has a price in that currency, or none: one in another says nothing of what it costs.
        """
        held = self._held(provider, sku, unit, region, instant)
        return max(
            [each for each in held if currency is None or each.currency == currency],
            key=lambda each: (
                each.category == RATE_CARD,
                each.region != "",
                each.valid_start,
                each.currency,
                each.unit_price,
            ),
            default=None,
        )

    def currencies_at(self, provider: str, sku: str, unit: str, region: str, instant: datetime) -> list[str]:
        """Return the currencies in which a price held, in their order."""
        return sorted({each.currency for each in self._held(provider, sku, unit, region, instant)})

    def _held(self, provider: str, sku: str, unit: str, region: str, instant: datetime) -> list[Rate]:
        found = self._known.get((provider.lower(), sku.lower(), folded_unit(unit)), [])
        return [each for each in found if each.region in {"", region} and each.valid_start <= instant]

    def currency_of(self, provider: str) -> str | None:
        """Return the currency in which a provider's prices are known."""
        return self._currencies.get(provider.lower())


def folded_unit(unit: str) -> str:
    """Return a unit without case, spaces, plural: hours of an instance and hours are one."""
    plain = "".join(each for each in unit.lower() if each.isalnum()).removesuffix("s")
    return "hour" if plain in _HOURS else plain


def stated(cards: Sequence[RateCard]) -> pl.DataFrame:
    """Return the rate cards of the configuration as rows of `price`."""
    rows = [
        {
            "provider": each.provider,
            "region": each.region,
            "instance_type": each.sku,
            "price_category": RATE_CARD,
            "billing_currency": each.currency,
            "valid_start": datetime.combine(each.valid_from, time(), UTC),
            "unit_price": each.unit_price,
            "pricing_unit": each.unit,
            "source": "configuration",
        }
        for each in cards
    ]
    empty = Price.create_empty()
    return pl.DataFrame([{name: row.get(name) for name in empty.columns} for row in rows], schema=empty.schema)
