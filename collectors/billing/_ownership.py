"""What owned hardware costs, as charges that a cloud would have billed."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from typing import Final, Literal

import polars as pl

from collectors.billing._format import Imported
from collectors.billing._made import made_import
from collectors.billing._tariff import Tariff, hour_price, tariff
from ledger import money
from ledger.frames import dtypes
from ledger.tables import Asset, FocusCharge

SOURCE: Final = "on_premises"

_HOUR: Final = timedelta(hours=1)
_STEPS: Final[Mapping[str, timedelta]] = {"hour": _HOUR, "day": timedelta(days=1)}
_MONTHLY: Final = (("Space", "space_month_cost"), ("Staff", "staff_month_cost"), ("Support", "support_month_cost"))

# The Gregorian year has 365.2425 days: twelve average months of spread cost fill it exactly.
_YEAR_SECONDS: Final = 31_556_952
_MONTHS: Final = 12
_JOULES: Final = 3_600_000
_NO_LIST: Final = "owned hardware has no list or contracted price"

_Row = dict[str, object]


@dataclass(frozen=True)
class _Part:
    """One kind of cost of one asset in one step; `quantity` is in `unit`."""

    name: str
    cost: Decimal
    quantity: Decimal
    unit: str
    details: str


def own_charges(
    assets: pl.DataFrame,
    start: datetime,
    end: datetime,
    *,
    step: Literal["hour", "day"] = "day",
    energy: pl.DataFrame | None = None,
    imported_at: datetime,
) -> list[Imported]:
    """Return one import per calendar month of what assets cost in the whole steps of [start, end).

    Purchase less residual is written off evenly over the life, and so is what financing costs; space, staff and
    support are an average month's cost over time; energy is kilowatt-hours x PUE x price, from measured joules, and
    from rated watts for the time that was not measured. All capacity is charged: what nobody used is found by
    allocation.

    Shape, grain: one charge per asset, step and kind of cost; of energy per hour where its price depends on the time.
    `energy` has `cluster, node, at, joules, measured_seconds`, any number of rows per node; a row belongs to the step
    that `at` lies in.
    Nulls: a cost that an asset does not state is not charged.
    """
    length = _STEPS[step]
    measured = {each: _measured(energy, each) for each in {length, _HOUR}}
    shared = assets.group_by("cluster", "node").len()
    sharing = {(row["cluster"], row["node"]): int(row["len"]) for row in shared.iter_rows(named=True)}
    months: dict[datetime, list[_Row]] = {}
    for asset in assets.sort("asset_id").iter_rows(named=True):
        place = (asset["cluster"], asset["node"])
        for at in _whole_steps(asset, start, end, length):
            for part in _parts(asset, at, length):
                _add(months, _charge(asset, at, at + length, part))
        # A price by time needs hours; one price gives the same sum in one row.
        fine = _HOUR if asset["energy_tariff"] is not None else length
        for at in _whole_steps(asset, start, end, fine):
            joules, seconds = measured[fine].get((*place, at), (Fraction(0), Fraction(0)))
            for part in _energy_part(asset, at, fine, (joules / sharing[place], seconds)):
                _add(months, _charge(asset, at, at + fine, part))
    return [_imported(month, rows, assets, imported_at) for month, rows in sorted(months.items())]


def _add(months: dict[datetime, list[_Row]], row: _Row) -> None:
    month = row["BillingPeriodStart"]
    if isinstance(month, datetime):
        months.setdefault(month, []).append(row)


def _whole_steps(asset: _Row, start: datetime, end: datetime, length: timedelta) -> Iterator[datetime]:
    """Yield the steps that lie wholly in the window and in the asset's life."""
    begin = max(start.astimezone(UTC), _midnight(asset["life_start"]))
    stop = min(end.astimezone(UTC), _midnight(asset["life_end"]))
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    at = epoch + -((epoch - begin) // length) * length
    while at + length <= stop:
        yield at
        at += length


def _parts(asset: _Row, at: datetime, length: timedelta) -> Iterator[_Part]:
    """Yield what an asset costs in one step whether it is used or not, kind by kind."""
    born = _midnight(asset["life_start"])
    before = int((at - born).total_seconds())
    after = before + int(length.total_seconds())
    life = int((_midnight(asset["life_end"]) - born).total_seconds())
    hours = Decimal(after - before) / 3600
    loss = money.difference(_amount(asset, "purchase_cost"), _amount(asset, "residual_cost"))
    yield _Part("Depreciation", money.spread(loss, before, after, life), hours, "Hours", "straight-line")
    if isinstance(asset["financing_cost"], Decimal):
        interest = money.spread(_amount(asset, "financing_cost"), before, after, life)
        yield _Part("Financing", interest, hours, "Hours", "evenly over its life")
    for name, column in _MONTHLY:
        if isinstance(asset[column], Decimal):
            yearly = money.share(_amount(asset, column), Decimal(_MONTHS))
            yield _Part(name, money.spread(yearly, before, after, _YEAR_SECONDS), hours, "Hours", "average month")


def _energy_part(asset: _Row, at: datetime, length: timedelta, measured: tuple[Fraction, Fraction]) -> Iterator[_Part]:
    """Yield what the energy of one step costs, where power or energy and a price are known."""
    price = _energy_price(asset, at)
    used = _energy(asset["power_watts"], asset["pue_ratio"], int(length.total_seconds()), *measured)
    if price is not None and used is not None:
        kilowatt_hours, evidence = used
        cost = _whole(price * kilowatt_hours)
        yield _Part("Energy", cost, _whole(kilowatt_hours), "Kilowatt-Hours", evidence)


def _energy_price(asset: _Row, at: datetime) -> Fraction | None:
    """Return the price of a kilowatt-hour in a step: the tariff's in that hour, or the one for all time."""
    price, text = asset["energy_price"], asset["energy_tariff"]
    otherwise = price if isinstance(price, Decimal) else None
    if text is not None:
        return hour_price(_tariff(str(text), otherwise), str(asset["time_zone"] or "UTC"), at)
    return None if otherwise is None else Fraction(otherwise)


@lru_cache(maxsize=10_000)
def _whole(quantity: Fraction) -> Decimal:
    """Return a quantity at 18 decimals; hours at rated power are all alike."""
    return money.priced(Decimal(1), quantity)


@lru_cache(maxsize=10_000)
def _energy(
    watts: object, pue: object, seconds: int, joules: Fraction, measured_seconds: Fraction
) -> tuple[Fraction, str] | None:
    """Return kilowatt-hours with the site's overhead and their evidence; None where nothing is known."""
    missing = max(Fraction(0), seconds - measured_seconds)
    if not measured_seconds and watts is None:
        return None
    rated = Fraction(str(watts)) * missing if watts is not None else Fraction(0)
    overhead = Fraction(str(pue)) if pue is not None else Fraction(1)
    evidence = "measured" if not missing else "measured and rated" if measured_seconds else "rated power"
    if missing and watts is None:
        evidence = f"measured for {float(measured_seconds):.0f} of {seconds} s"
    return (joules + rated) * overhead / _JOULES, evidence


def _measured(
    energy: pl.DataFrame | None, length: timedelta
) -> dict[tuple[object, object, datetime], tuple[Fraction, Fraction]]:
    """Return joules and measured seconds of each node and step."""
    sums: dict[tuple[object, object, datetime], tuple[Fraction, Fraction]] = {}
    if energy is None:
        return sums
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    for row in energy.drop_nulls(["joules", "measured_seconds"]).iter_rows(named=True):
        at = epoch + (row["at"].astimezone(UTC) - epoch) // length * length
        key = row["cluster"], row["node"], at
        joules, seconds = sums.get(key, (Fraction(0), Fraction(0)))
        sums[key] = joules + Fraction(str(row["joules"])), seconds + Fraction(str(row["measured_seconds"]))
    return sums


def _charge(asset: _Row, start: datetime, end: datetime, part: _Part) -> _Row:
    owner, month = asset["owner"], start.replace(day=1, hour=0)
    return {
        "BilledCost": part.cost,
        "EffectiveCost": part.cost,
        "BillingCurrency": asset["billing_currency"],
        "BillingAccountId": owner,
        "BillingPeriodStart": month,
        "BillingPeriodEnd": (month + timedelta(days=32)).replace(day=1),
        "ChargePeriodStart": start,
        "ChargePeriodEnd": end,
        "ChargeCategory": "Usage",
        "ChargeDescription": f"{part.name} of {asset['asset_id']} ({part.details})",
        "ChargeFrequency": "Usage-Based" if part.name == "Energy" else "Recurring",
        "ServiceCategory": "Compute",
        "ServiceName": f"Owned hardware: {part.name.lower()}",
        "ServiceProviderName": owner,
        "HostProviderName": owner,
        "InvoiceIssuerName": owner,
        "InvoiceId": "",
        "PricingCategory": "Standard",
        "PricingQuantity": part.quantity,
        "PricingUnit": part.unit,
        "ConsumedQuantity": part.quantity,
        "ConsumedUnit": part.unit,
        "ResourceId": asset["asset_id"],
        "ResourceName": asset["node"],
        "ResourceType": "Server",
        "SubAccountId": asset["cluster"],
        "is_derived": False,
        "unknown_reason": _NO_LIST,
    }


def _imported(month: datetime, rows: list[_Row], assets: pl.DataFrame, imported_at: datetime) -> Imported:
    """Return one month as an import."""
    schema = dtypes(FocusCharge)
    stated = pl.DataFrame({name: pl.Series([row[name] for row in rows], dtype=schema[name]) for name in rows[0]})
    bare = stated.select(
        pl.col(name) if name in stated.columns else pl.lit(None, dtype=kind).alias(name)
        for name, kind in schema.items()
    )
    return made_import(SOURCE, month, bare, imported_at=imported_at, remarks=(f"{assets.height} assets",))


@lru_cache(maxsize=1_000)
def _tariff(text: str, otherwise: Decimal | None) -> Tariff:
    return tariff(text, otherwise)


def _midnight(day: object) -> datetime:
    if not isinstance(day, date):
        raise TypeError(f"{Asset.__name__}: found {day!r}, expected a day")
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def _amount(asset: _Row, name: str) -> Decimal:
    value = asset[name]
    return value if isinstance(value, Decimal) else Decimal(0)
