"""What having a server costs in an average month, kind by kind, from an inventory or from what a person states."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final

from ledger import money
from queries.scenarios.demand import MONTH_HOURS

_YEAR_MONTHS: Final = 12
_YEAR_DAYS: Final = Fraction(3652425, 10_000)
_MONTHLY: Final = ("space_month_cost", "staff_month_cost", "support_month_cost")


@dataclass(frozen=True)
class Server:
    """One owned server; amounts are in `billing_currency`, those with `month` of an average month.

    Nulls: a cost that nobody states is null, and told; `watts` is the mean power in use, without the site's overhead.
    """

    name: str
    billing_currency: str
    gpu_count: int
    purchase_cost: Decimal
    residual_cost: Decimal | None
    financing_cost: Decimal | None
    life_months: Fraction
    watts: Decimal | None
    pue_ratio: Decimal | None
    energy_price: Decimal | None
    space_month_cost: Decimal | None
    staff_month_cost: Decimal | None
    support_month_cost: Decimal | None
    source: str
    power_evidence: str = "rated"
    priced_on: date | None = None

    def parts(self) -> dict[str, Fraction]:
        """Return what each known kind of cost comes to in an average month."""
        loss = Fraction(self.purchase_cost) - Fraction(self.residual_cost or 0)
        found = {"depreciation": loss / self.life_months}
        if self.financing_cost is not None:
            found["financing"] = Fraction(self.financing_cost) / self.life_months
        if self.watts is not None and self.energy_price is not None:
            kilowatt_hours = Fraction(self.watts) / 1000 * MONTH_HOURS * Fraction(self.pue_ratio or 1)
            found["energy"] = kilowatt_hours * Fraction(self.energy_price)
        for column in _MONTHLY:
            amount = getattr(self, column)
            if amount is not None:
                found[column.removesuffix("_month_cost")] = Fraction(amount)
        return found

    @property
    def month(self) -> Fraction:
        """All that is known of it in an average month."""
        return sum(self.parts().values(), Fraction(0))

    @property
    def month_cost(self) -> Decimal:
        """The same as an amount."""
        return money.priced(Decimal(1), self.month)

    @property
    def missing(self) -> list[str]:
        """Kinds of cost that nobody states; without them owning looks cheaper than it is."""
        known = self.parts()
        return [each for each in ("energy", "financing", "space", "staff", "support") if each not in known]


def exchanged(server: Server, currency: str, ratio: Fraction) -> Server:
    """Return a server with its amounts in another currency, of which one of its own buys `ratio`."""
    names = ("purchase_cost", "residual_cost", "financing_cost", "energy_price", *_MONTHLY)
    amounts = {name: getattr(server, name) for name in names}
    known: dict[str, Any] = {
        name: money.priced(amount, ratio) for name, amount in amounts.items() if amount is not None
    }
    return replace(server, billing_currency=currency, **known)


def from_asset(row: Mapping[str, Any], gpu_watts: float | None) -> Server:
    """Return an asset as a server to buy again: with what its GPUs were measured to draw where the rest is known."""
    life = (row["life_end"] - row["life_start"]).days
    host, rated, count = row["host_power_watts"], row["power_watts"], int(row["gpu_count"] or 0)
    watts, evidence = rated, "rated"
    if host is not None and gpu_watts is not None:
        watts, evidence = host + gpu_watts * count, "measured"
    return Server(
        name=str(row["asset_id"]),
        billing_currency=str(row["billing_currency"]),
        gpu_count=count,
        purchase_cost=row["purchase_cost"],
        residual_cost=row["residual_cost"],
        financing_cost=row["financing_cost"],
        life_months=Fraction(life) / _YEAR_DAYS * _YEAR_MONTHS,
        watts=None if watts is None else Decimal(str(round(watts, 3))),
        pue_ratio=None if row["pue_ratio"] is None else Decimal(str(row["pue_ratio"])),
        energy_price=row["energy_price"],
        space_month_cost=row["space_month_cost"],
        staff_month_cost=row["staff_month_cost"],
        support_month_cost=row["support_month_cost"],
        source=f"inventory, {row['asset_id']}",
        power_evidence=evidence,
        priced_on=row["life_start"],
    )


def break_even(month_cost: Fraction, gpu_count: int, gpu_price: Fraction) -> Fraction:
    """Return from which share of hours in use having so many GPUs costs less than renting them by the hour.

    `owned $/month / (cloud $/GPU-h x N x 730)`; above 1 renting is cheaper even around the clock.
    """
    return month_cost / (gpu_price * gpu_count * MONTH_HOURS)
